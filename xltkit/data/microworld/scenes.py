"""Small situations: what is the case about some people, things and places, and how it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

from xltkit.data.microworld import lexicon as lex
from xltkit.data.microworld.grammar import Clause, Phrase

OBJECTS = lex.THINGS + lex.ANIMALS


class Fact(NamedTuple):
    """One thing that is the case; ``kind`` says how to read ``about``.

    ======== ====================================== ===================================
    kind     about                                  told as
    ======== ====================================== ===================================
    colour   person, thing, attribute               the ball of Anna is red
    stay     person, verb, place                    Anna lives in the village
    relation thing, relation, thing                 the ball is under the table
    count    person, verb, number, thing            Anna finds three balls
    transfer person, verb, thing, person            Anna gives the ball to Ben
    action   person, verb, attribute, thing         Anna mends a red ball
    state    person, state                          Anna is hungry, so Anna eats
    dealing  name, verb, name                       Arden hires Anna
    view     group, relation, group                 two small red balls over a big blue cup
    ======== ====================================== ===================================

    Nobody in the microworld owns two things of one sort, so *the ball of Anna* is unique. A name
    in a dealing is a phrase, a group in a view is (number, size, colour, thing).
    """

    kind: str
    about: tuple[Any, ...]


def name(word: str) -> Phrase:
    """A person's name as a noun phrase."""
    return Phrase(word, entity="PER")


def the(word: str, *adjectives: str, owner: str = "") -> Phrase:
    """A definite noun phrase."""
    return Phrase(word, "the", adjectives=adjectives, owner=owner)


def group(number: str, size: str, colour: str, thing: str) -> Phrase:
    """A number of equal things as a noun phrase; the number is empty for a single one."""
    adjectives = (size, colour)
    return Phrase(thing, "" if number else "a", number, adjectives)


def _both_ways(fact: Fact) -> list[Clause]:
    """A fact that can be said from either side: over and under, gives and gets."""
    a = fact.about
    if fact.kind == "relation":
        first, second = the(a[0]), the(a[2])
        ways = [Clause(first, "is", place=(a[1], second))]
        if a[1] in lex.CONVERSES:
            ways.append(Clause(second, "is", place=(lex.CONVERSES[a[1]], first)))
        return ways
    if fact.kind == "transfer":
        giver, verb, thing, taker = name(a[0]), a[1], the(a[2]), name(a[3])
        return [
            Clause(giver, verb, thing, ("to", taker)),
            Clause(taker, lex.TRANSFERS[verb], thing, ("from", giver)),
        ]
    if fact.kind == "view":
        first, second = group(*a[0]), group(*a[2])
        return [
            Clause(first, place=(a[1], second)),
            Clause(second, place=(lex.CONVERSES[a[1]], first)),
        ]
    converse = lex.DEALINGS[a[1]][2]
    return [Clause(a[0], a[1], a[2]), Clause(a[2], converse, a[0])]


def wordings(fact: Fact) -> list[Clause]:
    """The ways to word a fact, as clauses; each of them says all of it."""
    a = fact.about
    if fact.kind in ("relation", "transfer", "view", "dealing"):
        return _both_ways(fact)
    if fact.kind == "colour":
        person, thing, colour = a
        return [
            Clause(the(thing, owner=person), "is", predicate=colour),
            Clause(name(person), "own", Phrase(thing, "a", adjectives=(colour,))),
        ]
    if fact.kind == "stay":
        return [Clause(name(a[0]), a[1], place=("in", the(a[2])))]
    if fact.kind == "count":
        return [Clause(name(a[0]), a[1], Phrase(a[3], number=a[2]))]
    if fact.kind == "action":
        return [Clause(name(a[0]), a[1], Phrase(a[3], "a", adjectives=(a[2],)))]
    return [Clause(name(a[0]), "is", predicate=a[1]), Clause(name(a[0]), lex.CAUSES[a[1]])]


# The questions about a fact: which way of telling it, what is asked for, which words answer it.
_QUESTIONS: dict[str, tuple[tuple[int, str, tuple[int, ...]], ...]] = {
    "colour": ((0, "which", (2,)), (1, "who", (0,))),
    "stay": ((0, "where", (2,)), (0, "who", (0,))),
    "relation": ((0, "where", (2,)),),
    "count": ((0, "how", (2,)), (0, "who", (0,))),
    "transfer": ((0, "what", (2,)), (0, "who", (0,)), (1, "who", (3,))),
    "action": ((0, "what", (2, 3)), (0, "who", (0,))),
    "state": ((0, "who", (0,)), (1, "who", (0,))),
}
ASKABLE = tuple(_QUESTIONS)


def questions(fact: Fact) -> list[tuple[Clause, tuple[str, ...]]]:
    """Questions about a fact, each with the concepts of its answer."""
    ways = wordings(fact)
    return [
        (ways[way]._replace(asked=asked), tuple(fact.about[i] for i in answer))
        for way, asked, answer in _QUESTIONS[fact.kind]
    ]


def entity(kind: str, random: Random, taken: Iterable[str] = ()) -> Phrase:
    """A name of a person, a firm or a town. Many are the same word: only the sentence tells."""
    free = [n for n in lex.SHARED_NAMES if n not in taken]
    first, second = random.sample(free, 2)
    draw = random.random()
    if kind == "PER" and draw < 0.6:
        first_name = random.choice(lex.NAMES)
        return Phrase(first_name, entity=kind, more=(first,) if draw < 0.3 else ())
    if kind == "ORG" and draw < 0.5:
        return Phrase(first, entity=kind, more=("and", second))
    return Phrase(first, entity=kind)


def _dealings(some: Callable[..., list[Any]], random: Random, count: int) -> list[tuple]:
    dealings = []
    for verb in some(tuple(lex.DEALINGS), count):
        who, whom, _ = lex.DEALINGS[verb]
        subject = entity(who, random)
        dealings.append((subject, verb, entity(whom, random, (subject.noun, *subject.more))))
    return dealings


def _views(some: Callable[..., list[Any]], random: Random, count: int) -> list[tuple]:
    things = some(lex.SHOWN, 2 * count)
    colours = some(tuple(lex.COLOURS), 2 * count)
    groups = [
        (random.choice(lex.SHOWN_NUMBERS), random.choice(lex.SHOWN_SIZES), colour, thing)
        for colour, thing in zip(colours, things, strict=True)
    ]
    relations = random.choices(tuple(lex.CONVERSES), k=count)
    return list(zip(groups[:count], relations, groups[count:], strict=True))


_ATTRIBUTES = tuple(word for a in lex.ATTRIBUTES for word in a)
_STATES = tuple(lex.CAUSES)
_COLOURS = tuple(lex.COLOURS)


def facts(kind: str, count: int, random: Random) -> list[Fact]:
    """``count`` facts of one kind that differ in everything they could be confused by."""

    def some(pool: tuple[str, ...], number: int = count) -> list[Any]:
        return random.sample(pool, number)

    def any_of(pool: Iterable[str]) -> list[str]:
        return random.choices(tuple(pool), k=count)

    def halves(pool: tuple[str, ...]) -> tuple[list[str], list[str]]:
        drawn = some(pool, 2 * count)
        return drawn[:count], drawn[count:]

    if kind == "colour":
        rows = zip(some(lex.NAMES), some(OBJECTS), some(_COLOURS), strict=True)
    elif kind == "stay":
        rows = zip(some(lex.NAMES), any_of(lex.STAYS), some(lex.PLACES), strict=True)
    elif kind == "relation":
        first, second = halves(OBJECTS)
        rows = zip(first, any_of(lex.RELATIONS), second, strict=True)
    elif kind == "count":
        columns = (lex.NAMES, lex.ACTIONS, lex.NUMBERS, OBJECTS)
        rows = zip(*(some(c) for c in columns), strict=True)
    elif kind == "transfer":
        givers, takers = halves(lex.NAMES)
        rows = zip(givers, any_of(lex.TRANSFERS), some(OBJECTS), takers, strict=True)
    elif kind == "action":
        columns = (lex.NAMES, lex.ACTIONS, _ATTRIBUTES, OBJECTS)
        rows = zip(*(some(c) for c in columns), strict=True)
    elif kind == "state":
        rows = zip(some(lex.NAMES), some(_STATES), strict=True)
    else:
        rows = (_dealings if kind == "dealing" else _views)(some, random, count)
    return [Fact(kind, row) for row in rows]


TYPES = (*ASKABLE, "dealing", "view")


def varied(fact: Fact, random: Random) -> Fact:
    """The same fact with words replaced by their synonyms, each with even odds."""

    def other(part: Any) -> Any:
        if isinstance(part, str):
            return lex.SYNONYMS.get(part, part) if random.random() < 0.5 else part
        is_group = type(part) is tuple
        return tuple(map(other, part)) if is_group else part

    return Fact(fact.kind, tuple(map(other, fact.about)))


def anything(random: Random) -> Fact:
    """A random fact of a random kind."""
    return facts(random.choice(TYPES), 1, random)[0]
