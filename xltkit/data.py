"""Rows in canonical columns: from a local mirror of the Hub, the Hub, or the microworld.

The folder named by ``XLTKIT_HUB`` is looked at first: a mirror that keeps
``<org>/<name>/<config>/<split>.parquet`` under the Hub's own names, so that the same call and the
same reader serve both. Nothing here runs code that comes with a data set.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

import datasets
import huggingface_hub
from datasets import Dataset

from xltkit.keys import digest, known_digest

if TYPE_CHECKING:  # the registry imports the readers, and the readers import this module
    from xltkit.tasks.table import Reader, Source, Task

PROBE_SECONDS = 5.0  # how long the Hub may take to answer; then it is left alone for a minute
SPLITS = ("train", "validation", "test", "candidates")
# Where a kind keeps what is to be predicted.
_GOLD = {"classification": "label", "choice": "label", "tagging": "tags", "span": "answers"}

datasets.disable_progress_bars()  # reading local files is quick; downloads have bars of their own


class MissingData(LookupError):
    """Rows that are neither in the mirror nor to be had from the Hub."""


class Place(NamedTuple):
    """Where a source keeps the rows of a language."""

    hub: str
    config: str
    split: str
    revision: str
    mirror: str

    @property
    def files(self) -> list[Path]:
        """The parquet files in the mirror; a clone of a Hub repository numbers its files."""
        folder = Path(self.mirror, self.hub, self.config)
        found = [*folder.glob(f"{self.split}.parquet"), *folder.glob(f"{self.split}-*.parquet")]
        return sorted(found) if self.mirror else []

    def missing(self, reason: str) -> MissingData:
        """The error that says what was looked for and how to get it."""
        file = Path(self.mirror, self.hub, self.config, f"{self.split}.parquet")
        mirror = f"no {file}" if self.mirror else "XLTKIT_HUB is not set"
        pin = f", revision='{self.revision}'" if self.revision else ""
        remedy = (
            'On a machine with a network this gets it: python -c "import datasets; '
            f"datasets.load_dataset('{self.hub}', '{self.config}', split='{self.split}'{pin})\""
        )
        if self.hub.startswith("local/"):
            remedy = "It is not on the Hub: set XLTKIT_HUB to a folder that holds it."
        return MissingData(
            f"Looked for {self.hub}, config {self.config}, split {self.split}: {mirror}; "
            f"{reason}. {remedy}"
        )


def _place(source: Source, language: str) -> Place:
    if language not in source.configs:
        raise MissingData(f"{source.hub} is read in {', '.join(source.configs)} only.")
    # Some data sets have one split per language: test_de is written test_{language} in the table.
    split = source.split.format(language=language)
    mirror = os.environ.get("XLTKIT_HUB", "")
    return Place(source.hub, source.configs[language], split, source.revision, mirror)


def _source(task: Task, split: str) -> Source:
    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}; it can be {', '.join(SPLITS)}.")
    if getattr(task, split) is None:
        has = ", ".join(name for name in SPLITS if getattr(task, name))
        trains = f" It trains on {task.train_on!r}." if task.train_on else ""
        raise MissingData(
            f"{task.name} has no {split} split with labels, only {has}.{trains} To score another "
            "split, type for example split='validation'."
        )
    return getattr(task, split)


def load(task: Task, split: str, language: str, generated: int = 0) -> Dataset:
    """The rows of a task in a language, in the canonical columns of its kind.

    Args:
        task: a row of the registry, or one of your own.
        split: ``train``, ``validation``, ``test`` or, of a ranking, ``candidates``.
        language: a code such as ``sw``.
        generated: how many rows of the microworld are wanted, which has as many as one likes;
            other data sets are what they are.

    Raises:
        MissingData: if they are not to be had, naming the command that would get them.
        ValueError: if the labels of a split to be scored are placeholders.
    """
    source = _source(task, split)
    try:
        place = _place(source, language)
        if source.hub == "microworld":
            from xltkit.microworld import tasks as micro  # only there if it is asked for

            return source.read(micro.load(source, language, generated), language)
        make = getattr(source.read, "make", None)  # such a reader makes rows of a user's own file
        rows = make(language) if make else _rows(place, source.read, language)
    except MissingData as error:
        raise MissingData(
            f"No {split} rows of {task.name} in {language!r}. {error}"
        ) from error.__cause__
    if split != "train":
        check_labels(rows, task, split)
    return rows


@lru_cache(maxsize=128)
def _rows(place: Place, read: Reader, language: str) -> Dataset:
    rows = read(_raw(place), language)
    if not len(rows):
        raise place.missing(f"what is there holds no rows in {language!r}")
    return rows


def raw(source: Source, language: str) -> Dataset:
    """The rows of a source in the Hub's own columns, for readers that join two data sets."""
    return _raw(_place(source, language))


def _raw(place: Place) -> Dataset:
    wanted = {"name": place.config, "split": place.split}
    if place.files:
        return datasets.load_dataset(str(Path(place.mirror, place.hub)), **wanted)
    commit, reason = _commit(place)
    try:
        with ExitStack() as stack:
            if reason:  # without a network both libraries would retry for half a minute a file
                for module in (datasets.config, huggingface_hub.constants):
                    stack.enter_context(patch.object(module, "HF_HUB_OFFLINE", True))
            rows = datasets.load_dataset(place.hub, revision=commit or None, **wanted)
    except Exception as error:  # datasets raises half a dozen types for "it is not there"
        raise place.missing(reason or f"the Hub says: {error}".rstrip(".")) from error
    # Offline, datasets takes the newest version in its cache, whatever was asked for.
    version = Path(rows.cache_files[0]["filename"]).parent.name if rows.cache_files else commit
    if commit and version != commit:
        raise place.missing(f"the cache holds version {version} only; {reason}")
    return rows


def _commit(place: Place) -> tuple[str, str]:
    """The commit to load and, if the Hub cannot be asked, the reason (otherwise empty)."""
    if place.hub.startswith("local/"):
        raise place.missing("nowhere else to look")
    reason = "HF_HUB_OFFLINE is set"
    if not huggingface_hub.is_offline_mode():
        commit, reason = _ask(place.hub, place.revision, int(time.monotonic() // 60))
        if commit:
            return _asked.setdefault((place.hub, place.revision), commit), ""
    # The newest commit at the time the data set was last loaded, if it ever was.
    card = huggingface_hub.try_to_load_from_cache(place.hub, "README.md", repo_type="dataset")
    return place.revision or (Path(card).parent.name if isinstance(card, str) else ""), reason


_asked: dict[tuple[str, str], str] = {}  # a process sees one commit, even if a new one appears


@lru_cache(maxsize=256)
def _ask(hub: str, revision: str, minute: int) -> tuple[str, str]:
    try:
        api = huggingface_hub.HfApi()
        return api.dataset_info(hub, revision=revision or None, timeout=PROBE_SECONDS).sha, ""
    except Exception as error:  # a refusal of the Hub, or whatever the transport raises
        return "", f"the Hub did not answer ({type(error).__name__}: {error})"


def fingerprint(source: Source, language: str) -> str:
    """What identifies the rows of a source in a language, as a part of the key of a stage.

    ``hub@<commit>``, ``sha256:<digest>`` of a file of the mirror, or the generator's version. A
    reader that joins a second data set adds that one; one with a ``version`` adds its number.

    Raises:
        MissingData: if the source is not to be had.
    """
    if source.hub == "microworld":
        from xltkit.microworld import tasks as micro  # only there if it is asked for

        return micro.fingerprint(source, language)
    if hasattr(source.read, "make"):
        return source.read.fingerprint()
    parts = [_identity(_place(source, language))]
    if other := getattr(source.read, "joined", {}).get(source.split):
        try:
            parts.append(_identity(_place(other, "en")))
        except MissingData:
            parts.append("absent")
    version = getattr(source.read, "version", 1)
    return "+".join(parts) + (f"/{version}" if version > 1 else "")


def _identity(place: Place) -> str:
    if not place.files:
        commit, reason = _commit(place)
        if not commit:
            raise place.missing(reason)
        return f"hub@{commit}"
    digests = [known_digest(file) for file in place.files]
    return f"sha256:{digests[0][:16] if len(digests) == 1 else digest(digests)}"


def available(
    task: Task, split: str, languages: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """The languages of a task whose rows are to be had, and those whose are not.

    The missing ones are told in one warning, once. Files of a mirror are looked at and not read;
    what only the Hub has is loaded, since nothing else would prove that it can be.

    Args:
        task: a row of the registry.
        split: ``train``, ``validation`` or ``test``.
        languages: the codes to look for; None means all the task has.
    """
    source = getattr(task, split, None)
    codes = list(languages if languages is not None else source.configs if source else ())
    absent: dict[str, str] = {}
    for code in codes:
        try:
            _assert_there(task, split, code)
        except MissingData as error:
            absent[code] = str(error)
    if absent:
        first = next(iter(absent.values()))
        warn_once(f"{task.name} ({split}) is not to be had in {', '.join(absent)}. {first}")
    return [code for code in codes if code not in absent], list(absent)


def _assert_there(task: Task, split: str, language: str) -> None:
    source = _source(task, split)
    place = _place(source, language)
    # A file that several languages share has to be read to know which of them it holds.
    shared = sum(_place(source, code) == place for code in source.configs) > 1
    if source.hub != "microworld" and (shared or not place.files):
        load(task, split, language)


_said: set[str] = set()


def warn_once(message: str) -> None:
    """Warn, unless this process has said exactly this before."""
    if message not in _said:
        _said.add(message)
        warnings.warn(message, stacklevel=3)


def check_labels(rows: Dataset, task: Task, split: str) -> None:
    """Refuse placeholders: benchmarks hide test labels behind -1, a constant or empty answers.

    Raises:
        ValueError: naming what was found and what to do.
    """
    if task.kind not in _GOLD:
        return
    gold = rows[_GOLD[task.kind]][:]
    values = set(gold if task.kind in ("classification", "choice") else chain.from_iterable(gold))
    if len(values) > 1 and -1 not in values:
        return
    remedy = "score split='validation' or " if split == "test" and task.validation else ""
    raise ValueError(
        f"The {split} split of {task.name} cannot be scored: its gold labels are {values or '{}'} "
        f"in {len(rows)} rows. This is a copy with hidden labels; {remedy}take the file of the "
        f"owners of the data set ({task.citation or 'see its dataset card'})."
    )
