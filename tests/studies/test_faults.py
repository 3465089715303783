"""Kill, tear, fill up and turn back the clock: started again, a study ends with the same numbers.

Nothing that was complete is lost or trained twice, and no half a stage is left over.
"""

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
from crew import Crew, ask, numbers, wait_for

import xltkit as xlt
from xltkit.studies.stages import Recipe
from xltkit.studies.store import Store


def small(encoder: str, targets=("pos",), seeds=(0,), steps=6):
    base = Recipe(encoder)
    arms = {"none": base, "text": base.then(xlt.Intermediate(["choice"], steps=steps))}
    options = {"steps": steps, "examples": 20, "languages": ["en", "qad"]}
    return xlt.study(arms, targets, seeds, **options)


def listed(folder: Path, pattern: str) -> list[Path]:
    """The result of ``glob``, which fails if a stage is renamed while it looks inside."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return list(folder.glob(pattern))


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """The file that completes each stage, and when it was written: made twice, it differs."""
    states = {}
    for path in listed(folder, f"{'?' * 16}/signature.json"):
        state = path.stat()
        states[path.parent.name] = (state.st_ino, state.st_mtime_ns)
    return states


def assert_complete(folder: Path, study) -> None:
    assert set(identities(folder)) == {stage.key for stage in study.stages}
    assert not list(folder.glob("*.partial")) and not (folder / "torn").exists()


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """A study that nothing happened to, its store and its numbers."""
    folder = tmp_path_factory.mktemp("undisturbed")
    study = small(tiny)
    study.run(Store(folder))
    return study, folder, numbers(folder)


class Watch:
    """Sees that no complete stage is lost or made again, and counts progress."""

    def __init__(self, folder: Path, study):
        self.folder = folder
        self.steps = {stage.key: stage.phase.steps for stage in study.stages}
        self.seen: dict[str, tuple[int, int]] = {}
        self.random = random.Random(20)
        self.kills: list[str] = []

    def look(self) -> int:
        """The steps that are safe: of complete stages, and up to the last checkpoint of others."""
        states = identities(self.folder)
        assert self.seen.items() <= states.items(), f"lost or made twice: {self.seen} {states}"
        self.seen = states
        checkpoints = listed(self.folder, "*.partial/checkpoint-*")
        partial = [int(checkpoint.stem.split("-")[1]) for checkpoint in checkpoints]
        return sum(1 + self.steps.get(key, 0) for key in states) + sum(partial)

    def kill(self, name: str, kill, is_over) -> None:
        """Kill after some steps of work, or at its end on a machine that is too fast."""
        aim = self.look() + self.random.randint(5, 35)
        wait_for(lambda: self.look() >= aim or is_over())
        kill()
        self.kills.append(f"{name} at step {self.look()}, {len(self.seen)} stages complete")


CELLS = [
    "seeds: list[int] = [0]  # a seed",
    "from xltkit.batch.parameters import start\nrun = start(globals())",
    """import os, pickle
from pathlib import Path
Path("kernel").write_text(str(os.getpid()))
results = pickle.loads(Path("study").read_bytes()).run()
run.finish({"scores": results.scores}, "It went on.")""",
]


class Batch:
    """``xltkit run`` of one notebook, which runs a study; its kernel or runner can be killed."""

    def __init__(self, root: Path, study):
        self.root = root
        self.pid = root / "kernel"
        (root / "study").write_bytes(pickle.dumps(study))
        (root / "notebooks").mkdir()
        text = '[one]\nnotebook = "one"\nquestion = "Does it go on?"\nminutes = 1'
        (root / "notebooks" / "runs.toml").write_text(text)
        kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
        book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
        book.cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
        book.cells[0].metadata["tags"] = ["parameters"]
        nbformat.write(book, root / "notebooks" / "one.ipynb")

    def start(self, workers: int) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(Path(xlt.__file__).parents[1]),
            "OMP_NUM_THREADS": "1",
            "XLTKIT_CHECKPOINT_SECONDS": "0",
            "XLTKIT_STORE": str(self.root / "store"),
        }
        self.pid.unlink(missing_ok=True)
        # No new start by itself: the test starts again what it killed.
        command = [sys.executable, "-m", "xltkit", "run", "--retries=0", f"--workers={workers}"]
        log = (self.root / "batch.log").open("ab")
        self.runner = subprocess.Popen(
            command, cwd=self.root, env=environment, stdout=log, stderr=subprocess.STDOUT
        )

    def is_over(self) -> bool:
        return self.runner.poll() is not None

    def kill_kernel(self) -> None:
        os.kill(int(self.pid.read_text()), signal.SIGKILL)
        self.runner.wait()

    def kill_runner(self) -> None:
        """With it end the kernel, and the workers that it shares with others."""
        started = psutil.Process(self.runner.pid).children(recursive=True)
        assert len(started) >= 4  # the notebook's process, its kernel, two workers
        self.runner.kill()
        self.runner.wait()
        wait_for(lambda: not any(map(is_alive, started)))


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_in_a_batch(watch: Watch, root: Path, study) -> None:
    """One kernel and one runner of a real batch."""
    batch = Batch(root, study)
    try:
        batch.start(workers=1)
        watch.kill("kernel", batch.kill_kernel, batch.is_over)
        batch.start(workers=2)
        watch.kill("runner", batch.kill_runner, batch.is_over)
    finally:
        batch.runner.kill()


def kill_on_a_cluster(watch: Watch, crew: Crew, notebooks: dict, victims: list[str]) -> None:
    """Workers, schedulers and notebooks, in the order given; who has ended is started again."""
    crew.cluster(2)
    for name, study in notebooks.items():
        crew.start(name, ask, study, watch.folder, scheduler=crew.address)

    def is_over() -> bool:
        for name in crew.orders:
            code = crew.code(name)
            if code not in (None, 0) or (code == 0 and name.startswith("worker")):
                crew.start(name)
        return all(crew.code(name) == 0 for name in notebooks)

    for name in victims:
        watch.kill(name, lambda name=name: crew.kill(name), is_over)
    wait_for(lambda: is_over() and watch.look())


MANY = ["worker 1"] * 5 + ["worker 2"] * 4 + ["scheduler"] * 4 + ["first"] * 3 + ["second"] * 2
random.Random(20).shuffle(MANY)


@pytest.mark.parametrize(
    ("victims", "steps", "in_batch"),
    [
        pytest.param(["worker 1", "first", "scheduler"], 20, False, id="three"),
        pytest.param(MANY, 60, True, id="twenty", marks=pytest.mark.slow),
    ],
)
def test_kills_cost_nothing_but_time(tiny, tmp_path, crew, victims, steps, in_batch):
    """Kernel, runner, workers, schedulers, notebooks, at random moments of the work."""
    seeds = (0, 1) if in_batch else (0,)
    study = small(tiny, ("pos", "nli"), seeds, steps)
    targets = {"first": ("pos",), "second": ("nli",)}
    notebooks = {name: small(tiny, tasks, seeds, steps) for name, tasks in targets.items()}
    store = tmp_path / "store"
    watch = Watch(store, study)
    try:
        if in_batch:
            kill_in_a_batch(watch, tmp_path, study)
        kill_on_a_cluster(watch, crew, notebooks, victims)
    finally:
        print(*watch.kills, sep="\n")
    assert len(watch.kills) == len(victims) + 2 * in_batch
    assert_complete(store, study)
    crew.start("alone", ask, study, tmp_path / "alone")
    assert crew.wait("alone") == [0]
    assert numbers(store) == numbers(tmp_path / "alone")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(("harm", "workers"), [(flip_a_bit, 1), (Path.unlink, 2)])
def test_a_damaged_stage_is_made_again_and_no_other(undisturbed, tmp_path, harm, workers):
    """With two workers only what is to be made is handed out; one stage is then made here."""
    study, before, expected = undisturbed
    store = Store(shutil.copytree(before, tmp_path / "store"))
    states = identities(store.folder)
    damaged = study.stages[0].key
    harm(store.path(damaged) / "model.safetensors")
    with pytest.warns(UserWarning, match="damaged"):
        study.run(store, workers=workers)
    states_after = identities(store.folder)
    assert {key for key in states if states[key] != states_after[key]} == {damaged}
    assert numbers(store.folder) == expected
    assert [p.name.split("-")[0] for p in (store.folder / "torn").iterdir()] == [damaged]


def test_two_runs_on_one_store_make_each_stage_once(undisturbed, tmp_path, crew):
    study, _, expected = undisturbed
    watch = Watch(tmp_path / "store", study)
    for name in ("one", "other"):
        crew.start(name, ask, study, watch.folder, workers=1)
    wait_for(lambda: watch.look() and None not in [crew.code("one"), crew.code("other")])
    assert crew.wait("one", "other") == [0, 0]
    assert_complete(watch.folder, study)
    assert numbers(watch.folder) == expected


def jumping_clock(log: Path, study, folder: Path) -> None:
    """Every look at the clock shows another year."""
    years = random.Random(1)
    time.time = lambda: years.uniform(0, 4e9)
    time.time_ns = lambda: years.randrange(4 * 10**18)
    ask(log, study, folder, workers=1)


def test_a_killed_process_whose_clock_jumps_ends_with_the_same_numbers(undisturbed, tmp_path, crew):
    study, _, expected = undisturbed
    watch = Watch(tmp_path / "store", study)
    crew.start("jumps", jumping_clock, study, watch.folder)
    wait_for(lambda: watch.look() > 3 or crew.code("jumps") is not None)
    crew.kill("jumps")
    crew.start("jumps")
    assert crew.wait("jumps") == [0], crew.log("jumps")
    assert watch.look() and numbers(watch.folder) == expected


@pytest.fixture
def mounted(tmp_path):
    """``mounted("size=1m")``: a file system apart, for those who may mount one."""
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
    states = identities(disk)
    assert len(states) < len(study.stages)
    subprocess.run(["mount", "-o", f"remount,size={whole * 4}", str(disk)], check=True)
    study.run(Store(disk))
    assert states.items() <= identities(disk).items()
    assert_complete(disk, study)
    assert numbers(disk) == expected


def test_a_store_that_is_read_only_serves_what_it_has(undisturbed, tiny, mounted):
    study, before, expected = undisturbed
    folder = shutil.copytree(before, mounted("size=64m") / "store")
    subprocess.run(["mount", "-o", "remount,ro", str(folder.parent)], check=True)
    for workers in (1, 2):
        results = study.run(Store(folder), workers=workers)
        assert len(results.predictions) and numbers(folder) == expected
    with pytest.raises(OSError, match=r"can be read.*XLTKIT_STORE"):
        small(tiny, ("retrieval",)).run(Store(folder))
