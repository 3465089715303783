"""Stages of ImageText and Distil: what is trained, what is left alone, what is learned."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

import xltkit as xlt
from xltkit.keys import file_digest
from xltkit.models import vision
from xltkit.models.encoder import Model, load_tokenizer
from xltkit.studies import make as making
from xltkit.studies.make import make
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import evaluation_stage, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet
from xltkit.training.phases import Evaluate, Intermediate
from xltkit.training.phases_images import Distil, ImageText

FEW = TrainingSet("captions", "qas", 40)
QUICK = {"steps": 3, "batch_size": 8}


def trained(phase, store, encoder="micro", seed=0, **options):
    (stage,) = training_stages(Recipe(encoder, (phase,)), seed)
    return make(stage, store, **options)


def recalls(phase, store, encoder="micro", languages=("en", "qbe"), examples=100):
    """R@1 by language; the stage is trained first if it is not there."""
    recipe = Recipe(encoder, (phase,))
    (stage,) = training_stages(recipe, 0)
    last = evaluation_stage(recipe, 0, stage, Evaluate("captions", languages, examples=examples))
    scores = pd.read_parquet(make(last, store) / "result" / "scores.parquet")
    return scores.query("metric == 'r@1'").set_index("language")["value"].to_dict()


KILLED = {
    "queue": ImageText(FEW, queue=30, steps=8, batch_size=8),
    "tower": ImageText(FEW, locked=False, queue=30, steps=8, batch_size=8),
}


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_run_ends_like_an_uninterrupted_one(tiny, store, tmp_path, name, killed_at):
    phase = KILLED[name]
    whole = trained(phase, store, tiny)
    cut = Store(tmp_path / "cut")
    for stop in (3, 6):
        with killed_at(stop):
            trained(phase, cut, tiny, checkpoint_seconds=0)
    again = trained(phase, cut, tiny, checkpoint_seconds=0)
    files = ["model.safetensors", "heads.safetensors"]
    files += ["tower/model.safetensors"] if name == "tower" else []
    assert [file_digest(whole / f) for f in files] == [file_digest(again / f) for f in files]


# --- towers --------------------------------------------------------------------------------------


def test_a_locked_tower_is_looked_through_once_and_left_alone(tiny, store, monkeypatch):
    files = sorted((vision.MICRO_CLIP / "tower").iterdir())
    before, looked, parameters = [file_digest(f) for f in files], [], []
    real, train = vision.Tower.forward, making.train

    def forward(self, pixels):
        looked.append(len(pixels))
        return real(self, pixels)

    def watched(model, *args, **options):
        parameters.extend(name for name, _ in model.named_parameters())
        return train(model, *args, **options)

    monkeypatch.setattr(vision.Tower, "forward", forward)
    monkeypatch.setattr(making, "train", watched)
    folder = trained(ImageText(FEW, **QUICK), store, tiny)
    assert sum(looked) == 40 and not (folder / "tower").exists()
    trained(ImageText(FEW, **QUICK, queue=10), store, tiny)  # another stage, the same pictures
    assert sum(looked) == 40
    recalls(ImageText(FEW, **QUICK), store, tiny, ("qas", "qbu"), 20)
    assert sum(looked) == 60  # the test pictures are the same in every language
    assert [file_digest(f) for f in files] == before
    assert {n.partition(".")[0] for n in parameters} == {"encoder", "heads"}
    heads = load_file(folder / "heads.safetensors")
    assert {n for n in heads if ".image." in n} == {"captions.image.weight", "captions.image.bias"}


def test_a_trained_tower_changes_is_kept_and_is_what_captions_are_scored_with(store, monkeypatch):
    phase = ImageText(FEW, locked=False, **QUICK)
    folder = trained(phase, store)
    network = AutoModel.from_pretrained(folder / "tower")
    shipped = AutoModel.from_pretrained(vision.MICRO_CLIP / "tower")
    changed = [
        n for n, p in network.named_parameters() if not torch.equal(p, shipped.get_parameter(n))
    ]
    assert len(changed) == len(list(network.named_parameters()))
    assert not any(".image." in n for n in load_file(folder / "heads.safetensors"))
    used, real = [], vision.features
    monkeypatch.setattr(vision, "features", lambda name, *a: used.append(name) or real(name, *a))
    recalls(phase, store, languages=("en",), examples=10)
    assert used == [str(folder / "tower")]


# --- what is learned -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("learned") / "store")


PICTURES = {"steps": 60, "batch_size": 32}


def test_captions_find_pictures_in_languages_that_had_none(kept):
    found = recalls(ImageText(TrainingSet("captions", "en", 1000), **PICTURES), kept)
    assert found["en"] > 80 and found["qbe"] > 60  # chance is 1


def test_captions_of_other_pictures_teach_nothing(kept):
    found = recalls(ImageText(TrainingSet("captions", "en", 1000, shuffled=True), **PICTURES), kept)
    assert max(found.values()) <= 5


def test_a_student_finds_the_pictures_of_its_teacher(kept):
    phase = Distil(TrainingSet("caption-pairs", "qbe", 1000), learning_rate=2e-3, **PICTURES)
    assert min(recalls(phase, kept).values()) > 80


# --- teachers ------------------------------------------------------------------------------------


def test_a_stage_is_a_teacher_as_it_pools_and_if_it_has_a_tower(tiny, store):
    first = trained(ImageText(FEW, locked=False, pooling="first", **QUICK), store, tiny)
    mean = trained(ImageText(FEW, **QUICK), store, tiny)
    tokenizer = load_tokenizer(tiny)
    for folder in (first, mean):
        model, weights = Model(str(folder), {}).eval(), load_file(folder / "heads.safetensors")
        hidden = model.hidden(**tokenizer(["some words"], return_tensors="pt"))
        pooled = hidden[:, 0] if folder == first else hidden.mean(1)
        expected = pooled @ weights["captions.text.weight"].T + weights["captions.text.bias"]
        given = vision.teacher_vectors(str(folder), ["some words"], store.folder)
        assert np.allclose(given, expected.detach().numpy(), atol=2e-3)
    assert vision.tower_of(str(first)) == str(first / "tower")
    assert recalls(Distil(FEW, teacher=str(first), **QUICK), store, tiny, ("qas",), 10)
    with pytest.raises(ValueError, match="No pictures lie in the space of"):
        recalls(Distil(FEW, teacher=str(mean), **QUICK), store, tiny, ("qas",), 10)


# --- keys and refusals ---------------------------------------------------------------------------


def key(phase, seed=0):
    return training_stages(Recipe("micro", (phase,)), seed)[-1].key


def test_the_key_is_that_of_the_weights_of_the_tower(tmp_path):
    plain = ImageText(FEW, **QUICK)
    shutil.copytree(vision.MICRO_CLIP / "tower", tmp_path / "tower")
    copied = ImageText(FEW, **QUICK, tower=str(tmp_path / "tower"))
    assert key(copied) == key(plain) != key(plain, seed=1)
    config = tmp_path / "tower" / "config.json"
    config.write_text(config.read_text() + "\n")
    others = [{"tower": "pixels"}, {"locked": False}, {"queue": 9}, {"against": "paraphrase"}]
    phases = [plain, copied, *(ImageText(FEW, **QUICK, **more) for more in others)]
    assert len({key(p) for p in phases}) == 6
    assert key(Distil(FEW)) != key(Distil(FEW, teacher=str(vision.MICRO_CLIP / "tower")))


def test_arms_share_the_stage_that_sees_the_pictures(tiny):
    seen = Recipe(tiny, (ImageText(FEW, **QUICK),))
    arms = {"seen": seen, "seen, tagged": seen.then(Intermediate(["pos"], steps=2))}
    planned = xlt.study(arms, ["retrieval", "nli"], [0, 1], languages=["en", "qas"])
    titles = [s.title for s in planned.stages if s.title.startswith("imagetext")]
    assert titles == ["imagetext captions (seed 0)", "imagetext captions (seed 1)"]


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: ImageText(["nli"]), r"ImageText is given \['nli'\]; it trains on one task"),
        (lambda: ImageText(["captions", "emoji"]), "one task of pictures with captions"),
        (lambda: ImageText(["captions"], against="words"), "'words'; it can be image or paraphra"),
        (lambda: ImageText(["captions"], accumulation=2), "leave accumulation 1"),
        (lambda: ImageText(["captions"], tower="pixels", locked=False), "nothing to train"),
        (lambda: ImageText(["captions"], queue=-1), "queue is -1"),
        (lambda: Distil(["pos"]), r"Distil is given \['pos'\]; it trains on captions, text or"),
        (lambda: key(ImageText(FEW, tower="micro-visoin")), "'micro-visoin' is no image tower"),
        (lambda: key(ImageText(FEW, tower="x", against="paraphrase")), "'x' is no image tower"),
        (lambda: key(Distil(FEW, teacher="mini-clip")), "'mini-clip' is no image tower"),
        (
            lambda: xlt.study(
                {"words": Recipe("micro", (ImageText(FEW, against="paraphrase"),))},
                ["captions"], [0], languages=["en"],
            ),
            "ends with ImageText",
        ),
    ],
)  # fmt: skip
def test_bad_settings_are_named_before_anything_is_trained(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_paraphrases_are_trained_without_pictures(tiny, store, monkeypatch):
    monkeypatch.setattr(vision, "features", lambda *_: pytest.fail("pictures were looked at"))
    phase = ImageText(FEW, against="paraphrase", queue=10, **QUICK)
    heads = load_file(trained(phase, store, tiny) / "heads.safetensors")
    assert len(heads["captions.text.bias"]) == vision.width("micro-vision")
