"""Data sources and their readers, languages, and lexicons."""

from xltkit.data import languages, lexicons, microworld, readers
from xltkit.data.loading import MissingData, Source

__all__ = ["MissingData", "Source", "languages", "lexicons", "microworld", "readers"]
