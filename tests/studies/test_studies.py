"""A study from arms to tables: shared stages, paired seeds, what is missing, what is refused."""

from dataclasses import replace

import pandas as pd
import pytest
from analysis.fakes import right_or_wrong
from transformers import AutoModel

import xltkit as xlt
from xltkit.data.languages import LANGUAGES
from xltkit.keys import digest
from xltkit.models import checkpoints
from xltkit.models.checkpoints import ENCODERS
from xltkit.studies import make as making
from xltkit.studies import study as study_module
from xltkit.studies.given import GivenResults
from xltkit.studies.stages import Recipe, Stage, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import SUITES, TASKS, get
from xltkit.training.phases import Evaluate, signature

SMALL = {"steps": 6, "examples": 20, "languages": ["en", "qad", "qto"]}


def two_arms(encoder):
    base = Recipe(encoder)
    return {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=4))}


@pytest.fixture(scope="module")
def results(tiny, tmp_path_factory):
    targets = ["nli", "qa", "choice", "pos", "retrieval"]
    store = Store(tmp_path_factory.mktemp("study"))
    return xlt.study(two_arms(tiny), targets, [0, 1], **SMALL, sweep=True).run(store)


def test_tables_have_a_row_for_everything_and_agree(results):
    main = results.main
    assert len(main) == 2 * 2 * 5 * 3 and main["value"].between(0, 100).all()
    assert set(main.groupby(["arm", "seed", "task"]).size()) == {3}
    assert set(main.loc[main["is_source"], "language"]) == {"en"}
    columns = "kind source_language selection_rule family resource chance cpu_s steps dtype stage"
    assert set(columns.split()) <= set(main)
    assert len(results.predictions) == 2 * 2 * 5 * 3 * 20
    query = "arm == 'text' and seed == 1 and task == 'nli' and language == 'qad'"
    predictions = results.predictions.query(query)
    accuracy = 100 * (predictions["gold"] == predictions["pred"]).mean()
    assert accuracy == pytest.approx(main.query(query)["value"].item())


def test_the_protocol_says_what_scores_rest_on(results):
    lines = dict(line.split(": ", 1) for line in xlt.protocol(results).splitlines())
    tasks = ["nli", "qa", "choice", "pos", "retrieval"]
    assert list(lines) == [*tasks, f"before {', '.join(tasks)}"]
    assert lines["nli"] == (
        "trained on 4,000 rows of nli in en; steps 6 of 16 rows at 0.0005; scored last checkpoint; "
        "seeds 0, 1; items per language 20; tokens 96."
    )
    assert lines["retrieval"] == "trained on nothing; items per language 20; tokens 96."
    before = "nothing (none), 4,000 rows of choice in en, 4 of 16 rows at 0.001 (text)."
    assert lines[f"before {', '.join(tasks)}"] == before
    query = "arm == 'text' and task == 'nli'"
    assert set(results.scores.query(query)["trained_on"]) == {"choice/en > nli/en"}
    assert not results.scores["unseen"].any()


def test_a_frozen_study_keeps_the_embeddings_once_and_notices_if_they_go(tiny, store):
    study = xlt.study(two_arms(tiny), ["pos"], [0], **SMALL, freeze="embeddings")
    scores = study.run(store).scores
    (shared,) = (store.folder / "frozen").iterdir()
    parts = [store.path(stage.key) / "model-trained.safetensors" for stage in study.stages]
    assert sum(part.is_file() for part in parts) == 3  # an intermediate phase and two targets
    folder = xlt.export(study.run(store), "text", store.folder.parent / "whole", task="pos")
    assert AutoModel.from_pretrained(folder).get_input_embeddings().weight.ndim == 2
    shared.unlink()
    with pytest.warns(UserWarning, match="damaged"):
        again = study.run(store).scores
    same = ["arm", "language", "metric", "value"]
    pd.testing.assert_frame_equal(scores[same], again[same])


def test_a_sweep_looks_at_the_source_language_alone(tiny, store):
    table = xlt.sweep(Recipe(tiny), "pos", [1e-2, 1e-6], seeds=[0, 1], store=store, steps=20)
    assert list(table["learning_rate"]) == [1e-6, 1e-2] and list(table["taken"]) == [False, True]
    assert (table["lowest"] <= table["score"]).all() and (table["score"] <= table["highest"]).all()
    finished = [path.parent.name for path in store.folder.glob("*/signature.json")]
    signatures = [store.record(key)["signature"] for key in finished]
    evaluations = [s for s in signatures if s["phase"] == "Evaluate"]
    assert all(s["languages"] == ["en"] and s["split"] == "validation" for s in evaluations)
    assert len(evaluations) == 4


def test_a_substitute_is_not_replaced_once_more(tiny):
    arms = {"none": Recipe(tiny)}
    options = {"substitutes": ["nli<-nli-large", "nli-large<-nli"], "languages": ["en"]}
    (run,) = xlt.study(arms, ["nli"], [0], **options).runs
    assert run.train_set == run.stage.parent.phase.task == "nli-large"


def test_a_suite_has_its_own_way_to_train_a_task(tiny, monkeypatch):
    row = {"train_on": "nli-large", "steps": 7, "learning_rate": 2e-4, "max_length": 48}
    suite = replace(SUITES["microworld"], training={"nli": row})
    monkeypatch.setitem(SUITES, "microworld", suite)
    arms = {"none": Recipe(tiny), "slow": Recipe(tiny).then(xlt.Target(learning_rate=1e-5))}
    study = xlt.study(arms, ["nli"], [0], learning_rate=3e-4, languages=["en"])
    none, slow = (run.stage for run in study.runs)
    phase = none.parent.phase
    assert (phase.task, phase.steps, phase.learning_rate) == ("nli-large", 7, 3e-4)
    assert slow.parent.phase.learning_rate == 1e-5 and slow.parent.phase.steps == 7
    assert none.phase.max_length == phase.max_length == 48


@pytest.mark.parametrize(("known", "rate"), [("xlm-roberta-base", 2e-5), ("e5-small", 1e-4)])
def test_a_rate_is_in_proportion_to_what_the_encoder_needs(tiny, monkeypatch, known, rate):
    monkeypatch.setattr(checkpoints, "facts", lambda name: ENCODERS[known])
    monkeypatch.setattr(type(get("pos").train), "is_generated", False)
    plain = replace(get("pos"), training=replace(get("pos").training, learning_rate=2e-5))
    monkeypatch.setitem(TASKS, "pos", plain)
    arms = {"none": Recipe(tiny)}
    monkeypatch.setattr(study_module, "_present", lambda *_: ("en",))
    phases = [
        xlt.study(arms, ["pos"], [0], learning_rate=r).runs[0].stage.parent.phase for r in (0, 7)
    ]
    assert [phase.learning_rate for phase in phases] == [pytest.approx(rate), 7]


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
    values = table.set_index(["metric", "seed"])["value"]
    names = {f"accuracy@{layer}/{pooling}" for layer in (1, 2) for pooling in ("mean", "first")}
    assert names <= set(table["metric"])
    # The protocol's layer of two is the first.
    assert values["accuracy", 0] == values["accuracy@1/mean", 0]


def test_arms_differ_in_one_thing(results):
    """What two arms share is the same to the bit: heads, order, dropout have no past."""
    runs = [run for run in results.study.runs if run.task == "nli" and run.seed == 0]
    none, text = (run.stage.parent for run in runs)
    assert digest(signature(none.phase)) == digest(signature(text.phase)) and none.key != text.key


def test_what_launchers_set_changes_nothing(tiny, tmp_path, monkeypatch):
    (stage,) = training_stages(Recipe(tiny).then(xlt.Target("nli", steps=1)), 0)
    settings = {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4", "ACCELERATE_USE_MEGATRON_LM": "true"}
    logs = []
    for environment in ({}, settings | {"PMI_SIZE": "2", "PMI_RANK": "0"}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        logs.append(making.make(stage, Store(tmp_path / str(len(logs)))) / "log.jsonl")
    assert logs[0].read_text() == logs[1].read_text()


def test_a_head_trained_on_other_labels_is_never_read(tiny):
    (stage,) = training_stages(Recipe(tiny).then(xlt.Target("nli")), 0)
    other = Stage(Evaluate("choice", ("en",)), 0, tiny, stage, ())
    with pytest.raises(ValueError, match="cannot be predicted by a head trained on nli"):
        making.reader(other, tiny)


BY_ARM = {"as it is": ["qbe"], "verb last": ["qbe-x-sov"]}
DESIGN = SMALL | {"arms": dict.fromkeys(BY_ARM, Recipe("micro")), "targets": ["nli"], "seeds": [0]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arms": [Recipe("micro")]}, "arms as in"),
        ({"arms": {"a": xlt.Intermediate(["nli"])}}, "'a' is of type Intermediate"),
        ({"languages": "qto"}, r"languages=\['qto'\]"),
        (
            {"suite": "xtreme", "arms": {"a": Recipe("micro").then(xlt.Intermediate(["nli"]))}},
            "'nli', which is of the microworld.* xnli",
        ),
        ({"targets": "pos"}, "targets as in.*'pos'"),
        ({"seeds": 3}, "seeds as in.*3"),
        ({"seeds": [0, 0, 1]}, "some of them twice"),
        ({"steps": -1}, "steps is -1"),
        ({"learning_rate": -1.0}, "learning_rate -1.0"),
        ({"targets": ["nlu"]}, "Did you mean 'nli'"),
        ({"targets": []}, "targets"),
        ({"targets": ["qa-small"], "suite": "xtreme-r"}, "'qa-small' is of the microworld"),
        ({"targets": ["text"]}, "has no metric"),
        ({"seeds": []}, r"seeds=\[0, 1, 2\]"),
        ({"suite": "xtrem-r"}, "xtreme-r"),
        ({"languages": ["xx"]}, "xx"),
        ({"languages": ["qbe-x-up"]}, "qbe-x-up.*Knobs follow -x-"),
        ({"languages": {"as it is": ["qbe"]}}, "their languages are given as"),
        ({"languages": BY_ARM | {"as it is": ["qke"]}}, "cannot be compared"),
        ({"languages": BY_ARM | {"as it is": ["qbe", "qbe-x-sov"]}}, "cannot be compared"),
        ({"substitutes": ["nli=choice"]}, "<-"),
        ({"substitutes": ["nli<-choice"]}, "labels"),
    ],
)
def test_bad_input_stops_before_any_work(change, message):
    with pytest.raises(ValueError, match=message):
        xlt.study(**DESIGN | change)


def test_a_language_that_no_table_describes_is_refused_before_any_work(tiny, monkeypatch):
    monkeypatch.delitem(LANGUAGES, "qad")
    with pytest.raises(ValueError, match=r"no language 'qad'.*languages\.register"):
        xlt.study({"a": Recipe(tiny)}, ["nli"], [0], languages=["qad"])


def test_shuffled_labels_end_at_chance(store):
    """Random labels make a model lean to one side in all items: chance is the mean over seeds."""
    options = {"steps": 60, "examples": 300, "languages": ["en"]}
    plain, shuffled = (
        xlt.study({"none": Recipe("micro")}, ["choice"], range(6), **options, shuffled=is_shuffled)
        for is_shuffled in (False, True)
    )
    assert plain.run(store).main["value"].min() > 90
    # 300 items: the standard error of a seed at chance is 2.9 points
    assert abs(shuffled.run(store).main["value"].mean() - 50) < 3 * 2.9


def test_arms_may_have_a_language_each_and_are_compared_on_what_they_share(tiny, store):
    arms = dict.fromkeys(BY_ARM, Recipe(tiny))
    results = xlt.study(arms, ["retrieval"], [0], languages=BY_ARM, examples=30).run(store)
    table = results.main.query("not is_source").set_index("arm")
    assert table["language"].to_dict() == {arm: code for arm, (code,) in BY_ARM.items()}
    assert set(table["base_language"]) == {"qbe"} and set(table["family"]) == {"Beric"}
    difference = xlt.compare(results, "as it is").set_index("languages")["difference"]
    assert difference["source"] == 0
    expected = table.loc["verb last", "value"] - table.loc["as it is", "value"]
    assert difference["transfer"] == pytest.approx(expected)


def test_workers_share_the_stages_and_end_with_the_same_numbers(tiny, tmp_path, monkeypatch):
    """A task of this session is known to them, and nothing is trained twice."""
    name = "pos-of-this-session"
    monkeypatch.setitem(TASKS, name, replace(get("pos"), name=name))
    planned = xlt.study(two_arms(tiny), [name, "retrieval"], [0, 1], **SMALL)
    alone, together = (planned.run(Store(tmp_path / str(n)), workers=n) for n in (1, 2))
    pd.testing.assert_frame_equal(alone.predictions, together.predictions)
    keys = {stage.key for stage in planned.stages}
    assert {path.name for path in (tmp_path / "2").iterdir() if path.is_dir()} == keys


def test_an_error_in_one_worker_ends_the_others(tiny, tmp_path):
    """A stage of 100,000 steps would go on for an hour."""
    broken = xlt.Intermediate(["pos"], learning_rate=1e9, warmup=0.0, steps=30)
    slow = xlt.Intermediate(["pos"], steps=100_000)
    arms = {"slow": Recipe(tiny).then(slow), "broken": Recipe(tiny).then(broken)}
    with pytest.raises(RuntimeError, match=r"learning_rate|poisoned"):
        xlt.study(arms, ["retrieval"], [0], **SMALL).run(Store(tmp_path), workers=2)


def test_a_plan_estimates_seconds_from_like_stages(results, tiny, tmp_path):
    plan = results.study.plan(results.store)
    assert plan["cached"].all() and not plan["seconds"].any()
    arms = {"longer": Recipe(tiny).then(xlt.Intermediate(["choice"], steps=40))}
    other = xlt.study(arms, ["nli"], [0], **SMALL).plan(results.store).set_index("stage")
    assert not other["cached"].any() and (other["seconds"] > 0).all()
    (key, *_) = plan.loc[plan["stage"].str.startswith("intermediate"), "key"]
    record = results.store.record(key)
    rate = record["cost"]["wall_s"] / record["signature"]["steps"]
    seconds = other.loc["intermediate choice (seed 0)", "seconds"]
    assert 0.1 * 40 * rate < seconds < 10 * 40 * rate  # a mean over stages of this kind
    assert results.study.plan(Store(tmp_path))["seconds"].isna().all()


def test_degenerate_runs_are_recognized():
    marks = {("a", 0, "en"): "1" * 60, ("b", 0, "en"): "10" * 30, ("c", 0, "en"): "110" * 20}
    marks |= {("d", 0, "en"): "1100" * 15, ("d", 0, "qbe"): "1" * 60}
    table = GivenResults(right_or_wrong(marks, task="paws-x")).degenerate.set_index("arm")
    assert table["degenerate"].to_dict() == {"a": False, "b": True, "c": False, "d": True}
    assert table.loc["b", "why"] == "one prediction for everything"
    assert "50.0" in table.loc["d", "why"]


def test_chance_of_tags_is_the_most_frequent_one():
    table = right_or_wrong({("a", 0, "en"): "01"}, task="pos").assign(score=[2 / 3, 1 / 2])
    tags = {"gold": ["NOUN NOUN VERB", "NOUN DET"], "pred": ["NOUN NOUN NOUN", "NOUN NOUN"]}
    results = GivenResults(table.assign(**tags))
    floor = results.scores.assign(metric="majority", value=60.0, main=False)
    results.scores = pd.concat([results.scores, floor])
    runs = results.degenerate
    assert runs["degenerate"].item() and "60.0" in runs["why"].item()


def test_an_untrained_search_has_no_runs_to_judge():
    predictions = right_or_wrong({("a", 0, "en"): "0000"}).assign(task="retrieval")
    assert GivenResults(predictions).degenerate.empty
