"""Finished runs kept in git as small tables.

``outputs/<run>/`` and ``outputs/published/<run>/`` have the same form: ``result.json`` and the
tables that it names. What is published keeps the scores in the tasks' own metrics, in CSV, so that
a change of a result is seen as a change of a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from xltkit.batch.runs import read_runs
from xltkit.files import root, write
from xltkit.keys import file_digest
from xltkit.studies.saved import Saved, read

# Of the scores; what they leave out is the same for a whole run and stands in result.json.
KEPT = ["arm", "seed", "task", "language", "counterpart", "is_source", "family", "resource",
        "metric", "value", "n", "chance"]  # fmt: skip
DECIMALS = 4
TABLE = re.compile(r"^\| notebook \|.*\n(\|.*\n)+", re.MULTILINE)  # of the README
FIGURE = Path("outputs", "published", "claims.png")
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
    return _scored(_full(base), base)


def _full(base: Path) -> dict[str, Saved]:
    found = [read(path.parent) for path in sorted(base.glob("*/result.json"))]
    return {saved.name: saved for saved in found if not saved.record["smoke"]}


def _scored(full: Mapping[str, Saved], base: Path) -> dict[str, Saved]:
    """Those of some runs that scored models; the error says what to type if there is none."""
    scored = {name: saved for name, saved in full.items() if "scores" in saved.tables}
    if not scored:
        raise ValueError(
            f"{base} holds no finished run. Type: python -m xltkit run, and then outputs as the "
            "folder; or python -m xltkit publish, which fills outputs/published."
        )
    return scored


def publish(names: Sequence[str] = (), outputs: Path | None = None) -> list[Path]:
    """Keep finished runs (all, unless named) in ``outputs/published``; the folders written.

    Raises:
        ValueError: if a run is not there, or not whole; nothing has been written then.
    """
    outputs = outputs or root() / "outputs"
    if names:
        chosen = [read(outputs / name) for name in names]
    else:
        full = _full(outputs)
        _scored(full, outputs)
        chosen = [saved for name, saved in full.items() if name != "interactive"]
    return [_keep(saved, outputs / "published" / saved.name) for saved in chosen]


def _keep(saved: Saved, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    small = {name: table for name, table in saved.tables.items() if len(table) <= LARGEST}
    if "scores" in saved.tables:
        small["scores"] = saved.main[[column for column in KEPT if column in saved.main]]
    written = {}
    for name, table in small.items():
        file = folder / f"{name}.csv"
        table.round(DECIMALS).to_csv(file, index=False, lineterminator="\n")
        written[name] = {"file": file.name, "rows": len(table), "sha256": file_digest(file)}
    record = json.dumps({**saved.record, "tables": written}, indent=2, ensure_ascii=False)
    write(folder / "result.json", record + "\n")
    return folder


def course(top: Path | None = None) -> str:
    """The table of the README: every notebook in the order of the course, with what is published.

    The order, the questions and the minutes are those of ``notebooks/runs.toml``; the answer is
    the first clause of the one that a published run gave.
    """
    top = top or root()
    found = _full(top / "outputs" / "published")
    rows = ["| notebook | question | answer | minutes on 2 cores |", "|---|---|---|---|"]
    for name, block in read_runs(top).items():
        if name == block["notebook"]:
            answer = _clause(found[name].record["answer"]) if name in found else "not published"
            link = f"[`{name}`](notebooks/{name}.ipynb)"
            rows.append(f"| {link} | {block['question']} | {answer} | {block['minutes']} |")
    return "\n".join(rows)


def _clause(answer: str) -> str:
    """The first clause of an answer, whose brackets are closed."""
    clause = answer.partition(";")[0].rstrip(".")
    return clause + ")" * (clause.count("(") - clause.count(")"))


def write_readme(top: Path | None = None) -> None:
    """Bring the README's table and its figure up to what is published."""
    from xltkit.analysis import claims
    from xltkit.explore import plots_claims

    top = top or root()
    readme = top / "README.md"
    text = readme.read_text(encoding="utf-8")
    write(readme, TABLE.sub(lambda _: course(top) + "\n", text))
    found = claims.table(read_all(top / "outputs" / "published"))
    drawn = plots_claims.measured(found).figure
    drawn.savefig(top / FIGURE, dpi=110, bbox_inches="tight", metadata={"Software": None})
