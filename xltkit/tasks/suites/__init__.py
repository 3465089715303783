"""Every task and benchmark as rows of tables."""
