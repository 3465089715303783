"""From what is said to how a language says it: clauses are put in order, words get endings."""

from __future__ import annotations

from typing import NamedTuple

from xltkit.data.microworld.languages import MicroLanguage
from xltkit.data.microworld.lexicon import TAGS


class Token(NamedTuple):
    """One word: the concept it stands for, its grammatical endings, its part of a name (BIO)."""

    concept: str
    endings: tuple[str, ...] = ()
    entity: str = "O"

    @property
    def tag(self) -> str:
        """The Universal POS tag."""
        return TAGS[self.concept]


class Phrase(NamedTuple):
    """A noun phrase, such as *the two small cups of Anna*; a name is a noun without determiner.

    A name has an ``entity`` (``PER``, ``LOC``, ``ORG``) and may have more than one word: ``more``.
    """

    noun: str
    determiner: str = ""
    number: str = ""
    adjectives: tuple[str, ...] = ()
    owner: str = ""
    entity: str = ""
    more: tuple[str, ...] = ()


class Clause(NamedTuple):
    """Who does what to what, where; or who is what (verb ``is``); or a caption (no verb).

    ``asked`` turns the clause into a question for one of its parts: ``who`` (subject), ``what``
    (object), ``which`` (colour, the predicate), ``where`` (the place), ``how`` (the number of the
    object).
    """

    subject: Phrase
    verb: str = ""
    object: Phrase | None = None
    place: tuple[str, Phrase] | None = None
    predicate: str = ""
    asked: str = ""


def _name(phrase: Phrase, endings: tuple[str, ...]) -> list[Token]:
    """A name: its case ending stands on the last word."""
    parts = (phrase.noun, *phrase.more)
    marks = [f"B-{phrase.entity}"] + [f"I-{phrase.entity}"] * len(phrase.more)
    tokens = [Token(part, (), mark) for part, mark in zip(parts, marks, strict=True)]
    return [*tokens[:-1], tokens[-1]._replace(endings=endings)]


def _phrase(phrase: Phrase, language: MicroLanguage, case: str = "") -> list[Token]:
    marked = (case,) if case and language.marking else ()
    if phrase.entity:
        return _name(phrase, marked)
    noun = Token(phrase.noun, ("pl", *marked) if phrase.number else marked)
    adjectives = [Token(a) for a in phrase.adjectives]
    before = [Token(word) for word in (phrase.determiner, phrase.number) if word]
    owner = [Token(phrase.owner, (), "B-PER")] if phrase.owner else []
    of = [Token("of")] if phrase.owner else []
    if language.nouns == "first":
        return [*owner, *of, *before, noun, *adjectives]
    return [*before, *adjectives, noun, *of, *owner]


def _place(place: tuple[str, Phrase], language: MicroLanguage) -> list[Token]:
    adposition, phrase = place
    words = _phrase(phrase, language, "obl")
    if language.nouns == "first":
        return [*words, Token(adposition)]
    return [Token(adposition), *words]


def words(clause: Clause, language: MicroLanguage) -> list[Token]:
    """A clause as tokens in the word order of a language, without the full stop."""
    final = language.order == "sov"
    is_copula = clause.verb == "is"
    subject = _phrase(clause.subject, language)
    verb = [Token(clause.verb, () if is_copula else ("3sg",))] if clause.verb else []
    case = "" if is_copula else "acc"
    object_ = _phrase(clause.object, language, case) if clause.object else []
    place = _place(clause.place, language) if clause.place else []
    predicate = [Token(clause.predicate)] if clause.predicate else []
    if clause.asked == "who":
        subject = [Token("who")]
    elif clause.asked:
        # The part asked for leaves its place; verb-final languages ask in situ.
        asked = [Token(clause.asked)]
        if clause.asked == "where":
            place = []
        elif clause.asked == "which":
            asked = [Token("what"), Token("colour")]
            predicate = []
        elif clause.asked == "how":
            asked += [Token("many"), object_[-1]]  # the noun of "two cups"
            object_ = []
        else:
            object_ = []
        if final:
            return [*subject, *place, *object_, *predicate, *asked, *verb]
        if is_copula:
            return [*asked, *verb, *subject, *predicate]
        return [*asked, Token("does"), *subject, Token(clause.verb), *object_, *place]
    if final:
        return [*subject, *place, *object_, *predicate, *verb]
    return [*subject, *verb, *predicate, *object_, *place]


class Sentence(NamedTuple):
    """A clause, or two joined by a link (``and``, ``so``, ``because``): a sentence to be said.

    With an ``answer`` it is asked, and answered in one word: *Anna owns a red ball ? no .*
    """

    clause: Clause
    link: str = ""
    second: Clause | None = None
    answer: str = ""

    def tokens(self, language: MicroLanguage) -> list[Token]:
        """The tokens of the sentence in a language, with the full stop or question mark."""
        tokens = words(self.clause, language)
        if self.second is not None:
            comma = [Token(",")] if self.link == "so" else []
            tokens += [*comma, Token(self.link), *words(self.second, language)]
        if self.answer:
            return [*tokens, Token("?"), Token(self.answer), Token(".")]
        return [*tokens, Token("?" if self.clause.asked else ".")]


def forms(tokens: list[Token], language: MicroLanguage) -> list[str]:
    """Tokens as written words."""
    return [language.form(t.concept, t.endings) for t in tokens]


def verbalize(parts: tuple[Sentence, ...], language: MicroLanguage) -> str:
    """Sentences as one string in a language, words and punctuation set apart by single spaces."""
    return " ".join(" ".join(forms(part.tokens(language), language)) for part in parts)
