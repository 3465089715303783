"""Executed notebooks as pages that open anywhere: no network, images described, code foldable."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat

from xltkit.files import write

# Widgets live only in a kernel; the result is for programs. Neither can be drawn on a page.
UNDRAWN = {"application/vnd.jupyter.widget-view+json", "application/vnd.xlt.result+json"}
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)


def write_page(notebook: Path, page: Path) -> None:
    """Write an executed notebook as one HTML file that needs nothing else."""
    from jinja2 import PackageLoader
    from nbconvert import HTMLExporter

    node = nbformat.read(notebook, as_version=4)
    node.metadata.pop("widgets", None)
    formulas: list[str] = []
    for cell in node.cells:
        if cell.cell_type == "markdown":
            # Formulas are taken out of the text before it is converted, which would break their
            # tags, and put in afterwards.
            cell["source"] = FORMULA.sub(lambda tex: _mark(tex, formulas), cell["source"])
        outputs = cell.get("outputs", [])
        cell["outputs"] = [o for o in outputs if UNDRAWN.isdisjoint(o.get("data", {}))]
    exporter = HTMLExporter(
        template_name="lab",
        template_file="page.html.j2",
        extra_loaders=[PackageLoader("xltkit.batch", ".")],
        embed_images=True,
    )
    resources = {"metadata": {"name": page.stem, "path": str(notebook.parent)}}
    html, _ = exporter.from_notebook_node(node, resources)
    html = re.sub(r"xltformula(\d+)x", lambda mark: formulas[int(mark[1])], html)
    # Notebooks refer to each other; on a page, to the pages that lie beside it.
    write(page, re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', html))


def _mark(tex: re.Match, formulas: list[str]) -> str:
    """Keep a TeX formula as MathML, which browsers draw without a script; what stands for it."""
    from latex2mathml.converter import convert

    display = "block" if tex[1] else "inline"
    formulas.append(convert((tex[1] or tex[2]).strip(), display=display))
    return f"xltformula{len(formulas) - 1}x"


def mark_failed(notebook: Path, problem: str) -> None:
    """Write into a notebook why its run failed: a kernel that died leaves no word in it."""
    node = json.loads(notebook.read_text(encoding="utf-8"))
    node["metadata"]["xltkit"] = {"failed": problem}
    write(notebook, json.dumps(node, ensure_ascii=False))


def failure(notebook: Path) -> str:
    """Why a run failed, as its notebook says; empty if it does not."""
    try:
        metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
        return str(metadata["xltkit"]["failed"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
