"""The tasks of the microworld as rows of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from datasets import Dataset

from xltkit.data.microworld.generate import NER_TAGS, POS_TAGS, SIZES, MicroworldSource
from xltkit.data.microworld.languages import LANGUAGES, language
from xltkit.data.microworld.meanings import NLI_LABELS, PARAPHRASE_LABELS
from xltkit.tasks.base import Images, Suite, Task, TrainingArguments, TrainingSet


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


def _as_it_is(rows: Dataset, code: str) -> Dataset:
    return rows


def _descriptions(rows: Dataset, code: str) -> Dataset:
    """The candidates of ``linking``: right and wrong descriptions of its test rows, each once."""
    texts = list(dict.fromkeys([*rows["text"][:], *rows["negative"][:]]))
    columns = {"text": texts, "context": [""] * len(texts), "keys": [[text] for text in texts]}
    return Dataset.from_dict({"id": [f"description-{i}" for i in range(len(texts))]} | columns)


def _task(
    name: str, kind: str, metric: str, chance: float, *, data: str = "",
    labels: tuple[str, ...] = (), train: int = 4000,
    training: tuple[int, int, float] = (200, 32, 1e-3), tested: bool = True,
) -> Task:  # fmt: skip
    """A row of the table: every task of the microworld has the same splits.

    ``data`` names the generator, if another than the task itself, and ``train`` its training rows.
    """
    data = data or name

    def source(split: str, config: str) -> MicroworldSource:
        return MicroworldSource("microworld", split, _EveryLanguage(config), _as_it_is)

    steps, batch_size, rate = training
    return Task(
        name=name,
        kind=kind,
        metric=metric,
        chance=chance,
        train=source("train", f"{data}:{train}"),
        validation=source("validation", data) if tested else None,
        test=source("test", data) if tested else None,
        candidates=MicroworldSource("microworld", "test", {"en": name}, _descriptions)
        if kind == "ranking"
        else None,
        labels=labels,
        training=TrainingArguments(
            steps=steps, batch_size=batch_size, learning_rate=rate, max_length=96
        ),
        note="invented; nothing here is a claim about a real benchmark",
    )


_PRETRAINING, _INTERMEDIATE = (2000, 64, 2e-3), (300, 32, 5e-4)
TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _task(
            "nli",
            "classification",
            "accuracy",
            100 / 3,
            labels=NLI_LABELS,
            training=(400, 32, 7e-4),
        ),
        _task(
            "paraphrase",
            "classification",
            "accuracy",
            50.0,
            labels=PARAPHRASE_LABELS,
            training=(400, 32, 4e-4),
        ),
        _task("qa", "span", "f1", 0.0, train=20000, training=(1500, 16, 5e-4)),
        # The same questions with few labels, as TyDiQA stands to SQuAD.
        _task("qa-small", "span", "f1", 0.0, data="qa", train=400, training=(120, 16, 5e-4)),
        _task("choice", "choice", "accuracy", 50.0, training=(80, 16, 1e-3)),
        _task("pos", "tagging", "accuracy", 0.0, labels=POS_TAGS, training=(50, 16, 1e-3)),
        _task("ner", "tagging", "f1", 0.0, labels=NER_TAGS, training=(80, 16, 1e-3)),
        _task("retrieval", "retrieval", "accuracy", 100 / SIZES["test"]),
        # Its candidates are English, two a row. Chance: the mean of 1/rank, up to rank 20.
        _task("linking", "ranking", "mrr@20", 180 / SIZES["test"], training=(100, 32, 7e-4)),
        _task("captions", "captions", "r@1", 100 / SIZES["test"], training=(300, 64, 7e-4)),
        _task("caption-pairs", "text", "", 0.0, training=(300, 64, 7e-4), tested=False),
        _task("text", "text", "", 0.0, train=12000, training=_PRETRAINING, tested=False),
        _task("pairs", "text", "", 0.0, training=_PRETRAINING, tested=False),
        # Intermediate tasks that are no targets, large and small. A gentler rate than a target's:
        # what comes after has to live with what is left of the encoder.
        _task(
            "nli-large",
            "classification",
            "accuracy",
            100 / 3,
            labels=NLI_LABELS,
            train=20000,
            training=_INTERMEDIATE,
        ),
        _task("qa-large", "span", "f1", 0.0, train=20000, training=_INTERMEDIATE),
        _task("continuation", "choice", "accuracy", 50.0, train=8000, training=_INTERMEDIATE),
        _task("odd-one-out", "choice", "accuracy", 25.0, train=1000, training=_INTERMEDIATE),
    )
}

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
        images=Images(
            captions="captions",
            tested="captions",
            tower="micro-vision",
            teacher="micro-clip",
            text=("nli-large", "qa-large"),
            training=TrainingArguments(steps=150, batch_size=32, learning_rate=5e-4, max_length=96),
        ),
        is_microworld=True,
    )
}
