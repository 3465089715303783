"""Targets: the task of the study, robust training beside plain training, and what enters a key."""

from __future__ import annotations

import pytest
from test_loop import same

from xltkit.models import encoder as models
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import training_stages
from xltkit.studies.study import study
from xltkit.tasks import get
from xltkit.training.phases import Intermediate, Target
from xltkit.training.robust import Adversarial, RandomPerturbation


def test_a_target_without_a_task_takes_that_of_the_study(tiny):
    arms = {"plain": Recipe(tiny), "robust": Recipe(tiny).then(Target(robust=Adversarial()))}
    made = study(arms, ["nli", "retrieval"], [0], languages=["en", "qas"], steps=4)
    phases = {(c.arm, c.task): c.stage.parent and c.stage.parent.phase for c in made.runs}
    assert phases["plain", "nli"] == phases["robust", "nli"].base
    assert phases["robust", "nli"].robust == Adversarial() and phases["robust", "nli"].steps == 4
    assert phases["robust", "retrieval"] is None
    with pytest.raises(ValueError, match="names no task"):
        training_stages(arms["robust"], 0)
    with pytest.raises(ValueError, match="Nothing can follow"):
        arms["robust"].then(Intermediate(["nli"]))


def test_effort_multiplies_the_steps_and_own_steps_are_kept(tiny):
    def steps(target, **options):
        (stage,) = training_stages(Recipe(tiny).then(target).with_target("nli", **options), 0)
        return stage.phase.steps

    assert steps(Target(effort=2.5), steps=4) == 10
    assert steps(Target(steps=7), steps=4) == 7
    assert steps(Target(effort=2)) == 2 * get("nli").training.steps
    with pytest.raises(ValueError, match="effort is 0"):
        Target(effort=0)


def test_robust_arms_share_heads_and_order_with_the_plain_one(tiny, store):
    """At no radius a robust phase must end with the very weights of a plain one."""
    arms = {
        "plain": Recipe(tiny),
        "robust": Recipe(tiny).then(Target(robust=RandomPerturbation(radius=0.0))),
    }
    results = study(arms, ["nli"], [0], languages=["en"], steps=5, examples=20).run(store)
    folders = [store.path(c.stage.parent.key) for c in results.study.runs]
    assert folders[0] != folders[1]
    one, other = (dict(models.Model(str(f), {}).named_parameters()) for f in folders)
    assert same(one, other)
