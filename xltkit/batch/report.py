"""The index of a folder of runs: questions and answers, one table of all results, provenance."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xltkit.batch import pages
from xltkit.batch.runs import read_runs
from xltkit.files import write
from xltkit.studies import saved as finished
from xltkit.studies.saved import ResultError, Saved

if TYPE_CHECKING:
    import pandas as pd

VARIANT = r"-[0-9a-f]{6}"  # after the name of a run, where parameters were set by hand


@dataclass(frozen=True)
class Row:
    """One run in the index; ``status`` is ``done``, ``failed`` or ``not run``."""

    name: str
    question: str
    status: str
    link: str = ""  # the page to read, seen from the index
    note: str = ""  # why it failed
    answer: str = ""
    minutes: str = ""
    microworld: bool = False
    details: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column of a table that the reader can sort: ``digits`` makes it one of numbers."""

    key: str
    label: str
    digits: int | None = None
    filter: bool = False
    first: str = ""  # what the filter is set to when the page is opened
    graph: str = ""  # drawn as an interval: a share of 0 to 100, or a difference from 0


SCORES = (
    Column("run", "Run", filter=True),
    Column("arm", "Arm", filter=True),
    Column("task", "Task", filter=True),
    Column("metric", "Metric", filter=True),
    Column("languages", "Languages", filter=True, first="transfer mean"),
    Column("language", "Language", filter=True),
    Column("family", "Family", filter=True),
    Column("mean", "Mean", 1),
    Column("low", "Low", 1),
    Column("high", "High", 1, graph="share"),
    Column("chance", "Chance", 1),
    Column("seeds", "Seeds", 0),
    Column("n", "Items", 0),
    Column("suite", "Suite", filter=True),
)
COMPARISONS = (
    Column("run", "Run", filter=True),
    Column("arm", "Arm", filter=True),
    Column("against", "Against", filter=True),
    Column("what", "Where"),
    Column("languages", "Languages", filter=True),
    Column("difference", "Difference", 1),
    Column("low", "Low", 1),
    Column("high", "High", 1, graph="difference"),
    Column("p_holm", "Corrected p", 3),
    Column("smallest_effect", "Smallest effect", 1),
    Column("n_seeds", "Seeds", 0),
    Column("n_examples", "Items", 0),
    Column("table", "Table", filter=True),
    Column("suite", "Suite", filter=True),
)


def build(outputs: Path, root: Path) -> list[Path]:
    """Write all pages and indexes anew from what lies in ``outputs``; the indexes.

    Nothing is run. Smoke runs have an index of their own, in ``outputs/smoke``.
    """
    bases = [base for base in (outputs, outputs / "smoke") if base == outputs or base.is_dir()]
    for base in bases:
        for notebook in sorted(base.glob("*.ipynb")):
            if not notebook.name.endswith(".partial.ipynb"):
                pages.write_page(notebook, notebook.with_suffix(".html"))
    return [write_index(base, root) for base in bases]


def write_index(base: Path, root: Path) -> Path:
    """Write ``index.html`` for the runs that lie in a folder: ``outputs`` or ``outputs/smoke``."""
    from jinja2 import Environment, PackageLoader

    base.mkdir(parents=True, exist_ok=True)
    rows, runs = [], []
    for name, block in sorted(read_runs(root).items()):
        variants = [path.name for path in base.glob(f"{name}-*") if path.is_dir()]
        # Of the many runs that a laptop cannot do, those that were done.
        own = [] if block.get("real") and not (base / name).is_dir() else [name]
        for each in own + sorted(v for v in variants if re.fullmatch(name + VARIANT, v)):
            row, run = _row(base, each, block["question"])
            rows.append(row)
            runs += [run] if run else []
    environment = Environment(loader=PackageLoader("xltkit.batch", "."), autoescape=True)
    html = environment.get_template("index.html.j2").render(
        rows=rows,
        smoke=base.name == "smoke",
        scores=_table(finished.scores(runs), SCORES),
        comparisons=_table(finished.comparisons(runs), COMPARISONS),
    )
    write(base / "index.html", html)
    return base / "index.html"


def _row(base: Path, name: str, question: str) -> tuple[Row, Saved | None]:
    """What the index says of a run, and the run itself if it is done."""
    failed = base / f"{name}.failed.ipynb"
    if failed.exists():
        page = failed.with_suffix(".html")
        link = (page if page.exists() else failed).name
        return Row(name, question, "failed", link, pages.failure(failed)), None
    try:
        run = finished.read_apart(base / name)
    except ResultError as error:
        there = (base / name / "result.json").exists()
        return Row(name, question, "failed" if there else "not run", note=str(error)), None
    page = base / f"{name}.html"
    row = Row(
        name,
        question,
        "done",
        link=page.name if page.exists() else "",
        answer=str(run.record.get("answer", "")),
        minutes=f"{run.record.get('seconds', 0) / 60:.1f}",
        microworld=run.suite == "microworld",
        details=_details(run.record),
    )
    return row, run


def _details(record: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Where a result comes from, in groups of names and texts."""
    cost = {
        "minutes": f"{record.get('seconds', 0) / 60:.1f}",
        "device": record.get("device", ""),
        "finished (UTC)": record.get("created_utc", ""),
    }
    stages = {"stages that score": len(record.get("stages", []))}
    source = {"commit": record.get("commit", ""), **record.get("versions", {})}
    tables = {k: f"{t.get('rows', '?')} rows, {t['file']}" for k, t in record["tables"].items()}
    groups = {
        "Cost": cost | stages,
        "Versions": source,
        "Parameters": {k: _text(v) for k, v in record["parameters"].items()},
        "Tables": tables,
    }
    return {name: {k: str(v) for k, v in g.items() if v != ""} for name, g in groups.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(empty)"
    return json.dumps(value, ensure_ascii=False) if value in ("", True, False) else str(value)


def _table(table: pd.DataFrame, columns: Iterable[Column]) -> dict[str, Any]:
    """A table as the page keeps it: texts by number, since most of them come many times."""
    texts: dict[str, int] = {}
    packed = []
    for column in columns:
        values = table[column.key].tolist()
        if column.digits is None:
            words = ["" if v is None or v != v else str(v) for v in values]
            packed.append([texts.setdefault(word, len(texts)) for word in words])
        else:
            packed.append([_number(v, column.digits) for v in values])
    main = [int(bool(v)) for v in table["main"]] if "main" in table else []
    about = [asdict(column) for column in columns]
    return {"about": about, "texts": list(texts), "cells": packed, "main": main}


def _number(value: Any, digits: int) -> float | int | None:
    """A number as short as it is shown; none if it is missing."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) if digits else round(value)
