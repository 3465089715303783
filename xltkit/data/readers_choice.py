"""Readers of multiple choice: a premise, alternatives, and the number of the right one."""

from __future__ import annotations

from collections.abc import Mapping

from datasets import Dataset

from xltkit.data.loading import warn_once
from xltkit.data.readers import canonical, lines


def copa(rows: Dataset, language: str, questions: Mapping[int, str] | None = None) -> Dataset:
    """COPA and XCOPA: the premise with the question of XTREME-R, and two choices.

    ``questions`` (cause or effect, by ``idx``) take the place of the rows' own.
    """
    table = rows[:]
    effective = [
        (questions or {}).get(index, question)
        for index, question in zip(table["idx"], table["question"], strict=True)
    ]
    if unknown := sorted(set(effective) - {"cause", "effect"}):
        raise ValueError(f"The column 'question' holds {unknown}; expected cause or effect.")
    premises = zip(lines(table["premise"]), effective, strict=True)
    return canonical(
        "choice",
        table["idx"],
        premise=[f"{premise} What was the {question}?" for premise, question in premises],
        choices=_choices(table, "choice1", "choice2"),
        label=table["label"],
    )


def _choices(table: Mapping[str, list], *columns: str) -> list[list[str]]:
    return list(map(list, zip(*(lines(table[column]) for column in columns), strict=True)))


# The languages in which the ``question`` of XCOPA is wrong upstream: a cause for an effect.
XCOPA_WRONG = ("id", "it", "sw", "th", "tr")


def xcopa(rows: Dataset, language: str, english: Dataset | None) -> Dataset:
    """XCOPA, with the questions of English COPA, which stand there at the same ``idx``.

    Without English COPA the questions stay as they are, and a warning says so once if some of the
    language are wrong.
    """
    if english is not None:
        questions = zip(english["idx"][:], english["question"][:], strict=True)
        return copa(rows, language, dict(questions))
    if language in XCOPA_WRONG:
        warn_once(
            "XCOPA asks some wrong questions in id, it, sw, th and tr (cause for effect), and "
            "they could not be repaired without English COPA (aps/super_glue, copa); how to get "
            "it is told by: xltkit data check copa"
        )
    return copa(rows, language)


def siqa(rows: Dataset, language: str) -> Dataset:
    """Social IQa: context and question as the premise, three answers."""
    table = rows[:]
    premises = zip(lines(table["context"]), lines(table["question"]), strict=True)
    return canonical(
        "choice",
        range(len(rows)),
        premise=[f"{context} {question}" for context, question in premises],
        choices=_choices(table, "answerA", "answerB", "answerC"),
        label=[int(label) - 1 for label in table["label"]],
    )


def cosmosqa(rows: Dataset, language: str) -> Dataset:
    """Cosmos QA: context and question as the premise, four answers ("None of the above" is one)."""
    table = rows[:]
    premises = zip(lines(table["context"]), lines(table["question"]), strict=True)
    return canonical(
        "choice",
        table["id"],
        premise=[f"{context} {question}" for context, question in premises],
        choices=_choices(table, "answer0", "answer1", "answer2", "answer3"),
        label=table["label"],
    )


def csqa(rows: Dataset, language: str) -> Dataset:
    """CommonsenseQA: five answers with letters, of which ``answerKey`` names one.

    A hidden key is an empty string, and becomes -1.
    """
    table = rows[:]
    keys = zip(table["choices"], table["answerKey"], strict=True)
    return canonical(
        "choice",
        table["id"],
        premise=lines(table["question"]),
        choices=[lines(choices["text"]) for choices in table["choices"]],
        label=[choices["label"].index(key) if key else -1 for choices, key in keys],
    )


def hellaswag(rows: Dataset, language: str) -> Dataset:
    """HellaSwag: the context (``ctx``) as the premise, four endings; the label is a string.

    ``ctx`` is ``ctx_a`` and then ``ctx_b``, the words that begin the ending. jiant puts ``ctx_b``
    before each ending (``jiant/tasks/lib/hellaswag.py``): the same words, parted elsewhere.
    A hidden label is an empty string, and becomes -1.
    """
    table = rows[:]
    return canonical(
        "choice",
        range(len(rows)),
        premise=lines(table["ctx"]),
        choices=[lines(endings) for endings in table["endings"]],
        label=[int(label) if label else -1 for label in table["label"]],
    )
