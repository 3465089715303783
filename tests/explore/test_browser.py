"""The widgets in JupyterLab, in a browser: by keyboard and by mouse each does what it should."""

import os
import socket
import subprocess
import sys

import pytest
from crew import free_port, wait_for
from repository import write_notebook

START = """
import xltkit as xlt
from xltkit import embeddings, microworld, widgets

arms = {"none": xlt.encoder("micro"), "more": xlt.encoder("micro").then(xlt.Target(effort=2.0))}
few = {"languages": ["qad", "qto"], "steps": 10, "examples": 12}
results = xlt.study(arms, ["nli", "qa"], [0, 1], **few).run()
codes = ["en", "qad", "qto"]
rows = {c: microworld.rows("retrieval", "test", microworld.language(c), 30) for c in codes}
texts = {code: list(part["text"]) for code, part in rows.items()}
"""
CELLS = {
    "scores": "widgets.scores(results)",
    "errors": "widgets.errors(results, 'qa')",
    "tokens": "widgets.tokens(texts)",
    "ask": "widgets.ask(results, 'nli')",
    "sentences": "widgets.sentences(embeddings.checkpoints(results, 'more', 'qa'), texts)",
}
pytestmark = pytest.mark.slow
PATIENCE = 120_000  # milliseconds, on a machine that is busy with other things


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a JupyterLab, in a folder with one notebook."""
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "all.ipynb", [START, *CELLS.values()])
    port = free_port()
    options = ["--no-browser", "--allow-root", "--IdentityProvider.token=", f"--port={port}"]
    options += ["--LabApp.news_url=None", "--ServerApp.port_retries=0", "--ip=127.0.0.1"]
    # A person's notebook: progress bars and widgets; settings of whoever runs this play no part.
    settings = {k: v for k, v in os.environ.items() if k != "XLTKIT_BATCH"}
    own = [*(f"JUPYTER_{name}_DIR" for name in ("CONFIG", "RUNTIME", "DATA")), "IPYTHONDIR"]
    settings |= {name: str(folder / name) for name in [*own, "XLTKIT_STORE"]}
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (folder / "log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log)

    def is_up() -> bool:
        assert running.poll() is None, (folder / "log").read_text()
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(is_up)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


@pytest.fixture(scope="module")
def lab(browser, server):
    """The notebook, all its cells run; nothing may have gone wrong at the end."""
    page, errors = browser.new_page(viewport={"width": 1300, "height": 1000}), []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.goto(f"{server}/lab/tree/all.ipynb")
    page.locator(".jp-CodeCell").first.wait_for()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    last = page.locator(".jp-CodeCell").nth(len(CELLS))
    last.locator("figure, .jp-RenderedText[data-mime-type*=error]").first.wait_for()
    assert page.locator("[data-mime-type*=stderr], [data-mime-type*=error]").all_inner_texts() == []
    yield page
    page.close()
    assert errors == []


@pytest.fixture
def cell(lab, request):
    """The output of the widget that a test is named for."""
    number = 1 + list(CELLS).index(request.node.name.removeprefix("test_"))
    output = lab.locator(".jp-CodeCell").nth(number).locator(".jp-OutputArea").first
    output.scroll_into_view_if_needed()
    return output


def becomes(cell, text: str) -> None:
    """Wait until the output holds a text."""
    cell.get_by_text(text).first.wait_for()


def test_scores(lab, cell):
    """The arrows are JupyterLab's own keys: the widgets must have them nevertheless."""
    becomes(cell, "nli: accuracy in points")
    cell.get_by_label("task", exact=True).focus()
    lab.keyboard.press("ArrowDown")
    becomes(cell, "qa: f1 in points")
    lab.keyboard.press("Tab")
    lab.keyboard.press("ArrowDown")
    becomes(cell, "qa: em in points")
    assert "Means without the source: none " in cell.locator("img").get_attribute("alt")
    cell.get_by_label("arms").select_option(["more"])
    cell.locator("img[alt*='source: more']").wait_for()
    before = cell.locator("img").get_attribute("src")
    cell.get_by_label("color by").select_option("resource")
    cell.locator(f"img:not([src='{before}'])").wait_for()


def test_errors(lab, cell):
    becomes(cell, ", seed 0: 12 test examples")  # in the language with the lowest score
    cell.get_by_label("language").select_option("qad")
    becomes(cell, "qa in Adra (qad), seed 0")
    cell.get_by_label("language").focus()
    lab.keyboard.press("ArrowDown")
    becomes(cell, "qa in Tova (qto), seed 0")
    cell.get_by_label("page").focus()
    lab.keyboard.press("ArrowUp")
    becomes(cell, "Examples 6 to 10 of 12: all")
    cell.get_by_label("outcome").select_option("both wrong")
    becomes(cell, ": both wrong")
    cell.get_by_label("task", exact=True).select_option("nli")
    becomes(cell, "nli in ")
    assert cell.get_by_label("outcome").input_value() == "all"


def test_tokens(lab, cell):
    cell.get_by_label("or your own").focus()
    lab.keyboard.type("Anna owns xylophones .")
    becomes(cell, "Anna")
    cell.locator(".xlt-cut").first.wait_for()  # no word of this world: it is cut
    assert cell.locator("tbody tr").count() == 1


def test_ask(lab, cell):
    becomes(cell, "as it is")
    cell.get_by_label("text_b").focus()
    lab.keyboard.press("Control+A")
    lab.keyboard.type("Anna sings .")
    becomes(cell, "edited")
    cell.locator("tbody tr", has_text="sings").wait_for()
    before = cell.get_by_label("text_a").input_value()
    cell.get_by_label("attack").select_option("typing errors")
    becomes(cell, "edited")
    cell.get_by_label("arm", exact=True).select_option("more")
    becomes(cell, "predicted by arm more")
    cell.get_by_label("attack").select_option("none: type")
    assert cell.get_by_label("text_a").input_value() == before


def test_sentences(lab, cell):
    becomes(cell, "after layer 2")
    cell.get_by_label("layer").focus()
    lab.keyboard.press("ArrowUp")
    becomes(cell, "after layer 3")
    cell.get_by_label("languages").select_option(["qto"])
    becomes(cell, "6 sentences in en, qto,")
