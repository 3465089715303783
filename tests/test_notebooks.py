"""The form of every notebook: arc, guard, parameters, style; and that each of them runs."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from xltkit.batch.execute import run_batch
from xltkit.batch.parameters import PARAMETERS
from xltkit.batch.runs import plan, read_runs

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GUARD = "run = xlt.start(globals())"
ARC = ["Question", "Hypothesis", "Method", "Run", "Result", "Statistics", "Check the checker"]
ARC += ["Limits and surprises", "Exercises", "References"]
ABSOLUTE = re.compile(r"^(/\w|~|[A-Za-z]:[\\/])")


def problems(notebook) -> list[str]:
    """Everything about the form of a notebook that breaks a rule."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^(#{1,2}) +(.+?) *$", text, re.MULTILINE)
    sections = [words for level, words in headings if level == "##" and words in ARC]
    links = re.findall(r"\]\((\w+\.ipynb)\)", text)
    tags = code[0].metadata.get("tags")
    title = " ".join(headings[0])
    rules = {
        f"{title!r} must be a title that asks a question": re.fullmatch(r"# .*\?", title),
        f"the sections are {sections}; they must be {ARC}, in this order": sections == ARC,
        f"the first code cell has the tags {tags}, not parameters": tags == ["parameters"],
        f"the second code cell must end with {GUARD}": code[1].source.endswith(GUARD),
        f"not all of {links} exist": all((ROOT / "notebooks" / link).exists() for link in links),
    }
    for line in code[0].source.splitlines():
        name, _, kind = line.partition(" = ")[0].partition(": ")
        is_right = name in PARAMETERS and PARAMETERS[name]["type"] == kind and "  # " in line
        rules[f"{line!r} is no parameter of the kit with its type and a comment"] = is_right
    broken = [rule for rule, is_kept in rules.items() if not is_kept]
    return broken + [problem for cell in code for problem in style(cell.source)]


def style(source: str) -> list[str]:
    """What belongs into the package, paths of one machine, and imports that are too deep."""
    broken = []
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
        is_long = isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno > 4
        if isinstance(node, ast.ClassDef) or is_long:
            broken.append(f"{node.name} belongs into the package")
        elif isinstance(node, ast.Constant) and ABSOLUTE.match(str(node.value)):
            broken.append(f"absolute path {node.value!r}")
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("xltkit."):
            if not (ROOT / "xltkit" / node.module.removeprefix("xltkit.")).is_dir():
                broken.append(f"imports from {node.module}, which is deeper than a room")
    return broken


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_form(path):
    assert problems(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("smoke", [False, True])
def test_the_runs_are_all_possible(tmp_path, smoke, monkeypatch):
    # Encoders and tables that this machine need not have.
    monkeypatch.setattr("xltkit.models.checkpoints.configuration", str)
    monkeypatch.setattr("xltkit.data.lexicons.fingerprint", str)
    planned = plan(list(read_runs()), outputs=tmp_path, smoke=smoke)
    assert {run.notebook for run in planned} == set(NOTEBOOKS)


@pytest.mark.slow
def test_every_notebook_runs_and_its_result_can_be_read_back(tmp_path):
    """In smoke mode, on the path that every run takes; the numbers are read from the files."""
    assert run_batch(smoke=True, jobs=2, outputs=tmp_path) == 0
    for run in plan(smoke=True, outputs=tmp_path):
        assert not run.todo
        result = json.loads((run.folder / "result.json").read_text())
        assert result["smoke"] and "microworld" in result["answer"]
        for table in result["tables"].values():
            assert len(pd.read_parquet(run.folder / table["file"])) == table["rows"] > 0
        if "seeds" in run.parameters:  # or it trains nothing
            scores = pd.read_parquet(run.folder / result["tables"]["scores"]["file"])
            assert scores["value"].between(0, 100).all() and set(scores["seed"]) == {0, 1}
            assert set(result["stages"]) >= set(scores["stage"])
        page = run.file(".html").read_text()
        figures = re.findall(r"<img[^>]*>", page)
        assert len(figures) >= 3 and all('alt="' in figure for figure in figures)
        assert "fills it in" not in page  # its answer stands at the top
        assert "<mfrac>" in page and "$$" not in page and "xltformula" not in page
        assert not re.findall(r'(?:src|href)="https?://', page)
