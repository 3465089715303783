"""Readers: from the columns of a Hub data set to the canonical columns of a task type.

Sentence pairs, spans and plain text are read here; multiple choice, tags, retrieval and captions
in the files beside this one.

A reader takes a data set as ``datasets`` loads it (or the path of a file off the Hub) and a
language, and returns a new data set that lies in memory: nothing is written to a cache that could
outlive a change of the reader.

Ids pair rows across languages, so they are equal only where rows are translations of each other;
where a data set is not parallel, the language is part of the id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from datasets import Dataset, Features, List, Value

from xltkit.data.languages import language as find_language
from xltkit.data.loading import Reader
from xltkit.keys import derive

NLI_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("different", "paraphrase")
# The original XNLI files write one class differently from everybody else.
_NLI_CLASSES = {name: i for i, name in enumerate(NLI_LABELS)} | {"contradictory": 2}
_PAWS_CLASSES = {"0": 0, "1": 1}
_QQP_CLASSES = {"not_duplicate": 0, "duplicate": 1}

_TEXT, _NUMBER = Value("string"), Value("int64")
FEATURES = {
    "classification": {"text_a": _TEXT, "text_b": _TEXT, "label": _NUMBER},
    "choice": {"premise": _TEXT, "choices": List(_TEXT), "label": _NUMBER},
    "tagging": {"tokens": List(_TEXT), "tags": List(_NUMBER)},
    "span": {
        "question": _TEXT,
        "context": _TEXT,
        "answers": List(_TEXT),
        "starts": List(_NUMBER),
    },
    "retrieval": {"text": _TEXT, "english": _TEXT},
    "text": {"text": _TEXT},
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
    """The ids as strings; the second row with the same id gets ``#2``, and so on.

    TyDiQA repeats ids, and a scorer that looks predictions up by id would then share one
    prediction among many questions.
    """
    seen: Counter[str] = Counter()
    unique = []
    for key in map(str, ids):
        seen[key] += 1
        unique.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return unique


def lines(texts: Iterable[str]) -> list[str]:
    """Texts without the line end that some files keep.

    Only these two characters go: ``str.strip`` would also take U+001C and other separators,
    which occur inside real rows.
    """
    return [text.strip("\r\n") for text in texts]


def _numbers(rows: Dataset, column: str, classes: Mapping[str, int]) -> list[int]:
    """The label column by the names of its classes: their order differs between data sets."""
    feature = rows.features[column]
    values = rows[column][:]
    names = getattr(feature, "names", None)
    if names is None and not all(isinstance(value, str) for value in values):
        raise ValueError(f"The column {column!r} holds {feature} without names; expected names.")
    unknown = sorted({str(name).strip().lower() for name in names or values} - set(classes))
    if unknown:
        raise ValueError(
            f"The column {column!r} holds the classes {unknown}; expected only "
            f"{', '.join(classes)}."
        )
    if names is None:
        return [classes[value.strip().lower()] for value in values]
    order = [classes[str(name).strip().lower()] for name in names]
    return [order[value] if value >= 0 else -1 for value in values]  # -1: no gold label


def _pairs(
    rows: Dataset,
    language: str,
    *,
    first: str,
    second: str,
    classes: Mapping[str, int],
    key: str = "",
    labelled: bool = False,
) -> Dataset:
    """Sentence pairs with a class; parallel by ``key`` or, without one, by row.

    ``labelled`` leaves out what has no gold label; the other rows keep their ids.
    """
    pairs = canonical(
        "classification",
        rows[key][:] if key else range(len(rows)),
        text_a=lines(rows[first][:]),
        text_b=lines(rows[second][:]),
        label=_numbers(rows, "label", classes),
    )
    if not labelled:
        return pairs
    return pairs.select([i for i, label in enumerate(pairs["label"][:]) if label >= 0])


nli: Reader = partial(_pairs, first="premise", second="hypothesis", classes=_NLI_CLASSES)
# Annotators of SNLI who did not agree left pairs without a label, in every split.
snli: Reader = partial(
    _pairs, first="premise", second="hypothesis", classes=_NLI_CLASSES, labelled=True
)
qqp: Reader = partial(_pairs, first="question1", second="question2", classes=_QQP_CLASSES)
# Labels differ from the English ones in up to 32 rows a language; that is so in the original.
paws_x: Reader = partial(
    _pairs, first="sentence1", second="sentence2", classes=_PAWS_CLASSES, key="id"
)


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

    Ids stay as they are, so XQuAD and MLQA pair across languages.

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


def tydiqa(rows: Dataset, language: str) -> Dataset:
    """The rows of TyDiQA-GoldP in a language, out of one file for all languages."""
    return span(of_language(rows, language), language)


def of_language(rows: Dataset, language: str) -> Dataset:
    """The rows of TyDiQA in a language, whose name is the first part of the id."""
    prefix = f"{find_language(language).name.lower()}-"
    return rows.select([i for i, key in enumerate(rows["id"][:]) if key.startswith(prefix)])


def paragraphs(rows: Dataset, language: str) -> Dataset:
    """Articles of an encyclopaedia as paragraphs of 100 characters or more."""
    table = rows[:]
    kept = [
        (f"{language}-{key}-{i}", text)
        for key, article in zip(table["id"], table["text"], strict=True)
        for i, text in enumerate(article.split("\n"))
        if len(text) >= 100
    ]
    return canonical("text", [key for key, _ in kept], text=[text for _, text in kept])


def is_held_out(context: str) -> bool:
    """Whether a passage belongs to the tenth of ``tydiqa-heldout`` that is never trained on.

    It depends on the text and not on the id or the row: copies of the data number their rows
    differently, and questions about one passage must not end up on both sides.
    """
    return derive("tydiqa-heldout", context) % 10 == 0


def _tydiqa_part(rows: Dataset, language: str, *, held_out: bool) -> Dataset:
    whole = tydiqa(rows, language)
    sides = [is_held_out(context) for context in whole["context"][:]]
    return whole.select([i for i, side in enumerate(sides) if side == held_out])


tydiqa_kept: Reader = partial(_tydiqa_part, held_out=False)
tydiqa_held_out: Reader = partial(_tydiqa_part, held_out=True)


def _translations(rows: Dataset, language: str, *, text: str, english: str) -> Dataset:
    """Sentences and their English translations. The sentences differ by language."""
    return canonical(
        "retrieval",
        [f"{language}-{i}" for i in range(len(rows))],
        text=lines(rows[text][:]),
        english=lines(rows[english][:]),
    )


tatoeba: Reader = partial(_translations, text="source_sentence", english="target_sentence")
tatoeba_r: Reader = partial(_translations, text="sentence1", english="sentence2")
