"""The languages of XTREME-R, those that only captions are in, and any other that is registered.

Family is the top-level family, in the names of Ethnologue, and script the one of the benchmark's
texts, in those of ISO 15924 (general knowledge, not checked row by row against a database); an
isolate is a family of its own. The branch is the part of the family that the survey
literature names (Germanic, Slavic, Semitic); where it names none, the family stands there again.

``size`` is that of the language in CC-100, the text that XLM-R was pretrained on (Conneau et al.
2020, table 6, GiB, uncompressed; read in the copy of that table in the repository
mayhewsw/multilingual-data-stats), and ``resource`` a class by it: ``high`` from 20 GiB, ``mid``
from 2 GiB, ``low`` below. Haitian Creole, Maori, Quechua, Wolof and Yoruba are not in that table
at all and count as 0. The classes say nothing about encoders pretrained on other text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import pandas as pd

RIGHT_TO_LEFT = frozenset({"Arabic", "Hebrew"})
CLASSES = {"high": 20.0, "mid": 2.0, "low": 0.0}  # from so many GiB on


@dataclass(frozen=True)
class Language:
    """A language.

    ``direction`` is ``ltr`` or ``rtl``; ``resource`` is ``high``, ``mid``, ``low`` or, where
    nothing is known, empty. ``size`` is the amount of text (GiB) that XLM-R was pretrained on, NaN
    where it is not known; it plays no part in comparisons, since NaN differs from itself.
    """

    code: str
    name: str
    family: str
    script: str
    direction: str
    resource: str
    branch: str = ""
    size: float = field(default=math.nan, compare=False)


# code, name, family, branch, script, GiB in CC-100. Of the two scripts of Chinese and the two
# encodings of Burmese in that table, the larger one stands here.
_ROWS = (
    ("af", "Afrikaans", "Indo-European", "Germanic", "Latin", 1.3),
    ("ar", "Arabic", "Afro-Asiatic", "Semitic", "Arabic", 28.0),
    ("az", "Azerbaijani", "Turkic", "Turkic", "Latin", 6.5),
    ("bg", "Bulgarian", "Indo-European", "Slavic", "Cyrillic", 57.5),
    ("bn", "Bengali", "Indo-European", "Indo-Aryan", "Bengali", 8.4),
    ("de", "German", "Indo-European", "Germanic", "Latin", 66.6),
    ("el", "Greek", "Indo-European", "Hellenic", "Greek", 46.9),
    ("en", "English", "Indo-European", "Germanic", "Latin", 300.8),
    ("es", "Spanish", "Indo-European", "Romance", "Latin", 53.3),
    ("et", "Estonian", "Uralic", "Uralic", "Latin", 6.1),
    ("eu", "Basque", "Basque", "Basque", "Latin", 2.0),
    ("fa", "Persian", "Indo-European", "Iranian", "Arabic", 111.6),
    ("fi", "Finnish", "Uralic", "Uralic", "Latin", 54.3),
    ("fr", "French", "Indo-European", "Romance", "Latin", 56.8),
    ("gu", "Gujarati", "Indo-European", "Indo-Aryan", "Gujarati", 1.9),
    ("he", "Hebrew", "Afro-Asiatic", "Semitic", "Hebrew", 31.6),
    ("hi", "Hindi", "Indo-European", "Indo-Aryan", "Devanagari", 20.2),
    ("ht", "Haitian Creole", "Creole", "Creole", "Latin", 0.0),
    ("hu", "Hungarian", "Uralic", "Uralic", "Latin", 58.4),
    ("id", "Indonesian", "Austronesian", "Austronesian", "Latin", 148.3),
    ("it", "Italian", "Indo-European", "Romance", "Latin", 30.2),
    ("ja", "Japanese", "Japonic", "Japonic", "Japanese", 69.3),
    ("jv", "Javanese", "Austronesian", "Austronesian", "Latin", 0.2),
    ("ka", "Georgian", "Kartvelian", "Kartvelian", "Georgian", 9.1),
    ("kk", "Kazakh", "Turkic", "Turkic", "Cyrillic", 6.4),
    ("ko", "Korean", "Koreanic", "Koreanic", "Hangul", 54.2),
    ("lt", "Lithuanian", "Indo-European", "Baltic", "Latin", 13.7),
    ("ml", "Malayalam", "Dravidian", "Dravidian", "Malayalam", 7.6),
    ("mr", "Marathi", "Indo-European", "Indo-Aryan", "Devanagari", 2.8),
    ("ms", "Malay", "Austronesian", "Austronesian", "Latin", 8.5),
    ("my", "Burmese", "Sino-Tibetan", "Sino-Tibetan", "Burmese", 1.6),
    ("nl", "Dutch", "Indo-European", "Germanic", "Latin", 29.3),
    ("pa", "Punjabi", "Indo-European", "Indo-Aryan", "Gurmukhi", 0.8),
    ("pl", "Polish", "Indo-European", "Slavic", "Latin", 44.6),
    ("pt", "Portuguese", "Indo-European", "Romance", "Latin", 49.1),
    ("qu", "Quechua", "Quechuan", "Quechuan", "Latin", 0.0),
    ("ro", "Romanian", "Indo-European", "Romance", "Latin", 61.4),
    ("ru", "Russian", "Indo-European", "Slavic", "Cyrillic", 278.0),
    ("sw", "Swahili", "Niger-Congo", "Niger-Congo", "Latin", 1.6),
    ("ta", "Tamil", "Dravidian", "Dravidian", "Tamil", 12.2),
    ("te", "Telugu", "Dravidian", "Dravidian", "Telugu", 4.7),
    ("th", "Thai", "Kra-Dai", "Kra-Dai", "Thai", 71.7),
    ("tl", "Tagalog", "Austronesian", "Austronesian", "Latin", 3.1),
    ("tr", "Turkish", "Turkic", "Turkic", "Latin", 20.9),
    ("uk", "Ukrainian", "Indo-European", "Slavic", "Cyrillic", 84.6),
    ("ur", "Urdu", "Indo-European", "Indo-Aryan", "Arabic", 5.7),
    ("vi", "Vietnamese", "Austroasiatic", "Austroasiatic", "Latin", 137.3),
    ("wo", "Wolof", "Niger-Congo", "Niger-Congo", "Latin", 0.0),
    ("yo", "Yoruba", "Niger-Congo", "Niger-Congo", "Latin", 0.0),
    ("zh", "Chinese", "Sino-Tibetan", "Sino-Tibetan", "Han", 46.9),
)

# Not in XTREME-R: languages of the image captions of Multi30k and XM3600.
_CAPTIONED = (
    ("cs", "Czech", "Indo-European", "Slavic", "Latin", 16.3),
    ("da", "Danish", "Indo-European", "Germanic", "Latin", 45.6),
    ("hr", "Croatian", "Indo-European", "Slavic", "Latin", 20.5),
    ("mi", "Maori", "Austronesian", "Austronesian", "Latin", 0.0),
    ("no", "Norwegian", "Indo-European", "Germanic", "Latin", 49.0),
    ("sv", "Swedish", "Indo-European", "Germanic", "Latin", 85.0),
)


def _language(code: str, name: str, family: str, branch: str, script: str, size: float) -> Language:
    direction = "rtl" if script in RIGHT_TO_LEFT else "ltr"
    resource = next(label for label, least in CLASSES.items() if size >= least)
    return Language(code, name, family, script, direction, resource, branch, size)


LANGUAGES: dict[str, Language] = {row[0]: _language(*row) for row in _ROWS + _CAPTIONED}


def language(code: str) -> Language:
    """The language with this code, such as ``sw``.

    Raises:
        ValueError: if there is none; the names of languages are understood as a hint.
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    given, names = str(code).lower(), {e.name.lower(): e.code for e in LANGUAGES.values()}
    near = get_close_matches(given, [*names, *LANGUAGES], n=1)
    hint = f" Did you mean {names.get(near[0], near[0])!r}?" if near else ""
    raise ValueError(
        f"There is no language {code!r}.{hint} Known codes: "
        f"{', '.join(sorted(LANGUAGES))}. Others are added with xlt.languages.register([...])."
    )


def register(languages: Iterable[Language]) -> None:
    """Add languages to the table, for this session.

    Raises:
        ValueError: if a code is taken by a language that differs in any field.
    """
    for new in languages:
        known = LANGUAGES.setdefault(new.code, new)
        if known != new:
            raise ValueError(f"{new} cannot be added: the code {new.code!r} is taken by {known}.")


def columns(codes: Sequence[str]) -> pd.DataFrame:
    """What the tidy tables say of each language, to be joined on its code.

    Returns:
        language_name, family, branch, script, rtl (bool), resource and pretraining_gib (NaN where
        it is not known), indexed by code, in the order given.
    """
    found = [language(code) for code in codes]
    return pd.DataFrame(
        {
            "language_name": [entry.name for entry in found],
            "family": [entry.family for entry in found],
            "branch": [entry.branch for entry in found],
            "script": [entry.script for entry in found],
            "rtl": [entry.direction == "rtl" for entry in found],
            "resource": [entry.resource for entry in found],
            "pretraining_gib": [entry.size for entry in found],
        },
        index=pd.Index([entry.code for entry in found], name="code"),
    )
