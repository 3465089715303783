"""Scenes as small pictures in which everything that the caption says can be seen.

Two groups of one to four equal things: kind, color, size and number of each and the relation
between the groups change the picture. For *before* and *behind*, they stand on a floor; the group
in front is lower, and drawn over the other.
"""

from __future__ import annotations

import json
import math
import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from PIL import Image, ImageDraw

from xltkit.data.microworld.lexicon import COLOURS, CONVERSES
from xltkit.data.microworld.scenes import Fact
from xltkit.files import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 64  # pixels of a picture
PIXELS = {"big": 16, "large": 16, "small": 10, "tiny": 10}
PAPER, FLOOR = (247, 242, 230), (226, 215, 192)
_CELL = 32  # pixels of the square a group stands in
_BASE = {synonym: colour for colour, synonym in COLOURS.items()}
_TABLES = json.loads(read(Path(__file__).with_name("icons.json")))
# Colors of things, and of details that do not take the color of the thing, in RGB.
RGB = {name: tuple(values) for name, values in _TABLES["colours"].items()}
# What a thing is drawn with: shape, color, and coordinates in hundredths of its size.
ICONS: dict[str, list[list[Any]]] = _TABLES["icons"]
# The centers of one to four things in their cell, as shares of its side.
_PLACES: dict[str, list[list[float]]] = _TABLES["places"]
# The upper left corners of the first and the second group. Cells of before and behind overlap.
_CORNERS: dict[str, list[list[int]]] = _TABLES["corners"]
COLUMNS = 4  # of a contact sheet


@cache
def _sprite(thing: str, colour: str, pixels: int) -> Image.Image:
    """A thing drawn eight times too large and scaled down, on a transparent background."""
    scale = 8 * pixels / 100
    drawing = Image.new("RGBA", (8 * pixels, 8 * pixels))
    pen = ImageDraw.Draw(drawing)
    width = max(4, round(5 * scale))
    for shape, paint, *coordinates in ICONS[thing]:
        box = [coordinate * scale for coordinate in coordinates]
        fill = RGB[colour if paint == "main" else paint]
        edge = {"outline": RGB["line"], "width": width} if paint == "main" else {}
        if shape == "ring":  # the handle of a cup: a line with an edge on both sides
            left, top, right, bottom = box
            inner = [left + width, top + width, right - width, bottom - width]
            pen.ellipse(box, outline=RGB["line"], width=3 * width)
            pen.ellipse(inner, outline=fill, width=width)
        elif shape == "plain":
            pen.rectangle(box, fill=fill)
        else:
            getattr(pen, shape)(box, fill=fill, **edge)
    return drawing.resize((pixels, pixels), Image.Resampling.LANCZOS)


def render(scene: Fact) -> Image.Image:
    """A fact of the kind ``view`` as a picture of 64 x 64 pixels in RGB."""
    first, relation, second = scene.about
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    if relation in ("before", "behind"):
        ImageDraw.Draw(picture).rectangle((0, 22, SIDE, SIDE), fill=FLOOR)
    groups = list(zip((first, second), _CORNERS[relation], strict=True))
    # What stands in front is drawn last.
    ordered = reversed(groups) if relation == "before" else groups
    for (number, size, colour, thing), (left, top) in ordered:
        sprite = _sprite(thing, _BASE.get(colour, colour), PIXELS[size])
        half = sprite.width / 2
        for x, y in _PLACES[number]:
            corner = (round(left + x * _CELL - half), round(top + y * _CELL - half))
            picture.paste(sprite, corner, sprite)
    return picture


def visible(scene: Fact) -> tuple[Any, ...]:
    """What the picture of a fact shows: the same for a ball over a cup and a cup under a ball."""
    first, relation, second = scene.about
    if relation in ("under", "behind"):
        first, relation, second = second, CONVERSES[relation], first
    sides = (first, second)
    return relation, *((n, PIXELS[size], _BASE.get(c, c), thing) for n, size, c, thing in sides)


def contact_sheet(rows: Dataset, *others: Dataset) -> Figure:
    """Pictures of ``microworld.rows("captions", ...)`` with their captions below, four in a row.

    Captions of ``others``, the same rows in other languages, are below the first.
    """
    from matplotlib.figure import Figure  # no other use of the microworld needs matplotlib

    captions = [[texts[0] for texts in table["texts"]] for table in (rows, *others)]
    down = math.ceil(len(rows) / COLUMNS)
    height = 2.2 + 0.45 * len(captions)
    figure = Figure(figsize=(2.1 * COLUMNS, height * down), layout="constrained")
    axes = figure.subplots(down, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, *texts in zip(axes, rows["image"], *captions, strict=False):
        lines = [textwrap.fill(text.replace(" .", "."), 28) for text in texts]
        axis.imshow(image, interpolation="nearest")
        axis.set_title("\n".join(lines), fontsize=8, y=-0.06, va="top")
    return figure
