"""The index of a folder of runs: questions and answers, tables of all results, provenance."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from xltkit.batch import pages
from xltkit.batch.runs import read_runs
from xltkit.files import write
from xltkit.studies.saved import ResultError, Saved, read

GROUPS = ["arm", "task", "metric", "languages", "language"]  # of scores: one row each
SCORES = ["run", *GROUPS, "family", "mean", "low", "high", "chance", "seeds", "n", "suite"]
NEEDED = {"arm", "task", "metric", "language", "seed", "value", "n", "is_source", "main", "family"}
MEASURED = ["difference", "low", "high", "p_holm", "smallest_effect", "n_seeds", "n_examples"]
COMPARISONS = ["run", "table", "arm", "baseline", "where", *MEASURED, "suite"]


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
    rows = []
    runs = []
    for name, block in sorted(read_runs(root).items()):
        names = [name]
        if block["real"] and not (base / name).is_dir():
            names = []  # of the many runs that a laptop cannot do, those that were done
        # With parameters set by hand a run has a hash after its name.
        variants = [path.name for path in base.glob(f"{name}-*") if path.is_dir()]
        names += sorted(each for each in variants if re.fullmatch(name + "-[0-9a-f]{6}", each))
        for each in names:
            row, saved = _row(base, each, block["question"])
            rows.append(row)
            if saved:
                runs.append(saved)
    environment = Environment(loader=PackageLoader("xltkit.batch", "."), autoescape=True)
    html = environment.get_template("index.html.j2").render(
        rows=rows,
        is_smoke=base.name == "smoke",
        scripts=_scripts(),
        scores=_table(scores(runs), "scores"),
        comparisons=_table(comparisons(runs), "comparisons"),
    )
    write(base / "index.html", html)
    return base / "index.html"


def _row(base: Path, name: str, question: str) -> tuple[dict[str, Any], Saved | None]:
    """What the index says of a run, and the run itself if it is done."""
    row: dict[str, Any] = {"name": name, "question": question}
    failed = base / f"{name}.failed.ipynb"
    if failed.exists():
        page = failed.with_suffix(".html")
        link = (page if page.exists() else failed).name
        return row | {"status": "failed", "link": link, "note": pages.failure(failed)}, None
    try:
        saved = read(base / name)
    except ResultError as error:
        status = "failed" if (base / name / "result.json").exists() else "not run"
        return row | {"status": status, "note": str(error)}, None
    record = saved.record
    row |= {
        "status": "done",
        "link": f"{name}.html" if (base / f"{name}.html").exists() else "",
        "answer": record.get("answer", ""),
        "minutes": f"{record.get('seconds', 0) / 60:.1f}",
        "is_microworld": saved.suite == "microworld",
        "provenance": {
            "finished (UTC)": record.get("created_utc", ""),
            "device": record.get("device", ""),
            "commit": record.get("commit", ""),
            "versions": _listed(record.get("versions", {})),
            "parameters": _listed(record["parameters"]),
            "tables": _listed({t["file"]: t.get("rows") for t in record["tables"].values()}),
        },
    }
    return row, saved


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def scores(runs: Iterable[Saved]) -> pd.DataFrame:
    """The scores of all runs: one row per run, arm, task, language and metric, in points.

    ``mean`` over ``seeds`` seeds with its t interval ``low`` to ``high``. ``languages`` is
    ``source``, ``transfer`` or, for a row more per run, arm and task in the task's own metric,
    ``transfer mean``: the mean over all languages but the source. Its interval is that over seeds
    of this mean, its ``n`` the test items of all these languages.
    """
    joint = []
    for run in runs:
        tables = [table for table in run.tables.values() if NEEDED <= {*table.columns}]
        if tables:
            keys = ["arm", "seed", "task", "metric", "language"]
            table = pd.concat(tables, ignore_index=True).drop_duplicates(keys)
            joint.append(_over_seeds(table).assign(run=run.name, suite=run.suite))
    if not joint:
        return pd.DataFrame(columns=SCORES)
    table = pd.concat(joint, ignore_index=True)
    is_mean = table["languages"] == "transfer mean"
    return pd.concat([table[is_mean], table[~is_mean]], ignore_index=True)[SCORES]


def _over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Means and intervals over seeds of one run's scores, and of its means over languages."""
    table = table.assign(languages=table["is_source"].map({True: "source", False: "transfer"}))
    transfer = table[~table["is_source"] & table["main"]]
    means = transfer.groupby(["arm", "task", "metric", "seed"], sort=False, as_index=False).agg(
        value=("value", "mean"), n=("n", "sum"), chance=("chance", "mean")
    )
    means = means.assign(language="", family="", languages="transfer mean")
    groups = pd.concat([means, table]).groupby(GROUPS, sort=False, dropna=False)
    joint = groups.agg(
        family=("family", "first"),
        mean=("value", "mean"),
        chance=("chance", "first"),
        seeds=("seed", "nunique"),
        n=("n", "first"),
    ).reset_index()
    # As analysis.t_interval, which would import torch: no interval if nothing varies.
    errors = groups["value"].sem().where(groups["value"].nunique() > 1).to_numpy()
    half_widths = errors * stats.t.ppf(0.975, groups.size() - 1)
    return joint.assign(low=joint["mean"] - half_widths, high=joint["mean"] + half_widths)


def comparisons(runs: Iterable[Saved]) -> pd.DataFrame:
    """Every difference with an interval that a run has stored, in any of its tables.

    ``where`` names the rest: task, family, setting, whatever that table is split by.
    """
    tables = []
    for run in runs:
        for name, table in run.tables.items():
            table = table.reset_index([level for level in table.index.names if level])
            for old, new in (("gain", "difference"), ("against", "baseline")):
                if new not in table:
                    table = table.rename(columns={old: new})
            if not {"difference", "low", "high"} <= {*table.columns}:
                continue
            texts = table.select_dtypes(exclude="number")
            split = texts.drop(columns=["arm", "baseline", "method"], errors="ignore")
            where = split.apply(lambda row: ", ".join(str(v) for v in row.dropna()), axis=1)
            table = table.assign(run=run.name, suite=run.suite, table=name, where=where)
            tables.append(table.reindex(columns=COMPARISONS))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COMPARISONS)


def _scripts() -> str:
    """The script and the styles of all tables of a page, which needs no network then."""
    from itables.javascript import generate_init_offline_itables_html
    from itables.utils import find_package_file

    return generate_init_offline_itables_html(find_package_file("html/dt_bundle.js"))


def _table(table: pd.DataFrame, name: str) -> str:
    """A table that a reader can sort, search, filter by column and download as CSV."""
    from itables import to_html_datatable

    if table.empty:
        return ""
    digits = {column: 3 if column == "p_holm" else 1 for column in table.select_dtypes("float")}
    return to_html_datatable(
        table.round(digits),
        table_id=f"table-of-{name}",
        connected=False,  # the script is in the page
        showIndex=False,
        maxBytes=0,  # all rows
        classes="display compact",
        style="width:100%",
        lengthMenu=[25, 100, 1000],
        pageLength=25,
        layout={"topStart": ["pageLength", {"buttons": ["csvHtml5"]}]},
        columnControl=["order", ["searchList"]],
        ordering={"indicators": False, "handler": True},
    )
