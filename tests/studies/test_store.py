"""Finished stages stay whole, torn ones are made again, two processes do not make one twice."""

import hashlib
import json
import multiprocessing
import os
import time

import pytest
from safetensors import SafetensorError

from xltkit.studies.store import Store

KEY = "0123456789abcdef"
OTHER = "f" * 16


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
        store.get(KEY, {"phase": "Target"}, fill)
    assert fill.count == 1 and store.is_usable(KEY)
    record = store.record(KEY)
    assert record["signature"] == {"phase": "Target"} and record["cost"] == {"wall_s": 1.0}


def relist(folder, name, content=b""):
    """Make the list of a stage's files name one more."""
    record = json.loads((folder / "signature.json").read_text())
    record["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "signature.json").write_text(json.dumps(record))


def harm(stage, way, secret):
    """Damage a stage, or slip something in that lies or points elsewhere."""
    weights = stage / "model.safetensors"
    signature = stage / "signature.json"
    elsewhere = secret.parent / "elsewhere"
    match way:
        case "truncated":
            os.truncate(weights, 3)
        case "changed":
            (stage / "result" / "scores.parquet").write_bytes(b"scoreS")
        case "missing":
            weights.unlink()
        case "record cut off":
            signature.write_text('{"key": ')
        case "record too deep":
            signature.write_text("[" * 100_000)
        case "pickle":
            (stage / "optimizer.bin").write_bytes(b"cos\nsystem")
        case "pickle that is listed":
            (stage / "weights.pt").write_bytes(b"")
            relist(stage, "weights.pt")
        case "not listed":
            (stage / "more.json").write_text("{}")
        case "link":
            weights.unlink()
            weights.symlink_to(secret)
        case "link to a folder":
            (stage / "more").symlink_to(secret.parent)
        case "link for the stage":
            stage.rename(elsewhere)
            stage.symlink_to(elsewhere)
        case "absolute name":
            relist(stage, str(secret), secret.read_bytes())
        case "name above":
            (stage.parent / "up.json").write_bytes(b"")
            relist(stage, "../up.json")


WAYS = ["truncated", "changed", "missing", "record cut off", "record too deep", "pickle"]
WAYS += ["pickle that is listed", "not listed", "link", "link to a folder", "link for the stage"]
WAYS += ["absolute name", "name above"]


@pytest.mark.parametrize("way", WAYS)
def test_what_is_torn_or_slipped_in_is_set_aside_and_made_again(store, tmp_path, way):
    secret = tmp_path / "outside" / "secret.safetensors"
    secret.parent.mkdir()
    secret.write_bytes(b"weights")
    fill = Filling()
    harm(store.get(KEY, {}, fill), way, secret)
    assert not store.is_usable(KEY)
    with pytest.warns(UserWarning, match="damaged"):
        folder = store.get(KEY, {}, fill)
    assert fill.count == 2 and not folder.is_symlink() and store.is_usable(KEY)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names == {"model.safetensors", "scores.parquet", "signature.json"}
    assert len(list((store.folder / "torn").iterdir())) == 1
    assert secret.read_bytes() == b"weights"


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
    store.get(KEY, {}, lambda f: names.extend(p.name for p in f.iterdir()) or Filling()(f))
    assert names == ["checkpoint-4.safetensors"] and store.is_usable(KEY)


NO_SPACE = "No space left on device"


@pytest.mark.parametrize(
    "error", [OSError(28, NO_SPACE), SafetensorError(f"I/O error: {NO_SPACE} (os error 28)")]
)
def test_a_full_disk_says_what_to_do_and_harms_nothing(store, error):
    def full(folder):
        raise error

    store.get(OTHER, {}, Filling())
    with pytest.raises(OSError, match=r"Make room.*XLTKIT_STORE") as caught:
        store.get(KEY, {}, full)
    assert caught.value.errno == 28
    assert store.has(OTHER) and not store.has(KEY)


def test_what_could_be_a_pickle_is_not_kept(store):
    with pytest.raises(ValueError, match=r"optimizer\.pt"):
        store.get(KEY, {}, lambda folder: (folder / "optimizer.pt").write_bytes(b""))


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
    with pytest.raises(OSError, match="cannot be made"):
        store.get(KEY, {}, Filling())
    assert precious.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_without_permission_says_what_to_do(store):
    store.get(OTHER, {}, Filling())
    store.folder.chmod(0o500)
    try:
        assert store.is_usable(OTHER)
        with pytest.raises(PermissionError, match="XLTKIT_STORE"):
            store.get(KEY, {}, Filling())
    finally:
        store.folder.chmod(0o700)
