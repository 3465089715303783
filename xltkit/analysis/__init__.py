"""Tidy tables in, honest statements out."""
