"""Readers: from the columns of a Hub data set to the canonical columns of a kind of task.

A reader takes a data set as ``datasets`` loads it and a language, and returns a new data set that
lies in memory: nothing is written to a cache that could outlive a change of the reader. A reader
that is changed so that it returns other rows gets an attribute ``version`` of 2, 3, ...; that
becomes part of the fingerprint of the data, and stages trained on the old rows are not reused.

Ids pair rows across languages, so they are equal only where rows are translations of each other;
where a data set is not parallel, the language is part of the id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from datasets import Dataset, Features, List, Value

from xltkit import data
from xltkit.keys import derive
from xltkit.languages import language as find_language
from xltkit.tasks.table import Reader, Source

NLI_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("different", "paraphrase")
# The 17 universal parts of speech; single treebanks use 13 to 17 of them.
UPOS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)
# WikiNEuRal stores bare numbers; this is the order in which its authors list the tags.
WIKINEURAL_TAGS = tuple("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC B-MISC I-MISC".split())

# The original XNLI files write one class differently from everybody else.
_NLI_CLASSES = {name: i for i, name in enumerate(NLI_LABELS)} | {"contradictory": 2}
_PAWS_CLASSES = {"0": 0, "1": 1}

_TEXT, _NUMBER = Value("string"), Value("int64")
_FEATURES = {
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
}


def _dataset(kind: str, ids: Iterable[object], **columns: Sequence) -> Dataset:
    features = Features({"id": _TEXT} | _FEATURES[kind])
    return Dataset.from_dict({"id": _distinct(ids)} | columns, features=features)


def _distinct(ids: Iterable[object]) -> list[str]:
    """The ids as strings; the second row with the same id gets ``#2``, and so on.

    TyDiQA repeats ids, and a scorer that looks predictions up by id would then share one
    prediction among many questions.
    """
    seen: Counter[str] = Counter()
    made = []
    for key in map(str, ids):
        seen[key] += 1
        made.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return made


def _lines(texts: Iterable[str]) -> list[str]:
    """Texts without the line end that some files keep.

    Only these two characters go: ``str.strip`` would also take U+001C and other separators,
    which occur inside real rows.
    """
    return [text.strip("\r\n") for text in texts]


def _numbers(rows: Dataset, column: str, classes: Mapping[str, int]) -> list[int]:
    """The label column by the names of its classes: their order differs between data sets."""
    feature, values = rows.features[column], rows[column][:]
    names = getattr(feature, "names", None)
    if names is None and not all(isinstance(value, str) for value in values):
        raise ValueError(f"The column {column!r} holds {feature} without names; expected names.")
    given = {str(name).strip().lower() for name in names or values}
    if unknown := sorted(given - set(classes)):
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
) -> Dataset:
    """Sentence pairs with a class; parallel by ``key`` or, without one, by row."""
    return _dataset(
        "classification",
        rows[key][:] if key else range(len(rows)),
        text_a=_lines(rows[first][:]),
        text_b=_lines(rows[second][:]),
        label=_numbers(rows, "label", classes),
    )


nli: Reader = partial(_pairs, first="premise", second="hypothesis", classes=_NLI_CLASSES)
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
    places = context.rfind(answer, 0, start + len(answer)), context.find(answer, start)
    return min((p for p in places if p >= 0), key=lambda p: abs(p - start), default=-1)


def span(rows: Dataset, language: str) -> Dataset:
    """The SQuAD family. Offsets are repaired; ids stay, so XQuAD and MLQA pair across languages.

    Raises:
        ValueError: naming the row, if an answer does not occur in its context.
    """
    table = rows[:]
    starts = []
    for key, context, answers in zip(table["id"], table["context"], table["answers"], strict=True):
        found = [
            nearest_start(context, text, start)
            for text, start in zip(answers["text"], answers["answer_start"], strict=True)
        ]
        if -1 in found:
            answer = answers["text"][found.index(-1)]
            raise ValueError(
                f"Row {key!r} ({language}): the answer {answer!r} does not occur in its context "
                f"{context[:60]!r}...; the file is damaged or has other columns than SQuAD's."
            )
        starts.append(found)
    return _dataset(
        "span",
        table["id"],
        question=table["question"],
        context=table["context"],
        answers=[answers["text"] for answers in table["answers"]],
        starts=starts,
    )


def tydiqa(rows: Dataset, language: str) -> Dataset:
    """TyDiQA-GoldP: one file for all languages; the language is the first part of the id."""
    prefix = f"{find_language(language).name.lower()}-"
    keep = [i for i, key in enumerate(rows["id"][:]) if key.startswith(prefix)]
    return span(rows.select(keep), language)


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


def copa(rows: Dataset, language: str, questions: Mapping[int, str] | None = None) -> Dataset:
    """COPA and XCOPA: the premise with the question of XTREME-R, and two choices.

    ``questions`` (cause or effect, by ``idx``) take the place of the rows' own.
    """
    table = rows[:]
    asked = [
        (questions or {}).get(index, question)
        for index, question in zip(table["idx"], table["question"], strict=True)
    ]
    if unknown := sorted(set(asked) - {"cause", "effect"}):
        raise ValueError(f"The column 'question' holds {unknown}; expected cause or effect.")
    premises = zip(_lines(table["premise"]), asked, strict=True)
    return _dataset(
        "choice",
        table["idx"],
        premise=[f"{premise} What was the {question}?" for premise, question in premises],
        choices=_choices(table, "choice1", "choice2"),
        label=table["label"],
    )


def _choices(table: Mapping[str, list], *columns: str) -> list[list[str]]:
    return list(map(list, zip(*(_lines(table[column]) for column in columns), strict=True)))


@dataclass(frozen=True, eq=False)  # compared by identity, so that it can be a key of a cache
class Xcopa:
    """The reader of XCOPA, whose ``question`` field is wrong upstream in some languages.

    The right one stands in English COPA, at the same ``idx``. Without English COPA the field
    stays as it is, and a warning says so once.

    Attributes:
        joined: English COPA, by the name of the split.
    """

    joined: Mapping[str, Source]

    WRONG = ("id", "it", "sw", "th", "tr")

    def __call__(self, rows: Dataset, language: str) -> Dataset:
        """The rows with the questions of English COPA."""
        try:
            english = data.raw(self.joined[str(rows.split)], "en")
        except data.MissingData as error:
            if language in self.WRONG:
                data.warn_once(
                    "XCOPA asks some wrong questions in id, it, sw, th and tr (cause for effect), "
                    f"and they could not be repaired: {error}"
                )
            return copa(rows, language)
        questions = zip(english["idx"][:], english["question"][:], strict=True)
        return copa(rows, language, dict(questions))


def siqa(rows: Dataset, language: str) -> Dataset:
    """Social IQa: context and question as the premise, three answers."""
    table = rows[:]
    premises = zip(_lines(table["context"]), _lines(table["question"]), strict=True)
    return _dataset(
        "choice",
        range(len(rows)),
        premise=[f"{context} {question}" for context, question in premises],
        choices=_choices(table, "answerA", "answerB", "answerC"),
        label=[int(label) - 1 for label in table["label"]],
    )


def _tagged(
    rows: Dataset, language: str, *, column: str, tags: Sequence[str], names: Sequence[str] = ()
) -> Dataset:
    """Words and tags. ``names`` is the order of the tags where the file does not say it."""
    feature = rows.features[column].feature
    given = getattr(feature, "names", None) or names
    if unknown := [name for name in given if name not in tags]:
        raise ValueError(
            f"The column {column!r} holds the tags {unknown}; expected only {', '.join(tags)}."
        )
    order = [tags.index(name) for name in given]
    return _dataset(
        "tagging",
        [f"{language}-{i}" for i in range(len(rows))],
        tokens=rows["tokens"][:],
        tags=[[order[tag] for tag in sentence] for sentence in rows[column][:]],
    )


udpos: Reader = partial(_tagged, column="pos_tags", tags=UPOS)
wikineural: Reader = partial(
    _tagged, column="ner_tags", tags=WIKINEURAL_TAGS, names=WIKINEURAL_TAGS
)


def tatoeba(rows: Dataset, language: str) -> Dataset:
    """Tatoeba: a sentence and its English translation. The sentences differ by language."""
    return _dataset(
        "retrieval",
        [f"{language}-{i}" for i in range(len(rows))],
        text=_lines(rows["source_sentence"][:]),
        english=_lines(rows["target_sentence"][:]),
    )
