"""Where a source keeps the rows of a language, and what to say if they are not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the table imports the readers, and the readers import this module
    from xltkit.data.source import Source

# The branch on which the Hub keeps a script-only repository as parquet, one folder a config.
CONVERTED = "refs/convert/parquet"
# Configs off the Hub that are files; of several, with all that fit.
FILES = (".json", ".jsonl", ".conll", ".*")


class MissingData(LookupError):
    """Rows that are neither in the mirror nor to be had from the Hub.

    Attributes:
        reason: why, without what was looked for and the remedy.
    """

    reason = ""


class Place(NamedTuple):
    """Where a source keeps the rows of a language."""

    hub: str
    config: str
    split: str
    revision: str
    mirror: str
    url: str = ""
    origin: str = ""

    @property
    def on_hub(self) -> bool:
        """Whether the Hub has it; some folders of a mirror it has not."""
        return not self.hub.startswith(("local/", "raw/"))

    @property
    def is_file(self) -> bool:
        """Whether it is a file as upstream publishes it, and not a data set of the Hub's form."""
        return not self.on_hub and self.config.endswith(FILES)

    @property
    def files(self) -> list[Path]:
        """The files in the mirror, none unless every split of ``a+b`` is there.

        A clone of a Hub repository numbers its parquet files.
        """
        if not self.mirror:
            return []
        folder = Path(self.mirror, self.hub, self.config)
        if self.is_file:
            return sorted(folder.parent.glob(folder.name))
        found = [
            sorted([*folder.glob(f"{part}.parquet"), *folder.glob(f"{part}-*.parquet")])
            for part in self.split.split("+")
        ]
        return [file for files in found for file in files] if all(found) else []

    def missing(self, reason: str) -> MissingData:
        """The error that says what was looked for and how to get it."""
        root = Path(self.mirror or "$XLTKIT_HUB", self.hub)
        file = root / (self.config if self.is_file else f"{self.config}/{self.split}.parquet")
        looked = f"no {file}" if self.mirror else "XLTKIT_HUB is not set"
        error = MissingData(
            f"Looked for {self.hub}, config {self.config}, split {self.split}: {looked}; "
            f"{reason}. {self._remedy(file)}"
        )
        error.reason = reason if self.on_hub else self.origin or f"fetch it from {self.url}"
        return error

    def _remedy(self, file: Path) -> str:
        if self.on_hub:
            at = "data_dir=" if self.revision == CONVERTED else ""
            pin = f", revision='{self.revision}'" if self.revision else ""
            return (
                'On a machine with a network this gets it: python -c "import datasets; '
                f"datasets.load_dataset('{self.hub}', {at}'{self.config}', split='{self.split}'"
                f'{pin})"'
            )
        if self.is_file and self.url:
            name = "" if self.mirror else "Set XLTKIT_HUB to a folder for data. "
            return (
                f"{name}On a machine with a network this gets it: curl --create-dirs -fL "
                f'-o "{file}" {self.url}/{self.config}'
            )
        where = f", as {file}" if self.is_file else ""
        note = f" {self.origin}" if self.origin else ""
        return f"It is not on the Hub: set XLTKIT_HUB to a folder that holds it{where}.{note}"


def place(source: Source, language: str) -> Place:
    """Where a source keeps the rows of a language. Raises MissingData if it has none in it."""
    if language not in source:
        raise MissingData(f"{source.hub} is read in {', '.join(source.languages)} only.")
    part = source.of(language)
    # Some data sets have one split per language: test_de is written test_{language} in the table.
    split = part.split.format(language=language)
    mirror = os.environ.get("XLTKIT_HUB", "")
    config = part.configs[language]
    return Place(part.hub, config, split, part.revision, mirror, part.url, part.unpinned)
