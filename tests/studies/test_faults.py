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

import psutil
import pytest
from crew import Crew, ask, is_alive, numbers, wait_for
from repository import write_repository

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
    files = listed(folder, f"{'?' * 16}/signature.json")
    return {file.parent.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def assert_complete(folder: Path, study) -> None:
    assert set(identities(folder)) == {stage.key for stage in study.stages}
    assert not list(folder.glob("*.partial")) and not (folder / "torn").exists()


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    """A study that nothing happened to, its store and its numbers."""
    store = Store(tmp_path_factory.mktemp("undisturbed"))
    small(tiny).run(store)
    return small(tiny), store.folder, numbers(store.folder)


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
    """import os, pickle, xltkit
from pathlib import Path
run = xltkit.start(globals())
Path("kernel").write_text(str(os.getpid()))
results = pickle.loads(Path("study").read_bytes()).run()
run.finish({"scores": results.scores}, "It went on.")""",
]


def run_batch(root: Path, workers: int) -> subprocess.Popen:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "XLTKIT_CHECKPOINT_SECONDS": "0",
        "XLTKIT_STORE": str(root / "store"),
    }
    # No new start by itself: the test starts again what it killed.
    command = [sys.executable, "-m", "xltkit", "run", "--retries=0", f"--workers={workers}"]
    log = (root / "batch.log").open("ab")
    return subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log)


def kill_in_a_batch(watch: Watch, root: Path, study) -> None:
    """One kernel and one runner of a real batch, whose one notebook runs the study."""
    write_repository(root, {"one": CELLS})
    (root / "study").write_bytes(pickle.dumps(study))
    runner = run_batch(root, workers=1)

    def kill_kernel() -> None:
        os.kill(int((root / "kernel").read_text()), signal.SIGKILL)
        runner.wait()

    def kill_runner() -> None:
        """With it end the kernel, and the workers that it shares with others."""
        started = psutil.Process(runner.pid).children(recursive=True)
        assert len(started) >= 4  # the notebook's process, its kernel, two workers
        runner.kill()
        runner.wait()
        wait_for(lambda: not any(is_alive(process.pid) for process in started))

    try:
        watch.kill("kernel", kill_kernel, lambda: runner.poll() is not None)
        runner = run_batch(root, workers=2)
        watch.kill("runner", kill_runner, lambda: runner.poll() is not None)
    finally:
        runner.kill()


def kill_on_a_cluster(watch: Watch, crew: Crew, notebooks: dict, victims: list[str]) -> None:
    """Workers, schedulers and notebooks, in the order given; who has ended is started again."""
    crew.cluster(2)
    for name, study in notebooks.items():
        crew.start(name, ask, study, watch.folder, scheduler=crew.address)

    def is_over() -> bool:
        for name in crew.orders:
            if crew.code(name) not in (None, 0) or (crew.code(name) == 0 and "worker" in name):
                crew.start(name)
        return all(crew.code(name) == 0 for name in notebooks)

    for name in victims:
        watch.kill(name, lambda name=name: crew.kill(name), is_over)
    wait_for(lambda: is_over() and watch.look())


MANY = ["worker 1"] * 5 + ["worker 2"] * 4 + ["scheduler"] * 4 + ["first"] * 3 + ["second"] * 2
random.Random(20).shuffle(MANY)
THREE = pytest.param(["worker 1", "first", "scheduler"], 20, False, id="three")
TWENTY = pytest.param(MANY, 60, True, id="twenty", marks=pytest.mark.slow)


@pytest.mark.parametrize(("victims", "steps", "in_batch"), [THREE, TWENTY])
def test_kills_cost_nothing_but_time(tiny, tmp_path, crew, victims, steps, in_batch):
    """Kernel, runner, workers, schedulers, notebooks, at random moments of the work."""
    seeds = (0, 1) if in_batch else (0,)
    study = small(tiny, ("pos", "nli"), seeds, steps)
    targets = {"first": ("pos",), "second": ("nli",)}
    notebooks = {name: small(tiny, tasks, seeds, steps) for name, tasks in targets.items()}
    watch = Watch(tmp_path / "store", study)
    try:
        if in_batch:
            kill_in_a_batch(watch, tmp_path, study)
        kill_on_a_cluster(watch, crew, notebooks, victims)
    finally:
        print(*watch.kills, sep="\n")
    assert len(watch.kills) == len(victims) + 2 * in_batch
    assert_complete(watch.folder, study)
    crew.start("alone", ask, study, tmp_path / "alone")
    crew.assert_well("alone")
    assert numbers(watch.folder) == numbers(tmp_path / "alone")


def flip_a_bit(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


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


def jumping_clock(log: Path, study, folder: Path) -> None:
    """Every look at the clock shows another year."""
    years = random.Random(1)
    time.time = lambda: years.uniform(0, 4e9)
    time.time_ns = lambda: years.randrange(4 * 10**18)
    ask(log, study, folder, workers=1)


def test_two_runs_whose_clocks_jump_make_each_stage_once(undisturbed, tmp_path, crew):
    """On one store, and one of them is killed."""
    study, _, expected = undisturbed
    watch = Watch(tmp_path / "store", study)
    for name in ("one", "other"):
        crew.start(name, jumping_clock, study, watch.folder)
    wait_for(lambda: watch.look() > 3 or crew.code("one") is not None)
    crew.kill("one")
    crew.start("one")
    wait_for(lambda: watch.look() and None not in [crew.code("one"), crew.code("other")])
    crew.assert_well("one", "other")
    assert_complete(watch.folder, study)
    assert numbers(watch.folder) == expected


@pytest.fixture
def mounted(tmp_path):
    """``mounted("size=1m")``: a file system apart, for those who may mount one."""

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(tmp_path)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a small disk cannot be mounted here")
        return tmp_path

    yield mount
    subprocess.run(["umount", "--lazy", str(tmp_path)], capture_output=True, check=False)


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
