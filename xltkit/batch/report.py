"""The report of a batch: a page for each notebook, and the index of a folder of runs."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from itables import to_html_datatable
from itables.javascript import generate_init_offline_itables_html
from itables.utils import find_package_file
from jinja2 import Environment, PackageLoader
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer

from xltkit.batch.runs import read_runs
from xltkit.files import root, write
from xltkit.studies.saved import ResultError, Saved, read

TEMPLATES = PackageLoader("xltkit.batch", ".")
GROUPS = ["run", "suite", "arm", "task", "metric", "languages", "language"]  # of scores: a row each
SCORES = ["run", "arm", "task", "metric", "languages", "language", "family"]
SCORES += ["mean", "low", "high", "chance", "seeds", "n", "suite"]
NEEDED = {"arm", "task", "metric", "language", "seed", "value", "n", "is_source", "main", "family"}
COMPARISONS = ["run", "table", "arm", "baseline", "where", "difference", "low", "high", "p_holm"]
COMPARISONS += ["smallest_effect", "n_seeds", "n_examples", "suite"]


def _formula(tex: str, display: str, as_written: str) -> str:
    """A formula as MathML, which browsers render without scripts."""
    # Between two prices ("$5 million and $10") the second dollar follows a space.
    if display == "block" or tex == tex.strip():
        with suppress(Exception):  # latex2mathml's errors have no other base
            return convert(tex, display=display)
    return escape(as_written)


IPythonRenderer.inline_math = lambda _, tex: _formula(tex, "inline", f"${tex}$")
IPythonRenderer.block_math = lambda _, tex: _formula(tex, "block", f"$${tex}$$")


@contextmanager
def _optional(page: Path) -> Iterator[None]:
    """Keep what was computed, and print the reason, if a page that shows it cannot be written."""
    try:
        yield
    except Exception as error:  # of nbconvert, its templates, the disk
        page.unlink(missing_ok=True)  # it would be out of date
        reason = f"{type(error).__name__}: {error}"
        remedy = "when that is fixed, type: python -m xltkit report"
        print(f"{page} could not be written ({reason}); {remedy}\n", end="", flush=True)


def build() -> list[Path]:
    """Rewrite all pages and indexes of ``outputs`` and ``outputs/smoke``; return the indexes."""
    outputs = root() / "outputs"
    bases = [base for base in (outputs, outputs / "smoke") if base.is_dir()]
    for base in bases:
        write_pages(base)
    return [write_index(base) for base in bases]


def write_pages(base: Path) -> None:
    """Rewrite the pages of a folder of runs; each links to its neighbors in the course."""
    for notebook in base.glob("[!.]*.ipynb"):
        if ".partial" not in notebook.suffixes:
            write_page(notebook)


def write_page(notebook: Path) -> None:
    """Write an executed notebook as one self-contained HTML file."""
    template = {"template_name": "lab", "template_file": "page.html.j2"}
    page = notebook.with_suffix(".html")
    resources = {"metadata": {"name": page.stem, "path": str(notebook.parent)}}
    resources["neighbors"] = _neighbors(notebook)
    with _optional(page):
        exporter = HTMLExporter(extra_loaders=[TEMPLATES], embed_images=True, **template)
        # Code colors that do not need JupyterLab's style sheet
        exporter.config.CSSHTMLHeaderPreprocessor.style = "default"
        html, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4), resources)
        headings = re.findall(r'<(h[23]) id="(.*?)">(.*?)<a class="anchor-link"', html)
        contents = [
            f'<li class="{h}"><a href="#{id}">{title}</a></li>' for h, id, title in headings
        ]
        html = html.replace("<!-- contents -->", "\n".join(contents), 1)
        html = html.replace("<td>NaN</td>", "<td>–</td>")
        # Notebooks link to each other; a page links to the page of a run, or to the index without.
        for name in set(re.findall(r'href="(\d\d_\w+)\.ipynb"', html)):
            other = name if notebook.with_name(f"{name}.ipynb").exists() else "index"
            html = html.replace(f'href="{name}.ipynb"', f'href="{other}.html"')
        write(page, html)


def _neighbors(notebook: Path) -> list[tuple[str, str, str]]:
    """The runs before and after this one in the course: direction, name and question."""
    entries = read_runs()
    run = notebook.stem
    if run not in entries:
        return []
    # A real run is between those with the same encoder on the same suite.
    ending = run.removeprefix(entries[run].notebook)
    names = [name for name, entry in entries.items() if name == entry.notebook + ending]
    done = [name for name in names if name == run or notebook.with_stem(name).exists()]
    here = done.index(run)
    neighbors = {"Before": done[:here][-1:], "Next": done[here + 1 :][:1]}
    return [(way, n, entries[n].question) for way, names in neighbors.items() for n in names]


def write_index(base: Path) -> Path:
    """Write ``index.html`` for the runs in a folder: ``outputs`` or ``outputs/smoke``."""
    page = base / "index.html"
    with _optional(page):
        rows = []
        for name, entry in read_runs().items():
            # Of the many real runs, which a laptop cannot do, only those that were done.
            names = [name] if not entry.real or (base / name).is_dir() else []
            # A run with parameters set by hand has a hash after its name.
            names += sorted(path.name for path in base.glob(f"{name}-{'[0-9a-f]' * 6}"))
            own = f"{entry.question} (With parameters set by hand.)"
            rows += [_row(base, each, entry.question if each == name else own) for each in names]
        runs = [row["saved"] for row in rows if row["saved"]]
        index = Environment(loader=TEMPLATES, autoescape=True).get_template("index.html.j2")
        html = index.render(
            rows=rows,
            is_smoke=base.name == "smoke",
            scripts=generate_init_offline_itables_html(find_package_file("html/dt_bundle.js")),
            scores=_table(scores(runs), "scores"),
            comparisons=_table(comparisons(runs), "comparisons"),
        )
        write(page, html)
    return page


def _row(base: Path, name: str, question: str) -> dict[str, Any]:
    """The entry of a run in the index; ``saved`` are its results if it is done."""
    row = {"name": name, "question": question, "status": "failed", "link": "", "saved": None}
    failed = base / f"{name}.failed.ipynb"
    if failed.exists():
        reason = nbformat.read(failed, as_version=4).metadata["xltkit"]["failed"]
        return row | {"link": f"{name}.failed.html", "note": reason}
    try:
        saved = read(base / name)
        row |= {"status": "done", "saved": saved, "minutes": _minutes(saved)}
        return row | {"link": f"{name}.html" if (base / f"{name}.html").exists() else ""}
    except ResultError as error:
        status = "failed" if (base / name / "result.json").exists() else "not run"
        return row | {"status": status, "note": str(error)}


def _minutes(saved: Saved) -> float:
    """CPU minutes of the target phases of a run and their evaluation; 0 if it has no scores."""
    for table in saved.tables.values():
        if {"stage", "cpu_s"} <= {*table.columns}:
            return table.drop_duplicates("stage")["cpu_s"].sum() / 60
    return 0.0


def scores(runs: Iterable[Saved]) -> pd.DataFrame:
    """The scores of all runs: one row per run, arm, task, language and metric, in points.

    ``mean`` over seeds has the t interval ``low`` to ``high``. In rows where ``languages`` is
    ``transfer mean``, it is over all languages but the source, in the task's own metric.
    """
    from xltkit.analysis import t_interval  # imports torch

    tables = []
    for run in runs:
        every = [table.assign(run=run.name, suite=run.suite) for table in run.tables.values()]
        tables += [table for table in every if NEEDED <= {*table.columns}]
    if not tables:
        return pd.DataFrame(columns=SCORES)
    keys = ["run", "arm", "seed", "task", "metric", "language"]
    table = pd.concat(tables, ignore_index=True).drop_duplicates(keys)
    table["languages"] = table["is_source"].map({True: "source", False: "transfer"})
    transfer = table[~table["is_source"] & table["main"]]
    groups = transfer.groupby(["run", "suite", "arm", "task", "metric", "seed"], sort=False)
    means = groups.agg(value=("value", "mean"), n=("n", "sum"), chance=("chance", "mean"))
    means = means.reset_index().assign(language="", family="", languages="transfer mean")
    groups = pd.concat([means, table]).groupby(GROUPS, sort=False)
    joint = groups.agg(
        family=("family", "first"),
        mean=("value", "mean"),
        chance=("chance", "first"),
        seeds=("seed", "nunique"),
        n=("n", "first"),
    )
    joint["low"], joint["high"] = zip(*groups["value"].apply(t_interval), strict=True)
    return joint.reset_index()[SCORES]


def comparisons(runs: Iterable[Saved]) -> pd.DataFrame:
    """All differences with intervals in tables of runs; ``where`` is what they are split by."""
    tables = []
    for run in runs:
        for name, table in run.tables.items():
            table = table.reset_index([level for level in table.index.names if level])
            if {"difference", "low", "high"} <= {*table.columns}:
                texts = table.select_dtypes(exclude="number")
                split = texts.drop(columns=["arm", "baseline", "method"], errors="ignore")
                where = split.apply(lambda row: ", ".join(row.dropna().astype(str)), axis=1)
                table = table.assign(run=run.name, suite=run.suite, table=name, where=where)
                tables.append(table.reindex(columns=COMPARISONS))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COMPARISONS)


def _table(table: pd.DataFrame, name: str) -> str:
    """A table that a reader can sort, search, filter by column and download as CSV."""
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
        pageLength=25,
        layout={"topStart": ["pageLength", {"buttons": ["csvHtml5"]}]},
        columnControl=["order", ["searchList"]],
        ordering={"indicators": False, "handler": True},
    )
