"""Predicting test sets in all languages at once."""
