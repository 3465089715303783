"""Does a model give the same answer to the same question in different languages?

Items are paired by id, so the test sets must be translations of one another. Accurate answers
agree anyway, so each measure is reported relative to chance.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from xltkit.analysis.intervals import t_interval
from xltkit.data.loading import warn_once
from xltkit.keys import choose
from xltkit.studies.results import RUN, Results
from xltkit.tasks import get

Names = Sequence[str]
MEASURES = ["agreement", "kappa", "rankc_corrected"]
MEANS = [*MEASURES, "all_right"]


def rank_consistency(first: np.ndarray, second: np.ndarray) -> float:
    """The mean RankC over items, as (RankC - floor) / (1 - floor) (Qi et al. 2023, 2310.10378).

    RankC is the sum over j = 1..N of w_j P@j, where P@j is the share of the top j candidates that
    two rankings have in common, and w_j is proportional to exp(N - j). For unrelated rankings, P@j
    is j / N on average, which gives the floor: they get 0, and equal rankings 1. ``first`` and
    ``second`` are ranks (items, candidates), 1 being the best.
    """
    places = np.arange(1, first.shape[1] + 1)
    weights = np.exp(-places.astype(float))
    weights /= weights.sum()
    # A candidate is in the top j of both as soon as j reaches the worse of its two ranks, and then
    # adds 1 / j to P@j.
    from_rank = (weights / places)[::-1].cumsum()[::-1]
    rankc = from_rank[np.maximum(first, second) - 1].sum(axis=1).mean()
    floor = weights @ places / len(places)
    return (rankc - floor) / (1 - floor)


def pairwise(results: Results, tasks: Names = (), languages: Names = ()) -> pd.DataFrame:
    """How well any two languages agree on the items that both have.

    By default, ``tasks`` are all parallel ones, and a warning names the others; ``languages`` are
    all, including the source.

    One row per arm, seed, task and unordered pair ``language``, ``other`` (never the source).
    ``agreement`` (%) is the share of equal predictions, and ``kappa`` the agreement beyond chance
    (Cohen 1960; NaN if only one label was predicted); both are NaN for text answers.
    ``rankc_corrected`` is ``rank_consistency`` (%), NaN if items differ in their number of
    candidates or only the best candidate was kept. ``n`` counts items.
    Raises ValueError for unknown names, named tasks that are not parallel, or if there is no pair.
    """
    rows = []
    for run, codes, table in _parallel_runs(results, tasks, languages):
        table = table.assign(row=range(len(table)))
        places = table.pivot(index="example_id", columns="language", values="row")
        labels, names = pd.factorize(table["pred"])
        size = len(names)
        ranks = None
        log_probs = table["log_probs"].dropna().tolist() if "log_probs" in table else []
        if len(log_probs) == len(table) and len(set(map(len, log_probs))) == 1:
            ranks = rankdata(-np.stack(log_probs), method="ordinal", axis=1).astype(int)
        for language, other in combinations(codes, 2):
            first, second = places[[language, other]].dropna().to_numpy(dtype=int).T
            if not len(first):
                continue
            row = run | {"language": language, "other": other, "n": len(first)}
            if get(run["task"]).type.is_comparable:
                agreement = np.mean(labels[first] == labels[second])
                shares = [np.bincount(labels[i], minlength=size) / len(i) for i in (first, second)]
                by_chance = shares[0] @ shares[1]
                row["agreement"] = 100 * agreement
                if by_chance < 1:
                    row["kappa"] = (agreement - by_chance) / (1 - by_chance)
            if ranks is not None:
                row["rankc_corrected"] = 100 * rank_consistency(ranks[first], ranks[second])
            rows.append(row)
    if not rows:
        names = f"{list(languages) or 'the study'} (source: {results.study.source!r})"
        raise ValueError(f"No task has items in common in two languages of {names}.")
    return pd.DataFrame(rows, columns=[*RUN, "language", "other", *MEASURES, "n"])


def consistency(results: Results, tasks: Names = (), languages: Names = ()) -> pd.DataFrame:
    """How consistent each arm is across languages.

    Takes the arguments of ``pairwise`` and raises the same errors. One row per arm and task:
    ``agreement``, ``kappa`` and ``rankc_corrected`` are unweighted means over pairs of languages.
    ``all_right`` is the percentage of items with a perfect score in every language,
    ``all_right_expected`` what it would be if errors were independent (the product of the
    accuracies). All are means over ``seeds``, with t intervals ``<column>_low`` and
    ``<column>_high``. ``n`` counts the items that all ``languages`` have.
    """
    pair_means = pairwise(results, tasks, languages).groupby(RUN)[MEASURES].mean()
    rows = []
    for run, codes, table in _parallel_runs(results, tasks, languages):
        scores = table.pivot(index="example_id", columns="language", values="score")
        right = scores.dropna() >= 1
        row = run | {"languages": len(codes), "n": len(right)}
        row["all_right"] = 100 * right.all(axis=1).mean()
        row["all_right_expected"] = 100 * right.mean().prod(skipna=False)
        rows.append(row)
    by_run = pd.DataFrame(rows).join(pair_means, on=RUN, how="inner")
    groups = by_run.groupby(["arm", "task"], sort=False)
    table = groups[["all_right_expected", *MEANS]].mean()
    for name in MEANS:
        table[[f"{name}_low", f"{name}_high"]] = [t_interval(values) for _, values in groups[name]]
    table[["languages", "n"]] = groups[["languages", "n"]].first()
    return table.assign(seeds=groups["seed"].nunique()).reset_index()


def _parallel_runs(
    results: Results, tasks: Sequence[str], languages: Sequence[str]
) -> Iterator[tuple[dict[str, object], list[str], pd.DataFrame]]:
    """For parallel tasks, each run, its languages (source first) and its predictions."""
    source = results.study.source
    for what, names in (("task", tasks), ("language", languages)):
        for name in names:
            choose(what, name, results.predictions[what].unique())
    for task, predictions in results.predictions.groupby("task", sort=False):
        if tasks and task not in tasks:
            continue
        ids = predictions.groupby("language")["example_id"].agg(set)
        apart = [code for code, names in ids.items() if not names <= ids.get(source, set())]
        if apart:
            sentence = f"{task} is not parallel: {source!r} lacks items that are in {apart}."
            if tasks:
                raise ValueError(sentence)
            warn_once(f"Left out: {sentence}")
            continue
        predictions = predictions[predictions["language"].isin(languages or ids.index)]
        codes = sorted(predictions["language"].unique(), key=lambda code: code != source)
        for key, part in predictions.groupby(RUN, sort=False):
            yield dict(zip(RUN, key, strict=True)), codes, part
