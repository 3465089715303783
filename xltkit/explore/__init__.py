"""Figures and widgets: what a person looks at.

``plots`` draws results and claims, ``plots_attacks``, ``plots_matrix`` and ``plots_pictures`` what
their names say; ``errors``, ``playground``, ``tokens`` and ``embeddings`` show examples; the
``widgets`` are the same with controls.
"""
