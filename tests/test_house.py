"""The house: imports run downwards, rooms are small, and what two files say agrees."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xltkit"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")
FLOORS = [
    {"files", "keys", "progress"},
    {"data"},
    {"tasks"},
    {"models"},
    {"training"},
    {"evaluation"},
    {"studies"},
    {"analysis", "batch"},
    {"explore"},
    {"cli", "__main__", "__init__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> set[str]:
    """The modules of the kit that a file imports, inside of functions and for types, too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "xltkit":
            modules |= {f"xltkit.{name.name}" for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    return {module for module in modules if module.startswith("xltkit.")}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_imports_run_downwards():
    upwards = []
    below: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        for module in imports(path):
            other = module.split(".")[1]
            if FLOOR[other] > FLOOR[room(path)]:
                upwards.append(f"{path.relative_to(ROOT)} imports {module}")
            if other != room(path):
                below.setdefault(room(path), set()).add(other)
    assert upwards == []
    circles = [(a, b) for a, others in below.items() for b in others if a in below.get(b, ())]
    assert circles == []


def test_no_room_has_more_than_twelve_files():
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert {f.name: n for f in folders if (n := len(list(f.glob("*.py")))) > 12} == {}


def test_the_formatter_is_never_switched_off():
    marked = [path.name for path in PACKAGE.rglob("*.py") if "fmt: " + "skip" in path.read_text()]
    assert marked == []


def test_the_citation_file_has_the_papers_that_are_cited_and_no_other():
    cited = set()
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        (references,) = (c.source for c in cells if c.source.startswith("## References"))
        cited |= set(ARXIV.findall(references))
    file = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= file.keys()
    listed = {number for r in file["references"] for number in ARXIV.findall(r.get("url", ""))}
    assert len(cited) > 20 and cited <= listed
    kit = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (file["version"], file["license"]) == (kit["version"], kit["license"])


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt"])
def test_what_the_package_imports_is_installed_with_it(name):
    declared = (ROOT / name).read_text()
    used = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                used |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                used.add(node.module.partition(".")[0])
    used -= {"xltkit", *sys.stdlib_module_names}
    aliases = {"IPython": "ipykernel", "PIL": "transformers", "huggingface_hub": "transformers"}
    aliases |= {
        "dask": "distributed",
        "cloudpickle": "distributed",
        "sklearn": "scikit-learn",
        "nbclient": "papermill",
    }
    assert [name for name in used if aliases.get(name, name) not in declared] == []
