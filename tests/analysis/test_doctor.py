"""Every cause that the doctor knows, produced on purpose, is named; healthy runs hear nothing."""

from dataclasses import replace

import pytest
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaModel

import xltkit as xlt
from xltkit.models import checkpoints
from xltkit.studies.make import untrained
from xltkit.studies.stages import Recipe
from xltkit.tasks import base, get, suites

SMALL = {"steps": 6, "examples": 20, "languages": ["qad"]}
SPECIAL = ["<s>", "</s>", "<pad>", "<unk>"]


def causes(encoder, store, task="nli", **options):
    """The causes of one run of a study, with evidence and remedy in every row."""
    target = {name: options.pop(name) for name in ("learning_rate",) if name in options}
    arms = {"a": Recipe(str(encoder)).then(xlt.Target(**target))}
    results = xlt.study(arms, [task], [0], **SMALL | options).run(store)
    assert results.degenerate["degenerate"].item()
    table = xlt.doctor(results)
    assert table[["evidence", "remedy"]].ne("").all(axis=None)
    return set(table["cause"])


def encoder_with(tokenizer, folder):
    """The folder of an untrained encoder that reads with a tokenizer of the library tokenizers."""
    ends = ("</s>", tokenizer.token_to_id("</s>")), ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.RobertaProcessing(*ends)
    special = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    shape = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2}
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        pad_token_id=tokenizer.token_to_id("<pad>"),
        intermediate_size=32,
        **shape,
    )
    XLMRobertaModel(config).save_pretrained(folder)
    return folder


def texts(code):
    rows = xlt.microworld.rows("text", "train", xlt.microworld.LANGUAGES[code], 200)
    return rows["text"][:]


def test_labels_and_rates(tiny, store):
    assert "permuted labels" in causes(tiny, store, shuffled=True)
    assert "rate too low, or too few steps" in causes(tiny, store, learning_rate=1e-8)
    high = causes(tiny, store, learning_rate=0.5, steps=20)
    assert {"rate too high", "one prediction for everything"} <= high
    tags = causes(tiny, store, task="pos", learning_rate=0.5, steps=20)
    assert {"rate too high", "one prediction for everything"} <= tags
    assert "a loss that never fell" in causes(tiny, store, learning_rate=1e-3, steps=30)


def test_a_head_that_was_not_trained(tiny, store):
    study = xlt.study({"a": Recipe(tiny)}, ["nli"], [0], **SMALL | {"steps": 30})
    results = study.run(store)
    stage = study.runs[0].stage.parent
    _, model = untrained(stage, tiny, store.folder)
    weights = {name: weight.data for name, weight in model.heads.named_parameters()}
    save_file(weights, store.path(stage.key) / checkpoints.HEADS)
    assert set(xlt.doctor(results)["cause"]) >= {"a head that was not trained"}


def test_what_the_encoder_reads(tiny, store, tmp_path, monkeypatch):
    words = sorted({word for text in texts("en") for word in text.split()})
    known = models.WordLevel({w: i for i, w in enumerate(SPECIAL + words)}, unk_token="<unk>")
    tokenizer = Tokenizer(known)
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    english = encoder_with(tokenizer, tmp_path / "english")
    assert "unknown pieces" in causes(english, store, source="qto")
    assert "unknown pieces" not in causes(english, store)

    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces = models.BPE({n: i for i, n in enumerate(names)}, [], byte_fallback=True)
    in_bytes = encoder_with(Tokenizer(pieces), tmp_path / "bytes")
    assert "byte pieces" in causes(in_bytes, store)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "unseen", lambda _, codes: [c for c in codes if c == "qto"])
        assert "a language never seen" in causes(tiny, store, source="qto", steps=5)
        assert "a language never seen" not in causes(tiny, store, steps=5)

    task = get("nli")
    short = replace(task, training=replace(task.training, max_length=8))
    with monkeypatch.context() as patched:
        patched.setitem(suites.TASKS, "nli", short)
        assert "inputs cut" in causes(tiny, store, steps=4)
    assert "inputs cut" not in causes(tiny, store, steps=4)


def test_words_need_the_space_before_them(store, tmp_path, monkeypatch):
    tokenizer = ByteLevelBPETokenizer(add_prefix_space=False)
    tokenizer.train_from_iterator(texts("en"), vocab_size=500, special_tokens=SPECIAL)
    encoder = encoder_with(tokenizer._tokenizer, tmp_path / "roberta")
    named = "words cut without the space before them"
    assert named not in causes(encoder, store, task="pos")
    monkeypatch.setattr(base, "word_prefix", lambda _: "")
    assert named in causes(encoder, store, task="pos")


def test_healthy_runs_hear_nothing_and_a_run_at_chance_is_said_at_once(store, recwarn):
    options = {"examples": 60, "languages": ["qad"]}
    arms = {"good": Recipe("micro"), "bad": Recipe("micro").then(xlt.Target(learning_rate=1e-8))}
    results = xlt.study(arms, ["pos"], [0], **options).run(store)
    assert set(xlt.doctor(results)["arm"]) == {"bad"}
    with pytest.warns(UserWarning, match="1 of 2 runs are at chance, such as 'bad' .*rate too low"):
        xlt.summary(results)
    recwarn.clear()
    control = xlt.study({"bad": arms["bad"]}, ["pos"], [0], **options, shuffled=True).run(store)
    xlt.summary(control)
    assert not [w for w in recwarn if "at chance" in str(w.message)]
