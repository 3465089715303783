"""Targets that arms describe themselves, and finished studies that are scored again."""

from __future__ import annotations

import numpy as np
import pytest
from datasets import Dataset
from test_loop import same

from xltkit.evaluation import mixed_pairs as mixed
from xltkit.evaluation.attacks import Typos
from xltkit.models import encoder as models
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import training_stages
from xltkit.studies.study import study
from xltkit.tasks import get
from xltkit.tasks.base import TYPES
from xltkit.training.phases import Evaluate, Intermediate, Target, signature
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


def test_what_is_off_plays_no_part_in_a_key():
    assert not {"robust", "align", "effort"} & set(signature(Target("nli")))
    assert not {"attack", "mixed", "smoothing"} & set(signature(Evaluate("nli", ("en",))))
    known = signature(Target("nli", robust=Adversarial(steps=2)))["robust"]
    assert known["method"] == "Adversarial" and known["steps"] == 2
    gaussian = signature(Target("nli", robust=RandomPerturbation()))
    assert gaussian != signature(Target("nli", robust=RandomPerturbation(radius=0.2)))


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


def test_mixed_puts_every_first_text_before_every_second():
    def rows(code, ids):
        return Dataset.from_dict(
            {
                "id": ids,
                "text_a": [f"{code} a {i}" for i in ids],
                "text_b": [f"{code} b {i}" for i in ids],
                "label": [0] * len(ids),
            }
        )

    seen = {}

    def predicting(joined):
        import pandas as pd

        seen.update({k: r[:] for k, r in joined.items()})
        return pd.DataFrame({"language": list(joined)}), pd.DataFrame({"language": list(joined)})

    given = {"de": rows("de", ["1", "2", "3"]), "fr": rows("fr", ["3", "2"])}
    predictions, _ = mixed.predict(predicting, get("nli"), given)
    assert seen["de+fr"]["text_a"] == ["de a 2", "de a 3"]
    assert seen["de+fr"]["text_b"] == ["fr b 2", "fr b 3"]
    assert seen["fr+de"]["id"] == ["2", "3"]
    assert predictions[["language", "other"]].to_numpy().tolist() == [
        ["de", "de"], ["de", "fr"], ["fr", "de"], ["fr", "fr"]
    ]  # fmt: skip
    with pytest.raises(ValueError, match="not parallel"):
        mixed.predict(predicting, get("nli"), {"de": rows("de", ["1"]), "fr": rows("fr", ["2"])})
    with pytest.raises(ValueError, match="no two texts"):
        mixed.predict(predicting, get("pos"), {})


@pytest.mark.parametrize("task", ["nli", "qa-small", "choice"])
def test_the_diagonal_of_the_matrix_is_the_plain_score(tiny, store, task):
    codes = ["en", "qas"]
    options = {"languages": codes, "steps": 5, "examples": 30}
    results = study({"a": Recipe(tiny)}, [task], [0], **options).run(store)
    found = results.rescore({"mixed": {"mixed": True}})["mixed"]
    matrix = found.main.set_index(["language", "other"])["value"]
    plain = results.main.set_index("language")["value"]
    assert len(matrix) == 4
    for code in codes:
        assert matrix[code, code] == pytest.approx(plain[code])
    assert set(found.predictions.columns) >= {"language", "other", "example_id", "score"}
    with pytest.raises(ValueError, match="expected a list of some of"):
        results.rescore({"mixed": {"mixed": True}}, ["ner"])


@pytest.mark.parametrize("task", ["nli", "pos", "qa-small", "choice"])
def test_votes_without_noise_change_nothing(tiny, store, task):
    options = {"languages": ["en", "qas"], "steps": 5, "examples": 30}
    results = study({"a": Recipe(tiny)}, [task], [0], **options).run(store)
    still, loud = (RandomPerturbation(radius=r) for r in (0.0, 3.0))
    found = results.rescore({"still": {"smoothing": still}, "loud": {"smoothing": loud}})
    assert found["still"].main["value"].tolist() == results.main["value"].tolist()
    if task in ("pos", "qa-small"):  # five steps do not teach the others to tell labels apart
        assert not found["loud"].predictions.equals(results.predictions)


def test_votes_are_counted():
    tags = TYPES["tagging"].vote([np.array([1, 2]), np.array([1, 0]), np.array([3, 0])])
    assert tags.tolist() == [1, 0]
    score, first, last = TYPES["span"].vote([(1.0, 4, 5), (9.0, 2, 2), (3.0, 4, 5)])
    assert (score, first, last) == (2.0, 4, 5)
    sure, unsure = np.log([0.99, 0.01]), np.log([0.4, 0.6])
    assert TYPES["choice"].vote([sure, unsure, unsure]).argmax() == 1  # though the mean says 0


@pytest.mark.parametrize(
    ("task", "change", "named"),
    [
        ("pos", {"mixed": True}, "mixed is for classification, choice, span"),
        ("retrieval", {"attack": Typos()}, "attack is for classification"),
        ("retrieval", {"smoothing": RandomPerturbation()}, "smoothing is for classification"),
        ("nli", {"attack": Typos(), "mixed": True}, "one way at a time"),
    ],
)
def test_a_way_of_scoring_that_does_not_fit_is_refused(tiny, store, task, change, named):
    options = {"languages": ["en", "qas"], "steps": 2, "examples": 10}
    results = study({"a": Recipe(tiny)}, [task], [0], **options).run(store)
    with pytest.raises(ValueError, match=named):
        results.rescore({"other": change})
