"""The house: imports run downwards, rooms are small, and what two files say agrees."""

import ast
import re
import sys
import tomllib
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "xltkit"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")
FLOORS = "files keys progress | data | tasks | models | training | evaluation | studies"
FLOORS += " | analysis batch | explore | cli __main__ __init__"
FLOOR = {room: i for i, rooms in enumerate(FLOORS.split("|")) for room in rooms.split()}


def imports(path: Path) -> set[str]:
    """All modules that a file imports, inside of functions and for types, too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module != "xltkit":
            modules.add(node.module)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            parent = "xltkit." if isinstance(node, ast.ImportFrom) else ""
            modules |= {parent + name.name for name in node.names}
    return modules


IMPORTS = {path: imports(path) for path in PACKAGE.rglob("*.py")}


def test_imports_run_downwards():
    pairs = set()
    for path, modules in IMPORTS.items():
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        pairs |= {(room, module.split(".")[1]) for module in modules if "xltkit." in module}
    assert [pair for pair in pairs if FLOOR[pair[1]] > FLOOR[pair[0]]] == []
    assert [(a, b) for a, b in pairs if a != b and (b, a) in pairs] == []  # circles


def test_no_room_has_more_than_twelve_files_and_all_are_formatted():
    sizes = Counter(path.parent for path in IMPORTS)
    assert [room for room, size in sizes.items() if size > 12] == []
    assert [path for path in IMPORTS if "fmt: " + "skip" in path.read_text()] == []


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


def test_text_files_have_one_reader_and_one_writer_whatever_the_locale_is():
    pattern = re.compile(r"\.(read|write)_text\(")
    assert {path.name for path in IMPORTS if pattern.search(path.read_text())} == {"files.py"}


def test_hooks_have_the_versions_of_make_test():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    tools = {tool for hook in hooks for tool in hook["additional_dependencies"]}
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert tools <= {line.partition("#")[0].strip() for line in lines}


@pytest.mark.parametrize("name", ["pyproject.toml", "requirements.txt"])
def test_what_the_package_imports_is_installed_with_it(name):
    declared = (ROOT / name).read_text()
    used = {module.partition(".")[0] for modules in IMPORTS.values() for module in modules}
    used -= {"xltkit", *sys.stdlib_module_names}
    aliases = {"IPython": "ipykernel", "sklearn": "scikit-learn", "nbclient": "papermill"}
    aliases["jupyter_client"] = "ipykernel"
    aliases |= dict.fromkeys(["PIL", "huggingface_hub"], "transformers")
    aliases |= dict.fromkeys(["dask", "cloudpickle"], "distributed")
    assert [name for name in used if aliases.get(name, name) not in declared] == []
