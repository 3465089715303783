"""From meaning to language: clauses are put in word order, and words get endings."""

from typing import NamedTuple

from xltkit.data.microworld.languages import MicroLanguage
from xltkit.data.microworld.lexicon import TAGS


class Token(NamedTuple):
    """One word: the concept it stands for, its grammatical endings, its entity tag (BIO)."""

    concept: str
    endings: tuple[str, ...] = ()
    entity: str = "O"

    @property
    def tag(self) -> str:
        """The Universal POS tag."""
        return TAGS[self.concept]


class Phrase(NamedTuple):
    """A noun phrase, such as *the two small cups of Anna*, or a name."""

    noun: str
    determiner: str = ""
    number: str = ""
    adjectives: tuple[str, ...] = ()
    owner: str = ""
    entity: str = ""  # of a name: PER, LOC, ORG
    more: tuple[str, ...] = ()  # words of the name


class Clause(NamedTuple):
    """Who does what to what, where; or who is what (verb ``is``); or a caption (no verb).

    ``asked`` makes it a question: for ``who`` (subject), ``what`` (object), ``which`` (color, the
    predicate), ``where`` (the place), ``how`` (the number of the object).
    """

    subject: Phrase
    verb: str = ""
    object: Phrase | None = None
    place: tuple[str, Phrase] | None = None
    predicate: str = ""
    asked: str = ""


class Sentence(NamedTuple):
    """A sentence: a clause, or two joined by a link (``and``, ``so``, ``because``)."""

    clause: Clause
    link: str = ""
    second: Clause | None = None
    answer: str = ""  # if given, it is asked and answered: "Anna owns a red ball ? no ."

    def tokens(self, language: MicroLanguage) -> list[Token]:
        """The tokens of the sentence in a language, with the full stop or question mark."""
        tokens = _clause(self.clause, language)
        if self.second is not None:
            comma = [Token(",")] if self.link == "so" else []
            tokens += [*comma, Token(self.link), *_clause(self.second, language)]
        answer = [Token(self.answer), Token(".")] if self.answer else []
        return [*tokens, Token("?" if answer or self.clause.asked else "."), *answer]


def _clause(clause: Clause, language: MicroLanguage) -> list[Token]:
    """A clause as tokens in the word order of a language, without the full stop."""
    is_copula = clause.verb == "is"
    subject = _phrase(clause.subject, language)
    verb = [Token(clause.verb, () if is_copula else ("3sg",))] if clause.verb else []
    object_ = _phrase(clause.object, language, "" if is_copula else "acc")
    place = []
    if clause.place:
        place = _phrase(clause.place[1], language, "obl")
        place.insert(len(place) if language.nouns == "first" else 0, Token(clause.place[0]))
    predicate = [Token(clause.predicate)] if clause.predicate else []
    asked = [Token(clause.asked)] if clause.asked else []
    match clause.asked:  # the part asked about moves
        case "who":
            subject, asked = asked, []
        case "what":
            object_ = []
        case "which":
            predicate, asked = [], [Token("what"), Token("colour")]
        case "where":
            place = []
        case "how":  # the noun of "two cups"
            object_, asked = [], [*asked, Token("many"), object_[-1]]
    if language.order == "sov":  # question words stay in place
        return [*subject, *place, *object_, *predicate, *asked, *verb]
    if not asked:
        return [*subject, *verb, *predicate, *object_, *place]
    if is_copula:
        return [*asked, *verb, *subject, *predicate]
    return [*asked, Token("does"), *subject, Token(clause.verb), *object_, *place]


def _phrase(phrase: Phrase | None, language: MicroLanguage, case: str = "") -> list[Token]:
    if phrase is None:
        return []
    marked = (case,) if case and language.marking else ()
    if phrase.entity:  # a name: its case ending is on the last word
        tokens = [Token(phrase.noun, (), f"B-{phrase.entity}")]
        tokens += [Token(word, (), f"I-{phrase.entity}") for word in phrase.more]
        return [*tokens[:-1], tokens[-1]._replace(endings=marked)]
    noun = Token(phrase.noun, ("pl", *marked) if phrase.number else marked)
    adjectives = [Token(adjective) for adjective in phrase.adjectives]
    before = [Token(word) for word in (phrase.determiner, phrase.number) if word]
    owner = [Token("of"), Token(phrase.owner, (), "B-PER")] if phrase.owner else []
    if language.nouns == "first":
        return [*owner[::-1], *before, noun, *adjectives]
    return [*before, *adjectives, noun, *owner]


def forms(tokens: list[Token], language: MicroLanguage) -> list[str]:
    """Tokens as written words."""
    return [language.form(token.concept, token.endings) for token in tokens]


def verbalize(parts: tuple[Sentence, ...], language: MicroLanguage) -> str:
    """Sentences as one string in a language, words and punctuation separated by single spaces."""
    return " ".join(word for part in parts for word in forms(part.tokens(language), language))
