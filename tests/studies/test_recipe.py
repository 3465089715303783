"""Recipes and phases are values; their keys follow everything that changes a result."""

import dataclasses
import shutil
from itertools import chain

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import xltkit as xlt
from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, encoder, training_stages
from xltkit.tasks import TrainingSet, get, rows
from xltkit.tasks.rows import training_rows
from xltkit.training.phases import Intermediate, Pretrain, Target, mixing


def test_mixing_gives_the_shares_of_the_paper():
    # Training sizes of the nine intermediate tasks of Phang et al. 2020, and the shares that a cap
    # of 2^17 gives them (derived).
    sizes = [1104934, 392702, 363846, 130319, 87599, 39905, 38015, 25262, 9741]
    capped = [0.181, 0.181, 0.181, 0.180, 0.121, 0.055, 0.053, 0.035, 0.013]
    proportional = [0.504, 0.179, 0.166, 0.059, 0.040, 0.018, 0.017, 0.012, 0.004]
    assert mixing(sizes, "proportional", cap=2**17) == pytest.approx(capped, abs=6e-4)
    assert mixing(sizes, "proportional") == pytest.approx(proportional, abs=6e-4)
    assert mixing(sizes, "uniform") == pytest.approx([1 / 9] * 9)
    assert mixing([100, 400], "temperature", temperature=2.0) == pytest.approx([1 / 3, 2 / 3])
    with pytest.raises(ValueError, match="proportional, temperature, uniform"):
        mixing([1], "propotional")


def test_a_recipe_does_not_change():
    base = Recipe("micro")
    longer = base.then(Target("nli")).then(Target("qa"))
    assert base.phases == () and [p.task for p in longer.phases] == ["nli", "qa"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        longer.encoder = "other"
    with pytest.raises(TypeError, match="Target"):
        base.then("nli")


def test_defaults_are_those_of_the_task():
    phase = Target("nli").resolved([4000])
    assert phase.steps > 0 and phase.learning_rate == get("nli").training.learning_rate
    assert Target("nli", epochs=2, batch_size=50).resolved([4000]).steps == 160
    assert Target("nli", effort=2).resolved([4000]).steps == 2 * phase.steps
    with pytest.raises(ValueError, match="effort is 0"):
        Target(effort=0)
    assert Target("nli", steps=7, learning_rate=1e-3).resolved([4000]).steps == 7


def test_the_share_of_language_modeling_is_kept():
    phase = Intermediate(["nli", "qa"], mlm=0.2, text=["text"], mix="uniform")
    assert phase.weights([10, 20, 30]) == pytest.approx([0.4, 0.4, 0.2])
    pretrain = Pretrain((TrainingSet("text"),), (TrainingSet("pairs", "qad"),), pair_share=0.3)
    assert pretrain.weights([5, 5]) == pytest.approx([0.7, 0.3])


ERRORS = [([], {}, "name one"), (["nlu"], {}, "nli"), (["nli"], {"mlm": 0.2}, "text")]
ERRORS += [(["nli"], {"mlm": 1.5, "text": ["text"]}, "below 1")]
ERRORS += [(["nli"], {"freeze": "layers"}, "embeddings"), (["nli"], {"freeze": -1}, "freeze=6")]
ERRORS += [(["nli"], {"freeze": True}, "True"), (["nli"], {"average": 40}, "average")]


@pytest.mark.parametrize(("tasks", "options", "message"), ERRORS)
def test_bad_phases_are_refused_with_the_remedy(tasks, options, message):
    with pytest.raises(ValueError, match=message):
        Intermediate(tasks, **options)


def keys(recipe, seed=0):
    return [stage.key for stage in training_stages(recipe, seed)]


def test_keys_follow_everything_that_changes_a_result(tiny, tmp_path):
    base = Recipe(tiny)
    (reference,) = keys(base.then(Target("nli")))
    changes = [{"learning_rate": 1e-4}, {"steps": 3}, {"language": "qad"}, {"examples": 100}]
    changes += [{"shuffled": True}]
    changed = [keys(base.then(Target("nli", **change)))[0] for change in changes]
    changed += keys(base.then(Target("nli")), seed=1)
    changed += keys(Recipe("micro").then(Target("nli")))
    changed += keys(base.then(Intermediate(["choice"]), Target("nli")))
    assert len({reference, *changed}) == len(changed) + 1
    # Not where the encoder or a lexicon lies, and not what comes after.
    copy = shutil.copytree(tiny, tmp_path / "elsewhere")
    assert keys(Recipe(str(copy)).then(Target("nli"))) == [reference]
    assert keys(base.then(Target("nli"), Target("qa")))[0] == reference
    found = {}
    for place, text in {"here": "cat\tpet\n", "there": "cat\tpet\n", "other": "cat\tcub\n"}.items():
        lexicon = tmp_path / place / "words.tsv"
        lexicon.parent.mkdir()
        lexicon.write_text(text)
        smoothing = xlt.SynonymSmoothing(source=str(lexicon))
        found[place] = keys(base.then(Target("nli", robust=smoothing)))
    assert found["here"] == found["there"] != found["other"]


def test_an_encoder_without_a_fast_tokenizer_is_refused_by_name(tiny, tmp_path):
    shutil.copy(f"{tiny}/config.json", tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    with pytest.raises(ValueError, match=f"{tmp_path}' has no fast tokenizer but ByT5Tokenizer"):
        encoder(str(tmp_path))


def test_a_recipe_is_adapted_to_other_tasks_and_fewer_rows():
    parts = [TrainingSet("choice"), TrainingSet("nli", "en", 20)]
    whole = Recipe("micro").then(Intermediate(parts), Target("nli"))
    assert whole.adapted({}) == whole
    between, target = whole.adapted({"nli": "paraphrase"}, rows=30).phases
    examples = [(part.task, part.examples) for part in (*between.tasks, *target.training_sets)]
    assert examples == [("choice", 30), ("paraphrase", 20), ("paraphrase", 30)]


def test_rows_are_counted_without_being_made(monkeypatch):
    sets = [TrainingSet("qa-small"), TrainingSet("nli", "qbe", 70)]
    sets.append(TrainingSet("pos", shuffled=True))
    expected = [len(training_rows(training_set)) for training_set in sets]
    monkeypatch.setattr(rows, "training_rows", None)
    assert list(map(rows.count, sets)) == expected


def test_a_small_set_is_part_of_a_larger_one_and_the_same_for_all():
    small, large = (set(training_rows(TrainingSet("nli", "en", n))["id"]) for n in (50, 200))
    assert len(small) == 50 and small < large
    assert len(training_rows(TrainingSet("nli"))) == 4000


@pytest.mark.parametrize("task, column", [("nli", "label"), ("pos", "tags"), ("qa", "question")])
def test_what_is_shuffled_is_the_same_in_another_order(task, column):
    plain, shuffled = (training_rows(TrainingSet(task, shuffled=s)) for s in (False, True))
    assert plain.features == shuffled.features and plain["id"][:] == shuffled["id"][:]
    before, after = plain[column][:], shuffled[column][:]
    if column == "tags":
        assert list(map(len, before)) == list(map(len, after))
        before, after = list(chain(*before)), list(chain(*after))
    assert before != after and sorted(before) == sorted(after)
    assert column != "label" or 0.28 < np.mean(np.equal(before, after)) < 0.39


def test_each_seed_draws_its_own_rows_if_asked():
    """The first draw is what it was; others are of the same rows, other ones for each seed."""
    parts = [xlt.TrainingSet("pos", "qbe", 30, draw=draw) for draw in (0, 1, 2)]
    ids = [set(training_rows(part)["id"][:]) for part in parts]
    assert [len(names) for names in ids] == [30, 30, 30] and len(set(map(frozenset, ids))) == 3
    assert ids[0] == set(training_rows(xlt.TrainingSet("pos", "qbe", 30))["id"][:])
    smaller = training_rows(xlt.TrainingSet("pos", "qbe", 10, draw=1))["id"][:]
    assert set(smaller) <= ids[1]
    recipe = xlt.encoder("micro").then(xlt.Target("pos", examples=30, redraw=True))
    drawn = [training_stages(recipe, seed)[-1].phase.training_sets[0].draw for seed in (0, 1)]
    assert drawn == [1, 2]
    whole = xlt.encoder("micro").then(xlt.Target("pos", examples=100_000, redraw=True))
    with pytest.raises(ValueError, match="redraw"):
        training_stages(whole, 0)


@pytest.mark.parametrize("tasks", [[], ["ner"], ["pos", "ner"]])
def test_a_head_is_kept_only_where_there_is_one_of_the_task(tasks):
    before = [xlt.Intermediate(tasks)] if tasks else []
    recipe = xlt.encoder("micro").then(*before, xlt.Target("pos", keep_head=True))
    with pytest.raises(ValueError, match="keep_head"):
        training_stages(recipe, 0)


def test_a_kept_head_starts_where_it_ended(tiny, store):
    """With a rate of next to nothing, what is kept stays as it was; a new head does not know it."""
    first = xlt.Intermediate(["pos"], steps=20)
    same = {"steps": 1, "learning_rate": 1e-12, "warmup": 0.0}
    heads = []
    for keep in (True, False):
        recipe = xlt.encoder(tiny).then(first, xlt.Target("pos", keep_head=keep, **same))
        folders = [make(stage, store) for stage in training_stages(recipe, 0)]
        heads.append([load_file(folder / "heads.safetensors") for folder in folders])
    (before, kept), (_, new) = heads
    for name, weight in before.items():
        torch.testing.assert_close(kept[name], weight, atol=1e-6, rtol=0)
        if name.endswith("weight"):
            assert not torch.allclose(new[name], weight, atol=1e-3)
