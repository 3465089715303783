"""The tasks of the microworld, all told about the same scenes, the same items in every language.

An item is first made as meaning (clauses) and then said in any language, so test sets are
parallel by id. Whether an item belongs to train, validation or test is decided by a hash of what
it says in English: the three never share an item, however many are generated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from datasets import Dataset

from xltkit.microworld import lexicon as lex
from xltkit.microworld import scenes
from xltkit.microworld.grammar import Clause, Phrase, Token, sentence, text
from xltkit.microworld.languages import ENGLISH, MicroLanguage, language, share
from xltkit.microworld.scenes import Fact, ask, name, tell, the

if TYPE_CHECKING:
    from xltkit.tasks.table import Source

VERSION = 1
SIZES = {"train": 4000, "validation": 500, "test": 500}
NLI_LABELS = ("entailment", "neutral", "contradiction")
POS_TAGS = tuple("ADJ ADP ADV AUX CCONJ DET NOUN NUM PRON PROPN PUNCT SCONJ VERB".split())

# An item is what is to be said and what is to be predicted, in no language yet.
Item = tuple[Any, ...]


class Said(NamedTuple):
    """A clause, or two joined by a link, that can be said in any language."""

    clause: Clause
    link: str = ""
    second: Clause | None = None

    def tokens(self, lang: MicroLanguage) -> list[Token]:
        """The tokens of the sentence in a language."""
        return sentence(self.clause, lang, self.link, self.second)


def say(parts: tuple[Said, ...], lang: MicroLanguage) -> str:
    """Several sentences as one string."""
    return " ".join(text(part.tokens(lang), lang) for part in parts)


# --- one maker per task: a random generator in, an item out --------------------------------------


def _make_nli(random: Random) -> Item:
    """One thing is said of a person and a thing, and then another: does it follow?

    It follows if the new word is a synonym; it is ruled out if it is another word of the same
    class (another colour) or the opposite (buys, sells); else nothing is known. The new word is
    never the old one and the rest is the same, so neither half of the input, nor the overlap,
    nor the length tells the label.
    """
    label = random.choice(NLI_LABELS)
    person, thing = name(random.choice(lex.NAMES)), random.choice(lex.THINGS + lex.ANIMALS)
    old, new = (_words_of_attribute if random.random() < 0.5 else _words_of_action)(label, random)
    if old in lex.TAGS and lex.TAGS[old] == "VERB":
        said = [Clause(person, verb, Phrase(thing, "the")) for verb in (old, new)]
    else:
        # Either wording, for either half: the ball of Anna is red; Anna owns a red ball.
        said = [random.choice(tell(Fact("colour", (person.noun, thing, w)))) for w in (old, new)]
    return (Said(said[0]),), (Said(said[1]),), NLI_LABELS.index(label)


def _one_of(pair: tuple[str, str], random: Random) -> tuple[str, str]:
    return pair if random.random() < 0.5 else pair[::-1]


def _words_of_attribute(label: str, random: Random) -> tuple[str, str]:
    first, second = random.sample(lex.ATTRIBUTES, 2)
    word, other = random.sample(list(first.items()), 2)
    old, synonym = _one_of(word, random)
    if label == "entailment":
        return old, synonym
    if label == "contradiction":
        return old, random.choice(other)
    return old, random.choice(random.choice(list(second.items())))


def _words_of_action(label: str, random: Random) -> tuple[str, str]:
    pair, unrelated = random.sample(lex.OPPOSITES, 2)
    verb, opposite = _one_of(pair, random)
    old, synonym = _one_of(verb, random)
    if label == "entailment":
        return old, synonym
    if label == "contradiction":
        return old, random.choice(opposite)
    return old, random.choice(random.choice(unrelated))


def _make_qa(random: Random) -> Item:
    """A question about one of three facts; another fact of the same kind is there to mislead."""
    kind, other = random.sample(scenes.KINDS, 2)
    told = scenes.facts(kind, 2, random) + scenes.facts(other, 1, random)
    question, answer = random.choice(ask(told[0]))
    while True:
        clause = random.choice(tell(told[0]))
        if all(concept in _concepts(clause) for concept in answer):
            break
    sentences = [(clause, True), *((random.choice(tell(f)), False) for f in told[1:])]
    random.shuffle(sentences)
    at = next(i for i, (_, asked) in enumerate(sentences) if asked)
    return tuple(Said(c) for c, _ in sentences), Said(question), at, answer


def _concepts(clause: Clause) -> set[str]:
    return {t.concept for t in sentence(clause, ENGLISH)}


def _make_choice(random: Random) -> Item:
    """Which state led to this, or what came of this state; the wrong choice is another link's."""
    right, wrong = random.sample(tuple(lex.CAUSES), 2)
    person = name(random.choice(lex.NAMES))
    place = ("in", the(random.choice(lex.PLACES)))
    states = [Clause(person, "is", predicate=state) for state in (right, wrong)]
    events = [Clause(person, lex.CAUSES[state]) for state in (right, wrong)]
    forward = random.random() < 0.5
    given, choices = (states, events) if forward else (events, states)
    label = random.randrange(2)
    ordered = choices if label == 0 else choices[::-1]
    extra = Said(Clause(person, random.choice(lex.STAYS), place=place))
    return (extra, Said(given[0])), tuple(map(Said, ordered)), "so" if forward else "because", label


def _make_sentence(random: Random) -> Said:
    fact = scenes.varied(scenes.anything(random), random)
    draw = random.random()
    if draw < 0.25:
        return Said(random.choice(ask(fact))[0])
    if fact.kind == "state":
        cause, effect = tell(fact)
        if draw < 0.6:
            return Said(cause, "so", effect)
        if draw < 0.9:
            return Said(effect, "because", cause)
    clause = random.choice(tell(fact))
    if draw < 0.55:
        return Said(clause, "and", random.choice(tell(scenes.anything(random))))
    return Said(clause)


def _make_pair(random: Random) -> Item:
    return (_make_sentence(random),)


def _make_document(random: Random) -> Item:
    """Plain text: some facts, and later the same facts again in other words, or asked and told."""
    told = [f for kind in random.sample(scenes.KINDS, 2) for f in scenes.facts(kind, 2, random)]
    first = [_mention(scenes.varied(fact, random), random) for fact in told]
    again = []
    for fact in random.sample(told, 3):
        if random.random() < 0.5:
            again.append(Said(random.choice(ask(scenes.varied(fact, random)))[0]))
        again.append(_mention(scenes.varied(fact, random), random))
    random.shuffle(first)
    return (*first, *again)


def _mention(fact: Fact, random: Random) -> Said:
    """A fact in some wording; of a state, mostly with what comes of it."""
    if fact.kind == "state" and random.random() < 0.7:
        cause, effect = tell(fact)
        forward = random.random() < 0.5
        return Said(cause, "so", effect) if forward else Said(effect, "because", cause)
    return Said(random.choice(tell(fact)))


# --- one writer per task: an item and a language in, canonical columns out ----------------------


def _write_nli(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    premise, hypothesis, label = item
    return {"text_a": say(premise, lang), "text_b": say(hypothesis, lang), "label": label}


def _write_qa(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    context, question, at, answer = item
    before = say(context[:at], lang)
    start = len(before) + 1 if before else 0
    found: list[tuple[int, int]] = []
    for token in context[at].tokens(lang):
        form = lang.form(token.concept, token.endings)
        if token.concept in answer:
            found.append((start, start + len(form)))
        start += len(form) + 1
    whole = say(context, lang)
    first, last = found[0][0], found[-1][1]
    question_text = text(question.tokens(lang), lang)
    return {
        "question": question_text,
        "context": whole,
        "answers": [whole[first:last]],
        "starts": [first],
    }


def _write_choice(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    told, choices, link, label = item
    # The question is asked by the connective: "... Anna is hungry , so" or "... because".
    words = [Token(link)] if link == "because" else [Token(","), Token(link)]
    premise = f"{say(told, lang).removesuffix(' .')} {text(words, lang)}"
    return {"premise": premise, "choices": [say((c,), lang) for c in choices], "label": label}


def _write_pos(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    tokens = item[0].tokens(lang)
    return {
        "tokens": [lang.form(t.concept, t.endings) for t in tokens],
        "tags": [POS_TAGS.index(t.tag) for t in tokens],
    }


def _write_retrieval(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    return {"text": say(item, lang), "english": say(item, ENGLISH)}


def _write_text(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    return {"text": say(item, lang)}


def _write_pair(item: Item, lang: MicroLanguage) -> dict[str, Any]:
    return {"text": say(item[:3], lang), "translation": say(item[:3], ENGLISH)}


Maker = Callable[[Random], Item]
Writer = Callable[[Item, MicroLanguage], dict[str, Any]]
GENERATORS: dict[str, tuple[Maker, Writer]] = {
    "nli": (_make_nli, _write_nli),
    "qa": (_make_qa, _write_qa),
    "choice": (_make_choice, _write_choice),
    "pos": (_make_pair, _write_pos),
    "retrieval": (_make_pair, _write_retrieval),
    "text": (_make_document, _write_text),
    "pairs": (_make_document, _write_pair),
}


def _split(item: Item) -> str:
    where = share("split", repr(item))
    return "test" if where < 0.2 else "validation" if where < 0.4 else "train"


def generate(task: str, split: str, stream: str = "") -> Iterator[Item]:
    """The distinct items of a task and split, without end, always in the same order."""
    make, _ = GENERATORS[task]
    seen: set[Item] = set()
    number = 0
    while True:
        item = make(Random(f"{task}/{stream}/{number}"))
        number += 1
        if _split(item) == split and item not in seen:
            seen.add(item)
            yield item


@lru_cache(maxsize=64)
def items(task: str, split: str, count: int) -> tuple[Item, ...]:
    """The first ``count`` items of a task and split, in no language yet."""
    return tuple(islice(generate(task, split), count))


@lru_cache(maxsize=256)
def rows(task: str, split: str, lang: MicroLanguage, count: int = 0) -> Dataset:
    """The items of a task and split in a language, in the canonical columns of the task's kind.

    Args:
        task: a key of ``GENERATORS``.
        split: ``train``, ``validation`` or ``test``.
        lang: any language, of the table or made up on the spot.
        count: number of items; 0 means the size in ``SIZES``.
    """
    _, write = GENERATORS[task]
    count = count or SIZES[split]
    if task == "text":  # says something else in every language; all other tasks are parallel by id
        said = islice(generate(task, split, lang.code), count)
    else:
        said = items(task, split, count)
    return Dataset.from_list([{"id": f"{split}-{i}"} | write(s, lang) for i, s in enumerate(said)])


def load(source: Source, code: str) -> Dataset:
    """The rows of a microworld source in a language (see ``xltkit.data.load``)."""
    task, _, count = source.configs[code].partition(":")
    return rows(task, source.split, language(code), int(count or 0))


def fingerprint(source: Source, code: str) -> str:
    """What identifies the generated data: the generator's version, the config and the language."""
    return f"microworld-{VERSION}/{source.configs[code]}/{source.split}/{language(code)}"
