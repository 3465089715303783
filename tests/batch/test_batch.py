"""The batch: checked before a kernel starts, done only when the result is whole."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

import xltkit as xlt
from xltkit import cli
from xltkit.batch import execute as batch
from xltkit.batch import runs
from xltkit.batch.runs import BatchError, plan

DECLARE = 'seeds: list[int] = [0]  # one run a seed\nsuite: str = "microworld"\nsmoke: bool = False'
# The guard of a real notebook, without the seconds that importing torch takes.
GUARD = """
import sys, types
sys.modules["xltkit.models.device"] = types.SimpleNamespace(describe=lambda: "cpu")
from xltkit.batch.parameters import start
run = start(globals())"""
FIGURE = """
from IPython.display import display
png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
png += "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
about = {"alt": "Bars fall from 90 to 30 <by family>", "caption": "Figure 1. Accuracy."}
display({"image/png": png}, raw=True, metadata={"image/png": about})"""
FINISH = """
import pandas
table = pandas.DataFrame({"seed": run.seeds})
run.finish({"scores": table}, f"There are {len(table)} seeds & <no> surprise.")"""
HANG = """
import os, time
open("pid.new", "w").write(str(os.getpid()))
os.replace("pid.new", "pid")
while not os.path.exists("go"): time.sleep(0.05)"""
DEAF = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)"

NOTEBOOKS = {
    "good": [FIGURE, FINISH],
    "raises": ['raise RuntimeError("the reason")', FINISH],
    "dies": ["import os; os._exit(0)", FINISH],
    "leaves": ["import sys; sys.exit(0)", FINISH],
    "forgets": ["1 + 1"],
    "raises_late": [FINISH, 'raise RuntimeError("too late")'],
    "leaves_late": [FINISH, "sys.exit(0)", "1 + 1"],
}
BAD = [name for name in NOTEBOOKS if name != "good"]


def write_notebook(path: Path, cells: list[str], declare: str = DECLARE) -> None:
    new = nbformat.v4
    first = new.new_code_cell(declare, metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = new.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [first, *(new.new_code_cell(cell.strip()) for cell in [GUARD, *cells])]
    nbformat.write(notebook, path)


def make_root(root: Path, notebooks: dict[str, list[str]], extra: str = "") -> Path:
    (root / "notebooks").mkdir()
    blocks = [extra]
    for name, cells in notebooks.items():
        write_notebook(root / "notebooks" / f"{name}.ipynb", cells)
        blocks.append(f'[{name}]\nnotebook = "{name}"\nquestion = "Is {name} <so>?"\nminutes = 1')
    (root / "notebooks" / "runs.toml").write_text("\n".join(blocks))
    return root


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """All the notebooks, run once; the exit code and what was printed."""
    root = make_root(tmp_path_factory.mktemp("root"), NOTEBOOKS)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        code = batch.run_batch(root=root, jobs=2, retries=0)
    return root, code, printed.getvalue()


@pytest.fixture
def no_kernel(monkeypatch):
    def refuse(*_):
        raise AssertionError("a kernel was started")

    monkeypatch.setattr(batch.subprocess, "Popen", refuse)


def test_a_good_run_ends_with_notebook_page_and_result(world):
    root, _, _ = world
    outputs = root / "outputs"
    assert {"good", "good.ipynb", "good.html", "index.html"} <= set(os.listdir(outputs))
    result = json.loads((outputs / "good" / "result.json").read_text())
    assert result["run"] == "good"
    assert result["run_id"] == plan(["good"], root=root)[0].run_id
    assert "vnd.xlt.result+json" in (outputs / "good.ipynb").read_text()


def test_a_second_run_skips_it(world, no_kernel, capsys):
    assert batch.run_batch(["good"], root=world[0]) == 0
    assert "done before" in capsys.readouterr().out


@pytest.mark.parametrize("name", BAD)
def test_what_went_wrong_is_never_done(world, name):
    root, code, printed = world
    assert code == 1
    assert re.search(rf"^{name} +failed", printed, re.MULTILINE)
    assert not (root / "outputs" / f"{name}.ipynb").exists()
    assert not (root / "outputs" / name / "result.json").exists()
    nbformat.read(root / "outputs" / f"{name}.failed.ipynb", as_version=4)
    assert plan([name], root=root)[0].todo == "failed before"


def test_the_console_says_why(world):
    lines = {name: [] for name in NOTEBOOKS}
    for line in world[2].splitlines():
        name, bar, text = line.partition(" | ")
        if bar:
            lines[name].append(text)
    text = {name: "\n".join(of) for name, of in lines.items()}
    assert "RuntimeError: the reason" in text["raises"]
    assert "DeadKernelError" in text["dies"] and "starts again" not in text["dies"]
    assert "stopped before its cell 4" in text["leaves"]
    assert "run.finish(tables, answer)" in text["forgets"]
    assert "stopped before its cell 5" in text["leaves_late"]
    assert text["good"].splitlines()[1].startswith("versions")


def test_a_page_needs_no_network_and_describes_its_figures(world):
    page = (world[0] / "outputs" / "good.html").read_text()
    assert not re.search(r"<script|<link|<iframe|@import|src=.https?:|url\(.?https?:", page)
    assert re.search(r'<img alt="Bars fall from 90 to 30 &lt;by family&gt;"', page)
    assert "<figcaption>Figure 1. Accuracy.</figcaption>" in page
    assert "No description has been provided" not in page
    assert "<details" in page


def test_the_index_lists_question_answer_and_status(world):
    page = (world[0] / "outputs" / "index.html").read_text()
    assert "Is good &lt;so&gt;?" in page
    assert "There are 1 seeds &amp; &lt;no&gt; surprise." in page
    assert page.count("Its last attempt failed: ") == len(BAD)
    assert 'href="dies.failed.html"' in page
    failed = (world[0] / "outputs" / "raises.failed.html").read_text()
    assert "RuntimeError: the reason" in re.sub(r"<[^>]*>", "", failed)


def tear(folder, ending=b""):
    path = folder / "result.json"
    path.write_bytes(path.read_bytes()[:-20] + ending)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (tear, "damaged"),
        (lambda folder: (folder / "result.json").unlink(), "no result"),
        (lambda folder: (folder / "scores.parquet").unlink(), "damaged"),
        (lambda folder: (folder / "scores.parquet").write_bytes(b"PAR1"), "scores.parquet"),
        (lambda folder: (folder.parent / "good.ipynb").unlink(), "not run yet"),
        (lambda folder: (folder.parent / "good.partial.ipynb").touch(), "interrupted"),
    ],
)
def test_a_result_that_is_not_whole_is_not_done(world, tmp_path, harm, says):
    outputs = shutil.copytree(world[0] / "outputs", tmp_path / "outputs")
    options = {"root": world[0], "outputs": outputs}
    assert plan(["good"], **options)[0].todo == ""
    harm(outputs / "good")
    assert says in plan(["good"], **options)[0].todo


def test_parameters_and_sources_belong_to_what_is_done(world):
    root = world[0]
    (changed,) = plan(["good"], root=root, overrides={"seeds": [0, 1]})
    # A run with other parameters has a name of its own: it replaces no result.
    assert changed.todo == "not run yet" and changed.name.startswith("good-")
    # A default that is typed out is the same run.
    assert plan(["good"], root=root, overrides={"seeds": [0]})[0].todo == ""


def test_an_edited_notebook_is_run_again(world, tmp_path):
    root = shutil.copytree(world[0], tmp_path / "root")
    write_notebook(root / "notebooks" / "good.ipynb", [FIGURE, FINISH, "2 + 2"])
    assert "the notebook or the kit" in plan(["good"], root=root)[0].todo


def test_another_version_of_an_objective_is_another_run(world, monkeypatch):
    monkeypatch.setattr(xlt.Target, "version", 99)
    monkeypatch.setattr(runs, "kit_identity", runs.kit_identity.__wrapped__)
    assert "the notebook or the kit" in plan(["good"], root=world[0])[0].todo


def test_a_cell_that_takes_too_long_fails(tmp_path):
    root = make_root(tmp_path, {"hangs": [HANG]})
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert batch.run_batch(root=root, timeout=0.05) == 1
    assert "hangs | FAILED: CellTimeoutError" in printed.getvalue()
    assert "starts again" not in printed.getvalue()
    assert (root / "outputs" / "hangs.failed.html").exists()
    assert "CellTimeoutError" in (root / "outputs" / "index.html").read_text()
    pid = root / "pid"
    assert not pid.exists() or wait_for(lambda: not alive(int(pid.read_text())))


def test_only_a_dead_kernel_is_started_again(tmp_path):
    count = 'import os\nopen("NAME", "a").write("x")'
    once = f'{count}\nif os.path.getsize("NAME") == 1: os.kill(os.getpid(), 9)'
    cells = {
        "once": [once.replace("NAME", "once"), FINISH],
        "raises": [count.replace("NAME", "raises"), "1 / 0"],
    }
    root = make_root(tmp_path, cells)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert batch.run_batch(root=root, jobs=2) == 1
    assert "the kernel died" in printed.getvalue()
    assert "starts again (1 of 1)" in printed.getvalue()
    assert (root / "once").read_text() == "xx" and (root / "raises").read_text() == "x"
    assert plan(["once"], root=root)[0].todo == ""


def test_smoke_runs_lie_apart(world):
    root = world[0]
    before = (root / "outputs" / "good" / "result.json").read_bytes()
    assert batch.run_batch(["good"], root=root, smoke=True) == 0
    assert json.loads((root / "outputs/smoke/good/result.json").read_text())["smoke"] is True
    assert "measure nothing" in (root / "outputs/smoke/index.html").read_text()
    assert (root / "outputs" / "good" / "result.json").read_bytes() == before
    # However it was asked for.
    assert plan(["good"], root=root, overrides={"smoke": True})[0].base.name == "smoke"


def test_a_long_run_waits_to_be_named(tmp_path):
    block = '[slow]\nnotebook = "good"\nquestion = "?"\nlong = true\n'
    root = make_root(tmp_path, {"good": []}, block)
    assert [run.name for run in plan(root=root)] == ["good"]
    assert [run.name for run in plan(["sl*"], root=root)] == ["slow"]
    assert {run.name for run in plan(root=root, smoke=True)} == {"good", "slow"}


def test_all_problems_of_all_runs_are_reported_at_once(tmp_path, no_kernel):
    extra = """
[typo]
notebook = "good"
question = "?"
parameters = { sede = [1], smoke = "no" }
[lost]
notebook = "god"
question = "?"
[odd]
notebook = "odd"
question = "?"
[computed]
notebook = "computed"
question = "?"
"""
    root = make_root(tmp_path, {"good": []}, extra)
    declare = 'seeds: list[str] = ["0"]\nlerning: int = 3'
    write_notebook(root / "notebooks" / "odd.ipynb", [], declare)
    write_notebook(root / "notebooks" / "computed.ipynb", [], "steps: int = 2 * 5")
    with pytest.raises(BatchError, match="Nothing was started") as error:
        batch.run_batch(root=root)
    for says in (
        "[typo] There is no parameter in good.ipynb called 'sede'. Did you mean 'seeds'",
        "[typo] smoke is 'no'",
        "[lost] There is no notebook 'god'. Did you mean 'good'",
        "[odd] seeds is ['0']; it must be list[int]",
        "[odd] There is no parameter 'lerning'",
        "[computed] computed.ipynb has `steps: int = 2 * 5` among its parameters",
    ):
        assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a]\nnotebok = 'x'\nquestion = '?'", "Did you mean 'notebook'"),
        ("[a]\nnotebook = 'x'", "has no question"),
        (
            "[a]\nnotebook = 'x'\nquestion = '?'\nminutes = 'two'",
            "no minutes, or one of",
        ),
        ("[store]\nnotebook = 'x'\nquestion = '?'", "[store] cannot be a run"),
        ("a = 3", "[a] cannot be a run"),
        ("[a", "not valid TOML"),
    ],
)
def test_a_wrong_list_of_runs_is_refused(tmp_path, text, says):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "runs.toml").write_text(text)
    with pytest.raises(BatchError) as error:
        plan(root=tmp_path)
    assert says in str(error.value)


def test_a_folder_with_braces_in_its_name(tmp_path):
    (tmp_path / "{a}").mkdir()
    root = make_root(tmp_path / "{a}", {"good": [FINISH]})
    assert batch.run_batch(root=root) == 0


def test_exit_codes_of_the_command_line(world, no_kernel, monkeypatch, capsys):
    monkeypatch.chdir(world[0] / "notebooks")
    assert cli.main(["run", "good"]) == 0
    assert cli.main(["run", "good", "dies"]) == 1
    assert cli.main(["run", "gud"]) == 2
    assert cli.main(["run", "good", "-p", "seeds", "0"]) == 2
    assert cli.main(["run", "good", "--jobs", "0"]) == 2
    assert cli.main(["run", "good", "--retries", "-1"]) == 2
    assert cli.main(["run", "good", "--timeout", "5"]) == 0
    capsys.readouterr()
    assert cli.main(["run", "good", "-p", "seeds", "[0]"]) == 0


def test_help_is_instant():
    code = (
        "import sys, xltkit.cli as c\n"
        "try: c.main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'papermill', 'pandas', 'nbformat'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), timeout=60)


def environment() -> dict[str, str]:
    """The tests' own package, installed or not."""
    return dict(os.environ) | {"PYTHONPATH": str(Path(batch.__file__).parents[2])}


def wait_for(condition) -> bool:
    """True once the condition holds; pytest's own limit ends a test that waits in vain."""
    while not condition():
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        # A process that nobody has waited for yet is dead all the same.
        status = Path(f"/proc/{pid}/stat")
        return not status.exists() or ") Z " not in status.read_text()
    return False


def start_batch(root: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "xltkit", "run"],
        cwd=root,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        # Started in the background, a shell makes its children deaf to an interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_kernel_outlives_its_batch(tmp_path, how):
    deaf = [DEAF] if how == signal.SIGTERM else []  # a kernel that listens to no signal
    root = make_root(tmp_path, {"hangs": [*deaf, HANG, FINISH]})
    parent, pid = start_batch(root), root / "pid"
    assert wait_for(pid.exists)
    parent.send_signal(how)
    parent.communicate()
    assert parent.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert wait_for(lambda: not alive(int(pid.read_text())))
    assert plan(root=root)[0].todo == "interrupted before its end"
    if how == signal.SIGINT:
        (root / "go").touch()
        assert batch.run_batch(root=root) == 0
