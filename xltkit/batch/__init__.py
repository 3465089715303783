"""Notebooks checked, run, rendered and listed."""
