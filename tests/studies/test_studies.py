"""A study from arms to tables: shared stages, paired seeds, what is missing, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import xltkit as xlt
from xltkit.data.loading import MissingData
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import Stage
from xltkit.studies.store import Store
from xltkit.tasks import TASKS, get

SMALL = {"steps": 6, "examples": 20, "languages": ["en", "qad", "qto"]}


@pytest.fixture(scope="module")
def module_store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("study") / "store")


@pytest.fixture(scope="module")
def results(tiny, module_store):
    base = Recipe(tiny)
    arms = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=4))}
    targets = ["nli", "qa", "choice", "pos", "retrieval"]
    return xlt.study(arms, targets, [0, 1], **SMALL, sweep=True).run(module_store)


def test_tables_have_a_row_for_everything_and_agree(results):
    main = results.main
    assert len(main) == 2 * 2 * 5 * 3 and main["value"].between(0, 100).all()
    assert set(main.groupby(["arm", "seed", "task"]).size()) == {3}
    assert set(main.loc[main["is_source"], "language"]) == {"en"}
    assert {"family", "resource", "chance", "cpu_s", "steps", "dtype", "stage"} <= set(main)
    assert len(results.predictions) == 2 * 2 * 5 * 3 * 20
    query = "arm == 'text' and seed == 1 and task == 'nli' and language == 'qad'"
    predictions = results.predictions.query(query)
    accuracy = 100 * np.mean(predictions["gold"] == predictions["pred"])
    assert accuracy == pytest.approx(main.query(query)["value"].item())


def test_stages_are_shared_and_made_once(results, monkeypatch):
    study = results.study
    # 2 seeds x (1 intermediate + 2 arms x 4 targets x (train, evaluate)), and retrieval: once for
    # the untrained arm, whatever the seed, and once for each seed of the other.
    assert len(study.stages) == 2 * (1 + 2 * 4 * 2) + 1 + 2 < study.unshared
    assert sum("intermediate" in stage.title for stage in study.stages) == 2
    monkeypatch.setattr(Store, "_make", lambda *_: pytest.fail("made again"))
    pd.testing.assert_frame_equal(study.run(results.store).scores, results.scores)


def test_a_layer_sweep_scores_all_layers_in_one_pass(results):
    table = results.scores.query("task == 'retrieval' and arm == 'none' and language == 'qad'")
    metrics = set(table["metric"])
    assert {f"accuracy@{n}/{p}" for n in (1, 2) for p in ("mean", "first")} <= metrics
    both = table.set_index(["metric", "seed"])["value"]
    assert both["accuracy", 0] == both["accuracy@1/mean", 0]  # protocol layer of two: the first


def test_arms_differ_in_one_thing(results):
    """What two arms share is the same to the bit: heads, order, dropout have no past."""
    from xltkit.keys import digest
    from xltkit.training.phases import signature

    targets = {
        cell.arm: cell.stage.parent
        for cell in results.study.runs
        if cell.task == "nli" and cell.seed == 0
    }
    phases = {digest(signature(stage.phase)) for stage in targets.values()}
    assert len(phases) == 1 and targets["none"].key != targets["text"].key


def test_a_head_trained_on_other_labels_is_never_read(tiny):
    from xltkit.studies.make import reader
    from xltkit.studies.stages import training_stages
    from xltkit.training.phases import Evaluate, Target

    (stage,) = training_stages(Recipe(tiny).then(Target("nli")), 0)
    other = Stage(Evaluate("choice", ("en",)), 0, tiny, stage, ())
    with pytest.raises(ValueError, match="cannot be predicted by a head trained on nli"):
        reader(other, tiny)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"targets": ["nlu"]}, ValueError, "Did you mean 'nli'"),
        ({"seeds": []}, ValueError, r"seeds=\[0, 1, 2\]"),
        ({"targets": []}, ValueError, "targets"),
        ({"suite": "xtrem-r"}, ValueError, "xtreme-r"),
        ({"languages": ["xx"]}, (ValueError, MissingData), "xx"),
        ({"substitutes": ["nli=choice"]}, ValueError, "<-"),
        ({"substitutes": ["nli<-choice"]}, ValueError, "labels"),
    ],
)
def test_bad_input_stops_before_any_work(tiny, change, error, message):
    options = {"targets": ["nli"], "seeds": [0]} | SMALL | change
    with pytest.raises(error, match=message):
        xlt.study({"none": Recipe(tiny)}, **options)


def test_shuffled_labels_end_at_chance(module_store):
    """The whole path from labels to score: what cannot be learned must not be scored as learned."""
    arms = {"none": Recipe("micro")}
    options = {"steps": 60, "examples": 300, "languages": ["en"]}
    plain = xlt.study(arms, ["choice"], [0], **options).run(module_store)
    shuffled = xlt.study(arms, ["choice"], [0], **options, shuffled=True).run(module_store)
    # 300 items: the standard error at chance is 2.9 points
    assert abs(shuffled.main["value"].item() - 50) < 3 * 2.9
    assert plain.main["value"].item() > 70


def test_arms_may_have_a_language_each_and_are_compared_on_what_they_share(tiny, store):
    base = Recipe(tiny)
    arms = {"as it is": base, "verb last": base}
    own = {"as it is": ["qbe"], "verb last": ["qbe-x-sov"]}
    found = xlt.study(arms, ["retrieval"], [0], languages=own, examples=30).run(store)
    table = found.main.query("not is_source").set_index("arm")
    assert table["language"].to_dict() == {"as it is": "qbe", "verb last": "qbe-x-sov"}
    assert set(table["base_language"]) == {"qbe"} and set(table["family"]) == {"Beric"}
    difference = xlt.compare(found, "as it is").set_index("languages")["difference"]
    assert difference["source"] == 0
    expected = table.loc["verb last", "value"] - table.loc["as it is", "value"]
    assert difference["transfer"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="languages are given for"):
        xlt.study(arms, ["retrieval"], [0], languages={"as it is": ["qbe"]})
    for other in (["qke"], ["qbe", "qbe-x-sov"]):
        with pytest.raises(ValueError, match="cannot be compared"):
            xlt.study(arms, ["retrieval"], [0], languages={"as it is": ["qbe"], "verb last": other})
    with pytest.raises(ValueError, match="qbe-x-up"):
        xlt.study(arms, ["retrieval"], [0], languages=["qbe-x-up"])


def test_workers_share_the_stages_and_end_with_the_same_numbers(tiny, tmp_path, monkeypatch):
    """A task of this session is known to them, and nothing is trained twice."""
    name = "pos-of-this-session"
    monkeypatch.setitem(TASKS, name, replace(get("pos"), name=name))
    base = Recipe(tiny)
    arms = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=4))}
    planned = xlt.study(arms, [name, "retrieval"], [0, 1], **SMALL)
    alone, together = (planned.run(Store(tmp_path / str(n)), workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(alone.predictions, together.predictions)
    made = {stage.key for stage in planned.stages}
    assert {p.name for p in (tmp_path / "2").iterdir() if p.is_dir()} == made


def test_an_error_in_one_worker_ends_the_others(tiny, tmp_path):
    """A stage of 100,000 steps would go on for an hour."""
    base = Recipe(tiny)
    broken = xlt.Intermediate(["pos"], learning_rate=1e9, warmup=0.0, steps=30)
    slow = xlt.Intermediate(["pos"], steps=100_000)
    arms = {"slow": base.then(slow), "broken": base.then(broken)}
    planned = xlt.study(arms, ["retrieval"], [0], **SMALL)
    with pytest.raises(RuntimeError, match=r"learning_rate|poisoned"):
        planned.run(Store(tmp_path), workers=2)


def test_a_plan_estimates_seconds_from_like_stages(results, tiny, tmp_path):
    plan = results.study.plan(results.store)
    assert plan["cached"].all() and not plan["seconds"].any()
    arms = {"longer": Recipe(tiny).then(xlt.Intermediate(["choice"], steps=40))}
    other = xlt.study(arms, ["nli"], [0], **SMALL).plan(results.store).set_index("stage")
    assert not other["cached"].any() and (other["seconds"] > 0).all()
    record = next(r for r in results.store.records() if r["signature"]["phase"] == "Intermediate")
    rate = record["cost"]["wall_s"] / record["signature"]["steps"]
    assert other.loc["intermediate choice (seed 0)", "seconds"] == pytest.approx(40 * rate, rel=9)
    assert results.study.plan(Store(tmp_path))["seconds"].isna().all()


def test_invented_tasks_are_no_targets_of_a_real_suite(tiny):
    with pytest.raises(ValueError, match=r"\['qa-small'\] are of the microworld.*whose targets"):
        xlt.study({"none": Recipe(tiny)}, ["qa-small"], [0], suite="xtreme-r")
