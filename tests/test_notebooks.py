"""The form of every notebook: arc, guard, parameters, cleanness; and that each of them runs."""

import ast
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from papermill import inspect_notebook

from xltkit.batch.execute import GIB, run_batch
from xltkit.batch.parameters import PARAMETERS
from xltkit.batch.runs import plan, read_runs

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
GUARD = "run = xlt.start(globals())"
ARC = [
    "Question",
    "Hypothesis",
    "Method",
    "Run",
    "Result",
    "Statistics",
    "Check the checker",
    "Limits and surprises",
    "Exercises",
    "References",
]
LONGEST_FUNCTION = 5
ABSOLUTE = re.compile(r"^(/\w|~|[A-Za-z]:[\\/])")
PERSONAL = re.compile(r"(/home/|/Users/|/root/|[A-Za-z]:\\)")


def problems(path: Path) -> list[str]:
    """Everything about the form of this notebook that breaks a rule."""
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    found = unclean(notebook, code) + arc(text) + parameters(path, code)
    for cell in code:
        found += style(cell.source)
    return found + [f"personal folder in text: {t[:60]!r}" for t in text if PERSONAL.search(t)]


def unclean(notebook, code) -> list[str]:
    found = []
    if any(cell.outputs or cell.execution_count is not None for cell in code):
        found.append("has outputs or execution counts; type: make strip")
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        found.append("the kernel must be named python3")
    if {"widgets", "papermill"} & notebook.metadata.keys():
        found.append("carries widget or papermill metadata; type: make strip")
    return found


def arc(text: list[str]) -> list[str]:
    headings = re.findall(r"^(#{1,2}) +(.+?) *$", "\n\n".join(text), re.MULTILINE)
    found = []
    if not headings or headings[0][0] != "#" or not headings[0][1].endswith("?"):
        found.append("the first heading must be a title that asks a question")
    sections = [words for level, words in headings if level == "##" and words in ARC]
    if sections != ARC:
        found.append(f"the sections are {sections}; they must be {ARC}, in this order")
    return found


def parameters(path: Path, code) -> list[str]:
    tagged = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1 or tagged[0] is not code[0]:
        return ["the first code cell, and no other, must have the tag parameters"]
    found = []
    if len(code) < 2 or code[1].source.strip().splitlines()[-1].split("#")[0].strip() != GUARD:
        found.append(f"the second code cell must end with {GUARD}")
    tree = ast.parse(tagged[0].source)
    assigned = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    names = [ast.unparse(getattr(n, "target", None) or n.targets[0]) for n in assigned]
    if len(assigned) != len(tree.body):
        found.append("the parameters cell must hold parameters only")
    seen = inspect_notebook(str(path))
    for name in sorted(set(names) - seen.keys()):
        found.append(f"papermill does not see {name}: one line, one equals sign, no union")
    for name, about in seen.items():
        wanted = PARAMETERS[name].type if name in PARAMETERS else "no parameter of the kit"
        if about["inferred_type_name"] != wanted:
            found.append(f"{name}: {about['inferred_type_name']} is {wanted}")
        if not about["help"]:
            found.append(f"{name} has no comment that says what it is")
    return found


def style(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
        if isinstance(node, ast.ClassDef):
            found.append(f"class {node.name} belongs into the package")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                found.append(f"def {node.name} is too long for a notebook: to the package")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if ABSOLUTE.match(node.value):
                found.append(f"absolute path {node.value!r}")
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_has_the_form(path):
    assert problems(path) == []


@pytest.mark.skipif(not (ROOT / "notebooks" / "runs.toml").exists(), reason="no runs yet")
@pytest.mark.parametrize("smoke", [False, True])
def test_the_runs_are_all_possible(tmp_path, smoke):
    planned = plan(list(read_runs(ROOT)), root=ROOT, outputs=tmp_path, smoke=smoke)
    assert {run.notebook for run in planned} == set(NOTEBOOKS)


def good_cells() -> list:
    new = nbformat.v4
    declare = "seeds: list[int] = [0, 1]  # one run a seed\nsmoke: bool = False  # tiny run"
    sections = "\n\n".join(f"## {words}\n\nWords." for words in ARC)
    return [
        new.new_markdown_cell("# Does it hold?"),
        new.new_code_cell(declare, metadata={"tags": ["parameters"]}),
        new.new_code_cell(f"import xltkit as xlt\n\n{GUARD}  # wrong names stop here"),
        new.new_markdown_cell(sections),
        new.new_code_cell("run.seeds"),
    ]


def save(path: Path, cells: list) -> Path:
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def test_the_checks_let_a_good_notebook_pass(tmp_path):
    assert problems(save(tmp_path / "good.ipynb", good_cells())) == []


@pytest.mark.parametrize(
    ("cell", "source", "says"),
    [
        (0, "# A statement", "asks a question"),
        (1, "seeds: list[int] | None = None  # seeds", "papermill does not see seeds"),
        (1, "seeds: list[str] = ['a']  # seeds", "seeds: list[str] is list[int]"),
        (1, "sedes: list[int] = [0]  # seeds", "no parameter of the kit"),
        (1, "seeds: list[int] = [0]", "no comment"),
        (2, "import xltkit as xlt", "must end with"),
        (3, "## Method\n\n## Question", "in this order"),
        (3, "see /home/someone/data", "personal folder"),
        (4, "class A:\n    pass", "belongs into the package"),
        (4, "def f():\n    a\n    b\n    c\n    d\n    e", "too long"),
        (4, "%matplotlib inline\nopen('/data/x')", "absolute path"),
    ],
)
def test_the_checks_catch(tmp_path, cell, source, says):
    cells = good_cells()
    cells[cell].source = source
    assert says in "\n".join(problems(save(tmp_path / "bad.ipynb", cells)))


def test_the_checks_catch_outputs(tmp_path):
    cells = good_cells()
    cells[4].execution_count = 1
    assert "make strip" in "\n".join(problems(save(tmp_path / "bad.ipynb", cells)))


@pytest.mark.notebooks
def test_every_notebook_runs_and_its_result_can_be_read_back(tmp_path):
    """In smoke mode, on the path that every run takes; the numbers are read from the files.

    Each in 2 GB of memory: machines that are lent for nothing have no more.
    """
    assert run_batch(smoke=True, jobs=2, memory=2e9 / GIB, outputs=tmp_path) == 0
    for run in plan(smoke=True, outputs=tmp_path):
        assert not run.todo
        result = json.loads((run.folder / "result.json").read_text())
        assert result["smoke"] and result["answer"].startswith("On microworld")
        for about in result["tables"].values():
            assert len(pd.read_parquet(run.folder / about["file"])) == about["rows"] > 0
        if "seeds" in run.values:  # or it trains nothing
            scores = pd.read_parquet(run.folder / result["tables"]["scores"]["file"])
            assert scores["value"].between(0, 100).all() and set(scores["seed"]) == {0, 1}
        page = run.file(".html").read_text()
        figures = re.findall(r"<img[^>]*>", page)
        assert len(figures) >= 3 and all('alt="' in figure for figure in figures)
        assert "<mfrac><mrow>" in page and "$$" not in page and "xltformula" not in page
        assert not re.findall(r'(?:src|href)="https?://', page)
        notebook = nbformat.read(run.file(".ipynb"), as_version=4)
        assert run.file(".ipynb").stat().st_size < 500 * 1024
        assert "widgets" not in notebook.metadata
