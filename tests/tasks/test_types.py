"""How each task type is encoded, trained, decoded and scored."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset

from xltkit.data.microworld import generate as micro
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.readers import canonical
from xltkit.tasks import get
from xltkit.tasks.base import IGNORED, TYPES, Columns, EncodedExample, Task, pad
from xltkit.tasks.span import Window, shortened, span_in


def encode(name, tokenizer, count=40, code="en", max_length=96, **options):
    task = get(name)
    rows = micro.rows(name, "validation", LANGUAGES[code], count)
    return task, rows, task.type.encode(rows, tokenizer, max_length, training=True, **options)


LOGITS = torch.tensor([[0.0], [1.0], [2.0], [0.0], [0.0], [5.0]])
RAGGED = torch.tensor([[0.0], [0.0], [2.0], [0.0], [0.0], [0.0], [0.0], [2.0]])
ONE_SCORE = torch.zeros(1, 4, 2)
ONE_SCORE[0, 2, 1] = math.log(3.0)
LOSSES = [  # of a choice the labels are given by their places, those of the first alternatives
    ("classification", [[0.0, 0.0, 0.0], [math.log(2.0), 0.0, 0.0]], [1, 0], math.log(6)),
    ("choice", LOGITS, {0: 1, 2: 0, 4: 1}, sum(math.log(1 + math.exp(-d)) for d in (1, 2, 5))),
    ("choice", RAGGED, {0: 2, 3: 4}, sum(math.log(1 + n * math.exp(-2)) for n in (2, 4))),
    ("choice", LOGITS[:2], {}, 0.0),  # a part without examples repeats one
    ("span", ONE_SCORE, [[1, 2]], (math.log(4) + math.log(2)) / 2),  # the mean of start and end
]


@pytest.mark.parametrize(("kind", "logits", "labels", "expected"), LOSSES)
def test_the_loss_is_a_sum_of_cross_entropies(kind, logits, labels, expected):
    if isinstance(labels, dict):
        labels = [labels.get(place, IGNORED) for place in range(len(logits))]
    loss = TYPES[kind].losses(torch.as_tensor(logits), torch.tensor(labels)).sum()
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_sentence_alone_is_read_labeled_permuted_and_edited(tokenizer):
    texts = ["Anna sees Ben .", "Ben sees two red balls ."]
    rows = canonical("sentence", ["a", "b"], text=texts, label=[0, 1])
    task = Task("topic", "sentence", "accuracy", 50.0, labels=("people", "things"))
    examples = task.type.encode(rows, tokenizer, 96, training=True)
    ids = [example.sequences[0].tolist() for example in examples]
    assert ids == tokenizer(texts)["input_ids"] and [e.target for e in examples] == [0, 1]
    table = task.type.predictions(task, rows, examples, [np.array([0.0, -9.0])] * 2)
    assert table["pred"].tolist() == ["people", "people"] and table["score"].sum() == 1
    assert task.type.is_attackable and not task.type.crossed_text
    assert task.type.permute(task, rows, np.random.default_rng(0))["text"][:] == texts


def test_choice_reads_scores_in_groups(tokenizer):
    _, rows, examples = encode("choice", tokenizer, 3)
    batch = TYPES["choice"].collate(examples, tokenizer, training=True)
    assert len(batch["input_ids"]) == 6 and batch["labels"][::2].tolist() == rows["label"][:]
    outputs = TYPES["choice"].outputs(LOGITS, examples)
    assert [int(o.argmax()) for o in outputs] == [1, 0, 1]
    # of two alternatives one point apart: log 1 / (1 + e) and log e / (1 + e)
    assert outputs[0].tolist() == pytest.approx([-1.3132617, -0.3132617])
    ragged = [EncodedExample(0, (np.ones(4),) * 3), EncodedExample(1, (np.ones(4),) * 5)]
    outputs = TYPES["choice"].outputs(RAGGED, ragged)
    assert [(len(o), int(o.argmax())) for o in outputs] == [(3, 2), (5, 4)]


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
    read = np.stack(pd.read_parquet(tmp_path / "t.parquet")["log_probs"])
    assert read.dtype == np.float32 and np.array_equal(read, np.stack(outputs))  # to the bit


@pytest.mark.parametrize("name", ["nli", "choice", "qa", "pos"])
def test_only_attacks_pay_for_marks_of_whole_words(tokenizer, name):
    assert not any(example.words for example in encode(name, tokenizer, 5)[2])
    marked = encode(name, tokenizer, 5, words=True)[2]
    assert all(len(example.words) == len(example.sequences) for example in marked)
    marks = {int(mark) for example in marked for row in example.words for mark in row}
    assert marks == ({-1, 1} if name == "pos" else {-1, 0, 1})


def test_tagging_puts_the_tag_on_the_first_piece(tokenizer):
    _, rows, examples = encode("pos", tokenizer, code="qto")
    for row, example in zip(rows, examples, strict=True):
        assert example.target[example.target != IGNORED].tolist() == row["tags"]
        assert len(example.target) == len(example.sequences[0])
    assert any((e.target[1:-1] == IGNORED).any() for e in examples)  # some word has two pieces
    labels = TYPES["tagging"].collate(examples, tokenizer, training=True)["labels"]
    assert labels[3, : len(examples[3])].tolist() == examples[3].target.tolist()


def test_words_are_read_as_in_running_text(byte_level, tokenizer):
    rows = Columns({"tokens": [["Anna", "eats"]], "tags": [[9, 12]]})
    for each in (byte_level, tokenizer):
        (example,) = TYPES["tagging"].encode(rows, each, 96, training=False)
        text = each(" Anna eats", add_special_tokens=False)["input_ids"]
        assert example.sequences[0][1:-1].tolist() == text


def test_a_long_sentence_is_cut_between_words_and_joined_again(tokenizer):
    task, rows, examples = encode("pos", tokenizer, max_length=8)
    assert len(examples) > len(rows)
    assert max(map(len, examples)) <= 8
    perfect = [e.target[e.target != IGNORED] for e in examples]
    table = task.type.predictions(task, rows, examples, perfect)
    assert (table["score"] == 1).all() and (table["gold"] == table["pred"]).all()


def test_accuracy_of_tags_counts_tokens_and_not_sentences():
    table = pd.DataFrame({"gold": ["NOUN", "", "NOUN DET X"], "pred": ["NOUN", "", "X X X"]})
    scores = TYPES["tagging"].metrics(get("pos"), table, "en")
    assert (scores["accuracy"], scores["majority"]) == (50, 50)


def test_labels_with_blanks_and_hyphens_stay_whole():
    labels = ("O", "B-geo loc", "I-geo loc", "B-geo-x")
    task = Task("own", "tagging", "accuracy", 0.0, labels=labels)
    rows = Columns({"id": ["a", "b"], "tags": [[0, 1, 2], [1, 0, 2]]})
    examples = [EncodedExample(0, ()), EncodedExample(1, ())]
    table = task.type.predictions(task, rows, examples, [[0, 1, 2], [1, 0, 3]])
    scores = task.type.metrics(task, table, "en")
    assert (scores["majority"], scores["recall"]) == pytest.approx((100 / 3, 200 / 3))
    assert task.type.terms(task, table, "en")["denominator"].tolist() == [3, 3]


def test_a_word_the_tokenizer_drops_keeps_its_place(tokenizer):
    rows = Dataset.from_list([{"id": "0", "tokens": ["Anna", "", "eats"], "tags": [9, 0, 12]}])
    (example,) = TYPES["tagging"].encode(rows, tokenizer, 96, True)
    assert example.target[example.target != IGNORED].tolist() == [9, 0, 12]
    assert tokenizer.unk_token_id in example.sequences[0]


@pytest.mark.parametrize("code", ["en", "qbu", "qto"])
@pytest.mark.parametrize("max_length", [96, 40])
def test_a_span_comes_back_from_its_tokens(tokenizer, code, max_length):
    task, rows, examples = encode("qa", tokenizer, code=code, max_length=max_length)
    outputs = []
    for example in examples:
        first, last = example.target
        window = example.meta
        outputs.append((float(bool(first)), first or window.first, last or window.last))
    # Whatever the windows, each answer is in one of them.
    assert {e.example for e in examples if e.target[0]} == set(range(len(rows)))
    table = task.type.predictions(task, rows, examples, outputs)
    golds = [json.loads(g)[0] for g in table["gold"]]
    # The untrained tokenizer may glue a letter of an ending to its word: nearly all are exact.
    assert np.mean([g == p for g, p in zip(golds, table["pred"], strict=True)]) > 0.9


def test_the_best_span_is_exact_and_stays_inside_the_context():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 40, 2, generator=random) * 3
    example = EncodedExample(0, (np.zeros(40),), (), (0, 0), Window(5, 36, np.zeros((40, 2))))
    ((score, first, last),) = TYPES["span"].outputs(logits, [example])
    spans = [(i, j) for i in range(5, 37) for j in range(i, min(i + 30, 37))]
    best = max(spans, key=lambda span: logits[0, span[0], 0] + logits[0, span[1], 1])
    assert (first, last) == best
    assert score == pytest.approx(float(logits[0, first, 0] + logits[0, last, 1]), abs=1e-4)


def test_an_answer_outside_a_window_is_marked_as_absent():
    window = Window(3, 4, np.array([[0, 0], [0, 3], [0, 0], [10, 14], [15, 18], [0, 0]]))
    answers = [(15, 18), (11, 17), (4, 8), (15, 22)]
    assert [span_in(window, *answer) for answer in answers] == [(4, 4), (3, 4), (0, 0), (0, 0)]


def test_a_long_question_is_cut(tokenizer):
    question = "Anna eats . " * 60
    cut, short = shortened([question, "who eats ?"], tokenizer, 64)
    assert question.startswith(cut)
    assert len(tokenizer(cut, add_special_tokens=False)["input_ids"]) == 64
    assert [short] == shortened(["who eats ?"], tokenizer, 64) == ["who eats ?"]


@pytest.mark.parametrize("answer", ["三", "王三", "½"])
def test_every_token_of_a_character_is_part_of_the_answer(byte_level, answer):
    row = {"id": "0", "question": "国" * 40, "context": "国王三的 ½", "answers": [answer]}
    row["starts"] = [row["context"].index(answer)]
    (example,) = TYPES["span"].encode(Columns.of([row]), byte_level, 96, training=True)
    first, last = example.target
    assert byte_level.decode(example.sequences[0][first : last + 1]) == answer
    # A question of 120 bytes is cut to 32 tokens, less the two of a character that does not fit.
    assert example.meta.first == 1 + 30 + 2


def test_answers_in_another_language_are_scored_by_the_rules_of_the_context():
    rows = pd.DataFrame({"gold": ['["das Haus"]', '["Hund"]'], "pred": ["Haus", "Katze"]})
    span = TYPES["span"]
    assert span.metrics(get("mlqa-q-en"), rows, "de") == {"f1": 50, "em": 50}  # "das" is no word
    assert span.metrics(get("xquad"), rows, "de")["f1"] == pytest.approx(100 / 3)


def test_retrieval_looks_for_the_translation_of_each_english_sentence():
    task, kind = get("retrieval"), TYPES["retrieval"]
    english = ["one", "two", "one"]
    rows = Dataset.from_dict({"id": list("abc"), "text": list("xyz"), "english": english})
    # The three texts, then "one" and "two", which are encoded once each.
    vectors = np.array([[1, 0], [0, 1], [1, 0.1], [2, 0], [0.1, 3]], dtype=np.float16)
    table = kind.predictions(task, rows, [None] * 5, list(vectors))
    assert table["pred"].tolist() == ["a", "b", "a"]
    assert kind.metrics(task, table, "en")["accuracy"] == pytest.approx(200 / 3)


def test_masks_are_a_function_of_the_example_and_of_nothing_else(tokenizer):
    _, _, examples = encode("text", tokenizer)

    def masked(numbers, epoch=0):
        chosen = [examples[i] for i in numbers]
        batch = TYPES["text"].collate(chosen, tokenizer, training=False)
        return TYPES["text"].mask(batch, tokenizer, np.array(numbers), 1, epoch, 0.15)

    whole = masked(range(40))
    ids, labels = whole["input_ids"], whole["labels"]
    alone = masked([7])["input_ids"][0, : len(examples[7])]
    assert torch.equal(ids[7, : len(alone)], alone)
    assert not torch.equal(masked(range(40), epoch=1)["input_ids"], ids)
    chosen = labels != IGNORED
    padded = torch.from_numpy(pad([e.sequences[0] for e in examples], 1))
    real = whole["attention_mask"].bool() & ~torch.isin(padded, torch.tensor([0, 1, 2]))
    assert 0.12 < chosen.sum() / real.sum() < 0.18 and not (chosen & ~real).any()
    assert 0.72 < (ids[chosen] == tokenizer.mask_token_id).float().mean() < 0.88


def test_translation_pairs_are_read_together(tokenizer):
    _, rows, examples = encode("pairs", tokenizer, count=5, code="qbe")
    text = tokenizer.decode(examples[0].sequences[0])
    assert rows[0]["text"].split()[0] in text and rows[0]["translation"].split()[-2] in text
