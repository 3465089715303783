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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest
from crew import is_alive, wait_for
from repository import PNG, write_notebook, write_repository

import xltkit as xlt
from xltkit import cli
from xltkit.batch import execute, report, runs
from xltkit.batch.execute import run_batch
from xltkit.batch.parameters import PARAMETERS, PATHS, full_paths, look_up
from xltkit.batch.runs import plan
from xltkit.files import bring_notebooks
from xltkit.keys import unknown

DECLARE = 'seeds: list[int] = [0]  # one run a seed\nsuite: str = "microworld"\nsmoke: bool = False'
# The guard of a real notebook, without the seconds that importing torch takes.
START = [
    DECLARE,
    """
import sys, types
sys.modules["xltkit.models.device"] = types.SimpleNamespace(describe=lambda: "cpu")
from xltkit.batch.parameters import start
run = start(globals())""",
]
FIGURE = f"""
from IPython.display import display
print("study: stage 1/9, target ner (seed 0), 00:05, 01:25:30 left")
about = {{"alt": "Bars fall from 90 to 30 <by family>", "caption": "Figure 1. Accuracy."}}
display({{"image/png": "{PNG}"}}, raw=True, metadata={{"image/png": about}})"""
FINISH = """
import pandas
print("größe 国\\nstudy: stage 3/9, target ner (seed 0), 00:10, 01:20:30 left\\nmade")
table = pandas.DataFrame({"seed": run.seeds})
run.finish({"scores": table}, f"There are {len(table)} seeds & <no> surprise.")"""
HANG = """
import os, time
open("pid.new", "w").write(str(os.getpid()))
os.replace("pid.new", "pid")
while not os.path.exists("go"): time.sleep(0.05)"""
DEAF = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)"

# What a notebook does, and what the console says if that is wrong.
NOTEBOOKS = {
    "good": ([FIGURE, FINISH], ""),
    "raises": (['raise RuntimeError("the reason")', FINISH], "RuntimeError: the reason"),
    "dies": (["import os; os._exit(0)", FINISH], "DeadKernelError: the kernel died"),
    "leaves": (["import sys; sys.exit(0)", FINISH], "stopped before its cell 4"),
    "forgets": (["1 + 1"], "has to end with run.finish(tables, answer)"),
    "raises_late": ([FINISH, 'raise RuntimeError("too late")'], "RuntimeError: too late"),
    "leaves_late": ([FINISH, "sys.exit(0)", "1 + 1"], "stopped before its cell 5"),
}
BAD = [name for name in NOTEBOOKS if name != "good"]


def write_root(root: Path, cells: dict[str, list[str]], extra: str = "") -> Path:
    """A repository with notebooks of these cells after the guard."""
    return write_repository(root, {name: START + rest for name, rest in cells.items()}, extra)


@pytest.fixture
def make_root(tmp_path, monkeypatch):
    """Write a repository with these notebooks into the current folder."""
    root = tmp_path / "{braces}"  # papermill formats paths
    root.mkdir()
    monkeypatch.chdir(root)
    return lambda cells, extra="": write_root(root, cells, extra)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """All the notebooks, run once: their folder, the exit code, and what was printed."""
    cells = {name: cells for name, (cells, _) in NOTEBOOKS.items()}
    root = write_root(tmp_path_factory.mktemp("root"), cells)
    other = root / "kernels" / "python3" / "kernel.json"  # of another Python, and found first
    other.parent.mkdir(parents=True)
    other.write_text('{"argv": ["false"], "display_name": "Other", "language": "python"}')
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("JUPYTER_PATH", str(root))
        patched.setenv("PYTHONIOENCODING", "ascii")  # a console without letters of other scripts
        with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.chdir(root):
            code = run_batch(jobs=2, retries=0)
    return root, code, printed.getvalue()


@pytest.fixture
def outputs(finished, monkeypatch):
    monkeypatch.chdir(finished[0])
    return finished[0] / "outputs"


@pytest.fixture
def no_kernel(monkeypatch):
    monkeypatch.setattr(execute.subprocess, "Popen", lambda *_: pytest.fail("a kernel started"))


def test_a_good_run_ends_with_a_result_and_a_page_that_needs_no_network(finished, outputs):
    assert {"good", "good.ipynb", "good.html", "index.html"} <= set(os.listdir(outputs))
    result = json.loads((outputs / "good" / "result.json").read_text())
    assert (result["run"], result["run_id"]) == ("good", plan(["good"])[0].run_id)
    page = (outputs / "good.html").read_text()
    assert not re.search(r"<script|<link|<iframe|@import|src=.https?:|url\(.?https?:", page)
    assert '<img alt="Bars fall from 90 to 30 &lt;by family&gt;"' in page
    assert "<figcaption>Figure 1. Accuracy.</figcaption>" in page and "<details" in page
    # Progress is for the console.
    assert "good | study: stage 3/9" in finished[2]
    assert "größe 国\nmade" in page
    cells = nbformat.read(outputs / "good.ipynb", as_version=4).cells
    shown = [output for cell in cells for output in cell.get("outputs", ())]
    assert all(output.text for output in shown if output.output_type == "stream")


@pytest.mark.parametrize("name", BAD)
def test_what_went_wrong_is_said_and_never_done(finished, outputs, name):
    _, code, printed = finished
    assert code == 1
    assert re.search(rf"^failed .*/{name}.failed.html$", printed, re.MULTILINE)
    (reason,) = re.findall(rf"^{name} \| FAILED: (.+)", printed, re.MULTILINE)
    assert NOTEBOOKS[name][1] in reason and "starts again" not in printed
    assert not (outputs / f"{name}.ipynb").exists()
    assert not (outputs / name / "result.json").exists()
    nbformat.read(outputs / f"{name}.failed.ipynb", as_version=4)
    assert plan([name])[0].todo


def test_the_index_lists_question_answer_and_status(outputs):
    page = (outputs / "index.html").read_text()
    assert "Is good &lt;so&gt;?" in page and 'href="dies.failed.html"' in page
    assert "There are 1 seeds &amp; &lt;no&gt; surprise." in page
    assert page.count("Its last attempt failed: ") == len(BAD)
    failed = (outputs / "raises.failed.html").read_text()
    assert "RuntimeError: the reason" in re.sub(r"<[^>]*>", "", failed)


LOOK = """
import os
from pathlib import Path
page = Path("outputs/index.html").read_text()
assert 'href="first.html"' in page and "second.html" not in page
assert os.environ["XLTKIT_PRIORITY"] == "-1"  # workers serve the first run first
"""


def test_the_index_has_a_run_as_soon_as_it_is_done(make_root):
    make_root({"first": [FINISH], "second": [LOOK, FINISH]})
    assert run_batch(jobs=1, retries=0) == 0


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("good/result.json", b'{"answer": "It', "damaged"),
        ("good/result.json", None, "no result"),
        ("good/scores.parquet", None, "damaged"),
        ("good/scores.parquet", b"PAR1", "scores.parquet"),
        ("good.ipynb", None, "not done yet"),
        ("good.partial.ipynb", b"", "interrupted"),
    ],
)
def test_a_result_that_is_not_whole_is_not_done(outputs, tmp_path, file, content, says):
    copy = shutil.copytree(outputs, tmp_path / "outputs")
    assert plan(["good"], outputs=copy)[0].todo == ""
    (copy / file).unlink(missing_ok=True)
    if content is not None:
        (copy / file).write_bytes(content)
    assert says in plan(["good"], outputs=copy)[0].todo


def test_what_is_done_belongs_to_its_parameters_notebook_and_kit(outputs, tmp_path, monkeypatch):
    # A run with other parameters has a name of its own: it replaces no result.
    (changed,) = plan(["good"], overrides={"seeds": [0, 1]})
    assert changed.todo == "not done yet" and changed.name.startswith("good-")
    # A default that is typed out is the same run.
    assert plan(["good"], overrides={"seeds": [0]})[0].todo == ""
    monkeypatch.chdir(shutil.copytree(outputs.parent, tmp_path / "root"))
    assert plan(["good"])[0].todo == ""
    with monkeypatch.context() as patched:
        patched.setattr(xlt.Target, "version", 99)
        patched.setattr(runs, "kit_identity", runs.kit_identity.__wrapped__)
        assert "the notebook or the kit" in plan(["good"])[0].todo
    write_notebook(Path("notebooks/good.ipynb"), [*START, FIGURE, FINISH, "2 + 2"])
    assert "the notebook or the kit" in plan(["good"])[0].todo


def test_a_cell_that_takes_too_long_fails(make_root, capsys):
    root = make_root({"hangs": [HANG]})
    assert run_batch(timeout=0.05) == 1
    printed = capsys.readouterr().out
    assert "hangs | FAILED: CellTimeoutError" in printed and "starts again" not in printed
    assert (root / "outputs" / "hangs.failed.html").exists()
    pid = root / "pid"
    assert not pid.exists() or wait_for(lambda: not is_alive(int(pid.read_text())))


def test_only_a_dead_kernel_is_started_again(make_root, capsys):
    count = 'import os\nopen(run.folder.name, "a").write("x")'
    once = f'{count}\nif os.path.getsize("once") == 1: os.kill(os.getpid(), 9)'
    root = make_root({"once": [once, FINISH], "raises": [count, "1 / 0"]})
    assert run_batch(jobs=2) == 1
    printed = capsys.readouterr().out
    assert "the kernel died" in printed and printed.count("starts again") == 1
    assert (root / "once").read_text() == "xx" and (root / "raises").read_text() == "x"
    assert plan(["once"])[0].todo == ""


def test_a_result_is_kept_when_its_page_cannot_be_written(outputs, tmp_path, monkeypatch, capsys):
    render = Mock(side_effect=ValueError("No template"))
    monkeypatch.setattr(report.HTMLExporter, "from_notebook_node", render)
    monkeypatch.setattr(report, "_row", render)  # of the index
    assert [run_batch(["good"], outputs=tmp_path) for _ in range(2)] == [0, 0]
    printed = capsys.readouterr().out
    assert "was done  good" in printed
    assert "good.html could not be written (ValueError: No template)" in printed


def test_smoke_runs_lie_apart(outputs):
    before = (outputs / "good" / "result.json").read_bytes()
    assert run_batch(["good"], smoke=True) == 0
    assert json.loads((outputs / "smoke/good/result.json").read_text())["smoke"] is True
    assert "measure nothing" in (outputs / "smoke/index.html").read_text()
    assert (outputs / "good" / "result.json").read_bytes() == before
    # However it was asked for.
    assert plan(["good"], overrides={"smoke": True})[0].base.name == "smoke"


def test_long_and_real_runs_wait_to_be_named(make_root):
    extra = """
slow = { notebook = "good", question = "?", long = true }
[real]
encoders.small = "xlm-roberta-base"
parameters = { seeds = [0, 1] }
questions.good.xtreme.suite = "xtreme-r"
"""
    root = make_root({"good": []}, extra)
    assert [run.name for run in plan()] == ["good"]
    shutil.copy(root / "notebooks/good.ipynb", root / "notebooks/copy.ipynb")  # in no block
    assert [run.name for run in plan(["good", "copy"])] == ["good", "copy"]
    assert [run.name for run in plan(["sl*"])] == ["slow"]
    assert {run.name for run in plan(smoke=True)} == {"good", "slow", "copy"}
    with pytest.raises(ValueError, match=r"\[good-small-xtreme\] There is no parameter 'encoder'"):
        plan(["real"])


def test_all_problems_of_all_runs_are_reported_at_once(make_root, no_kernel):
    extra = """
typo = { notebook = "good", question = "?", parameters = { sede = [1], smoke = "no" } }
lost = { notebook = "god", question = "?" }
odd = { notebook = "odd", question = "?" }
computed = { notebook = "computed", question = "?" }"""
    notebooks = make_root({"good": []}, extra) / "notebooks"
    write_notebook(notebooks / "odd.ipynb", ['seeds: list[str] = ["0"]\nlerning: int = 3'])
    write_notebook(notebooks / "computed.ipynb", ["steps: int = 2 * 5"])
    with pytest.raises(ValueError, match="Nothing was started") as error:
        run_batch()
    for says in (
        "[typo] There is no parameter 'sede'. Did you mean 'seeds'? Allowed: suite, seeds, smoke.",
        "[typo] smoke is 'no'",
        "[lost] god.ipynb has no cell with the tag 'parameters'",
        "[odd] seeds is ['0']; it must be list[int]",
        "[odd] There is no parameter 'lerning'",
        "[computed] computed.ipynb has no cell with the tag 'parameters' that holds plain values",
    ):
        assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = { notebok = 'x', question = '?' }", "a is wrong: .*'notebok'"),
        ("[real.questions.b]", "b is wrong: KeyError"),
        ("[a", "the file is wrong: TOMLDecodeError"),
    ],
)
def test_a_wrong_list_of_runs_is_refused(make_root, text, says):
    make_root({}, text)
    with pytest.raises(ValueError, match=says):
        plan()


def test_exit_codes_of_the_command_line(outputs, no_kernel, monkeypatch, capsys):
    monkeypatch.chdir(outputs.parent / "notebooks")
    codes = {"dies": 1, "gud": 2, "-p seeds 0": 2, "--jobs 0": 2, "--retries -1": 2}
    codes |= {"-p suite xtremer --smoke": 2}
    for options, code in (codes | {"--timeout 5": 0, "-p seeds [0]": 0}).items():
        assert cli.main(["run", "good", *options.split()]) == code
    assert f"was done  {outputs / 'good.html'}" in capsys.readouterr().out
    assert cli.main(["run", "--list", "goo*"]) == 0
    assert capsys.readouterr().out.split()[0] == "good"


def test_a_wall_of_names_is_cut_to_the_nearest():
    message = unknown("run", "r7x", [f"r{number}" for number in range(99)])
    assert "Did you mean 'r7'? Allowed: r7" in message and message.endswith("and 87 more.")


def test_whatever_names_something_is_looked_up():
    typos = dict.fromkeys(PATHS[:4], "mikro") | {"synonyms": "microword", "results_folder": "out"}
    typos |= {"suite": "xtremer", "source": "enn", "targets": ["nlii"], "languages": ["qbee"]}
    typos |= {"mixed": ["qbee"], "substitutes": ["mnli<-sikc"], "dictionaries": "microword"}
    texts = {name: row for name, row in PARAMETERS.items() if "str" in row["type"]}
    texts.pop("guess")
    assert typos.keys() == {name for name, row in texts.items() if "allowed" not in row}
    for name in typos:
        with pytest.raises(ValueError, match=r"Did you mean|'microworld'|outputs/published"):
            look_up({"targets": ["nli"], name: typos[name]})


def test_paths_are_resolved_where_they_are_typed(tmp_path):
    (tmp_path / "micro").mkdir()
    for value, full in {"./micro": str(tmp_path / "micro"), "micro": "micro", "./a": "./a"}.items():
        assert full_paths({"encoder": value}, tmp_path) == {"encoder": full}


def test_help_is_instant_and_any_console_will_do():
    code = """import sys, xltkit.cli as c
def report(): print("größe")
c.report = report
c.main(["report"])
try: c.main(['run', '--help'])
except SystemExit: sys.exit(bool({'torch', 'papermill', 'pandas'} & sys.modules.keys()))"""
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    subprocess.run([sys.executable, "-c", code], check=True, env=ascii_only, timeout=60)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_kernel_outlives_its_batch(make_root, how):
    is_term = how == signal.SIGTERM
    deaf = [DEAF] if is_term else []  # a kernel that listens to no signal
    root = make_root({"hangs": [*deaf, HANG, FINISH]})
    pid = root / "pid"
    batch = subprocess.Popen(
        [sys.executable, "-m", "xltkit", "run", "--workers", "2" if is_term else "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Started in the background, a shell makes its children deaf to an interrupt.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert wait_for(pid.exists)
    batch.send_signal(how)
    printed, _ = batch.communicate()
    assert batch.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    assert not re.search(b"leaked|Traceback", printed)
    assert (b"what is finished is kept" in printed) == (how != signal.SIGKILL)
    assert wait_for(lambda: not is_alive(int(pid.read_text())))
    assert plan()[0].todo == "interrupted before its end"
    if how == signal.SIGINT:
        (root / "go").touch()
        assert run_batch() == 0


def test_a_run_that_another_batch_runs_is_waited_for(make_root, capsys):
    root = make_root({"hangs": ['open("count", "a").write("x")', HANG, FINISH]})
    command = [sys.executable, "-m", "xltkit", "run"]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(run_batch)
        wait_for((root / "pid").exists)
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as second:
            assert "waits" in second.stdout.readline()
            (root / "go").touch()
            assert "was done" in second.communicate()[0] and first.result() == 0
    assert "\ndone" in capsys.readouterr().out
    assert (root / "count").read_text() == "x" and plan()[0].todo == ""


def test_an_installed_package_brings_its_notebooks(tmp_path, monkeypatch):
    shipped = tmp_path / "share" / "xltkit" / "notebooks" / "runs.toml"
    shipped.parent.mkdir(parents=True)
    shipped.write_text("")
    entry = Mock(parts=shipped.parts, locate=lambda: shipped)
    other = Mock(parts=("xltkit", "cli.py"))
    monkeypatch.setattr("xltkit.files.metadata.files", lambda _: [other, entry])
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("xltkit.files.__file__", str(tmp_path / "site" / "xltkit" / "files.py"))
    bring_notebooks()
    assert (folder / "notebooks" / "runs.toml").is_file()
    (folder / "notebooks" / "runs.toml").write_text("# mine")
    bring_notebooks()  # what is there stays
    assert (folder / "notebooks" / "runs.toml").read_text() == "# mine"
