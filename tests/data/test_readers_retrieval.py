"""LAReQA, Mewsli-X and BUCC as their owners publish them; sentences of SQuAD to train on."""

from __future__ import annotations

import json
import os

import pytest
from datasets import Dataset

from xltkit.data import loading as data
from xltkit.data import readers_retrieval as readers
from xltkit.tasks import TYPES, get, load

PARAGRAPH = {
    "context": "Ann met Bo.\nBo paid 3 kr. It rained. It rained.",
    "sentence_breaks": [[0, 11], [12, 25], [26, 36], [37, 47]],
    "sentences": ["Ann met Bo.", "Bo paid 3 kr.", "It rained.", "It rained."],
    "qas": [
        {"id": "q1", "question": "Who paid?", "answers": [{"text": "Bo", "answer_start": 12}]},
        {"id": "q2", "question": "What fell?", "answers": [{"text": "rained", "answer_start": 40}]},
        {"id": "q3", "question": "Between?", "answers": [{"text": "x", "answer_start": 11}]},
    ],
}
SILENT = {"context": "No one asks.", "sentence_breaks": [[0, 12]], "sentences": [], "qas": []}


@pytest.fixture
def lareqa(tmp_path):
    path = tmp_path / "en.json"
    path.write_text(json.dumps({"data": [{"title": "t", "paragraphs": [SILENT, PARAGRAPH]}]}))
    return path


def test_lareqa_questions_and_the_sentences_they_are_answered_by(lareqa):
    questions = readers.lareqa_questions(lareqa, "en")
    assert questions["id"][:] == questions["key"][:] == ["q1", "q2"]  # q3 is in no sentence
    candidates = readers.lareqa_candidates(lareqa, "en")
    assert candidates["id"][:] == ["en_2_0", "en_2_1", "en_2_2", "en_2_3"]
    # Both sentences with the same words are right, as in the reference.
    assert candidates["keys"][:] == [[], ["q1"], ["q2"], ["q2"]]
    assert candidates["text"][1] == "Bo paid 3 kr." and "\n" not in candidates["context"][0]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Mr. Li met Dr. Yu. He left.", ["Mr. Li met Dr. Yu.", "He left."]),
        ("J. R. Hill wrote. It sold 3.5 m.", ["J. R. Hill wrote.", "It sold 3.5 m."]),
        ('He said "no." Then (see p. 4) he went.', ['He said "no."', "Then (see p. 4) he went."]),
        ("no end", ["no end"]),
    ],
)  # fmt: skip
def test_sentence_breaks(text, sentences):
    assert [text[start:end] for start, end in readers.sentence_breaks(text)] == sentences


def test_a_question_trains_on_the_sentence_of_its_answer():
    context = "Ann came. Bo left at 9. All slept."
    rows = Dataset.from_list(
        [
            {"id": "a", "question": "Who left?", "context": context,
             "answers": {"text": ["Bo"], "answer_start": [11]}},  # one off, as on the Hub
        ]
    )  # fmt: skip
    made = readers.answer_sentences(rows, "en")
    assert made[0] == {
        "id": "a", "query": "Who left?", "key": "a", "text": "Bo left at 9.", "context": context,
    }  # fmt: skip


CONTEXT = {
    "language": "sw",
    "text": "Habari. {Juma}  alikuja leo. Mwisho.",
    "sentence_spans": [{"start": 0, "end": 7}, {"start": 8, "end": 28}, {"start": 29, "end": 36}],
}
SPAN = {"start": 24, "end": 27, "text": "leo"}
ENTITY = {
    "entity_id": "Q7",
    "description": "Today.\nThis day. More.",
    "sentence_spans": [{"start": 0, "end": 6}, {"start": 7, "end": 16}],
}


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_mewsli_marks_the_mention_and_keeps_its_sentence(tmp_path):
    told = {"context": CONTEXT, "mentions": [{"example_id": "m1", "mention_span": SPAN,
                                               "entity_id": "Q7"}]}  # fmt: skip
    other = {"context": CONTEXT | {"language": "de"}, "mentions": []}
    mentions = readers.mewsli_mentions(lines(tmp_path / "m.jsonl", [told, other]), "sw")
    # Braces of the text become parentheses; two spaces become one, once, as in the reference.
    assert mentions[0] == {"id": "m1", "query": "leo: (Juma) alikuja { leo } .", "key": "Q7"}
    entities = readers.mewsli_entities(lines(tmp_path / "e.jsonl", [ENTITY]), "en")
    assert entities[0] == {"id": "Q7", "text": "Today. This day.", "context": "", "keys": ["Q7"]}
    pair = {
        "contextual_mention": {"context": CONTEXT, "mention": told["mentions"][0]},
        "entity": ENTITY,
    }
    pairs = readers.mewsli_pairs(lines(tmp_path / "p.jsonl", [pair]), "en")
    assert pairs.column_names == list(TYPES["ranking"].split_columns("train"))
    assert pairs[0]["key"] == "Q7" and pairs[0]["text"] == "Today. This day."


def test_hidden_entities_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "raw/mewsli-x"
    folder.mkdir(parents=True)
    hidden = [{"example_id": f"m{i}", "mention_span": SPAN} for i in range(2)]
    lines(folder / "wikinews_mentions-test.jsonl",
          [{"context": CONTEXT | {"language": "ar"}, "mentions": hidden}])  # fmt: skip
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    with pytest.raises(ValueError, match=r"cannot be scored.*split='validation'"):
        load(get("mewsli-x"), "test", "ar")


def test_bucc_from_the_hub_and_from_files_are_the_same(tmp_path, monkeypatch):
    row = {"sentence1": ["eins", "zwei"], "sentence2": ["two", "one", "three"], "gold": [[1, 2]]}
    hub = readers.bucc(Dataset.from_list([row]), "de")
    texts = {"de": "de-1\teins\r\nde-2\tzwei\r\n", "en": "en-1\ttwo\nen-2\tone\nen-3\tthree\n"}
    texts["gold"] = "de-1\ten-2\n"
    folder = tmp_path / "raw/bucc2018"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"de-en.dev.{name}").write_bytes(text.encode())
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    source = get("bucc").validation
    assert load(get("bucc"), "validation", "de")[:] == hub[:]
    before = source.fingerprint("de")
    (folder / "de-en.dev.en").write_text("en-1\tother\n")
    assert source.fingerprint("de") != before  # all three files count
    (folder / "de-en.dev.gold").unlink()
    data._rows.cache_clear()
    with pytest.raises(ValueError, match=r"no file ends in \['gold'\]"):
        load(get("bucc"), "validation", "de")


@pytest.mark.real
@pytest.mark.skipif(not os.environ.get("XLTKIT_HUB"), reason="XLTKIT_HUB is not set")
def test_the_pool_of_lareqa_has_the_published_size():
    published = {"de": 1276, "en": 1180, "es": 1215, "zh": 1196}
    task = get("lareqa")
    for code, size in published.items():
        candidates = load(task, "candidates", code)
        assert len(candidates) == size
        assert sum(len(keys) for keys in candidates["keys"][:]) == 1190
        assert len(load(task, "test", code)) == 1190
