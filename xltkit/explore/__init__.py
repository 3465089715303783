"""Figures and widgets: what a person looks at."""
