"""Data sources and their rows, from a local mirror of the Hub or the Hub itself.

The mirror is the folder named by ``XLTKIT_HUB`` and keeps ``<org>/<name>/<config>/<split>.parquet``
under the Hub's own names. Nothing here runs code that comes with a data set.
"""

from __future__ import annotations

import glob
import inspect
import os
import shlex
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import datasets
import huggingface_hub
from datasets import Dataset
from datasets.table import InMemoryTable
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from pyarrow import parquet

from xltkit.keys import digest, known_digest

# The branch on which the Hub keeps a script-only repository as parquet, one folder per config.
CONVERTED = "refs/convert/parquet"
FILES = (".json", ".jsonl", ".conll", ".*")  # configs off the Hub that are files
REFUSALS = (ValueError, FileNotFoundError, RepositoryNotFoundError, RevisionNotFoundError)

# (data set as loaded, or the path of a file, language) -> canonical columns of a task type.
Reader = Callable[..., Dataset]

datasets.disable_progress_bars()  # reading local files is quick; downloads have bars of their own


class MissingData(LookupError):
    """Rows that are neither in the mirror nor on the Hub; ``reason`` briefly says why."""

    reason = ""


class Location(NamedTuple):
    """Where the rows of one source in one language are: on the Hub, and in a mirror of it."""

    source: Source
    config: str
    split: str
    mirror: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file as published upstream, and not a data set in the Hub's format."""
        return not self.source.on_hub and self.config.endswith(FILES)

    @property
    def files(self) -> list[Path]:
        """The files in the mirror; none unless every split of ``a+b`` has its files."""
        if not self.mirror:
            return []
        folder = Path(self.mirror, self.source.hub, self.config)
        if self.is_file:
            return sorted(folder.parent.glob(glob.escape(folder.name).replace("[*]", "*")))
        # A clone of a Hub repository numbers its files: test-00000-of-00002.parquet.
        names = [(f"{split}.parquet", f"{split}-*.parquet") for split in self.split.split("+")]
        files = [sorted(chain(*map(folder.glob, pair))) for pair in names]
        return list(chain(*files)) if all(files) else []

    def commit(self) -> str:
        """The commit of the Hub to load: pinned, or else the newest. Raises MissingData."""
        if not self.source.on_hub:
            raise self.missing("nowhere else to look")
        if self.source.revision not in ("", CONVERTED):
            return self.source.revision
        commit, reason = _ask_hub(self.source.hub, self.source.revision)
        if not commit:
            raise self.missing(reason)
        return commit

    def fingerprint(self) -> str:
        """The commit of the Hub, or a hash of the files. Raises MissingData without either."""
        if not self.files:
            return f"hub@{self.commit()}"
        digests = [known_digest(file) for file in self.files]
        return f"sha256:{digests[0][:16] if len(digests) == 1 else digest(digests)}"

    def missing(self, reason: str) -> MissingData:
        """The error that says what was looked for, why it is missing and how to get it."""
        source, config, split, mirror = self
        hub, origin = source.hub, source.unpinned
        root = Path(mirror or "$XLTKIT_HUB", hub)
        file = root / (config if self.is_file else f"{config}/{split}.parquet")
        searched = f"no {file}" if mirror else "XLTKIT_HUB is not set"
        if self.files:
            searched = f"found {self.files[0]}"
        remedy = "On a machine with a network this gets it: "
        if source.on_hub:
            folder = "data_dir=" if source.revision == CONVERTED else ""
            revision = f', revision="{source.revision}"' if source.revision else ""
            names = f'"{hub}", {folder}"{config}", split="{split}"{revision}'
            code = shlex.quote(f"import datasets; datasets.load_dataset({names})")
            remedy += f"python -c {code}"
        elif source.url:
            setting = "" if mirror else "Set XLTKIT_HUB to a folder for data. "
            place = shlex.quote(str(file)) if mirror else f'"{file}"'  # "$XLTKIT_HUB" is expanded
            url = shlex.quote(f"{source.url}/{quote(config)}")
            remedy = f"{setting}{remedy}curl --create-dirs -fL -o {place} {url}"
        else:
            remedy = f"Not on the Hub: set XLTKIT_HUB to a folder that holds {file}. {origin}"
        looked = f"Looked for {hub}, config {config}, split {split}: {searched}; {reason}."
        error = MissingData(f"{looked} {remedy.strip()}")
        error.reason = reason if source.on_hub else origin or f"fetch it from {source.url}"
        return error


@dataclass(frozen=True, eq=False)  # compared by identity, so that a source can key a cache
class Source:
    """One split of a data set: where it is and how its rows are read.

    Attributes:
        hub: a Hub id, or a folder of the mirror that is not on the Hub (``local/``, ``raw/``).
        split: the Hub's name, or several joined by ``+``; ``{language}`` stands for the code.
        configs: by language; off the Hub, a config may be a file, whose path the reader is given.
        read: the reader.
        revision: a commit of the Hub repository, or ``refs/convert/parquet``, whose configs are
            folders. Without a commit, the one found at load time becomes part of every key.
        columns: the Hub's columns that ``read`` uses.
        unpinned: why there is no revision; off the Hub, where the rows come from.
        url: off the Hub, the upstream folder from which the files of ``configs`` are fetched.
        others: the same split in more languages, under other Hub ids.
        holds: splits whose items this one contains; a model trained on it is not tested on them.
        appended: English sources of the same task type whose rows follow these (ANLI+).
        repaired_by: an English source whose raw rows (None if they are missing) are the third
            argument of ``read``, which repairs its own with them (XCOPA).
        labels: reads the label names from the file, if only the user's own file has them.
        version: incremented when ``read`` returns other rows, so that old models are not reused.
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
    appended: tuple[Source, ...] = ()
    repaired_by: Source | None = None
    labels: Callable[[Path], tuple[str, ...]] | None = None
    version: int = 1

    is_generated = False

    @property
    def on_hub(self) -> bool:
        """Whether it is on the Hub, which has no folders ``local/`` and ``raw/``."""
        return not self.hub.startswith(("local/", "raw/"))

    @property
    def parts(self) -> tuple[Source, ...]:
        """This source and the others."""
        return (self, *self.others)

    @property
    def joined(self) -> tuple[Source, ...]:
        """The sources that are read in addition to this one: more rows, or repairs."""
        return self.appended + ((self.repaired_by,) if self.repaired_by else ())

    @property
    def languages(self) -> list[str]:
        """The codes of the languages of all parts."""
        return [code for part in self.parts for code in part.configs]

    def __contains__(self, language: str) -> bool:
        return any(language in part.configs for part in self.parts)

    def of(self, language: str) -> Source:
        """The part that holds a language. Raises MissingData if none does."""
        for part in self.parts:
            if language in part.configs:
                return part
        raise MissingData(f"{self.hub} is read in {', '.join(self.languages)} only.")

    def location(self, language: str) -> Location:
        """Where the rows of a language are. Raises MissingData if the source has none in it."""
        part = self.of(language)
        split = part.split.format(language=language)
        return Location(part, part.configs[language], split, os.environ.get("XLTKIT_HUB", ""))

    def is_shared(self, language: str) -> bool:
        """Whether other languages are in the same file: it must be read to know which it holds."""
        locations = [self.location(code) for code in self.of(language).configs]
        return locations.count(self.location(language)) > 1

    def must_be_read(self, language: str) -> bool:
        """Whether only reading rows, not finding a file, tells if a language is available."""
        return self.is_shared(language) or not self.location(language).files

    def rows(self, language: str, count: int = 0) -> Dataset:
        """The rows of a language, as read; generators make ``count`` rows. Raises MissingData."""
        part = self.of(language)
        return _rows(part, language, part.fingerprint(language))

    def raw(self, language: str, first: int = 0) -> Dataset | Path | list[Path]:
        """What the reader is given: rows in the Hub's own columns, or the path of a file.

        From the Hub, only the ``first`` rows are needed; 0 means all. Raises MissingData.
        """
        location = self.location(language)
        if not location.files:
            return _from_hub(location, first)
        if location.is_file:
            return location.files if "*" in location.config else location.files[0]
        return datasets.concatenate_datasets([_from_parquet(file) for file in location.files])

    def converted(self, given: Any, language: str) -> Dataset:
        """What ``raw`` gave, converted by the reader. Raises ValueError if a column is absent."""
        names = getattr(given, "column_names", self.columns)  # files have none
        if absent := [column for column in self.columns if column not in names]:
            raise ValueError(f"There is no column {', '.join(absent)}; it has {', '.join(names)}.")
        repairs: list[Any] = []
        if self.repaired_by:
            try:
                repairs = [self.repaired_by.raw("en")]
            except MissingData:
                repairs = [None]
        return self.read(given, language, *repairs)

    def fingerprint(self, language: str) -> str:
        """What identifies the rows of a language in the key of a stage. Raises MissingData.

        ``hub@<commit>`` or ``sha256:<digest>`` of a file of the mirror, then those of joined
        sources, the reader's version and, if it is not the kit's, the reader itself.
        """
        part = self.of(language)
        identities = [part.location(language).fingerprint()]
        identities += [other.fingerprint("en") for other in part.appended]
        if part.repaired_by:
            try:
                identities.append(part.repaired_by.fingerprint("en"))
            except MissingData:
                identities.append("absent")
        version = f"/{part.version}" if part.version > 1 else ""
        return "+".join(identities) + version + _own_reader(part.read)


@lru_cache(maxsize=128)
def _rows(source: Source, language: str, fingerprint: str) -> Dataset:
    """The rows of a language, cached; a file that is edited in a session is read again."""
    rows = source.converted(source.raw(language), language)
    if not len(rows):
        raise source.location(language).missing(f"it holds no rows in {language!r}")
    if not source.appended:
        return rows
    tables = [rows, *(other.rows("en") for other in source.appended)]
    ids = [f"{number}-{key}" for number, table in enumerate(tables) for key in table["id"][:]]
    whole = datasets.concatenate_datasets([table.remove_columns("id") for table in tables])
    return whole.add_column("id", ids).select_columns(rows.column_names)


def _own_reader(read: Reader) -> str:
    """An identifier of a reader that is not the kit's: editing it changes its rows."""
    function = read.func if isinstance(read, partial) else read
    if function.__module__.startswith("xltkit."):
        return ""
    try:
        text = inspect.getsource(function)
    except OSError:  # typed into a plain interpreter
        text = function.__code__.co_code.hex()
    return f"/{digest(text, 8)}"


def _from_parquet(file: Path) -> Dataset:
    """The rows of a file in memory; pictures, which are gigabytes, through a cache on the disk."""
    if "image" not in parquet.read_schema(file).names:
        return Dataset(InMemoryTable(parquet.read_table(file, partitioning=None)))
    try:
        return Dataset.from_parquet(glob.escape(str(file)))
    except OSError as error:
        remedy = "Pictures are read through a cache: set HF_HOME to a folder that can be written."
        raise OSError(f"{file} could not be read ({error}). {remedy}") from error


def _from_hub(location: Location, first: int) -> Dataset:
    """Rows from the Hub or its cache: all, or the first ones of a stream."""
    hub, revision = location.source.hub, location.source.revision
    commit = location.commit()
    newest, reason = _ask_hub(hub, revision)
    # Without an answer only the cache is left, and only offline mode reads it at once: both
    # libraries would retry for half a minute per file.
    if not newest and not huggingface_hub.is_offline_mode():
        raise location.missing(reason)
    name = "data_dir" if revision == CONVERTED else "name"
    options = {name: location.config, "split": location.split, "revision": commit}
    try:
        rows = datasets.load_dataset(hub, streaming=bool(first), **options)
        if first:
            return Dataset.from_list(list(rows.take(first)), features=rows.features)
    except Exception as error:  # datasets raises half a dozen types for "it is not there"
        raise location.missing(reason or _hub_reason(error)) from error
    # Offline, datasets takes the newest version in its cache, whatever was asked for.
    version = Path(rows.cache_files[0]["filename"]).parent.name if rows.cache_files else commit
    if version != commit:
        raise location.missing(f"the cache holds version {version} only; {reason}")
    return rows


@lru_cache(maxsize=256)  # a process sees one commit, even if a new one appears
def _ask_hub(hub: str, revision: str) -> tuple[str, str]:
    """The commit of a revision (offline, the one in the cache), and the reason if it is unknown."""
    revision = revision or None
    if huggingface_hub.is_offline_mode():
        card = huggingface_hub.try_to_load_from_cache(
            hub, "README.md", repo_type="dataset", revision=revision
        )
        return Path(card).parent.name if isinstance(card, str) else "", "HF_HUB_OFFLINE is set"
    try:
        return huggingface_hub.HfApi().dataset_info(hub, revision=revision).sha, ""
    except Exception as error:  # a refusal of the Hub, or whatever the transport raises
        return "", _hub_reason(error)


def _hub_reason(error: Exception) -> str:
    """Why rows could not be loaded: the Hub refused, or was not reached."""
    if isinstance(error, REFUSALS):
        return f"the Hub says: {error}".rstrip(".")
    answer = f"the Hub did not answer ({type(error).__name__}: {error})"
    return f"{answer}; HF_HUB_OFFLINE=1 uses what was downloaded before"


@cache
def warn_once(message: str) -> None:
    """Warn, unless this process has already given the same warning."""
    warnings.warn(message, stacklevel=3)
