"""Readers: from the columns of a Hub data set to the canonical columns of a task type.

Sentence pairs, spans and plain text are read here; multiple choice, tags, retrieval and captions
in the files beside this one. A reader takes a data set as ``datasets`` loads it (or the path of a
file off the Hub) and a language, and returns a new data set that lies in memory: nothing is written
to a cache that could outlive a change of the reader.

Ids pair rows across languages, so they are equal only where rows are translations of each other;
where a data set is not parallel, the language is part of the id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial

from datasets import Dataset, Features, List, Value

from xltkit.data.languages import language as find_language
from xltkit.data.loading import Reader
from xltkit.keys import derive

NLI_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("different", "paraphrase")
# The original XNLI files write one class differently from everybody else.
ALIASES = {"contradictory": "contradiction"}

_TEXT, _TEXTS, _NUMBER = Value("string"), List(Value("string")), Value("int64")
_QUERY = {"query": _TEXT, "key": _TEXT}
# The columns after the id: of the task types, and of the other splits of those that search.
FEATURES = {
    "classification": {"text_a": _TEXT, "text_b": _TEXT, "label": _NUMBER},
    "choice": {"premise": _TEXT, "choices": _TEXTS, "label": _NUMBER},
    "tagging": {"tokens": _TEXTS, "tags": List(_NUMBER)},
    "span": {"question": _TEXT, "context": _TEXT, "answers": _TEXTS, "starts": List(_NUMBER)},
    "retrieval": {"text": _TEXT, "english": _TEXT},
    "text": {"text": _TEXT},
    "ranking": _QUERY,
    "ranking pairs": _QUERY | {"text": _TEXT, "context": _TEXT},
    "candidates": {"text": _TEXT, "context": _TEXT, "keys": _TEXTS},
    "mining": {"side": _TEXT, "text": _TEXT, "pairs": _TEXTS},
}


def canonical(kind: str, ids: Iterable[object], **columns: Sequence) -> Dataset:
    """A data set in the canonical columns of a task type; repeated ids are made distinct.

    Raises:
        ValueError: if the columns are not those of the type.
    """
    if columns.keys() != FEATURES[kind].keys():
        raise ValueError(f"{kind} has the columns {list(FEATURES[kind])}; given {list(columns)}.")
    features = Features({"id": _TEXT} | FEATURES[kind])
    ordered = {name: columns[name] for name in FEATURES[kind]}
    return Dataset.from_dict({"id": distinct(ids)} | ordered, features=features)


def distinct(ids: Iterable[object]) -> list[str]:
    """The ids as strings; the second row with the same id gets ``#2``, and so on (TyDiQA)."""
    seen: Counter[str] = Counter()
    unique = []
    for key in map(str, ids):
        seen[key] += 1
        unique.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return unique


def numbered(language: str, rows: Sequence) -> list[str]:
    """Ids of rows that are not parallel: the language and the number of the row."""
    return [f"{language}-{i}" for i in range(len(rows))]


def lines(texts: Iterable[str]) -> list[str]:
    """Texts without the line end that some files keep.

    ``str.strip`` would also take U+001C and other separators, which occur inside real rows.
    """
    return [text.strip("\r\n") for text in texts]


def class_numbers(column: str, names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """The number of each name among the labels: their order and case differ between data sets.

    Raises:
        ValueError: naming the column, if a name is none of the labels.
    """
    numbers = {label.lower(): i for i, label in enumerate(labels)}
    keys = [str(name).strip().lower() for name in names]
    keys = [ALIASES.get(key, key) for key in keys]
    if unknown := {name for name, key in zip(names, keys, strict=True) if key not in numbers}:
        raise ValueError(
            f"The column {column!r} holds {sorted(unknown)}; expected only {', '.join(labels)}."
        )
    return [numbers[key] for key in keys]


def _labels(rows: Dataset, labels: Sequence[str]) -> list[int]:
    """The column ``label`` by the names of its classes; -1, no gold label, stays."""
    feature = rows.features["label"]
    values = rows["label"][:]
    names = getattr(feature, "names", None)
    if names:
        order = class_numbers("label", names, labels)
        return [order[value] if value >= 0 else -1 for value in values]
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"The column 'label' holds {feature} without names; expected names.")
    return class_numbers("label", values, labels)


def _pairs(
    rows: Dataset,
    language: str,
    *,
    texts: tuple[str, str],
    labels: Sequence[str],
    key: str = "",
    labeled: bool = False,
) -> Dataset:
    """Sentence pairs with a class; ``labeled`` leaves out what has none, and keeps the ids."""
    first, second = texts
    pairs = canonical(
        "classification",
        rows[key][:] if key else range(len(rows)),
        text_a=lines(rows[first][:]),
        text_b=lines(rows[second][:]),
        label=_labels(rows, labels),
    )
    if not labeled:
        return pairs
    return pairs.select([i for i, label in enumerate(pairs["label"][:]) if label >= 0])


nli: Reader = partial(_pairs, texts=("premise", "hypothesis"), labels=NLI_LABELS)
# Annotators of SNLI who did not agree left pairs without a label, in every split.
snli: Reader = partial(nli, labeled=True)
qqp: Reader = partial(
    _pairs, texts=("question1", "question2"), labels=("not_duplicate", "duplicate")
)
# Labels differ from the English ones in up to 32 rows a language; that is so in the original.
paws_x: Reader = partial(_pairs, texts=("sentence1", "sentence2"), labels=("0", "1"), key="id")


def nearest_start(context: str, answer: str, start: int) -> int:
    """Where the occurrence of ``answer`` nearest to ``start`` begins; -1 if there is none.

    The Hub copies of XQuAD and TyDiQA strip the context without moving ``answer_start``.
    """
    if context[start : start + len(answer)] == answer:
        return start
    before = context.rfind(answer, 0, start + len(answer))
    after = context.find(answer, start)
    places = [place for place in (before, after) if place >= 0]
    return min(places, key=lambda place: abs(place - start), default=-1)


def span(rows: Dataset, language: str) -> Dataset:
    """Questions, contexts and answers of the SQuAD family, with repaired offsets.

    Raises:
        ValueError: naming the row, if an answer does not occur in its context.
    """
    table = rows[:]
    starts = []
    for key, context, answers in zip(table["id"], table["context"], table["answers"], strict=True):
        repaired = [
            nearest_start(context, text, start)
            for text, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]
        if -1 in repaired:
            answer = answers["text"][repaired.index(-1)]
            raise ValueError(
                f"Row {key!r} ({language}): the answer {answer!r} does not occur in its context "
                f"{context[:60]!r}...; the file is damaged or has other columns than SQuAD's."
            )
        starts.append(repaired)
    return canonical(
        "span",
        table["id"],
        question=table["question"],
        context=table["context"],
        answers=[answers["text"] for answers in table["answers"]],
        starts=starts,
    )


def of_language(rows: Dataset, language: str) -> Dataset:
    """The rows of TyDiQA in a language, whose name is the first part of the id."""
    prefix = f"{find_language(language).name.lower()}-"
    return rows.select([i for i, key in enumerate(rows["id"][:]) if key.startswith(prefix)])


def tydiqa(rows: Dataset, language: str, held_out: bool | None = None) -> Dataset:
    """The rows of TyDiQA-GoldP in a language, or those held out from training, or the others.

    Which tenth is held out depends on the passage alone: copies of the data number their rows
    differently, and questions about one passage must not end up on both sides.
    """
    whole = span(of_language(rows, language), language)
    if held_out is None:
        return whole
    sides = [derive("tydiqa-heldout", context) % 10 == 0 for context in whole["context"][:]]
    return whole.select([i for i, side in enumerate(sides) if side == held_out])


tydiqa_kept: Reader = partial(tydiqa, held_out=False)
tydiqa_held_out: Reader = partial(tydiqa, held_out=True)


def paragraphs(rows: Dataset, language: str) -> Dataset:
    """Articles of an encyclopaedia as paragraphs of 100 characters or more."""
    table = rows[:]
    kept = {
        f"{language}-{key}-{i}": text
        for key, article in zip(table["id"], table["text"], strict=True)
        for i, text in enumerate(article.split("\n"))
        if len(text) >= 100
    }
    return canonical("text", kept, text=list(kept.values()))


def _translations(rows: Dataset, language: str, *, text: str, english: str) -> Dataset:
    """Sentences and their English translations. The sentences differ by language."""
    texts = {"text": lines(rows[text][:]), "english": lines(rows[english][:])}
    return canonical("retrieval", numbered(language, rows), **texts)


tatoeba: Reader = partial(_translations, text="source_sentence", english="target_sentence")
tatoeba_r: Reader = partial(_translations, text="sentence1", english="sentence2")
