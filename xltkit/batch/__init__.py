"""Check, run, render and list notebooks."""
