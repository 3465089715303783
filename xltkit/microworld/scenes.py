"""Small situations: what is the case about some people, things and places, and how it is told."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from xltkit.microworld import lexicon as lex
from xltkit.microworld.grammar import Clause, Phrase


class Fact(NamedTuple):
    """One thing that is the case; ``kind`` says how to read ``about``.

    ======== ====================================== =============================
    kind     about                                  told as
    ======== ====================================== =============================
    colour   person, thing, attribute               the ball of Anna is red
    stay     person, verb, place                    Anna lives in the village
    relation thing, relation, thing                 the ball is under the table
    count    person, verb, number, thing            Anna finds three balls
    transfer person, verb, thing, person            Anna gives the ball to Ben
    action   person, verb, attribute, thing         Anna mends a red ball
    state    person, state                          Anna is hungry, so Anna eats
    ======== ====================================== =============================

    Nobody in the microworld owns two things of one sort, so *the ball of Anna* is unique.
    """

    kind: str
    about: tuple[str, ...]


def name(word: str) -> Phrase:
    """A person's name as a noun phrase."""
    return Phrase(word)


def the(word: str, *adjectives: str, owner: str = "") -> Phrase:
    """A definite noun phrase."""
    return Phrase(word, "the", adjectives=adjectives, owner=owner)


def tell(fact: Fact) -> list[Clause]:
    """The ways to say a fact, as clauses; every one of them says all of it."""
    a = fact.about
    if fact.kind == "colour":
        person, thing, colour = a
        return [
            Clause(the(thing, owner=person), "is", predicate=colour),
            Clause(name(person), "own", Phrase(thing, "a", adjectives=(colour,))),
        ]
    if fact.kind == "stay":
        return [Clause(name(a[0]), a[1], place=("in", the(a[2])))]
    if fact.kind == "relation":
        ways = [Clause(the(a[0]), "is", place=(a[1], the(a[2])))]
        if a[1] in lex.CONVERSES:
            ways.append(Clause(the(a[2]), "is", place=(lex.CONVERSES[a[1]], the(a[0]))))
        return ways
    if fact.kind == "count":
        return [Clause(name(a[0]), a[1], Phrase(a[3], number=a[2]))]
    if fact.kind == "transfer":
        return [Clause(name(a[0]), a[1], the(a[2]), ("to", name(a[3])))]
    if fact.kind == "action":
        return [Clause(name(a[0]), a[1], Phrase(a[3], "a", adjectives=(a[2],)))]
    return [Clause(name(a[0]), "is", predicate=a[1]), Clause(name(a[0]), lex.CAUSES[a[1]])]


def ask(fact: Fact) -> list[tuple[Clause, tuple[str, ...]]]:
    """Questions about a fact, each with the concepts of its answer."""
    a = fact.about
    ways = tell(fact)
    if fact.kind == "colour":
        return [(ways[0]._replace(asked="which"), (a[2],)), (ways[1]._replace(asked="who"), a[:1])]
    if fact.kind == "stay":
        return [(ways[0]._replace(asked="where"), (a[2],)), (ways[0]._replace(asked="who"), a[:1])]
    if fact.kind == "relation":
        return [(ways[0]._replace(asked="where"), (a[2],))]
    if fact.kind == "count":
        return [(ways[0]._replace(asked="how"), (a[2],)), (ways[0]._replace(asked="who"), a[:1])]
    if fact.kind == "transfer":
        return [(ways[0]._replace(asked="what"), (a[2],)), (ways[0]._replace(asked="who"), a[:1])]
    if fact.kind == "action":
        return [(ways[0]._replace(asked="what"), (a[2], a[3]))]
    return [(ways[0]._replace(asked="who"), a[:1])]


KINDS = ("colour", "stay", "relation", "count", "transfer", "action", "state")


def facts(kind: str, count: int, random: Random) -> list[Fact]:
    """``count`` facts of one kind that differ in everything they could be confused by."""
    people = random.sample(lex.NAMES, 2 * count)
    things = random.sample(lex.THINGS + lex.ANIMALS, 2 * count)
    colours = random.sample(tuple(lex.COLOURS), count)
    places = random.sample(lex.PLACES, count)
    numbers = random.sample(lex.NUMBERS, count)
    states = random.sample(tuple(lex.CAUSES), count)
    verbs = random.sample(lex.ACTIONS, count)
    attributes = random.sample([word for a in lex.ATTRIBUTES for word in a], count)

    def one(i: int) -> tuple[str, ...]:
        person, thing = people[i], things[i]
        if kind == "colour":
            return (person, thing, colours[i])
        if kind == "stay":
            return (person, random.choice(lex.STAYS), places[i])
        if kind == "relation":
            return (thing, random.choice(lex.RELATIONS), things[count + i])
        if kind == "count":
            return (person, verbs[i], numbers[i], thing)
        if kind == "transfer":
            return (person, random.choice(lex.TRANSFERS), thing, people[count + i])
        if kind == "action":
            return (person, verbs[i], attributes[i], thing)
        return (person, states[i])

    return [Fact(kind, one(i)) for i in range(count)]


def varied(fact: Fact, random: Random) -> Fact:
    """The same fact with words replaced by their synonyms, each with even odds."""
    words = [lex.SYNONYMS.get(w, w) if random.random() < 0.5 else w for w in fact.about]
    return Fact(fact.kind, tuple(words))


def anything(random: Random) -> Fact:
    """A random fact of a random kind."""
    return facts(random.choice(KINDS), 1, random)[0]
