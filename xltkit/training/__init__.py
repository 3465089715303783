"""Phases and how they are trained: objectives, the order of examples, the loop."""

from xltkit.training.phases import mixing

__all__ = ["mixing"]
