"""The items of the tasks as meanings, independent of language, from a random generator.

No half of an item, bag of its words or length tells its label: ``test_microworld_gates.py``.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from xltkit.data.microworld import lexicon as lex
from xltkit.data.microworld import scenes
from xltkit.data.microworld.grammar import Clause, Phrase, Sentence
from xltkit.data.microworld.scenes import Fact, facts, name, questions, the, varied, wordings
from xltkit.data.readers import NLI_LABELS

# An item is a meaning and what is to be predicted.
Item = tuple[Any, ...]
Maker = Callable[[Random], Item]
# Without relations: with two wordings of each, they cannot be asked in so short a text.
QA_KINDS = ("colour", "stay", "count", "transfer", "action")
# What words have in common: the classes of ``odd_one_out``.
CLASSES = (lex.ANIMALS, lex.PLACES, tuple(lex.COLOURS), tuple(lex.CAUSES))
CLASSES += (lex.ACTIONS, lex.THINGS, lex.NAMES, lex.NUMBERS)


def _either_way(pair: Sequence[Any], random: Random) -> Sequence[Any]:
    return pair if random.random() < 0.5 else pair[::-1]


def nli(random: Random, distract: bool = False) -> Item:
    """Does a second statement about a person and a thing follow from the first?

    It follows if the new word is a synonym, and is ruled out if it is another word of the same
    class (another color) or the opposite (buys, sells); otherwise nothing is known. To
    ``distract``, the premise also says something similar about somebody else.
    """
    label = random.choice(NLI_LABELS)
    people = random.sample(lex.NAMES, 2)
    things = random.sample(scenes.OBJECTS, 2)
    is_attribute = random.random() < 0.5
    old, new = _old_and_new(label, is_attribute, random)
    premise = [_about(people[0], things[0], old, random)]
    hypothesis = _about(people[0], things[0], new, random)
    if distract:
        word, _ = _old_and_new(label, is_attribute, random)
        premise.append(_about(people[1], things[1], word, random))
        random.shuffle(premise)
    return tuple(map(Sentence, premise)), (Sentence(hypothesis),), NLI_LABELS.index(label)


def _old_and_new(label: str, is_attribute: bool, random: Random) -> tuple[str, str]:
    """A word of the premise, and the word in its place in the hypothesis."""
    if is_attribute:
        first, second = random.sample(lex.ATTRIBUTES, 2)
        pair, contrast = random.sample(list(first.items()), 2)
        unrelated = list(second.items())
    else:
        opposites, unrelated = random.sample(lex.OPPOSITES, 2)
        pair, contrast = _either_way(opposites, random)
    old, synonym = _either_way(pair, random)
    if label == "entailment":
        return old, synonym
    return old, random.choice(contrast if label == "contradiction" else random.choice(unrelated))


def _about(person: str, thing: str, word: str, random: Random) -> Clause:
    if lex.TAGS[word] == "VERB":
        return Clause(name(person), word, the(thing))
    return random.choice(wordings(Fact("colour", (person, thing, word))))


def paraphrase(random: Random) -> Item:
    """Do two sentences with the same words say the same? As in PAWS, only the order tells.

    The second has the converse word (over for under, gets for gives) or the same one, and the two
    parties in the same places or swapped: only both together tell.
    """
    same_word = random.random() < 0.5
    swapped = random.random() < 0.5
    fact = facts(random.choice(("relation", "transfer")), 1, random)[0]
    while fact.kind == "relation" and fact.about[1] not in lex.CONVERSES:
        fact = facts("relation", 1, random)[0]
    way = random.randrange(2)
    # Each party is identified by an attribute, and the second time by its synonym; all differ.
    things = [part for part in fact.about if part in scenes.OBJECTS]
    pairs = random.sample([pair for table in lex.ATTRIBUTES for pair in table.items()], len(things))
    adjectives = zip(*(_either_way(pair, random) for pair in pairs), strict=True)
    sentences = []
    for words, turned in zip(adjectives, (False, True), strict=True):
        described = {t: f"{word} {t}" for t, word in zip(things, words, strict=True)}
        first, *rest, last = [described.get(part, part) for part in fact.about]
        about = (last, *rest, first) if turned and swapped else (first, *rest, last)
        clauses = wordings(Fact(fact.kind, about))
        sentences.append((Sentence(clauses[1 - way if turned and not same_word else way]),))
    return *sentences, int(not swapped)


def qa(random: Random, more: int = 0) -> Item:
    """A question about one of several facts; another fact of the same kind is a distractor."""
    kind, *others = random.sample(QA_KINDS, 1 + more)
    context = facts(kind, 2, random)
    for other in others:
        context += facts(other, 1, random)
    question, answer = random.choice(questions(context[0]))
    # Every wording of a fact names all that can be asked about it.
    sentences = list(enumerate(Sentence(random.choice(wordings(fact))) for fact in context))
    random.shuffle(sentences)
    order, told = zip(*sentences, strict=True)
    return told, Sentence(question), order.index(0), answer


def choice(random: Random) -> Item:
    """Which state caused this, or what followed from it; the wrong choice is from another link."""
    pair = random.sample(tuple(lex.CAUSES), 2)  # the right state and the wrong one
    person = name(random.choice(lex.NAMES))
    place = ("in", the(random.choice(lex.PLACES)))
    states = [Clause(person, "is", predicate=state) for state in pair]
    events = [Clause(person, lex.CAUSES[state]) for state in pair]
    ways = [(states, events, "so"), (events, states, "because")]
    (given, _), choices, link = ways[random.random() >= 0.5]
    label = random.randrange(2)
    extra = Clause(person, random.choice(lex.STAYS), place=place)
    sentences = tuple(map(Sentence, choices[::-1] if label else choices))
    return (Sentence(extra), Sentence(given)), sentences, link, label


def continuation(random: Random) -> Item:
    """Two people are in two states: what comes next? One choice has the wrong person or effect."""
    people = [name(word) for word in random.sample(lex.NAMES, 2)]
    states = random.sample(tuple(lex.CAUSES), 2)
    pairs = list(zip(people, states, strict=True))
    premise = tuple(Sentence(Clause(person, "is", predicate=state)) for person, state in pairs)
    (person, state), (other, other_state) = pairs[::-1] if random.randrange(2) else pairs
    right = Clause(person, lex.CAUSES[state])
    slip = {"subject": other} if random.random() < 0.5 else {"verb": lex.CAUSES[other_state]}
    wrong = right._replace(**slip)
    label = random.randrange(2)
    return premise, tuple(map(Sentence, (wrong, right) if label else (right, wrong))), "", label


def odd_one_out(random: Random) -> Item:
    """Four words, three of one class: which is the odd one? Each class is odd equally often."""
    ordinary, odd = random.sample(CLASSES, 2)
    words = random.sample(ordinary, 3)
    label = random.randrange(4)
    words.insert(label, random.choice(odd))
    return tuple(words), label


def dealing(random: Random) -> Item:
    """A sentence about people, firms and towns, maybe with another clause: which name is whose?"""
    parts = [random.choice(wordings(facts("dealing", 1, random)[0]))]
    if random.random() < 0.5:
        parts.append(random.choice(wordings(scenes.anything(random))))
        random.shuffle(parts)
    return (Sentence(parts[0], "and" if parts[1:] else "", *parts[1:]),)


def linking(random: Random) -> Item:
    """A sentence that names two parties, the description of one of them, and a wrong one.

    The sentence does not say which is meant; the description tells the same fact from the other
    side. In the wrong one, the parties are swapped: only order or case tells them apart.
    """
    fact = facts("dealing", 1, random)[0]
    while lex.DEALINGS[fact.about[1]][2] == fact.about[1]:  # swapped, "A meets B" would be right
        fact = facts("dealing", 1, random)[0]
    clauses = wordings(fact)
    mention = random.choice(clauses)
    entity = random.choice((mention.subject, mention.object))
    kind = Sentence(Clause(entity, "is", Phrase(lex.ENTITIES[entity.entity], "a")))
    description = clauses[1] if mention is clauses[0] else clauses[0]
    wrong = description._replace(subject=description.object, object=description.subject)
    return (Sentence(mention),), (kind, Sentence(description)), (kind, Sentence(wrong))


def picture(random: Random) -> Item:
    """Two groups of things, one over, under, before or behind the other."""
    return (facts("view", 1, random)[0],)


def sentence(random: Random) -> Item:
    """A random sentence, question or statement, in a random wording."""
    fact = varied(scenes.anything(random), random)
    draw = random.random()
    if draw < 0.25 and fact.kind in scenes.ASKABLE:
        return (Sentence(random.choice(questions(fact))[0]),)
    if draw < 0.9 and fact.kind == "state":
        return (_caused(fact, random),)
    clause = random.choice(wordings(fact))
    if draw < 0.55:
        return (Sentence(clause, "and", random.choice(wordings(scenes.anything(random)))),)
    return (Sentence(clause),)


def pair(random: Random) -> Item:
    """Two sentences, to be said in two languages."""
    return (*sentence(random), *sentence(random))


def _caused(fact: Fact, random: Random) -> Sentence:
    """A state and its effect, told from either side."""
    cause, effect = wordings(fact)
    if random.random() < 0.5:
        return Sentence(cause, "so", effect)
    return Sentence(effect, "because", cause)


def document(random: Random) -> Item:
    """Plain text: some facts, told twice, in other words or as question and answer.

    A model that knows which sentences say the same can find what is masked in one of them.
    """
    kind, other = random.sample(scenes.TYPES, 2)
    content = facts(kind, 2, random)
    rivals = [content[1], content[0], None]
    if random.random() < 0.5:
        content += facts(other, 1, random)
    first = [_mention(varied(fact, random), random) for fact in content]
    again: list[Sentence] = []
    for fact, rival in zip(content, rivals, strict=False):
        again += _again(varied(fact, random), rival, random)
    random.shuffle(first)
    return (*first, *again) if random.random() < 0.5 else (*again, *first)


def _mention(fact: Fact, random: Random) -> Sentence:
    """A fact in some wording; a state mostly with its effect."""
    if fact.kind == "state" and random.random() < 0.7:
        return _caused(fact, random)
    return Sentence(random.choice(wordings(fact)))


def _again(fact: Fact, rival: Fact | None, random: Random) -> list[Sentence]:
    """A fact told again, or asked and then told or answered, or doubted."""
    draw = random.random()
    if draw < 0.25 and rival is not None:
        answer = "yes" if random.random() < 0.5 else "no"
        doubted = fact if answer == "yes" else _false(fact, rival, random)
        return [Sentence(random.choice(wordings(doubted)), answer=answer)]
    if draw < 0.65 and fact.kind in scenes.ASKABLE:
        question, words = random.choice(questions(fact))
        if draw < 0.45 and len(words) == 1:
            return [Sentence(question, answer=words[0])]
        return [Sentence(question), _mention(fact, random)]
    return [_mention(fact, random)]


def _false(fact: Fact, rival: Fact, random: Random) -> Fact:
    """The fact with a contrasting word or a part of its rival: what was not said is false."""
    about = list(fact.about)
    contrasts = [i for i, a in enumerate(about) if isinstance(a, str) and a in lex.CONTRASTS]
    if contrasts and random.random() < 0.5:
        i = random.choice(contrasts)
        about[i] = random.choice(lex.CONTRASTS[about[i]])
    else:
        i = random.choice([i for i, a in enumerate(about) if a != rival.about[i]])
        about[i] = rival.about[i]
    return Fact(fact.kind, tuple(about))
