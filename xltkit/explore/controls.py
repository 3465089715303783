"""Controls of a notebook: what a person chooses and types, and what is drawn anew upon it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from IPython.display import HTML, Javascript, clear_output, display

from xltkit.progress import interactive

Chosen = Mapping[str, Any]
LONG = 24  # characters of an option that the usual width cuts off
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
        options: to choose from, or a function of what else is chosen that gives them; a range is a
            number, none a text that is typed.
        value: what is chosen at first, or a function of what else is chosen; the first option,
            unless given. A tuple says that several can be chosen.
        follows: names of controls above; when one of them changes, this one starts anew.
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
    """Show what a function shows, again whenever a control changes; once, where nobody sits.

    Args:
        draw: displays something for one value of each control, in less than a second or with a
            bar (``track``); a ValueError is shown in the place of the figure.
        controls: by the name of the argument; those that follow others stand below them.
    """
    if not interactive():
        chosen: dict[str, Any] = {}
        for name, control in controls.items():
            chosen[name] = control.start(chosen)[1]
        draw(**chosen)
        return
    import ipywidgets  # a batch needs no widgets

    boxes: dict[str, Any] = {}
    output = ipywidgets.Output()
    following = False

    def values() -> dict[str, Any]:
        return {name: box.value for name, box in boxes.items()}

    def redraw() -> None:
        with output:
            clear_output(wait=True)
            try:
                draw(**values())
            except ValueError as error:
                display(HTML(f'<p role="alert">{escape(str(error))}</p>'))

    def changed(change: Any) -> None:
        """Start the controls anew that follow the one that changed, then draw once."""
        nonlocal following
        if following:
            return
        following = True
        with output:  # for bars, and for what goes wrong
            try:
                names = {name for name, box in boxes.items() if box is change["owner"]}
                for name, control in controls.items():
                    if names & set(control.follows):
                        options, value = control.start(values())
                        if options and not isinstance(options, range):
                            boxes[name].options = options
                        boxes[name].value = value
                        names.add(name)
            finally:
                following = False
        redraw()

    for name, control in controls.items():
        boxes[name] = _box(control, *control.start(values()))
        boxes[name].observe(changed, "value")
    row = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
    display(ipywidgets.VBox([ipywidgets.Box(list(boxes.values()), layout=row), output]))
    display(Javascript(KEYS))
    redraw()  # after the output is there: a bar that is gone by then could not be displayed


def _box(control: Control, options: Sequence[Any], value: Any) -> Any:
    """The widget of a control: all of them can be worked from the keyboard."""
    import ipywidgets

    settings = {"description": control.label, "value": value}
    settings["style"] = {"description_width": "initial"}
    wide = ipywidgets.Layout(width="32rem")
    if isinstance(options, range):
        ends = {"min": options[0], "max": options[-1], "step": options.step}
        return ipywidgets.BoundedIntText(**settings, **ends)
    if not options:
        return ipywidgets.Textarea(**settings, rows=2, layout=wide)
    if len(options) == 1 and not callable(control.options):
        settings["layout"] = ipywidgets.Layout(display="none")  # nothing to choose
    elif max(len(str(option)) for option in options) > LONG:
        settings["layout"] = wide
    if isinstance(value, tuple):
        return ipywidgets.SelectMultiple(**settings, options=options, rows=min(6, len(options)))
    return ipywidgets.Dropdown(**settings, options=options)
