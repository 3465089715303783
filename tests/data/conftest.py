"""What tests of data share: nothing remembered, small tables in a folder as mirror, a fake Hub."""

import datasets
import huggingface_hub
import pytest
from tables import pairs

from xltkit.data import loading, readers
from xltkit.data.loading import Source
from xltkit.tasks.base import Task


@pytest.fixture(autouse=True)
def forgetful():
    """No rows, no warning and no answer of the Hub that another test was given."""
    for cached in (loading.warn_once, loading._ask_hub, loading._rows):
        cached.cache_clear()
    yield
    loading._ask_hub.cache_clear()


@pytest.fixture
def unset(monkeypatch):
    """No mirror."""
    monkeypatch.delenv("XLTKIT_HUB", raising=False)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """An empty folder as the mirror."""
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path


@pytest.fixture
def put(mirror):
    """``put(rows, path)`` keeps rows, or a text, in the mirror."""

    def put(rows, path):
        file = mirror / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(rows, str):
            file.write_bytes(rows.encode())
        else:
            rows.to_parquet(file)
        return file

    return put


@pytest.fixture
def demo(put):
    """A task whose test rows the mirror has in German and Swahili, and not in French."""
    for code, labels in (("de", [0, 1, 2]), ("sw", [0, 0, 0])):
        put(pairs(labels), f"demo/pairs/{code}/test.parquet")
    configs = {"fr": "fr", "de": "de", "sw": "sw"}
    columns = ("premise", "hypothesis", "label")
    source = Source("demo/pairs", "test", configs, readers.nli, "a" * 40, columns)
    return Task("demo", "classification", "f1", 33.3, test=source, labels=readers.NLI_LABELS)


@pytest.fixture
def hub(monkeypatch):
    """``hub(commit, rows)`` puts a Hub in the place of the mirror and lists what it is asked.

    It has one commit and some rows; an error in the place of either is raised.
    """

    def given(answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    def hub(commit, rows=None):
        asked = []

        def dataset_info(api, hub, revision):
            asked.append((hub, revision))
            return huggingface_hub.hf_api.DatasetInfo(id=hub, sha=given(commit), tags=[])

        def load_dataset(hub, **options):
            asked.append((hub, options))
            return given(rows)

        monkeypatch.delenv("XLTKIT_HUB", raising=False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        loading._ask_hub.cache_clear()
        return asked

    return hub
