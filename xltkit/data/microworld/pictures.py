"""Scenes as small pictures in which everything that the caption says can be seen.

A picture holds two groups of one to four equal things. Kind, colour, size and number of each
group and the relation between the groups are what a caption tells, and each of them changes the
picture. *Over* and *under* stand one above the other; *before* and *behind* stand on a floor, the
group in front lower, and drawn over the other where they meet.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from PIL import Image, ImageDraw

from xltkit.data.microworld.lexicon import COLOURS, CONVERSES
from xltkit.data.microworld.scenes import Fact

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 64  # pixels of a picture
PIXELS = {"big": 16, "large": 16, "small": 10, "tiny": 10}
RGB = {
    "red": (214, 48, 49),
    "blue": (38, 96, 200),
    "green": (46, 158, 78),
    "yellow": (250, 205, 40),
    "black": (45, 45, 48),
    "white": (255, 255, 255),
    "brown": (140, 86, 44),
    "grey": (150, 155, 160),
}
PAPER, FLOOR, LINE = (247, 242, 230), (226, 215, 192), (40, 36, 34)
_BASE = {synonym: colour for colour, synonym in COLOURS.items()}
# Details that do not take the colour of the thing.
_FIXED = {"line": LINE, "flame": (255, 150, 30), "leaf": (90, 160, 60), "light": (255, 252, 240)}
_PETALS = tuple(
    ("ellipse", "main", (x - 17, y - 17, x + 17, y + 17))
    for x, y in ((50, 20), (73, 37), (64, 63), (36, 63), (27, 37))
)
# What a thing is drawn with, in units of a hundredth of its size: shape, colour, coordinates.
ICONS: dict[str, tuple[tuple[str, str, tuple[int, ...]], ...]] = {
    "ball": (("ellipse", "main", (6, 6, 94, 94)), ("ellipse", "light", (26, 20, 46, 40))),
    "cup": (("ring", "main", (52, 34, 96, 72)), ("rectangle", "main", (10, 24, 68, 88))),
    "book": (
        ("rectangle", "main", (10, 10, 90, 90)),
        ("rectangle", "line", (10, 10, 26, 90)),
        ("rectangle", "light", (40, 26, 78, 44)),
    ),
    "lamp": (
        ("rectangle", "line", (46, 50, 54, 90)),
        ("rectangle", "line", (26, 86, 74, 96)),
        ("polygon", "main", (32, 6, 68, 6, 94, 56, 6, 56)),
    ),
    "key": (
        ("rectangle", "main", (38, 42, 96, 58)),
        ("rectangle", "main", (82, 56, 96, 78)),
        ("rectangle", "main", (62, 56, 74, 72)),
        ("ellipse", "main", (2, 26, 48, 74)),
        ("ellipse", "light", (16, 41, 34, 59)),
    ),
    "hat": (
        ("ellipse", "main", (2, 56, 98, 88)),
        ("rectangle", "main", (24, 12, 76, 70)),
        ("rectangle", "line", (24, 52, 76, 64)),
    ),
    "bottle": (
        ("rectangle", "main", (39, 4, 61, 36)),
        ("rectangle", "main", (24, 32, 76, 97)),
        ("rectangle", "light", (38, 54, 62, 72)),
    ),
    "candle": (
        ("ellipse", "flame", (38, 2, 62, 36)),
        ("rectangle", "main", (32, 36, 68, 97)),
    ),
    "apple": (
        ("ellipse", "main", (4, 24, 60, 96)),
        ("ellipse", "main", (40, 24, 96, 96)),
        ("plain", "main", (38, 32, 62, 90)),
        ("ellipse", "leaf", (50, 4, 84, 24)),
    ),
    "carrot": (
        ("polygon", "leaf", (26, 2, 50, 30, 74, 2)),
        ("polygon", "main", (22, 24, 78, 24, 50, 98)),
    ),
    "boat": (
        ("rectangle", "line", (44, 4, 51, 64)),
        ("polygon", "light", (53, 6, 92, 56, 53, 56)),
        ("polygon", "main", (2, 60, 98, 60, 76, 94, 24, 94)),
    ),
    "flower": (
        ("rectangle", "leaf", (45, 50, 55, 98)),
        *_PETALS,
        ("ellipse", "flame", (36, 28, 64, 56)),
    ),
    "kite": (
        ("polygon", "main", (50, 2, 92, 40, 50, 82, 8, 40)),
        ("rectangle", "line", (48, 4, 52, 98)),
        ("rectangle", "line", (10, 38, 90, 42)),
    ),
    "cat": (
        ("polygon", "main", (10, 54, 12, 2, 48, 32)),
        ("polygon", "main", (90, 54, 88, 2, 52, 32)),
        ("ellipse", "main", (6, 22, 94, 96)),
        ("ellipse", "light", (24, 44, 42, 62)),
        ("ellipse", "light", (58, 44, 76, 62)),
        ("ellipse", "line", (30, 48, 38, 60)),
        ("ellipse", "line", (62, 48, 70, 60)),
    ),
}
# Where the middles of one to four things stand in their cell, as shares of its side.
_PLACES = {
    "": ((0.5, 0.5),),
    "two": ((0.25, 0.5), (0.75, 0.5)),
    "three": ((0.5, 0.25), (0.25, 0.75), (0.75, 0.75)),
    "four": ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)),
}
_CELL = 32  # pixels of the square a group stands in
# The upper left corners of the first and the second group. Cells of before and behind overlap.
_CORNERS = {
    "over": ((16, 0), (16, 32)),
    "under": ((16, 32), (16, 0)),
    "before": ((4, 29), (28, 7)),
    "behind": ((28, 7), (4, 29)),
}


@cache
def _sprite(thing: str, colour: str, pixels: int) -> Image.Image:
    """A thing drawn eight times too large and scaled down, on a transparent ground."""
    scale = 8 * pixels / 100
    drawn = Image.new("RGBA", (8 * pixels, 8 * pixels))
    pen = ImageDraw.Draw(drawn)
    width = max(4, round(5 * scale))
    for shape, paint, coordinates in ICONS[thing]:
        at = [c * scale for c in coordinates]
        fill = RGB[colour] if paint == "main" else _FIXED[paint]
        edge = {"outline": LINE, "width": width} if paint == "main" else {}
        if shape == "ring":
            pen.ellipse(at, outline=LINE, width=3 * width)
            pen.ellipse([a + d * width for a, d in zip(at, (1, 1, -1, -1), strict=True)],
                        outline=fill, width=width)  # fmt: skip
        elif shape == "plain":
            pen.rectangle(at, fill=fill)
        else:
            getattr(pen, shape)(at, fill=fill, **edge)
    return drawn.resize((pixels, pixels), Image.Resampling.LANCZOS)


def render(scene: Fact) -> Image.Image:
    """A fact of the kind ``view`` as a picture of 64 x 64 pixels in RGB.

    Words that mean the same look the same: a scarlet ball and a red one are one picture.
    """
    first, relation, second = scene.about
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    if relation in ("before", "behind"):
        ImageDraw.Draw(picture).rectangle((0, 22, SIDE, SIDE), fill=FLOOR)
    order = [(first, _CORNERS[relation][0]), (second, _CORNERS[relation][1])]
    # What stands in front is drawn last.
    for group, (left, top) in reversed(order) if relation == "before" else order:
        number, size, colour, thing = group
        sprite = _sprite(thing, _BASE.get(colour, colour), PIXELS[size])
        for x, y in _PLACES[number]:
            corner = (
                round(left + x * _CELL - sprite.width / 2),
                round(top + y * _CELL - sprite.height / 2),
            )
            picture.paste(sprite, corner, sprite)
    return picture


def look(scene: Fact) -> tuple[Any, ...]:
    """What can be seen of a fact of the kind ``view``: equal for scenes whose pictures are equal.

    Words that mean the same look the same, and so do a ball over a cup and a cup under a ball.
    """
    first, relation, second = scene.about
    if relation in ("under", "behind"):
        first, relation, second = second, CONVERSES[relation], first
    seen = [(n, PIXELS[size], _BASE.get(c, c), thing) for n, size, c, thing in (first, second)]
    return relation, *seen


def contact_sheet(rows: Dataset, *others: Dataset, columns: int = 4) -> Figure:
    """Pictures with their captions below, in rows, as a figure.

    Args:
        rows: with ``image`` and ``texts``, as ``microworld.rows("captions", ...)`` gives them.
        others: the same rows in other languages, whose captions stand below the first.
        columns: pictures side by side.
    """
    import textwrap

    from matplotlib.figure import Figure

    captions = zip(*([t[0] for t in table["texts"]] for table in (rows, *others)), strict=True)
    down = -(-len(rows) // columns)
    height = 2.2 + 0.45 * (1 + len(others))
    figure = Figure(figsize=(2.1 * columns, height * down), layout="constrained")
    axes = figure.subplots(down, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, image, said in zip(axes, rows["image"], captions, strict=False):
        lines = [textwrap.fill(text.replace(" .", "."), 28) for text in said]
        axis.imshow(image, interpolation="nearest")
        axis.set_title("\n".join(lines), fontsize=8, y=-0.06, va="top")
    return figure
