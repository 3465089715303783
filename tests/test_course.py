"""The notebooks are one course: an order, links that lead on, and a README that says the same."""

import re
from pathlib import Path

import nbformat
import pytest

from xltkit.batch.runs import read_runs

ROOT = Path(__file__).resolve().parents[1]
ORDER = [name for name, block in read_runs(ROOT).items() if name == block["notebook"]]
LINK = re.compile(r"\]\((\w+)\.ipynb\)")


def text(name: str) -> list[str]:
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return [cell.source for cell in cells if cell.cell_type == "markdown"]


def row(name: str, label: str) -> list[str]:
    """The notebooks that a row of the box at the top links to."""
    (found,) = re.findall(rf"^\| \*\*{label}\*\* \|(.*)$", text(name)[0], re.MULTILINE) or [""]
    return LINK.findall(found)


def test_the_course_has_every_notebook_once():
    assert sorted(ORDER) == sorted(p.stem for p in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("at", range(len(ORDER)), ids=ORDER)
def test_a_notebook_leads_to_the_next_and_builds_on_those_before(at):
    assert row(ORDER[at], "Next") == ORDER[at + 1 : at + 2]
    assert set(row(ORDER[at], "Before")) <= set(ORDER[:at])
    assert at == 0 or row(ORDER[at], "Before")
    assert set(LINK.findall("\n".join(text(ORDER[at])))) <= set(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_exercises_have_folded_answers(name):
    (cell,) = (source for source in text(name) if source.startswith("## Exercises"))
    asked = len(re.findall(r"^\d+\. \*\*", cell, re.MULTILINE))
    folded = re.search(r"<details><summary>Answers</summary>(.*)</details>", cell, re.DOTALL)
    assert asked >= 3 and folded[1].count("<li>") == asked
