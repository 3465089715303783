"""Loaded once by the process that all of a crew is forked from: what all of them would load."""

import xltkit as xlt
from xltkit.tasks import TrainingSet, get, load
from xltkit.tasks.rows import training_rows

for task in ("choice", "pos", "nli"):
    training_rows(TrainingSet(task))
    for language in ("en", "qad"):
        load(get(task), "test", language, 20)
assert xlt.study
