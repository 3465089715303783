"""Finished runs read back from their folders, and kept in git as small tables.

``outputs/<run>/`` and ``outputs/published/<run>/`` have the same form: ``result.json`` and the
tables that it names. What is published keeps the scores in the tasks' own metrics, in CSV, so that
a change of a result is seen as a change of a line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from xltkit.provenance import root

# Of the scores; what they leave out is the same for a whole run and stands in result.json.
KEPT = ["arm", "seed", "task", "language", "counterpart", "is_source", "family", "resource",
        "metric", "value", "n", "chance"]  # fmt: skip
DECIMALS = 4
LARGEST = 1000  # rows of a table beside the scores; a larger one is for the machine that made it


@dataclass(frozen=True)
class Saved:
    """The results of a finished run; ``compare`` and ``summary`` take it like any others.

    Attributes:
        name: of the run, as in ``runs.toml``.
        record: its ``result.json``: answer, parameters, versions.
        tables: what the notebook wrote, by name.
    """

    name: str
    record: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]

    @property
    def suite(self) -> str:
        """The suite it ran on; a notebook without that parameter is of the microworld."""
        return self.record["parameters"].get("suite", "microworld")

    @cached_property
    def main(self) -> pd.DataFrame:
        """The scores in the tasks' own metrics."""
        scores = self.tables["scores"]
        return scores[scores["main"]] if "main" in scores else scores

    @property
    def study(self) -> SimpleNamespace:
        """The arms, by name."""
        return SimpleNamespace(arms=dict.fromkeys(self.main["arm"]))


def read(folder: Path) -> Saved:
    """The results in a run's folder.

    Raises:
        ValueError: if there are none, or a table is not the one that was written.
    """
    tables = {}
    try:
        record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        for name, about in record["tables"].items():
            content = (folder / about["file"]).read_bytes()
            if hashlib.sha256(content).hexdigest() != about["sha256"]:
                raise ValueError(f"{about['file']} was changed after it was written")
            reader = pd.read_csv if about["file"].endswith(".csv") else pd.read_parquet
            tables[name] = reader(folder / about["file"])
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{folder} holds no whole result ({error}). Run the notebook again: "
            f"python -m xltkit run {folder.name}"
        ) from error
    return Saved(folder.name, record, tables)


def read_all(folder: Path | str = "") -> dict[str, Saved]:
    """Every full run below a folder, by name; smoke runs measure nothing and are left out.

    Args:
        folder: seen from the repository; ``outputs/published`` unless given.

    Raises:
        ValueError: if there is none, or one is damaged.
    """
    base = root() / (folder or Path("outputs", "published"))
    found = [read(path.parent) for path in sorted(base.glob("*/result.json"))]
    full = {saved.name: saved for saved in found if not saved.record["smoke"]}
    if not full:
        raise ValueError(
            f"{base} holds no finished run. Type: python -m xltkit run, and then outputs as the "
            "folder; or python -m xltkit publish, which fills outputs/published."
        )
    return full


def publish(names: Sequence[str] = (), outputs: Path | None = None) -> list[Path]:
    """Keep finished runs (all, unless named) in ``outputs/published``; the folders written.

    Raises:
        ValueError: if a run is not there, or not whole; nothing has been written then.
    """
    outputs = outputs or root() / "outputs"
    own = [name for name in read_all(outputs) if name != "interactive"] if not names else names
    chosen = [read(outputs / name) for name in own]
    return [_keep(saved, outputs / "published" / saved.name) for saved in chosen]


def _keep(saved: Saved, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    scores = saved.main[[column for column in KEPT if column in saved.main]]
    small = {name: table for name, table in saved.tables.items() if len(table) <= LARGEST}
    written = {}
    for name, table in {**small, "scores": scores}.items():
        text = table.round(DECIMALS).to_csv(index=False, lineterminator="\n")
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        written[name] = {"file": f"{name}.csv", "rows": len(table), "sha256": digest}
    record = json.dumps({**saved.record, "tables": written}, indent=2, ensure_ascii=False)
    partial = folder / "result.json.partial"
    partial.write_text(record + "\n", encoding="utf-8")
    os.replace(partial, folder / "result.json")
    return folder
