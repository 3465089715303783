"""Every row of the real mirror, if there is one: counts, repaired offsets, what is parallel."""

import os
from dataclasses import replace

import pytest
from tables import cases

from xltkit.data.readers import of_language
from xltkit.tasks import get, load

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not os.environ.get("XLTKIT_HUB"), reason="XLTKIT_HUB is not set: no mirror to read"
    ),
]
COUNTS = cases("counts")


def all_rows(name, split):
    return {code: load(get(name), split, code) for code in COUNTS[name][split]}


@pytest.mark.parametrize(
    ("name", "split"), [(name, split) for name in COUNTS for split in COUNTS[name]]
)
def test_every_row_there_is(name, split):
    for code, rows in all_rows(name, split).items():
        assert len(rows) == COUNTS[name][split][code], code
        assert getattr(get(name), split).fingerprint(code).startswith("sha256:")


@pytest.mark.parametrize(
    ("name", "split", "repaired"),
    [
        ("xquad", "test", {"en": 5, "es": 5, "hi": 13, "ru": 5, "zh": 100, "de": 0}),
        ("tydiqa", "train", {"en": 48, "sw": 478}),
        ("mlqa", "validation", {"en": 0, "zh": 0}),
    ],
)
def test_offsets_are_exact_after_repair(name, split, repaired):
    task = get(name)
    for code, count in repaired.items():
        rows = load(task, split, code)
        for row in rows:
            for text, start in zip(row["answers"], row["starts"], strict=True):
                assert row["context"][start : start + len(text)] == text
        raw = getattr(task, split).raw(code)
        if name == "tydiqa":
            raw = of_language(raw, code)
        before = [answers["answer_start"] for answers in raw["answers"][:]]
        assert sum(a != b for a, b in zip(before, rows["starts"][:], strict=True)) == count


PARALLEL = [("xquad", "test"), ("xnli", "test"), ("paws-x", "validation"), ("xcopa", "test")]
PARALLEL += [("sib200", "train"), ("uner", "test")]


@pytest.mark.parametrize(("name", "split"), PARALLEL)
def test_parallel_rows_share_their_ids_and_labels(name, split):
    tables = list(all_rows(name, split).values())
    # Labels of PAWS-X differ from the English ones in the original.
    for column in ("id", "label") if name in ("xnli", "xcopa", "sib200") else ("id",):
        assert all(table[column][:] == tables[0][column][:] for table in tables)


def test_other_rows_share_none_or_some():
    for name in ("udpos", "tatoeba", "tydiqa-heldout", "wikineural"):
        first, second, *_ = (set(rows["id"][:]) for rows in all_rows(name, "test").values())
        assert not first & second, name
    german, english = (set(load(get("mlqa"), "validation", c)["id"][:]) for c in ("de", "en"))
    assert german <= english


@pytest.mark.parametrize(
    ("split", "wrong"),
    [
        ("validation", {"id": 5, "it": 5, "sw": 6, "et": 0}),
        ("test", {"id": 4, "it": 4, "sw": 37, "zh": 0}),
    ],
)
def test_xcopa_questions_are_repaired(split, wrong):
    source = getattr(get("xcopa"), split)
    questions = {}
    for code, count in wrong.items():
        before = [f"{question}?" for question in source.raw(code)["question"][:]]
        after = [premise.split()[-1] for premise in load(get("xcopa"), split, code)["premise"][:]]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == count, code
        questions[code] = after
    assert len(set(map(tuple, questions.values()))) == 1
    assert source.fingerprint("sw").count("sha256:") == 2


def test_hidden_copa_labels_are_refused():
    source = replace(get("copa").validation, split="test")
    with pytest.raises(ValueError, match=r"copa .test.* cannot be scored.*-1.*split='validation'"):
        load(replace(get("copa"), test=source), "test", "en")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_emoji_has_one_name_in_each_of_twenty_languages(split):
    task = get("emoji")
    assert len(task.test.languages) == 20
    tables = {code: load(task, split, code) for code in task.test.languages}
    for code, rows in tables.items():
        assert rows["id"][:] == tables["en"]["id"][:]
        # R@1 has one right answer only if no two pictures share a name.
        assert len({name for (name,) in rows["texts"][:]}) == len(rows), code
