"""Sources: where a split of a data set lies, and how its rows are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# A reader turns the rows of one Hub config into the canonical columns of the task's kind:
# (data set as loaded, language) -> data set with the canonical columns.
Reader = Callable[[Any, str], Any]


@dataclass(frozen=True)
class Source:
    """One split of a data set: where it lies and how its rows are read.

    ``hub`` is a namespaced Hub id, looked for in the folder named by ``XLTKIT_HUB`` first;
    ``microworld``; or a folder of that mirror that is not on the Hub (``local/``, ``raw/``).
    ``split`` may hold ``{language}``, for data sets with one split per language, or several splits
    joined by ``+``. ``configs`` maps a language to the config that holds it; a config off the Hub
    that ends in ``.json``, ``.jsonl`` or ``.conll`` is a file, and its reader is given the path.
    ``columns`` are the Hub's columns that ``read`` uses.

    ``revision`` is a commit of the Hub repository or, where the main branch holds only a script,
    ``refs/convert/parquet``, whose configs are folders. Where it is empty, ``unpinned`` says why,
    and the commit found at load time becomes part of every key (as it does for that branch). Off
    the Hub, ``unpinned`` says where the rows come from, and ``url`` is the folder upstream that
    the files of ``configs`` are fetched from.

    ``others`` hold the same split in more languages, under other Hub ids. ``holds`` names splits
    whose items this one contains: a model trained on it is not tested on them.
    """

    hub: str
    split: str
    configs: Mapping[str, str]
    read: Reader
    revision: str = ""
    columns: tuple[str, ...] = ()
    unpinned: str = ""
    url: str = ""
    others: tuple[Source, ...] = ()
    holds: tuple[Source, ...] = ()

    @property
    def parts(self) -> tuple[Source, ...]:
        """This source and the others."""
        return (self, *self.others)

    @property
    def languages(self) -> list[str]:
        """The languages of all parts."""
        return [code for part in self.parts for code in part.configs]

    def __contains__(self, language: str) -> bool:
        """Whether some part holds a language; the microworld has more than it lists."""
        return any(language in part.configs for part in self.parts)

    def of(self, language: str) -> Source:
        """The part that holds a language. Raises KeyError if none does."""
        for part in self.parts:
            if language in part.configs:
                return part
        raise KeyError(language)
