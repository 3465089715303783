"""What attacks did to the models of a study, as one tidy table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import pandas as pd

from xltkit.evaluation.attacks import Attack
from xltkit.studies.results import Results

RUN = ["arm", "seed", "task"]
ITEM = [*RUN, "language"]
COSTS = {"success": 0.0, "changed": 0.0, "valid": 100.0, "queries": 0.0}  # of no attack


def attack_report(clean: Results, attacked: Mapping[str, Results]) -> pd.DataFrame:
    """Scores under attack beside those without, and what the attacks took.

    Args:
        clean: of the study.
        attacked: of the same study, rescored under attacks.

    Returns:
        One row per arm, seed, task, language and attack: ``attack``, ``access``, ``strength``
        (share of the words, or radius), ``beam`` and ``settings`` (what else departs from the
        defaults). ``value`` is the task's metric under attack, ``clean`` that of the same items
        without, ``drop`` their difference in points; ``success``, ``changed``, ``valid`` and
        ``queries`` are those of ``xltkit.evaluation.attacked``. Rows of strength 0 have the clean
        scores, those of the study if it scored as many items.
    """
    under_attack = pd.concat([_attack_table(results) for results in attacked.values()])
    # On fewer items than the study's, the clean score is that of the attacked items.
    whole = clean.main[[*ITEM, "n", "value"]].rename(columns={"value": "start"})
    start = under_attack.merge(whole, on=[*ITEM, "n"], how="left")["start"].to_numpy()
    start = under_attack["clean"].where(pd.isna(start), start)
    without = under_attack.assign(strength=0.0, value=start, clean=start, **COSTS)
    without = without.drop_duplicates([*ITEM, "attack", "beam", "settings"])
    table = pd.concat([without, under_attack], ignore_index=True)
    table.insert(table.columns.get_loc("clean") + 1, "drop", table["clean"] - table["value"])
    order = table[["attack", "settings", "beam", "strength", "task", "arm", "seed"]]
    for name in ("attack", "settings", "task", "arm"):  # as in the study, not by the alphabet
        order = order.assign(**{name: pd.factorize(order[name])[0]})
    order = order.sort_values(list(order), kind="stable")
    return table.loc[order.index].reset_index(drop=True)


def _attack_table(results: Results) -> pd.DataFrame:
    """The scores of one attack, and how it was set in every run."""
    which = pd.DataFrame([_settings(run.stage.phase.attack) for run in results.study.runs])
    runs = pd.DataFrame([(run.arm, run.seed, run.task) for run in results.study.runs], columns=RUN)
    about = ["is_source", "family", "resource"]
    costs = results.scores.pivot(index=ITEM, columns="metric", values="value")
    table = results.main.set_index(ITEM)[[*about, "value", "n"]].join(costs[["clean", *COSTS]])
    table = table.reset_index().merge(runs.join(which), on=RUN, validate="many_to_one")
    return table[[*ITEM, *about, *which, "value", "clean", *COSTS, "n"]]


def _settings(attack: Attack | None) -> dict[str, object]:
    if attack is None:
        raise ValueError("Some of these results are of no attack: they were scored as they are.")
    columns = ("strength", "radius", "beam", "seed")  # settings in columns, or drawn with it
    changed = {f.name: getattr(attack, f.name) for f in fields(attack) if f.name not in columns}
    changed = {name: v for name, v in changed.items() if v != getattr(type(attack), name)}
    return {
        "attack": attack.name,
        "access": attack.access,
        "strength": float(attack.strength),
        "beam": attack.beam,
        "settings": ", ".join(f"{name}={value}" for name, value in changed.items()),
    }
