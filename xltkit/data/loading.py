"""Rows in canonical columns: from a local mirror of the Hub, the Hub, or the microworld.

The folder named by ``XLTKIT_HUB`` is looked at first: a mirror that keeps
``<org>/<name>/<config>/<split>.parquet`` under the Hub's own names, so that the same call and the
same reader serve both. Nothing here runs code that comes with a data set.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import datasets
import huggingface_hub
from datasets import Dataset

from xltkit.data.places import CONVERTED, MissingData, Place, place
from xltkit.keys import digest, known_digest

if TYPE_CHECKING:  # the registry imports the readers, and the readers import this module
    from xltkit.data.source import Reader, Source
    from xltkit.tasks.base import Task

PROBE_SECONDS = 5.0  # how long the Hub may take to answer; then it is left alone for a minute
SPLITS = ("train", "validation", "test", "candidates")
datasets.disable_progress_bars()  # reading local files is quick; downloads have bars of their own


def _source(task: Task, split: str) -> Source:
    if split not in SPLITS:
        raise ValueError(f"There is no split {split!r}; it can be {', '.join(SPLITS)}.")
    if getattr(task, split) is None:
        has = [name for name in SPLITS[:3] if getattr(task, name)]
        there = ", ".join(has)
        trains = f" It trains on {task.train_on!r}." if task.train_on else ""
        raise MissingData(
            f"{task.name} has no {split} split with labels, only {there}.{trains} To score "
            f"another split, type for example split={has[-1]!r}."
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
        there = place(source, language)
        if source.hub == "microworld":
            from xltkit.data.microworld import generate as micro  # only there if it is asked for

            return source.read(micro.load(source, language, generated), language)
        read = source.of(language).read
        rows = _rows(there, read, language, fingerprint(source, language))
    except MissingData as error:
        told = MissingData(f"No {split} rows of {task.name} in {language!r}. {error}")
        told.reason = error.reason
        raise told from error.__cause__
    if split != "train":
        task.type.check_rows(task, rows, split)
    return rows


@lru_cache(maxsize=128)
def _rows(there: Place, read: Reader, language: str, state: str) -> Dataset:
    """``state`` is the fingerprint: a file that is edited in a session is read again."""
    rows = read(_raw(there), language)
    if not len(rows):
        raise there.missing(f"what is there holds no rows in {language!r}")
    return rows


def raw(source: Source, language: str) -> Dataset | Path | list[Path]:
    """What the reader of a source is given: rows in the Hub's own columns, or paths of files."""
    return _raw(place(source, language))


def file(source: Source, language: str) -> Path:
    """The file of a source off the Hub. Raises MissingData, with the command that gets it."""
    there = place(source, language)
    if not there.files:
        raise there.missing("nowhere else to look")
    return there.files[0]


def request(there: Place) -> dict[str, str]:
    """What ``datasets.load_dataset`` is asked for on the Hub, beside the id and the commit."""
    folder = "data_dir" if there.revision == CONVERTED else "name"
    return {folder: there.config, "split": there.split}


def _raw(there: Place) -> Dataset | Path | list[Path]:
    if there.files and there.is_file:
        return there.files if "*" in there.config else there.files[0]
    if there.files:
        mirror = Path(there.mirror, there.hub)
        if not (mirror / "README.md").is_file():  # a folder of one's own needs no card
            return Dataset.from_parquet([str(found) for found in there.files])
        return datasets.load_dataset(str(mirror), name=there.config, split=there.split)
    commit, reason = find_commit(there)
    try:
        with ExitStack() as stack:
            if reason:  # without a network both libraries would retry for half a minute a file
                for module in (datasets.config, huggingface_hub.constants):
                    stack.enter_context(patch.object(module, "HF_HUB_OFFLINE", True))
            rows = datasets.load_dataset(there.hub, revision=commit or None, **request(there))
    except Exception as error:  # datasets raises half a dozen types for "it is not there"
        raise there.missing(reason or f"the Hub says: {error}".rstrip(".")) from error
    # Offline, datasets takes the newest version in its cache, whatever was asked for.
    version = Path(rows.cache_files[0]["filename"]).parent.name if rows.cache_files else commit
    if commit and version != commit:
        raise there.missing(f"the cache holds version {version} only; {reason}")
    return rows


def find_commit(there: Place) -> tuple[str, str]:
    """The commit to load and, if the Hub cannot be asked, the reason (otherwise empty)."""
    if not there.on_hub:
        raise there.missing("nowhere else to look")
    reason = "HF_HUB_OFFLINE is set"
    if not huggingface_hub.is_offline_mode():
        commit, reason = _ask(there.hub, there.revision, int(time.monotonic() // 60))
        if commit:
            return _asked.setdefault((there.hub, there.revision), commit), ""
    if there.revision and there.revision != CONVERTED:
        return there.revision, reason
    # The newest commit at the time the data set was last loaded, if it ever was.
    card = huggingface_hub.try_to_load_from_cache(
        there.hub, "README.md", repo_type="dataset", revision=there.revision or None
    )
    return (Path(card).parent.name if isinstance(card, str) else ""), reason


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
        from xltkit.data.microworld import generate as micro  # only there if it is asked for

        return micro.fingerprint(source, language)
    part = source.of(language) if language in source else source
    parts = [_identity(place(source, language))]
    for other in joined(part):
        try:
            parts.append(fingerprint(other, "en"))
        except MissingData:
            if not getattr(part.read, "optional", False):
                raise
            parts.append("absent")
    version = getattr(part.read, "version", 1)
    return "+".join(parts) + (f"/{version}" if version > 1 else "") + _own_reader(part.read)


def _own_reader(read: Reader) -> str:
    """What identifies a reader that is not the kit's: whoever edits it wants other rows."""
    function = getattr(read, "func", read)
    if not hasattr(function, "__code__") or function.__module__.partition(".")[0] == "xltkit":
        return ""
    try:
        return f"/{digest(inspect.getsource(function))[:8]}"
    except OSError:  # typed into a plain interpreter
        return f"/{digest(function.__code__.co_code.hex())[:8]}"


def joined(source: Source) -> tuple[Source, ...]:
    """The English sources that a source's reader joins to its rows: repairs, or more rows."""
    beside = getattr(source.read, "beside", None)
    return beside(source.split) if beside else ()


def _identity(there: Place) -> str:
    if not there.files:
        commit, reason = find_commit(there)
        if not commit:
            raise there.missing(reason)
        return f"hub@{commit}"
    digests = [known_digest(found) for found in there.files]
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
    codes = list(languages if languages is not None else source.languages if source else ())
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
    there = place(source, language)
    if source.hub != "microworld" and (shared(source, language) or not there.files):
        load(task, split, language)


def shared(source: Source, language: str) -> bool:
    """Whether other languages lie in the same file: it must be read to know which it holds."""
    there = place(source, language)
    return sum(place(source, code) == there for code in source.of(language).configs) > 1


_said: set[str] = set()


def warn_once(message: str) -> None:
    """Warn, unless this process has said exactly this before."""
    if message not in _said:
        _said.add(message)
        warnings.warn(message, stacklevel=3)
