"""What every test can use: no network, a store of its own, an encoder small enough for seconds."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

# Processes that tests start find the package, installed or not, and the modules of a crew.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), str(Path(__file__).with_name("studies"))]
)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["XLTKIT_BATCH"] = "1"  # no progress bars
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tests of bit-identity need one thread count, and two cores are shared with other jobs."""
    torch.set_num_threads(1)


@pytest.fixture
def killed_at(monkeypatch):
    """``with killed_at(3): ...``: training inside has to reach step 3, and dies there."""
    from xltkit.training import loop

    real = loop._backward

    @contextmanager
    def until(stop: int):
        def dies(*args):
            if args[-1] == stop:
                raise KeyboardInterrupt
            return real(*args)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(loop, "_backward", dies)
            yield

    return until


@contextmanager
def in_fp32():
    """fp32 on any hardware. A process has one precision from its first training on, unless told."""
    from accelerate.state import AcceleratorState

    from xltkit.models import device

    AcceleratorState._reset_state(True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(device, "precision", lambda: "no")
        yield
    AcceleratorState._reset_state(True)


@pytest.fixture
def fp32():
    with in_fp32():
        yield


@pytest.fixture
def store(tmp_path):
    from xltkit.studies.store import Store

    return Store(tmp_path / "store")


@pytest.fixture
def crew(tmp_path):
    """Processes that a test can start and kill."""
    from crew import Crew

    crew = Crew(tmp_path)
    yield crew
    for name in crew.running:
        crew.kill(name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> str:
    """The folder of an untrained XLM-R of one layer, with a tokenizer of the microworld."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM

    from xltkit.data.microworld.languages import LANGUAGES
    from xltkit.studies import build_micro

    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patched:
        for name, size in {"LAYERS": 2, "WIDTH": 32, "VOCABULARY": 400}.items():
            patched.setattr(build_micro, name, size)
        # Of low resource: little text to read.
        build_micro.write_blank(folder, [LANGUAGES["qas"], LANGUAGES["qbu"]])
    torch.manual_seed(0)
    shape = XLMRobertaConfig.from_pretrained(folder, hidden_dropout_prob=0.1, intermediate_size=128)
    XLMRobertaForMaskedLM(shape).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tokenizer(tiny):
    from xltkit.models.checkpoints import load_tokenizer

    return load_tokenizer(tiny)


@pytest.fixture(scope="session")
def byte_level():
    """A tokenizer of RoBERTa's kind without merges: each byte, and the space before it, a token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["<s>", "</s>", "<pad>", "<unk>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    special = {"pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="session")
def browser():
    """A Chromium that the machine has; one from a package manager, since none can be pinned."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if not path:
        pytest.skip("no browser: install one, such as Debian's chromium, to test pages in it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def looked_at(tiny, tmp_path_factory):
    """Results of two arms on a task of every kind that is looked at; the second aligns ``qad``."""
    import xltkit as xlt
    from xltkit.studies.stages import Recipe
    from xltkit.studies.store import Store

    aligned = xlt.Align(pairs=(xlt.TrainingSet("pairs", "qad", 20),))
    base = Recipe(tiny)
    arms = {
        "none": base.then(xlt.Target(examples=60)),
        "aligned": base.then(xlt.Target(examples=60, align=aligned)),
    }
    targets = ["nli", "choice", "pos", "qa", "retrieval"]
    options = {"steps": 6, "examples": 20, "languages": ["en", "qad", "qto"]}
    store = Store(tmp_path_factory.mktemp("looked_at") / "store")
    with in_fp32():  # in bf16 a batch of other rows rounds otherwise
        return xlt.study(arms, targets, [0, 1], **options).run(store)
