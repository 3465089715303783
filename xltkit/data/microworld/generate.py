"""The data sets of the microworld: items of ``meanings.py`` in a language, in canonical columns.

An item is first made as a meaning and then worded in any language, so test sets are parallel by id.
A hash of the meaning assigns it to train, validation or test.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from itertools import count, islice
from random import Random
from typing import Any

from datasets import Dataset

from xltkit.data.loading import Source
from xltkit.data.microworld import meanings as make
from xltkit.data.microworld import pictures
from xltkit.data.microworld.grammar import Sentence, Token, forms, verbalize
from xltkit.data.microworld.languages import ENGLISH, MicroLanguage, language
from xltkit.data.microworld.meanings import Item, Maker
from xltkit.data.microworld.scenes import wordings
from xltkit.data.readers import canonical
from xltkit.keys import digest

SIZES = {"train": 4000, "validation": 500, "test": 500}
MOST_PAIRS = 4000  # translation pairs; more would overlap with the retrieval test set
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
    sentences, choices, link, label = item
    premise = verbalize(sentences, lang)
    if link:  # asks for the cause or the effect: "Anna is hungry , so"
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


def _text(item: Item, lang: MicroLanguage, english: str = "") -> dict[str, Any]:
    """A text and, in the column ``english`` if one is named, its English translation."""
    translation = {english: verbalize(item, ENGLISH)} if english else {}
    return {"text": verbalize(item, lang)} | translation


def _description(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    """The descriptions are English in every language; the right one is the key."""
    mention, *descriptions = item
    text, negative = (verbalize(described, ENGLISH) for described in descriptions)
    row = {"query": verbalize(mention, lang), "key": text, "text": text, "context": ""}
    return row | {"negative": negative}


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
    "retrieval": (make.sentence, partial(_text, english="english")),
    "linking": (make.linking, _description),
    "captions": (make.picture, _caption),
    "caption-pairs": (make.picture, _caption_pair),
    "text": (make.document, _text),
    "pairs": (make.pair, partial(_text, english="translation")),
    # Intermediate tasks that are not targets.
    "nli-large": (partial(make.nli, distract=True), _two_texts),
    "qa-large": (partial(make.qa, more=3), _question),
    "continuation": (make.continuation, _choices),
    "odd-one-out": (make.odd_one_out, _words),
}


def generate(task: str, split: str, stream: str = "") -> Iterator[Item]:
    """An endless stream of the distinct items of a task and split, always in the same order."""
    maker, _ = GENERATORS[task]
    seen: set[Item] = set()
    if task == "retrieval":  # without sentences of translation pairs
        seen = {(part,) for pair in items("pairs", "train", MOST_PAIRS) for part in pair}
    for number in count():
        item = maker(Random(f"{task}/{stream}/{number}"))
        # Two scenes may give one picture: no picture is in two splits, or twice in one.
        identity = pictures.visible(item[0]) if maker is make.picture else item
        # json writes nested tuples much faster than repr does.
        share = hashlib.sha256(json.dumps(identity).encode()).digest()[0] / 256
        place = "test" if share < 0.2 else "validation" if share < 0.4 else "train"
        if place == split and identity not in seen:
            seen.add(identity)
            yield item


@lru_cache(maxsize=64)
def items(task: str, split: str, number: int) -> tuple[Item, ...]:
    """The first items of a task and split, as meanings."""
    return tuple(islice(generate(task, split), number))


@lru_cache(maxsize=256)
def rows(task: str, split: str, lang: MicroLanguage, number: int = 0) -> Dataset:
    """A number of items of a task (0: ``SIZES``) in a language, in the canonical columns."""
    _, write = GENERATORS[task]
    number = number or SIZES[split]
    if task == "text":  # differs between languages; all other tasks are parallel by id
        chosen = islice(generate(task, split, lang.code.partition("-x-")[0]), number)
    else:
        chosen = items(task, split, number)
    written = [{"id": f"{split}-{i}"} | write(item, lang) for i, item in enumerate(chosen)]
    return Dataset.from_list(written)


def unchanged(rows: Dataset, code: str) -> Dataset:
    """The reader of rows that already have canonical columns."""
    return rows


def descriptions(rows: Dataset, code: str) -> Dataset:
    """The candidates of ``linking``: right and wrong descriptions of its test rows, each once."""
    texts = list(dict.fromkeys([*rows["text"][:], *rows["negative"][:]]))
    ids = [f"description-{i}" for i in range(len(texts))]
    columns = {"text": texts, "context": [""] * len(texts), "keys": [[text] for text in texts]}
    return canonical("candidates", ids, **columns)


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
    """A split of a task of the microworld, generated in any of its languages.

    The config names the generator and, after a colon, the default number of rows: ``qa:20000``.
    """

    is_generated = True

    def __contains__(self, code: str) -> bool:
        """Whether it is one of the languages or a variant of one (``qbe-x-sov``)."""
        try:
            return code.partition("-x-")[0] in self.configs and bool(language(code))
        except ValueError:
            return False

    def of(self, code: str) -> Source:
        return self if code in self else super().of(code)

    def rows(self, code: str, count: int = 0) -> Dataset:
        return self.read(self.raw(code, count), code)

    def raw(self, code: str, first: int = 0) -> Dataset:
        generator, _, _ = self.of(code).configs["en"].partition(":")
        return rows(generator, self.split, language(code), self.count(code, first))

    def count(self, code: str, examples: int = 0) -> int:
        return examples or int(self.configs["en"].partition(":")[2] or SIZES[self.split])

    def must_be_read(self, code: str) -> bool:
        self.of(code)
        return False

    def fingerprint(self, code: str) -> str:
        """The config, the language, and a digest of some rows, which follows the generator."""
        lang, config = language(code), self.configs["en"]
        sample = _sample(config.partition(":")[0], self.split, lang)
        return f"microworld/{config}/{self.split}/{lang}/{sample}"
