"""A small invented world with English and languages derived from it: no network, two CPU cores.

``gloss`` shows a sentence word by word, ``contact_sheet`` pictures with their captions,
``language`` is any language, with knobs turned if wanted (``qbe-x-sov``); ``items`` are the items
of a task as meaning, ``rows`` the same said in a language.
"""

from __future__ import annotations

from importlib import import_module

# Loaded when asked for: the task table imports parts of this package, and these import the table.
_HOME = {
    "LANGUAGES": "languages",
    "contact_sheet": "pictures",
    "gloss": "glosses",
    "items": "tasks",
    "language": "languages",
    "rows": "tasks",
}

__all__ = ["LANGUAGES", "contact_sheet", "gloss", "items", "language", "rows"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"xltkit.microworld has no {name!r}; it has {', '.join(_HOME)}.")
    return getattr(import_module(f"xltkit.microworld.{_HOME[name]}"), name)
