"""Predictions of other tools, as results that the kit can compare, plot and check."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd

from xltkit.data.loading import warn_once
from xltkit.keys import choose
from xltkit.studies.results import RUN, Results, Run, Study
from xltkit.studies.store import Store
from xltkit.tasks import Task, get
from xltkit.tasks.base import TYPES, score_table
from xltkit.tasks.tagging import tags_of

NEEDED = ("item", "language", "seed", "arm", "gold", "prediction")
TEXTS = {"dtype": str, "keep_default_na": False}  # an item may be called 007, a label NA
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".csv": partial(pd.read_csv, **TEXTS),
    ".tsv": partial(pd.read_csv, sep="\t", **TEXTS),
    ".jsonl": partial(pd.read_json, lines=True, dtype=False),
    ".parquet": pd.read_parquet,
}
READABLE = ("label", "tags", "answers")  # gold columns of the task types that can be read


class GivenResults(Results):
    """Results from given predictions, in the columns of ``Results.predictions``.

    ``source`` is the language of the labels that the models were trained on.
    """

    def __init__(self, predictions: pd.DataFrame, source: str = "en"):
        keys = predictions[RUN].drop_duplicates().itertuples(index=False)
        runs = tuple(Run(*key, "-", None, source) for key in keys)
        super().__init__(Study(dict.fromkeys(predictions["arm"]), runs, "given"), Store())
        self.predictions = predictions

    def _scores_of(self, run: Run) -> pd.DataFrame:
        """The scores of a run by language and metric; how it was trained is unknown."""
        of_run = self.predictions.groupby(RUN).get_group((run.arm, run.seed, run.task))
        groups = of_run.groupby("language", sort=False)
        _, scores = score_table(get(run.task), ((code, "", table) for code, table in groups))
        unknown = dict.fromkeys(("split", "selection_rule", "max_length", "trained_on"), "")
        return scores.assign(examples=0, unseen=False, **unknown)


def read_predictions(path: str | Path, task: str, source: str = "en") -> GivenResults:
    """Read predictions of any tool as results for ``compare``, ``consistency`` and figures.

    Args:
        path: a .csv, .tsv, .jsonl or .parquet file with one row for each ``item``, ``language``,
            ``seed`` and ``arm``, and the columns ``gold`` and ``prediction``: label names of the
            task, tags joined by spaces, or an answer (gold may be a JSON list of several). Items
            with the same name in several languages are translations of one another.
        task: the task that defines the labels and the metric (``xltkit tasks`` lists them).
        source: the language of the labels that the models were trained on.

    A prediction that is not a label of the task counts as wrong, and a warning says how many.
    Raises ValueError if a column is missing, a gold label is unknown, an item appears twice, or
    arms and seeds were not all scored on the same items.
    """
    path, row = Path(path), get(task)
    if row.type.gold not in READABLE:
        kinds = ", ".join(kind for kind, each in TYPES.items() if each.gold in READABLE)
        raise ValueError(f"{task} is {row.kind}; predictions can be read for {kinds}.")
    table = READERS[choose("type of prediction files", path.suffix, READERS)](path)
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(f"{path} has the columns {list(table)}; it lacks {missing}.")
    table = table.rename(columns={"item": "example_id", "prediction": "pred"}).assign(task=task)
    table = table.astype({"example_id": str, "seed": int, "gold": str, "pred": str})
    if row.type.gold == "answers":
        table["gold"] = table["gold"].map(_answers)
    elif row.labels:  # alternatives of a choice are numbered
        _check_labels(path, row, table)
    table["score"] = row.type.item_scores(row, table["gold"], table["pred"])
    items = [*RUN, "language", "example_id"]
    if table.duplicated(items).any():
        first = table.loc[table.duplicated(items), items].iloc[0].to_dict()
        raise ValueError(f"{path} has two predictions of {first}.")
    runs = table[RUN].drop_duplicates()
    counts = table.groupby(["language", "example_id"]).size()
    if (counts < len(runs)).any():
        language, item = counts.idxmin()
        raise ValueError(
            f"{path} has predictions of item {item!r} in {language!r} from {counts.min()} of "
            f"{len(runs)} runs; leave out items that not all arms and seeds predicted."
        )
    return GivenResults(table[[*items, "gold", "pred", "score"]], source)


def _answers(gold: str) -> str:
    """A JSON list of gold answers, from such a list or a single answer."""
    with suppress(ValueError):
        if isinstance(json.loads(gold), list):
            return gold
    return json.dumps([gold], ensure_ascii=False)


def _check_labels(path: Path, task: Task, table: pd.DataFrame) -> None:
    """Raise ValueError for unknown gold labels, and warn about unknown predictions."""
    split = partial(tags_of, task) if task.type.gold == "tags" else lambda text: [text]
    unknown = {}
    for side in ("gold", "pred"):
        labels = table[side].map(split).explode()
        unknown[side] = labels[~labels.isin(task.labels)].tolist()
    if gold := unknown["gold"]:
        raise ValueError(
            f"{path} has {len(gold)} gold labels that {task.name} does not have, such as "
            f"{gold[0]!r}. Write its labels, not their numbers: {', '.join(task.labels)}."
        )
    if pred := unknown["pred"]:
        if len(pred) == len(table):
            raise ValueError(
                f"No prediction in {path}, such as {pred[0]!r}, is a label of {task.name}: "
                f"{', '.join(task.labels)}."
            )
        warn_once(
            f"{len(pred)} predictions in {path}, such as {pred[0]!r}, are not labels of "
            f"{task.name}: they count as wrong."
        )
