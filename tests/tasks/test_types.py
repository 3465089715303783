"""How each kind is encoded, trained, decoded and scored."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from xltkit.data.microworld import generate as micro
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.tasks import get
from xltkit.tasks.base import IGNORED, TYPES, EncodedExample, pad
from xltkit.tasks.span import Window, shortened, span_in


def encode(name, tokenizer, count=40, code="en", max_length=96, training=True):
    task = get(name)
    rows = micro.rows(name, "validation", LANGUAGES[code], count)
    return task, rows, task.type.encode(rows, tokenizer, max_length, training)


def test_padding_fills_up_to_a_multiple():
    assert pad([np.array([4, 5]), np.array([6])], 1, multiple=4).tolist() == [
        [4, 5, 1, 1],
        [6, 1, 1, 1],
    ]


def test_classification_loss_is_a_sum_of_cross_entropies():
    logits = torch.tensor([[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0]])
    loss = TYPES["classification"].losses(logits, torch.tensor([1, 0])).sum()
    assert float(loss) == pytest.approx(math.log(3) + math.log(2))


def test_choice_reads_scores_in_groups(tokenizer):
    _, rows, features = encode("choice", tokenizer)
    kind = TYPES["choice"]
    batch = kind.collate(features[:3], tokenizer, training=True)
    assert len(batch["input_ids"]) == 6 and batch["labels"].tolist() == rows["label"][:3]
    logits = torch.tensor([[0.0], [1.0], [2.0], [0.0], [0.0], [5.0]])
    outputs = kind.outputs(logits, features[:3])
    assert [int(o.argmax()) for o in outputs] == [1, 0, 1]
    # of two alternatives one point apart: log 1 / (1 + e) and log e / (1 + e)
    assert outputs[0].tolist() == pytest.approx([-1.3132617, -0.3132617])
    loss = kind.losses(logits, torch.tensor([1, 0, 1])).sum()
    expected = sum(math.log(1 + math.exp(-d)) for d in (1, 2, 5))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_labels_keep_the_scores_of_all_and_so_does_the_file(tmp_path):
    task, kind = get("nli"), TYPES["classification"]
    rows = Dataset.from_dict({"id": ["a", "b"], "label": [0, 2]})
    probabilities = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2]])
    outputs = kind.outputs((5 + probabilities.log()).to(torch.bfloat16), [None] * 2)
    assert all(o.dtype == np.float32 and np.exp(o).sum() == pytest.approx(1) for o in outputs)
    outputs = kind.outputs(5 + probabilities.log(), [None] * 2)  # the 5 says nothing
    table = kind.predictions(task, rows, [None] * 2, outputs)
    assert table["pred"].tolist() == [task.labels[0], task.labels[1]]
    assert table["score"].tolist() == [1, 0]
    assert np.exp(np.stack(table["log_probs"])) == pytest.approx(probabilities.numpy())
    table.to_parquet(tmp_path / "t.parquet", index=False)
    read = pd.read_parquet(tmp_path / "t.parquet")
    assert all(s.dtype == np.float32 for s in read["log_probs"])
    assert np.array_equal(np.stack(read["log_probs"]), np.stack(outputs))  # to the bit
    assert read.drop(columns="log_probs").equals(table.drop(columns="log_probs"))


def test_tagging_puts_the_tag_on_the_first_piece(tokenizer):
    _, rows, features = encode("pos", tokenizer, code="qto")
    for row, feature in zip(rows, features, strict=True):
        assert feature.target[feature.target != IGNORED].tolist() == row["tags"]
        assert len(feature.target) == len(feature.sequences[0])
    assert any((f.target[1:-1] == IGNORED).any() for f in features)  # some word has two pieces


def test_a_long_sentence_is_cut_between_words_and_joined_again(tokenizer):
    task, rows, features = encode("pos", tokenizer, max_length=8)
    assert len(features) > len(rows)
    assert max(map(len, features)) <= 8
    kind = TYPES["tagging"]
    perfect = [f.target[f.target != IGNORED] for f in features]
    table = kind.predictions(task, rows, features, perfect)
    assert (table["score"] == 1).all() and (table["gold"] == table["pred"]).all()
    assert kind.metrics(task, table, "en")["accuracy"] == 100
    assert "log_probs" not in table


def test_a_word_the_tokenizer_drops_keeps_its_place(tokenizer):
    rows = Dataset.from_list([{"id": "0", "tokens": ["Anna", "", "eats"], "tags": [9, 0, 12]}])
    (feature,) = TYPES["tagging"].encode(rows, tokenizer, 96, True)
    assert feature.target[feature.target != IGNORED].tolist() == [9, 0, 12]
    assert tokenizer.unk_token_id in feature.sequences[0]


@pytest.mark.parametrize("code", ["en", "qbu", "qto"])
@pytest.mark.parametrize("max_length", [96, 40])
def test_a_span_comes_back_from_its_tokens(tokenizer, code, max_length):
    task, rows, features = encode("qa", tokenizer, code=code, max_length=max_length)
    kind, found = TYPES["span"], set()
    outputs = []
    for feature in features:
        first, last = feature.target
        outputs.append((float(bool(first)), first or feature.meta.first, last or feature.meta.last))
        if first:
            found.add(feature.example)
    assert found == set(range(len(rows)))  # whatever the windows, each answer is in one of them
    table = kind.predictions(task, rows, features, outputs)
    golds = [json.loads(g)[0] for g in table["gold"]]
    # The untrained tokenizer may glue a letter of an ending to its word: nearly all are exact.
    assert np.mean([g == p for g, p in zip(golds, table["pred"], strict=True)]) > 0.9


def test_the_best_span_is_exact_and_stays_inside_the_context():
    kind, random = TYPES["span"], torch.Generator().manual_seed(0)
    logits = torch.randn(1, 40, 2, generator=random) * 3
    feature = EncodedExample(0, (np.zeros(40),), (), (0, 0), Window(5, 36, np.zeros((40, 2))))
    ((score, first, last),) = kind.outputs(logits, [feature])
    every = [
        (float(logits[0, i, 0] + logits[0, j, 1]), i, j)
        for i in range(5, 37)
        for j in range(i, min(i + 30, 37))
    ]
    assert (round(score, 4), first, last) == (round(max(every)[0], 4), *max(every)[1:])


def test_span_loss_is_the_mean_of_start_and_end():
    logits = torch.zeros(1, 4, 2)
    logits[0, 2, 1] = math.log(3.0)
    loss = TYPES["span"].losses(logits, torch.tensor([[1, 2]])).sum()
    assert float(loss) == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-5)
    assert TYPES["span"].count(torch.tensor([[1, 2]])) == 1


def test_an_answer_outside_a_window_is_marked_as_absent():
    offsets = np.array([[0, 0], [0, 3], [0, 0], [10, 14], [15, 18], [0, 0]])
    window = Window(3, 4, offsets)
    assert span_in(window, 15, 18) == (4, 4)
    assert span_in(window, 11, 17) == (3, 4)
    assert span_in(window, 4, 8) == (0, 0)
    assert span_in(window, 15, 22) == (0, 0)


def test_a_long_question_is_cut(tokenizer):
    question = "Anna eats . " * 60
    cut, short = shortened([question, "who eats ?"], tokenizer, 64)
    assert question.startswith(cut)
    assert len(tokenizer(cut, add_special_tokens=False)["input_ids"]) == 64
    assert short == "who eats ?"
    assert shortened(["who eats ?"], tokenizer, 64) == ["who eats ?"]


def test_retrieval_looks_for_the_translation_of_each_english_sentence():
    task, kind = get("retrieval"), TYPES["retrieval"]
    rows = Dataset.from_dict(
        {"id": ["a", "b", "c"], "text": ["x", "y", "z"], "english": ["one", "two", "one"]}
    )
    vectors = [np.array(v, dtype=np.float16) for v in ([1, 0], [0, 1], [1, 0.1])]
    queries = [
        np.array(v, dtype=np.float16) for v in ([2, 0], [0.1, 3])
    ]  # "one", "two": encoded once
    table = kind.predictions(task, rows, [None] * 5, vectors + queries)
    assert table["pred"].tolist() == ["a", "b", "a"]
    assert kind.metrics(task, table, "en")["accuracy"] == pytest.approx(200 / 3)


def test_masks_are_a_function_of_the_example_and_of_nothing_else(tokenizer):
    _, _, features = encode("text", tokenizer)
    kind = TYPES["text"]

    def masked(examples, seed=1, epoch=0):
        batch = kind.collate([features[i] for i in examples], tokenizer, training=True)
        out = kind.mask(batch, tokenizer, np.array(examples), seed, epoch, 0.15)
        return {e: row.tolist() for e, row in zip(examples, out["input_ids"], strict=True)}, out

    alone, _ = masked([7])
    together, out = masked(list(range(40)))
    width = len(features[7])
    assert together[7][:width] == alone[7][:width]
    assert masked(list(range(40)), epoch=1)[0] != together
    labels = out["labels"]
    chosen = labels != IGNORED
    real = out["attention_mask"].bool() & ~torch.isin(
        torch.from_numpy(pad([f.sequences[0] for f in features], 1)), torch.tensor([0, 1, 2])
    )
    rate = chosen.sum() / real.sum()
    assert 0.12 < rate < 0.18 and not (chosen & ~real).any()
    share = (out["input_ids"][chosen] == tokenizer.mask_token_id).float().mean()
    assert 0.72 < share < 0.88


def test_translation_pairs_are_read_together(tokenizer):
    _, rows, features = encode("pairs", tokenizer, count=5, code="qbe")
    text = tokenizer.decode(features[0].sequences[0])
    assert rows[0]["text"].split()[0] in text and rows[0]["translation"].split()[-2] in text
