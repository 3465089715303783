"""Where a finished study goes wrong: what errors share with the source language, and which items.

Results in, tidy tables out; nothing is trained or predicted. The attributes are those of
ExplainaBoard (neulab/ExplainaBoard) that need neither the training set nor a tokenizer. For means
by family, script or resource class there is ``xltkit.summary(results, by=["arm", "family"])``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from xltkit.analysis.intervals import LEVEL
from xltkit.analysis.parallel import COMPARABLE, agreement, known_tasks, parallel_tables
from xltkit.data import loading as data
from xltkit.data.languages import columns
from xltkit.studies.results import Results
from xltkit.tasks import Task, get
from xltkit.tasks.scorers import chunks

KEY = ["arm", "seed", "task", "language"]


def error_overlap(
    results: Results, tasks: Sequence[str] = (), *, right: float = 1.0, per_seed: bool = False
) -> pd.DataFrame:
    """Does an item that fails in the source language fail in the others too?

    Items are paired by ``example_id``, so the test sets have to be translations of one another.
    (Error overlap of ExplainaBoard, as XTREME reports it for XNLI and XQuAD, arXiv 2003.11080.)

    Args:
        results: of a study.
        tasks: which; empty means all that are parallel, and the others are told in a warning.
        right: the score (0 to 1) from which on an item counts as right. Labels score 0 or 1; of
            spans (F1) and tags (share) only the perfect ones count unless this is lowered.
        per_seed: one row for each seed, and no means over them.

    Returns:
        One row per arm, task and language other than the source. ``kept`` is the share of the
        items right in the source language that are right here too, ``gained`` that of the items
        wrong there; both equal ``right`` if errors have nothing in common. ``agreement`` is the
        share of items with the same prediction as in the source language, ``expected`` what two
        such distributions of labels would give by chance, ``kappa`` (-1 to 1) what is left of it
        (Cohen 1960); not numbers for spans and tags, whose predictions are text. Shares are 0 to
        100; ``n`` counts items, ``n_source_right`` those that ``kept`` is a share of.

    Raises:
        ValueError: for a task without the source language or whose items are not parallel.
    """
    rows = []
    for name, table in parallel_tables(results, tasks):
        is_source = table["language"] == results.study.source
        for arm, seed in table[["arm", "seed"]].drop_duplicates().itertuples(index=False):
            mine = (table["arm"] == arm) & (table["seed"] == seed)
            there = table[mine & is_source].set_index("example_id")
            for code, here in table[mine & ~is_source].groupby("language", sort=False):
                found = _overlap(here.set_index("example_id"), there, right, get(name).kind)
                rows.append(dict(zip(KEY, (arm, seed, name, code), strict=True)) | found)
    found = pd.DataFrame(rows)
    if per_seed:
        return found
    groups = found.groupby(["arm", "task", "language"], sort=False)
    means = groups.mean(numeric_only=True).drop(columns="seed")
    return means.astype({"n": int}).assign(seeds=groups["seed"].nunique()).reset_index()


def _overlap(
    here: pd.DataFrame, there: pd.DataFrame, right: float, kind: str
) -> dict[str, float | int]:
    there = there.loc[here.index]
    ok, ok_there = (here["score"] >= right).to_numpy(), (there["score"] >= right).to_numpy()
    found = {
        "right": 100 * ok.mean(),
        "right_in_source": 100 * ok_there.mean(),
        "kept": 100 * ok[ok_there].mean() if ok_there.any() else np.nan,
        "gained": 100 * ok[~ok_there].mean() if not ok_there.all() else np.nan,
        **dict.fromkeys(("agreement", "expected", "kappa"), np.nan),
    }
    if kind in COMPARABLE:
        found |= agreement(here["pred"].to_numpy(), there["pred"].to_numpy())
    return found | {"n": len(here), "n_source_right": int(ok_there.sum())}


# The texts of an item, by kind. Words are what white space divides: a Chinese or Thai sentence
# is one word, so lengths are compared between languages in characters.
_TEXTS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "classification": lambda row: [row["text_a"], row["text_b"]],
    "choice": lambda row: [row["premise"], *row["choices"]],
    "tagging": lambda row: list(row["tokens"]),
    "span": lambda row: [row["question"], row["context"]],
    "retrieval": lambda row: [row["text"]],
    "ranking": lambda row: [row["query"]],
}
_INPUT = {
    "characters": lambda texts: sum(map(len, texts)),
    "words": lambda texts: sum(len(text.split()) for text in texts),
}
# What items can be sorted by, the kinds that have it, and how an axis names it.
ATTRIBUTES: dict[str, tuple[tuple[str, ...], str]] = {
    "characters": (tuple(_TEXTS), "length of the input (characters)"),
    "words": (tuple(_TEXTS), "length of the input (words)"),
    "answer": (("span",), "length of the first gold answer (characters)"),
    "label": (COMPARABLE, "gold label"),
    "chunk length": (("tagging",), "length of the chunk (words)"),
    "chunk type": (("tagging",), "type of the chunk"),
}


def buckets(
    results: Results, task: str, by: str = "characters", *, bins: int | Sequence[int] = 4,
    over: str = "language", least: int = 30,
) -> pd.DataFrame:  # fmt: skip
    """The score of a task by an attribute of its items: which items fail, and where.

    Args:
        results: of a study.
        task: one of its tasks.
        by: a key of ``ATTRIBUTES``. Chunks of tags are those of ``scorers.chunks``: entities, or
            runs of equal parts of speech.
            Lengths in characters differ by script too (XQuAD: a median of 247 in Chinese and 767
            in English), so that buckets are compared within a language first.
        bins: how many buckets to make at the quantiles of all languages together, or the edges
            between them; a value equal to an edge belongs above it. Names are not binned.
        over: ``language``; or ``family``, ``script`` or ``resource``, without the source language,
            whose score would say little about transfer.
        least: a bucket of fewer items is marked ``small``.

    Returns:
        One row per arm, group, metric and bucket with anything in it. ``metric`` is ``score``
        (accuracy; F1 of spans; share of right tags) or, of chunks, ``recall`` by the attributes
        of the gold chunk and, for entities, ``precision`` by those of the predicted one. ``value``
        is the mean (0 to 100). ``n`` counts items: the seeds of one and, but for chunks, its
        translations within a group count once. ``low`` and ``high`` are the 95 % Wilson interval
        for ``n`` independent items; it is too wide rather than too narrow for scores between 0
        and 1, and too narrow as far as chunks of one sentence fail together.

    Raises:
        ValueError: for an unknown attribute, one that the kind of the task does not have, or if
            there is no language but the source to group.
    """
    kind = get(*known_tasks(results, [task])).kind
    possible = [name for name, (kinds, _) in ATTRIBUTES.items() if kind in kinds]
    groups = ["language", "family", "script", "resource"]
    if by not in possible or over not in groups:
        raise ValueError(
            f"by is {by!r} and over is {over!r}; {task} ({kind}) can be sorted by "
            f"{', '.join(possible)}, over {', '.join(groups)}."
        )
    items = _items(results, task, by)
    items["bucket"] = _bucket(items, bins)
    if over != "language":
        items = items[items["language"] != results.study.source]
        if items.empty:
            raise ValueError(f"{task} has scores in the source language only: over='language'.")
    items = items.join(columns(sorted(items["language"].unique())), on="language")
    rows = []
    for key, part in items.groupby(["arm", over, "metric", "bucket"], observed=True, sort=True):
        n, value = part["item"].nunique(), part["score"].mean()
        low, high = wilson(value, n)
        found = {"value": 100 * value, "low": 100 * low, "high": 100 * high, "n": n}
        rows.append(
            dict(zip(("arm", over, "metric", "bucket"), key, strict=True))
            | found | {"small": n < least}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    table["bucket"] = pd.Categorical(table["bucket"], items["bucket"].cat.categories, ordered=True)
    table.insert(1, "task", task)
    table.insert(table.columns.get_loc("bucket"), "by", by)
    return table


def wilson(share: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The Wilson (1927) interval of a share (0 to 1) of ``n``, which holds near 0 and 1 too."""
    z = scipy_stats.norm.ppf((1 + level) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def _items(results: Results, task: str, by: str) -> pd.DataFrame:
    """One row per prediction (or chunk): arm, seed, language, metric, item, attribute, score."""
    table = results.predictions.query("task == @task")
    if by.startswith("chunk"):
        return _chunk_items(table, get(task), by)
    table = table.assign(metric="score", item=table["example_id"])
    if by == "label":
        return table.assign(attribute=table["gold"])
    if by == "answer":
        return table.assign(attribute=[len(json.loads(gold)[0]) for gold in table["gold"]])
    split = results.scores.loc[results.scores["task"] == task, "split"].iloc[0]
    examples = int(results.scores.loc[results.scores["task"] == task, "examples"].iloc[0])
    lengths = {
        (code, key): length
        for code in table["language"].unique()
        for key, length in _lengths(get(task), split, code, by, examples)
    }
    keys = list(zip(table["language"], table["example_id"], strict=True))
    if lacking := sorted(set(keys) - set(lengths)):
        raise ValueError(
            f"{len(lacking)} predictions of {task} are of items that its {split} split does not "
            f"hold now (such as {lacking[0]}): the data changed since. Run the study again."
        )
    return table.assign(attribute=[lengths[key] for key in keys])


def _lengths(
    task: Task, split: str, language: str, by: str, examples: int
) -> Iterator[tuple[str, int]]:
    for row in data.load(task, split, language, examples):
        yield row["id"], _INPUT[by](_TEXTS[task.kind](row))


def _chunk_items(table: pd.DataFrame, task: Task, by: str) -> pd.DataFrame:
    entities = any(label.startswith("B-") for label in task.labels)
    rows = []
    for row in table.itertuples(index=False):
        gold, pred = chunks([row.gold.split()]), chunks([row.pred.split()])
        sides = [("recall", gold, pred), ("precision", pred, gold)]
        for metric, mine, others in sides if entities else sides[:1]:
            for name, first, last in mine:
                attribute = name if by == "chunk type" else last - first + 1
                item = (row.language, row.example_id, name, first, last)
                score = float((name, first, last) in others)
                rows.append((row.arm, row.seed, row.language, metric, item, attribute, score))
    names = ["arm", "seed", "language", "metric", "item", "attribute", "score"]
    return pd.DataFrame(rows, columns=names)


def _bucket(items: pd.DataFrame, bins: int | Sequence[int]) -> pd.Series:
    """The bucket of each row, as an ordered category."""
    values = items["attribute"]
    if not pd.api.types.is_numeric_dtype(values):
        return values.astype(pd.CategoricalDtype(sorted(values.unique()), ordered=True))
    # Every item once for the quantiles, however many arms and seeds there are.
    once = items[items["metric"] != "precision"].drop_duplicates(["language", "item"])["attribute"]
    if isinstance(bins, int):
        if bins < 1:
            raise ValueError(f"bins is {bins}; expected 1 or more, or a list of edges.")
        edges = np.ceil(np.quantile(once, np.arange(1, bins) / bins)).astype(int)
        edges = [edge for edge in dict.fromkeys(edges.tolist()) if edge > once.min()]
    else:
        edges = sorted(set(bins))
    labels = [_range(low, high) for low, high in zip([None, *edges], [*edges, None], strict=True)]
    places = np.searchsorted(edges, values, side="right")
    return pd.Series(pd.Categorical.from_codes(places, labels, ordered=True), values.index)


def _range(low: int | None, high: int | None) -> str:
    if low is None:
        return "all" if high is None else f"< {high}"
    if high is None:
        return f">= {low}"
    return str(low) if high == low + 1 else f"{low} to {high - 1}"
