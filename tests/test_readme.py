"""Every command and every Python block of README.md and CONTRIBUTING.md works as it is written.

Commands are read by the parsers that would read them: those of the kit, make's own. What is not
carried out stands in ``PARSED_ONLY``, with the reason; a command that no rule knows is an error.
"""

import argparse
import ast
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from readme_blocks import blocks

from xltkit.batch.runs import plan
from xltkit.cli import BUILT, _overrides, _parser, main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md") if (ROOT / name).exists()]
KIT = ("python -m xltkit", ".venv/bin/python -m xltkit", ".venv/bin/xltkit", "xltkit")
# Commands of other programs, and of ours that take hours, with the reason; a program that comes
# with the kit must be there.
PARSED_ONLY = {
    r"(\.venv/bin/)?jupyter(-| )lab\b.*": "a server that does not end",
    r"accelerate launch .*": "needs several devices; two processes are tested in test_together",
    r"torchrun .*": "as accelerate launch",
    r"dask (scheduler|worker)\b.*": "servers that do not end; tested in test_cluster",
    r"(\.venv/bin/)?(python -m )?pip install .*": "needs a network",
    r"conda (env create|activate) .*": "conda is not part of the environment",
    r"git (clone|checkout|add|commit|switch) .*": "changes a repository",
    r"(\.venv/bin/)?pre-commit (install|run)\b.*": "of whoever wants it; see test_house",
    r"tensorboard --logdir .*": "of whoever wants it",
    r"hf (upload|download) .*": "needs a network and an account",
    r"nvidia-smi\b.*": "needs a GPU",
    r"cd .*": "where to type the rest",
}
BLOCKS_PARSED_ONLY = {
    "dask_jobqueue": "needs a cluster with SLURM",
    'averages(results.scores, "xtreme-r")': "needs scores of real tasks; test_averages has them",
}
PROGRAMS = ("make", "python", "xltkit", "jupyter", "accelerate", "torchrun", "dask", "pip", "conda",
            "git", "pre-commit", "tensorboard", "hf", "nvidia-smi")  # fmt: skip


def commands(text: str) -> list[str]:
    """Everything that one types into a shell: lines of blocks, and spans that start like one."""
    fenced = re.findall(r"^```(?:bash|sh|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = "".join(fenced).replace("\\\n", " ").splitlines()
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]
    lines += [s for s in spans if " " in s and Path(s.split()[0]).name in PROGRAMS]
    bare = [re.sub(r"(^|\s)#.*$", "", line).strip().removeprefix("$ ") for line in lines]
    return list(dict.fromkeys(filter(None, bare)))


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


FOUND = [pytest.param(c, id=c[:60]) for page in PAGES for c in commands(page.read_text())]


def check_kit(words: list[str]) -> None:
    """Parsed as typed; the names of runs and the parameters are those of the repository."""
    if words and words[0] in BUILT:
        with pytest.raises(SystemExit, match="0"):  # their own parsers
            importlib.import_module(f"xltkit.{BUILT[words[0]][0]}").main([*words[1:], "--help"])
        return
    given = _parser().parse_args(words)
    if given.command in ("run", "plan"):
        names = [name for name in given.names if not name.isupper()]  # NAME stands for any
        assert plan(names, root=ROOT, smoke=given.smoke, overrides=_overrides(given))
    if given.command == "tasks":
        assert main(words) == 0


def check_make(command: str) -> None:
    """What make would do; what it would start of the kit is parsed in turn."""
    done = subprocess.run(
        [shutil.which("make"), "-n", *shlex.split(command)[1:]],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if (typed := line.partition("-m xltkit ")[2]).strip():
            check_kit(shlex.split(typed))


@pytest.mark.parametrize("command", FOUND)
def test_every_command_is_one_that_works(command, capsys):
    command = re.sub(r"^(\w+=\S+ +)+", "", command)  # variables of the environment
    start = next((k for k in KIT if command == k or command.startswith(f"{k} ")), None)
    if start:
        check_kit(shlex.split(command.removeprefix(start)))
    elif re.match(r"make\b", command):
        check_make(command)
    elif script := re.fullmatch(r"(?:\S*/)?python (\S+\.py)( .*)?", command):
        assert (ROOT / script[1]).is_file(), f"there is no {script[1]}"
    else:
        check_others(command)


def check_others(command: str) -> None:
    """Programs that are not ours."""
    rules = [rule for rule in PARSED_ONLY if re.fullmatch(rule, command)]
    assert rules, f"{command!r}: no rule here says how to check it; write one"
    program = Path(command.split()[0]).name
    if program in ("jupyter", "accelerate", "torchrun", "dask"):
        assert (Path(sys.executable).parent / program).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_that_are_named_alone_are_options(page):
    spans = re.findall(r"`([^`]+)`", prose(page.read_text()))
    named = {span.split()[0] for span in spans if re.match(r"(-\w|--\w[\w-]*)(\s|$)", span)}
    assert named <= options(_parser()), named - options(_parser())


def options(parser: argparse.ArgumentParser) -> set[str]:
    """The options of a parser and of its commands."""
    found = set()
    for action in parser._actions:
        found |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            found = found.union(*map(options, action.choices.values()))
    return found


def test_every_notebook_is_in_the_table_of_the_readme():
    text = (ROOT / "README.md").read_text()
    names = [path.name for path in (ROOT / "notebooks").glob("*.ipynb")]
    assert [name for name in names if f"(notebooks/{name})" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_and_links_lead_somewhere(page):
    text = page.read_text()
    linked = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text)
    spans = re.findall(
        r"`((?:notebooks|xltkit|tests|benchmarks|outputs/published)/[\w./-]+)`", text
    )
    local = [path for path in (*linked, *spans) if "://" not in path]
    assert [path for path in local if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_and_arguments_in_the_python_blocks_are_the_kit_s(page):
    """Also of the blocks that are not run; each call is held against the signature it calls."""
    names: dict = {}
    bound = 0
    for block in blocks(page.read_text()):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom) and "xltkit" in ast.unparse(node):
                exec(ast.unparse(node), names)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            called = ast.unparse(call.func)
            known = re.fullmatch(r"[\w.]+", called) and called.partition(".")[0] in names
            if known and not any(isinstance(a, ast.Starred) for a in call.args):
                function = eval(called, names)  # AttributeError: no such name
                options = {k.arg: None for k in call.keywords if k.arg}
                signature = inspect.signature(function)
                all_there = len(options) == len(call.keywords)
                bind = signature.bind if all_there else signature.bind_partial
                bind(*call.args, **options)
                bound += 1
    assert bound or not names


def test_the_python_blocks_run(tmp_path):
    for page in [page for page in PAGES if blocks(page.read_text())]:
        found = blocks(page.read_text())
        left = [str(i) for i, b in enumerate(found) if any(w in b for w in BLOCKS_PARSED_ONLY)]
        settings = {"XLTKIT_STORE": str(tmp_path / "store"), "MPLBACKEND": "Agg"}
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests" / "readme_blocks.py"), str(page), *left],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize(
    "command",
    ["python -m xltkit rnu", "make nothing", "make run ARGS=no_such_run", "xltkit plan -p sedes 1",
     "python no_such.py", "curl -O x", "xltkit run --wrokers 2"],
)  # fmt: skip
def test_the_checks_catch(command, capsys):
    with pytest.raises((AssertionError, SystemExit, ValueError)):
        test_every_command_is_one_that_works(command, capsys)


def test_commands_are_found_wherever_they_stand():
    text = "```bash\nmake run  # all\na \\\n b\n```\nType `make\ntest` or `make`, `x=1`, `hf up a`"
    assert commands(text) == ["make run", "a   b", "make test", "hf up a"]
