"""Finished stages stay whole, torn ones are made again, two processes do not make one twice."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time

import pytest
from safetensors import SafetensorError

from xltkit.studies.store import Store

KEY = "0123456789abcdef"


class Filling:
    """Makes a stage of two files, and counts how often."""

    count = 0

    def __call__(self, folder):
        self.count += 1
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "result").mkdir(exist_ok=True)
        (folder / "result" / "scores.parquet").write_bytes(b"scores")
        return {"wall_s": 1.0}


def test_a_finished_stage_is_not_made_again(store):
    fill = Filling()
    for _ in range(2):
        folder = store.get(KEY, {"phase": "Target"}, fill)
    assert fill.count == 1 and store.is_usable(KEY)
    record = json.loads((folder / "signature.json").read_text())
    assert record["signature"] == {"phase": "Target"} and record["cost"] == {"wall_s": 1.0}


def relist(folder, name, content=b""):
    """Make the list of a stage's files name one more."""
    record = json.loads((folder / "signature.json").read_text())
    record["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "signature.json").write_text(json.dumps(record))


def truncated(folder, outside):
    os.truncate(folder / "model.safetensors", 3)


def changed(folder, outside):
    (folder / "result" / "scores.parquet").write_bytes(b"scoreS")


def missing(folder, outside):
    (folder / "model.safetensors").unlink()


def record_cut_off(folder, outside):
    (folder / "signature.json").write_text('{"key": ')


def record_too_deep(folder, outside):
    (folder / "signature.json").write_text("[" * 100_000)


def pickle_added(folder, outside):
    (folder / "optimizer.bin").write_bytes(b"cos\nsystem")


def pickle_listed(folder, outside):
    (folder / "weights.pt").write_bytes(b"")
    relist(folder, "weights.pt")


def file_not_listed(folder, outside):
    (folder / "more.json").write_text("{}")


def link(folder, outside):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(outside)


def link_to_folder(folder, outside):
    (folder / "more").symlink_to(outside.parent)


def link_for_the_stage(folder, outside):
    folder.rename(outside.parent / "elsewhere")
    folder.symlink_to(outside.parent / "elsewhere")


def absolute_name(folder, outside):
    relist(folder, str(outside), outside.read_bytes())


def name_above(folder, outside):
    (folder.parent / "up.json").write_bytes(b"")
    relist(folder, "../up.json")


HARMS = [truncated, changed, missing, record_cut_off, record_too_deep, pickle_added, pickle_listed]
HARMS += [file_not_listed, link, link_to_folder, link_for_the_stage, absolute_name, name_above]


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_torn_or_slipped_in_is_set_aside_and_made_again(store, tmp_path, harm):
    outside = tmp_path / "outside" / "secret.safetensors"
    outside.parent.mkdir()
    outside.write_bytes(b"weights")
    fill = Filling()
    harm(store.get(KEY, {}, fill), outside)
    assert not store.is_usable(KEY)
    with pytest.warns(UserWarning, match="damaged"):
        folder = store.get(KEY, {}, fill)
    assert fill.count == 2 and not folder.is_symlink() and store.is_usable(KEY)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"model.safetensors", "scores.parquet", "signature.json"}
    assert len(list((store.folder / "torn").iterdir())) == 1
    assert outside.read_bytes() == b"weights"


def test_an_attempt_that_fails_leaves_no_stage_and_keeps_its_checkpoint(store):
    def fails(folder):
        (folder / "checkpoint-4").mkdir()
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.get(KEY, {}, fails)
    assert not store.has(KEY)
    seen = []
    store.get(KEY, {}, lambda f: seen.extend(p.name for p in f.iterdir()) or Filling()(f))
    assert seen == ["checkpoint-4"]


def test_of_an_earlier_attempt_only_what_is_ours_is_kept(store, tmp_path):
    partial = store.folder / f"{KEY}.partial"
    partial.mkdir(parents=True)
    (partial / "log.json").symlink_to(tmp_path / "target")
    with pytest.warns(UserWarning, match="earlier attempt is deleted"):
        store.get(KEY, {}, Filling())
    assert not (store.path(KEY) / "log.json").is_symlink()


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_what_to_do_and_harms_nothing(store, error):
    def full(folder):
        raise error

    store.get("f" * 16, {}, Filling())
    with pytest.raises(OSError, match=r"Make room.*XLTKIT_STORE") as caught:
        store.get(KEY, {}, full)
    assert caught.value.errno == 28
    assert store.has("f" * 16) and not store.has(KEY)


def test_what_could_be_a_pickle_is_not_kept(store):
    def sneaky(folder):
        (folder / "optimizer.pt").write_bytes(b"")
        return {}

    with pytest.raises(ValueError, match=r"optimizer\.pt"):
        store.get(KEY, {}, sneaky)


@pytest.mark.parametrize("is_killed", [False, True])
def test_two_processes_make_a_stage_once_and_a_killed_one_holds_no_lock(store, is_killed):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    count = context.Value("i", 0)

    def make(folder):
        ready.set()
        time.sleep(0.5)
        count.value += 1
        return Filling()(folder)

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
    with pytest.raises(OSError, match="cannot be made there"):
        store.get(KEY, {}, Filling())
    assert precious.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_without_permission_says_what_to_do(store):
    store.get("f" * 16, {}, Filling())
    store.folder.chmod(0o500)
    try:
        assert store.is_usable("f" * 16)
        with pytest.raises(PermissionError, match="XLTKIT_STORE"):
            store.get(KEY, {}, Filling())
    finally:
        store.folder.chmod(0o700)
