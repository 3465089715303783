"""The models that ship with the kit: trained from scratch, the same every time."""

import json

import pytest
import torch
from safetensors.torch import load_file

from xltkit.data.microworld.languages import LANGUAGES, language
from xltkit.data.microworld.lexicon import NAMES
from xltkit.keys import file_digest
from xltkit.models.checkpoints import MICRO, MICRO_CLIP, load_tokenizer
from xltkit.models.encoder import Model
from xltkit.studies import build_micro
from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet
from xltkit.tasks.rows import training_rows

FEW = {"high": 30, "mid": 20, "low": 10}


@pytest.mark.parametrize(("name", "shipped"), [("micro", MICRO), ("micro-clip", MICRO_CLIP)])
def test_two_rebuilds_are_the_same_to_the_byte(name, shipped, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build_micro, "SCENES", 40)
    monkeypatch.setitem(build_micro.STEPS, name, 2)
    for level, count in FEW.items():
        monkeypatch.setitem(build_micro.DOCUMENTS, level, count)
        monkeypatch.setitem(build_micro.PAIRS, level, count)
    digests = []
    for number in ("1", "2"):
        monkeypatch.setenv("XLTKIT_STORE", str(tmp_path / number / "store"))
        out = tmp_path / number / "out"
        build_micro.main(name, str(out))
        files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
        digests.append({str(file): file_digest(out / file) for file in files})
    assert digests[0] == digests[1]
    assert digests[0]["model.safetensors"][:16] in capsys.readouterr().out
    names = {str(path.relative_to(shipped)) for path in shipped.rglob("*") if path.is_file()}
    assert digests[0].keys() == names


def test_weights_from_scratch_are_the_seeds_and_positions_start_as_sinusoids(tiny, tmp_path):
    text = build_micro.plain_text(language("en"), FEW)
    phase = build_micro.pretraining((text,), (), steps=2)
    digests = []
    for number, seed in enumerate((0, 1, 0)):
        (stage,) = training_stages(Recipe(tiny, (phase,)), seed)
        folder = make(stage, Store(tmp_path / str(number)))
        digests.append(file_digest(folder / "model.safetensors"))
    assert digests[0] == digests[2] != digests[1]
    torch.manual_seed(0)
    positions = Model(tiny, {}, scratch=True).encoder.embeddings.position_embeddings.weight
    near, far = (torch.cosine_similarity(positions[40], positions[40 + d], dim=0) for d in (1, 9))
    assert near > 0.85 > far  # neighbors are alike, which random vectors are not
    assert float(positions[:, 0].detach().std()) > 0.02


def test_what_is_shipped_is_what_is_said():
    config = json.loads((MICRO / "config.json").read_text())
    assert config["model_type"] == "xlm-roberta"
    count = sum(weight.numel() for weight in load_file(MICRO / "model.safetensors").values())
    assert 8e5 < count < 9e5
    tokenizer = load_tokenizer("micro")
    assert len(tokenizer) == config["vocab_size"]
    for spoken in LANGUAGES.values():
        assert tokenizer.unk_token_id not in tokenizer(spoken.form("village"))["input_ids"]


def test_the_same_document_belongs_to_a_language_whatever_its_knobs():
    sets = [TrainingSet("text", code, 20) for code in ("qbe", "qbe-x-sov")]
    plain, turned = (training_rows(training_set)["text"][:] for training_set in sets)
    names = [[sorted(set(NAMES) & set(t.split())) for t in texts] for texts in (plain, turned)]
    assert names[0] == names[1] and plain != turned
