"""A small invented world: English, languages derived from it, pictures, and tasks.

``items`` are the items of a task as meanings, ``rows`` these items worded in a language.
"""

from xltkit.data.microworld.generate import items, rows
from xltkit.data.microworld.glosses import gloss
from xltkit.data.microworld.languages import LANGUAGES, language
from xltkit.data.microworld.pictures import contact_sheet

__all__ = ["LANGUAGES", "contact_sheet", "gloss", "items", "language", "rows"]
