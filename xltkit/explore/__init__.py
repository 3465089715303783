"""Figures and tables to look at, and ``widgets``, the same with controls."""
