"""Results of studies that were never run: scores or predictions are given."""

from types import SimpleNamespace

import pandas as pd

from xltkit.data.languages import columns
from xltkit.studies.results import Results

E, N, C = "entailment", "neutral", "contradiction"
VALUES = {
    ("none", "nli", "en"): [90, 91, 92],
    ("none", "nli", "de"): [80, 82, 84],
    ("none", "nli", "sw"): [60, 60, 63],
    ("text", "nli", "en"): [91, 92, 93],
    ("text", "nli", "de"): [83, 84, 88],
    ("text", "nli", "sw"): [61, 61, 64],
}


class Given(Results):
    """Results of which the scores are given: (arm, task, language) -> one value a seed.

    The last run of ``text`` is degenerate.
    """

    def __init__(self, values: dict = VALUES):
        index = pd.MultiIndex.from_tuples(values, names=["arm", "task", "language"])
        table = pd.DataFrame(list(values.values()), index, dtype=float)
        table = table.melt(var_name="seed", ignore_index=False).reset_index()
        table = table.assign(n=100, metric="accuracy", main=True, chance=33.3)
        table["base_language"] = table["language"]
        table["is_source"] = table["language"] == "en"
        self.scores = table.join(columns(sorted(table["language"].unique())), on="language")
        runs = table[["arm", "seed", "task"]].drop_duplicates()
        self.degenerate = runs.assign(degenerate=(runs["arm"] == "text") & (runs["seed"] == 2))
        arms = dict.fromkeys(table["arm"])
        self.study = SimpleNamespace(arms=arms, source="en", runs=(), suite="microworld")


def labelled(
    golds: list[str], predictions: dict, arm="a", seed=0, task="nli", log_probs=None
) -> pd.DataFrame:
    """One arm's predictions by language; ``log_probs`` by language are matrices."""
    tables = []
    for language, labels in predictions.items():
        table = pd.DataFrame({"gold": golds, "pred": labels})
        table = table.assign(arm=arm, seed=seed, task=task, language=language)
        table["example_id"] = table.index.astype(str)
        table["score"] = (table["gold"] == table["pred"]).astype(float)
        if log_probs:
            table["log_probs"] = pd.Series(list(log_probs[language]), dtype=object)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def right_or_wrong(marks: dict, task="nli", ids=None) -> pd.DataFrame:
    """Predictions of two labels; ``marks`` are 1 and 0 of each item by (arm, seed, language)."""
    tables = []
    for (arm, seed, language), digits in marks.items():
        golds = [(E, C)[i % 2] for i in range(len(digits))]
        others = [(C, E)[i % 2] for i in range(len(digits))]
        labels = [g if d == "1" else o for g, o, d in zip(golds, others, digits, strict=True)]
        table = labelled(golds, {language: labels}, arm, seed, task)
        if ids:
            table["example_id"] = [ids(language, i) for i in range(len(table))]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)
