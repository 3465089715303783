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


def fill(folder):
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "result").mkdir(exist_ok=True)
    (folder / "result" / "scores.parquet").write_bytes(b"scores")
    return {"wall_s": 1.0}


def counted(made):
    def make(folder):
        made.append(1)
        return fill(folder)

    return make


def test_a_finished_stage_is_not_made_again(store):
    made = []
    for _ in range(2):
        folder = store.get(KEY, {"phase": "Target"}, counted(made))
    assert made == [1]
    record = json.loads((folder / "signature.json").read_text())
    assert record["signature"] == {"phase": "Target"} and record["cost"] == {"wall_s": 1.0}


def break_missing(folder):
    (folder / "model.safetensors").unlink()


def break_truncated(folder):
    os.truncate(folder / "model.safetensors", 3)


def break_flipped(folder):
    (folder / "result" / "scores.parquet").write_bytes(b"scoreS")


def break_signature(folder):
    (folder / "signature.json").write_text('{"key": ')


@pytest.mark.parametrize("damage", [break_missing, break_truncated, break_flipped, break_signature])
def test_a_torn_stage_is_set_aside_and_made_again(store, damage):
    made = []
    folder = store.get(KEY, {}, counted(made))
    damage(folder)
    with pytest.warns(UserWarning, match="damaged"):
        folder = store.get(KEY, {}, counted(made))
    assert made == [1, 1] and (folder / "model.safetensors").read_bytes() == b"weights"
    assert len(list((store.folder / "torn").iterdir())) == 1


def test_an_attempt_that_fails_leaves_no_stage_and_keeps_its_checkpoint(store):
    def fails(folder):
        (folder / "checkpoint-4").mkdir()
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        store.get(KEY, {}, fails)
    assert not store.has(KEY)
    seen = []
    store.get(KEY, {}, lambda f: seen.extend(p.name for p in f.iterdir()) or fill(f))
    assert seen == ["checkpoint-4"]


def test_a_full_disk_says_what_to_do_and_harms_nothing(store):
    store.get("f" * 16, {}, fill)

    def full(folder):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="XLTKIT_STORE") as caught:
        store.get(KEY, {}, full)
    assert caught.value.errno == 28
    assert store.has("f" * 16) and not store.has(KEY)


def test_what_could_be_a_pickle_is_refused(store):
    def sneaky(folder):
        (folder / "optimizer.pt").write_bytes(b"")
        return {}

    with pytest.raises(ValueError, match=r"optimizer\.pt"):
        store.get(KEY, {}, sneaky)


def _slowly(folder, ready, made):
    def make(partial):
        ready.set()
        time.sleep(0.5)
        made.value += 1
        return fill(partial)

    Store(folder).get(KEY, {}, make)


def test_two_processes_make_a_stage_once(store):
    context = multiprocessing.get_context("fork")
    ready, made = context.Event(), context.Value("i", 0)
    both = [context.Process(target=_slowly, args=(store.folder, ready, made)) for _ in range(2)]
    both[0].start()
    assert ready.wait(30)
    both[1].start()
    for process in both:
        process.join(30)
    assert made.value == 1 and [p.exitcode for p in both] == [0, 0]


def test_the_lock_of_a_killed_process_is_free(store):
    context = multiprocessing.get_context("fork")
    ready, made = context.Event(), context.Value("i", 0)
    process = context.Process(target=_slowly, args=(store.folder, ready, made))
    process.start()
    assert ready.wait(30)
    process.kill()
    process.join()
    assert store.get(KEY, {}, fill) == store.path(KEY)


def sneak_pickle(folder, outside):
    (folder / "optimizer.bin").write_bytes(b"cos\nsystem")


def sneak_listed_pickle(folder, outside):
    (folder / "weights.pt").write_bytes(b"")
    relist(folder, "weights.pt", hashlib.sha256(b"").hexdigest())


def sneak_unlisted(folder, outside):
    (folder / "more.json").write_text("{}")


def sneak_link(folder, outside):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(outside)


def sneak_folder_link(folder, outside):
    (folder / "more").symlink_to(outside.parent)


def sneak_stage_link(folder, outside):
    folder.rename(outside.parent / "elsewhere")
    folder.symlink_to(outside.parent / "elsewhere")


def sneak_absolute(folder, outside):
    relist(folder, str(outside), hashlib.sha256(outside.read_bytes()).hexdigest())


def sneak_upwards(folder, outside):
    (folder.parent / "up.json").write_bytes(b"")
    relist(folder, "../up.json", hashlib.sha256(b"").hexdigest())


def sneak_depth(folder, outside):
    (folder / "signature.json").write_text("[" * 100_000)


def relist(folder, name, sha):
    """Make the list of a stage's files name one more."""
    record = json.loads((folder / "signature.json").read_text())
    record["files"][name] = sha
    (folder / "signature.json").write_text(json.dumps(record))


SNEAKS = [sneak_pickle, sneak_listed_pickle, sneak_unlisted, sneak_link, sneak_folder_link]
SNEAKS += [sneak_stage_link, sneak_absolute, sneak_upwards, sneak_depth]


@pytest.mark.parametrize("sneak", SNEAKS)
def test_an_entry_that_somebody_slipped_in_is_never_used(store, tmp_path, sneak):
    outside = tmp_path / "outside" / "secret.safetensors"
    outside.parent.mkdir()
    outside.write_bytes(b"weights")
    sneak(store.get(KEY, {}, fill), outside)
    with pytest.warns(UserWarning, match="damaged"):
        assert not store.ready(KEY)
    made = []
    folder = store.get(KEY, {}, counted(made))
    assert made == [1] and not folder.is_symlink() and store.ready(KEY)
    names = {p.name for p in folder.rglob("*") if p.is_file()}
    assert names == {"model.safetensors", "scores.parquet", "signature.json"}
    assert outside.read_bytes() == b"weights"


def test_what_is_left_of_an_attempt_is_kept_only_if_it_is_ours(store, tmp_path):
    partial = store.folder / f"{KEY}.partial"
    partial.mkdir(parents=True)
    (partial / "log.json").symlink_to(tmp_path / "target")
    with pytest.warns(UserWarning, match="earlier attempt is deleted"):
        store.get(KEY, {}, fill)
    assert not (store.path(KEY) / "log.json").is_symlink()


def test_a_lock_is_never_a_link(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    store.folder.mkdir()
    (store.folder / f"{KEY}.lock").symlink_to(precious)
    with pytest.raises(OSError, match="cannot be made there"):
        store.get(KEY, {}, fill)
    assert precious.read_text() == "mine"


def test_a_full_disk_that_safetensors_met_is_told_as_one(store):
    def full(folder):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OSError, match="Make room") as caught:
        store.get(KEY, {}, full)
    assert caught.value.errno == 28


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_without_permission_says_what_to_do(store):
    store.get("f" * 16, {}, fill)
    store.folder.chmod(0o500)
    try:
        assert store.ready("f" * 16)
        with pytest.raises(PermissionError, match="XLTKIT_STORE"):
            store.get(KEY, {}, fill)
    finally:
        store.folder.chmod(0o700)
