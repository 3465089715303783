"""Studies: arms x targets x seeds as a graph of stages, each made once and read as tables.

``study.py`` plans a ``Study`` and checks it before anything is trained; ``stages.py`` has recipes,
their stages and the keys of stages; ``make.py`` trains or scores a stage into the ``Store``;
``cluster.py`` does so in several processes; ``results.py`` reads the tables, ``saved.py`` those of
finished runs; ``export.py`` copies a trained encoder out of the store.
"""

from xltkit.studies.store import Store

__all__ = ["Store"]
