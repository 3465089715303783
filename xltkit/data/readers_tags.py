"""Readers of tagging: words and one tag for each, from the Hub or from a CoNLL file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from datasets import Dataset

from xltkit.data.loading import Reader
from xltkit.data.readers import canonical, class_numbers, numbered
from xltkit.keys import known_digest

# The 17 universal parts of speech; single treebanks use 13 to 17 of them.
UPOS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)
PANX_TAGS = tuple("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())
# WikiNEuRal stores bare numbers; this is the order in which its authors list the tags.
WIKINEURAL_TAGS = (*PANX_TAGS, "B-MISC", "I-MISC")


def _tagged(rows: Dataset, language: str, *, column: str, labels: Sequence[str]) -> Dataset:
    """Words and tags; a file that does not name its tags has them in the order of ``labels``."""
    names = getattr(rows.features[column].feature, "names", None) or labels
    order = class_numbers(column, names, labels)
    tags = [[order[tag] for tag in sentence] for sentence in rows[column][:]]
    ids = numbered(language, rows)
    return canonical("tagging", ids, tokens=rows["tokens"][:], tags=tags)


udpos: Reader = partial(_tagged, column="pos_tags", labels=UPOS)
panx: Reader = partial(_tagged, column="ner_tags", labels=PANX_TAGS)
wikineural: Reader = partial(_tagged, column="ner_tags", labels=WIKINEURAL_TAGS)


def upos(rows: Dataset, language: str) -> Dataset:
    """Universal Dependencies on the Hub: syntactic words and their UPOS.

    Ranges such as ``1-2`` (UPOS ``_``) and empty nodes such as ``8.1`` stand among the words;
    neither has a head, and both are left out.
    """
    names = rows.features["upos"].feature.names
    table = rows[:]
    tokens = []
    tags = []
    for words, numbers, heads in zip(table["tokens"], table["upos"], table["head"], strict=True):
        kept = [i for i, head in enumerate(heads) if head != "None" and names[numbers[i]] != "_"]
        tokens.append([words[i] for i in kept])
        tags.append(class_numbers("upos", [names[numbers[i]] for i in kept], UPOS))
    return canonical("tagging", numbered(language, rows), tokens=tokens, tags=tags)


def _conll_sentences(path: Path) -> list[list[list[str]]]:
    """The (token, tag) pairs of each sentence. Only tabs part them: a token may hold spaces."""
    sentences: list[list[list[str]]] = [[]]
    for number, line in enumerate(path.read_bytes().decode("utf-8-sig").split("\n"), 1):
        fields = line.removesuffix("\r").split("\t")
        if fields == [""]:
            sentences.append([])
        elif len(fields) == 2 and all(fields):
            sentences[-1].append(fields)
        else:
            raise ValueError(
                f"{path}, line {number}: {line!r} is not a token, one tab and a tag. Write one "
                "token on a line and an empty line after each sentence."
            )
    return [sentence for sentence in sentences if sentence]


@lru_cache(maxsize=8)
def _conll_tags(path: Path, state: str) -> tuple[str, ...]:
    return tuple(sorted({tag for sentence in _conll_sentences(path) for _, tag in sentence}))


def conll_labels(path: Path) -> tuple[str, ...]:
    """The tags of a CoNLL file, sorted: the label inventory of a task that reads it."""
    return _conll_tags(path, known_digest(path))


def conll(path: Path, language: str) -> Dataset:
    """A file of your own with a token, a tab and its tag on each line.

    Raises:
        ValueError: naming the line that is something else.
    """
    sentences = _conll_sentences(path)
    number = {tag: i for i, tag in enumerate(conll_labels(path))}
    tokens = [[token for token, _ in sentence] for sentence in sentences]
    tags = [[number[tag] for _, tag in sentence] for sentence in sentences]
    return canonical("tagging", numbered(language, sentences), tokens=tokens, tags=tags)
