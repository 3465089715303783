"""A small invented world with English and languages derived from it: no network, two CPU cores.

``gloss`` shows a sentence word by word, ``contact_sheet`` pictures with their captions,
``language`` is any language, with knobs turned if wanted (``qbe-x-sov``); ``items`` are the items
of a task as meaning, ``rows`` these items worded in a language.
"""

from xltkit.data.microworld.generate import items, rows
from xltkit.data.microworld.glosses import gloss
from xltkit.data.microworld.languages import LANGUAGES, language
from xltkit.data.microworld.pictures import contact_sheet

__all__ = ["LANGUAGES", "contact_sheet", "gloss", "items", "language", "rows"]
