"""Figures and widgets: what a person looks at.

``plots`` draws results, attacks and claims; ``examples``, ``tokens`` and ``embeddings`` show what
models make of texts; ``widgets`` are the same with controls.
"""
