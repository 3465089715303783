"""The saved results of finished runs: ``result.json`` and the tables that it lists."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xltkit.files import read as read_text
from xltkit.files import root, without_folder, write
from xltkit.keys import file_digest
from xltkit.studies.store import Store

if TYPE_CHECKING:  # the batch reads records before it knows whether it needs pandas
    import pandas as pd

FIELDS = {"parameters": dict, "tables": dict, "smoke": bool}  # of every result.json
# Columns of published scores; the others are the same for a whole run and are in result.json.
KEPT = ["arm", "seed", "task", "language", "base_language", "is_source", "family", "resource"]
KEPT += ["metric", "value", "n", "chance", "trained_on", "steps", "unseen"]
DECIMALS = 4
LARGEST = 1000  # rows of a published table; a larger one stays on the machine that made it


class ResultError(ValueError):
    """A result that is missing, damaged, or of the wrong kind (smoke or full)."""


@dataclass(frozen=True, eq=False)
class Saved:
    """The results of a finished run, without its predictions.

    ``summary``, ``compare`` and ``interaction`` take it in place of ``Results``; intervals are then
    over seeds, and runs at chance are not counted.
    """

    degenerate = None

    name: str  # as in runs.toml
    record: Mapping[str, Any]  # result.json: answer, parameters, versions
    tables: Mapping[str, pd.DataFrame]  # what the notebook wrote
    store: Store = field(default_factory=Store)  # where its stages are

    @property
    def suite(self) -> str:
        """The suite of the run; the microworld if the notebook has no such parameter."""
        return self.record["parameters"].get("suite", "microworld")

    @property
    def scores(self) -> pd.DataFrame:
        """The scores, as in ``Results.scores``; a published run has fewer columns."""
        return self.tables["scores"]

    @cached_property
    def main(self) -> pd.DataFrame:
        """The scores in the tasks' own metrics, with the columns that describe languages."""
        from xltkit.data.languages import columns

        main = self.scores[self.scores["main"]] if "main" in self.scores else self.scores
        known = columns(sorted(main["language"].unique())).drop(
            columns=main.columns, errors="ignore"
        )
        return main.join(known, on="language")

    @property
    def arms(self) -> list[str]:
        """The names of the arms."""
        return list(self.main["arm"].unique())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"A saved run has no {name!r}, only scores and tables. For more, run its notebook "
            "again: if the store has its stages, that takes a minute."
        )


def record(folder: Path) -> dict[str, Any]:
    """The ``result.json`` of a finished run. Raises ResultError if it or a table is damaged."""
    path = folder / "result.json"
    remedy = f"run it again: python -m xltkit run {shlex.quote(folder.name)}"
    if not path.exists():
        raise ResultError(f"there is no result; {remedy}")
    try:
        result = json.loads(read_text(path))
        changed = [name for name, kind in FIELDS.items() if not isinstance(result[name], kind)]
        for table in result["tables"].values():
            file = folder / Path(table["file"]).name  # nothing outside of the run's own folder
            if file_digest(file) != table["sha256"]:
                changed.append(file.name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ResultError(f"the result is damaged ({reason}); {remedy}") from error
    if changed:
        raise ResultError(f"{', '.join(changed)} was changed after it was written; {remedy}")
    return result


def read(folder: Path | str) -> Saved:
    """The results in a run's folder. Raises ResultError if they are missing or damaged.

    Smoke runs measure nothing: they must be in the folder ``smoke``, and no other run may be.
    """
    import pandas as pd

    folder = Path(folder)
    result = record(folder)
    if result["smoke"] != (folder.parent.name == "smoke"):
        kind = "smoke run among full runs" if result["smoke"] else "full run among smoke runs"
        raise ResultError(f"it is a {kind} and is left out: delete {folder.name}/ and run it again")
    files = {name: folder / Path(table["file"]).name for name, table in result["tables"].items()}
    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    tables = {name: readers[file.suffix](file) for name, file in files.items()}
    return Saved(folder.name, result, tables)


def read_all(folder: Path | str = "", needed: str = "scores") -> dict[str, Saved]:
    """All full runs with the table ``needed`` in a folder of the repository, by name.

    The default folder is ``outputs/published``. Raises ValueError if no run is there or one is
    damaged.
    """
    base = root() / (folder or Path("outputs", "published"))
    folders = [path.parent for path in sorted(base.glob("*/result.json"))]
    full = [saved for saved in map(read, folders) if not saved.record["smoke"]]
    runs = {saved.name: saved for saved in full if not needed or needed in saved.tables}
    if not runs:
        raise ValueError(
            f"{base} holds no finished run. Type: python -m xltkit run, and use outputs as the "
            "folder; or python -m xltkit publish, which fills outputs/published."
        )
    return runs


def publish(names: Sequence[str] = ()) -> list[Path]:
    """Copy small tables and records of finished runs (default: all) to ``outputs/published``.

    Returns the folders. Raises ValueError, before writing any, if a run is missing or damaged.
    """
    outputs = root() / "outputs"
    names = names or [name for name in read_all(outputs, needed="") if name != "interactive"]
    folders = []
    for saved in [read(outputs / name) for name in names]:
        folder = outputs / "published" / saved.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        tables = {name: table for name, table in saved.tables.items() if len(table) <= LARGEST}
        if "scores" in saved.tables:
            tables["scores"] = saved.main.filter(KEPT)
        files = {}
        for name, table in tables.items():
            file = folder / f"{name}.csv"
            table.round(DECIMALS).to_csv(file, index=False, lineterminator="\n")
            files[name] = {"file": file.name, "rows": len(table), "sha256": file_digest(file)}
        given = {k: without_folder(value) for k, value in saved.record["parameters"].items()}
        result = {**saved.record, "parameters": given, "tables": files}
        result = json.dumps(result, indent=2, ensure_ascii=False)
        write(folder / "result.json", result + "\n")
        folders.append(folder)
    return folders
