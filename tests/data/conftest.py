"""What tests of data share: no network, nothing remembered, small tables in a folder as mirror."""

import datasets
import huggingface_hub
import pytest

from xltkit.data import loading


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No network, and no warning or answer of the Hub that another test was given."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
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
