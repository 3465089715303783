"""Figures and widgets: what a person looks at.

``plots`` draws results, attacks and claims, ``plots_pictures`` pictures and sentences; ``errors``,
``playground``, ``tokens`` and ``embeddings`` show examples; ``widgets`` are the same with controls.
"""
