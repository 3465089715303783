"""What a task is and what a task type does: the interface of all tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from torch import Tensor

from xltkit.data.loading import Source
from xltkit.tasks import scorers

SPLITS = ("train", "validation", "test", "candidates")
IGNORED = -100  # torch's label for "no target here"


@dataclass(frozen=True)
class TrainingArguments:
    """The default training arguments of a task, unless a phase says otherwise."""

    steps: int = 0
    epochs: float = 0.0  # used only without steps, and converted to steps before anything is keyed
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup: float = 0.1
    weight_decay: float = 0.0
    max_length: int = 128


@dataclass(frozen=True)
class Task:
    """Data in some languages, a task type and a metric."""

    name: str
    kind: str  # the name of the type
    metric: str
    chance: float  # the score (0 to 100) of a model that knows nothing
    train: Source | None = None
    validation: Source | None = None
    test: Source | None = None
    candidates: Source | None = None  # a ranking searches all of its languages at once
    train_on: str = ""  # the task whose training split is used: XQuAD and MLQA use SQuAD's
    labels: tuple[str, ...] = ()  # by index; empty if only the user's own file has them (ccg)
    training: TrainingArguments = field(default_factory=TrainingArguments)
    license: str = ""
    citation: str = ""
    note: str = ""  # the protocol
    is_built_in: bool = False  # in the kit's tables: chunks of its tags are found as in XTREME
    has_language_rules: bool = False  # answers are normalized by the rule of their language (MLQA)

    @property
    def type(self) -> TaskType:
        """What its rows look like, and how they are encoded, trained on, predicted and scored."""
        return TYPES[self.kind]


@dataclass(frozen=True)
class TrainingSet:
    """Training rows of a task in one language."""

    task: str
    language: str = "en"
    examples: int = 0  # 0 means all
    shuffled: bool = False  # labels are permuted: a control that must end at chance
    draw: int = 0  # which random choice of examples

    def __str__(self) -> str:
        return f"{self.task}/{self.language}{' shuffled' if self.shuffled else ''}"


@dataclass(frozen=True, eq=False, slots=True)
class EncodedExample:
    """One unit of a batch: a row, or a part of a long one."""

    example: int  # the number of the row
    sequences: tuple[np.ndarray, ...]  # token ids; a choice has one sequence per alternative
    types: tuple[np.ndarray, ...] = ()  # token types of each sequence, if the tokenizer has any
    target: Any = None  # what the loss compares with
    meta: Any = None  # read only by its task type
    # For each sequence, if requested: the text (0 or 1) of tokens that are whole words, else -1.
    words: tuple[np.ndarray, ...] = ()

    def __len__(self) -> int:
        return max(map(len, self.sequences))


class Head(NamedTuple):
    """The layer between the encoder and a label space, and its number of outputs.

    ``pooling`` is its input: ``sequence`` (pooled), ``token``, ``vector`` (pooled, of length 1,
    times a scale), ``masked`` (the encoder's own language-model head) or ``joint`` (pooled, in a
    joint space with pictures, whose features may pass through an ``image_layer``).
    """

    pooling: str
    size: int = 0
    image_layer: bool = False


class Columns(dict[str, list]):
    """Columns in memory, read like a ``Dataset``, which takes longer to make than to predict."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """From one or more rows with the same keys."""
        return cls({name: [row[name] for row in rows] for name in rows[0]})

    def __getitem__(self, key: str | slice) -> Any:
        return self if isinstance(key, slice) else super().__getitem__(key)


Rows = Dataset | Columns
Examples = list[EncodedExample]
# For each language: its code, a suffix for the names of the metrics (empty unless the same rows are
# read a second time), and the table of ``TaskType.predictions``.
Tables = Iterator[tuple[str, str, pd.DataFrame]]
# A column, whether its values are wrong (by row number), and what is allowed.
Faults = Iterator[tuple[str, pd.Series, str]]


@dataclass(frozen=True)
class Forward:
    """The forward pass that a task type predicts with: rows in, model outputs out."""

    encode: Callable[[Rows], Examples]
    # What ``TaskType.outputs`` keeps; for hidden layers, pooled states (layers, poolings, width).
    run: Callable[[Examples], list[Any]]
    layer: int = 0  # the hidden layer to score
    layers: tuple[int, ...] = ()  # the hidden layers that ``run`` returns
    extra: Mapping[str, Dataset] = field(default_factory=dict)  # rows of ``TaskType.extra_split``
    # Unit vectors of the pictures of some rows, and numbers that are equal for equal pictures.
    images: Callable[[Dataset], tuple[np.ndarray, np.ndarray]] | None = None

    def __call__(self, rows: Mapping[str, Rows]) -> Iterator[tuple[str, Rows, Examples, list[Any]]]:
        """Language, rows, examples and outputs; all languages are read in one stream of batches."""
        encoded = {language: self.encode(part) for language, part in rows.items()}
        outputs = iter(self.run(list(chain.from_iterable(encoded.values()))))
        for language, examples in encoded.items():
            yield language, rows[language], examples, list(islice(outputs, len(examples)))

    def vectors(self, rows: Dataset) -> np.ndarray:
        """The outputs for some rows as one matrix (examples, width); for hidden states, means."""
        outputs = self.run(self.encode(rows))
        if self.layers:
            place = self.layers.index(self.layer)
            outputs = [pooled[place, 0] for pooled in outputs]
        return np.stack(outputs)


class TaskType:
    """How the tasks of a type are read, trained, predicted and scored.

    Methods without a body are implemented by each type. A subclass registers itself in ``TYPES`` by
    its name in lower case, which is ``Task.kind``.
    """

    version = 2  # of the predictions, incremented when they change: part of keys of evaluations
    rows_version = 1  # of how rows that are not generated are encoded and scored: part of all keys
    # The columns of a row. ``id`` is unique within task, split and language; parallel rows have
    # the same id in every language.
    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # columns whose texts or lists may be empty
    aligned: tuple[str, ...] = ()  # two columns with lists of equal length
    texts: tuple[str, ...] = ()  # columns with words, which are shown and may be edited
    gold = ""  # column to predict
    shuffled = "label"  # column that is permuted if labels are shuffled; "" if none has to be
    crossed_text = ""  # the first of two texts, which may be in another language than the second
    extra_split = ""  # read in addition to the tested split
    pooling = "sequence"  # what the head reads, see ``Head``
    head_size = 0  # outputs of the head; 0 means one per label
    has_plain_text = False  # ``as_text`` reads the rows as text without labels
    needs_all_rows = False  # a part of the rows would be another task
    masks_tokens = False  # trained by predicting masked tokens
    in_batch_negatives = False  # the loss compares the rows of a batch, which cannot be split
    unit_weight = 1.0  # of one distribution in the loss
    is_untrained = False  # nothing is trained for it
    reads_layers = False  # scored on hidden layers, without a head
    needs_image_space = False  # scored in the space of texts and pictures that a phase trained
    is_attackable = False  # rows are predicted one by one: they can be edited, or read under noise
    has_one_answer = True  # a prediction is right or wrong as a whole
    is_comparable = False  # a prediction means the same in every language
    is_mixable = False  # one label per sequence or token: labels of two rows can be mixed
    is_search = False  # any item can be found: chance is one in the number of items

    def __init_subclass__(cls) -> None:
        TYPES[cls.__name__.lower()] = cls()

    # Rows

    def split_columns(self, split: str) -> tuple[str, ...]:
        return self.columns

    def check_rows(self, task: Task, rows: Dataset, split: str) -> str:
        """Raise ValueError for invalid values; return a note if gold never varies.

        The error names the first invalid row and counts all.
        """
        extra = [name for name in ("translation", "negative") if name in rows.column_names]
        names = [name for name in self.split_columns(split) if name != "image"] + extra
        table = rows.data.table.select(names)
        if rows._indices is not None:  # a selection, which ``datasets`` takes seconds to read
            table = table.take(rows._indices.column(0))
        table = table.to_pandas()
        is_scored = self.gold in names and split not in ("train", "candidates")
        gold = table[self.gold].explode().dropna().unique().tolist() if is_scored else []
        if is_scored and set(gold) <= {-1, ""}:
            remedy = "score split='validation' or " if split == "test" and task.validation else ""
            raise ValueError(
                f"The {split} split cannot be scored: {self.gold} holds {gold} in all "
                f"{len(rows)} rows. This is a copy with hidden labels; {remedy}take the file from "
                f"the owners of the data set ({task.citation or 'see its card'})."
            )
        for name, is_wrong, allowed in self.faults(task, table):
            if is_wrong.any():
                places = is_wrong.index[is_wrong].unique()
                raise ValueError(
                    f"Row {table['id'][places[0]]!r} (number {places[0]}) has {name} "
                    f"{rows[name][int(places[0])]!r}; allowed: {allowed}. So wrong are "
                    f"{len(places)} of {len(rows)} rows: correct or remove them."
                )
        return f"{self.gold} is always {gold[0]}: a score says little" if len(gold) == 1 else ""

    def faults(self, task: Task, table: pd.DataFrame) -> Faults:
        """Checks for invalid values, first of all missing and empty ones."""
        for name in table:
            # An empty list becomes a missing value.
            values = table[name] if name in self.optional else table[name].explode()
            yield name, values.isna(), "something in every place"
            if name not in (*self.optional, "label", "tags", "starts"):
                # Some treebanks have a space as a word.
                words = values if name == "tokens" else values.str.strip()
                yield name, words == "", "texts that are not empty"
        yield "id", table["id"].duplicated(), "another id in every row"
        if self.aligned:
            sizes = table[[*self.aligned]].map(len)
            yield self.aligned[1], sizes.nunique(axis=1) > 1, f"one for each of {self.aligned[0]}"
        if self.gold in ("label", "tags") and task.labels:  # alternatives have no names
            is_known = table[self.gold].explode().isin(range(len(task.labels)))
            yield self.gold, ~is_known, f"0 to {len(task.labels) - 1}"

    def permute(self, task: Task, rows: Dataset, random: np.random.Generator) -> Dataset:
        """The rows with labels, queries or translations permuted. Raises ValueError without any."""
        column = self.shuffled
        if not column:
            return rows
        if column not in rows.column_names:
            raise ValueError(
                f"{task.name} has no {column} to shuffle; shuffle a task with labels or pairs."
            )
        values = rows[column][:]
        if isinstance(values[0], list):  # over all words, so that every sentence keeps its length
            shuffled = iter(random.permutation(np.concatenate(values)))
            values = [list(islice(shuffled, len(tags))) for tags in values]
        else:
            values = [values[i] for i in random.permutation(len(values))]
        return rows.remove_columns(column).add_column(column, values).cast(rows.features)

    # Training

    def head(self, task: Task) -> Head:
        """The head that a task needs. Raises ValueError if only a phase can know it."""
        return Head(self.pooling, self.head_size or len(task.labels))

    def encode(
        self, rows: Rows, tokenizer: Any, max_length: int, training: bool, words: bool = False
    ) -> Examples:
        """Rows as token ids, with targets if ``training``; ``words`` marks whole words."""

    def labels(self, examples: Examples) -> Tensor:
        """The targets of a batch, ``IGNORED`` where there is none."""
        return torch.tensor([example.target for example in examples])

    def collate(self, examples: Examples, tokenizer: Any, training: bool) -> dict[str, Tensor]:
        """A batch as tensors: ``input_ids`` (sequences, width), masks and, to train, ``labels``."""
        sequences = [ids for example in examples for ids in example.sequences]
        ids = pad(sequences, tokenizer.pad_token_id)
        mask = pad([np.ones(len(sequence)) for sequence in sequences], 0)
        batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
        if examples[0].types:
            types = pad([types for example in examples for types in example.types], 0)
            batch["token_type_ids"] = torch.from_numpy(types)
        if training:
            batch["labels"] = self.labels(examples)
        return batch

    def targets(self, labels: Tensor) -> int:
        """The number of terms in the summed loss of a batch: rows, words or other parts."""
        return int((labels != IGNORED).sum() * self.unit_weight)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The loss of each row of a batch (rows): the sum over its labels, not averaged."""
        scores = logits.reshape(-1, logits.shape[-1]).float()
        losses = torch.nn.functional.cross_entropy(
            scores, labels.reshape(-1), ignore_index=IGNORED, reduction="none"
        )
        return self.unit_weight * losses.reshape(len(labels), -1).sum(1)

    def loss_weights(self, examples: Examples) -> list[float]:
        """The weight of each example's loss in the loss of its row."""
        return [1.0] * len(examples)

    # Predictions and scores

    def outputs(self, logits: Tensor, examples: Examples) -> list[Any]:
        """What to keep of the logits for each example: the minimum to decode from."""

    def vote(self, outputs: Sequence[Any]) -> Any:
        """The majority of several outputs for the same example."""

    def predict(self, task: Task, rows: Mapping[str, Dataset], forward: Forward) -> Tables:
        """The predictions of the test rows of each language."""
        for language, part, examples, outputs in forward(rows):
            yield language, "", self.predictions(task, part, examples, outputs)

    def predictions(self, task: Task, rows: Rows, examples: Examples, outputs: Any) -> pd.DataFrame:
        """One row per example: ``example_id``, ``gold``, ``pred`` (strings), ``score`` (0 to 1).

        If every label has a score, ``log_probs``, too (float32 arrays).
        """

    def item_scores(self, task: Task, gold: Sequence[str], pred: Sequence[str]) -> list[float]:
        """The score of each prediction (0 to 1), from the columns ``gold`` and ``pred``."""
        return [float(g == p) for g, p in zip(gold, pred, strict=True)]

    def metrics(self, task: Task, predictions: pd.DataFrame, language: str) -> dict[str, float]:
        """The scores (0 to 100) of the predictions in one language."""
        return {"accuracy": scorers.accuracy(predictions["gold"], predictions["pred"])}

    def terms(self, task: Task, predictions: pd.DataFrame, language: str) -> pd.DataFrame:
        """What each item adds to the task's main metric, for intervals over items.

        A table of ``item``, ``part``, ``numerator`` and ``denominator``: the metric is the sum of
        numerators over the sum of denominators, averaged over parts if there are several.
        """
        return terms_table(predictions["example_id"], 100.0 * predictions["score"])

    def item_count(self, predictions: pd.DataFrame) -> int:
        """The number of items in a table of predictions."""
        return len(predictions)

    def is_solved(self, score: float) -> bool:
        """Whether a prediction with this score (0 to 1) counts as right, as a yes or no."""
        return score >= 0.5


TYPES: dict[str, TaskType] = {}  # by name


def pad(sequences: Sequence[np.ndarray], value: int) -> np.ndarray:
    """Sequences as the rows of a matrix, padded with ``value``."""
    width = -(-max(map(len, sequences)) // 8) * 8  # every new shape costs memory allocations
    matrix = np.full((len(sequences), width), value, dtype=np.int64)
    for row, sequence in zip(matrix, sequences, strict=True):
        row[: len(sequence)] = sequence
    return matrix


def encoded(encoding: Any, words: bool = False) -> list[EncodedExample]:
    """One example without a target for each row of a tokenizer's output; ``words`` adds marks."""
    examples = []
    types = encoding.get("token_type_ids")
    for i, ids in enumerate(encoding["input_ids"]):
        sequences = (np.asarray(ids, dtype=np.int32),)
        row_types = (np.asarray(types[i], dtype=np.int32),) if types else ()
        marks: tuple[np.ndarray, ...] = ()
        if words:
            pairs = zip(encoding.word_ids(i), encoding.sequence_ids(i), strict=True)
            # A number for each word: even ones are of the first text, odd ones of the second.
            numbers = [-1 if word is None else 2 * word + text for word, text in pairs]
            tokens = Counter(numbers)
            whole = [n % 2 if n >= 0 and tokens[n] == 1 else -1 for n in numbers]
            marks = (np.array(whole, dtype=np.int8),)
        examples.append(EncodedExample(i, sequences, row_types, words=marks))
    return examples


def word_prefix(tokenizer: Any) -> str:
    """What a single word needs to be tokenized as in running text: a space, or nothing.

    Byte-level BPE (RoBERTa, ModernBERT) tokenizes a word differently after a space.
    """
    alone, twice = tokenizer(["a", "a a"], add_special_tokens=False)["input_ids"]
    return "" if twice == alone + alone else " "


def word_pieces(tokenizer: Any, words: Sequence[str]) -> list[list[int]]:
    """The token ids of each word, tokenized as in running text."""
    prefix = word_prefix(tokenizer)
    texts = [prefix + word for word in words]
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []


def joined(index: int, parts: Sequence[EncodedExample], target: Any) -> EncodedExample:
    """Several examples as one, with number ``index`` and the sequences of all."""
    columns = zip(*((part.sequences, part.types, part.words) for part in parts), strict=True)
    sequences, types, words = (tuple(chain.from_iterable(column)) for column in columns)
    return EncodedExample(index, sequences, types, target, words=words)


def predictions_table(
    ids: Sequence, gold: Sequence, pred: Sequence, score: Any = None, **more: Any
) -> pd.DataFrame:
    """The table that every task type returns; by default, what equals ``gold`` scores 1."""
    table = pd.DataFrame({"example_id": ids, "gold": gold, "pred": pred} | more)
    table.insert(3, "score", table["gold"] == table["pred"] if score is None else score)
    return table


def terms_table(
    item: Sequence, numerator: Sequence, denominator: Sequence | float = 1.0, part: Any = ""
) -> pd.DataFrame:
    """The table of ``TaskType.terms``; rows with the same item and part are summed."""
    # As plain arrays: predictions of one language keep the index of the whole table.
    columns = {
        "item": item,
        "part": part,
        "numerator": np.asarray(numerator, float),
        "denominator": np.asarray(denominator, float),
    }
    return pd.DataFrame({name: np.broadcast_to(v, len(item)) for name, v in columns.items()})


def score_table(task: Task, tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What ``TaskType.predict`` yields as one table of predictions and one of scores.

    The columns of scores are ``language``, ``metric``, ``value`` (0 to 100) and ``n`` (items).
    """
    predictions, scores = [], []
    for language, suffix, table in tables:
        items = task.type.item_count(table)
        for metric, value in task.type.metrics(task, table, language).items():
            scores.append((language, metric + suffix, value, items))
        if not suffix:
            predictions.append(table.assign(language=language))
    columns = ["language", "metric", "value", "n"]
    return pd.concat(predictions, ignore_index=True), pd.DataFrame(scores, columns=columns)
