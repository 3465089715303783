"""Arms x targets x seeds as a graph of stages, made once, kept, and read as tables."""
