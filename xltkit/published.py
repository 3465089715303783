"""Finished runs kept in git as small tables.

``outputs/<run>/`` and ``outputs/published/<run>/`` have the same form: ``result.json`` and the
tables that it names. What is published keeps the scores in the tasks' own metrics, in CSV, so that
a change of a result is seen as a change of a line.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from xltkit.finished import Saved, read
from xltkit.provenance import root

# Of the scores; what they leave out is the same for a whole run and stands in result.json.
KEPT = ["arm", "seed", "task", "language", "counterpart", "is_source", "family", "resource",
        "metric", "value", "n", "chance"]  # fmt: skip
DECIMALS = 4
LARGEST = 1000  # rows of a table beside the scores; a larger one is for the machine that made it


def read_all(folder: Path | str = "") -> dict[str, Saved]:
    """Every full run below a folder that scored models, by name.

    Smoke runs measure nothing, and notebooks that read what others scored are no evidence.

    Args:
        folder: seen from the repository; ``outputs/published`` unless given.

    Raises:
        ValueError: if there is none, or one is damaged.
    """
    base = root() / (folder or Path("outputs", "published"))
    found = [read(path.parent) for path in sorted(base.glob("*/result.json"))]
    full = {
        saved.name: saved
        for saved in found
        if not saved.record["smoke"] and "scores" in saved.tables
    }
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
