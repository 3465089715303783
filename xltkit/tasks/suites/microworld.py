"""The tasks of the microworld as rows of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datasets import Dataset

from xltkit.data.microworld.generate import NER_TAGS, POS_TAGS, SIZES, MicroworldSource
from xltkit.data.microworld.languages import LANGUAGES, language
from xltkit.data.microworld.meanings import NLI_LABELS, PARAPHRASE_LABELS
from xltkit.tasks.base import ImageTextSuite, Suite, Task, TrainingArguments, TrainingSet


class _EveryLanguage(Mapping):
    """The same config in every language, those with knobs turned (``qbe-x-sov``) among them."""

    def __init__(self, config: str):
        self.config = config

    def __getitem__(self, code: str) -> str:
        try:
            language(code)
        except ValueError as error:
            raise KeyError(code) from error
        return self.config

    def __iter__(self) -> Iterator[str]:
        return iter(LANGUAGES)

    def __len__(self) -> int:
        return len(LANGUAGES)


def _unchanged(rows: Dataset, code: str) -> Dataset:
    return rows


def _descriptions(rows: Dataset, code: str) -> Dataset:
    """The candidates of ``linking``: right and wrong descriptions of its test rows, each once."""
    texts = list(dict.fromkeys([*rows["text"][:], *rows["negative"][:]]))
    ids = [f"description-{i}" for i in range(len(texts))]
    contexts = [""] * len(texts)
    keys = [[text] for text in texts]
    return Dataset.from_dict({"id": ids, "text": texts, "context": contexts, "keys": keys})


def _task(
    name: str,
    kind: str,
    metric: str,
    chance: float,
    *,
    generator: str = "",
    labels: tuple[str, ...] = (),
    rows: int = 4000,
    steps: int = 200,
    batch_size: int = 32,
    rate: float = 1e-3,
    has_test: bool = True,
) -> Task:
    """A row of the table: every task of the microworld has the same splits.

    Args:
        name: of the task.
        kind: of the task.
        metric: of the task.
        chance: of the task.
        generator: if another than that of the task's own name.
        labels: of the task.
        rows: the usual number of training rows.
        steps: of the usual training, as ``batch_size`` and learning ``rate`` are.
        batch_size: in rows.
        rate: of learning.
        has_test: whether it is scored, or for training only.
    """
    generator = generator or name

    def source(split: str, config: str) -> MicroworldSource:
        return MicroworldSource("microworld", split, _EveryLanguage(config), _unchanged)

    candidates = None
    if kind == "ranking":
        candidates = MicroworldSource("microworld", "test", {"en": name}, _descriptions)
    return Task(
        name=name,
        kind=kind,
        metric=metric,
        chance=chance,
        train=source("train", f"{generator}:{rows}"),
        validation=source("validation", generator) if has_test else None,
        test=source("test", generator) if has_test else None,
        candidates=candidates,
        labels=labels,
        training=TrainingArguments(
            steps=steps, batch_size=batch_size, learning_rate=rate, max_length=96
        ),
        note="invented; nothing here is a claim about a real benchmark",
    )


_NLI = {"kind": "classification", "metric": "accuracy", "chance": 100 / 3, "labels": NLI_LABELS}
# Training that shapes the encoder. What comes between pretraining and a target has a gentler rate:
# the target has to live with what is left of the encoder.
_PRETRAINING = {"steps": 2000, "batch_size": 64, "rate": 2e-3}
_INTERMEDIATE = {"steps": 300, "batch_size": 32, "rate": 5e-4}
_ROWS = (
    _task("nli", **_NLI, steps=400, rate=7e-4),
    _task(
        "paraphrase",
        "classification",
        "accuracy",
        50.0,
        labels=PARAPHRASE_LABELS,
        steps=400,
        rate=4e-4,
    ),
    _task("qa", "span", "f1", 0.0, rows=20000, steps=1500, batch_size=16, rate=5e-4),
    # The same questions with few labels, as TyDiQA stands to SQuAD.
    _task(
        "qa-small",
        "span",
        "f1",
        0.0,
        generator="qa",
        rows=400,
        steps=120,
        batch_size=16,
        rate=5e-4,
    ),
    _task("choice", "choice", "accuracy", 50.0, steps=80, batch_size=16),
    _task("pos", "tagging", "accuracy", 0.0, labels=POS_TAGS, steps=50, batch_size=16),
    _task("ner", "tagging", "f1", 0.0, labels=NER_TAGS, steps=80, batch_size=16),
    _task("retrieval", "retrieval", "accuracy", 100 / SIZES["test"]),
    # Its candidates are English, two a row. Chance: the mean of 1/rank, up to rank 20.
    _task("linking", "ranking", "mrr@20", 180 / SIZES["test"], steps=100, rate=7e-4),
    _task("captions", "captions", "r@1", 100 / SIZES["test"], steps=300, batch_size=64, rate=7e-4),
    _task("caption-pairs", "text", "", 0.0, steps=300, batch_size=64, rate=7e-4, has_test=False),
    _task("text", "text", "", 0.0, rows=12000, **_PRETRAINING, has_test=False),
    _task("pairs", "text", "", 0.0, **_PRETRAINING, has_test=False),
    # Intermediate tasks that are no targets, large and small.
    _task("nli-large", **_NLI, rows=20000, **_INTERMEDIATE),
    _task("qa-large", "span", "f1", 0.0, rows=20000, **_INTERMEDIATE),
    _task("continuation", "choice", "accuracy", 50.0, rows=8000, **_INTERMEDIATE),
    _task("odd-one-out", "choice", "accuracy", 25.0, rows=1000, **_INTERMEDIATE),
)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}

TARGETS = ("nli", "paraphrase", "qa", "qa-small", "choice", "pos", "ner", "retrieval", "linking")
SUITES: dict[str, Suite] = {
    "microworld": Suite(
        name="microworld",
        targets={name: (name,) for name in TARGETS},
        order_pairs={
            "size": (TrainingSet("nli-large"), TrainingSet("continuation", "en", 200)),
            "language": (TrainingSet("qa", "qbe", 4000), TrainingSet("qa", "qbu", 4000)),
        },
        encoder="micro",
        intermediate_tasks=("nli", "qa-large", "choice", "odd-one-out"),
        translated=tuple(TrainingSet("odd-one-out", code) for code in ("en", "qbe", "qke", "qto")),
        multilingual=tuple(TrainingSet("qa-large", code) for code in ("en", "qbe", "qke", "qto")),
        text=tuple(TrainingSet("text", code, 200) for code in LANGUAGES),
        intermediate_training=TrainingArguments(
            steps=150, batch_size=16, learning_rate=5e-4, max_length=96
        ),
        images=ImageTextSuite(
            captions="captions",
            test_captions="captions",
            tower="micro-vision",
            teacher="micro-clip",
            text=("nli-large", "qa-large"),
            training=TrainingArguments(steps=150, batch_size=32, learning_rate=5e-4, max_length=96),
        ),
        is_microworld=True,
    )
}
