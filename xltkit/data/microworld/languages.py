"""English and twelve invented languages derived from it; ``languages.toml`` is their table.

A derived language keeps some English word forms (cognates), replaces the others by forms it
mostly shares with its family, and may change the word order, mark case, and use another script.
Names stay as they are (anchors) unless ``anchors`` is off; punctuation always does.

Codes from ``qaa`` to ``qtz`` are for local use (ISO 639-2), so they are valid in HTML's ``lang``
and clash with no real language. ``qbe-x-sov`` is Bera with one knob turned: the verb comes last,
and everything else is the same (RFC 5646, section 2.2.7).
"""

import hashlib
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from xltkit.data import languages as registry
from xltkit.data.microworld.lexicon import PUNCTUATION, TAGS
from xltkit.files import read
from xltkit.keys import unknown

_TABLES = tomllib.loads(read(Path(__file__).with_name("languages.toml")))
KNOBS: dict[str, dict[str, object]] = _TABLES["knobs"]
SCRIPTS: dict[str, str] = _TABLES["scripts"]
CASES = ("acc", "obl")  # the endings that only a language with case marking has
# Share of replaced words that are private to a language and not shared with its family.
PRIVATE_SHARE = 0.25


@dataclass(frozen=True)
class MicroLanguage:
    """A language of the microworld."""

    code: str
    name: str
    family: str
    resource: str  # how much plain text and how many translation pairs exist: high, mid, low
    cognates: float  # share of words kept from English; lower shares keep subsets of higher ones
    order: str = "svo"  # or sov: verb last, questions in place
    nouns: str = "last"  # adjective before noun, prepositions; first: after it, postpositions
    marking: bool = False  # of case, by endings
    script: str = "Latin"
    anchors: bool = True  # names are those of English

    @property
    def is_english(self) -> bool:
        """Whether this is the language all others are derived from."""
        return self.family == "English"

    @cache  # noqa: B019 (there are few languages, and all are kept)
    def form(self, concept: str, endings: tuple[str, ...] = ()) -> str:
        """The word form of a concept, with endings such as ``pl``, ``3sg``, ``acc``, ``obl``."""
        is_name = TAGS[concept] == "PROPN"
        is_kept = self.anchors if is_name else _share("cognate", concept) < self.cognates
        stem = concept
        if not (is_kept or concept in PUNCTUATION or self.is_english):
            # A language with a knob turned keeps its own words, by its base code.
            base = self.code.partition("-x-")[0]
            is_private = _share("private", base, concept) < PRIVATE_SHARE
            stem = _words(self.family, base if is_private else "")[concept]
        written = _TABLES["endings"][self.family]
        ending = "".join(written[name] for name in endings if self.marking or name not in CASES)
        if is_name and self.anchors:  # stays readable: "Ankara'da", as in Turkish
            return f"{stem}'{self._written(ending)}" if ending else stem
        return self._written(stem + ending)

    def _written(self, text: str) -> str:
        if self.script == "Latin":
            return text
        return text.lower().translate(str.maketrans(SCRIPTS["Latin"], SCRIPTS[self.script]))

    def register(self) -> None:
        """Register it with the languages of the benchmarks."""
        row = (self.code, self.name, self.family, self.script, self.resource, self.family)
        registry.register([registry.Language(*row)])


def _share(*key: str) -> float:
    """A number in [0, 1) that depends only on the key."""
    digest = hashlib.sha256("/".join(key).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


@cache
def _words(family: str, speaker: str = "") -> dict[str, str]:
    """A pronounceable form for every concept, distinct within the family and from English.

    With a ``speaker``, the code of a language, the forms that may be private to it.
    """
    taken = set(TAGS) | (set(_words(family).values()) if speaker else set())
    words = {}
    for concept, tag in sorted(TAGS.items()):
        syllables = 1 if tag in {"DET", "ADP", "AUX", "CCONJ"} else 2
        for attempt in range(1000):
            key = (family, *([speaker] if speaker else []), concept, str(attempt))
            # Short words run out: the remaining concepts get one more syllable.
            form = _sounds(family, syllables + attempt // 200, key)
            if form not in taken and len(form) > 1:
                break
        taken.add(form)
        words[concept] = form.capitalize() if tag == "PROPN" else form
    return words


def _sounds(family: str, syllables: int, key: tuple[str, ...]) -> str:
    """The sounds of a word: an onset and a vowel for each syllable, and one coda."""
    onsets, vowels, codas = (sounds.split(" ") for sounds in _TABLES["sounds"][family])
    places = []
    for i in range(syllables):
        places += [(f"onset{i}", onsets), (f"vowel{i}", vowels)]
    places.append((f"coda{syllables - 1}", codas))
    return "".join(sounds[int(_share(*key, place) * len(sounds))] for place, sounds in places)


ENGLISH = MicroLanguage("en", "English", "English", "high", 1.0)
LANGUAGES: dict[str, MicroLanguage] = {"en": ENGLISH} | {
    code: MicroLanguage(code, name, family, resource, **row["traits"])
    for family, row in _TABLES["families"].items()
    for (code, name), resource in zip(row["members"].items(), ("high", "mid", "low"), strict=True)
}


@cache
def language(code: str) -> MicroLanguage:
    """The language with this code, with knobs turned if it says so (``qbe-x-sov``).

    The knobs are those of ``languages.toml``, and ``cog20``: 20 % cognates. Raises ValueError.
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
    variant.register()
    return variant


for _lang in LANGUAGES.values():
    if not _lang.is_english:
        _lang.register()
