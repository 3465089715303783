"""Comparing arms: differences with intervals, paired by seed and, if asked for, by example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from xltkit.analysis.intervals import difference, holm, t_interval
from xltkit.analysis.items import METHODS, tested
from xltkit.studies.results import Results

__all__ = [
    "best_layer",
    "by_layer",
    "compare",
    "difference",
    "holm",
    "interaction",
    "per_seed",
    "summary",
    "t_interval",
]


def _by(by: str | Sequence[str]) -> list[str]:
    return [by] if isinstance(by, str) else list(by)


def _checked(table: pd.DataFrame, columns: Sequence[str]) -> None:
    unknown = [c for c in columns if c not in table.columns]
    if unknown:
        raise ValueError(f"No column {unknown}; by can be any of {sorted(table.columns)}.")


def per_seed(table: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """Means over languages within each task, then over tasks, for each seed and group.

    The source language stays apart (``languages`` is ``source`` or ``transfer``): a mean that
    holds English says little about transfer.
    """
    table = table.assign(languages=np.where(table["is_source"], "source", "transfer"))
    groups = [*by, "languages", "seed"]
    inside = table.groupby([*dict.fromkeys([*groups, "task"])], observed=True)[value].mean()
    return inside.groupby(groups, observed=True).mean().reset_index()


def _degenerate(results: Results, arms: Iterable[str], tasks: Iterable[str]) -> int:
    """The number of degenerate runs of these arms on these tasks."""
    runs = results.degenerate
    return int(runs.loc[runs["arm"].isin(arms) & runs["task"].isin(tasks), "degenerate"].sum())


def summary(results: Results, by: str | Sequence[str] = ("arm", "task")) -> pd.DataFrame:
    """Scores by group: the source language, the mean of the others, the gap, the worst five.

    ``gap`` is the source minus the mean of the others (Hu et al. 2020); ``low`` and ``high`` are
    the t interval of ``transfer`` over seeds. ``degenerate`` runs (``Results.degenerate``) are
    counted, and are in all means.
    """
    table, by = results.main, _by(by)
    _checked(table, by)
    rows = []
    for key, group in table.groupby(by, observed=True, sort=False):
        seeds = per_seed(group, [])
        source = seeds.loc[seeds["languages"] == "source", "value"]
        transfer = seeds.loc[seeds["languages"] == "transfer", "value"]
        others = group[~group["is_source"]].groupby("language")["value"].mean().sort_values()
        low, high = t_interval(transfer)
        rows.append(
            dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
            | {
                "source": source.mean(),
                "transfer": transfer.mean(),
                "low": low,
                "high": high,
                "gap": source.mean() - transfer.mean(),
                "worst five": others[:5].mean(),
                "worst": ", ".join(others.index[:5]),
                "seeds": group["seed"].nunique(),
                "degenerate": _degenerate(results, group["arm"], group["task"]),
            }
        )
    return pd.DataFrame(rows)


def compare(
    results: Results, baseline: str, by: str | Sequence[str] = "task", method: str = "seeds"
) -> pd.DataFrame:
    """Each arm minus the baseline, paired by seed (and by example), with intervals.

    ``method`` says what the interval and ``p`` are about:

    - ``seeds``: would it hold with other seeds, on these test items? t over seeds.
    - ``both``: with other seeds and other items of the same sort? A t interval too. To the variance
      over seeds comes that of a bootstrap over items (paired, joint over parallel languages, corpus
      metrics computed anew), less what each seed does with each item, which would count twice.
      Drawing the few seeds with replacement as well would be too narrow: with three the interval
      covers 78 % where seeds matter most (``benchmarks/calibration.py``). If there is one seed, or
      all give the same, the interval is over the items alone, and the column ``method`` says so.
    - ``examples``: would these very models differ on other items? Normal, with the bootstrap's
      variance. It says nothing of retraining: two runs of one recipe may well differ.
    - ``flip seeds``: ``p`` of the question of ``seeds`` without any assumption on how differences
      are spread, exact; with n seeds never under 2 to the (1 - n), see the column ``smallest_p``.
    - ``flip examples``: the same of the question of ``examples``. Flips give no interval.

    Args:
        results: of a study.
        baseline: the arm to subtract.
        by: columns of ``results.scores`` to group by: ``task``, ``family``, ``resource``,
            ``language``, or several.
        method: a key of ``METHODS``.

    Returns:
        One row per arm and group, the source language apart. ``difference``, ``low`` and ``high``
        in points; ``p``, and ``p_holm`` corrected over the whole table; ``smallest_effect`` is the
        difference this design would have found four times out of five; ``degenerate`` counts the
        runs of both arms at chance or worse (``Results.degenerate``), which are not left out.

    Raises:
        ValueError: if the baseline is no arm, there is nothing to compare it with, or the method
            is unknown or needs predictions that the scores are not of.
    """
    arms = list(results.study.arms)
    if baseline not in arms or len(arms) < 2:
        raise ValueError(f"baseline is {baseline!r}; the study has the arms {arms} (two or more).")
    _known(method, METHODS)
    by = _by(by)
    table = results.main
    _checked(table, by)
    key = ["seed", "task", "base_language"]
    reference = table.loc[table["arm"] == baseline, [*key, "value"]]
    paired = table[table["arm"] != baseline].merge(
        reference, on=key, suffixes=("", "_baseline"), validate="many_to_one"
    )
    paired["difference"] = paired["value"] - paired["value_baseline"]
    paired["languages"] = np.where(paired["is_source"], "source", "transfer")
    groups = ["arm", *by, "languages"]
    rows = []
    for name, group in paired.groupby(groups, observed=True, sort=False):
        cells = group.drop_duplicates(["task", "language"])
        seeds = per_seed(group, [], "difference")["difference"]
        arm = group["arm"].iloc[0]
        rows.append(
            dict(zip(groups, name, strict=True))
            | tested(results, (arm, baseline), _weights(cells), seeds.to_numpy(), method)
            | {
                "n_examples": int(cells["n"].sum()),
                "degenerate": _degenerate(results, (arm, baseline), cells["task"]),
            }
        )
    return _corrected(pd.DataFrame(rows), baseline)


def _known(method: str, allowed: Iterable[str]) -> None:
    if method not in allowed:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(allowed)}.")


def _corrected(table: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """With p values corrected over the whole table, and the method and the baseline last."""
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
    return table.assign(method=table.pop("method"), baseline=baseline)


def _weights(cells: pd.DataFrame) -> dict[tuple[str, str], float]:
    """The weight of each task and language in a mean over languages, then over tasks."""
    sizes = cells.groupby("task")["task"].transform("size") * cells["task"].nunique()
    return dict(
        zip(zip(cells["task"], cells["base_language"], strict=True), 1 / sizes, strict=True)
    )


def interaction(
    results: Results, baseline: str, by: str, here: Sequence[str], there: Sequence[str],
    method: str = "seeds",
) -> pd.DataFrame:  # fmt: skip
    """Whether an arm's gain over the baseline is larger in some groups of languages than in others.

    A difference of differences, paired by seed: the gain in the groups ``here`` minus the gain in
    the groups ``there``, task by task, then averaged; the source language plays no part, nor does
    a task that has languages in one of the two only.

    Args:
        results: of a study.
        baseline: the arm that gains are over.
        by: a column of ``results.scores``, such as ``resource`` or ``family``.
        here: values of that column.
        there: other values of it.
        method: as in ``compare``: ``seeds``, ``both`` or ``examples``.

    Returns:
        One row per arm: ``gain_here``, ``gain_there``, and of their difference the columns of
        ``compare``.

    Raises:
        ValueError: if the baseline is no arm, or a group has no transfer language.
    """
    arms, table = list(results.study.arms), results.main[~results.main["is_source"]]
    _checked(table, [by])
    _known(method, ("seeds", "both", "examples"))
    groups = {"here": list(here), "there": list(there)}
    for group in groups.values():
        if baseline not in arms or not table[by].isin(group).any():
            raise ValueError(
                f"baseline is {baseline!r} and a group {group}: arms are {arms}, and {by} of the "
                f"transfer languages can be {sorted(table[by].unique())}."
            )
    sides = {name: table[table[by].isin(group)] for name, group in groups.items()}
    # A task that only one of the two groups has would be taken for a difference of the groups.
    tasks = set(sides["here"]["task"]) & set(sides["there"]["task"])
    sides = {name: side[side["task"].isin(tasks)] for name, side in sides.items()}
    means = {
        name: side.groupby(["seed", "task", "arm"])["value"].mean().unstack("arm")
        for name, side in sides.items()
    }
    gains = {name: m.sub(m[baseline], axis=0).groupby("seed").mean() for name, m in means.items()}
    rows = []
    for arm in arms:
        if arm == baseline:
            continue
        here_w, there_w = (
            _weights(side[side["arm"] == arm].drop_duplicates(["task", "base_language"]))
            for side in sides.values()
        )
        weights = here_w | {cell: -weight for cell, weight in there_w.items()}
        seeds = (gains["here"] - gains["there"])[arm].to_numpy()
        rows.append(
            {"arm": arm, "by": by}
            | {f"gain_{name}": gain[arm].mean() for name, gain in gains.items()}
            | tested(results, (arm, baseline), weights, seeds, method)
            | {"degenerate": _degenerate(results, (arm, baseline), tasks)}
        )
    return _corrected(pd.DataFrame(rows), baseline)


def by_layer(results: Results) -> pd.DataFrame:
    """Retrieval by layer and pooling: means over seeds and transfer languages, of a sweep.

    Returns:
        One row per task, arm, ``layer`` (1 is the first) and ``pooling``, with ``value`` in points.

    Raises:
        ValueError: if the study had no sweep.
    """
    table = results.scores
    table = table[table["metric"].str.contains("@") & table["metric"].str.contains("/")]
    if table.empty:
        raise ValueError("The study scored one layer only; type study(..., sweep=True).")
    where = table["metric"].str.extract(r"@(?P<layer>\d+)/(?P<pooling>\w+)$")
    table = table.assign(layer=where["layer"].astype(int), pooling=where["pooling"])
    groups = ["task", "arm", "layer", "pooling"]
    means = table[~table["is_source"]].groupby(groups, sort=False)["value"].mean()
    return means.reset_index()


def best_layer(results: Results, baseline: str) -> pd.DataFrame:
    """Each arm's gain in retrieval at the protocol's layer, and with every arm at its best layer.

    The best layer is picked by the scores in the transfer languages (an oracle); the baseline is
    read at its best layer, too, so that a gain is not one of having looked.

    Returns:
        One row per task and arm: ``protocol`` and ``best`` in points, the ``layer`` and
        ``pooling`` of the best, ``gain`` and ``gain at best`` over the baseline.
    """
    swept = by_layer(results)
    if baseline not in (arms := list(results.study.arms)):
        raise ValueError(f"baseline is {baseline!r}; the study has the arms {arms}.")
    best = swept.loc[swept.groupby(["task", "arm"], sort=False)["value"].idxmax()]
    main = results.main
    protocol = main[~main["is_source"]].groupby(["task", "arm"])["value"].mean().rename("protocol")
    table = best.rename(columns={"value": "best"}).join(protocol, on=["task", "arm"])
    table = table.set_index(["task", "arm"])
    for name, column in {"gain": "protocol", "gain at best": "best"}.items():
        table[name] = (
            table[column]
            - table[column]
            .xs(baseline, level="arm")
            .reindex(table.index.get_level_values("task"))
            .to_numpy()
        )
    return table.reset_index()[
        ["task", "arm", "protocol", "best", "layer", "pooling", "gain", "gain at best"]
    ]
