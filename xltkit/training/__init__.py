"""One loop, and what a phase optimises in it."""
