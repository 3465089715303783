"""Sources: mirror, Hub and its cache; what is missing and how to get it; fingerprints."""

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from datasets import Dataset
from tables import cases, pairs, table

from xltkit.data import languages
from xltkit.data.loading import CONVERTED, MissingData, Source
from xltkit.tasks import TYPES, available, get, load
from xltkit.tasks.base import Task

CARD = """---
configs:
- config_name: de
  data_files:
  - split: test
    path: de/test.parquet
---
"""


@pytest.mark.parametrize("folder", ["hub", "hub [v1]", "hub*", "hub::z"])
@pytest.mark.parametrize("card", ["", CARD, CARD.replace("de/test", "de/absent")])
def test_load_from_a_mirror_of_any_name_whatever_its_card_says(
    demo, mirror, put, monkeypatch, folder, card
):
    put(card, "demo/pairs/README.md")
    (mirror / folder).mkdir()
    (mirror / "demo").rename(mirror / folder / "demo")
    put(pairs([1]), "hub of another/demo/pairs/de/test.parquet")
    monkeypatch.setenv("XLTKIT_HUB", str(mirror / folder))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", "/proc/none")  # cannot be written
    rows = load(demo, "test", "de")
    assert rows.column_names == list(TYPES["classification"].columns)
    assert rows["id"][:] == ["0", "1", "2"]


CASES = cases("rows")


def own(put, kind, *rows, split="test"):
    """A task of one's own whose rows are canonical as they lie."""
    labels, good = CASES["good"][kind]
    columns = [{"id": f"r{i}"} | good | row for i, row in enumerate(rows)]
    put(Dataset.from_list(columns), f"own/{kind}/sw/{split}.parquet")
    source = Source(f"own/{kind}", split, {"sw": "sw"}, lambda rows, language: rows)
    more = {"labels": tuple(labels), "citation": "Someone 2020", split: source}
    return Task("own", kind, "f1", 0.0, **more)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(("kind", "row", "allowed"), CASES["wrong"])
def test_a_value_that_its_column_may_not_hold_is_refused(put, kind, row, allowed, split):
    task = own(put, kind, {}, {}, row, split=split)
    name = rf"own \({split}, 'sw'\), read from .*: Row '{row.get('id', 'r2')}' \(number 2\)"
    with pytest.raises(
        ValueError, match=rf"{name} has {next(iter(row))} .*; allowed: {allowed}.*1 of 3"
    ):
        load(task, split, "sw")


@pytest.mark.parametrize(
    ("kind", "row"),
    [("classification", {"label": -1}), ("span", {"answers": [""]}), ("ranking", {"key": ""})],
)
def test_gold_labels_are_told_from_placeholders(put, kind, row):
    with pytest.raises(ValueError, match=r"test split cannot be scored.*take the .*Someone 2020"):
        load(own(put, kind, row, row), "test", "sw")
    with pytest.warns(UserWarning, match=r"own \(test, 'sw'\): .* is always .*says little"):
        load(own(put, kind, {}, {"key": "y"} if kind == "ranking" else {}), "test", "sw")


@pytest.mark.parametrize(
    ("task", "split", "language", "message"),
    [
        (
            "xquad",
            "test",
            "ro",
            "No test rows of xquad in 'ro'. Looked for google/xquad, config xquad.ro, split "
            "validation: XLTKIT_HUB is not set; HF_HUB_OFFLINE is set. On a machine with a network "
            'this gets it: python -c \'import datasets; datasets.load_dataset("google/xquad", '
            '"xquad.ro", split="validation", revision="51adfef1',
        ),
        ("xquad", "train", "en", "has no train split with labels, only test. It trains on 'squad'"),
        ("copa", "test", "en", "has no test split with labels, only train, validation"),
        ("xquad", "test", "yo", "No test rows of xquad in 'yo'. google/xquad is read in ar, de"),
        ("sick", "train", "en", "set XLTKIT_HUB to a folder that holds $XLTKIT_HUB/local"),
    ],
)
def test_missing_data_says_how_to_get_it(unset, task, split, language, message):
    with pytest.raises(MissingData) as error:
        load(get(task), split, language)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_network_that_is_down_fails_fast(hub):
    asked = hub(OSError("Name or service not known"))
    for code in ("ro", "th"):
        with pytest.raises(MissingData, match=r"did not answer .OSError: Name or service"):
            load(get("xquad"), "test", code)
    assert len(asked) == 1  # not once per language


def test_a_script_only_repository_is_loaded_from_the_converted_branch(unset, hub):
    source = get("udpos").train
    with pytest.raises(MissingData, match=rf'data_dir="lt_alksnis".*revision="{CONVERTED}"'):
        load(get("udpos"), "train", "lt")
    with pytest.raises(MissingData, match="HF_HUB_OFFLINE is set"):
        source.fingerprint("lt")  # a branch is no commit
    columns = {"tokens": [["xx", "x"]], "upos": [[1, 0]], "head": [["None", "0"]]}
    asked = hub("c" * 40, table(columns, {"upos": ["NOUN", "_"]}))
    assert load(get("udpos"), "train", "lt")["tokens"][:] == [["x"]]
    assert source.fingerprint("lt") == f"hub@{'c' * 40}"
    wanted = {"revision": "c" * 40, "data_dir": "lt_alksnis", "split": "train", "streaming": False}
    name = "universal-dependencies/universal_dependencies"
    assert asked == [(name, CONVERTED), (name, wanted)]


def test_available_tells_the_missing_languages_once(demo):
    with pytest.warns(UserWarning, match=r"demo \(test\) is missing in fr, xx\.") as caught:
        assert available(demo, "test", ["de", "fr", "sw", "xx"]) == (["de", "sw"], ["fr", "xx"])
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        available(demo, "test", ["de", "fr", "sw", "xx"])
        assert available(demo, "test", ["de"]) == (["de"], [])
        assert available(demo, "train") == ([], [])


def test_fingerprints_follow_the_bytes_of_a_file_or_name_the_commit(demo, put, monkeypatch):
    first = demo.test.fingerprint("de")
    assert first.startswith("sha256:") and len(first) == len("sha256:") + 16
    assert first != demo.test.fingerprint("sw")
    put(pairs([2, 1, 0]), "demo/pairs/de/test.parquet")
    assert demo.test.fingerprint("de") != first
    monkeypatch.delenv("XLTKIT_HUB")
    xquad = get("xquad").test
    assert xquad.fingerprint("ro") == f"hub@{xquad.revision}"
    xcopa, copa = get("xcopa").test, get("copa").train
    assert xcopa.fingerprint("sw") == f"hub@{xcopa.revision}+hub@{copa.revision}"
    with pytest.raises(MissingData, match="HF_HUB_OFFLINE is set"):
        get("udpos").test.fingerprint("af")  # not pinned, and nobody to ask


def test_the_fingerprint_holds_the_version_and_the_text_of_a_reader_of_ones_own(demo):
    def read(rows, language):
        return rows

    source = replace(demo.test, read=read, version=2)
    assert source.fingerprint("de").startswith(f"{demo.test.fingerprint('de')}/2/")
    other = replace(source, read=lambda rows, language: rows.select([0]))
    assert other.fingerprint("de") != source.fingerprint("de")


def test_the_hub_cache_is_used_in_the_right_version_only(demo, put, mirror, monkeypatch):
    put(CARD, "demo/pairs/README.md")
    loaded = datasets.load_dataset(str(mirror / "demo" / "pairs"), "de", split="test")
    monkeypatch.delenv("XLTKIT_HUB")
    commit = "a" * 40
    cached = Path(datasets.config.HF_DATASETS_CACHE, "demo___pairs", "de", "0.0.0", commit)
    shutil.copytree(Path(loaded.cache_files[0]["filename"]).parent, cached)
    assert len(replace(demo.test, revision=commit).rows("de")) == 3
    with pytest.raises(MissingData, match=f"the cache holds version {commit} only"):
        replace(demo.test, revision="b" * 40).rows("de")


def test_microworld_goes_through_the_same_door():
    task = get("pos")
    assert load(task, "validation", "en").column_names == list(TYPES["tagging"].columns)
    assert task.validation.fingerprint("en").startswith("microworld")
    with pytest.warns(UserWarning, match=r"pos \(test\) is missing in zz"):
        assert available(task, "test", ["en", "zz"]) == (["en"], ["zz"])
    with pytest.raises(ValueError, match=r"no split 'dev'\. Allowed: train, validation, test"):
        load(task, "dev", "en")


def test_languages():
    swahili = languages.language("sw")
    assert (swahili.name, swahili.family, swahili.resource) == ("Swahili", "Niger-Congo", "low")
    with pytest.raises(ValueError, match=r"no language 'swahili'. Did you mean 'sw'"):
        languages.language("swahili")
    table = languages.columns(["ur", "eu"])
    assert list(table.index) == ["ur", "eu"] and list(table.columns) == languages.COLUMNS
    assert (table.loc["ur", "branch"], table.loc["ur", "pretraining_gib"]) == ("Indo-Aryan", 5.7)
    assert table.loc["ur", "rtl"] and not table.loc["eu", "rtl"]
    languages.register([swahili])  # the same once more is no conflict
    with pytest.raises(ValueError, match="'sw' is taken"):
        languages.register([replace(swahili, family="Bantu")])
