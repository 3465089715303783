"""Compare arms, paired by seed and optionally by test item; report scores under attack."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd

from xltkit.analysis.doctor import warn_of_chance
from xltkit.analysis.intervals import difference, holm, t_interval, t_test, variance_of_mean
from xltkit.analysis.items import items
from xltkit.files import without_folder
from xltkit.keys import choose
from xltkit.studies.results import RUN, Results, Run
from xltkit.studies.saved import Saved
from xltkit.tasks import count, get
from xltkit.tasks.base import TrainingSet
from xltkit.training.phases import Phase

METHODS = {
    "seeds": "paired t over seeds",
    "both": "paired t over seeds and examples",
    "examples": "over examples",
}
ITEM = [*RUN, "language"]
SETTINGS = ["attack", "access", "strength", "beam", "settings"]
COSTS = {"success": 0.0, "changed": 0.0, "valid": 100.0, "queries": 0.0}  # without attack


def per_seed(table: pd.DataFrame, by: Sequence[str], value: str = "value") -> pd.DataFrame:
    """Means over languages within each task, then over tasks, for each seed and group.

    The source language is kept separate: ``languages`` is ``source`` or ``transfer``.
    """
    table = table.assign(languages=np.where(table["is_source"], "source", "transfer"))
    groups = [*by, "languages", "seed"]
    with_task = list(dict.fromkeys([*groups, "task"]))
    task_means = table.groupby(with_task, observed=True)[value].mean()
    return task_means.groupby(groups, observed=True).mean().reset_index()


def summary(results: Results | Saved) -> pd.DataFrame:
    """Scores by arm and task: source language, mean of the others, their gap and the worst five.

    ``gap`` is the source minus the mean of the others (Hu et al. 2020); ``low`` and ``high`` are
    the t interval of ``transfer`` over seeds. ``degenerate`` counts the runs at chance or worse
    (``Results.degenerate``); all means include them, and a warning says what ``doctor`` finds.
    """
    if results.degenerate is not None:
        warn_of_chance(results)
    rows = []
    for (arm, task), group in results.main.groupby(["arm", "task"], observed=True, sort=False):
        by_seed = per_seed(group, []).pivot(index="seed", columns="languages", values="value")
        by_seed = by_seed.reindex(columns=["source", "transfer"])
        source = by_seed["source"].mean()
        transfer = by_seed["transfer"].dropna()
        low, high = t_interval(transfer)
        worst = group[~group["is_source"]].groupby("language")["value"].mean().sort_values()[:5]
        row = {"arm": arm, "task": task, "source": source, "transfer": transfer.mean()}
        row |= {"low": low, "high": high, "gap": source - transfer.mean()}
        row |= {"worst five": worst.mean(), "worst": ", ".join(worst.index)}
        row |= {"seeds": len(by_seed), "degenerate": _degenerate(results, [arm], [task])}
        rows.append(row)
    return pd.DataFrame(rows)


def protocol(results: Results) -> str:
    """What is needed to compare the scores with published ones, one line per task and phase.

    Lists the training rows, steps, rows per step and learning rate of the target phase, the
    checkpoint scored, the seeds, the test items per language, the maximum length in tokens, and the
    languages that an encoder is known not to have seen; then what was trained before the targets.
    Where arms differ, each is named.
    """
    lines = []
    befores: dict[str, list[str]] = {}  # tasks by what came before, nearly always the same for all
    for task, table in results.main.groupby("task", sort=False):
        runs = [run for run in results.study.runs if run.task == task and run.stage]
        phases = {run.arm: [part.phase for part in run.stage.chain[:0:-1]] for run in runs}
        is_trained = not get(task).type.is_untrained
        targets = {arm: of_arm.pop() for arm, of_arm in phases.items() if is_trained}
        trained_on = _data([part for phase in targets.values() for part in phase.training_sets])
        steps = {arm: _steps(phase) for arm, phase in targets.items()}
        before = {
            arm: ", then ".join(f"{_data(p.training_sets)}, {_steps(p)}" for p in of_arm)
            for arm, of_arm in phases.items()
        }
        unseen = table["language"][table["unseen"]].unique()
        facts = {
            "trained on": trained_on or ("" if targets or not runs else "nothing"),
            "steps": _by_arm(steps),
            "scored": ", ".join(table["selection_rule"].unique()) if targets else "",
            "seeds": ", ".join(map(str, table["seed"].unique())) if is_trained else "",
            "items per language": " or ".join(map(str, table["n"].unique())),
            "tokens": " or ".join(map(str, table["max_length"].unique())),
            "never seen in pretraining": ", ".join(unseen),
        }
        named = [f"{name} {values}" for name, values in facts.items() if values]
        lines.append(f"{task}: {'; '.join(named)}.")
        befores.setdefault(_by_arm(before), []).append(task)
    lines += [f"before {', '.join(tasks)}: {fact}." for fact, tasks in befores.items() if fact]
    return "\n".join(lines)


def _data(training_sets: Iterable[TrainingSet]) -> str:
    """The rows of training sets in words; those that differ in language alone are one item."""
    languages: dict[str, dict[str, None]] = {}
    for part in training_sets:
        task = f"{part.task} with shuffled labels" if part.shuffled else part.task
        languages.setdefault(f"{count(part):,} rows of {task} in", {})[part.language] = None
    named = {
        k: " or ".join(v) if len(v) < 4 else f"{len(v)} languages" for k, v in languages.items()
    }
    return ", ".join(f"{rows} {codes}" for rows, codes in named.items())


def _steps(phase: Phase) -> str:
    """The steps, rows per step and learning rate of a phase in words."""
    return f"{phase.steps} of {phase.batch_size} rows at {phase.learning_rate:g}"


def _by_arm(facts: Mapping[str, str]) -> str:
    """A fact in words; where it differs between arms, with the arms that it holds for."""
    arms: dict[str, list[str]] = {}
    for arm, fact in facts.items():
        arms.setdefault(fact, []).append(arm)
    if len(arms) < 2:
        return next(iter(arms), "")
    return ", ".join(f"{fact or 'nothing'} ({'; '.join(named)})" for fact, named in arms.items())


def compare(
    results: Results | Saved, baseline: str, by: str | Sequence[str] = "task", method: str = "seeds"
) -> pd.DataFrame:
    """Each arm minus the baseline, paired by seed (and by item), with intervals.

    ``method`` sets what the interval and ``p`` generalize to:

    - ``seeds``: other seeds, on the same test items. Student's t over seeds.
    - ``both``: other seeds and other items of the same kind. Student's t, with the variance over
      items (paired, joint over parallel languages) added to that over seeds, minus the
      seed-by-item interaction, which would count twice. Bootstrapping the few seeds would give
      intervals that are too narrow (``benchmarks/calibration.py``). With one seed, or if all
      seeds agree, the interval is over items alone, and the column ``method`` says so.
    - ``examples``: other items, for these very models. It says nothing about retraining.

    One row per arm and group (``by``: columns of ``results.scores``), the source language separate.
    ``difference``, ``low`` and ``high`` are in points; ``p_holm`` is corrected over the whole
    table; ``smallest_effect`` is the difference that this design detects with 80 % power;
    ``degenerate`` counts the runs of both arms at chance or worse; all means include them.
    Raises ValueError for unknown names, or if the predictions do not reproduce the scores.
    """
    choose("method", method, METHODS)
    groups = ["arm", *([by] if isinstance(by, str) else by), "languages"]
    rows = []
    for key, group in _paired(results, baseline, groups).groupby(groups, observed=True, sort=False):
        row = dict(zip(groups, key, strict=True))
        gains = per_seed(group, [], "difference")["difference"].to_numpy()
        cells = group.groupby(["task", "base_language"], observed=True)["n"].first()
        test = difference(gains)
        method_name = METHODS[method]
        if method != "seeds":
            # The weight of each task and language in a mean over languages, then over tasks.
            languages = cells.groupby("task").transform("size")
            weights = (1 / (languages * group["task"].nunique())).to_dict()
            alone, beside_seeds = items(results).variance(row["arm"], baseline, weights)
            if method == "both" and variance_of_mean(gains) > 0:
                test = difference(gains, beside_seeds)
            else:  # only items vary: one seed, equal seeds, or method="examples"
                test |= t_test(gains.mean(), alone, np.inf)
                method_name = METHODS["examples"]
        degenerate = _degenerate(results, [row["arm"], baseline], group["task"])
        row |= test | {"method": method_name, "degenerate": degenerate}
        rows.append(row | {"n_examples": int(cells.sum())})
    return _corrected(rows, baseline)


def interaction(
    results: Results | Saved, baseline: str, by: str, here: Sequence[str], there: Sequence[str]
) -> pd.DataFrame:
    """Whether an arm's gain over the baseline is larger in some groups of languages than in others.

    A difference in differences, paired by seed: the gain in the groups ``here`` minus the gain in
    the groups ``there`` (values of the column ``by`` of ``results.scores``, such as ``family``),
    averaged over tasks, without the source language. One row per arm: ``gain_here``,
    ``gain_there`` and, for their difference, the columns of ``compare``. Raises ValueError for
    unknown names, or if no task has languages in both.
    """
    transfer = _paired(results, baseline, [by]).query("not is_source")
    for value in (*here, *there):
        choose(by, value, transfer[by].unique())
    names = dict.fromkeys(here, "here") | dict.fromkeys(there, "there")
    table = transfer.assign(side=transfer[by].map(names)).dropna(subset="side")
    # A task with languages on one side only would look like a difference between the groups.
    table = table[table.groupby("task")["side"].transform("nunique") == 2]
    if table.empty:
        groups = sorted(transfer[by].unique())
        raise ValueError(
            f"No task has languages of both {here} and {there}; the values of {by} are {groups}."
        )
    rows = []
    for arm, group in table.groupby("arm", sort=False):
        gains = per_seed(group, ["side"], "difference").pivot_table("difference", "seed", "side")
        row = {"arm": arm, "by": by}
        row |= {"gain_here": gains["here"].mean(), "gain_there": gains["there"].mean()}
        row |= difference((gains["here"] - gains["there"]).to_numpy())
        degenerate = _degenerate(results, [arm, baseline], group["task"])
        rows.append(row | {"method": METHODS["seeds"], "degenerate": degenerate})
    return _corrected(rows, baseline)


def attack_report(clean: Results, attacked: Mapping[str, Results]) -> pd.DataFrame:
    """Scores with and without attack, and the cost of the attacks.

    ``clean`` are the results of a study, ``attacked`` the same study rescored under attacks. One
    row per arm, seed, task, language and attack: ``attack``, ``access``, ``strength`` (share of the
    words, or radius), ``beam`` and ``settings`` (other non-default options); ``value`` is the
    task's metric under attack, ``clean`` its value on the same items without attack, and ``drop``
    the difference in points; ``success``, ``changed``, ``valid`` and ``queries`` are as in
    ``evaluation.attacked``. Rows of strength 0 have the clean scores.
    """
    tables = []
    for results in attacked.values():
        settings = pd.DataFrame(map(_settings, results.study.runs), columns=[*RUN, *SETTINGS])
        costs = results.scores.pivot(index=ITEM, columns="metric", values="value")
        table = results.main.join(costs[["clean", *COSTS]], on=ITEM)
        tables.append(table.merge(settings, on=RUN, validate="many_to_one"))
    about = ["is_source", "family", "resource", *SETTINGS]
    under_attack = pd.concat(tables)[[*ITEM, *about, "value", "clean", *COSTS, "n"]]
    # If only some of the study's items were attacked, the clean score is over those items.
    whole = clean.main.set_index([*ITEM, "n"])["value"].rename("start")
    start = under_attack.join(whole, on=[*ITEM, "n"])["start"].fillna(under_attack["clean"])
    without = under_attack.assign(strength=0.0, value=start, clean=start, **COSTS)
    without = without.drop_duplicates([*ITEM, "attack", "beam", "settings"])
    table = pd.concat([without, under_attack], ignore_index=True)
    table.insert(table.columns.get_loc("clean") + 1, "drop", table["clean"] - table["value"])
    named = ("attack", "settings", "task", "arm")  # in the study's order, not alphabetically
    return table.sort_values(
        ["attack", "settings", "beam", "strength", "task", "arm", "seed"],
        key=lambda column: pd.factorize(column)[0] if column.name in named else column,
        ignore_index=True,
    )


def _settings(run: Run) -> tuple[str | float, ...]:
    """The columns ``RUN`` of an attacked run and ``SETTINGS`` of its attack."""
    attack = run.stage.phase.attack
    if attack is None:
        raise ValueError("Some of these results are of no attack: they are clean scores.")
    columns = ("strength", "radius", "beam", "seed")  # in their own columns; a seed is no setting
    changed = {f.name: getattr(attack, f.name) for f in fields(attack) if f.name not in columns}
    changed = {name: v for name, v in changed.items() if v != getattr(type(attack), name)}
    settings = ", ".join(f"{name}={without_folder(value)}" for name, value in changed.items())
    access = (attack.access, float(attack.strength), attack.beam)
    return run.arm, run.seed, run.task, attack.name, *access, settings


def _paired(results: Results | Saved, baseline: str, needed: Iterable[str]) -> pd.DataFrame:
    """The scores of the other arms with these columns and the ``difference`` from the baseline."""
    table = results.main
    table = table.assign(languages=np.where(table["is_source"], "source", "transfer"))
    for name in needed:
        choose("column", name, table.columns)
    is_baseline = table["arm"] == choose("baseline", baseline, results.arms)
    keys = ["seed", "task", "base_language"]
    reference = table[is_baseline].set_index(keys)[["value", "is_source"]].add_suffix("_reference")
    paired = table[~is_baseline].join(reference, on=keys, how="inner", validate="m:1")
    # If arms have their own sources, neither may have seen labels in a transfer language.
    paired = paired[paired["is_source"] == paired["is_source_reference"]]
    if paired.empty:
        raise ValueError(f"The study has nothing to compare with its arm {baseline!r}.")
    return paired.assign(difference=paired["value"] - paired["value_reference"])


def _degenerate(results: Results | Saved, arms: Iterable[str], tasks: Iterable[str]) -> float:
    """The number of degenerate runs of these arms on these tasks; NaN if that is not known."""
    runs = results.degenerate
    if runs is None:
        return np.nan
    return int(runs.loc[runs["arm"].isin(arms) & runs["task"].isin(tasks), "degenerate"].sum())


def _corrected(rows: Sequence[Mapping], baseline: str) -> pd.DataFrame:
    """A table with p values corrected over all rows; the last columns are method and baseline."""
    table = pd.DataFrame(rows)
    table.insert(table.columns.get_loc("p") + 1, "p_holm", holm(table["p"]))
    return table.assign(method=table.pop("method"), baseline=baseline)
