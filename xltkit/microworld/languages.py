"""English and twelve invented languages derived from it; a language is a row of a table.

A derived language keeps some English word forms (cognates), replaces the others by forms it
mostly shares with its family, and may change the word order, mark case, and use another script.
Names, digits and punctuation stay as they are (anchors) unless ``anchors`` is off.

The codes lie in ``qaa`` to ``qtz``, the range that ISO 639-2 reserves for local use, so that
they are valid values of HTML's ``lang`` and never clash with a real language.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from xltkit import languages as registry
from xltkit.microworld.lexicon import NAMES, PUNCTUATION, TAGS

LATIN = "abcdefghijklmnopqrstuvwxyz"
# One letter for one letter; Georgian has no capitals and no letter in common with Latin.
SCRIPTS = {"Latin": LATIN, "Georgian": "აბცდეფგჰიჯკლმნოპქრსტუვწხყზ"}
# Share of replaced words whose form a language does not share with its family.
PRIVATE_SHARE = 0.12
# The sounds a family likes: onsets, vowels, codas. They make the families easy to tell apart.
SOUNDS = {
    "Alvic": ("b d f g l m n r s t v w br gl st", "a e i o", "l m n r s t  "),
    "Beric": ("b d g j l m n p r v z dr bl vr", "a e i u", "n r l d m  "),
    "Kessic": ("k p t s h m n ch sh kh y", "a i u o", "k sh t n s  "),
    "Tosic": ("t ts d dz l n m k p q v zh", "o u e a", "n m l r  "),
}
# Grammatical endings by family: plural, third person, accusative, oblique case.
ENDINGS = {
    "English": {"pl": "s", "3sg": "s", "acc": "", "obl": ""},
    "Alvic": {"pl": "s", "3sg": "s", "acc": "em", "obl": "is"},
    "Beric": {"pl": "i", "3sg": "t", "acc": "un", "obl": "ad"},
    "Kessic": {"pl": "ak", "3sg": "i", "acc": "ot", "obl": "esh"},
    "Tosic": {"pl": "ebi", "3sg": "a", "acc": "os", "obl": "uts"},
}


def share(*key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("/".join(key).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@dataclass(frozen=True)
class MicroLanguage:
    """A language of the microworld.

    ``cognates`` is the share of word forms kept from English; the sets are nested, so a distant
    language keeps a subset of what a near one keeps. ``order`` is ``svo`` (adjective before noun,
    prepositions) or ``sov`` (verb last, adjective after noun, postpositions). ``marking`` adds
    case endings. ``resource`` says how much plain text and how many translation pairs exist.
    """

    code: str
    name: str
    family: str
    resource: str
    cognates: float
    order: str = "svo"
    marking: bool = False
    script: str = "Latin"
    anchors: bool = True

    @property
    def is_english(self) -> bool:
        """Whether this is the language all others are derived from."""
        return self.family == "English"

    def form(self, concept: str, endings: tuple[str, ...] = ()) -> str:
        """The word form of a concept, with endings such as ``pl``, ``3sg``, ``acc``, ``obl``."""
        return _form(self, concept, endings)


def _keeps_english(language: MicroLanguage, concept: str) -> bool:
    if concept in PUNCTUATION or language.is_english:
        return True
    if concept in NAMES:
        return language.anchors
    return share("cognate", concept) < language.cognates


@cache
def _family_words(family: str) -> dict[str, str]:
    """A pronounceable form for every concept, distinct inside the family and from English."""
    onsets, vowels, codas = (sounds.split(" ") for sounds in SOUNDS[family])
    taken, words = set(TAGS), {}
    for concept, tag in sorted(TAGS.items()):
        syllables = 1 if tag in {"DET", "ADP", "AUX", "CCONJ"} else 2
        for attempt in range(1000):
            form = "".join(_syllables(onsets, vowels, codas, syllables, family, concept, attempt))
            if form not in taken and len(form) > 1:
                break
        taken.add(form)
        words[concept] = form.capitalize() if concept in NAMES else form
    return words


def _syllables(
    onsets: list[str], vowels: list[str], codas: list[str], count: int, *key: object
) -> Iterator[str]:
    def pick(options: list[str], what: str) -> str:
        return options[int(share(*map(str, key), what) * len(options))]

    for i in range(count):
        last = i == count - 1
        yield pick(onsets, f"onset{i}") + pick(vowels, f"vowel{i}")
        yield pick(codas, f"coda{i}") if last else ""


@cache
def _form(language: MicroLanguage, concept: str, endings: tuple[str, ...]) -> str:
    family = "English" if language.is_english else language.family
    if _keeps_english(language, concept):
        stem = concept
    else:
        stem = _family_words(family)[concept]
        if share("private", language.code, concept) < PRIVATE_SHARE:
            # A private form: the family's form with its last vowel moved on by one.
            vowels = SOUNDS[family][1].split(" ")
            at = max(i for i, letter in enumerate(stem) if letter in vowels)
            moved = vowels[(vowels.index(stem[at]) + 1) % len(vowels)]
            stem = stem[:at] + moved + stem[at + 1 :]
    ending = "".join(ENDINGS[family][e] for e in endings)
    if concept in NAMES and language.anchors:
        # A name stays readable as an anchor: its ending is set off, as in Turkish "Ankara'da".
        return stem + ("'" + _write(ending, language) if ending else "")
    return _write(stem + ending, language)


def _write(text: str, language: MicroLanguage) -> str:
    letters = SCRIPTS[language.script]
    if letters == LATIN:
        return text
    return text.lower().translate(str.maketrans(LATIN, letters))


ENGLISH = MicroLanguage("en", "English", "English", "high", 1.0)
_FAMILIES = {
    # family: (cognates, order, marking, script), from near to far
    "Alvic": (0.75, "svo", False, "Latin"),
    "Beric": (0.50, "svo", True, "Latin"),
    "Kessic": (0.35, "sov", True, "Latin"),
    "Tosic": (0.20, "sov", True, "Georgian"),
}
_MEMBERS = {
    # family: code and name of its high-, mid- and low-resource member
    "Alvic": (("qad", "Adra"), ("qam", "Amel"), ("qas", "Asti")),
    "Beric": (("qbe", "Bera"), ("qbi", "Bilo"), ("qbu", "Bundi")),
    "Kessic": (("qke", "Kesh"), ("qko", "Kolma"), ("qku", "Kurai")),
    "Tosic": (("qto", "Tova"), ("qti", "Tiru"), ("qte", "Teshe")),
}
LANGUAGES: dict[str, MicroLanguage] = {"en": ENGLISH} | {
    code: MicroLanguage(code, name, family, resource, *_FAMILIES[family])
    for family, members in _MEMBERS.items()
    for (code, name), resource in zip(members, ("high", "mid", "low"), strict=True)
}


def language(code: str) -> MicroLanguage:
    """The language with this code.

    Raises:
        ValueError: if the microworld has no such language.
    """
    if code not in LANGUAGES:
        raise ValueError(
            f"The microworld has no language {code!r}. It has {', '.join(LANGUAGES)}; "
            "the first letter after q is the family's."
        )
    return LANGUAGES[code]


registry.register(
    registry.Language(lang.code, lang.name, lang.family, lang.script, "ltr", lang.resource)
    for lang in LANGUAGES.values()
    if not lang.is_english
)
