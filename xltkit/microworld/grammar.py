"""From what is said to how a language says it: clauses are put in order, words get endings."""

from __future__ import annotations

import html
from typing import NamedTuple

from xltkit.microworld.languages import MicroLanguage
from xltkit.microworld.lexicon import TAGS


class Token(NamedTuple):
    """One word: the concept it stands for and the grammatical endings it takes."""

    concept: str
    endings: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The Universal POS tag."""
        return TAGS[self.concept]


class Phrase(NamedTuple):
    """A noun phrase, such as *the two small cups of Anna*; a name is a noun without determiner."""

    noun: str
    determiner: str = ""
    number: str = ""
    adjectives: tuple[str, ...] = ()
    owner: str = ""


class Clause(NamedTuple):
    """Who does what to what, where; or who is what (verb ``is``).

    ``asked`` turns the clause into a question for one of its parts: ``who`` (subject), ``what``
    (object), ``which`` (colour, the predicate), ``where`` (the place), ``how`` (the number of the
    object).
    """

    subject: Phrase
    verb: str
    object: Phrase | None = None
    place: tuple[str, Phrase] | None = None
    predicate: str = ""
    asked: str = ""


def _phrase(phrase: Phrase, language: MicroLanguage, case: str = "") -> list[Token]:
    marked = (case,) if case and language.marking else ()
    endings = (("pl",) if phrase.number else ()) + marked
    noun = Token(phrase.noun, endings)
    adjectives = [Token(a) for a in phrase.adjectives]
    before = [Token(word) for word in (phrase.determiner, phrase.number) if word]
    if language.order == "sov":
        owner = [Token(phrase.owner), Token("of")] if phrase.owner else []
        return [*owner, *before, noun, *adjectives]
    owner = [Token("of"), Token(phrase.owner)] if phrase.owner else []
    return [*before, *adjectives, noun, *owner]


def _place(place: tuple[str, Phrase], language: MicroLanguage) -> list[Token]:
    relation, phrase = place
    words = _phrase(phrase, language, "obl")
    adposition = Token(relation)
    return [*words, adposition] if language.order == "sov" else [adposition, *words]


def _question_phrase(clause: Clause, language: MicroLanguage) -> list[Token]:
    if clause.asked == "which":
        return [Token("what"), Token("colour")]
    if clause.asked == "how":
        case = ("acc",) if language.marking else ()
        return [Token("how"), Token("many"), Token(clause.object.noun, ("pl", *case))]
    return [Token(clause.asked)]


def words(clause: Clause, language: MicroLanguage) -> list[Token]:
    """The clause as a list of tokens in the order of the language, without the full stop."""
    final = language.order == "sov"
    subject = _phrase(clause.subject, language)
    is_copula = clause.verb == "is"
    verb = Token("is") if is_copula else Token(clause.verb, ("3sg",))
    object_ = _phrase(clause.object, language, "acc") if clause.object else []
    place = _place(clause.place, language) if clause.place else []
    predicate = [Token(clause.predicate)] if clause.predicate else []
    if clause.asked == "who":
        subject = [Token("who")]
    elif clause.asked:
        asked = _question_phrase(clause, language)
        # The part asked for leaves its place; verb-final languages ask in situ.
        if clause.asked == "where":
            place = []
        elif clause.asked == "which":
            predicate = []
        else:
            object_ = []
        if final:
            return [*subject, *place, *object_, *predicate, *asked, verb]
        if is_copula:
            return [*asked, verb, *subject, *predicate]
        return [*asked, Token("does"), *subject, Token(clause.verb), *object_, *place]
    if final:
        return [*subject, *place, *object_, *predicate, verb]
    return [*subject, verb, *predicate, *object_, *place]


def sentence(
    clause: Clause, language: MicroLanguage, link: str = "", second: Clause | None = None
) -> list[Token]:
    """A full sentence; ``link`` (``and``, ``so``, ``because``) joins a second clause."""
    tokens = words(clause, language)
    if second is not None:
        comma = [Token(",")] if link == "so" else []
        tokens += [*comma, Token(link), *words(second, language)]
    return [*tokens, Token("?" if clause.asked else ".")]


def text(tokens: list[Token], language: MicroLanguage) -> str:
    """Tokens as a string, words and punctuation set apart by single spaces."""
    return " ".join(language.form(t.concept, t.endings) for t in tokens)


def gloss(sentences: list[tuple[MicroLanguage, list[Token]]]) -> str:
    """An interlinear gloss as linguists write it, as an HTML table: words above their meaning."""
    rows = []
    for language, tokens in sentences:
        cells = "".join(
            f'<td style="text-align:left"><span lang="{language.code}" dir="auto">'
            f"{html.escape(language.form(t.concept, t.endings))}</span><br><small>"
            f"{html.escape('.'.join((t.concept, *(e.upper() for e in t.endings))))}</small></td>"
            for t in tokens
        )
        head = f"<th scope='row' style='text-align:left'>{language.name}<br>"
        head += f"<small>{language.family}</small></th>"
        rows.append(f"<tr>{head}{cells}</tr>")
    return f"<table>{''.join(rows)}</table>"
