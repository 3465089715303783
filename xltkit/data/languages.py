"""The languages of XTREME-R, of captions and of newer tasks, and any others that are registered.

Top-level families are named as in Ethnologue, and the scripts of the benchmark's texts as in ISO
15924 (general knowledge, not checked row by row); an isolate is its own family. The branch is the
part of the family that the survey literature names (Germanic, Slavic), or else the family.

``size`` is that in CC-100, on which XLM-R was pretrained (Conneau et al. 2020, table 6, GiB,
uncompressed, from mayhewsw/multilingual-data-stats; for two scripts, the larger one); languages
that are not in that table have 0. ``resource`` is a class of sizes, and says nothing about encoders
pretrained on other text; ``xltkit encoders`` tells which languages an encoder has seen.
"""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

RIGHT_TO_LEFT = ("Arabic", "Hebrew")
COLUMNS = "language_name family branch script rtl resource pretraining_gib".split()
CLASSES = {"high": 20.0, "mid": 2.0, "low": 0.0}  # the minimum size in GiB


@dataclass(frozen=True)
class Language:
    """A language; if they are unknown, ``resource`` is empty and ``size`` (GiB) NaN."""

    code: str
    name: str
    family: str
    script: str
    resource: str
    branch: str = ""
    size: float = field(default=math.nan, compare=False)  # NaN differs from itself

    @property
    def direction(self) -> str:
        """Which way its script runs: ``ltr`` or ``rtl``."""
        return "rtl" if self.script in RIGHT_TO_LEFT else "ltr"


# The languages of XTREME-R, then those of Multi30k and XM3600, then those of newer tasks.
LANGUAGES: dict[str, Language] = {}
with Path(__file__).with_name("languages.csv").open(encoding="utf-8", newline="") as _lines:
    for _row in csv.DictReader(_lines):
        _size = float(_row.pop("gib"))
        _class = next(label for label, least in CLASSES.items() if _size >= least)
        LANGUAGES[_row["code"]] = Language(**_row, size=_size, resource=_class)


def language(code: str) -> Language:
    """The language with this code, such as ``sw``. Raises ValueError if there is none."""
    if code in LANGUAGES:
        return LANGUAGES[code]
    names = {lang.name.lower(): lang.code for lang in LANGUAGES.values()}
    near = get_close_matches(str(code).lower(), [*names, *LANGUAGES], n=1)
    hint = f" Did you mean {names.get(near[0], near[0])!r}?" if near else ""
    known = ", ".join(sorted(LANGUAGES))
    remedy = f"Add others: xlt.languages.register([xlt.languages.Language({code!r}, ...)])."
    raise ValueError(f"There is no language {code!r}.{hint} Known codes: {known}. {remedy}")


def register(languages: Iterable[Language]) -> None:
    """Add languages for this session. Raises ValueError if a code belongs to another language."""
    for new in languages:
        taken = LANGUAGES.setdefault(new.code, new)
        if taken != new:
            raise ValueError(f"{new} cannot be added: the code {new.code!r} is taken by {taken}.")


def columns(codes: Sequence[str]) -> pd.DataFrame:
    """The ``COLUMNS`` that describe languages in tables, by code in the order given."""
    rows = [
        (x.name, x.family, x.branch, x.script, x.direction == "rtl", x.resource, x.size)
        for x in map(language, codes)
    ]
    return pd.DataFrame(rows, index=pd.Index(codes, name="code"), columns=COLUMNS)
