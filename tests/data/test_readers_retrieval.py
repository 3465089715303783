"""LAReQA, Mewsli-X and BUCC as their owners publish them; sentences of SQuAD to train on."""

import json

import pytest
from datasets import Dataset
from tables import cases

from xltkit.data import loading
from xltkit.data import readers_retrieval as readers
from xltkit.tasks import TYPES, get, load

CASES = cases("retrieval")


def test_lareqa_questions_and_the_sentences_they_are_answered_by(put):
    path = put(json.dumps({"data": [{"paragraphs": CASES["lareqa"]}]}), "en.json")
    questions = readers.lareqa_questions(path, "en")
    assert questions["id"][:] == questions["key"][:] == ["q1", "q2"]
    candidates = readers.lareqa_candidates(path, "en")
    assert candidates["id"][:] == ["en_2_0", "en_2_1", "en_2_2", "en_2_3"]
    # Both sentences with the same words are right, as in the reference.
    assert candidates["keys"][:] == [[], ["q1"], ["q2"], ["q2"]]
    assert candidates["text"][1] == "Bo paid 3 kr." and "\n" not in candidates["context"][0]


@pytest.mark.parametrize("sentences", CASES["sentences"])
def test_sentence_breaks(sentences):
    text = " ".join(sentences)
    assert [text[start:end] for start, end in readers.sentence_breaks(text)] == sentences


def test_a_question_trains_on_the_sentence_of_its_answer():
    context = {"context": "Ann came. Bo left at 9. All slept."}
    answers = {"text": ["Bo"], "answer_start": [11]}  # one off, as on the Hub
    row = {"id": "a", "question": "Who left?", "answers": answers}
    (pair,) = readers.answer_sentences(Dataset.from_list([row | context]), "en")
    assert pair == {"id": "a", "query": "Who left?", "key": "a", "text": "Bo left at 9."} | context


@pytest.mark.parametrize("case", CASES["mewsli"], ids=[c["reader"] for c in CASES["mewsli"]])
def test_mewsli_marks_the_mention_and_keeps_its_sentence(put, case):
    path = put("".join(json.dumps(row) + "\n" for row in case["rows"]), "rows.jsonl")
    table = getattr(readers, case["reader"])(path, "sw")
    assert list(table) == case["expected"]
    splits = [TYPES["ranking"].split_columns(split) for split in ("train", "test", "candidates")]
    assert tuple(table.column_names) in splits


def test_hidden_entities_are_refused(put):
    context, mention, *_ = CASES["mentions"]
    row = {"context": context | {"language": "ar"}, "mentions": [mention]}
    put(json.dumps(row) + "\n", "raw/mewsli-x/wikinews_mentions-test.jsonl")
    with pytest.raises(ValueError, match=r"cannot be scored.*split='validation'"):
        load(get("mewsli-x"), "test", "ar")


def test_bucc_from_the_hub_and_from_files_are_the_same(put):
    row = {"sentence1": ["eins", "zwei"], "sentence2": ["two", "one", "three"]}
    hub = readers.bucc(Dataset.from_list([row | {"gold": [[1, 2], [2, 1]]}]), "de")
    put("de-1\teins\r\nde-2\tzwei\r\n", "raw/bucc2018/de-en.dev.de")
    put("en-1\ttwo\nen-2\tone\nen-3\tthree\n", "raw/bucc2018/de-en.dev.en")
    gold = put("de-1\ten-2\nde-2\ten-1\n", "raw/bucc2018/de-en.dev.gold")
    source = get("bucc").validation
    assert load(get("bucc"), "validation", "de")[:] == hub[:]
    before = source.fingerprint("de")
    put("en-1\tother\n", "raw/bucc2018/de-en.dev.en")
    assert source.fingerprint("de") != before  # all three files count
    gold.unlink()
    loading._rows.cache_clear()
    with pytest.raises(ValueError, match=r"no file ends in \['gold'\]"):
        load(get("bucc"), "validation", "de")
