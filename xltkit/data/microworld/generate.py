"""The data sets of the microworld: items of ``meanings.py`` in a language, in canonical columns.

An item is first made as meaning and then worded in any language, so test sets are parallel by id.
Whether an item belongs to train, validation or test is decided by a hash of its meaning: the
three never share an item of a task, however many are generated. Translation pairs are the one kind
of training data that gives a test away, so ``retrieval`` leaves out every sentence of them.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import count, islice
from random import Random
from typing import Any

import datasets
from datasets import Dataset

from xltkit.data.loading import Source
from xltkit.data.microworld import meanings as make
from xltkit.data.microworld import pictures
from xltkit.data.microworld.grammar import Sentence, Token, forms, verbalize
from xltkit.data.microworld.languages import ENGLISH, LANGUAGES, MicroLanguage, language
from xltkit.data.microworld.meanings import Item, Maker
from xltkit.data.microworld.scenes import wordings
from xltkit.keys import digest

SIZES = {"train": 4000, "validation": 500, "test": 500}
MOST_PAIRS = 4000  # translation pairs; more of them would hold sentences of the retrieval test
POS_TAGS = tuple("ADJ ADP ADV AUX CCONJ DET NOUN NUM PRON PROPN PUNCT SCONJ VERB".split())
NER_TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC")

Writer = Callable[[Item, MicroLanguage], dict[str, Any]]


def _two_texts(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    first, second, label = item
    return {"text_a": verbalize(first, lang), "text_b": verbalize(second, lang), "label": label}


def _question(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    context, question, asked, answer = item
    tokens = context[asked].tokens(lang)
    places = [i for i, token in enumerate(tokens) if token.concept in answer]
    words = forms(tokens, lang)
    before = [verbalize((sentence,), lang) for sentence in context[:asked]]
    return {
        "question": verbalize((question,), lang),
        "context": verbalize(context, lang),
        "answers": [" ".join(words[places[0] : places[-1] + 1])],
        "starts": [len(" ".join([*before, *words[: places[0]], ""]))],
    }


def _choices(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    """The question of cause or effect is put by the connective: "Anna is hungry , so"."""
    sentences, choices, link, label = item
    premise = verbalize(sentences, lang)
    if link:
        words = [Token(link)] if link == "because" else [Token(","), Token(link)]
        premise = f"{premise.removesuffix(' .')} {' '.join(forms(words, lang))}"
    return {"premise": premise, "choices": [verbalize((c,), lang) for c in choices], "label": label}


def _words(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    words = [lang.form(word) for word in item[0]]
    return {"premise": " , ".join(words), "choices": words, "label": item[1]}


def _tagged(item: Item, lang: MicroLanguage, named: bool = False) -> dict[str, Any]:
    tokens = item[0].tokens(lang)
    tags = [NER_TAGS.index(t.entity) if named else POS_TAGS.index(t.tag) for t in tokens]
    return {"tokens": forms(tokens, lang), "tags": tags}


def _text(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    return {"text": verbalize(item, lang)}


def _translated(item: Item, lang: MicroLanguage, english: str = "translation") -> dict[str, Any]:
    return {"text": verbalize(item, lang), english: verbalize(item, ENGLISH)}


def _description(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    """The descriptions are English in every language; the right one is the key."""
    mention, described, wrong = item
    text = verbalize(described, ENGLISH)
    query = {"query": verbalize(mention, lang), "key": text}
    return query | {"text": text, "context": "", "negative": verbalize(wrong, ENGLISH)}


def _captions(item: Item, lang: MicroLanguage) -> list[str]:
    """Both wordings of what the picture shows, in the same order in every language."""
    (scene,) = item
    captions = [verbalize((Sentence(clause),), lang) for clause in wordings(scene)]
    return captions[::-1] if int(digest(scene.about)[:8], 16) % 2 else captions


def _caption(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    return {"image": pictures.render(item[0]), "texts": _captions(item, lang)}


def _caption_pair(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    return {"text": _captions(item, lang)[0], "translation": _captions(item, ENGLISH)[0]}


GENERATORS: dict[str, tuple[Maker, Writer]] = {
    "nli": (make.nli, _two_texts),
    "paraphrase": (make.paraphrase, _two_texts),
    "choice": (make.choice, _choices),
    "pos": (make.sentence, _tagged),
    "ner": (make.dealing, partial(_tagged, named=True)),
    "qa": (make.qa, _question),
    "retrieval": (make.sentence, partial(_translated, english="english")),
    "linking": (make.linking, _description),
    "captions": (make.picture, _caption),
    "caption-pairs": (make.picture, _caption_pair),
    "text": (make.document, _text),
    "pairs": (make.pair, _translated),
    # Intermediate tasks that are no targets.
    "nli-large": (partial(make.nli, distract=True), _two_texts),
    "qa-large": (partial(make.qa, more=3), _question),
    "continuation": (make.continuation, _choices),
    "odd-one-out": (make.odd_one_out, _words),
}


def generate(task: str, split: str, stream: str = "") -> Iterator[Item]:
    """The distinct items of a task and split, without end, always in the same order."""
    maker, _ = GENERATORS[task]
    seen: set[Item] = set()
    if task == "retrieval":
        pairs = items("pairs", "train", MOST_PAIRS)
        seen = {(sentence,) for pair in pairs for sentence in pair}
    for number in count():
        item = maker(Random(f"{task}/{stream}/{number}"))
        # Two scenes may be one picture: no picture is in two splits, or twice in one.
        identity = pictures.visible(item[0]) if maker is make.picture else item
        # json writes nested tuples much faster than repr does.
        share = hashlib.sha256(json.dumps(identity).encode()).digest()[0] / 256
        place = "test" if share < 0.2 else "validation" if share < 0.4 else "train"
        if place == split and identity not in seen:
            seen.add(identity)
            yield item


@lru_cache(maxsize=64)
def items(task: str, split: str, number: int) -> tuple[Item, ...]:
    """The first items of a task and split, in no language yet."""
    return tuple(islice(generate(task, split), number))


@lru_cache(maxsize=256)
def rows(task: str, split: str, lang: MicroLanguage, number: int = 0) -> Dataset:
    """The items of a task (a key of ``GENERATORS``) in a language, in the canonical columns.

    ``number`` is how many; 0 means as many as ``SIZES`` says of the split.
    """
    _, write = GENERATORS[task]
    number = number or SIZES[split]
    if task == "text":  # says something else in every language; all other tasks are parallel by id
        chosen = islice(generate(task, split, lang.code.partition("-x-")[0]), number)
    else:
        chosen = items(task, split, number)
    written = [{"id": f"{split}-{i}"} | write(item, lang) for i, item in enumerate(chosen)]
    table = Dataset.from_list(written)
    return table.cast_column("image", datasets.Image()) if task == "captions" else table


@cache
def _sample(task: str, split: str, lang: MicroLanguage) -> str:
    """A digest of some rows: it changes with the lexicon, the grammar and the makers."""
    written = [GENERATORS[task][1](item, lang) for item in items(task, split, 50)]
    for row in written:
        if "image" in row:
            row["image"] = row["image"].tobytes().hex()
    return digest(written)


@dataclass(frozen=True, eq=False)
class MicroworldSource(Source):
    """A split of a task of the microworld, generated in whatever language it is asked for.

    ``configs`` name the generator, and the usual number of rows after a colon: ``qa:20000``.
    """

    is_generated = True

    def _generator(self, code: str) -> tuple[str, int]:
        generator, _, size = self.of(code).configs[code].partition(":")
        return generator, int(size or SIZES[self.split])

    def rows(self, code: str, count: int = 0) -> Dataset:
        return self.read(self.raw(code, count), code)

    def raw(self, code: str, first: int = 0) -> Dataset:
        generator, _ = self._generator(code)
        return rows(generator, self.split, language(code), self.count(code, first))

    def count(self, code: str, examples: int = 0) -> int:
        return examples or self._generator(code)[1]

    def must_be_read(self, code: str) -> bool:
        self.of(code)
        return False

    def fingerprint(self, code: str) -> str:
        """The config, the language, and a digest of some rows, which follows the generator."""
        lang = language(code)
        sample = _sample(self._generator(code)[0], self.split, lang)
        return f"microworld/{self.configs[code]}/{self.split}/{lang}/{sample}"


class EveryLanguage(Mapping):
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


def unchanged(rows: Dataset, code: str) -> Dataset:
    """The rows as they are, in canonical columns."""
    return rows


def descriptions(rows: Dataset, code: str) -> Dataset:
    """The candidates of ``linking``: right and wrong descriptions of its test rows, each once."""
    texts = list(dict.fromkeys([*rows["text"][:], *rows["negative"][:]]))
    ids = [f"description-{i}" for i in range(len(texts))]
    contexts = [""] * len(texts)
    keys = [[text] for text in texts]
    return Dataset.from_dict({"id": ids, "text": texts, "context": contexts, "keys": keys})
