"""Predict test sets in all languages, in mixed pairs of languages, or under attack."""
