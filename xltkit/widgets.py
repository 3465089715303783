"""What a person turns and types in a notebook: controls around functions that work without them.

Where nobody sits, as in a batch run, each shows what its first choices give, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML, Javascript, clear_output, display

from xltkit import embeddings, outlook, plots, plots_map, plots_plan, studies
from xltkit.evaluation.predict import protocol_layer
from xltkit.image_text import ImageText
from xltkit.phases import Intermediate, Pretrain, Target
from xltkit.progress import interactive, track
from xltkit.recipe import Recipe
from xltkit.results import Results
from xltkit.tasks import Portion

Chosen = Mapping[str, Any]
# JupyterLab takes the keys of a list for its own, such as the arrows (ipywidgets issue 3912),
# unless what has the focus carries this mark.
KEYS = """
document.addEventListener("focusin", ({target}) => target.closest(".jupyter-widgets")
    && target.setAttribute("data-lm-suppress-shortcuts", "true"));
"""


@dataclass(frozen=True)
class Control:
    """One choice of a person.

    Attributes:
        label: what it is called.
        options: what there is to choose from, or a function of what else is chosen that says so; a
            range is a number, none a text that is typed.
        value: what is chosen at first, or a function of what else is chosen; the first option,
            unless given. A tuple says that several can be chosen.
        follows: names of controls above; when one of them is turned, this one starts anew.
    """

    label: str
    options: Sequence[Any] | Callable[[Chosen], Sequence[Any]] = ()
    value: Any = None
    follows: tuple[str, ...] = ()

    def start(self, chosen: Chosen) -> tuple[Sequence[Any], Any]:
        """Options and value at first, given what else is chosen."""
        options = self.options(chosen) if callable(self.options) else self.options
        value = self.value(chosen) if callable(self.value) else self.value
        return options, options[0] if value is None else value


def explore(draw: Callable[..., None], controls: Mapping[str, Control]) -> None:
    """Show what a function shows, again whenever a control is turned.

    Args:
        draw: displays something for one value of each control, in less than a second or with a
            bar (``track``); what it raises as ValueError is shown in the place of the figure.
        controls: by the name of the argument; those that follow others stand below them.
    """
    if not interactive():
        chosen: dict[str, Any] = {}
        for name, control in controls.items():
            chosen[name] = control.start(chosen)[1]
        draw(**chosen)
        return
    _Panel(draw, controls).show()


class _Panel:
    """Controls in a row, and below them what they show."""

    def __init__(self, draw: Callable[..., None], controls: Mapping[str, Control]) -> None:
        import ipywidgets

        self.draw, self.controls, self.resting = draw, controls, False
        self.boxes: dict[str, Any] = {}
        for name, control in controls.items():
            self.boxes[name] = _box(control, *control.start(self.chosen))
            self.boxes[name].observe(partial(self.turned, name), "value")
        self.out = ipywidgets.Output()

    @property
    def chosen(self) -> dict[str, Any]:
        return {name: box.value for name, box in self.boxes.items()}

    def show(self) -> None:
        import ipywidgets

        row = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
        display(ipywidgets.VBox([ipywidgets.Box(list(self.boxes.values()), layout=row), self.out]))
        display(Javascript(KEYS))
        self.redraw()

    def turned(self, name: str, _change: Any) -> None:
        if self.resting:  # a control that follows another starts anew without a figure of its own
            return
        self.resting, moved = True, {name}
        try:
            for other, control in self.controls.items():
                if moved & set(control.follows):
                    options, value = control.start(self.chosen)
                    if options:
                        self.boxes[other].options = options
                    self.boxes[other].value = value
                    moved.add(other)
        finally:
            self.resting = False
        self.redraw()

    def redraw(self) -> None:
        with self.out:
            clear_output(wait=True)
            try:
                self.draw(**self.chosen)
            except ValueError as error:
                display(HTML(f'<p role="alert">{escape(str(error))}</p>'))


def _box(control: Control, options: Sequence[Any], value: Any) -> Any:
    """The widget of a control: all of them can be worked from the keyboard."""
    import ipywidgets as kinds

    about = {"description": control.label, "value": value}
    about |= {"style": {"description_width": "initial"}}
    if isinstance(options, range):
        ends = {"min": options[0], "max": options[-1], "step": options.step}
        return kinds.BoundedIntText(**about, **ends)
    if not options:
        return kinds.Textarea(**about, rows=2, layout=kinds.Layout(width="32rem"))
    if len(options) == 1 and not callable(control.options):
        about |= {"layout": kinds.Layout(display="none")}  # nothing to choose
    if isinstance(value, tuple):
        return kinds.SelectMultiple(**about, options=options, rows=min(6, len(options)))
    return kinds.Dropdown(**about, options=options)


def scores(results: Results) -> None:
    """The results of a study by language: task, metric, arms, languages and colours to choose."""
    table = results.scores
    names = table.drop_duplicates("language").set_index("language")["language_name"]

    def of(column: str, task: str) -> tuple[str, ...]:
        """The metrics or languages of a task; the main metric first."""
        mine = table[table["task"] == task].sort_values("main", ascending=False, kind="stable")
        return tuple(dict.fromkeys(mine[column]))

    arms = list(results.study.arms)

    def draw(task: str, metric: str, arms: Sequence[str], languages: Sequence[str], colour: str):
        shown = {"metric": metric, "arms": arms, "languages": languages}
        axes = plots.dots(results, task, **shown, colour=colour)
        mine = table[(table["task"] == task) & (table["metric"] == metric)]
        mine = mine[mine["language"].isin(languages) & mine["arm"].isin(arms)]
        means = mine[~mine["is_source"]].groupby("arm", sort=False)["value"].mean().round(1)
        told = ", ".join(f"{arm} {value}" for arm, value in means.items())
        caption = f"{task}: {metric} in points; {plots.bars(results)}; n = {mine['n'].max()} items "
        caption += f"a language at most. {results.study.suite}."
        alt = f"Dot plot of {task} in {len(languages)} languages: "
        alt += ", ".join(names[list(languages)])
        plots.show(axes, caption=caption, alt=f"{alt}. Means without the source: {told or 'none'}.")

    explore(draw, {
        "task": Control("task", list(dict.fromkeys(table["task"]))),
        "metric": Control("metric", lambda chosen: of("metric", chosen["task"]), follows=("task",)),
        "arms": Control("arms", arms, tuple(arms)),
        "languages": Control(
            "languages", lambda chosen: of("language", chosen["task"]),
            lambda chosen: of("language", chosen["task"]), ("task",),
        ),
        "colour": Control("colour by", ("arm", *plots.GROUPS)),
    })  # fmt: skip


def sentences(encoders: Mapping[str, str], texts: Mapping[str, Sequence[str]]) -> None:
    """Sentences as points, before and after phases: encoders, languages, layer to choose.

    Args:
        encoders: by name, as ``embeddings.checkpoints`` gives them.
        texts: by language, the same sentences in the same order.
    """
    first = next(iter(encoders.values()))
    known = {"untrained": (first, True)} | {name: (e, False) for name, e in encoders.items()}
    vectors: dict[tuple[str, int], pd.DataFrame] = {}
    depth, codes = embeddings.depth(first), list(texts)
    source = codes[0]

    def draw(shown: Sequence[str], languages: Sequence[str], layer: int, number: int) -> None:
        languages = [source, *(c for c in languages if c != source)]
        if left := [name for name in shown if (name, layer) not in vectors]:
            for name in track(left, "embedding", "encoder"):
                where, untrained = known[name]
                vectors[name, layer] = embeddings.embed(
                    where, texts, layer=layer, untrained=untrained
                )
            clear_output(wait=True)  # the bar has done its duty
        made = {name: vectors[name, layer] for name in shown}
        panels = {name: t[t["language"].isin(languages)] for name, t in made.items()}
        share = {name: embeddings.found(t, source).mean().round(0) for name, t in panels.items()}
        figure = plots_map.sentences(panels, first=number)
        caption = f"{number} sentences in {len(languages)} languages, means of their tokens after "
        caption += f"layer {layer}; above: nearest sentence in {source} is the translation, "
        caption += f"% of {len(texts[source])}, mean over the other languages."
        alt = f"Points of the same sentences in {', '.join(languages)}, joined by lines. "
        alt += "Translations found: " + ", ".join(f"{n} {v:.0f} %" for n, v in share.items())
        plots.show(figure, caption=caption, alt=f"{alt}.")

    explore(draw, {
        "shown": Control("encoders", list(known), tuple(known)[:3]),
        "languages": Control("languages", codes[1:], tuple(codes[1:5])),
        "layer": Control("layer", range(1, depth + 1), protocol_layer(depth)),
        "number": Control("sentences", range(2, 9), 6),
    })  # fmt: skip


# What can stand between the encoder and the target, as it is typed in a notebook. What is shown is
# what is evaluated, so that the two cannot differ.
BETWEEN = (
    "Intermediate(['nli-large'], steps=150)",
    "Intermediate(['qa-large'], steps=150)",
    "Intermediate(['nli-large', 'qa-large'], steps=150)",
    "Pretrain((Portion('text', 'en'),), steps=150)",
    "Pretrain((Portion('pairs', 'qto'),), steps=150)",
    "ImageText(Portion('captions'), tower='micro-vision', steps=150)",
)
NAMES = {"Intermediate": Intermediate, "Pretrain": Pretrain, "ImageText": ImageText}
NOTHING = "nothing"


def recipe(encoder: str = "micro", targets: Sequence[str] = ("qa", "pos", "nli")) -> None:
    """What a study would train, and what of it is in the store: phases and targets to choose.

    It trains nothing; the code of the study is shown, to be copied into a cell.
    """

    def draw(first: str, second: str, aims: Sequence[str], seeds: int, steps: int) -> None:
        phases = [text for text in (first, second) if text != NOTHING]
        found = {"Portion": Portion, "Target": Target, **NAMES}
        base = Recipe(encoder)
        made = [eval(text, {"__builtins__": {}}, found) for text in phases]
        arms = {"none": base} | ({"mine": base.then(*made)} if made else {})
        study = studies.study(arms, list(aims), list(range(seeds)), steps=steps)
        stages = outlook.of(study)
        there = int(stages["there"].sum())
        text = f"{len(stages)} stages ({study.asked} before sharing), {there} in the store."
        graph = plots_plan.graph(stages)
        plots.show(graph, caption=text, alt=f"Graph of stages. {text}")
        display(HTML(f"<pre>{escape(_code(encoder, phases, aims, seeds, steps))}</pre>"))

    explore(draw, {
        "first": Control("first phase", (NOTHING, *BETWEEN), BETWEEN[1]),
        "second": Control("then", (NOTHING, *BETWEEN)),
        "aims": Control("targets", tuple(targets), tuple(targets)[:2]),
        "seeds": Control("seeds", range(1, 11), 3),
        "steps": Control("steps (0: the task's own)", range(0, 1001, 50), 0),
    })  # fmt: skip


def _code(
    encoder: str, phases: Sequence[str], targets: Sequence[str], seeds: int, steps: int
) -> str:
    """The study as it is typed in a notebook."""
    typed = [p.replace("Portion", "xlt.Portion") for p in phases]
    arms = ['"none": base'] + ([f'"mine": base.then(xlt.{", xlt.".join(typed)})'] if typed else [])
    more = f", steps={steps}" if steps else ""
    return (
        f'base = xlt.encoder("{encoder}")\narms = {{{", ".join(arms)}}}\n'
        f"results = xlt.study(arms, {list(targets)}, seeds={list(range(seeds))}{more}).run()"
    )
