"""Data: readers on small hand-made rows, and every row of the mirror where there is one."""

import os
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, Features, List, NamedSplit, Value

from xltkit.data import languages, readers
from xltkit.data import loading as data
from xltkit.data import readers_choice as choice_readers
from xltkit.data import readers_tags as tag_readers
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import TYPES, available, get, load
from xltkit.tasks.base import Task
from xltkit.tasks.suites import hub

MIRROR = os.environ.get("XLTKIT_HUB", "")
real = [
    pytest.mark.real,
    pytest.mark.skipif(not MIRROR, reason="XLTKIT_HUB is not set: no mirror of the Hub to read"),
]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(data, "_warnings", set())
    data._ask_hub.cache_clear()
    yield
    data._ask_hub.cache_clear()


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror with one small data set, demo/pairs, in German and Swahili."""
    folder = tmp_path / "hub" / "demo" / "pairs"
    for code, labels in (("de", [0, 1, 2]), ("sw", [0, 0, 0])):
        (folder / code).mkdir(parents=True)
        nli(labels).to_parquet(folder / code / "test.parquet")
    configs = "".join(
        f"- config_name: {c}\n  data_files:\n  - split: test\n    path: {c}/test.parquet\n"
        for c in ("de", "sw")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "hub"


NLI_NAMES = ["entailment", "neutral", "contradiction"]


def nli(labels, names=NLI_NAMES, premise="p"):
    kind = ClassLabel(names=names) if names else Value("int64")
    columns = {"premise": [premise] * len(labels), "hypothesis": ["h"] * len(labels)}
    features = Features({"premise": Value("string"), "hypothesis": Value("string"), "label": kind})
    return Dataset.from_dict(columns | {"label": labels}, features=features)


def squad(*rows, ids=None):
    texts, starts = [r[1] for r in rows], [r[2] for r in rows]
    return Dataset.from_dict(
        {
            "id": ids or [f"q{i}" for i in range(len(rows))],
            "question": ["?"] * len(rows),
            "context": [r[0] for r in rows],
            "answers": [
                {"text": [t], "answer_start": [s]} for t, s in zip(texts, starts, strict=True)
            ],
        }
    )


def demo(**changes):
    source = Source("demo/pairs", "test", {"de": "de", "sw": "sw", "fr": "fr"}, readers.nli)
    task = Task("demo", "classification", "accuracy", 33.3, test=source, labels=readers.NLI_LABELS)
    return replace(task, **changes)


# --- readers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (NLI_NAMES, [0, 1, 2]),
        (["contradiction", "entailment", "neutral"], [1, 2, 0]),
        (["ENTAILMENT", "NEUTRAL", "CONTRADICTION"], [0, 1, 2]),
    ],
)
def test_nli_labels_are_mapped_by_name(names, labels):
    assert readers.nli(nli(labels, names), "en")["label"][:] == [0, 1, 2]


def test_nli_labels_as_strings_and_without_gold():
    rows = nli([0, 0]).cast_column("label", Value("string"))
    rows = rows.remove_columns("label").add_column("label", ["contradictory", "neutral"])
    assert readers.nli(rows, "en")["label"][:] == [2, 1]
    assert readers.nli(nli([-1, 1]), "en")["label"][:] == [-1, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["yes", "no", "maybe"], "maybe.*expected only entailment"), (None, "without names")],
)
def test_nli_refuses_labels_it_cannot_name(names, message):
    with pytest.raises(ValueError, match=message):
        readers.nli(nli([0, 1, 2], names), "en")


def test_line_ends_go_and_separators_inside_stay():
    text = "\u1100 one\u001ctwo\u0085 \u2028three"
    read = readers.nli(nli([0], premise=f"{text}\r\n"), "ko")
    assert read["text_a"][:] == [text]
    rows = Dataset.from_dict(
        {"source_sentence": ["a\n", "b\u001c\n"], "target_sentence": ["A", "B\r\n"]}
    )
    read = readers.tatoeba(rows, "sw")
    assert read["text"][:] == ["a", "b\u001c"]
    assert read["english"][:] == ["A", "B"]
    assert read["id"][:] == ["sw-0", "sw-1"]


@pytest.mark.parametrize(
    ("context", "answer", "start", "expected"),
    [
        ("a cat, a dog", "a", 7, 7),  # right as it is
        ("the cat", "cat", 6, 4),  # moved by stripped white space
        ("the cat", "cat", 2, 4),
        ("ab xx ab xx ab", "ab", 7, 6),  # the nearest of three
        ("ab xx ab xx ab", "ab", 99, 12),  # beyond the end
        ("猫が好き。猫", "猫", 4, 5),
        ("the cat", "dog", 4, -1),
    ],
)
def test_nearest_start(context, answer, start, expected):
    assert readers.nearest_start(context, answer, start) == expected


def test_span_repairs_offsets_and_keeps_ids():
    read = readers.span(squad(("the cat", "cat", 6), ("the dog", "the", 0)), "en")
    assert read.column_names == list(TYPES["span"].columns)
    assert read["starts"][:] == [[4], [0]]
    assert read["id"][:] == ["q0", "q1"]


def test_span_names_the_row_whose_answer_is_nowhere():
    with pytest.raises(ValueError, match=r"Row 'q1' \(sw\): the answer 'cat' does not occur"):
        readers.span(squad(("the cat", "cat", 4), ("the dog", "cat", 4)), "sw")


def test_tydiqa_filters_by_language_and_repeated_ids_become_distinct():
    ids = ["english-7", "swahili-7", "english-7", "english-8"]
    read = readers.tydiqa(squad(*[("a b", "b", 2)] * 4, ids=ids), "en")
    assert read["id"][:] == ["english-7", "english-7#2", "english-8"]
    assert len(readers.tydiqa(squad(*[("a b", "b", 2)] * 4, ids=ids), "sw")) == 1


def test_tydiqa_heldout_never_trains_on_what_it_scores():
    rows = squad(*[(f"context {i} b", "b", 10) for i in range(300)])
    rows = rows.remove_columns("id").add_column("id", [f"english-{i}" for i in range(300)])
    train = readers.tydiqa_kept(rows, "en")["context"][:]
    test = readers.tydiqa_held_out(rows, "en")["context"][:]
    assert not set(train) & set(test)
    assert len(train) + len(test) == 300
    assert 10 < len(test) < 60


def copa_rows(questions, label=(0, 1)):
    rows = Dataset.from_dict(
        {
            "premise": ["The man fell.\r\n", "It rained."],
            "choice1": ["a", "b"],
            "choice2": ["c", "d"],
            "question": questions,
            "idx": [5, 9],
            "label": list(label),
        },
        split=NamedSplit("validation"),
    )
    return rows


def test_copa_asks_the_question_of_xtreme_r():
    read = choice_readers.copa(copa_rows(["cause", "effect"]), "en")
    assert read["premise"][:] == [
        "The man fell. What was the cause?",
        "It rained. What was the effect?",
    ]
    assert read["choices"][:] == [["a", "c"], ["b", "d"]]
    assert read["id"][:] == ["5", "9"]
    with pytest.raises(ValueError, match=r"'why'.*expected cause or effect"):
        choice_readers.copa(copa_rows(["cause", "why"]), "en")


def test_xcopa_takes_the_questions_of_english_copa():
    english = copa_rows(["cause", "cause"])
    read = choice_readers.xcopa(copa_rows(["effect", "effect"]), "it", english)
    assert all(text.endswith("What was the cause?") for text in read["premise"][:])


def test_xcopa_warns_once_when_english_copa_is_missing(monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    source = get("xcopa").validation
    with pytest.warns(UserWarning, match="wrong questions.*aps/super_glue"):
        rows = source.converted(copa_rows(["effect", "effect"]), "it")
    assert rows["premise"][0].endswith("effect?")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source.converted(copa_rows(["effect", "effect"]), "it")
        source.converted(copa_rows(["effect", "effect"]), "zh")  # never wrong in Chinese


def test_siqa_letters_become_numbers():
    rows = Dataset.from_dict(
        {
            "context": ["She left."],
            "question": ["Why?"],
            "answerA": ["x"],
            "answerB": ["y"],
            "answerC": ["z"],
            "label": ["3"],
        }
    )
    read = choice_readers.siqa(rows, "en")[0]
    assert read == {"id": "0", "premise": "She left. Why?", "choices": ["x", "y", "z"], "label": 2}


def test_tags_are_mapped_by_name_and_numbers_by_the_table():
    features = Features(
        {"tokens": List(Value("string")), "pos_tags": List(ClassLabel(names=["VERB", "NOUN"]))}
    )
    rows = Dataset.from_dict({"tokens": [["go", "sun"]], "pos_tags": [[0, 1]]}, features=features)
    read = tag_readers.udpos(rows, "en")
    assert [tag_readers.UPOS[tag] for tag in read["tags"][0]] == ["VERB", "NOUN"]
    rows = Dataset.from_dict({"tokens": [["Anna", "Lee"]], "ner_tags": [[1, 2]]})
    read = tag_readers.wikineural(rows, "de")
    assert [tag_readers.WIKINEURAL_TAGS[tag] for tag in read["tags"][0]] == ["B-PER", "I-PER"]
    assert read["id"][:] == ["de-0"]


# --- load, available, fingerprint ----------------------------------------------------------------


def test_load_from_a_mirror(mirror):
    rows = load(demo(), "test", "de")
    assert rows.column_names == list(TYPES["classification"].columns)
    assert rows["id"][:] == ["0", "1", "2"]
    assert load(demo(), "test", "de") is not None


def test_placeholder_labels_are_refused(mirror):
    with pytest.raises(ValueError, match=r"test split of demo cannot be scored.*\{0\}"):
        load(demo(), "test", "sw")
    source = demo().test
    message = r"score split='validation' or take the file"
    with pytest.raises(ValueError, match=message):
        load(demo(validation=source), "test", "sw")


@pytest.mark.parametrize(
    ("kind", "column", "values", "fine"),
    [
        ("classification", "label", [0, 1], True),
        ("classification", "label", [0, -1], False),
        ("choice", "label", [1, 1], False),
        ("tagging", "tags", [[0, 1], [2]], True),
        ("tagging", "tags", [[5], [5, 5]], False),
        ("span", "answers", [["a"], ["b"]], True),
        ("span", "answers", [[""], [""]], False),
        ("span", "answers", [[], []], False),
        ("retrieval", "text", ["a", "a"], True),
    ],
)
def test_check_labels(kind, column, values, fine):
    task = Task("some", kind, "f1", 0.0, citation="Someone 2020")
    rows = Dataset.from_dict({column: values})
    if fine:
        task.type.check_rows(task, rows, "test")
    else:
        with pytest.raises(ValueError, match=r"cannot be scored.*Someone 2020"):
            task.type.check_rows(task, rows, "test")


def test_missing_data_says_what_was_looked_for_and_how_to_get_it(monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    started = time.monotonic()
    with pytest.raises(MissingData) as error:
        load(get("xquad"), "test", "ro")
    assert time.monotonic() - started < 5
    text = str(error.value)
    for part in (
        "No test rows of xquad in 'ro'",
        "google/xquad, config xquad.ro, split validation",
        "XLTKIT_HUB is not set",
        "HF_HUB_OFFLINE is set",
        "datasets.load_dataset('google/xquad', 'xquad.ro', split='validation', revision='51adfef1",
    ):
        assert part in text
    assert "\n" not in text


def test_a_network_that_is_down_fails_fast(monkeypatch):
    asked = []

    def refuse(self, *args, **kwargs):
        asked.append(args)
        raise OSError("Name or service not known")

    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    for code in ("ro", "th"):
        with pytest.raises(MissingData, match=r"did not answer .OSError: Name or service"):
            load(get("xquad"), "test", code)
    assert len(asked) == 1  # not once per language


@pytest.mark.parametrize(
    ("task", "split", "language", "message"),
    [
        ("xquad", "train", "en", "has no train split with labels, only test. It trains on 'squad'"),
        ("copa", "test", "en", "has no test split with labels, only train, validation"),
        ("xquad", "test", "yo", "No test rows of xquad in 'yo'. google/xquad is read in ar, de"),
        ("sick", "train", "en", "set XLTKIT_HUB to a folder that holds it"),
    ],
)
def test_missing_data_of_other_kinds(monkeypatch, task, split, language, message):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    with pytest.raises(MissingData) as error:
        load(get(task), split, language)
    assert message in str(error.value)


def test_an_unknown_split_is_a_mistake_and_not_missing_data():
    with pytest.raises(ValueError, match=r"no split 'dev'\. Allowed: train, validation, test"):
        load(get("xquad"), "dev", "en")


def test_available_tells_the_missing_languages_once(mirror):
    with pytest.warns(UserWarning, match=r"demo \(test\) is missing in fr, xx\.") as caught:
        found = available(demo(), "test", ["de", "fr", "sw", "xx"])
    assert found == (["de", "sw"], ["fr", "xx"])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        available(demo(), "test", ["de", "fr", "sw", "xx"])
        assert available(demo(), "test", ["de"]) == (["de"], [])
        assert available(demo(), "train") == ([], [])


def test_fingerprint_of_a_mirror_file_follows_its_bytes(mirror):
    source = demo().test
    first = source.fingerprint("de")
    assert first.startswith("sha256:")
    assert len(first) == len("sha256:") + 16
    assert first != source.fingerprint("sw")
    nli([2, 1, 0]).to_parquet(mirror / "demo" / "pairs" / "de" / "test.parquet")
    assert source.fingerprint("de") != first


def test_fingerprint_of_the_hub_and_of_a_reader_with_a_version(monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    assert get("xquad").test.fingerprint("ro") == f"hub@{hub.REVISIONS['google/xquad']}"
    with pytest.raises(MissingData, match="HF_HUB_OFFLINE is set"):
        get("udpos").test.fingerprint("af")  # not pinned, and nobody to ask

    def read(rows, language):
        return rows

    configs = {"de": "xquad.de"}
    source = Source("google/xquad", "validation", configs, read, "0" * 40, version=2)
    assert source.fingerprint("de").startswith(f"hub@{'0' * 40}/2/")
    other = replace(source, read=lambda rows, language: rows.select([0]))
    assert other.fingerprint("de") != source.fingerprint("de")  # not the kit's reader


def test_xcopa_fingerprint_holds_english_copa_too(monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    xcopa, copa = (hub.REVISIONS[h] for h in ("cambridgeltl/xcopa", "aps/super_glue"))
    assert get("xcopa").test.fingerprint("sw") == f"hub@{xcopa}+hub@{copa}"


def test_what_the_hub_cache_holds_is_used_offline_but_only_in_the_right_version(
    mirror, monkeypatch
):
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    made = datasets.load_dataset(str(mirror / "demo" / "pairs"), "de", split="test")
    monkeypatch.delenv("XLTKIT_HUB")
    commit = "a" * 40
    cached = cache / "demo___pairs" / "de" / "0.0.0" / commit
    shutil.copytree(Path(made.cache_files[0]["filename"]).parent, cached)
    right = replace(demo().test, revision=commit)
    assert len(load(demo(test=right), "test", "de")) == 3
    wrong = replace(demo().test, revision="b" * 40)
    with pytest.raises(MissingData, match=f"the cache holds version {commit} only"):
        load(demo(test=wrong), "test", "de")


def test_an_unpinned_source_is_loaded_at_the_commit_in_its_fingerprint(monkeypatch):
    commits, loaded = iter(["a" * 40, "b" * 40]), []

    def load_dataset(hub, name, split, revision, streaming):
        loaded.append((hub, name, split, revision))
        return nli([0, 1, 2])

    def dataset_info(self, hub, revision):
        return huggingface_hub.hf_api.DatasetInfo(id=hub, sha=next(commits), tags=[])

    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    source = replace(demo().test, hub="demo/unpinned")
    assert source.fingerprint("de") == f"hub@{'a' * 40}"
    assert len(load(demo(test=source), "test", "de")) == 3
    assert loaded == [("demo/unpinned", "de", "test", "a" * 40)]


def test_microworld_goes_through_the_same_door():
    task = get("pos")
    rows = load(task, "validation", "en")
    assert rows.column_names == list(TYPES["tagging"].columns)
    assert task.validation.fingerprint("en").startswith("microworld")
    with pytest.warns(UserWarning, match=r"pos \(test\) is missing in zz"):
        assert available(task, "test", ["en", "zz"]) == (["en"], ["zz"])


# --- tables --------------------------------------------------------------------------------------


def test_numbers_of_languages_are_those_of_the_benchmark():
    counts = {"xnli": 15, "paws-x": 7, "xquad": 12, "mlqa": 7, "tydiqa": 9, "xcopa": 11}
    counts |= {"udpos": 38, "tatoeba": 41, "panx": 48}
    assert {name: len(get(name).test.languages) for name in counts} == counts
    assert len({code for task in counts for code in get(task).test.languages}) == 50


def test_languages():
    swahili = languages.language("sw")
    assert (swahili.name, swahili.family, swahili.resource) == ("Swahili", "Niger-Congo", "low")
    with pytest.raises(ValueError, match=r"no language 'swahili'. Did you mean 'sw'"):
        languages.language("swahili")
    table = languages.columns(["ur", "eu"])
    assert list(table.index) == ["ur", "eu"]
    assert list(table.columns) == [
        "language_name", "family", "branch", "script", "rtl", "resource", "pretraining_gib",
    ]  # fmt: skip
    assert (table.loc["ur", "branch"], table.loc["ur", "pretraining_gib"]) == ("Indo-Aryan", 5.7)
    assert table.loc["ur", "rtl"] and not table.loc["eu", "rtl"]
    languages.register([swahili])  # the same once more is no conflict
    with pytest.raises(ValueError, match="'sw' is taken"):
        languages.register([replace(swahili, family="Bantu")])


# --- the mirror ----------------------------------------------------------------------------------

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


class TestMirror:
    pytestmark = real

    @pytest.mark.filterwarnings("ignore:.*is not to be had")
    @pytest.mark.parametrize(("name", "split"), COUNTS)
    def test_every_row_there_is(self, name, split):
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
    def test_offsets_are_exact_after_repair(self, name, split, repaired):
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
    def test_parallel_rows_share_their_ids(self, name, split):
        task = get(name)
        found = [load(task, split, code)["id"][:] for code in COUNTS[name, split]]
        assert all(ids == found[0] for ids in found)
        if name in ("xnli", "xcopa"):
            gold = [load(task, split, code)["label"][:] for code in COUNTS[name, split]]
            assert all(labels == gold[0] for labels in gold)

    def test_rows_that_are_not_parallel_share_none(self):
        for name in ("udpos", "tatoeba", "tydiqa-heldout", "wikineural"):
            task = get(name)
            first, second = list(COUNTS[name, "test"])[:2]
            ids = [set(load(task, "test", code)["id"][:]) for code in (first, second)]
            assert not ids[0] & ids[1], name

    def test_mlqa_pairs_some_questions(self):
        ids = [set(load(get("mlqa"), "validation", c)["id"][:]) for c in ("de", "en")]
        assert ids[0] <= ids[1]

    @pytest.mark.parametrize(
        ("split", "wrong"),
        [
            ("validation", {"id": 5, "it": 5, "sw": 6, "et": 0}),
            ("test", {"id": 4, "it": 4, "sw": 37, "zh": 0}),
        ],
    )
    def test_xcopa_questions_are_repaired(self, split, wrong):
        source = getattr(get("xcopa"), split)
        asked = {}
        for code, count in wrong.items():
            before = [f"{q}?" for q in source.raw(code)["question"][:]]
            after = [p.split()[-1] for p in load(get("xcopa"), split, code)["premise"][:]]
            assert sum(a != b for a, b in zip(before, after, strict=True)) == count, code
            asked[code] = after
        assert len(set(map(tuple, asked.values()))) == 1
        assert source.fingerprint("sw").count("sha256:") == 2

    def test_hidden_copa_labels_are_refused(self):
        source = replace(get("copa").validation, split="test")
        with pytest.raises(ValueError, match=r"copa cannot be scored.*\{-1\}.*split='validation'"):
            load(replace(get("copa"), test=source), "test", "en")

    def test_a_separator_inside_a_line_does_not_split_it(self):
        rows = load(get("paws-x"), "validation", "zh")
        assert not any(text.endswith(("\n", "\r")) for text in rows["text_a"][:])
        assert sum(rows["label"][:]) > 700
