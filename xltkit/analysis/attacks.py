"""What attacks did to the models of a study, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields

import pandas as pd

from xltkit.evaluation.attacks import Attack
from xltkit.studies.results import Results, Run

RUN = ["arm", "seed", "task"]
ITEM = [*RUN, "language"]
COLUMNS = ("strength", "radius", "beam", "seed")  # settings that are columns, or drawn with it
COSTS = {"success": 0.0, "changed": 0.0, "valid": 100.0, "queries": 0.0}  # of no attack


def attack_report(clean: Results, attacked: Mapping[str, Results]) -> pd.DataFrame:
    """Scores under attack beside those without, and what the attacks took.

    Args:
        clean: of the study.
        attacked: of the same study, rescored under attacks.

    Returns:
        One row per arm, seed, task, language and attack. ``attack``, ``access``, ``strength``
        (share of the words, 0 to 1; of embeddings the radius), ``beam`` and ``settings`` (what
        else departs from the attack's defaults) say which. ``value`` is the task's metric under
        attack and ``clean`` that of the same items without, ``drop`` their difference, in points;
        ``success``, ``changed``, ``valid`` and ``queries`` are those of
        ``xltkit.evaluation.attacked``. Every attack has rows of strength 0: the clean scores, those
        of the study if it scored as many items.

    Raises:
        ValueError: if some results are of no attack, or of a run that the study has not.
    """
    if not attacked:
        raise ValueError("attacked is empty; give it what Results.rescore() returned.")
    tables = [_attack_table(name, results) for name, results in attacked.items()]
    under_attack = pd.concat(tables, ignore_index=True)
    scores = clean.main.set_index(ITEM)[["value", "n"]]
    scores = scores.reindex(pd.MultiIndex.from_frame(under_attack[ITEM])).reset_index(drop=True)
    missing = under_attack.loc[scores["n"].isna(), ITEM]
    if len(missing):
        run = missing.iloc[0].to_dict()
        raise ValueError(f"{run} was attacked, and the study given as clean has no score of it.")
    # On fewer items than the study's, the clean score is that of the attacked items.
    start = under_attack["clean"].where(scores["n"] != under_attack["n"], scores["value"])
    without = under_attack.assign(strength=0.0, value=start, clean=start, **COSTS)
    without = without.drop_duplicates([*ITEM, "attack", "beam", "settings"])
    table = pd.concat([without, under_attack], ignore_index=True)
    table.insert(table.columns.get_loc("clean") + 1, "drop", table["clean"] - table["value"])
    order = table[["attack", "settings", "beam", "strength", "task", "arm", "seed"]].copy()
    for name in ("attack", "settings", "task", "arm"):
        order[name] = pd.factorize(order[name])[0]  # as in the study, not by the alphabet
    order = order.sort_values(list(order), kind="stable")
    return table.loc[order.index].reset_index(drop=True)


def _attack_table(name: str, results: Results) -> pd.DataFrame:
    """The scores of one attack, and how it was set in every run."""
    settings = pd.DataFrame([_run_settings(name, run) for run in results.study.runs])
    costs = results.scores.pivot(index=ITEM, columns="metric", values="value")
    about = ["is_source", "family", "resource"]
    table = results.main.set_index(ITEM)[[*about, "value", "n"]].join(costs[["clean", *COSTS]])
    table = table.reset_index().merge(settings, on=RUN, validate="many_to_one")
    which = [column for column in settings if column not in RUN]
    return table[[*ITEM, *about, *which, "value", "clean", *COSTS, "n"]]


def _run_settings(name: str, run: Run) -> dict[str, object]:
    attack = run.stage.phase.attack
    if attack is None:
        raise ValueError(f"{name!r} is of no attack: {run.task} was scored as it is.")
    return {
        "arm": run.arm,
        "seed": run.seed,
        "task": run.task,
        "attack": attack.name,
        "access": attack.access,
        "strength": float(attack.strength),
        "beam": attack.beam,
        "settings": _other_settings(attack),
    }


def _other_settings(attack: Attack) -> str:
    """The settings without a column that are not the defaults: two attacks may differ in them."""
    values = {f.name: getattr(attack, f.name) for f in fields(attack) if f.name not in COLUMNS}
    defaults = {f.name: f.default for f in fields(attack) if f.default is not MISSING}
    changed = {name: v for name, v in values.items() if v != defaults.get(name, MISSING)}
    return ", ".join(f"{name}={value}" for name, value in changed.items())
