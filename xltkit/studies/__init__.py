"""Arms x targets x seeds as a graph of stages: planned, made once, kept, and read as tables.

``study.py`` plans a ``Study``, checked before anything is trained; ``stages.py`` has recipes, their
stages, and what a stage's key is a hash of; ``make.py`` trains or scores one into the ``Store``;
``cluster.py`` does so in several processes; ``results.py`` reads the tables; ``saved.py`` those of
finished runs; ``export.py`` copies a trained encoder out of the store.
"""

from xltkit.studies.store import Store

__all__ = ["Store"]
