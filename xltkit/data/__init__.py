"""Where rows come from, how they are read, which languages there are, and their words."""

from xltkit.data import languages, lexicons, microworld, readers
from xltkit.data.loading import MissingData, Source

__all__ = ["MissingData", "Source", "languages", "lexicons", "microworld", "readers"]
