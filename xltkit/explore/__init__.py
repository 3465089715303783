"""What a person looks at by hand: widgets, and the plain functions that they are layers over."""
