"""Pictures with captions: readers on rows with the Hub's own columns, and the table's rows."""

import io
import os
from types import SimpleNamespace

import datasets
import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import Dataset, Features, Image, List, Value

from xltkit.data import readers_captions as caption_readers
from xltkit.data.loading import MissingData
from xltkit.studies import stages
from xltkit.tasks import SUITES, TYPES, TrainingSet, get, load
from xltkit.training.phases import Evaluate

TEXT = Value("string")
BYTES = {"bytes": Value("binary"), "path": TEXT}
MIRROR = os.environ.get("XLTKIT_HUB", "")
EMOJI = get("emoji").test.languages
XM3600_NAMES = {"qu": "quz", "tl": "fil"}  # splits whose names are not our codes


@pytest.fixture
def blind(monkeypatch):
    """Decoding a picture is an error."""

    def refuse(*_, **__):
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(Image, "decode_example", refuse)


def jpeg(shade, size=(6, 4)):
    """A picture as the Hub stores it: encoding it once more would give other bytes."""
    file = io.BytesIO()
    PIL.Image.new("RGB", size, (shade, 0, 0)).save(file, "JPEG", quality=31)
    return {"bytes": file.getvalue(), "path": f"{shade}.jpg"}


def pictures(texts, kinds, image=None, n=3):
    """``n`` pictures beside columns of texts."""
    columns = {"image": [jpeg(40 * i) for i in range(n)]} | texts
    return Dataset.from_dict(columns, features=Features({"image": image or Image()} | kinds))


def encoded(rows):
    return rows.cast_column("image", Image(decode=False))["image"][:]


def flickr8k():
    texts = {f"caption_{i}": [f"A dog {i} .\r\n", f"A cat {i} .", " "] for i in range(5)}
    texts["caption_3"] = ["A dog 3 .", None, ""]
    return pictures(texts, dict.fromkeys(texts, TEXT))


def flickr30k():
    texts = {"caption": [["One.", "Two."], [], ["", "Six."]], "filename": ["1.jpg", "2.jpg", ""]}
    return pictures(texts, {"caption": List(TEXT), "filename": TEXT})


def multi30k():
    texts = {"en": ["A dog.", "A cat.", "A cow."], "de": ["Ein Hund.", "", "Eine Kuh.\n"]}
    texts |= {"fr": ["Un chien.", None, "Une vache."], "cs": ["Pes.", "Kočka.", " \n"]}
    return pictures(texts, dict.fromkeys(texts, TEXT))


def xm3600(captions=(("Ein Hund.", " "), (), ("Eine Kuh.", "Ein Rind."))):
    texts = {"image_id": ["a", "b", "c"], "image_locale": ["sw", "de", "de"]}
    texts["captions"] = list(map(list, captions))
    kinds = {"image_id": TEXT, "image_locale": TEXT, "captions": List(TEXT)}
    return pictures(texts, kinds, BYTES)


def emojis():
    names = [
        {"en": ["dog face", "dog"], "sw": ["uso wa mbwa"]},
        {"en": ["cat face", "cat"], "sw": []},
        {"en": ["", "cow"], "sw": ["uso wa ng'ombe", "ng'ombe"]},
    ]
    kinds = {"codepoint": TEXT, "captions": {"en": List(TEXT), "sw": List(TEXT)}}
    return pictures({"codepoint": ["1f436", "1f431", "1f42e"], "captions": names}, kinds)


READ = {
    "flickr8k": (flickr8k, "en", {
        "0": [f"A dog {i} ." for i in range(5)], "1": [f"A cat {i} ." for i in (0, 1, 2, 4)],
    }),
    "flickr30k": (flickr30k, "en", {"0": ["One.", "Two."], "2": ["Six."]}),
    "multi30k": (multi30k, "de", {"0": ["Ein Hund."], "2": ["Eine Kuh."]}),
    "xm3600": (xm3600, "de", {"a": ["Ein Hund."], "c": ["Eine Kuh.", "Ein Rind."]}),
    "emoji": (emojis, "sw", {"1f436": ["uso wa mbwa"], "1f42e": ["uso wa ng'ombe"]}),
}  # fmt: skip


def read_rows(name):
    make, language, expected = READ[name]
    given = make()
    source = get(name).test or get(name).train
    assert set(source.columns) - set(given.column_names) <= {"fr", "cs"}
    return given, source.read(given, language), expected


@pytest.mark.parametrize("name", READ)
def test_a_picture_comes_with_its_captions_or_not_at_all(name):
    _, rows, expected = read_rows(name)
    assert rows.column_names == list(TYPES["captions"].columns)
    assert dict(zip(rows["id"][:], rows["texts"][:], strict=True)) == expected
    assert isinstance(rows[0]["image"], PIL.Image.Image)
    assert rows[-1]["image"].size == (6, 4)


@pytest.mark.parametrize("name", READ)
def test_no_picture_is_decoded_or_encoded_again(name, blind):
    given, rows, expected = read_rows(name)
    ids = {"xm3600": "image_id", "emoji": "codepoint"}.get(name)
    before = given[ids][:] if ids else list(map(str, range(len(given))))
    kept = [before.index(key) for key in expected]
    assert encoded(rows) == [jpeg(40 * i) for i in kept]


@pytest.mark.parametrize("image", [Image(), BYTES], ids=["pictures", "bytes"])
@pytest.mark.parametrize("absent", [0, 5])
def test_pictures_stay_where_they_lie(image, absent):
    noise = np.random.default_rng(0).bytes(200_000)
    table = {"image": [{"bytes": noise, "path": None}] * 50, "en": [""] * absent + ["x"] * 45}
    table["en"] += ["x"] * (5 - absent)
    given = Dataset.from_dict(table, features=Features({"image": image, "en": TEXT}))
    before = pa.total_allocated_bytes()
    rows = caption_readers.multi30k(given, "en")
    assert len(rows) == 50 - absent
    assert pa.total_allocated_bytes() - before < 1_000_000  # of ten million


def test_ids_are_those_of_the_picture_in_every_language():
    by_language = {code: caption_readers.multi30k(multi30k(), code) for code in ("en", "fr", "cs")}
    assert {code: rows["id"][:] for code, rows in by_language.items()} == {
        "en": ["0", "1", "2"], "fr": ["0", "2"], "cs": ["0", "1"],
    }  # fmt: skip
    images = {tuple(encoded(rows)[0].items()) for rows in by_language.values()}
    assert len(images) == 1


def test_repeated_ids_are_made_distinct_before_pictures_are_left_out():
    rows = xm3600([["x"], [], ["z"]]).remove_columns("image_id")
    rows = rows.add_column("image_id", ["a", "a", "a"])
    assert caption_readers.xm3600(rows, "de")["id"][:] == ["a", "a#3"]


def test_rows_have_the_kind_and_the_metric_of_captions():
    tasks = [get(name) for name in (*READ, "xm3600")]
    assert {(task.kind, task.metric) for task in tasks} == {("captions", "r@1")}
    assert get("flickr30k").test is None and get("flickr30k").validation is None
    assert len(EMOJI) == 20 and len(get("xm3600").test.languages) == 36


@pytest.mark.parametrize("name", [name for name, made in SUITES.items() if made.images])
def test_a_suite_trains_on_pictures_and_is_tested_in_many_languages(name):
    images = SUITES[name].images
    trained, tested = get(images.captions), get(images.test_captions)
    assert trained.kind == tested.kind == "captions"
    assert trained.train is not None and "en" in trained.train
    assert tested.test is not None and len(tested.test.languages) > 10


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        ("flickr30k", "multi30k"), ("flickr30k", "flickr8k"), ("flickr8k", "multi30k"),
        ("multi30k", "flickr8k"),
    ],
)  # fmt: skip
def test_pictures_that_were_trained_on_are_not_scored(trained, tested):
    recipe = SimpleNamespace(phases=[SimpleNamespace(training_sets=[TrainingSet(trained)])])
    with pytest.raises(ValueError, match=f"{tested} is tested on rows that {trained} trains on"):
        stages._check_unseen(Evaluate(tested, ("en",)), get(tested).test, recipe)
    for allowed in ("xm3600", "emoji"):
        stages._check_unseen(Evaluate(allowed, ("en",)), get(allowed).test, recipe)


def test_tasks_may_be_trained_on_their_own_split():
    for name in ("emoji", "flickr8k", "multi30k"):
        recipe = SimpleNamespace(phases=[SimpleNamespace(training_sets=[TrainingSet(name)])])
        stages._check_unseen(Evaluate(name, ("en",)), get(name).test, recipe)


@pytest.fixture
def crossmodal(tmp_path, monkeypatch):
    """XM3600 in three of its splits, two under names that are not our codes."""
    folder = tmp_path / "hub/floschne/xm3600/default"
    folder.mkdir(parents=True)
    for split in ("de", *XM3600_NAMES.values()):
        xm3600().to_parquet(folder / f"{split}-00000-of-00001.parquet")
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_every_language_of_xm3600_has_a_split(crossmodal):
    task = get("xm3600")
    for code in ("de", *XM3600_NAMES):
        rows = load(task, "test", code)
        assert rows["id"][:] == ["a", "c"]
        assert isinstance(rows[1]["image"], PIL.Image.Image)
    assert task.test.location("tl").split == "fil" and task.test.location("zh").split == "zh"
    with pytest.raises(MissingData, match=r"split='uk', revision='8d3e5665"):
        load(task, "test", "uk")


@pytest.mark.real
@pytest.mark.skipif(not MIRROR, reason="XLTKIT_HUB is not set: no mirror of the Hub to read")
@pytest.mark.parametrize(("split", "n"), [("train", 1262), ("validation", 153), ("test", 161)])
def test_every_emoji_has_one_name_in_each_of_twenty_languages(split, n, blind):
    rows = {code: load(get("emoji"), split, code) for code in EMOJI}
    ids = rows["en"]["id"][:]
    assert len(set(ids)) == n
    for code, some in rows.items():
        assert some["id"][:] == ids
        names = some["texts"][:]
        assert {len(texts) for texts in names} == {1}
        # R@1 has one right answer only if no two pictures share a name.
        assert len({text for texts in names for text in texts}) == n, code
