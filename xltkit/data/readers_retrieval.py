"""Readers of the tasks that search: LAReQA, Mewsli-X, BUCC, and what they are trained on.

Their data lies in the files of the owners, not on the Hub, so most of these readers take paths.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, List, Value

from xltkit.data.readers import nearest_start, of_language

_TEXT, _TEXTS = Value("string"), List(Value("string"))
_QUERIES = Features({"id": _TEXT, "query": _TEXT, "key": _TEXT})
_PAIRS = Features(dict(_QUERIES) | {"text": _TEXT, "context": _TEXT})
_CANDIDATES = Features({"id": _TEXT, "text": _TEXT, "context": _TEXT, "keys": _TEXTS})
_SENTENCES = Features({"id": _TEXT, "side": _TEXT, "text": _TEXT, "pairs": _TEXTS})

# A sentence ends at its mark and the quotes and brackets after it, before a space and a capital,
# a digit or a quote; not after an initial, a title or a common abbreviation.
_END = re.compile(r"""[.!?]["')\]]*\s+(?=["'(\[]?[A-Z0-9])""")
_NO_END = re.compile(
    r"(?:\b[A-Z]|\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|No|Vol|approx|pp?|ca|e\.g|i\.e|U\.S))\.\s+$"
)


def _rows(features: Features, rows: Iterable[Sequence[Any]]) -> Dataset:
    columns = list(map(list, zip(*rows, strict=True))) or [[] for _ in features]
    return Dataset.from_dict(dict(zip(features, columns, strict=True)), features=features)


def sentence_breaks(text: str) -> list[tuple[int, int]]:
    """Start and end of the sentences of an English text, by a rule.

    XTREME breaks SQuAD with a rule of its own (third_party/processors/sb_sed.py), so a few
    sentences differ from those that the published figures were trained on. Test sentences are not
    concerned: LAReQA's files give their breaks.
    """
    ends = [m.end() for m in _END.finditer(text) if not _NO_END.search(text[: m.end()])]
    starts = [0, *ends]
    return [
        (start, start + len(text[start:end].rstrip()))
        for start, end in zip(starts, [*ends, len(text)], strict=True)
    ]


def answer_sentences(rows: Dataset, language: str) -> Dataset:
    """Questions of a SQuAD-like set with the sentence that holds the answer, and its paragraph.

    A question whose answer does not begin in a sentence is left out, as in the reference.
    """
    pairs = []
    for row in rows:
        answer, start = row["answers"]["text"][0], row["answers"]["answer_start"][0]
        context = row["context"]
        start = nearest_start(context, answer, start)
        for first, last in sentence_breaks(context):
            if first <= start < last:
                pairs.append((row["id"], row["question"], row["id"], context[first:last], context))
                break
    return _rows(_PAIRS, pairs)


def tydiqa_sentences(rows: Dataset, language: str) -> Dataset:
    """Questions of TyDiQA in a language with the sentence that holds the answer."""
    return answer_sentences(of_language(rows, language), language)


def _paragraphs(path: Path) -> Iterator[Mapping[str, Any]]:
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        yield from article["paragraphs"]


def _answered(paragraph: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each question of a paragraph with the sentence that its answer begins in."""
    context = paragraph["context"]
    for question in paragraph["qas"]:
        start = question["answers"][0]["answer_start"]
        for first, last in paragraph["sentence_breaks"]:
            if first <= start < last:
                yield question, context[first:last]
                break


def lareqa_questions(path: Path, language: str) -> Dataset:
    """The questions of LAReQA in a language; parallel by id, which is also the key."""
    queries = []
    for paragraph in _paragraphs(path):
        for question, _ in _answered(paragraph):
            queries.append((question["id"], question["question"], question["id"]))
    return _rows(_QUERIES, queries)


def lareqa_candidates(path: Path, language: str) -> Dataset:
    """Every sentence of LAReQA in a language, with its paragraph and the questions it answers.

    A sentence is right for a question if it has the words of the one that the answer begins in
    (XTREME third_party/utils_lareqa.py).
    """
    candidates = []
    for p, paragraph in enumerate(_paragraphs(path), start=1):
        answered = list(_answered(paragraph))
        if not answered:
            continue
        context = paragraph["context"]
        for s, (first, last) in enumerate(paragraph["sentence_breaks"]):
            sentence = context[first:last]
            keys = [question["id"] for question, answer in answered if answer == sentence]
            texts = (text.replace("\n", "") for text in (sentence, context))
            candidates.append((f"{language}_{p}_{s}", *texts, keys))
    return _rows(_CANDIDATES, candidates)


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def _mention(context: Mapping[str, Any], span: Mapping[str, Any]) -> str:
    """The mention, and the sentence it stands in with the mention in braces.

    ``name: left { name } right`` (Mewsli-X preprocess_mention); braces of the text itself become
    parentheses.
    """
    start, end = span["start"], span["end"]
    inside = (s for s in context["sentence_spans"] if s["start"] <= start and end <= s["end"])
    sentence = next(inside, {"start": 0, "end": len(context["text"])})
    left = context["text"][sentence["start"] : start]
    right = context["text"][end : sentence["end"]]
    left, right = (re.sub(r"\{(.*?)\}", r"(\1)", side) for side in (left, right))
    return _one_line(f"{span['text']}: {left} {{ {span['text']} }} {right}")


def _description(entity: Mapping[str, Any]) -> str:
    spans = entity["sentence_spans"]
    return _one_line(" ".join(entity["description"][s["start"] : s["end"]] for s in spans))


def _json_lines(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def mewsli_pairs(path: Path, language: str) -> Dataset:
    """Mentions in English Wikipedia with the description of their entity, to train on."""
    pairs = []
    for row in _json_lines(path):
        mention = row["contextual_mention"]["mention"]
        query = _mention(row["contextual_mention"]["context"], mention["mention_span"])
        key = row["entity"]["entity_id"]
        pairs.append((mention["example_id"], query, key, _description(row["entity"]), ""))
    return _rows(_PAIRS, pairs)


def mewsli_mentions(path: Path, language: str) -> Dataset:
    """The mentions in WikiNews articles of a language; the key is the entity, empty if hidden."""
    queries = []
    for row in _json_lines(path):
        if row["context"]["language"] == language:
            for mention in row["mentions"]:
                query = _mention(row["context"], mention["mention_span"])
                queries.append((mention["example_id"], query, mention.get("entity_id") or ""))
    return _rows(_QUERIES, queries)


def mewsli_entities(path: Path, language: str) -> Dataset:
    """The candidate entities, each described in one of fifty languages."""
    candidates = []
    for row in _json_lines(path):
        candidates.append((row["entity_id"], _description(row), "", [row["entity_id"]]))
    return _rows(_CANDIDATES, candidates)


def _sides(
    foreign: Mapping[str, str], english: Mapping[str, str], gold: Iterable[tuple[str, str]]
) -> Dataset:
    partners: dict[str, list[str]] = {}
    for one, other in gold:
        partners.setdefault(one, []).append(other)
    sentences = [(key, "text", text, partners.get(key, [])) for key, text in foreign.items()]
    sentences += [(key, "english", text, []) for key, text in english.items()]
    return _rows(_SENTENCES, sentences)


def bucc(rows: Dataset, language: str) -> Dataset:
    """BUCC on the Hub: one row with both collections and pairs of their places, counted from 1."""
    foreign: dict[str, str] = {}
    english: dict[str, str] = {}
    gold: list[tuple[str, str]] = []
    for row in rows:
        foreign |= {f"{language}-{i}": text for i, text in enumerate(row["sentence1"], start=1)}
        english |= {f"en-{i}": text for i, text in enumerate(row["sentence2"], start=1)}
        gold += [(f"{language}-{one}", f"en-{other}") for one, other in row["gold"]]
    return _sides(foreign, english, gold)


def bucc_files(paths: Sequence[Path], language: str) -> Dataset:
    """BUCC in XTREME's files ``xx-en.dev.{xx,en,gold}``: id and sentence, or two ids, by tab."""
    lines = {
        path.suffix[1:]: [
            line.rstrip("\r").split("\t")
            for line in path.read_text(encoding="utf-8").split("\n")
            if line.strip()
        ]
        for path in paths
    }
    if missing := [part for part in (language, "en", "gold") if part not in lines]:
        names = ", ".join(path.name for path in paths)
        raise ValueError(f"BUCC in {language!r}: no file ends in {missing}; found {names}.")
    return _sides(dict(lines[language]), dict(lines["en"]), map(tuple, lines["gold"]))
