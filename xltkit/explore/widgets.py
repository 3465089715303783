"""Controls for functions that also work without them; a batch run draws the defaults once."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache, partial
from html import escape
from typing import Any, NamedTuple

import ipywidgets
import pandas as pd
from IPython.display import HTML, Javascript, clear_output, display

from xltkit.evaluation.attacks import CodeMixing, Typos
from xltkit.evaluation.predict import protocol_layer
from xltkit.explore import embeddings, examples, html, plots
from xltkit.models.checkpoints import configuration
from xltkit.progress import interactive, track
from xltkit.studies.results import Results

PAGE = 5  # examples on a page of the error browser
ATTACKS = {
    "none: type": None,
    "typing errors": Typos(strength=0.2, beam=3),
    "words of other languages": CodeMixing(strength=0.2, beam=3),
}
# JupyterLab intercepts the keys of a list, such as the arrows (ipywidgets issue 3912), unless the
# focused element has this attribute.
KEYS = """
document.addEventListener("focusin", ({target}) => target.closest(".jupyter-widgets")
    && target.setAttribute("data-lm-suppress-shortcuts", "true"));
"""
Chosen = Mapping[str, Any]


class Control(NamedTuple):
    """One choice of the user; options and value can be functions of what is chosen above.

    A range of options gives a number box, no options a text box, and a tuple as the value allows
    several choices. When a control that it ``follows`` changes, this one is reset.
    """

    label: str
    options: Sequence[Any] | Callable[[Chosen], Sequence[Any]] = ()
    value: Any = None  # at first (default: the first option)
    follows: Sequence[str] = ()

    def start(self, chosen: Chosen) -> tuple[Sequence[Any], Any]:
        options = self.options(chosen) if callable(self.options) else self.options
        value = self.value(chosen) if callable(self.value) else self.value
        return options, options[0] if value is None else value

    def box(self, options: Sequence[Any], value: Any) -> ipywidgets.ValueWidget:
        settings = {"description": self.label, "value": value, "layout": {"width": "auto"}}
        settings["style"] = {"description_width": "initial"}
        if isinstance(options, range):
            return ipywidgets.BoundedIntText(**settings, min=options[0], max=options[-1])
        if not options:
            return ipywidgets.Textarea(**settings | {"layout": {"width": "32rem"}})
        if isinstance(value, tuple):
            return ipywidgets.SelectMultiple(**settings, options=options, rows=min(6, len(options)))
        return ipywidgets.Dropdown(**settings, options=options)


def explore(draw: Callable[..., None], controls: Mapping[str, Control]) -> None:
    """Show what a function displays, again whenever a control changes; in a batch, only once.

    Controls are by the name of its argument, and after those that they follow. A ValueError is
    shown in place of the output.
    """
    chosen: dict[str, Any] = {}
    boxes: dict[str, ipywidgets.ValueWidget] = {}
    for name, control in controls.items():
        options, chosen[name] = control.start(chosen)
        if interactive():
            boxes[name] = control.box(options, chosen[name])
    if not boxes:
        draw(**chosen)
        return
    output = ipywidgets.Output()
    stale: set[str] = set()  # not empty while something is being drawn

    def redraw(changed: str = "") -> None:
        """Reset the controls that follow the one that changed, then draw once."""
        stale.add(changed)
        with output:
            clear_output(wait=True)
            try:
                for name, control in controls.items():
                    if stale.intersection(control.follows):
                        stale.add(name)
                        options, value = control.start(chosen)
                        if options and not isinstance(options, range):
                            boxes[name].options = options
                        boxes[name].value = value
                draw(**chosen)
            except ValueError as error:
                display(HTML(f'<p class="{html.NO_MATH}" role="alert">{escape(str(error))}</p>'))
            finally:
                stale.clear()

    def choose(name: str, change: Mapping[str, Any]) -> None:
        chosen[name] = change["new"]
        if not stale:
            redraw(name)

    for name, box in boxes.items():
        box.observe(partial(choose, name), "value")
    row = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
    display(ipywidgets.VBox([ipywidgets.Box(list(boxes.values()), layout=row), output]))
    display(Javascript(KEYS))
    redraw()  # after the output exists: a bar that is already gone could not be displayed


def scores(results: Results) -> None:
    """The results of a study by language; controls choose task, metric, arms, languages, colors."""
    table = results.scores.sort_values("main", ascending=False, kind="stable")

    def values(column: str, chosen: Chosen) -> tuple[str, ...]:
        return tuple(table.loc[table["task"] == chosen["task"], column].unique())

    def draw(task: str, metric: str, arms: Sequence[str], languages: Sequence[str], color: str):
        axes = plots.dots(results, task, metric=metric, arms=arms, languages=languages, color=color)
        rows = table[(table["task"] == task) & (table["metric"] == metric)]
        rows = rows[rows["language"].isin(languages) & rows["arm"].isin(arms)]
        means = rows[~rows["is_source"]].groupby("arm", sort=False)["value"].mean().round(1)
        means = ", ".join(f"{arm} {value}" for arm, value in means.items()) or "none"
        names = ", ".join(rows["language_name"].unique())
        plots.show(
            axes,
            caption=f"{task}: {metric} in points; {plots.interval_caption(results)}; n = "
            f"{rows['n'].max()} items per language at most. {results.study.suite}.",
            alt=f"Dot plot of {task} in {names}. Means without the source: {means}.",
        )

    arms = tuple(results.study.arms)
    languages = partial(values, "language")
    controls = {
        "task": Control("task", list(results.scores["task"].unique())),
        "metric": Control("metric", partial(values, "metric"), follows=("task",)),
        "arms": Control("arms", arms, arms),
        "languages": Control("languages", languages, languages, ("task",)),
        "color": Control("color by", ("arm", *plots.GROUPS)),
    }
    explore(draw, controls)


def errors(results: Results, task: str = "") -> None:
    """The error browser (``examples.errors``) for arms, language, outcome and page of a task."""

    def languages(chosen: Chosen) -> list[str]:
        return examples.choices(results, chosen["task"])["language"]

    def hardest(chosen: Chosen) -> str:
        """Where there are errors to look at: the language with the lowest score."""
        scores = results.main[results.main["task"] == chosen["task"]]
        return scores.groupby("language")["value"].mean()[languages(chosen)].idxmin()

    def draw(task: str, one: str, other: str, language: str, seed: int, outcome: str, number: int):
        page = {"outcome": outcome, "first": PAGE, "skip": PAGE * (number - 1)}
        display(examples.errors(results, task, (one, other), language, seed, **page))

    tasks = examples.shown_tasks(results)
    allowed = examples.choices(results, task or tasks[0])
    outcomes = (examples.ALL, *examples.OUTCOMES.values())
    above = ("task", "one", "other", "language")
    controls = {
        "task": Control("task", tasks, task or None),
        "one": Control("arm", allowed["arm"]),
        "other": Control("beside", allowed["arm"], allowed["arm"][:2][-1]),
        "language": Control("language", languages, hardest, ("task",)),
        "seed": Control("seed", allowed["seed"]),
        "outcome": Control("outcome", outcomes, follows=above),
        "number": Control("page", range(1, 1000), 1, (*above, "seed", "outcome")),
    }
    explore(draw, controls)


def tokens(texts: Mapping[str, Sequence[str]], encoder: str = "micro") -> None:
    """The token view (``xlt.tokens``) of one of several sentences by language, or a typed one."""
    codes = tuple(texts)

    def draw(number: int, languages: Sequence[str], typed: str) -> None:
        sentences = {code: texts[code][number - 1] for code in languages}
        display(html.tokens({codes[0]: typed} if typed.strip() else sentences, encoder))

    controls = {
        "number": Control("sentence", range(1, len(texts[codes[0]]) + 1), 1),
        "languages": Control("languages", codes, codes),
        "typed": Control("or your own", value=""),
    }
    explore(draw, controls)


def ask(results: Results, task: str) -> None:
    """The attack playground: edit a test example by hand or by an attack, and see the answers."""
    allowed = examples.choices(results, task)

    @lru_cache(maxsize=1)
    def load(arm: str, language: str, seed: int) -> examples.Playground:
        with track(1, "loading the model", "model", leave=False):
            return examples.Playground(results, task, arm, language, seed)

    @cache
    def texts(arm: str, language: str, seed: int, number: int, attack: str) -> Mapping[str, str]:
        with track(1, "editing", "text", leave=False):
            return load(arm, language, seed).texts(number - 1, ATTACKS[attack])

    def text(name: str, chosen: Chosen) -> str:
        return texts(*(chosen[control] for control in above))[name]

    def draw(arm: str, language: str, seed: int, number: int, attack: str, **edits: str) -> None:
        display(load(arm, language, seed).ask(number - 1, **edits))

    above = ("arm", "language", "seed", "number", "attack")
    first = load(allowed["arm"][0], allowed["language"][0], allowed["seed"][0])
    controls = {
        "arm": Control("arm", allowed["arm"]),
        "language": Control("language", allowed["language"]),
        "seed": Control("seed", allowed["seed"]),
        "number": Control("example", range(1, len(first.rows) + 1), 1),
        "attack": Control("attack", tuple(ATTACKS), follows=("number",)),
    }
    controls |= {name: Control(name, (), partial(text, name), above) for name in first.texts(0)}
    explore(draw, controls)


def sentences(encoders: Mapping[str, str], texts: Mapping[str, Sequence[str]]) -> None:
    """Sentences as points, before and after phases; controls choose encoders, languages, layer.

    Encoders are as ``embeddings.checkpoints`` gives them, texts as ``embeddings.embed`` takes them.
    """
    first = next(iter(encoders.values()))
    source, *others = texts
    folders = {"untrained": first, **encoders}

    @cache
    def vectors(name: str, layer: int) -> pd.DataFrame:
        is_untrained = name == "untrained"
        return embeddings.embed(folders[name], texts, layer=layer, untrained=is_untrained)

    def draw(shown: Sequence[str], languages: Sequence[str], layer: int, number: int) -> None:
        panels = {}
        for name in track(shown, "embedding", "encoder", leave=False):
            table = vectors(name, layer)
            panels[name] = table[table["language"].isin([source, *languages])]
        figure = embeddings.draw(panels, first=number)
        titles = "; ".join(ax.get_title(loc="left").replace("\n", ", ") for ax in figure.axes)
        names = ", ".join([source, *languages])
        plots.show(
            figure,
            caption=f"{number} sentences in {names}, means of their tokens after layer {layer}; "
            f"above: % of {len(texts[source])} whose nearest in {source} is the translation.",
            alt=f"Points of the same sentences in {names}, joined by lines: {titles}.",
        )

    depth = configuration(first).num_hidden_layers
    names = tuple(folders)
    controls = {
        "shown": Control("encoders", names, names[:3]),
        "languages": Control("languages", others, tuple(others[:4])),
        "layer": Control("layer", range(1, depth + 1), protocol_layer(depth)),
        "number": Control("sentences", range(2, 9), 6),
    }
    explore(draw, controls)
