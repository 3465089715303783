"""What a phase is, and the one loop that trains it."""
