"""Kill, tear, fill up and turn back the clock: started again, a study ends with the same numbers.

Nothing that was complete is lost or trained twice, and no half a stage is left over.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from crew import Crew, ask, wait_for

import xltkit as xlt
from xltkit.batch.execute import below
from xltkit.studies.recipe import Recipe
from xltkit.studies.store import Store

OPTIONS = {"examples": 20, "languages": ["en", "qad"]}


def small(encoder: str, targets=("pos",), seeds=(0,), steps=6):
    base = Recipe(encoder)
    arms = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=steps))}
    return xlt.study(arms, targets, seeds, steps=steps, **OPTIONS)


def listed(folder: Path, pattern: str) -> list[Path]:
    """What ``glob`` finds; it fails if a stage is given its final name while it looks inside."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return list(folder.glob(pattern))


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Which file says that a stage is complete, and when it was written: made twice, it differs."""
    found = {}
    for path in listed(folder, "*/signature.json"):
        if not path.parent.name.endswith(".partial"):
            state = path.stat()
            found[path.parent.name] = (state.st_ino, state.st_mtime_ns)
    return found


def numbers(folder: Path) -> dict[str, bytes]:
    """The weights and predictions of all finished stages."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for key in identities(folder)
        for path in (folder / key).rglob("*")
        if path.suffix in (".safetensors", ".parquet")
    }


def progress(folder: Path, study) -> int:
    """The steps that are safe: of finished stages, and up to the last checkpoint of others."""
    done = identities(folder)
    steps = {s.key: s.phase.steps for s in study.stages}
    finished = sum(1 + steps.get(key, 0) for key in done)
    checkpoints = listed(folder, "*.partial/checkpoint-*")
    partial = [p for p in checkpoints if (p / "state.json").exists()]
    return finished + sum(int(p.name.split("-")[1]) for p in partial)


def assert_nothing_left(folder: Path, study) -> None:
    assert set(identities(folder)) == {stage.key for stage in study.stages}
    assert not list(folder.glob("*.partial")) and not (folder / "torn").exists()


@pytest.fixture
def crew(tmp_path):
    with Crew(tmp_path) as crew:
        yield crew


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """A study that nothing happened to, and its numbers."""
    folder = tmp_path_factory.mktemp("undisturbed")
    study = small(tiny)
    study.run(Store(folder))
    return study, folder, numbers(folder)


class Watch:
    """Kills at moments that are counted in progress, and what it saw of the store meanwhile."""

    def __init__(self, folder: Path, study):
        self.folder, self.study, self.seen, self.lines = folder, study, {}, []
        self.random, self.aim = random.Random(20), 0

    def look(self) -> int:
        """Progress; and nothing that was complete may have gone, or been made again."""
        now = identities(self.folder)
        assert self.seen.items() <= now.items(), f"lost or made twice: {self.seen} {now}"
        self.seen = now
        return progress(self.folder, self.study)

    def next_moment(self) -> None:
        self.aim = self.look() + self.random.randint(5, 35)

    def killed(self, what: str) -> None:
        number, stages = len(self.lines) + 1, f"{len(self.seen)}/{len(self.study.stages)}"
        partial = len(list(self.folder.glob("*.partial")))
        self.lines.append(
            f"kill {number:2}: {what:<10} at step {self.look():3}, {stages:>5} stages complete, "
            f"{partial} under way"
        )


NOTEBOOK = """
import pickle
from pathlib import Path
Path("kernel").write_text(str(__import__("os").getpid()))
found = pickle.loads(Path("study").read_bytes()).run()
run.finish({"scores": found.scores}, "It went on.")
"""


class Batch:
    """``xltkit run`` of one notebook, which runs a study; its kernel or runner can be killed."""

    def __init__(self, root: Path, study):
        self.root, self.pid = root, root / "kernel"
        (root / "study").write_bytes(pickle.dumps(study))
        (root / "notebooks").mkdir()
        text = '[one]\nnotebook = "one"\nquestion = "Does it go on?"\nminutes = 1'
        (root / "notebooks" / "runs.toml").write_text(text)
        cell = nbformat.v4.new_code_cell
        guard = "from xltkit.batch.parameters import start\nrun = start(globals())"
        declared = cell("seeds: list[int] = [0]  # a seed", metadata={"tags": ["parameters"]})
        kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
        book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        book.cells = [declared, cell(guard), cell(NOTEBOOK.strip())]
        nbformat.write(book, root / "notebooks" / "one.ipynb")

    def start(self, workers: int) -> None:
        here = str(Path(xlt.__file__).parents[1])
        environment = os.environ | {"PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
        environment |= {"XLTKIT_CHECKPOINT_SECONDS": "0", "XLTKIT_STORE": str(self.root / "store")}
        self.pid.unlink(missing_ok=True)
        self.runner = subprocess.Popen(
            # No new start: here the test starts again what was killed.
            [sys.executable, "-m", "xltkit", "run", "--workers", str(workers), "--retries", "0"],
            cwd=self.root,
            env=environment,
            stdout=(self.root / "batch.log").open("ab"),
            stderr=subprocess.STDOUT,
        )

    def kill_runner(self) -> None:
        """With it go the kernel, and the workers that it shares with others."""
        started = below(self.runner.pid)
        assert len(started) >= 4  # the notebook's process, its kernel, two workers
        self.runner.kill()
        self.runner.wait()
        wait_for(lambda: not any(map(alive, started)))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_in_a_batch(watch: Watch, batch: Batch) -> None:
    """One kernel and one runner of a real batch."""
    batch.start(workers=1)
    watch.next_moment()
    wait_for(lambda: batch.runner.poll() is not None or watch.look() >= watch.aim)
    os.kill(int(batch.pid.read_text()), signal.SIGKILL)
    watch.killed("kernel")
    batch.runner.wait()
    batch.start(workers=2)
    watch.next_moment()
    wait_for(lambda: batch.runner.poll() is not None or watch.look() > watch.aim)
    batch.kill_runner()
    watch.killed("runner")


def kill_on_a_cluster(watch: Watch, crew: Crew, notebooks: dict) -> None:
    """Workers, schedulers and notebooks, 18 in all; whoever has ended is started again."""
    victims = ["worker 1"] * 5 + ["worker 2"] * 4 + ["scheduler"] * 4
    victims += ["first"] * 3 + ["second"] * 2
    watch.random.shuffle(victims)
    crew.cluster()
    for name, study in notebooks.items():
        crew.start(name, ask, study, watch.folder, {"scheduler": crew.address})

    def tended() -> bool:
        for name in crew.orders:
            if crew.ended(name) not in (None, 0) or (crew.ended(name) == 0 and name[0] == "w"):
                crew.start(name)
        return watch.look() >= watch.aim

    for victim in victims:
        watch.next_moment()
        wait_for(tended)
        crew.kill(victim)
        watch.killed(victim)
    watch.aim = 10**9
    wait_for(lambda: tended() or all(crew.ended(name) == 0 for name in notebooks))


def test_twenty_kills(tiny, tmp_path, crew):
    """Kernel, runner, workers, schedulers, notebooks, at random moments of the work."""
    options = {"seeds": (0, 1), "steps": 60}
    study = small(tiny, ("pos", "nli"), **options)
    notebooks = {
        "first": small(tiny, ("pos",), **options),
        "second": small(tiny, ("nli",), **options),
    }
    store = tmp_path / "store"
    watch, batch = Watch(store, study), Batch(tmp_path, study)
    try:
        kill_in_a_batch(watch, batch)
        kill_on_a_cluster(watch, crew, notebooks)
    finally:
        print(*watch.lines, sep="\n")
        batch.runner.kill()
    assert len(watch.lines) == 20
    assert_nothing_left(store, study)
    crew.start("alone", ask, study, tmp_path / "alone", {})
    wait_for(lambda: crew.ended("alone") == 0)
    assert numbers(store) == numbers(tmp_path / "alone")
    print(f"all {len(study.stages)} stages complete, each once; numbers as of a run without kills")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("harm", [flip_a_bit, truncate, Path.unlink])
def test_a_damaged_stage_is_made_again_and_no_other(undisturbed, tmp_path, harm, workers):
    """Of two processes only what is to be made is handed out; one is then done here."""
    study, before, expected = undisturbed
    store = Store(shutil.copytree(before, tmp_path / "store"))
    seen = identities(store.folder)
    harmed = study.stages[0].key
    harm(store.path(harmed) / "model.safetensors")
    with pytest.warns(UserWarning, match="damaged"):
        study.run(store, workers=workers)
    now = identities(store.folder)
    assert {key for key in seen if seen[key] != now[key]} == {harmed}
    assert numbers(store.folder) == expected
    assert [p.name.split("-")[0] for p in (store.folder / "torn").iterdir()] == [harmed]


def test_two_runs_on_one_store_make_each_stage_once(undisturbed, tmp_path, crew):
    study, _, expected = undisturbed
    watch = Watch(tmp_path / "store", study)
    for name in ("one", "other"):
        crew.start(name, ask, study, watch.folder, {"workers": 1})
    ended = ("one", "other")
    wait_for(lambda: watch.look() and None not in [crew.ended(name) for name in ended])
    assert [crew.ended(name) for name in ended] == [0, 0]
    assert_nothing_left(watch.folder, study)
    assert numbers(watch.folder) == expected


def jumping_clock(log: Path, study, folder: Path) -> None:
    """Every look at the clock finds another year."""
    years = random.Random(1)
    time.time = lambda: years.uniform(0, 4e9)
    time.time_ns = lambda: years.randrange(4 * 10**18)
    ask(log, study, folder, {"workers": 1})


def test_a_clock_that_jumps_changes_nothing(undisturbed, tmp_path, crew):
    study, _, expected = undisturbed
    watch = Watch(tmp_path / "store", study)
    crew.start("jumps", jumping_clock, study, watch.folder)
    wait_for(lambda: watch.look() > 3)
    crew.kill("jumps")
    crew.start("jumps")
    wait_for(lambda: crew.ended("jumps") is not None)
    assert crew.ended("jumps") == 0, crew.log("jumps").read_text()
    assert watch.look() and numbers(watch.folder) == expected


@pytest.fixture
def mounted(tmp_path):
    """``mounted("size=1m")``: a file system of its own, for those who may mount one."""
    folder = tmp_path / "mounted"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here")
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def test_a_full_disk_costs_what_is_not_finished(undisturbed, mounted):
    """First too small for any stage, then for some of them."""
    study, before, expected = undisturbed
    whole = sum(p.stat().st_size for p in before.rglob("*") if p.is_file())
    disk = mounted(f"size={whole // 2}")
    with pytest.raises(OSError, match="Make room, or name another folder") as caught:
        study.run(Store(disk))
    assert caught.value.errno == 28
    seen = identities(disk)
    assert len(seen) < len(study.stages)
    subprocess.run(["mount", "-o", f"remount,size={whole * 4}", str(disk)], check=True)
    study.run(Store(disk))
    assert seen.items() <= identities(disk).items()
    assert_nothing_left(disk, study)
    assert numbers(disk) == expected


def test_a_store_that_is_read_only_serves_what_it_has(undisturbed, tiny, mounted):
    study, before, expected = undisturbed
    folder = shutil.copytree(before, mounted("size=64m") / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(folder.parent)], check=True)
    for workers in (1, 2):
        again = study.run(Store(folder), workers=workers)
        assert len(again.predictions) and numbers(folder) == expected
    with pytest.raises(OSError, match=r"What is there can be read.*XLTKIT_STORE"):
        small(tiny, ("retrieval",)).run(Store(folder))
