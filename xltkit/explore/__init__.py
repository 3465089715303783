"""Figures and tables that a person looks at, and ``widgets``, the same with controls."""
