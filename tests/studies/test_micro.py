"""The encoder that ships with the kit: pretrained from scratch, the same every time."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from xltkit.data.microworld.languages import LANGUAGES, language
from xltkit.data.microworld.lexicon import NAMES
from xltkit.keys import file_digest
from xltkit.models.encoder import MICRO, Model, load_tokenizer
from xltkit.models.vision import MICRO_CLIP
from xltkit.studies import build_micro as micro
from xltkit.studies.make import make
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet

FEW = {"high": 30, "mid": 20, "low": 10}


@pytest.fixture
def blank(tmp_path):
    micro.write_blank(
        tmp_path / "blank", [language("en")], layers=1, width=32, vocabulary=300, documents=FEW
    )
    return str(tmp_path / "blank")


def test_two_rebuilds_are_the_same_to_the_byte(tmp_path, monkeypatch, capsys):
    for level, count in FEW.items():
        monkeypatch.setitem(micro.DOCUMENTS, level, count)
        monkeypatch.setitem(micro.PAIRS, level, count)
    digests = []
    for name in ("first", "second"):
        monkeypatch.setenv("XLTKIT_STORE", str(tmp_path / f"store-{name}"))
        micro.main("micro", ["--out", str(tmp_path / name), "--steps", "2"])
        files = sorted((tmp_path / name).iterdir())
        digests.append([(file.name, file_digest(file)) for file in files])
    assert digests[0] == digests[1] and len(digests[0]) == 4
    assert digests[0][1][1][:16] in capsys.readouterr().out


def test_weights_from_scratch_are_the_seeds(blank, tmp_path):
    phase = micro.pretraining((micro.plain_text(language("en"), FEW),), (), steps=2)
    folders = []
    for number, seed in enumerate((0, 1, 0)):
        (stage,) = training_stages(Recipe(blank, (phase,)), seed)
        folders.append(make(stage, Store(tmp_path / str(number))))
    first, other, again = (load_file(folder / "model.safetensors") for folder in folders)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not all(torch.equal(first[k], other[k]) for k in first)


def test_positions_start_as_sinusoids(blank):
    torch.manual_seed(0)
    model = Model(blank, {}, scratch=True)
    positions = model.encoder.embeddings.position_embeddings.weight
    near, far = (torch.cosine_similarity(positions[40], positions[40 + d], dim=0) for d in (1, 9))
    assert near > 0.85 > far  # neighbours are alike, which random vectors are not
    assert float(positions[:, 0].detach().std()) > 0.02


def test_what_is_shipped_is_what_is_said():
    config = json.loads((MICRO / "config.json").read_text())
    assert config["model_type"] == "xlm-roberta"
    file = MICRO / "model.safetensors"
    assert file.stat().st_size < 8e6
    count = sum(w.numel() for w in load_file(file).values())
    assert 1e6 < count < 3e6
    tokenizer = load_tokenizer("micro")
    assert len(tokenizer) == config["vocab_size"]
    for lang in LANGUAGES.values():
        assert tokenizer.unk_token_id not in tokenizer(lang.form("village"))["input_ids"]


def test_the_same_document_belongs_to_a_language_whatever_its_knobs():
    from xltkit.tasks.rows import training_rows

    plain, turned = (
        training_rows(TrainingSet("text", c, 20))["text"][:] for c in ("qbe", "qbe-x-sov")
    )
    names = [[sorted(set(NAMES) & set(t.split())) for t in texts] for texts in (plain, turned)]
    assert names[0] == names[1]
    assert plain != turned
    assert len(training_rows(TrainingSet("nli", "en", 5000))) == 5000  # more than the task's own


def test_two_rebuilds_of_the_clip_are_the_same_to_the_byte(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(micro, "SCENES", 40)
    digests = []
    for name in ("first", "second"):
        monkeypatch.setenv("XLTKIT_STORE", str(tmp_path / f"store-{name}"))
        micro.main("micro-clip", ["--out", str(tmp_path / name), "--steps", "2"])
        digests.append({f: file_digest(tmp_path / name / f) for f in micro.CLIP_FILES})
    assert digests[0] == digests[1]
    assert digests[0]["model.safetensors"][:16] in capsys.readouterr().out
    shipped = {file.name for file in MICRO_CLIP.iterdir()}
    assert shipped == {file.partition("/")[0] for file in micro.CLIP_FILES}
