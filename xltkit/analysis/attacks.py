"""What attacks did to the models of a study, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import pandas as pd

from xltkit.studies.results import Results

if TYPE_CHECKING:
    from xltkit.evaluation.attacks import Attack, EmbeddingPGD
    from xltkit.studies.results import Run

CELL = ["arm", "seed", "task", "language"]
OWN = ("strength", "beam", "seed")  # settings of an attack that are columns, or drawn with it
COSTS = {"success": 0.0, "changed": 0.0, "valid": 100.0, "queries": 0.0}  # of no attack


def report(clean: Results, attacked: Mapping[str, Results]) -> pd.DataFrame:
    """Scores under attack beside those without, and what the attacks took.

    Args:
        clean: of the study.
        attacked: of the same study, scored ``again`` under attacks.

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
    known = clean.main.set_index(CELL)[["value", "n"]]
    tables = [_table(name, results) for name, results in attacked.items()]
    if not tables:
        raise ValueError("attacked is empty; give it what Results.rescore() returned.")
    under = pd.concat(tables, ignore_index=True)
    beside = known.reindex(pd.MultiIndex.from_frame(under[CELL]))
    if (absent := beside["n"].isna().to_numpy()).any():
        first = under.loc[absent, CELL].iloc[0].to_dict()
        raise ValueError(f"{first} was attacked, and the study given as clean has no score of it.")
    same = beside["n"].to_numpy() == under["n"].to_numpy()
    start = under["clean"].where(~same, beside["value"].to_numpy())
    zero = under.assign(strength=0.0, value=start, clean=start, **COSTS)
    zero = zero.drop_duplicates([*CELL, "attack", "beam", "settings"])
    table = pd.concat([zero, under], ignore_index=True)
    table.insert(table.columns.get_loc("clean") + 1, "drop", table["clean"] - table["value"])
    keys = table[["attack", "settings", "beam", "strength", "task", "arm", "seed"]].copy()
    for name in ("attack", "settings", "task", "arm"):
        keys[name] = pd.factorize(keys[name])[0]  # the order of the study and of the attacks
    return table.loc[keys.sort_values(list(keys), kind="stable").index].reset_index(drop=True)


def _table(name: str, results: Results) -> pd.DataFrame:
    """The rows of one attack, as it was in every run."""
    attacks = pd.DataFrame([_about(name, run) for run in results.study.runs])
    scores = results.scores
    about = [*CELL, "is_source", "family", "resource"]
    wide = scores.pivot(index=CELL, columns="metric", values="value")
    main = results.main.set_index(CELL)
    table = main[["is_source", "family", "resource", "value", "n"]].join(wide[["clean", *COSTS]])
    table = table.reset_index().merge(attacks, on=["arm", "seed", "task"], validate="many_to_one")
    which = ["attack", "access", "strength", "beam", "settings"]
    return table[[*about, *which, "value", "clean", *COSTS, "n"]]


def _about(name: str, run: Run) -> dict[str, Any]:
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
        "settings": _settings(attack),
    }


def _settings(attack: Attack | EmbeddingPGD) -> str:
    """What departs from the defaults, but for what has a column: two attacks may differ in it."""
    strength = "radius" if not any(f.name == "strength" for f in fields(attack)) else "strength"
    others = [f for f in fields(attack) if f.name not in (*OWN, strength)]
    changed = {
        f.name: getattr(attack, f.name)
        for f in others
        if f.default is MISSING or getattr(attack, f.name) != f.default
    }
    return ", ".join(f"{key}={value}" for key, value in changed.items())
