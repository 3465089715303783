"""English and twelve invented languages derived from it; ``languages.toml`` is their table.

A derived language keeps some English word forms (cognates), replaces the others by forms it
mostly shares with its family, and may change the word order, mark case, and use another script.
Names stay as they are (anchors) unless ``anchors`` is off; punctuation always does.

The codes lie in ``qaa`` to ``qtz``, the range that ISO 639-2 reserves for local use, so that they
are valid values of HTML's ``lang`` and never clash with a real language. What follows ``-x-``
turns knobs, for a question about causes: ``qbe-x-sov`` is Bera with the verb last and all else the
same, and a valid private-use tag (RFC 5646, section 2.2.7).
"""

import hashlib
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from xltkit.data import languages as registry
from xltkit.data.microworld.lexicon import PUNCTUATION, TAGS
from xltkit.keys import unknown

_TABLES = tomllib.loads(Path(__file__).with_name("languages.toml").read_text(encoding="utf-8"))
KNOBS: dict[str, dict[str, object]] = _TABLES["knobs"]
SCRIPTS: dict[str, str] = _TABLES["scripts"]
CASES = ("acc", "obl")  # the endings that only a language with case marking has
# Share of replaced words that a language has for itself and does not share with its family.
PRIVATE_SHARE = 0.25


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

    def form(self, concept: str, endings: tuple[str, ...] = ()) -> str:
        """The word form of a concept, with endings such as ``pl``, ``3sg``, ``acc``, ``obl``."""
        return _form(self, concept, endings)


@cache
def _form(lang: MicroLanguage, concept: str, endings: tuple[str, ...]) -> str:
    is_anchor = TAGS[concept] == "PROPN" and lang.anchors
    is_cognate = TAGS[concept] != "PROPN" and _share("cognate", concept) < lang.cognates
    stem = concept
    if not (is_anchor or is_cognate or concept in PUNCTUATION or lang.is_english):
        # A language with a knob turned keeps its own words: the base code decides.
        base = lang.code.partition("-x-")[0]
        is_private = _share("private", base, concept) < PRIVATE_SHARE
        stem = _words(lang.family, base if is_private else "")[concept]
    written = _TABLES["endings"][lang.family]
    ending = "".join(written[name] for name in endings if lang.marking or name not in CASES)
    if is_anchor:
        # A name stays readable: its ending is set off, as in Turkish "Ankara'da".
        return f"{stem}'{_write(ending, lang.script)}" if ending else stem
    return _write(stem + ending, lang.script)


def _write(text: str, script: str) -> str:
    if script == "Latin":
        return text
    return text.lower().translate(str.maketrans(SCRIPTS["Latin"], SCRIPTS[script]))


def _share(*key: str) -> float:
    """A number in [0, 1) that depends on the key alone."""
    digest = hashlib.sha256("/".join(key).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@cache
def _words(family: str, speaker: str = "") -> dict[str, str]:
    """A pronounceable form for every concept, distinct inside the family and from English.

    With a ``speaker``, the code of a language, the forms that it may have for itself.
    """
    taken = set(TAGS) | (set(_words(family).values()) if speaker else set())
    words = {}
    for concept, tag in sorted(TAGS.items()):
        syllables = 1 if tag in {"DET", "ADP", "AUX", "CCONJ"} else 2
        for attempt in range(1000):
            key = (family, *([speaker] if speaker else []), concept, str(attempt))
            # Short words run out: what is left of them gets one syllable more.
            form = _sounds(family, syllables + attempt // 200, key)
            if form not in taken and len(form) > 1:
                break
        taken.add(form)
        words[concept] = form.capitalize() if tag == "PROPN" else form
    return words


def _sounds(family: str, syllables: int, key: tuple[str, ...]) -> str:
    """The sounds of a word: an onset and a vowel for each syllable, and one coda."""
    onsets, vowels, codas = (sounds.split(" ") for sounds in _TABLES["sounds"][family])
    sounds = []
    for i in range(syllables):
        sounds.append(onsets[int(_share(*key, f"onset{i}") * len(onsets))])
        sounds.append(vowels[int(_share(*key, f"vowel{i}") * len(vowels))])
    sounds.append(codas[int(_share(*key, f"coda{syllables - 1}") * len(codas))])
    return "".join(sounds)


ENGLISH = MicroLanguage("en", "English", "English", "high", 1.0)
LANGUAGES: dict[str, MicroLanguage] = {"en": ENGLISH} | {
    code: MicroLanguage(code, name, family, resource, **row["traits"])
    for family, row in _TABLES["families"].items()
    for (code, name), resource in zip(row["members"].items(), ("high", "mid", "low"), strict=True)
}


@cache
def language(code: str) -> MicroLanguage:
    """The language with this code, with knobs turned if it says so (``qbe-x-sov``).

    The knobs are those of ``languages.toml``, and ``cog`` with two digits: the share of cognates
    in per cent. Raises ValueError if there is no such language or knob.
    """
    base, _, knobs = code.partition("-x-")
    if base not in LANGUAGES:
        raise ValueError(unknown("language of the microworld", code, LANGUAGES))
    if not knobs:
        return LANGUAGES[base]
    if base == "en":
        raise ValueError("English is what the others are derived from: it has no knobs.")
    turned: dict[str, object] = {}
    for knob in knobs.split("-"):
        if knob in KNOBS:
            turned |= KNOBS[knob]
        elif knob[:3] == "cog" and knob[3:].isdigit() and len(knob) == 5:
            turned["cognates"] = int(knob[3:]) / 100
        else:
            raise ValueError(unknown("knob", knob, [*KNOBS, "cog00 to cog99"]))
    name = f"{LANGUAGES[base].name} ({', '.join(knobs.split('-'))})"
    variant = replace(LANGUAGES[base], code=code, name=name, **turned)
    registry.register([_registered(variant)])
    return variant


def _registered(lang: MicroLanguage) -> registry.Language:
    names = (lang.code, lang.name, lang.family, lang.script)
    return registry.Language(*names, lang.resource, branch=lang.family)


registry.register(_registered(lang) for lang in LANGUAGES.values() if not lang.is_english)
