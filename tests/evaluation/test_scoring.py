"""Trained models scored in other ways: crossed pairs of languages, and under smoothing noise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from xltkit.evaluation import mixed_pairs
from xltkit.evaluation.attacks import Typos
from xltkit.studies.recipe import Recipe
from xltkit.studies.store import Store
from xltkit.studies.study import study
from xltkit.tasks import TYPES, get
from xltkit.training.robust import RandomPerturbation

CODES = ["en", "qas"]
TASKS = ["nli", "choice", "qa-small", "pos", "retrieval"]


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    """One barely trained model for each task."""
    store = Store(tmp_path_factory.mktemp("scoring") / "store")
    arms = {"a": Recipe(tiny)}
    return study(arms, TASKS, [0], languages=CODES, steps=5, examples=30).run(store)


def values(results, *columns):
    return results.main.set_index(["task", *columns])["value"]


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
        seen.update({k: r[:] for k, r in joined.items()})
        return pd.DataFrame({"language": list(joined)}), pd.DataFrame({"language": list(joined)})

    given = {"de": rows("de", ["1", "2", "3"]), "fr": rows("fr", ["3", "2"])}
    predictions, _ = mixed_pairs.predict(predicting, get("nli"), given)
    assert seen["de+fr"]["text_a"] == ["de a 2", "de a 3"]
    assert seen["de+fr"]["text_b"] == ["fr b 2", "fr b 3"]
    assert seen["fr+de"]["id"] == ["2", "3"]
    assert predictions[["language", "other"]].to_numpy().tolist() == [
        ["de", "de"], ["de", "fr"], ["fr", "de"], ["fr", "fr"]
    ]  # fmt: skip
    with pytest.raises(ValueError, match="not parallel"):
        mixed_pairs.predict(
            predicting, get("nli"), {"de": rows("de", ["1"]), "fr": rows("fr", ["2"])}
        )
    with pytest.raises(ValueError, match="no two texts"):
        mixed_pairs.predict(predicting, get("pos"), {})


def test_the_diagonal_of_the_matrix_is_the_plain_score(results):
    names = ["nli", "choice", "qa-small"]
    mixed = results.rescore({"mixed": {"mixed": True}}, names)["mixed"]
    matrix, plain = values(mixed, "language", "other"), values(results, "language")
    assert len(matrix) == 4 * len(names)
    for name in names:
        for code in CODES:
            assert matrix[name, code, code] == pytest.approx(plain[name, code])
    assert set(mixed.predictions.columns) >= {"language", "other", "example_id", "score"}
    with pytest.raises(ValueError, match="expected a list of some of"):
        results.rescore({"mixed": {"mixed": True}}, ["ner"])


def test_votes_without_noise_change_nothing(results):
    still, loud = ({"smoothing": RandomPerturbation(radius=radius)} for radius in (0.0, 3.0))
    smoothed = results.rescore({"still": still, "loud": loud}, TASKS[:-1])
    main = results.main[results.main["task"] != "retrieval"]
    assert smoothed["still"].main["value"].tolist() == main["value"].tolist()
    for name in ("pos", "qa-small"):  # five steps do not teach the others to tell labels apart
        tables = [r.predictions.set_index("task").loc[name] for r in (smoothed["loud"], results)]
        assert tables[0]["pred"].tolist() != tables[1]["pred"].tolist()


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
def test_a_way_of_scoring_that_does_not_fit_is_refused(results, task, change, named):
    with pytest.raises(ValueError, match=named):
        results.rescore({"other": change}, [task])
