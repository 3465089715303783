"""Encoders of several architectures, their heads, and what a saved stage looks like."""

import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from xltkit.models import checkpoints
from xltkit.models.encoder import Model
from xltkit.tasks.base import Head

SMALL = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
SMALL |= {"intermediate_size": 32, "max_position_embeddings": 40}
SMALL |= {"vocab_size": 60, "pad_token_id": 1}
INPUTS = {
    "input_ids": torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}
CLASSES = Head("sequence", 3)


def checkpoint(folder, architecture="xlm-roberta", dtype=torch.float32):
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(architecture, **SMALL)).to(dtype)
    model.save_pretrained(folder)
    return model.eval()


ARCHITECTURES = ["xlm-roberta", "bert", "modernbert", "deberta-v2", "distilbert", "albert"]


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "layoutlm"])
def test_scores_and_hidden_states_equal_the_librarys(tmp_path, architecture):
    library = checkpoint(tmp_path, architecture)
    model = Model(str(tmp_path), {"text": Head("masked")}).eval()
    select = torch.zeros_like(INPUTS["input_ids"], dtype=torch.bool)
    select[0, 2] = select[1, 1] = True
    with torch.no_grad():
        expected = library(**INPUTS, output_hidden_states=True)
        states = model.layers([1, 2], **INPUTS)
        scores = model("text", select=select, **INPUTS)  # of all layers again
    assert torch.allclose(scores, expected.logits[select], atol=1e-5)
    real = INPUTS["attention_mask"].bool()
    for layer in (1, 2):
        assert torch.allclose(states[layer][real], expected.hidden_states[layer][real], atol=1e-5)
    with pytest.raises(ValueError, match="1 to 3"):
        model.layers([4], **INPUTS)


def test_weights_are_fp32_whatever_the_checkpoint_says(tmp_path):
    checkpoint(tmp_path, dtype=torch.bfloat16)
    model = Model(str(tmp_path), {"nli": CLASSES, "text": Head("masked")})
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("masked", [True, False])
def test_a_saved_encoder_loads_with_the_library(tmp_path, tiny, tokenizer, masked):
    heads = {"nli": CLASSES} | ({"text": Head("masked")} if masked else {})
    model = Model(tiny, heads).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.01)
    model.save(tokenizer, tmp_path)
    inputs = tokenizer(["Anna eats ."], return_tensors="pt")
    library = AutoModel.from_pretrained(tmp_path).eval()
    assert torch.allclose(model.hidden(**inputs), library(**inputs).last_hidden_state, atol=1e-6)
    restored = Model(str(tmp_path), {"nli": CLASSES}).eval()
    restored.heads.load_state_dict(load_file(tmp_path / checkpoints.HEADS))
    assert torch.allclose(model("nli", **inputs), restored("nli", **inputs), atol=1e-6)
    if masked:
        whole = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
        select = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
        scores = model("text", select=select, **inputs)
        assert torch.allclose(scores, whole(**inputs).logits[select], atol=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_stages_share_what_was_frozen_and_load_with_the_library(tmp_path, tiny, tokenizer, masked):
    folders = [tmp_path / "a", tmp_path / "b"]
    for i, folder in enumerate(folders):
        model = Model(tiny, {"text": Head("masked")} if masked else {}).eval()
        model.freeze("embeddings")
        model._layers[0].attention.output.dense.weight.data.add_(i)
        model.save(tokenizer, folder)
    inputs = tokenizer(["Anna eats ."], return_tensors="pt")
    for restored in (Model(str(folder), {}).encoder, AutoModel.from_pretrained(folder)):
        hidden = restored.eval()(**inputs).last_hidden_state
        assert torch.allclose(model.hidden(**inputs), hidden, atol=1e-6)
    (shared,) = (tmp_path / "frozen").iterdir()
    assert all("embeddings" in name for name in load_file(shared))
    trained = folder / "model-trained.safetensors"
    assert not any(name in load_file(shared) for name in load_file(trained))
    checkpoints.whole_checkpoint(folder, tmp_path / "model.safetensors")
    whole = load_file(tmp_path / "model.safetensors")
    assert whole.keys() == load_file(shared).keys() | load_file(trained).keys()


def test_an_encoder_says_which_languages_it_never_saw(tmp_path):
    assert checkpoints.unseen("e5-small", ["yo", "sw", "en"]) == ["yo"]
    assert checkpoints.unseen("EuroBERT/EuroBERT-210m", ["yo", "sw", "en"]) == ["yo", "sw"]
    assert checkpoints.unseen("glot500", ["yo"]) == checkpoints.unseen("micro", ["qas"]) == []
    shape = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12}
    for size, codes in ((200_000, ["yo"]), (30_522, [])):  # cut, and MiniLM's of English
        AutoConfig.for_model("bert", vocab_size=size, **shape).save_pretrained(tmp_path)
        assert checkpoints.unseen(str(tmp_path), ["yo", "sw"]) == codes


def test_the_table_of_encoders_is_whole_and_code_of_others_is_never_run():
    for name, row in checkpoints.ENCODERS.items():
        assert row["languages"] in ("", *checkpoints.LANGUAGES), name
        assert row["hub"].count("/") == 1 and row["source"] and row["learning_rate"] < 1e-3
        assert name in checkpoints.describe_encoders()
        assert row["hub"] in checkpoints.describe_encoders([name])
    assert " sw " in checkpoints.describe_encoders(["xlm-roberta-base"])
    with pytest.raises(ValueError, match=r"never runs.*encoders"):
        checkpoints.configuration("mgte")


def test_a_mirror_has_encoders_too(tmp_path, tiny, monkeypatch):
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    hub = checkpoints.ENCODERS["e5-small"]["hub"]
    assert checkpoints.locate("e5-small") == (hub, "main")
    shutil.copytree(tiny, tmp_path / hub)
    for name in ("e5-small", hub):
        assert checkpoints.locate(name) == (str(tmp_path / hub), "main")
    assert checkpoints.locate(f"{hub}@0123") == (hub, "0123")


def test_a_fingerprint_follows_the_weights_and_not_the_folder(tmp_path, tiny):
    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert checkpoints.fingerprint(tiny) == checkpoints.fingerprint(str(copy))
    checkpoint(copy)
    fingerprints = {checkpoints.fingerprint(tiny), checkpoints.fingerprint(str(copy))}
    model = AutoModel.from_pretrained(tiny).requires_grad_(False)
    for change in (0.0, 1.0):
        next(model.parameters()).add_(change)
        folder = tmp_path / str(change)
        model.save_pretrained(folder, max_shard_size="50KB")  # in several files
        assert not (folder / "model.safetensors").exists()
        fingerprints.add(checkpoints.fingerprint(str(folder)))
    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    ("file", "without", "counts"),
    [
        ("pytorch_model.bin", "model.safetensors", True),
        ("pytorch_model.bin", "", False),
        ("model.safetensors.index.json", "model.safetensors", True),
        ("vocab.txt", "tokenizer.json", True),
        ("vocab.txt", "", False),
        ("special_tokens_map.json", "", True),
        ("trainer_state.json", "", False),
    ],
)
def test_a_fingerprint_counts_every_file_that_is_loaded(tmp_path, tiny, file, without, counts):
    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True, ignore=lambda *_: [without])
    fingerprints = set()
    for text in ("one", "another"):
        (tmp_path / file).write_text(text)
        fingerprints.add(checkpoints.fingerprint(str(tmp_path)))
    assert len(fingerprints) == 1 + counts


def test_a_tokenizer_is_read_once_and_saved_as_it_was_read(tmp_path, tiny):
    copy = shutil.copytree(tiny, tmp_path / "copy")
    tokenizer = checkpoints.load_tokenizer(str(copy))
    assert checkpoints.load_tokenizer(str(copy)) is tokenizer
    model = Model(tiny, {})
    saved = set()
    for length in (5, 7):
        tokenizer(["Anna eats .", "who eats ?"], truncation=True, max_length=length, padding=True)
        model.save(tokenizer, tmp_path)
        saved.add((tmp_path / "tokenizer.json").read_bytes())
    assert len(saved) == 1
    shutil.copyfile(checkpoints.MICRO / "tokenizer.json", copy / "tokenizer.json")
    assert len(checkpoints.load_tokenizer(str(copy))) > len(tokenizer)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("no-such-encoder", "or a folder"),
        ("./nowhere", "or a folder"),
        ("my org/a b@3d74", "`hf download 'my org/a b' --revision 3d74`"),
        ("xlm-roberta-large", "hf download FacebookAI/xlm-roberta-large --revision c23d21b0"),
    ],
)
def test_an_unknown_encoder_is_refused_with_the_remedy(name, remedy):
    with pytest.raises(ValueError, match=remedy) as caught:
        checkpoints.configuration(name)
    assert repr(name) in str(caught.value)
