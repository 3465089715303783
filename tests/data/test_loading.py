"""Sources: mirror, Hub and its cache; what is missing and how to get it; fingerprints."""

import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path

import datasets
import huggingface_hub
import pytest
from datasets import Dataset

from xltkit.data import languages, readers
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import TYPES, available, get, load
from xltkit.tasks.base import Task


@pytest.fixture
def mirror(put, pairs, tmp_path, monkeypatch):
    """A mirror with one small data set, demo/pairs, in German and Swahili."""
    for code, labels in (("de", [0, 1, 2]), ("sw", [0, 0, 0])):
        put(pairs(labels), f"demo/pairs/{code}/test")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


def card(mirror):
    """The card of a clone of a Hub repository, which says where its configs lie."""
    configs = "".join(
        f"- config_name: {c}\n  data_files:\n  - split: test\n    path: {c}/test.parquet\n"
        for c in ("de", "sw")
    )
    (mirror / "demo/pairs/README.md").write_text(f"---\nconfigs:\n{configs}---\n")


def demo(**changes):
    source = Source("demo/pairs", "test", {"de": "de", "sw": "sw", "fr": "fr"}, readers.nli)
    task = Task("demo", "classification", "accuracy", 33.3, test=source, labels=readers.NLI_LABELS)
    return replace(task, **changes)


@pytest.mark.parametrize("clone", [True, False])
def test_load_from_a_mirror(mirror, clone):
    if clone:  # a folder of one's own needs no card
        card(mirror)
    rows = load(demo(), "test", "de")
    assert rows.column_names == list(TYPES["classification"].columns)
    assert rows["id"][:] == ["0", "1", "2"]


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


def test_fingerprint_of_a_mirror_file_follows_its_bytes(mirror, put, pairs):
    source = demo().test
    first = source.fingerprint("de")
    assert first.startswith("sha256:")
    assert len(first) == len("sha256:") + 16
    assert first != source.fingerprint("sw")
    put(pairs([2, 1, 0]), "demo/pairs/de/test")
    assert source.fingerprint("de") != first


def test_fingerprint_of_the_hub_and_of_a_reader_with_a_version(monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    assert get("xquad").test.fingerprint("ro") == f"hub@{get('xquad').test.revision}"
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
    xcopa, copa = get("xcopa").test, get("copa").train
    assert xcopa.fingerprint("sw") == f"hub@{xcopa.revision}+hub@{copa.revision}"


def test_what_the_hub_cache_holds_is_used_offline_but_only_in_the_right_version(
    mirror, monkeypatch
):
    card(mirror)
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


def test_an_unpinned_source_is_loaded_at_the_commit_in_its_fingerprint(monkeypatch, pairs):
    commits, loaded = iter(["a" * 40, "b" * 40]), []

    def load_dataset(hub, name, split, revision, streaming):
        loaded.append((hub, name, split, revision))
        return pairs([0, 1, 2])

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
