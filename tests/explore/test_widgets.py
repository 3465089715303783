"""Controls: what follows what, what is drawn, and that nobody needs them in a batch."""

import ipywidgets
import pytest
from analysis.fakes import VALUES, Given

from xltkit.explore import plots, widgets
from xltkit.explore.widgets import Control, explore

CITIES = {"Kenya": ("Nairobi", "Mombasa"), "Peru": ("Lima", "Cusco")}
CONTROLS = {
    "country": Control("country", tuple(CITIES)),
    "city": Control("city", lambda chosen: CITIES[chosen["country"]], follows=("country",)),
    "note": Control("note", (), lambda chosen: f"in {chosen['city']}", ("country", "city")),
    "days": Control("days", range(1, 8), 2),
    "tags": Control("tags", ("a", "b", "c"), ("a", "b")),
}


@pytest.fixture
def displayed(monkeypatch):
    """What is displayed, as for a person."""
    shown = []
    monkeypatch.setattr(widgets, "interactive", lambda: True)
    monkeypatch.setattr(widgets, "display", shown.append)
    return shown


def boxes(displayed) -> dict[str, ipywidgets.ValueWidget]:
    """The widgets that are displayed, by label."""
    (panel,) = (shown for shown in displayed if isinstance(shown, ipywidgets.VBox))
    return {box.description: box for box in panel.children[0].children}


def test_in_a_batch_the_first_choices_are_drawn_once_and_no_widget_is_made(monkeypatch):
    monkeypatch.setattr(ipywidgets.Widget, "__init__", None)  # making one would fail
    drawn = []
    explore(lambda **chosen: drawn.append(chosen), CONTROLS)
    first = {"country": "Kenya", "city": "Nairobi", "note": "in Nairobi", "days": 2}
    assert drawn == [first | {"tags": ("a", "b")}]


def test_a_control_starts_anew_when_what_it_follows_changes(displayed):
    drawn = []
    explore(lambda **chosen: drawn.append(chosen), CONTROLS)
    panel = boxes(displayed)
    kinds = ["Dropdown", "Dropdown", "Textarea", "BoundedIntText", "SelectMultiple"]
    assert [type(box).__name__ for box in panel.values()] == kinds  # all have keys
    panel["days"].value = 5
    panel["country"].value = "Peru"
    assert panel["city"].options == ("Lima", "Cusco")
    panel["note"].value = "high up"
    panel["city"].value = "Cusco"
    # Each change draws once, and what does not follow stays as it was.
    assert [d["city"] for d in drawn] == ["Nairobi", "Nairobi", "Lima", "Lima", "Cusco"]
    assert [d["note"] for d in drawn[1:]] == ["in Nairobi", "in Lima", "high up", "in Cusco"]
    assert [d["days"] for d in drawn] == [2, 5, 5, 5, 5]


def test_what_a_choice_cannot_give_is_said_and_the_next_choice_works(displayed):
    def draw(country, **_):
        if country == "Peru":
            raise ValueError("<Peru> has no scores; take Kenya.")
        displayed.append(country)

    explore(draw, CONTROLS)
    panel = boxes(displayed)
    panel["country"].value = "Peru"
    assert 'role="alert">&lt;Peru&gt; has no scores' in displayed[-1].data
    panel["country"].value = "Kenya"
    assert displayed[-1] == "Kenya"


def test_the_results_explorer_draws_what_is_chosen(displayed, monkeypatch):
    shown = []
    monkeypatch.setattr(plots, "show", lambda axes, **texts: shown.append((axes, texts)))
    results = Given(VALUES | {("none", "pos", "en"): [9, 9, 9], ("text", "pos", "en"): [8, 8, 8]})
    widgets.scores(results)
    panel = boxes(displayed)

    def languages():
        return [tick.get_text().split()[0] for tick in shown[-1][0].get_yticklabels()]

    assert languages() == ["en", "de", "sw"] and "none 71.5, text 73.5" in shown[-1][1]["alt"]
    panel["languages"].value = ("en", "sw")
    panel["arms"].value = ("text",)
    assert languages() == ["en", "sw"] and "source: text 62.0" in shown[-1][1]["alt"]
    panel["color by"].value = "family"
    names = {text.get_text() for text in shown[-1][0].get_legend().get_texts()}
    assert names == {"text", "family: Indo-European", "family: Niger-Congo"}
    panel["task"].value = "pos"
    assert panel["languages"].value == ("en",) and shown[-1][1]["caption"].startswith("pos:")
