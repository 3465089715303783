"""Finished stages stay whole, torn ones are made again, two processes do not make one twice."""

import gc
import json
import multiprocessing
import os
import time
from unittest.mock import Mock

import pytest
from safetensors import SafetensorError

from xltkit.keys import file_digest
from xltkit.models.checkpoints import INDEX
from xltkit.studies.store import SIGNATURE, Store

KEY = "0123456789abcdef"
OTHER = "f" * 16
WEIGHTS = "model.safetensors"


def fill(folder):
    """Make a stage of two files."""
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / "result").mkdir(exist_ok=True)
    (folder / "result" / "scores.parquet").write_bytes(b"scores")
    return {"wall_s": 1.0}


def test_a_finished_stage_is_not_made_again(store):
    make = Mock(side_effect=fill)
    for _ in range(2):
        store.get(KEY, {"phase": "Target"}, make)
    assert make.call_count == 1 and store.is_usable(KEY)
    record = store.record(KEY)
    assert record["signature"] == {"phase": "Target"} and record["cost"] == {"wall_s": 1.0}


def relist(stage, name, path):
    """Make the list of a stage's files name one more, which is there."""
    path.touch()
    record = json.loads((stage / SIGNATURE).read_text())
    record["files"][name] = file_digest(path)
    (stage / SIGNATURE).write_text(json.dumps(record))


def link(path, target):
    """A link in the place of what was there."""
    if path.exists():
        path.rename(target.with_name("moved"))
    path.symlink_to(target)


def point(stage, folder, file):
    """Let a checkpoint in parts, that is listed with all its parts, take one from a folder."""
    index = {"weight_map": {"a": f"{folder}{file.name}"}}
    (stage / INDEX).write_text(json.dumps(index))
    relist(stage, INDEX, stage / INDEX)
    relist(stage, f"{folder}{file.name}", file)


# Ways to damage a stage, or to slip something in that lies or points elsewhere.
HARMS = {
    "truncated": lambda stage, secret: os.truncate(stage / WEIGHTS, 3),
    "changed": lambda stage, secret: (stage / "result/scores.parquet").write_bytes(b"scoreS"),
    "missing": lambda stage, secret: (stage / WEIGHTS).unlink(),
    "record cut off": lambda stage, secret: (stage / SIGNATURE).write_text('{"key": '),
    "record too deep": lambda stage, secret: (stage / SIGNATURE).write_text("[" * 100_000),
    "pickle": lambda stage, secret: (stage / "optimizer.bin").write_bytes(b"cos\nsystem"),
    "listed pickle": lambda stage, secret: relist(stage, "weights.pt", stage / "weights.pt"),
    "not listed": lambda stage, secret: (stage / "more.json").write_text("{}"),
    "link": lambda stage, secret: link(stage / WEIGHTS, secret),
    "link to a folder": lambda stage, secret: link(stage / "more", secret.parent),
    "link for the stage": lambda stage, secret: link(stage, secret.with_name("moved")),
    "absolute name": lambda stage, secret: relist(stage, str(secret), secret),
    "name above": lambda stage, secret: relist(stage, "../up.json", stage.parent / "up.json"),
    "weights elsewhere": lambda stage, secret: point(stage, "../../outside/", secret),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_what_is_torn_or_slipped_in_is_set_aside_and_made_again(store, tmp_path, harm):
    secret = tmp_path / "outside" / "secret.safetensors"
    secret.parent.mkdir()
    secret.write_bytes(b"weights")
    make = Mock(side_effect=fill)
    harm(store.get(KEY, {}, make), secret)
    gc.collect()  # garbage of other tests, finalized at the bottom of a deep record, would fail
    assert not store.is_usable(KEY)
    with pytest.warns(UserWarning, match="damaged"):
        folder = store.get(KEY, {}, make)
    assert make.call_count == 2 and not folder.is_symlink() and store.is_usable(KEY)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {WEIGHTS, "scores.parquet", SIGNATURE}
    assert len(list((store.folder / "torn").iterdir())) == 1
    assert secret.read_bytes() == b"weights"


@pytest.mark.parametrize("name", [".DS_Store", "result/.nfs01", "Thumbs.db", "@eaDir/a.json"])
def test_what_systems_leave_in_a_stage_does_no_harm(store, name):
    path = store.get(KEY, {}, fill) / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert store.is_usable(KEY)


def test_an_attempt_that_fails_leaves_no_stage_and_keeps_its_checkpoint(store, tmp_path):
    """Nothing else is kept: no link, and no half a file of a writer that was killed."""

    def fails(folder):
        (folder / "checkpoint-4.safetensors").touch()
        (folder / ".tmpLjOh0B").touch()
        (folder / "log.json").symlink_to(tmp_path / "target")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.get(KEY, {}, fails)
    assert not store.has(KEY)
    names = []
    store.get(KEY, {}, lambda f: names.extend(p.name for p in f.iterdir()) or fill(f))
    assert names == ["checkpoint-4.safetensors"] and store.is_usable(KEY)


@pytest.mark.parametrize("error", [OSError(28, "Full"), SafetensorError("Full (os error 28)")])
def test_a_full_disk_says_what_to_do_and_harms_nothing(store, error):
    store.get(OTHER, {}, fill)
    with pytest.raises(OSError, match=r"Make room.*XLTKIT_STORE") as caught:
        store.get(KEY, {}, Mock(side_effect=error))
    assert caught.value.errno == 28
    assert store.has(OTHER) and not store.has(KEY)


def test_what_could_be_a_pickle_is_not_kept(store):
    with pytest.raises(ValueError, match=r"optimizer\.pt"):
        store.get(KEY, {}, lambda folder: (folder / "optimizer.pt").touch())


@pytest.mark.parametrize("is_killed", [False, True])
def test_two_processes_make_a_stage_once_and_a_killed_one_holds_no_lock(store, is_killed):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    count = context.Value("i", 0)

    def make(folder):
        ready.set()
        time.sleep(0.5)
        count.value += 1
        return fill(folder)

    get = (KEY, {}, make)
    both = [context.Process(target=Store(store.folder).get, args=get) for _ in range(2)]
    both[0].start()
    assert ready.wait(30)
    if is_killed:
        both[0].kill()
        both[0].join()
    both[1].start()
    for process in both:
        process.join(30)
    assert count.value == 1 and both[1].exitcode == 0 and store.is_usable(KEY)


def test_a_lock_is_never_a_link(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    store.folder.mkdir()
    (store.folder / f"{KEY}.lock").symlink_to(precious)
    with pytest.raises(OSError, match="cannot be made"):
        store.get(KEY, {}, fill)
    assert precious.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_without_permission_says_what_to_do(store):
    store.get(OTHER, {}, fill)
    store.folder.chmod(0o500)
    try:
        assert store.is_usable(OTHER)
        with pytest.raises(PermissionError, match="XLTKIT_STORE"):
            store.get(KEY, {}, fill)
    finally:
        store.folder.chmod(0o700)
