"""English and twelve invented languages derived from it; a language is a row of a table.

A derived language keeps some English word forms (cognates), replaces the others by forms it
mostly shares with its family, and may change the word order, mark case, and use another script.
Names stay as they are (anchors) unless ``anchors`` is off; punctuation always does.

Any language can be had with some of this changed, for a question about causes: ``qbe-x-sov`` is
Bera with the verb last and all else the same (see ``MicroLanguage.but``).

The codes lie in ``qaa`` to ``qtz``, the range that ISO 639-2 reserves for local use, so that
they are valid values of HTML's ``lang`` and never clash with a real language.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property

from xltkit.data import languages as registry
from xltkit.data.microworld.lexicon import PUNCTUATION, TAGS

LATIN = "abcdefghijklmnopqrstuvwxyz"
# One letter for one letter; Georgian has no capitals and no letter in common with Latin.
SCRIPTS = {"Latin": LATIN, "Georgian": "აბცდეფგჰიჯკლმნოპქრსტუვწხყზ"}
# Share of replaced words that a language has for itself and does not share with its family.
PRIVATE_SHARE = 0.25
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


# What a code after "-x-" changes: the knobs of a counterfactual language.
KNOBS: dict[str, dict[str, object]] = {
    "svo": {"order": "svo"},
    "sov": {"order": "sov"},
    "nounfirst": {"nouns": "first"},
    "nounlast": {"nouns": "last"},
    "case": {"marking": True},
    "nocase": {"marking": False},
    "latin": {"script": "Latin"},
    "georgian": {"script": "Georgian"},
    "noanchor": {"anchors": False},
    "high": {"resource": "high"},
    "mid": {"resource": "mid"},
    "low": {"resource": "low"},
}


@dataclass(frozen=True)
class MicroLanguage:
    """A language of the microworld.

    ``cognates`` is the share of word forms kept from English; the sets are nested, so a distant
    language keeps a subset of what a near one keeps. ``order`` is ``svo`` or ``sov`` (verb last,
    questions in place). ``nouns`` come ``last`` (adjective before noun, prepositions) or ``first``
    (adjective after noun, postpositions). ``marking`` adds case endings. ``resource`` says how
    much plain text and how many translation pairs exist.
    """

    code: str
    name: str
    family: str
    resource: str
    cognates: float
    order: str = "svo"
    nouns: str = "last"
    marking: bool = False
    script: str = "Latin"
    anchors: bool = True

    @property
    def is_english(self) -> bool:
        """Whether this is the language all others are derived from."""
        return self.family == "English"

    @cached_property
    def _forms(self) -> dict[tuple[str, tuple[str, ...]], str]:
        return {}

    def form(self, concept: str, endings: tuple[str, ...] = ()) -> str:
        """The word form of a concept, with endings such as ``pl``, ``3sg``, ``acc``, ``obl``."""
        key = concept, endings
        if key not in self._forms:
            self._forms[key] = _form(self, concept, endings)
        return self._forms[key]

    def but(self, *knobs: str) -> MicroLanguage:
        """This language with some knobs turned, and a code that says which.

        ``LANGUAGES["qbe"].but("sov", "noanchor")`` has the code ``qbe-x-sov-noanchor``, which is
        a valid private-use tag (RFC 5646, section 2.2.7), and ``language`` understands it.

        Args:
            knobs: of ``KNOBS``, or ``cog`` and two digits: the share of cognates in per cent.

        Raises:
            ValueError: for a knob there is not, or English.
        """
        if self.is_english:
            raise ValueError("English is what the others are derived from: it has no knobs.")
        turned: dict[str, object] = {}
        for knob in knobs:
            if knob in KNOBS:
                turned |= KNOBS[knob]
            elif knob[:3] == "cog" and knob[3:].isdigit() and len(knob) == 5:
                turned["cognates"] = int(knob[3:]) / 100
            else:
                raise ValueError(
                    f"{knob!r} is no knob of a language; it can be {', '.join(KNOBS)} or cog00 to "
                    "cog99 (per cent of cognates)."
                )
        if not knobs:
            return self
        base, _, before = self.code.partition("-x-")
        all_knobs = [*before.split("-"), *knobs] if before else knobs
        name = f"{self.name.partition(' (')[0]} ({', '.join(all_knobs)})"
        return replace(self, code=f"{base}-x-{'-'.join(all_knobs)}", name=name, **turned)


def _keeps_english(language: MicroLanguage, concept: str) -> bool:
    if concept in PUNCTUATION or language.is_english:
        return True
    if TAGS[concept] == "PROPN":
        return language.anchors
    return share("cognate", concept) < language.cognates


@cache
def _words(family: str, speaker: str = "") -> dict[str, str]:
    """A pronounceable form for every concept, distinct inside the family and from English.

    With a ``speaker``, the code of a language, the forms that it may have for itself.
    """
    onsets, vowels, codas = (sounds.split(" ") for sounds in SOUNDS[family])
    taken = set(TAGS) | (set(_words(family).values()) if speaker else set())
    words = {}
    for concept, tag in sorted(TAGS.items()):
        syllables = 1 if tag in {"DET", "ADP", "AUX", "CCONJ"} else 2
        for attempt in range(1000):
            key = (family, *([speaker] if speaker else []), concept, attempt)
            # Short words run out: what is left of them gets one syllable more.
            form = "".join(_syllables(onsets, vowels, codas, syllables + attempt // 200, *key))
            if form not in taken and len(form) > 1:
                break
        taken.add(form)
        words[concept] = form.capitalize() if tag == "PROPN" else form
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


def _form(language: MicroLanguage, concept: str, endings: tuple[str, ...]) -> str:
    family = "English" if language.is_english else language.family
    if _keeps_english(language, concept):
        stem = concept
    else:
        # A language with a knob turned keeps its own words: the base code decides.
        base = language.code.partition("-x-")[0]
        private = share("private", base, concept) < PRIVATE_SHARE
        stem = _words(family, base if private else "")[concept]
    ending = "".join(ENDINGS[family][e] for e in endings)
    if TAGS[concept] == "PROPN" and language.anchors:
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
    # family: (cognates, order, nouns, marking, script), from near to far
    "Alvic": (0.75, "svo", "last", False, "Latin"),
    "Beric": (0.50, "svo", "last", True, "Latin"),
    "Kessic": (0.35, "svo", "first", True, "Latin"),
    "Tosic": (0.20, "sov", "first", True, "Georgian"),
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


@cache
def language(code: str) -> MicroLanguage:
    """The language with this code, with knobs turned if it says so (``qbe-x-sov``).

    Raises:
        ValueError: if the microworld has no such language.
    """
    base, _, knobs = code.partition("-x-")
    if base not in LANGUAGES:
        raise ValueError(
            f"The microworld has no language {code!r}. It has {', '.join(LANGUAGES)}; the second "
            "letter is the family's. Knobs follow -x-, as in 'qbe-x-sov'."
        )
    if not knobs:
        return LANGUAGES[base]
    variant = LANGUAGES[base].but(*knobs.split("-"))
    registry.register([_row(variant)])
    return variant


def _row(lang: MicroLanguage) -> registry.Language:
    return registry.Language(
        lang.code, lang.name, lang.family, lang.script, "ltr", lang.resource, branch=lang.family
    )


registry.register(_row(lang) for lang in LANGUAGES.values() if not lang.is_english)
