"""LAReQA, Mewsli-X and BUCC as their owners publish them; sentences of SQuAD to train on."""

import json

import pytest
from datasets import Dataset

from xltkit.data import loading
from xltkit.data import readers_retrieval as readers
from xltkit.tasks import TYPES, get, load

PARAGRAPH = {
    "context": "Ann met Bo.\nBo paid 3 kr. It rained. It rained.",
    "sentence_breaks": [[0, 11], [12, 25], [26, 36], [37, 47]],
    "qas": [
        {"id": "q1", "question": "Who paid?", "answers": [{"text": "Bo", "answer_start": 12}]},
        {"id": "q2", "question": "What fell?", "answers": [{"text": "rained", "answer_start": 40}]},
        {"id": "q3", "question": "Between?", "answers": [{"text": "x", "answer_start": 11}]},
    ],
}
SILENT = {"context": "No one asks.", "sentence_breaks": [[0, 12]], "qas": []}
CONTEXT = {
    "language": "sw",
    "text": "Habari. {Juma}  alikuja leo. Mwisho.",
    "sentence_spans": [{"start": 0, "end": 7}, {"start": 8, "end": 28}, {"start": 29, "end": 36}],
}
MENTION = {"example_id": "m1", "mention_span": {"start": 24, "end": 27, "text": "leo"}}
KNOWN = MENTION | {"entity_id": "Q7"}
ENTITY = {
    "entity_id": "Q7",
    "description": "Today.\nThis day. More.",
    "sentence_spans": [{"start": 0, "end": 6}, {"start": 7, "end": 16}],
}
# Braces of the text become parentheses; two spaces become one, once, as in the reference.
QUERY = "leo: (Juma) alikuja { leo } ."


def test_lareqa_questions_and_the_sentences_they_are_answered_by(put):
    path = put(json.dumps({"data": [{"paragraphs": [SILENT, PARAGRAPH]}]}), "en.json")
    questions = readers.lareqa_questions(path, "en")
    assert questions["id"][:] == questions["key"][:] == ["q1", "q2"]  # q3 is in no sentence
    candidates = readers.lareqa_candidates(path, "en")
    assert candidates["id"][:] == ["en_2_0", "en_2_1", "en_2_2", "en_2_3"]
    # Both sentences with the same words are right, as in the reference.
    assert candidates["keys"][:] == [[], ["q1"], ["q2"], ["q2"]]
    assert candidates["text"][1] == "Bo paid 3 kr." and "\n" not in candidates["context"][0]


@pytest.mark.parametrize(
    "sentences",
    [
        ["One.", "Two!", "Three?"],
        ["Mr. Li met Dr. Yu.", "He left."],
        ["J. R. Hill wrote.", "It sold 3.5 m."],
        ['He said "no."', "Then (see p. 4) he went."],
        ["no end"],
    ],
)
def test_sentence_breaks(sentences):
    text = " ".join(sentences)
    assert [text[start:end] for start, end in readers.sentence_breaks(text)] == sentences


def test_a_question_trains_on_the_sentence_of_its_answer():
    context = {"context": "Ann came. Bo left at 9. All slept."}
    answers = {"text": ["Bo"], "answer_start": [11]}  # one off, as on the Hub
    row = {"id": "a", "question": "Who left?", "answers": answers}
    (pair,) = readers.answer_sentences(Dataset.from_list([row | context]), "en")
    assert pair == {"id": "a", "query": "Who left?", "key": "a", "text": "Bo left at 9."} | context


@pytest.mark.parametrize(
    ("reader", "rows", "expected"),
    [
        (
            readers.mewsli_mentions,
            [
                {"context": CONTEXT | {"language": "de"}, "mentions": [KNOWN]},
                {"context": CONTEXT, "mentions": [KNOWN, MENTION | {"example_id": "m2"}]},
            ],
            [{"id": "m1", "query": QUERY, "key": "Q7"}, {"id": "m2", "query": QUERY, "key": ""}],
        ),
        (
            readers.mewsli_entities,
            [ENTITY],
            [{"id": "Q7", "text": "Today. This day.", "context": "", "keys": ["Q7"]}],
        ),
        (
            readers.mewsli_pairs,
            [{"contextual_mention": {"context": CONTEXT, "mention": MENTION}, "entity": ENTITY}],
            [{"id": "m1", "query": QUERY, "key": "Q7", "text": "Today. This day.", "context": ""}],
        ),
    ],
)
def test_mewsli_marks_the_mention_and_keeps_its_sentence(put, reader, rows, expected):
    path = put("".join(json.dumps(row) + "\n" for row in rows), "rows.jsonl")
    table = reader(path, "sw")
    assert list(table) == expected
    splits = [TYPES["ranking"].split_columns(split) for split in ("train", "test", "candidates")]
    assert tuple(table.column_names) in splits


def test_hidden_entities_are_refused(put):
    row = {"context": CONTEXT | {"language": "ar"}, "mentions": [MENTION]}
    put(json.dumps(row) + "\n", "raw/mewsli-x/wikinews_mentions-test.jsonl")
    with pytest.raises(ValueError, match=r"cannot be scored.*split='validation'"):
        load(get("mewsli-x"), "test", "ar")


def test_bucc_from_the_hub_and_from_files_are_the_same(put):
    row = {"sentence1": ["eins", "zwei"], "sentence2": ["two", "one", "three"], "gold": [[1, 2]]}
    hub = readers.bucc(Dataset.from_list([row]), "de")
    put("de-1\teins\r\nde-2\tzwei\r\n", "raw/bucc2018/de-en.dev.de")
    put("en-1\ttwo\nen-2\tone\nen-3\tthree\n", "raw/bucc2018/de-en.dev.en")
    gold = put("de-1\ten-2\n", "raw/bucc2018/de-en.dev.gold")
    source = get("bucc").validation
    assert load(get("bucc"), "validation", "de")[:] == hub[:]
    before = source.fingerprint("de")
    put("en-1\tother\n", "raw/bucc2018/de-en.dev.en")
    assert source.fingerprint("de") != before  # all three files count
    gold.unlink()
    loading._rows.cache_clear()
    with pytest.raises(ValueError, match=r"no file ends in \['gold'\]"):
        load(get("bucc"), "validation", "de")
