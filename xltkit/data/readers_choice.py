"""Readers of multiple choice: a premise, alternatives, and the number of the right one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from datasets import Dataset

from xltkit.data.loading import Reader, warn_once
from xltkit.data.readers import canonical, class_numbers, lines

# The languages in which the ``question`` of XCOPA is wrong upstream: a cause for an effect.
XCOPA_WRONG = ("id", "it", "sw", "th", "tr")


def copa(rows: Dataset, language: str, questions: Mapping[int, str] | None = None) -> Dataset:
    """COPA: the premise with the question of XTREME-R, from ``questions`` by ``idx`` if given."""
    table = rows[:]
    asked = [
        (questions or {}).get(index, question)
        for index, question in zip(table["idx"], table["question"], strict=True)
    ]
    class_numbers("question", asked, ("cause", "effect"))
    premises = [
        f"{premise} What was the {question}?"
        for premise, question in zip(lines(table["premise"]), asked, strict=True)
    ]
    choices = _choices(table, ("choice1", "choice2"))
    return canonical(
        "choice", table["idx"], premise=premises, choices=choices, label=table["label"]
    )


def _choices(table: Mapping[str, list], columns: Sequence[str]) -> list[list[str]]:
    return list(map(list, zip(*(lines(table[column]) for column in columns), strict=True)))


def xcopa(rows: Dataset, language: str, english: Dataset | None) -> Dataset:
    """XCOPA with the questions of English COPA; without it, a warning if some are wrong."""
    if english is not None:
        questions = zip(english["idx"][:], english["question"][:], strict=True)
        return copa(rows, language, dict(questions))
    if language in XCOPA_WRONG:
        warn_once(
            f"XCOPA asks some wrong questions in {', '.join(XCOPA_WRONG)} (cause for effect), and "
            "they could not be repaired without English COPA (aps/super_glue, copa); how to get "
            "it is told by: xltkit data check copa"
        )
    return copa(rows, language)


def _about_a_text(
    rows: Dataset, language: str, *, answers: Sequence[str], key: str = "", first: int = 0
) -> Dataset:
    """Context and question as the premise, and answers, counted from ``first``."""
    table = rows[:]
    premises = zip(lines(table["context"]), lines(table["question"]), strict=True)
    return canonical(
        "choice",
        table[key] if key else range(len(rows)),
        premise=[f"{context} {question}" for context, question in premises],
        choices=_choices(table, answers),
        label=[int(label) - first for label in table["label"]],
    )


siqa: Reader = partial(_about_a_text, answers=("answerA", "answerB", "answerC"), first=1)
# "None of the above choices ." is one of the four answers.
cosmosqa: Reader = partial(
    _about_a_text, answers=("answer0", "answer1", "answer2", "answer3"), key="id"
)


def csqa(rows: Dataset, language: str) -> Dataset:
    """CommonsenseQA: five answers with letters, of which ``answerKey`` names one; hidden is -1."""
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
    """HellaSwag: the context (``ctx``) as the premise, four endings; a hidden label is -1.

    ``ctx`` is ``ctx_a`` and then ``ctx_b``, the words that begin the ending. jiant puts ``ctx_b``
    before each ending (``jiant/tasks/lib/hellaswag.py``): the same words, parted elsewhere.
    """
    table = rows[:]
    return canonical(
        "choice",
        range(len(rows)),
        premise=lines(table["ctx"]),
        choices=[lines(endings) for endings in table["endings"]],
        label=[int(label) if label else -1 for label in table["label"]],
    )
