"""What rows of the microworld need beside ``microworld.toml``: any language, and two readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datasets import Dataset

from xltkit.data.microworld.languages import LANGUAGES, language


class EveryLanguage(Mapping):
    """The same config in every language, those with knobs turned (``qbe-x-sov``) among them."""

    def __init__(self, config: str):
        self.config = config

    def __getitem__(self, code: str) -> str:
        try:
            language(code)
        except ValueError as error:
            raise KeyError(code) from error
        return self.config

    def __iter__(self) -> Iterator[str]:
        return iter(LANGUAGES)

    def __len__(self) -> int:
        return len(LANGUAGES)


def unchanged(rows: Dataset, code: str) -> Dataset:
    """The rows as they are, in canonical columns."""
    return rows


def descriptions(rows: Dataset, code: str) -> Dataset:
    """The candidates of ``linking``: right and wrong descriptions of its test rows, each once."""
    texts = list(dict.fromkeys([*rows["text"][:], *rows["negative"][:]]))
    ids = [f"description-{i}" for i in range(len(texts))]
    contexts = [""] * len(texts)
    keys = [[text] for text in texts]
    return Dataset.from_dict({"id": ids, "text": texts, "context": contexts, "keys": keys})
