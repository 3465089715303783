"""Controls of a notebook: what a person chooses and types, and what is drawn anew upon it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, NamedTuple

from IPython.display import HTML, Javascript, clear_output, display

from xltkit.progress import interactive

Chosen = Mapping[str, Any]
# JupyterLab takes the keys of a list for its own, such as the arrows (ipywidgets issue 3912),
# unless what has the focus carries this mark.
KEYS = """
document.addEventListener("focusin", ({target}) => target.closest(".jupyter-widgets")
    && target.setAttribute("data-lm-suppress-shortcuts", "true"));
"""


class Control(NamedTuple):
    """One choice of a person.

    Attributes:
        label: what it is called.
        options: to choose from, or a function of what is chosen above that gives them; a range is
            a number, none a text that is typed.
        value: what is chosen at first, or a function of what is chosen above; the first option,
            unless given. A tuple says that several can be chosen.
        follows: names of controls above; when one of them changes, this one starts anew.
    """

    label: str
    options: Sequence[Any] | Callable[[Chosen], Sequence[Any]] = ()
    value: Any = None
    follows: Sequence[str] = ()

    def start(self, chosen: Chosen) -> tuple[Sequence[Any], Any]:
        """Options and value at first, given what is chosen above."""
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
    chosen: dict[str, Any] = {}
    boxes: dict[str, Any] = {}
    for name, control in controls.items():
        options, chosen[name] = control.start(chosen)
        if interactive():
            boxes[name] = _box(control, options, chosen[name])
    if not boxes:
        draw(**chosen)
        return
    import ipywidgets  # a batch needs no widgets

    output = ipywidgets.Output()
    stale: set[str] = set()  # not empty while controls are being started anew

    def redraw() -> None:
        with output:
            clear_output(wait=True)
            try:
                draw(**chosen)
            except ValueError as error:
                display(HTML(f'<p role="alert">{escape(str(error))}</p>'))

    def changed(name: str, change: Any) -> None:
        """Start the controls anew that follow the one that changed, then draw once."""
        chosen[name] = change["new"]
        if stale:
            return
        stale.add(name)
        with output:  # for bars, and for what goes wrong
            try:
                for follower, control in controls.items():
                    if stale.intersection(control.follows):
                        stale.add(follower)
                        options, value = control.start(chosen)
                        if options and not isinstance(options, range):
                            boxes[follower].options = options
                        boxes[follower].value = value
            finally:
                stale.clear()
        redraw()

    for name, box in boxes.items():
        box.observe(partial(changed, name), "value")
    row = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
    display(ipywidgets.VBox([ipywidgets.Box(list(boxes.values()), layout=row), output]))
    display(Javascript(KEYS))
    redraw()  # after the output is there: a bar that is gone by then could not be displayed


def _box(control: Control, options: Sequence[Any], value: Any) -> Any:
    """The widget of a control: all of them can be worked from the keyboard."""
    import ipywidgets

    settings = {"description": control.label, "value": value}
    settings |= {"style": {"description_width": "initial"}, "layout": {"width": "auto"}}
    if isinstance(options, range):
        ends = {"min": options[0], "max": options[-1], "step": options.step}
        return ipywidgets.BoundedIntText(**settings, **ends)
    if not options:
        return ipywidgets.Textarea(**settings | {"layout": {"width": "32rem"}})
    if isinstance(value, tuple):
        return ipywidgets.SelectMultiple(**settings, options=options, rows=min(6, len(options)))
    return ipywidgets.Dropdown(**settings, options=options)
