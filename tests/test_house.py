"""What stands in two files agrees: citations, versions of tools, what hooks and Makefile do."""

import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml
from IPython.core.interactiveshell import InteractiveShell

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")


def test_the_citation_file_has_the_papers_that_are_cited_and_no_other():
    cited = set()
    for path in (ROOT / "xltkit").rglob("*.py"):
        cited |= set(ARXIV.findall(path.read_text()))
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        (references,) = (c.source for c in cells if c.source.startswith("## References"))
        cited |= set(ARXIV.findall(references))
    file = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert len(cited) > 20
    assert {n for r in file["references"] for n in ARXIV.findall(r.get("url", ""))} == cited


def test_the_citation_file_has_what_its_format_asks_for():
    file = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= file.keys()
    assert file["cff-version"] == "1.2.0"
    kit = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (file["version"], file["license"]) == (kit["version"], kit["license"])
    for paper in file["references"]:
        assert {"type", "title", "year", "authors"} <= paper.keys(), paper["title"]
        assert all({"given-names", "family-names"} == author.keys() for author in paper["authors"])


def test_the_hooks_do_what_make_does_in_the_versions_that_are_installed():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["id"]: hook for repository in config["repos"] for hook in repository["hooks"]}
    assert set(hooks) == {"nbstripout", "ruff-check", "ruff-format"}
    pins = re.findall(r"^[\w-]+==[\w.]+", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    for hook in hooks.values():
        assert set(hook["additional_dependencies"]) <= set(pins)
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    (strip,) = re.findall(r"^STRIP := \$\(BIN\)/nbstripout (.*)$", makefile, re.MULTILINE)
    assert hooks["nbstripout"]["args"] == shlex.split(strip)


COLAB = """\
import sys
from importlib.util import find_spec

if "google.colab" in sys.modules and not find_spec("xltkit"):  # the kit is not on Colab
    get_ipython().run_line_magic("pip", "install -q git+" + input("Address of its repository: "))

"""


# Taken out when the lesson has the lines, too: it is being rewritten.
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_notebook_installs_the_kit_on_colab_and_nothing_anywhere_else(path):
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert cells[1].startswith(COLAB)
    cells[1] = cells[1].removeprefix(COLAB)
    assert not [cell for cell in cells if re.search(r"\bpip\b|^\s*[!%]", cell, re.MULTILINE)]


@pytest.mark.parametrize(
    ("colab", "kit", "installs"),
    [(False, "xltkit", 0), (True, "xltkit", 0), (False, "not_there", 0), (True, "not_there", 1)],
)
def test_the_kit_is_installed_on_colab_alone(monkeypatch, colab, kit, installs):
    shell, typed = InteractiveShell(), []
    shell.register_magic_function(typed.append, "line", "pip")
    monkeypatch.setattr("builtins.input", lambda asked: "https://host/org/kit")
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    shell.run_cell(COLAB.replace('find_spec("xltkit")', f'find_spec("{kit}")')).raise_error()
    assert typed == ["install -q git+https://host/org/kit"] * installs
