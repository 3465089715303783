"""What attacks did to the models of a study, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import pandas as pd

from xltkit.evaluation.attacks import Attack
from xltkit.studies.results import RUN, Results

ITEM = [*RUN, "language"]
ABOUT = ["is_source", "family", "resource"]
SETTINGS = ["attack", "access", "strength", "beam", "settings"]
COSTS = {"success": 0.0, "changed": 0.0, "valid": 100.0, "queries": 0.0}  # of no attack


def attack_report(clean: Results, attacked: Mapping[str, Results]) -> pd.DataFrame:
    """Scores under attack beside those without, and what the attacks took.

    ``clean`` are the results of a study, ``attacked`` the same rescored under attacks. One row per
    arm, seed, task, language and attack: ``attack``, ``access``, ``strength`` (share of the words,
    or radius), ``beam`` and ``settings`` (what else departs from the defaults); ``value`` is the
    task's metric under attack, ``clean`` that of the same items without, ``drop`` their difference
    in points; ``success``, ``changed``, ``valid`` and ``queries`` are those of
    ``xltkit.evaluation.attacked``. Rows of strength 0 have the clean scores, those of the study if
    it scored as many items.
    """
    tables = []
    for results in attacked.values():
        rows = []
        for run in results.study.runs:
            rows.append((run.arm, run.seed, run.task, *_settings(run.stage.phase.attack)))
        settings = pd.DataFrame(rows, columns=[*RUN, *SETTINGS])
        costs = results.scores.pivot(index=ITEM, columns="metric", values="value")
        table = results.main.join(costs[["clean", *COSTS]], on=ITEM)
        tables.append(table.merge(settings, on=RUN, validate="many_to_one"))
    columns = [*ITEM, *ABOUT, *SETTINGS, "value", "clean", *COSTS, "n"]
    under_attack = pd.concat(tables)[columns]
    # On fewer items than the study's, the clean score is that of the attacked items.
    whole = clean.main[[*ITEM, "n", "value"]].rename(columns={"value": "start"})
    start = under_attack.merge(whole, on=[*ITEM, "n"], how="left")["start"].to_numpy()
    start = under_attack["clean"].where(pd.isna(start), start)
    without = under_attack.assign(strength=0.0, value=start, clean=start, **COSTS)
    without = without.drop_duplicates([*ITEM, "attack", "beam", "settings"])
    table = pd.concat([without, under_attack], ignore_index=True)
    table.insert(table.columns.get_loc("clean") + 1, "drop", table["clean"] - table["value"])
    named = ("attack", "settings", "task", "arm")  # as in the study, not by the alphabet
    return table.sort_values(
        ["attack", "settings", "beam", "strength", "task", "arm", "seed"],
        key=lambda column: pd.factorize(column)[0] if column.name in named else column,
        ignore_index=True,
    )


def _settings(attack: Attack | None) -> tuple[str, str, float, int, str]:
    """The columns ``SETTINGS`` of an attack."""
    if attack is None:
        raise ValueError("Some of these results are of no attack: they were scored as they are.")
    columns = ("strength", "radius", "beam", "seed")  # settings in columns, or drawn with it
    changed = {f.name: getattr(attack, f.name) for f in fields(attack) if f.name not in columns}
    changed = {name: v for name, v in changed.items() if v != getattr(type(attack), name)}
    settings = ", ".join(f"{name}={value}" for name, value in changed.items())
    return attack.name, attack.access, float(attack.strength), attack.beam, settings
