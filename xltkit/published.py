"""Finished runs kept in git as small tables.

``outputs/<run>/`` and ``outputs/published/<run>/`` have the same form: ``result.json`` and the
tables that it names. What is published keeps the scores in the tasks' own metrics, in CSV, so that
a change of a result is seen as a change of a line.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from xltkit.files import write
from xltkit.finished import Saved, read
from xltkit.keys import file_digest
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
    if names:
        chosen = [read(outputs / name) for name in names]
    else:
        chosen = [saved for name, saved in read_all(outputs).items() if name != "interactive"]
    return [_keep(saved, outputs / "published" / saved.name) for saved in chosen]


def _keep(saved: Saved, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    scores = saved.main[[column for column in KEPT if column in saved.main]]
    small = {name: table for name, table in saved.tables.items() if len(table) <= LARGEST}
    written = {}
    for name, table in {**small, "scores": scores}.items():
        file = folder / f"{name}.csv"
        table.round(DECIMALS).to_csv(file, index=False, lineterminator="\n")
        written[name] = {"file": file.name, "rows": len(table), "sha256": file_digest(file)}
    record = json.dumps({**saved.record, "tables": written}, indent=2, ensure_ascii=False)
    write(folder / "result.json", record + "\n")
    return folder
