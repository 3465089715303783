"""Test sets predicted in all languages, in mixed pairs of languages, or under attack."""
