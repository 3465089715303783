"""What stands in two files agrees: citations, versions of tools, what hooks and Makefile do."""

import re
import shlex
import tomllib
from pathlib import Path

import nbformat
import yaml

from xltkit.card_parts import PAPERS

ROOT = Path(__file__).resolve().parents[1]
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")


def test_the_citation_file_has_the_papers_that_are_cited_and_no_other():
    cited = {number for words in PAPERS.values() for number in ARXIV.findall(words)}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
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
