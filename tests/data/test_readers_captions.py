"""Pictures with captions: readers on rows with the Hub's own columns, and the table's rows."""

import io

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import Dataset, Features, Image, Value
from tables import cases

from xltkit.data import readers
from xltkit.data.loading import MissingData
from xltkit.studies import stages
from xltkit.tasks import SUITES, TYPES, TrainingSet, get, load
from xltkit.training.phases import Evaluate

BYTES = {"bytes": Value("binary"), "path": Value("string")}
CASES = cases("captions")
SHARED = {  # training set and test set that have pictures in common
    ("flickr30k", "multi30k"),
    ("flickr30k", "flickr8k"),
    ("flickr8k", "multi30k"),
    ("multi30k", "flickr8k"),
}


def jpeg(shade):
    """A picture as the Hub stores it: encoding it once more would give other bytes."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 4), (shade, 0, 0)).save(file, "JPEG", quality=31)
    return {"bytes": file.getvalue(), "path": f"{shade}.jpg"}


def pictures(name, image):
    """Three pictures beside the columns of a case."""
    images = {"image": [jpeg(40 * i) for i in range(3)]}
    return Dataset.from_dict(images | CASES[name]["rows"]).cast_column("image", image)


@pytest.mark.parametrize("image", [Image(), BYTES], ids=["pictures", "bytes"])
@pytest.mark.parametrize(
    ("name", "language"), [(name, code) for name in CASES for code in CASES[name]["expected"]]
)
def test_a_picture_comes_with_its_captions_or_not_at_all(monkeypatch, name, language, image):
    source = get(name).test or get(name).train
    given = pictures(name, image)
    assert set(source.columns) <= set(given.column_names)
    with monkeypatch.context() as patched:  # no picture is decoded
        patched.setattr(Image, "decode_example", None)
        rows = source.read(given, language)
        stored = rows.cast_column("image", Image(decode=False))["image"][:]
    assert rows.column_names == list(TYPES["captions"].columns)
    captions = dict(zip(rows["id"][:], rows["texts"][:], strict=True))
    assert captions == CASES[name]["expected"][language]
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
    assert "en" in trained.train and len(tested.test.languages) > 10


@pytest.mark.parametrize("trained", ["emoji", "flickr8k", "flickr30k", "multi30k"])
@pytest.mark.parametrize("tested", ["emoji", "flickr8k", "multi30k", "xm3600"])
def test_pictures_that_were_trained_on_are_not_scored(trained, tested):
    arguments = Evaluate(tested, ("en",)), get(tested).test, [TrainingSet(trained)]
    if (trained, tested) in SHARED:
        with pytest.raises(ValueError, match=f"{tested} is tested on rows that {trained} trains"):
            stages._check_unseen(*arguments)
    else:
        stages._check_unseen(*arguments)


def test_every_language_of_xm3600_has_a_split(put):
    names = {"de": "de", "qu": "quz", "tl": "fil"}  # two are not our codes
    for split in names.values():
        rows = pictures("xm3600", Image())
        put(rows, f"floschne/xm3600/default/{split}-00000-of-00001.parquet")
    task = get("xm3600")
    for code in names:
        rows = load(task, "test", code)
        assert rows["id"][:] == ["a", "a#2"]
        assert isinstance(rows[1]["image"], PIL.Image.Image)
    assert task.test.location("tl").split == "fil" and task.test.location("zh").split == "zh"
    assert len(task.test.languages) == 36
    with pytest.raises(MissingData, match=r"split='uk', revision='8d3e5665"):
        load(task, "test", "uk")
