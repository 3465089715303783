"""Controls: what follows what, what is drawn, and that nothing of it is needed in a batch."""

from __future__ import annotations

import pytest
from test_plots import VALUES, Given

from xltkit import widgets
from xltkit.explore import controls, plots
from xltkit.explore.controls import Control, explore

CITIES = {"Kenya": ("Nairobi", "Mombasa"), "Peru": ("Lima", "Cusco")}
CONTROLS = {
    "country": Control("country", tuple(CITIES)),
    "city": Control("city", lambda chosen: CITIES[chosen["country"]], follows=("country",)),
    "note": Control("note", (), lambda chosen: f"in {chosen['city']}", ("country", "city")),
    "days": Control("days", range(1, 8), 2),
    "tags": Control("tags", ("a", "b", "c"), ("a", "b")),
}


@pytest.fixture
def panel(monkeypatch):
    """A function that shows controls as for a person; gives its widgets, and what was drawn."""
    monkeypatch.setattr(controls, "interactive", lambda: True)
    monkeypatch.setattr(controls, "display", lambda *_: None)
    made, real = [], controls._Panel.show

    def show(self):
        made.append(self)
        real(self)

    monkeypatch.setattr(controls._Panel, "show", show)
    return lambda call: (call(), made[-1].boxes)[1]


def test_in_a_batch_the_first_choices_are_drawn_once_and_no_widget_is_made(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)  # importing it would fail
    drawn = []
    explore(lambda **chosen: drawn.append(chosen), CONTROLS)
    first = {"country": "Kenya", "city": "Nairobi", "note": "in Nairobi", "days": 2}
    assert drawn == [first | {"tags": ("a", "b")}]


def test_a_control_starts_anew_when_what_it_follows_is_turned(panel):
    drawn = []
    boxes = panel(lambda: explore(lambda **chosen: drawn.append(chosen), CONTROLS))
    boxes["days"].value = 5
    boxes["country"].value = "Peru"
    assert boxes["city"].options == ("Lima", "Cusco")
    boxes["note"].value = "high up"
    boxes["city"].value = "Cusco"
    # Each turn draws once, and what does not follow stays as it was.
    assert [(d["city"], d["note"], d["days"]) for d in drawn] == [
        ("Nairobi", "in Nairobi", 2),
        ("Nairobi", "in Nairobi", 5),
        ("Lima", "in Lima", 5),
        ("Lima", "high up", 5),
        ("Cusco", "in Cusco", 5),
    ]


def test_every_control_has_a_label_and_can_be_worked_from_the_keyboard(panel):
    boxes = panel(lambda: explore(lambda **_: None, CONTROLS))
    kinds = {name: type(box).__name__ for name, box in boxes.items()}
    assert kinds == {
        "country": "Dropdown", "city": "Dropdown", "note": "Textarea", "days": "BoundedIntText",
        "tags": "SelectMultiple",
    }  # fmt: skip
    assert [box.description for box in boxes.values()] == [c.label for c in CONTROLS.values()]


def test_what_a_choice_cannot_give_is_said_and_the_next_choice_works(panel, monkeypatch):
    said = []
    monkeypatch.setattr(controls, "display", lambda shown=None: said.append(shown))

    def draw(country, **_):
        if country == "Peru":
            raise ValueError("<Peru> has no scores; take Kenya.")
        said.append(country)

    boxes = panel(lambda: explore(draw, CONTROLS))
    boxes["country"].value = "Peru"
    assert "&lt;Peru&gt; has no scores" in said[-1].data and 'role="alert"' in said[-1].data
    boxes["country"].value = "Kenya"
    assert said[-1] == "Kenya"


class Scored(Given):
    """Given scores, of a study with a suite."""

    def __init__(self, values):
        super().__init__(values)
        self.study.suite = "microworld"


def test_the_results_explorer_draws_what_is_chosen(panel, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda axes, **about: shown.append((axes, about)))
    results = Scored(VALUES | {("none", "pos", "en"): [9, 9, 9], ("text", "pos", "en"): [8, 8, 8]})
    boxes = panel(lambda: widgets.scores(results))
    ticks = lambda: [t.get_text().split()[0] for t in shown[-1][0].get_yticklabels()]  # noqa: E731
    assert ticks() == ["en", "de", "sw"] and "none 71.5, text 73.5" in shown[-1][1]["alt"]
    boxes["languages"].value = ("en", "sw")
    boxes["arms"].value = ("text",)
    assert ticks() == ["en", "sw"] and "source: text 62.0" in shown[-1][1]["alt"]
    boxes["color"].value = "family"
    names = {t.get_text() for t in shown[-1][0].get_legend().get_texts()}
    assert names == {"text", "family: Indo-European", "family: Niger-Congo"}
    boxes["task"].value = "pos"
    assert boxes["languages"].value == ("en",) and shown[-1][1]["caption"].startswith("pos:")
