"""Pictures with captions: readers on rows with the Hub's own columns, and the table's rows."""

import io
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import Dataset, Features, Image, Value
from tables import table

from xltkit.data import readers
from xltkit.data.loading import MissingData
from xltkit.studies import stages
from xltkit.tasks import SUITES, TYPES, TrainingSet, get, load
from xltkit.training.phases import Evaluate

BYTES = {"bytes": Value("binary"), "path": Value("string")}


def jpeg(shade):
    """A picture as the Hub stores it: encoding it once more would give other bytes."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 4), (shade, 0, 0)).save(file, "JPEG", quality=31)
    return {"bytes": file.getvalue(), "path": f"{shade}.jpg"}


def pictures(image=None, **texts):
    """Three pictures beside columns of texts."""
    images = {"image": [jpeg(40 * i) for i in range(3)]}
    return table(images | texts, image=image or Image())


def xm3600(ids=("a", "b", "c")):
    captions = [["Ein Hund.", " "], [], ["Eine Kuh.", "Ein Rind."]]
    return pictures(BYTES, image_id=list(ids), captions=captions)


FLICKR8K = {f"caption_{i}": [f"A dog {i} .\r\n", f"A cat {i} .", " "] for i in range(5)}
FLICKR8K["caption_3"] = ["A dog 3 .", None, ""]
MULTI30K = {
    "en": ["A dog.", "A cat.", "A cow."],
    "de": ["Ein Hund.", "", "Eine Kuh.\n"],
    "fr": ["Un chien.", None, "Une vache."],
    "cs": ["Pes.", "Kočka.", " \n"],
}
EMOJI = {
    "codepoint": ["1f436", "1f431", "1f42e"],
    "captions": [
        {"en": ["dog face", "dog"], "sw": ["uso wa mbwa"]},
        {"en": ["cat face", "cat"], "sw": []},
        {"en": ["", "cow"], "sw": ["uso wa ng'ombe", "ng'ombe"]},
    ],
}
# Task, language, rows of the Hub, and the captions by id. The id of the Hub is that of the picture.
READ = [
    (
        "flickr8k", "en", pictures(**FLICKR8K),
        {"0": [f"A dog {i} ." for i in range(5)], "1": [f"A cat {i} ." for i in (0, 1, 2, 4)]},
    ),
    (
        "flickr30k", "en", pictures(caption=[["One.", "Two."], [], ["", "Six."]]),
        {"0": ["One.", "Two."], "2": ["Six."]},
    ),
    ("multi30k", "de", pictures(**MULTI30K), {"0": ["Ein Hund."], "2": ["Eine Kuh."]}),
    ("multi30k", "fr", pictures(**MULTI30K), {"0": ["Un chien."], "2": ["Une vache."]}),
    ("multi30k", "cs", pictures(**MULTI30K), {"0": ["Pes."], "1": ["Kočka."]}),
    ("xm3600", "de", xm3600(), {"a": ["Ein Hund."], "c": ["Eine Kuh.", "Ein Rind."]}),
    ("xm3600", "de", xm3600("aaa"), {"a": ["Ein Hund."], "a#3": ["Eine Kuh.", "Ein Rind."]}),
    ("emoji", "sw", pictures(**EMOJI), {"1f436": ["uso wa mbwa"], "1f42e": ["uso wa ng'ombe"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "language", "given", "expected"), READ)
def test_a_picture_comes_with_its_captions_or_not_at_all(
    monkeypatch, name, language, given, expected
):
    source = get(name).test or get(name).train
    assert set(source.columns) <= set(given.column_names)
    with monkeypatch.context() as patched:  # no picture is decoded
        patched.setattr(Image, "decode_example", None)
        rows = source.read(given, language)
        stored = rows.cast_column("image", Image(decode=False))["image"][:]
    assert rows.column_names == list(TYPES["captions"].columns)
    assert dict(zip(rows["id"][:], rows["texts"][:], strict=True)) == expected
    second = 1 if name == "flickr8k" or language == "cs" else 2
    assert stored == [jpeg(0), jpeg(40 * second)]  # nor encoded again
    assert rows[-1]["image"].size == (6, 4)


@pytest.mark.parametrize("image", [Image(), BYTES], ids=["pictures", "bytes"])
@pytest.mark.parametrize("absent", [0, 5])
def test_pictures_stay_where_they_lie(image, absent):
    noise = np.random.default_rng(0).bytes(200_000)
    captions = [""] * absent + ["x"] * (50 - absent)
    columns = {"image": [{"bytes": noise, "path": None}] * 50, "en": captions}
    given = Dataset.from_dict(columns, features=Features({"image": image, "en": Value("string")}))
    before = pa.total_allocated_bytes()
    rows = readers.multi30k(given, "en")
    assert len(rows) == 50 - absent
    assert pa.total_allocated_bytes() - before < 1_000_000  # of ten million


@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.images])
def test_a_suite_trains_on_pictures_and_is_tested_in_many_languages(name):
    images = SUITES[name].images
    trained, tested = get(images.captions), get(images.test_captions)
    assert trained.kind == tested.kind == "captions"
    assert trained.train is not None and "en" in trained.train
    assert tested.test is not None and len(tested.test.languages) > 10


PICTURES_SHARED = {
    ("flickr30k", "multi30k"), ("flickr30k", "flickr8k"), ("flickr8k", "multi30k"),
    ("multi30k", "flickr8k"),
}  # fmt: skip


@pytest.mark.parametrize("trained", ["emoji", "flickr8k", "flickr30k", "multi30k"])
@pytest.mark.parametrize("tested", ["emoji", "flickr8k", "multi30k", "xm3600"])
def test_pictures_that_were_trained_on_are_not_scored(trained, tested):
    recipe = SimpleNamespace(phases=[SimpleNamespace(training_sets=[TrainingSet(trained)])])
    arguments = Evaluate(tested, ("en",)), get(tested).test, recipe
    if (trained, tested) in PICTURES_SHARED:
        with pytest.raises(ValueError, match=f"{tested} is tested on rows that {trained} trains"):
            stages._check_unseen(*arguments)
    else:
        stages._check_unseen(*arguments)


def test_every_language_of_xm3600_has_a_split(put):
    names = {"de": "de", "qu": "quz", "tl": "fil"}  # two are not our codes
    for split in names.values():
        put(xm3600(), f"floschne/xm3600/default/{split}-00000-of-00001.parquet")
    task = get("xm3600")
    for code in names:
        rows = load(task, "test", code)
        assert rows["id"][:] == ["a", "c"]
        assert isinstance(rows[1]["image"], PIL.Image.Image)
    assert task.test.location("tl").split == "fil" and task.test.location("zh").split == "zh"
    assert len(task.test.languages) == 36
    with pytest.raises(MissingData, match=r"split='uk', revision='8d3e5665"):
        load(task, "test", "uk")
