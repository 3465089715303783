"""Small situations: facts about people, things and places, and how they are worded."""

from collections.abc import Iterable
from random import Random
from typing import Any, NamedTuple

from xltkit.data.microworld import lexicon as lex
from xltkit.data.microworld.grammar import Clause, Phrase

OBJECTS = lex.THINGS + lex.ANIMALS
_ATTRIBUTES = tuple(word for table in lex.ATTRIBUTES for word in table)


class Fact(NamedTuple):
    """A fact; ``kind`` says how to read ``about`` (see ``wordings``).

    Nobody in the microworld owns two things of one kind, so *the ball of Anna* is unique.
    """

    kind: str
    about: tuple[Any, ...]


def name(word: str) -> Phrase:
    """A person's name."""
    return Phrase(word, entity="PER")


def the(words: str, owner: str = "") -> Phrase:
    """A definite noun phrase: the noun, maybe after adjectives (``red ball``)."""
    *adjectives, noun = words.split()
    return Phrase(noun, "the", adjectives=tuple(adjectives), owner=owner)


def _some(thing: str, number: str, *adjectives: str) -> Phrase:
    """An indefinite noun phrase; the number is empty for a single thing."""
    return Phrase(thing, "" if number else "a", number, adjectives)


def wordings(fact: Fact) -> list[Clause]:
    """The ways to word a fact, as clauses, each of which says all of it."""
    match fact:
        case Fact("colour", (person, thing, colour)):  # the ball of Anna is red
            is_so = Clause(the(thing, owner=person), "is", predicate=colour)
            return [is_so, Clause(name(person), "own", _some(thing, "", colour))]
        case Fact("stay", (person, verb, place)):  # Anna lives in the village
            return [Clause(name(person), verb, place=("in", the(place)))]
        case Fact("count", (person, verb, number, thing)):  # Anna finds three balls
            return [Clause(name(person), verb, _some(thing, number))]
        case Fact("action", (person, verb, attribute, thing)):  # Anna mends a red ball
            return [Clause(name(person), verb, _some(thing, "", attribute))]
        case Fact("state", (person, state)):  # Anna is hungry, so Anna eats
            is_so = Clause(name(person), "is", predicate=state)
            return [is_so, Clause(name(person), lex.CAUSES[state])]
        case Fact("relation", (first, relation, second)):  # the ball is under the table
            ways = [Clause(the(first), "is", place=(relation, the(second)))]
            if converse := lex.CONVERSES.get(relation):
                ways.append(Clause(the(second), "is", place=(converse, the(first))))
            return ways
        case Fact("transfer", (giver, verb, thing, taker)):  # Anna gives the ball to Ben
            gives = Clause(name(giver), verb, the(thing), ("to", name(taker)))
            gets = Clause(name(taker), lex.TRANSFERS[verb], the(thing), ("from", name(giver)))
            return [gives, gets]
        case Fact("dealing", (subject, verb, object_)):  # Arden hires Anna; both are phrases
            converse = lex.DEALINGS[verb][2]
            return [Clause(subject, verb, object_), Clause(object_, converse, subject)]
        case Fact("view", (first, relation, second)):  # two small red balls over a big blue cup
            one, other = (_some(thing, *words) for *words, thing in (first, second))
            converse = lex.CONVERSES[relation]
            return [Clause(one, place=(relation, other)), Clause(other, place=(converse, one))]
    raise ValueError(f"{fact} is not a fact.")


# The questions about a fact: which wording, what is asked for, and which parts answer it.
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
TYPES = (*ASKABLE, "dealing", "view")


def questions(fact: Fact) -> list[tuple[Clause, tuple[str, ...]]]:
    """Questions about a fact, each with the concepts of its answer."""
    return [
        (wordings(fact)[way]._replace(asked=asked), tuple(fact.about[i] for i in answer))
        for way, asked, answer in _QUESTIONS[fact.kind]
    ]


def _entity(kind: str, random: Random, taken: Iterable[str] = ()) -> Phrase:
    """A name of a person, a firm or a town. Many are ambiguous: only the sentence tells."""
    first, second = random.sample([word for word in lex.SHARED_NAMES if word not in taken], 2)
    draw = random.random()
    if kind == "PER" and draw < 0.6:
        return Phrase(random.choice(lex.NAMES), entity=kind, more=(first,) if draw < 0.3 else ())
    more = ("and", second) if kind == "ORG" and draw < 0.5 else ()
    return Phrase(first, entity=kind, more=more)


def facts(kind: str, count: int, random: Random) -> list[Fact]:
    """``count`` facts of one kind that differ wherever they could be confused."""

    def some(pool: Iterable[str], number: int = count) -> list[str]:
        return random.sample(tuple(pool), number)

    def any_of(pool: Iterable[str]) -> list[str]:
        return random.choices(tuple(pool), k=count)

    match kind:
        case "colour":
            columns = some(lex.NAMES), some(OBJECTS), some(lex.COLOURS)
        case "stay":
            columns = some(lex.NAMES), any_of(lex.STAYS), some(lex.PLACES)
        case "relation":
            things = some(OBJECTS, 2 * count)
            columns = things[:count], any_of(lex.RELATIONS), things[count:]
        case "count":
            columns = some(lex.NAMES), some(lex.ACTIONS), some(lex.NUMBERS), some(OBJECTS)
        case "transfer":
            people = some(lex.NAMES, 2 * count)
            columns = people[:count], any_of(lex.TRANSFERS), some(OBJECTS), people[count:]
        case "action":
            columns = some(lex.NAMES), some(lex.ACTIONS), some(_ATTRIBUTES), some(OBJECTS)
        case "state":
            columns = some(lex.NAMES), some(lex.CAUSES)
        case "dealing":
            columns = [], some(lex.DEALINGS), []
            for verb in columns[1]:
                subject = _entity(lex.DEALINGS[verb][0], random)
                columns[0].append(subject)
                taken = (subject.noun, *subject.more)
                columns[2].append(_entity(lex.DEALINGS[verb][1], random, taken))
        case "view":
            things, colours = some(lex.SHOWN, 2 * count), some(lex.COLOURS, 2 * count)
            groups = [
                (random.choice(lex.SHOWN_NUMBERS), random.choice(lex.SHOWN_SIZES), colour, thing)
                for colour, thing in zip(colours, things, strict=True)
            ]
            columns = groups[:count], any_of(lex.CONVERSES), groups[count:]
    return [Fact(kind, about) for about in zip(*columns, strict=True)]


def varied(fact: Fact, random: Random) -> Fact:
    """The same fact with words replaced by their synonyms, each with even odds."""

    def other(part: Any) -> Any:
        if isinstance(part, str):
            return lex.SYNONYMS.get(part, part) if random.random() < 0.5 else part
        return tuple(map(other, part)) if type(part) is tuple else part

    return Fact(fact.kind, other(fact.about))


def anything(random: Random) -> Fact:
    """A random fact of a random kind."""
    return facts(random.choice(TYPES), 1, random)[0]
