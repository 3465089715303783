"""Controls of a notebook: what a person turns and types, and what is drawn anew upon it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

from IPython.display import HTML, Javascript, clear_output, display

from xltkit.progress import interactive

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
        with self.out:  # for bars, and for what goes wrong
            try:
                for other, control in self.controls.items():
                    if moved & set(control.follows):
                        self.restart(self.boxes[other], *control.start(self.chosen))
                        moved.add(other)
            finally:
                self.resting = False
        self.redraw()

    def restart(self, box: Any, options: Sequence[Any], value: Any) -> None:
        if options and not isinstance(options, range):
            box.options = options
        box.value = value

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
