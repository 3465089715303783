"""Comparing arms: differences with intervals, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from xltkit.results import Results

LEVEL = 0.95
POWER = 0.8


def t_interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """The t interval of the mean. (A bootstrap over five seeds covers the truth 84 % of the time.)

    Not a number with fewer than two values, or if they are all the same: repeating a number that
    does not depend on the seed says nothing about how much it could vary.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2 or np.ptp(values) == 0:
        return float("nan"), float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    half = scipy_stats.t.ppf((1 + level) / 2, len(values) - 1) * error
    return float(values.mean() - half), float(values.mean() + half)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p values corrected for their number (Holm 1979); missing ones stay missing."""
    p = np.asarray(p_values, dtype=float)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    corrected = np.full(len(p), np.nan)
    steps = p[order] * (len(order) - np.arange(len(order)))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return corrected


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


def summary(results: Results, by: str | Sequence[str] = ("arm", "task")) -> pd.DataFrame:
    """Scores by group: the source language, the mean of the others, the gap, the worst five.

    ``gap`` is the source minus the mean of the others (Hu et al. 2020); ``low`` and ``high`` are
    the t interval of ``transfer`` over seeds.
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
            }
        )
    return pd.DataFrame(rows)


def compare(results: Results, baseline: str, by: str | Sequence[str] = "task") -> pd.DataFrame:
    """Each arm minus the baseline, paired by seed, with t intervals over seeds.

    Args:
        results: of a study.
        baseline: the arm to subtract.
        by: columns of ``results.scores`` to group by: ``task``, ``family``, ``resource``,
            ``language``, or several.

    Returns:
        One row per arm and group, the source language apart. ``difference``, ``low`` and ``high``
        in points; ``p`` of a paired t test; ``p_holm`` corrected over the whole table;
        ``smallest_effect`` is the difference this number of seeds would have found four times
        out of five. The interval covers retraining with other seeds, on these languages and
        these test items; it does not cover other test items.

    Raises:
        ValueError: if the baseline is no arm, or there is nothing to compare it with.
    """
    arms = list(results.study.arms)
    if baseline not in arms or len(arms) < 2:
        raise ValueError(f"baseline is {baseline!r}; the study has the arms {arms} (two or more).")
    by = _by(by)
    table = results.main
    _checked(table, by)
    key = ["seed", "task", "counterpart"]
    reference = table.loc[table["arm"] == baseline, [*key, "value"]]
    paired = table[table["arm"] != baseline].merge(
        reference, on=key, suffixes=("", "_baseline"), validate="many_to_one"
    )
    paired["difference"] = paired["value"] - paired["value_baseline"]
    seeds = per_seed(paired, ["arm", *by], "difference")
    groups = ["arm", *by, "languages"]
    examples = paired.assign(
        languages=np.where(paired["is_source"], "source", "transfer")
    ).drop_duplicates([*groups, "task", "language"])
    counts = examples.groupby(groups, observed=True)["n"].sum()
    rows = [
        dict(zip(groups, name, strict=True))
        | difference(group["difference"].to_numpy())
        | {"n_examples": int(counts[name])}
        for name, group in seeds.groupby(groups, observed=True, sort=False)
    ]
    out = pd.DataFrame(rows)
    out.insert(out.columns.get_loc("p") + 1, "p_holm", holm(out["p"]))
    return out.assign(method="paired t over seeds", baseline=baseline)


def interaction(
    results: Results, baseline: str, by: str, here: Sequence[str], there: Sequence[str]
) -> pd.DataFrame:
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

    Returns:
        One row per arm: ``gain_here``, ``gain_there``, and of their difference the columns of
        ``compare``.

    Raises:
        ValueError: if the baseline is no arm, or a group has no transfer language.
    """
    arms, table = list(results.study.arms), results.main[~results.main["is_source"]]
    _checked(table, [by])
    groups = {"here": list(here), "there": list(there)}
    for group in groups.values():
        if baseline not in arms or not table[by].isin(group).any():
            raise ValueError(
                f"baseline is {baseline!r} and a group {group}: arms are {arms}, and {by} of the "
                f"transfer languages can be {sorted(table[by].unique())}."
            )
    means = {
        name: table[table[by].isin(group)].groupby(["seed", "task", "arm"])["value"].mean()
        for name, group in groups.items()
    }
    # A task that only one of the two groups has would be taken for a difference of the groups.
    both = pd.concat(means, axis=1).dropna().unstack("arm")
    gains = {
        name: both[name].sub(both[name][baseline], axis=0).groupby("seed").mean() for name in means
    }
    rows = [
        {"arm": arm, "by": by}
        | {f"gain_{name}": gain[arm].mean() for name, gain in gains.items()}
        | difference((gains["here"] - gains["there"])[arm].to_numpy())
        for arm in arms
        if arm != baseline
    ]
    out = pd.DataFrame(rows)
    return out.assign(p_holm=holm(out["p"]), baseline=baseline)


def difference(values: Sequence[float]) -> dict[str, float]:
    """The mean of paired differences, one a seed: its t interval, p value and smallest effect."""
    values = np.asarray(values, dtype=float)
    count = len(values)
    low, high = t_interval(values)
    varies = not np.isnan(low)
    error = values.std(ddof=1) / np.sqrt(count) if varies else np.nan
    quantiles = scipy_stats.t.ppf([(1 + LEVEL) / 2, POWER], count - 1) if varies else np.nan
    return {
        "difference": values.mean(),
        "low": low,
        "high": high,
        "p": 2 * scipy_stats.t.sf(abs(values.mean()) / error, count - 1) if varies else np.nan,
        "smallest_effect": float(np.sum(quantiles) * error) if varies else np.nan,
        "n_seeds": count,
    }


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
