"""Readers of captioned pictures: from the columns of a Hub data set to those of the kit."""

from collections.abc import Iterable, Sequence

from datasets import Dataset, Features, Image, List, Value, concatenate_datasets

from xltkit.data.readers import distinct, lines


def captioned(rows: Dataset, ids: Iterable[object], texts: Iterable[Sequence]) -> Dataset:
    """Pictures with captions: ``id``, ``image``, ``texts``; those without captions are left out.

    Pictures are gigabytes: they stay encoded on the disk, and are decoded when their row is read.
    """
    kept = [lines(text for text in row if text and not text.isspace()) for row in texts]
    features = Features({"id": Value("string"), "texts": List(Value("string"))})
    captions = Dataset.from_dict({"id": distinct(ids), "texts": kept}, features=features)
    images = rows.select_columns("image").cast_column("image", Image())
    table = concatenate_datasets([captions, images], axis=1)
    table = table.select_columns(["id", "image", "texts"])
    # Selected last: adding columns to a selection would write its pictures to the disk again.
    present = [i for i, row in enumerate(kept) if row]
    return table if len(present) == len(table) else table.select(present)


def emoji(rows: Dataset, language: str) -> Dataset:
    """Emojis by code point, with their name only: the keywords after it repeat among emojis."""
    names = [(captions.get(language) or [])[:1] for captions in rows["captions"][:]]
    return captioned(rows, rows["codepoint"][:], names)


def flickr8k(rows: Dataset, language: str) -> Dataset:
    """Five captions in five columns; there is no key, so the row is the id."""
    columns = [rows[f"caption_{i}"][:] for i in range(5)]
    return captioned(rows, range(len(rows)), zip(*columns, strict=True))


def flickr30k(rows: Dataset, language: str) -> Dataset:
    """The captions as one list; the row is the id."""
    return captioned(rows, range(len(rows)), rows["caption"][:])


def multi30k(rows: Dataset, language: str) -> Dataset:
    """One caption in each language, in a column of its name; the row is the id in all of them."""
    return captioned(rows, range(len(rows)), ([text] for text in rows[language][:]))


def xm3600(rows: Dataset, language: str) -> Dataset:
    """The captions that were written in a language, not translated; the picture has a key."""
    return captioned(rows, rows["image_id"][:], rows["captions"][:])
