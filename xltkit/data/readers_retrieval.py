"""Readers of the retrieval tasks LAReQA, Mewsli-X and BUCC; most take the path of a file."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from xltkit.data.readers import FEATURES, canonical, of_language, span
from xltkit.files import read

# A sentence ends at its mark and the quotes and brackets after it, before a space and a capital,
# a digit or a quote; not after an initial, a title or a common abbreviation.
_END = re.compile(r"""[.!?]["')\]]*\s+(?=["'(\[]?[A-Z0-9])""")
_NO_END = re.compile(
    r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|No|Vol|approx|pp?|ca|e\.g|i\.e|U\.S))\.\s+$"
)


def _table(kind: str, rows: Sequence[tuple[Any, ...]]) -> Dataset:
    """Rows, each an id and the columns of a kind, as a data set."""
    ids, *columns = zip(*rows, strict=True) if rows else [()] * (1 + len(FEATURES[kind]))
    return canonical(kind, ids, **dict(zip(FEATURES[kind], map(list, columns), strict=True)))


def sentence_breaks(text: str) -> list[tuple[int, int]]:
    """Start and end of the sentences of an English text, to train on.

    XTREME splits SQuAD by another rule (third_party/processors/sb_sed.py): a few differ.
    """
    ends = [m.end() for m in _END.finditer(text) if not _NO_END.search(text[: m.end()])]
    return [
        (start, start + len(text[start:end].rstrip()))
        for start, end in zip([0, *ends], [*ends, len(text)], strict=True)
    ]


def _sentence_at(text: str, breaks: Iterable[Sequence[int]], place: int) -> str | None:
    """The sentence that holds a place of a text; None between sentences."""
    return next((text[start:end] for start, end in breaks if start <= place < end), None)


def answer_sentences(rows: Dataset, language: str) -> Dataset:
    """Questions of the SQuAD family with the sentence that the answer begins in, if any."""
    pairs = []
    for row in span(rows, language):
        context = row["context"]
        sentence = _sentence_at(context, sentence_breaks(context), row["starts"][0])
        if sentence is not None:
            pairs.append((row["id"], row["question"], row["id"], sentence, context))
    return _table("ranking pairs", pairs)


def tydiqa_sentences(rows: Dataset, language: str) -> Dataset:
    """Questions of TyDiQA, whose file holds all languages, with the sentence of the answer."""
    return answer_sentences(of_language(rows, language), language)


def _paragraphs(path: Path) -> Iterator[tuple[Mapping[str, Any], list[tuple[dict, str]]]]:
    """The paragraphs of LAReQA, each with its questions and the sentences that answer them."""
    for article in json.loads(read(path))["data"]:
        for paragraph in article["paragraphs"]:
            answered = []
            for question in paragraph["qas"]:
                start = question["answers"][0]["answer_start"]
                breaks = paragraph["sentence_breaks"]
                sentence = _sentence_at(paragraph["context"], breaks, start)
                if sentence is not None:
                    answered.append((question, sentence))
            yield paragraph, answered


def lareqa_questions(path: Path, language: str) -> Dataset:
    """The questions of LAReQA in a language; parallel by id, which is also the key."""
    questions = [question for _, answered in _paragraphs(path) for question, _ in answered]
    return _table("ranking", [(q["id"], q["question"], q["id"]) for q in questions])


def lareqa_candidates(path: Path, language: str) -> Dataset:
    """Every sentence of LAReQA, with its paragraph and the questions it answers.

    It answers those whose answer begins in an equal sentence (XTREME third_party/utils_lareqa.py).
    """
    candidates = []
    for p, (paragraph, answered) in enumerate(_paragraphs(path), start=1):
        context = paragraph["context"]
        for s, (start, end) in enumerate(paragraph["sentence_breaks"] if answered else ()):
            sentence = context[start:end]
            keys = [question["id"] for question, answer in answered if answer == sentence]
            texts = sentence.replace("\n", ""), context.replace("\n", "")
            candidates.append((f"{language}_{p}_{s}", *texts, keys))
    return _table("candidates", candidates)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def _query(context: Mapping[str, Any], mention: Mapping[str, Any]) -> tuple[str, str]:
    """The id of a mention, and its sentence: ``name: left { name } right``.

    Braces of the text itself become parentheses (Mewsli-X preprocess_mention).
    """
    span = mention["mention_span"]
    text, start, end = context["text"], span["start"], span["end"]
    inside = (s for s in context["sentence_spans"] if s["start"] <= start and end <= s["end"])
    sentence = next(inside, {"start": 0, "end": len(text)})
    left, right = (
        re.sub(r"\{(.*?)\}", r"(\1)", side)
        for side in (text[sentence["start"] : start], text[end : sentence["end"]])
    )
    query = _one_line(f"{span['text']}: {left} {{ {span['text']} }} {right}")
    return mention["example_id"], query


def _description(entity: Mapping[str, Any]) -> str:
    spans = entity["sentence_spans"]
    return _one_line(" ".join(entity["description"][s["start"] : s["end"]] for s in spans))


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        yield from map(json.loads, file)


def mewsli_pairs(path: Path, language: str) -> Dataset:
    """Mentions in English Wikipedia with the description of their entity, to train on."""
    pairs = []
    for row in _json_lines(path):
        entity = row["entity"]
        mention = _query(**row["contextual_mention"])
        pairs.append((*mention, entity["entity_id"], _description(entity), ""))
    return _table("ranking pairs", pairs)


def mewsli_mentions(path: Path, language: str) -> Dataset:
    """The mentions in WikiNews articles of a language; the key is the entity, empty if hidden."""
    queries = [
        (*_query(row["context"], mention), mention.get("entity_id") or "")
        for row in _json_lines(path)
        if row["context"]["language"] == language
        for mention in row["mentions"]
    ]
    return _table("ranking", queries)


def mewsli_entities(path: Path, language: str) -> Dataset:
    """The candidate entities, each described in one of fifty languages."""
    entities = [(row["entity_id"], _description(row), "") for row in _json_lines(path)]
    return _table("candidates", [(*entity, [entity[0]]) for entity in entities])


def _sides(foreign: Iterable, english: Iterable, gold: Iterable[Sequence[str]]) -> Dataset:
    """Two collections of ids and sentences, and the pairs of ids that are translations."""
    partners: dict[str, list[str]] = {}
    for one, other in gold:
        partners.setdefault(one, []).append(other)
    sentences = [(key, "text", text, partners.get(key, [])) for key, text in dict(foreign).items()]
    sentences += [(key, "english", text, []) for key, text in dict(english).items()]
    return _table("mining", sentences)


def bucc(rows: Dataset, language: str) -> Dataset:
    """BUCC on the Hub: one row with both collections and pairs of their places, counted from 1."""
    foreign, english, gold = [], [], []
    for row in rows:
        foreign += [(f"{language}-{i}", text) for i, text in enumerate(row["sentence1"], start=1)]
        english += [(f"en-{i}", text) for i, text in enumerate(row["sentence2"], start=1)]
        gold += [(f"{language}-{one}", f"en-{other}") for one, other in row["gold"]]
    return _sides(foreign, english, gold)


def bucc_files(paths: Sequence[Path], language: str) -> Dataset:
    """BUCC in XTREME's files ``xx-en.dev.{xx,en,gold}``: id, tab and sentence, or two ids."""
    pairs = {}
    for path in paths:
        lines = read(path).split("\n")
        pairs[path.suffix[1:]] = [line.split("\t") for line in lines if line.strip()]
    parts = (language, "en", "gold")
    if missing := [part for part in parts if part not in pairs]:
        names = ", ".join(path.name for path in paths)
        raise ValueError(f"BUCC in {language!r}: no file ends in {missing}; found {names}.")
    return _sides(*(pairs[part] for part in parts))
