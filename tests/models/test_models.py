"""Encoders of several architectures, their heads, and what a saved stage looks like."""

from __future__ import annotations

import shutil

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

from xltkit.evaluation.predict import protocol_layer
from xltkit.models import encoder as models
from xltkit.tasks.base import Head

SMALL = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
ARCHITECTURES = ("xlm-roberta", "bert", "modernbert", "deberta-v2")
INPUTS = {
    "input_ids": torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
}


def checkpoint(folder, architecture, dtype=torch.float32, masked=True):
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **SMALL)
    auto = AutoModelForMaskedLM if masked else AutoModel
    model = auto.from_config(config).to(dtype)
    model.save_pretrained(folder)
    return model.eval()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_language_model_scores_equal_the_librarys(tmp_path, architecture):
    library = checkpoint(tmp_path, architecture)
    ours = models.Model(str(tmp_path), {"text": Head("masked")}).eval()
    select = torch.zeros_like(INPUTS["input_ids"], dtype=torch.bool)
    select[0, 2] = select[1, 1] = True
    with torch.no_grad():
        expected = library(**INPUTS).logits[select]
        assert torch.allclose(ours("text", select=select, **INPUTS), expected, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_equal_the_librarys_hidden_states(tmp_path, architecture):
    library = checkpoint(tmp_path, architecture, masked=False)
    ours = models.Model(str(tmp_path), {}).eval()
    with torch.no_grad():
        expected = library(**INPUTS, output_hidden_states=True).hidden_states
        found = ours.layers([1, 2], **INPUTS)
    real = INPUTS["attention_mask"].bool()
    for layer in (1, 2):
        assert torch.allclose(found[layer][real], expected[layer][real], atol=1e-5)
    with pytest.raises(ValueError, match="1 to 3"):
        ours.layers([4], **INPUTS)


def test_layers_above_the_wanted_one_are_not_run(tmp_path):
    checkpoint(tmp_path, "xlm-roberta", masked=False)
    ours, ran = models.Model(str(tmp_path), {}).eval(), []
    parent, name = models._block_list(ours.encoder)
    for number, block in enumerate(getattr(parent, name), 1):
        block.register_forward_hook(lambda *a, n=number: ran.append(n))
    ours.layers([2], **INPUTS)
    assert ran == [1, 2]
    ran.clear()
    ours.hidden(**INPUTS)
    assert ran == [1, 2, 3]


def test_padding_changes_no_pooled_score(tmp_path):
    checkpoint(tmp_path, "xlm-roberta", masked=False)
    model = models.Model(str(tmp_path), {"nli": Head("sequence", 3)}).eval()
    short = {k: v[1:, :3] for k, v in INPUTS.items()}
    assert torch.allclose(model("nli", **INPUTS)[1], model("nli", **short)[0], atol=1e-5)


def test_weights_are_fp32_whatever_the_checkpoint_says(tmp_path):
    checkpoint(tmp_path, "xlm-roberta", dtype=torch.bfloat16)
    model = models.Model(str(tmp_path), {"nli": Head("sequence", 3), "text": Head("masked")})
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("masked", [True, False])
def test_a_saved_encoder_loads_with_the_library(tmp_path, tiny, tokenizer, masked):
    heads = {"nli": Head("sequence", 3)} | ({"text": Head("masked")} if masked else {})
    model = models.Model(tiny, heads).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    models.save_encoder(model, tokenizer, tmp_path)
    inputs = tokenizer(["Anna eats ."], return_tensors="pt")
    library = AutoModel.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.allclose(
            model.hidden(**inputs), library(**inputs).last_hidden_state, atol=1e-6
        )
        if masked:
            whole = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
            select = torch.ones_like(inputs["input_ids"], dtype=torch.bool)
            scores = model("text", select=select, **inputs)
            assert torch.allclose(scores, whole(**inputs).logits[select], atol=1e-5)
    again = models.Model(str(tmp_path), {"nli": Head("sequence", 3)}).eval()
    models.load_heads(again, tmp_path)
    assert torch.allclose(model("nli", **inputs), again("nli", **inputs), atol=1e-6)


def test_a_fingerprint_follows_the_weights_and_not_the_folder(tmp_path, tiny):
    shutil.copytree(tiny, tmp_path / "copy")
    assert models.fingerprint(tiny) == models.fingerprint(str(tmp_path / "copy"))
    checkpoint(tmp_path / "copy", "xlm-roberta")
    assert models.fingerprint(tiny) != models.fingerprint(str(tmp_path / "copy"))


def test_a_tokenizer_is_read_once_and_saved_as_it_was_read(tmp_path, tiny):
    shutil.copytree(tiny, tmp_path / "copy")
    first = models.load_tokenizer(str(tmp_path / "copy"))
    assert models.load_tokenizer(str(tmp_path / "copy")) is first
    model, saved = models.Model(tiny, {}), []
    for folder, length in (("a", 5), ("b", 7)):
        first(["Anna eats .", "who eats ?"], truncation=True, max_length=length, padding=True)
        (tmp_path / folder).mkdir()
        models.save_encoder(model, first, tmp_path / folder)
        saved.append((tmp_path / folder / "tokenizer.json").read_bytes())
    assert saved[0] == saved[1]
    shutil.copyfile(models.MICRO / "tokenizer.json", tmp_path / "copy" / "tokenizer.json")
    assert len(models.load_tokenizer(str(tmp_path / "copy"))) > len(first)


@pytest.mark.parametrize("name", ["no-such-encoder", "./nowhere", "organisation/unknown-model"])
def test_an_unknown_encoder_is_refused_with_the_remedy(name):
    from xltkit.studies.recipe import encoder

    with pytest.raises(ValueError, match=r"folder") as caught:
        encoder(name)
    assert name in str(caught.value)


def test_the_protocol_layer_is_that_of_the_reference_scripts():
    assert [protocol_layer(d) for d in (12, 24, 6, 3, 1)] == [8, 14, 4, 2, 1]


def test_a_fingerprint_follows_weights_in_several_files(tmp_path, tiny):
    model, found = AutoModel.from_pretrained(tiny), []
    for change in (0.0, 1.0):
        with torch.no_grad():
            next(model.parameters()).add_(change)
        model.save_pretrained(tmp_path / str(change), max_shard_size="50KB")
        assert not (tmp_path / str(change) / "model.safetensors").exists()
        found.append(models.fingerprint(str(tmp_path / str(change))))
    assert found[0] != found[1]
