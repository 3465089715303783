"""What tests of data share: no network, nothing remembered, small tables in a folder as mirror."""

import datasets
import huggingface_hub
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from xltkit.data import loading

NLI_NAMES = ("entailment", "neutral", "contradiction")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No network, and no warning or answer of the Hub that another test was given."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    loading.warn_once.cache_clear()
    loading._ask_hub.cache_clear()
    yield
    loading._ask_hub.cache_clear()


@pytest.fixture
def put(tmp_path, monkeypatch):
    """``put(rows, "org/name/config/split")`` keeps rows in a mirror, which is the one looked at."""
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))

    def put(rows, path):
        file = tmp_path / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(file)
        return file

    return put


@pytest.fixture
def pairs():
    """Makes sentence pairs with labels, by the Hub's names of columns and classes."""

    def pairs(labels, first="premise", second="hypothesis", names=NLI_NAMES):
        label = ClassLabel(names=list(names)) if names else Value("int64")
        features = Features({first: Value("string"), second: Value("string"), "label": label})
        texts = [f"{i}\r\n" for i in range(len(labels))]
        rows = {first: texts, second: texts, "label": labels}
        return Dataset.from_dict(rows, features=features)

    return pairs
