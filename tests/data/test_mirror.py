"""Every row of the real mirror, if there is one: counts, repaired offsets, what is parallel."""

import os
from dataclasses import replace

import pytest

from xltkit.data import languages
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
}  # fmt: skip


@pytest.mark.parametrize(("name", "split"), COUNTS)
def test_every_row_there_is(name, split):
    task = get(name)
    present, _ = available(task, split)
    rows = {code: load(task, split, code) for code in present}
    counts = COUNTS[name, split]
    assert {code: len(r) for code, r in rows.items() if code in counts} == counts
    for code, some in rows.items():
        assert some.column_names == list(task.type.columns)
        ids = some["id"][:]
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
        rows = load(task, split, code)[:]
        for context, answers, starts in zip(
            rows["context"], rows["answers"], rows["starts"], strict=True
        ):
            for text, start in zip(answers, starts, strict=True):
                assert context[start : start + len(text)] == text
        raw = getattr(task, split).raw(code)
        if name == "tydiqa":
            prefix = languages.language(code).name.lower()
            raw = raw.select([i for i, k in enumerate(raw["id"][:]) if k.startswith(prefix)])
        before = [a["answer_start"] for a in raw["answers"][:]]
        assert sum(a != b for a, b in zip(before, rows["starts"], strict=True)) == count


@pytest.mark.parametrize(
    ("name", "split"),
    [("xquad", "test"), ("xnli", "test"), ("paws-x", "validation"), ("xcopa", "test")],
)
def test_parallel_rows_share_their_ids(name, split):
    task = get(name)
    found = [load(task, split, code)["id"][:] for code in COUNTS[name, split]]
    assert all(ids == found[0] for ids in found)
    if name in ("xnli", "xcopa"):
        gold = [load(task, split, code)["label"][:] for code in COUNTS[name, split]]
        assert all(labels == gold[0] for labels in gold)


def test_rows_that_are_not_parallel_share_none():
    for name in ("udpos", "tatoeba", "tydiqa-heldout", "wikineural"):
        task = get(name)
        first, second = list(COUNTS[name, "test"])[:2]
        ids = [set(load(task, "test", code)["id"][:]) for code in (first, second)]
        assert not ids[0] & ids[1], name


def test_mlqa_pairs_some_questions():
    ids = [set(load(get("mlqa"), "validation", c)["id"][:]) for c in ("de", "en")]
    assert ids[0] <= ids[1]


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
        before = [f"{q}?" for q in source.raw(code)["question"][:]]
        after = [p.split()[-1] for p in load(get("xcopa"), split, code)["premise"][:]]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == count, code
        asked[code] = after
    assert len(set(map(tuple, asked.values()))) == 1
    assert source.fingerprint("sw").count("sha256:") == 2


def test_hidden_copa_labels_are_refused():
    source = replace(get("copa").validation, split="test")
    with pytest.raises(ValueError, match=r"copa cannot be scored.*\{-1\}.*split='validation'"):
        load(replace(get("copa"), test=source), "test", "en")


def test_a_separator_inside_a_line_does_not_split_it():
    rows = load(get("paws-x"), "validation", "zh")
    assert not any(text.endswith(("\n", "\r")) for text in rows["text_a"][:])
    assert sum(rows["label"][:]) > 700
