"""Every command and every Python block of the pages works as it is written."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from readme_blocks import blocks

from xltkit import cli
from xltkit.batch.parameters import parse
from xltkit.batch.runs import plan

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
KIT = re.compile(r"(?:(?:\.venv/bin/)?python -m xltkit|(?:\.venv/bin/)?xltkit) (.+)")


def commands() -> list[str]:
    """The commands of the kit, and those of make, in the blocks and in the text of all pages."""
    lines = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for block in re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            lines += block.splitlines()
        lines += [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
    bare = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in lines]
    return list(dict.fromkeys(c for c in bare if KIT.fullmatch(c) or re.match(r"make \w", c)))


def check(command: str) -> None:
    """Parse a command as typed; runs and parameters are those of the repository."""
    given = cli.parser().parse_args(shlex.split(command))
    if given.func is cli.run:
        names = [name for name in given.names if not name.isupper()]  # NAME stands for any
        assert plan(names, smoke=given.smoke, overrides=parse(given.parameters))


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_works(command, monkeypatch):
    # Encoders and tables that this machine need not have.
    monkeypatch.setattr("xltkit.models.checkpoints.configuration", str)
    monkeypatch.setattr("xltkit.data.lexicons.fingerprint", str)
    if kit := KIT.fullmatch(command):
        return check(kit[1])
    # The variables of a make that runs these tests are none of the command's.
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "ARGS"))}
    make = ["make", "-n", *shlex.split(command)[1:]]
    output = subprocess.check_output(make, cwd=ROOT, env=variables, text=True)
    for typed in re.findall(r"-m xltkit (.+)", output):
        check(typed)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_links_lead_somewhere(page):
    text = page.read_text()
    linked = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", text)
    spans = re.findall(r"`((?:notebooks|xltkit|tests|benchmarks|docs)/[\w./-]+)`", text)
    assert [path for path in linked if not (page.parent / path).exists()] == []
    assert [path for path in spans if not (ROOT / path).exists()] == []


def test_every_notebook_is_in_the_table_of_the_readme():
    text = (ROOT / "README.md").read_text()
    names = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert [name for name in names if f"(notebooks/{name})" not in text] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p.read_text())], ids=lambda p: p.name)
def test_the_python_blocks_run(tmp_path, page):
    needed = re.findall(r"^(?:import|from) (\w+)", "".join(blocks(page.read_text())), re.MULTILINE)
    if missing := [name for name in needed if not importlib.util.find_spec(name)]:
        pytest.skip(f"{missing} cannot be installed everywhere")
    real = [str(i) for i, block in enumerate(blocks(page.read_text())) if "xtreme-r" in block]
    variables = os.environ | {"XLTKIT_STORE": str(tmp_path / "store")}
    # Without the blocks that need scores of real tasks.
    command = [sys.executable, str(ROOT / "tests" / "readme_blocks.py"), str(page), *real]
    subprocess.run(command, cwd=tmp_path, env=variables, check=True)
