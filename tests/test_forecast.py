"""The plan of runs before anything runs: exact, without a trace, and with no data or network."""

from __future__ import annotations

import json
import os
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from xltkit import cli, forecast, outlook, plots_plan, rates
from xltkit.plan import plan, read_runs, select
from xltkit.store import Store

ROOT = Path(__file__).parents[1]
START = """
steps: int = 2
seeds: list[int] = [0, 1]
examples: int = 8
"""
STUDY = """
import xltkit as xlt
run = xlt.start(globals())
base = xlt.encoder("micro")
arms = {"none": base, "pos": base.then(xlt.Intermediate(["pos"], steps=2))}
results = xlt.study(arms, ["choice", "retrieval"], run.seeds, **run.options).run()
"""
LATER = """
best = results.main["arm"].iloc[0]
rows = []
for _ in range(2):
    rows.append(best)
few = [*rows, "none"]
if True:
    control = xlt.study(
        {"none": base}, ["choice"], run.seeds, **run.options, shuffled=True
    ).run()
    typos = xlt.again(control, {"typos": {"attack": xlt.attacks.Typos(strength=0.2)}})
    xlt.summary(control)
again = xlt.study({"best": arms[best]}, ["choice"], run.seeds, **run.options).run()
few = len(few)
"""
FINISH = 'run.finish({"scores": results.scores}, "Nothing.")'


def write(path: Path, *cells: str) -> Path:
    made = [
        {"cell_type": "code", "source": text.strip(), "metadata": {}, "outputs": []}
        | {"execution_count": None, "id": f"cell-{i}"}
        for i, text in enumerate(cells)
    ]
    made[0]["metadata"] = {"tags": ["parameters"]}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole))
    return path


@pytest.fixture
def tiny(tmp_path):
    """A notebook whose last study depends on results."""
    return write(tmp_path / "notebooks" / "tiny.ipynb", START, STUDY, LATER, FINISH)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    where = tmp_path_factory.mktemp("notebooks") / "tiny.ipynb"
    return forecast.foresee("tiny", write(where, START, STUDY, LATER, FINISH), {})


def test_stages_of_a_tiny_notebook_are_those_counted_by_hand(seen):
    assert not seen.problem
    # choice: 2 arms x 2 seeds, trained and scored, after 2 intermediate stages; retrieval trains
    # nothing: one stage for both seeds of none, two for pos. Shuffled: 2 and 2; typos: 2.
    assert len(seen.stages) == (4 + 4 + 2) + (1 + 2) + (2 + 2) + 2
    # Unshared: none 2 x (2 + 1), pos 2 x (3 + 2), shuffled 2 x 2, and scored once more 2.
    assert seen.asked == 2 * 3 + 2 * 5 + 2 * 2 + 2


def test_what_needs_results_is_passed_over_and_told(seen):
    assert [text.partition(" = ")[0] for text in seen.unseen] == ["again"]
    assert any(text.startswith("few = len") for text in seen.passed)  # rows, and so few, is unknown
    told = outlook.describe([seen], outlook.table([seen], Store("/nowhere")), 1, rates.ASSUMED)
    assert "tiny: 1 of its studies depends on results, and comes on top." in told


def test_planned_keys_are_those_of_a_run_which_a_plan_leaves_no_trace_of(tmp_path, monkeypatch):
    store = Store(tmp_path / "store")
    monkeypatch.setenv("XLTKIT_STORE", str(store.folder))
    notebook = write(tmp_path / "tiny.ipynb", START, STUDY, FINISH)
    planned = forecast.foresee("tiny", notebook, {})
    assert not store.folder.exists()
    assert os.environ["XLTKIT_STORE"] == str(store.folder)
    before = outlook.overview([planned], outlook.table([planned], store))
    assert before.loc["all", "there"] == 0

    made_by: dict = {}
    exec(START + STUDY, made_by)
    made = {path.parent.name for path in store.folder.glob("*/signature.json")}
    assert made == planned.stages.keys()
    after = outlook.table([planned], store)
    assert after["there"].all()
    assert set(outlook.of(made_by["results"].study, store)["key"]) == made
    took = {r["key"]: r["cost"]["wall_s"] for r in store.records()}
    assert not rates.fits(store.records())  # stages as small as a smoke run's tell no speed
    monkeypatch.setattr(rates, "TINY", 0)
    # The rates of these very stages give their total, and those of their groups.
    known = rates.Rates(rates.fits(store.records()), {}, rates.ASSUMED)
    told = [known.estimate(done) for done in planned.works.values()]
    assert {estimate.basis for estimate in told} == {rates.MEASURED}
    assert sum(e.seconds for e in told) == pytest.approx(sum(took.values()), rel=0.01)


def test_a_problem_of_a_notebook_is_told_and_stops_no_other(tmp_path):
    last = "xlt.encoder('no such encoder')"
    found = forecast.foresee("a", write(tmp_path / "a.ipynb", START, STUDY, last, STUDY), {})
    assert "is no encoder" in found.problem
    assert found.stages  # what came before
    # What fails after the last study takes nothing from the plan.
    assert not forecast.foresee("b", write(tmp_path / "b.ipynb", START, STUDY, last), {}).problem


def test_notebooks_share_stages_in_the_total(tmp_path, seen):
    both = [seen, forecast.foresee("b", write(tmp_path / "b.ipynb", START, STUDY), {"seeds": [1]})]
    table = outlook.table(both, Store(tmp_path))
    shown = outlook.overview(both, table)
    assert both[1].stages.keys() < both[0].stages.keys()
    assert shown["distinct"].tolist() == [len(seen.stages), len(both[1].stages), len(seen.stages)]
    assert set(table.loc[table["key"].isin(both[1].stages), "runs"]) == {("tiny", "b")}


def test_fit_finds_the_line_and_keeps_the_total():
    points = [(w, 2 + 3 * w) for w in (1.0, 2.0, 5.0)]
    fit = rates.fit(points)
    assert (fit.start, fit.per_work) == pytest.approx((2, 3))
    busy = [(1.0, 1.0)] * 9 + [(1.0, 11.0)]
    assert sum(rates.fit(busy).per_work * w for w, _ in busy) == pytest.approx(20)


def test_twice_the_steps_take_twice_as_long():
    signature = {
        "phase": "Target", "encoder": "xlm-roberta-base", "task": "mnli", "language": "en",
        "steps": 100, "batch_size": 32, "max_length": 128,
    }  # fmt: skip
    gpu = rates.Rates({}, {}, rates.ASSUMED)
    one, two = (gpu.estimate(rates.work(signature | {"steps": n})) for n in (100, 200))
    assert two.seconds == pytest.approx(2 * one.seconds)
    assert (one.basis, one.accelerator) == (rates.GUESSED, True)
    # By hand: 6 operations a weight and token, 12 layers x 768 of attention, 4 ms a layer and step.
    tokens, size = 100 * 32 * 40, rates.network("xlm-roberta-base")
    work = tokens * 3 * (2 * size.active + 4 * 12 * 768 * 40)
    assert one.seconds == pytest.approx(work / (0.3 * 312e12) + 100 * 12 * 0.004)
    assert size.weights == 277_453_056  # of the published model, without its pooler
    here = rates.Rates(
        {name: rates.Fit(0, 1e-9, 3) for name in rates.work(signature).likes}, {}, {}
    )
    assert here.estimate(rates.work(signature)) == (
        pytest.approx(work * 1e-9),
        rates.MEASURED,
        False,
    )


def test_stages_side_by_side_wait_for_what_they_start_from():
    stages = pd.DataFrame(
        [("a", "", 60), ("b", "a", 60), ("c", "a", 60), ("d", "", 120), ("e", "b", 60)],
        columns=["key", "parent", "seconds"],
    ).assign(there=False)
    assert outlook.minutes(stages, 1) == 6
    assert outlook.minutes(stages, 2) == 3
    assert outlook.minutes(stages, 9) == 3
    stages.loc[0, "there"] = True
    assert outlook.minutes(stages, 9) == 2


def test_boxes_of_the_picture_say_what_is_there_and_do_not_overlap(seen, tmp_path):
    table = outlook.table([seen], Store(tmp_path))
    table["there"] = table["phase"] == "Intermediate"
    ax = plots_plan.graph(table)
    texts = [text.get_text() for text in ax.texts]
    assert "2 seeds, 2 steps ✓" in texts  # the intermediate phase, once for both seeds
    assert sum("✓" in text for text in texts) == 1
    figure = ax.figure
    figure.canvas.draw()
    boxes = [patch.get_window_extent() for patch in ax.patches]
    assert len(boxes) == len(plots_plan._tree(table)) + 9
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    words = [text.get_window_extent() for text in ax.texts if text.get_style() == "normal"]
    inside = [any(b.containsx(w.x1) and b.containsy(w.y0) for b in boxes) for w in words]
    assert all(inside)


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XLTKIT_STORE", str(tmp_path / "store"))
    picture = tmp_path / "plan.png"
    options = ["-p", "seeds", "[0]", "--picture", str(picture)]
    assert cli.main(["plan", "02_order_of_intermediate_tasks", "--smoke", *options]) == 0
    told = capsys.readouterr().out
    assert picture.stat().st_size > 10_000
    assert "asked for" in told and ("measured elsewhere" in told or "assumed" in told)
    assert not (tmp_path / "store").exists()
    assert cli.main(["plan", "no_such_run"]) == 2
    assert "There is no run 'no_such_run'" in capsys.readouterr().err


def test_real_runs_start_only_if_they_are_named():
    runs = read_runs(ROOT)
    real = {name for name, block in runs.items() if block.get("real")}
    assert len(real) == 7 * 3 * 2
    for smoke in (False, True):
        assert not real & set(select([], runs, smoke))
    assert set(select(["real"], runs)) == real
    assert select(["10_*-mbert-xtreme"], runs) == ["10_intermediate_training-mbert-xtreme"]
    assert not [name for name in real if len(runs[name]["parameters"]["seeds"]) < 5]


def _real(pattern: str, tmp_path: Path) -> list[forecast.Foreseen]:
    return outlook.foresee_all(plan([pattern], root=ROOT, outputs=tmp_path))


@pytest.mark.real
@pytest.mark.skipif(not os.environ.get("XLTKIT_HUB"), reason="XLTKIT_HUB is not set")
def test_every_real_question_is_planned_to_its_end(tmp_path):
    """With one encoder: the others change its name and nothing else."""
    runs = _real("*-xlmr-base-*", tmp_path)
    assert len(runs) == 14
    assert not {run.name: run.problem for run in runs if run.problem}
    assert not [run.name for run in runs if run.unseen]
    stages = outlook.table(runs, Store(tmp_path))
    assert stages["seconds"].notna().all() and stages["accelerator"].all()
    shown = outlook.overview(runs, stages)
    assert (
        shown.loc["all", "distinct"] < shown["distinct"][:-1].sum() < shown.loc["all", "asked for"]
    )
    base, large, mbert = (
        {n: b for n, b in read_runs(ROOT).items() if f"-{short}-" in n and b.get("real")}
        for short in ("xlmr-base", "xlmr-large", "mbert")
    )
    for other in (large, mbert):
        for one, two in zip(base.values(), other.values(), strict=True):
            first, second = one["parameters"], two["parameters"]
            assert {k for k in first if first[k] != second[k]} == {"encoder"}


def test_what_is_not_here_is_listed_and_stops_no_plan(tmp_path, monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    base, large = (
        _real(f"04_*-{name}-xtreme-r", tmp_path)[0] for name in ("xlmr-base", "xlmr-large")
    )
    assert not base.problem and len(base.stages) == len(large.stages)
    assert not base.stages.keys() & large.stages.keys()
    needs = outlook.needs(base.wanted)
    found = needs.loc[("google-research-datasets/tydiqa", "validation")]
    assert (found["here"], found["missing"]) == ("", "ar bn en fi id ko ru sw te")
    assert [w.partition("@")[0] for w in base.wanted.weights] == ["FacebookAI/xlm-roberta-base"]
    small, big = (
        outlook.overview([run], outlook.table([run], Store(tmp_path))).loc["all"]
        for run in (base, large)
    )
    assert big["hours"] > 1.9 * small["hours"]  # twice the layers
    assert big["GiB kept"] == pytest.approx(2.014 * small["GiB kept"], rel=0.01)
