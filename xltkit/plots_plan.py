"""The stages of a plan as a picture: what follows what, what is shared, and what is there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch

# Sizes in inches; text in points.
LINE, PAD, GAP, ROW, SIZE = 0.135, 0.07, 0.5, 0.12, 7.5
LETTER = 0.0565  # the mean width of a letter of this size
WRAP = 34
THERE, SOME, MISSING, INK = "#cfe3f2", "#ecf4fa", "white", "#222222"


@dataclass
class Node:
    """Stages that are drawn as one: the same phase after the same, on several seeds or tasks."""

    column: int
    lines: list[str]
    stages: pd.DataFrame
    children: list[Node] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        letters = max(1.12 * len(self.lines[0]), *map(len, self.lines))  # the first line is bold
        width = letters * LETTER + 2 * PAD
        return width, len(self.lines) * LINE + 2 * PAD

    @property
    def whole(self) -> Iterator[Node]:
        """The node and all after it."""
        yield self
        for child in self.children:
            yield from child.whole


def graph(stages: pd.DataFrame) -> Axes:
    """Draw the stages of a plan from left to right, each after what it starts from.

    A box is a phase, with its seeds counted and not drawn; the targets of an arm are one box, and
    so are its evaluations. A box with a thick edge is shared by what starts from it, one that looks
    like two sheets by several notebooks. Filled boxes with a tick are in the store, empty ones with
    a broken edge are not, and one in between says how many.

    Args:
        stages: of ``outlook.table``.

    Returns:
        Axes of a figure as large as it has to be; one unit is one inch.
    """
    roots = _tree(stages)
    bottom = 0.0
    for root in roots:
        bottom = _place(root, bottom)
    nodes = [node for root in roots for node in root.whole]
    left = 0.0
    for column in sorted({node.column for node in nodes}):
        own = [node for node in nodes if node.column == column]
        for node in own:
            node.x = left
        left += max(node.size[0] for node in own) + GAP
    width, height = left + 2.2, -bottom + 0.8
    _, ax = plt.subplots(figsize=(width, height))
    ax.set(xlim=(-0.1, width - 0.1), ylim=(bottom - 0.1, 0.7))
    ax.set_position((0, 0, 1, 1))
    ax.axis("off")
    several = stages["runs"].nunique() > 1 or any(len(runs) > 1 for runs in stages["runs"])
    for node in nodes:
        _draw(ax, node, several)
    _legend(ax, several)
    return ax


def _tree(stages: pd.DataFrame) -> list[Node]:
    """The encoders, with what follows each."""
    at = stages.set_index("key", drop=False)
    # Stages are one box if their parents are, and the phase is the same but for the seed; the
    # targets of an arm, and all evaluations, if the same runs share them.
    box: dict[str, tuple] = {}
    for row in at.itertuples():
        before = box.get(row.parent, (row.encoder,))
        apart = () if row.phase in ("Target", "Evaluate") else (row.tasks, row.steps)
        note = "" if row.phase == "Evaluate" else row.note
        box[row.key] = (before, row.phase, note, apart, row.runs)
    members: dict[tuple, list[str]] = {}
    for key, which in box.items():
        members.setdefault(which, []).append(key)
    nodes = {which: _node(which, at.loc[keys]) for which, keys in members.items()}
    roots: dict[str, Node] = {}
    for which, node in nodes.items():
        before = which[0]
        if len(before) == 1:
            name = before[0].rsplit("/", 1)[-1]
            root = roots.setdefault(before[0], Node(0, [name], stages.iloc[:0]))
            root.children.append(node)
        else:
            nodes[before].children.append(node)
    return list(roots.values())


def _node(which: tuple, stages: pd.DataFrame) -> Node:
    """A box with its text."""
    before, phase, note, *_ = which
    depth = 1
    while len(before) > 1:
        before, depth = before[0], depth + 1
    tasks = dict.fromkeys(task for row in stages["tasks"] for task in row)
    ways = "" if phase == "Evaluate" else note
    if phase == "Evaluate":
        counted = stages["note"][stages["note"] != ""].str.split(":").str[-1].str.strip()
        ways = ", ".join(dict.fromkeys(counted))
    lines = [phase, *textwrap.wrap(", ".join(tasks), WRAP), *textwrap.wrap(ways, WRAP)[:3]]
    there, count = int(stages["there"].sum()), len(stages)
    seeds = stages["seed"].nunique()
    told = f"{seeds} seed{'s' * (seeds > 1)}"
    if count > seeds:
        told = f"{count // seeds} × {told}" if count % seeds == 0 else f"{count} stages"
    steps = sorted(set(stages["steps"]) - {0})
    told += f", {steps[0]:,} steps" if len(steps) == 1 else ""
    mark = " ✓" if there == count else f", {there} there" if there else ""
    return Node(depth, [*lines, told + mark], stages)


def _place(node: Node, top: float) -> float:
    """Give a node and all after it their heights, from the top down; the new bottom."""
    bottom = top
    for child in node.children:
        bottom = _place(child, bottom)
    own = node.size[1]
    if not node.children:
        node.y = top - own / 2
        return top - own - ROW
    node.y = (node.children[0].y + node.children[-1].y) / 2
    if (above := node.y + own / 2 - top) > 0:  # taller than all that follows it
        for each in node.whole:
            each.y -= above
        bottom -= above
    return min(bottom, node.y - own / 2 - ROW)


def _draw(ax: Axes, node: Node, several: bool) -> None:
    """A box, the lines to what follows it, and at the end of a row its arms and, if there are
    several, its runs.
    """
    width, height = node.size
    there, count = int(node.stages["there"].sum()), len(node.stages)
    look = {
        "facecolor": (THERE if there == count else SOME) if there else MISSING,
        "edgecolor": INK,
        "linestyle": "--" if count and not there else "-",
        "linewidth": 1.6 if len(node.children) > 1 else 0.8,
    }
    many = any(len(runs) > 1 for runs in node.stages["runs"])
    for off in (0.05, 0.0) if many else (0.0,):  # two sheets, the lower one first
        corner = (node.x + off, node.y - height / 2 - off)
        shape = "round,pad=0,rounding_size=0.05"
        ax.add_patch(FancyBboxPatch(corner, width, height, boxstyle=shape, zorder=2, **look))
    for i, line in enumerate(node.lines):
        y = node.y + height / 2 - PAD - (i + 0.5) * LINE
        weight = "bold" if i == 0 else "normal"
        ax.text(node.x + PAD, y, line, fontsize=SIZE, va="center", weight=weight, color=INK)
    for child in node.children:
        middle = child.x - GAP / 2
        xs, ys = (node.x + width, middle, middle, child.x), (node.y, node.y, child.y, child.y)
        ax.plot(xs, ys, color="#777777", linewidth=0.8, zorder=1, solid_joinstyle="round")
    if not node.children and count:
        _tell(ax, node, node.x + width + 0.12, several)


def _tell(ax: Axes, node: Node, x: float, several: bool) -> None:
    arms = list(dict.fromkeys(arm for row in node.stages["arms"] for arm in row))
    runs = list(dict.fromkeys(run for row in node.stages["runs"] for run in row))
    text = ", ".join(arms[:3]) + (f" and {len(arms) - 3} more" if len(arms) > 3 else "")
    many = f"  [{', '.join(dict.fromkeys(run.partition('_')[0] for run in runs))}]"
    ax.text(x, node.y, text + many * several, fontsize=SIZE, va="center", style="italic", color=INK)


def _legend(ax: Axes, several: bool) -> None:
    """What a box looks like, and what stands right of it."""
    edge = {"edgecolor": INK, "linewidth": 0.8}
    handles = [
        Patch(facecolor=THERE, label="✓ in the store", **edge),
        Patch(facecolor=SOME, label="some in the store", **edge),
        Patch(facecolor=MISSING, linestyle="--", label="to make", **edge),
        Line2D([], [], color=INK, linewidth=1.6, label="thick edge: several boxes start from it"),
    ]
    if several:
        told = ("two sheets: shared by notebooks", "right of a row: arm [notebooks]")
        handles += [Line2D([], [], linestyle="", label=text) for text in told]
    place = {"loc": "upper left", "bbox_to_anchor": (0, 1), "ncols": len(handles)}
    ax.legend(handles=handles, fontsize=SIZE, frameon=False, handlelength=1.6, **place)
