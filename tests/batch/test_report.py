"""The report: one index of all runs that needs no network, read by a real browser."""

import contextlib
import math
import shutil
from html import escape
from itertools import product
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from analysis.fakes import Given
from nbformat import v4
from repository import PNG, write_repository

from xltkit import cli
from xltkit.analysis import t_interval
from xltkit.batch import report
from xltkit.batch.parameters import Run
from xltkit.data.languages import LANGUAGES
from xltkit.studies.saved import ResultError, Saved, read

HOSTILE = "</script><script>window.bad = 1</script> & \"quoted\" <img src=x onerror=bad> 'so'"
NAMES = ["01_invented", "02_real", "03_failed", "04_absent", "05_mixed"]
CODES = ["en", *sorted(LANGUAGES.keys() - {"en"})[-60:]]


def table_of_scores(*, arms, languages, seeds=3):
    """Scores that differ by language, arm and seed; English, the source, lies 40 points above."""
    values = {
        (arm, "nli", code): [
            40 + i % 7 + 3 * j + seed * (seed + 1) + 40 * (code == "en") for seed in range(seeds)
        ]
        for (j, arm), (i, code) in product(enumerate(arms), enumerate(languages))
    }
    return Given(values).scores


def finish(base: Path, name: str, tables, answer: str, *, smoke=False, **parameters) -> None:
    """Leave behind what a run does: its result, its notebook, its page."""
    Run({"smoke": smoke, **parameters}, base / name).finish(tables, answer)
    write_notebook(base / f"{name}.ipynb")


def write_notebook(path: Path, **metadata) -> None:
    about = {"image/png": {"alt": "One dot"}}
    figure = v4.new_output("display_data", {"image/png": PNG}, metadata=about)
    links = "[it](01_invented.ipynb), [not run](04_absent.ipynb)"
    texts = ("# A run", "## Why & how", "### At last", links)
    cells = [v4.new_markdown_cell(text) for text in texts]
    cells.append(v4.new_code_cell("one = " + "1 + " * 99 + "1", outputs=[figure]))
    nbformat.write(v4.new_notebook(cells=cells, metadata=metadata), path)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A repository with finished, failed, missing and misplaced runs, and its report."""
    root = write_repository(tmp_path_factory.mktemp("root"), {name: [] for name in NAMES})
    base = root / "outputs"
    one = table_of_scores(arms=[*"abc"], languages=CODES)
    layers = [one.assign(metric=f"accuracy@{layer}", main=False) for layer in range(11)]
    differences = pd.DataFrame(
        {"task": ["nli", "qa"], "difference": [1.25, -3.0], "low": [0.5, -9.0], "high": [2.0, 3.0]},
        index=pd.Index(["b", "c"], name="arm"),
    ).assign(baseline="a", p_holm=[0.031, math.nan], n_seeds=3)
    tables = {"scores": pd.concat([one, *layers]), "differences": differences}
    finish(base, "01_invented", tables, "A gain of +1.2.", suite="microworld")
    real = table_of_scores(arms=[HOSTILE], languages=["en", "de", "sw"], seeds=1)
    finish(base, "02_real", {"scores": real}, HOSTILE, suite="xtreme-r", encoder=HOSTILE)
    write_notebook(base / "03_failed.failed.ipynb", xltkit={"failed": f"it died {HOSTILE}"})
    smoke = table_of_scores(arms=["smoked"], languages=["en", "de"])
    finish(base, "05_mixed", {"scores": smoke}, "Smoked.", smoke=True)
    finish(base / "smoke", "01_invented", {"scores": smoke}, "Smoked.", smoke=True)
    with contextlib.chdir(root):
        report.build()
    return root


@pytest.fixture
def copied(world, tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(world, tmp_path / "root"))
    return Path("outputs").resolve()


def runs_of(root: Path, *names: str) -> list[Saved]:
    return [read(root / "outputs" / name) for name in names]


def test_the_joint_table_is_right(world):
    joint = report.scores(runs_of(world, "01_invented", "02_real"))
    assert not joint.duplicated(["run", "arm", "task", "language", "metric"]).any()
    rows = joint.query("run == '01_invented' and arm == 'b' and metric == 'accuracy'")
    rows = rows.set_index("language")
    # The mean over 60 languages does not hold the source, which lies 40 points above.
    mean = 43 + sum(i % 7 for i in range(1, 61)) / 60
    expected = {"en": ("source", 83, 100), CODES[1]: ("transfer", 44, 100)}
    expected[""] = ("transfer mean", mean, 6000)
    for language, (languages, value, n) in expected.items():
        row = rows.loc[language]
        assert (row["languages"], row["seeds"], row["n"]) == (languages, 3, n)
        # Three seeds add 0, 2 and 6; the arm adds 3, the place in the list what is left over of 7.
        assert row["mean"] == pytest.approx(value + 8 / 3)
        interval = t_interval([value, value + 2, value + 6])
        assert (row["low"], row["high"]) == pytest.approx(interval)
    # One seed has no interval.
    assert joint.query("run == '02_real'")[["low", "high"]].isna().all(axis=None)


def test_comparisons_keep_the_arm_that_a_table_has_as_its_index(world):
    table = report.comparisons(runs_of(world, "01_invented", "02_real"))
    rows = table[["arm", "baseline", "where", "difference"]].to_numpy().tolist()
    assert rows == [["b", "a", "nli", 1.25], ["c", "a", "qa", -3.0]]
    assert table["low"].dtype == float


def test_smoke_runs_are_never_among_full_runs(world):
    outputs = world / "outputs"
    with pytest.raises(ResultError, match="smoke run among full runs"):
        read(outputs / "05_mixed")
    full, smoke = ((outputs / name).read_text() for name in ("index.html", "smoke/index.html"))
    assert "smoked" not in full and "smoke run among full runs" in full
    assert "smoked" in smoke and "measure nothing" in smoke and "A gain of" not in smoke


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("scores.parquet", "PAR1", "scores.parquet was changed"),
        ("result.json", "{}", "the result is damaged"),
        ("result.json", "[1]", "the result is damaged"),
    ],
)
def test_a_damaged_result_is_told_and_the_rest_is_there(copied, file, content, says):
    (copied / "01_invented" / file).write_text(content)
    page = report.write_index(copied).read_text()
    assert f"Its result cannot be used: {says}" in page
    assert "A gain of" not in page and "xtreme-r" in page


def test_the_command_makes_all_pages_anew_and_runs_nothing(copied, monkeypatch, capsys):
    record = (copied / "01_invented" / "result.json").read_bytes()
    for page in copied.rglob("*.html"):
        page.unlink()
    (copied / "02_real.partial.ipynb").touch()
    monkeypatch.chdir(copied.parent / "notebooks")
    assert cli.main(["report"]) == 0
    assert str(copied / "smoke" / "index.html") in capsys.readouterr().out
    names = {page.name for page in copied.glob("*.html")}
    assert {"index.html", "01_invented.html", "03_failed.failed.html"} <= names
    assert not any("partial" in name for name in names)
    assert (copied / "01_invented" / "result.json").read_bytes() == record
    failed = (copied / "03_failed.failed.html").read_text()
    assert "This run failed: it died &lt;/script&gt;" in failed
    assert "<img src=x" not in failed


@pytest.mark.parametrize(
    ("text", "formulas", "shown"),
    [
        ("Here $x^2$ is one.\n\n$$\n\\frac{1}{2}\n$$", 2, "Here"),
        ("`$HOME and $PATH`\n\n```\n$$ c $$\n```\n\n    x=$a; y=$b", 0, "$HOME and $PATH"),
        (r"It costs \$5 and \$10.", 0, "costs $5 and $10."),
        ("$5 million and $10 more", 0, "$5 million and $10 more"),
        *((tex, 0, tex) for tex in (r"$\frac$", r"$\left(<$", "$x_$", r"$$\begin{matrix}$$")),
    ],
)
def test_formulas_are_drawn_and_all_else_is_as_written(tmp_path, text, formulas, shown):
    nbformat.write(v4.new_notebook(cells=[v4.new_markdown_cell(text)]), tmp_path / "a.ipynb")
    report.write_page(tmp_path / "a.ipynb")
    page = (tmp_path / "a.html").read_text()
    assert page.count("<math") == formulas and escape(shown, quote=False) in page


@pytest.fixture
def page(browser, world):
    """The index, opened from disk; what went wrong in it is asked for at the end."""
    page = browser.new_page()
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: wrong.append(request.url))
    page.goto((world / "outputs" / "index.html").as_uri())
    page.locator("#scores tbody tr").first.wait_for()
    yield page
    page.close()
    assert [text for text in wrong if not text.startswith(("file:", "data:", "blob:"))] == []


def test_a_reader_searches_the_scores_and_downloads_all_of_them(page):
    # 3 arms in 61 languages and 12 metrics, one arm in 3 languages, a mean for each arm: 2,203.
    assert "of 2,203 entries" in page.locator("#scores .dt-info").inner_text()
    with page.expect_download() as download:
        page.locator("#scores").get_by_role("button", name="CSV").click()
    table = pd.read_csv(download.value.path(), keep_default_na=False)
    assert len(table) == 2203 and HOSTILE in set(table["arm"])
    page.locator("#scores .dt-search input").fill("Tosic qto")
    page.locator("#scores tbody tr:visible").first.get_by_text("qto").wait_for()
    rows = page.locator("#scores tbody tr:visible").all_inner_texts()
    assert len(rows) == 25 and all("qto" in row for row in rows)


def test_a_reader_opens_provenance_and_a_run_and_comes_back(page):
    entry = page.locator("#run-01_invented")
    assert "microworld" in entry.inner_text() and "A gain of +1.2." in entry.inner_text()
    assert "torch" not in entry.inner_text()
    entry.get_by_text("Provenance").click()
    assert "torch" in entry.inner_text() and "commit" in entry.inner_text()
    entry.get_by_role("link").first.click()
    assert page.url.endswith("/01_invented.html")
    assert page.locator("img").get_attribute("alt") == "One dot"
    page.get_by_role("link", name="All runs and results").click()
    assert page.url.endswith("/index.html")


@pytest.mark.parametrize("width", [400, 900, 1600])
def test_a_page_is_read_at_any_width_and_by_keyboard(page, world, width):
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((world / "outputs" / "01_invented.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    contents = page.locator("nav li a")
    assert contents.evaluate_all("all => all.map(a => a.hash)") == ["#Why-&-how", "#At-last"]
    assert contents.last.is_visible() == (width == 1600)  # beside the text there is room for all
    code = page.get_by_text("one = ")
    assert not code.is_visible()
    page.get_by_label("Show all code").press("Space")
    assert code.is_visible() and page.evaluate("document.documentElement.scrollWidth") == width
    page.emulate_media(media="print")
    assert not code.is_visible() and page.locator("img").is_visible()
    page.emulate_media(media="screen")
    for name, href in {"it": "01_invented.html", "not run": "index.html"}.items():
        assert page.get_by_role("link", name=name, exact=True).get_attribute("href") == href
    # What failed, and what was not run, has no page.
    assert page.locator(".neighbors a").all_inner_texts() == ["Next: Is 02_real <so>?"]
    page.locator(".neighbors a").press("Enter")
    page.get_by_role("link", name="Before: Is 01_invented <so>?").wait_for()


def test_the_page_is_sound(page):
    assert page.evaluate("window.bad") is None  # hostile text stays text
    assert HOSTILE in page.locator("#run-02_real").inner_text()
    assert "it died" in page.locator("#run-03_failed").inner_text()
    assert "python -m xltkit run 04_absent" in page.locator(".missing").text_content()
    page.set_viewport_size({"width": 360, "height": 800})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360  # tables scroll by themselves, the page does not
