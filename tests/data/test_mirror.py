"""Every row of the real mirror, if there is one: counts, repaired offsets, what is parallel."""

import os
from dataclasses import replace

import pytest

from xltkit.data.readers import of_language
from xltkit.tasks import available, get, load

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not os.environ.get("XLTKIT_HUB"), reason="XLTKIT_HUB is not set: no mirror to read"
    ),
    pytest.mark.filterwarnings("ignore:.*is missing in"),
]

# Rows by task, split and language, as published or as the mirror's README states them.
COUNTS = {
    ("xnli", "validation"): dict.fromkeys("ar de en es ru sw zh".split(), 2490),
    ("xnli", "test"): dict.fromkeys("de en sw zh".split(), 5010),
    ("sick", "train"): {"en": 9927},
    ("paws-x", "validation"): dict.fromkeys("de en zh".split(), 2000),
    ("xquad", "test"): dict.fromkeys("de en es hi ru zh".split(), 1190),
    ("tydiqa", "train"): {"en": 3696, "sw": 2755},
    ("tydiqa-heldout", "train"): {"en": 3341, "sw": 2495},
    ("tydiqa-heldout", "test"): {"en": 355, "sw": 260},
    ("mlqa", "validation"): {"de": 512, "en": 1148, "es": 500, "zh": 504},
    ("mlqa-q-en", "validation"): {"de": 512, "en": 1148, "es": 500, "zh": 504},
    ("siqa", "validation"): {"en": 1954},
    ("cosmosqa", "validation"): {"en": 2985},
    ("balanced-copa", "train"): {"en": 1000},
    ("copa", "train"): {"en": 400},
    ("copa", "validation"): {"en": 100},
    ("xcopa", "validation"): dict.fromkeys("et ht id it sw zh".split(), 100),
    ("xcopa", "test"): dict.fromkeys("et ht id it sw zh".split(), 500),
    ("udpos", "train"): {"en": 12544},
    ("udpos", "validation"): {"en": 2001},
    ("udpos", "test"): {
        "ar": 1000, "de": 977, "en": 2077, "es": 1000, "fi": 1555, "hi": 1000, "ja": 543,
        "ru": 1000, "tr": 1000, "zh": 500,
    },
    ("wikineural", "validation"): {"en": 11590},
    ("wikineural", "test"): {"de": 12372, "es": 9618},
    ("wikineural-small", "train"): {"en": 11590},
    ("tatoeba", "test"): dict.fromkeys("ar de es fi hi ja ru tr vi zh".split(), 1000)
    | {"sw": 390, "ta": 307},
    ("lareqa", "test"): dict.fromkeys("de en es zh".split(), 1190),
    ("lareqa", "candidates"): {"de": 1276, "en": 1180, "es": 1215, "zh": 1196},
}  # fmt: skip


def all_rows(name, split):
    return {code: load(get(name), split, code) for code in COUNTS[name, split]}


@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_every_row_there_is(name, split):
    task = get(name)
    for code in available(task, split)[0]:
        rows = load(task, split, code)
        assert len(rows) == COUNTS[name, split].get(code, len(rows)), code
        assert tuple(rows.column_names) == task.type.split_columns(split)
        ids = rows["id"][:]
        assert len(set(ids)) == len(ids), code
        assert getattr(task, split).fingerprint(code).startswith("sha256:")


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


@pytest.mark.parametrize(
    ("name", "split"),
    [("xquad", "test"), ("xnli", "test"), ("paws-x", "validation"), ("xcopa", "test")],
)
def test_parallel_rows_share_their_ids_and_labels(name, split):
    tables = list(all_rows(name, split).values())
    # Labels of PAWS-X differ from the English ones in the original.
    for column in ("id", "label") if name in ("xnli", "xcopa") else ("id",):
        assert all(table[column][:] == tables[0][column][:] for table in tables)


def test_other_rows_share_none_or_some():
    for name in ("udpos", "tatoeba", "tydiqa-heldout", "wikineural"):
        first, second, *_ = (set(rows["id"][:]) for rows in all_rows(name, "test").values())
        assert not first & second, name
    mlqa = all_rows("mlqa", "validation")
    assert set(mlqa["de"]["id"][:]) <= set(mlqa["en"]["id"][:])


@pytest.mark.parametrize(
    ("split", "wrong"),
    [
        ("validation", {"id": 5, "it": 5, "sw": 6, "et": 0}),
        ("test", {"id": 4, "it": 4, "sw": 37, "zh": 0}),
    ],
)
def test_xcopa_questions_are_repaired(split, wrong):
    source = getattr(get("xcopa"), split)
    asked = {}
    for code, count in wrong.items():
        before = [f"{question}?" for question in source.raw(code)["question"][:]]
        after = [premise.split()[-1] for premise in load(get("xcopa"), split, code)["premise"][:]]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == count, code
        asked[code] = after
    assert len(set(map(tuple, asked.values()))) == 1
    assert source.fingerprint("sw").count("sha256:") == 2


def test_hidden_copa_labels_are_refused():
    source = replace(get("copa").validation, split="test")
    with pytest.raises(ValueError, match=r"copa cannot be scored.*\{-1\}.*split='validation'"):
        load(replace(get("copa"), test=source), "test", "en")


@pytest.mark.parametrize(("split", "count"), [("train", 1262), ("validation", 153), ("test", 161)])
def test_every_emoji_has_one_name_in_each_of_twenty_languages(split, count):
    task = get("emoji")
    assert len(task.test.languages) == 20
    ids = load(task, split, "en")["id"][:]
    assert len(set(ids)) == count
    for code in task.test.languages:
        rows = load(task, split, code)
        assert rows["id"][:] == ids
        # R@1 has one right answer only if no two pictures share a name.
        assert len({name for (name,) in rows["texts"][:]}) == count, code
