"""Benchmark averages: published rows, hand-computed cases, what is missing, what is refused."""

import pandas as pd
import pytest

from xltkit.analysis.averages import averages
from xltkit.tasks import TASKS
from xltkit.tasks.suites.benchmarks import BENCHMARKS, METRICS

# XLM-R Large on XTREME, as printed by the authors of later models; its average is 68.25.
XLM_R_LARGE = {
    "xnli": {"accuracy": 79.2},
    "paws-x": {"accuracy": 86.4},
    "udpos": {"f1": 73.8},
    "panx": {"f1": 65.4},
    "xquad": {"f1": 76.6, "em": 60.8},
    "mlqa": {"f1": 71.6, "em": 53.2},
    "tydiqa": {"f1": 65.1, "em": 45.0},
    "bucc": {"f1": 66.0},
    "tatoeba": {"accuracy": 57.3},
}
# Rows of PAWS-X and XQuAD by language, and the gap between English and the others.
PAWS_X_MBERT = dict(en=94.0, de=85.7, es=87.4, fr=87.0, ja=73.0, ko=69.6, zh=77.0)
XQUAD_MBERT = {
    "f1": dict(en=83.5, ar=61.5, de=70.6, el=62.6, es=75.5, hi=59.2, ru=71.3, th=42.7, tr=55.4,
               vi=69.5, zh=58.0, ro=72.7),
    "em": dict(en=72.2, ar=45.1, de=54.0, el=44.9, es=56.9, hi=46.0, ru=53.3, th=33.5, tr=40.1,
               vi=49.6, zh=48.3, ro=59.9),
}  # fmt: skip


def rows(task, metric, by_language, **columns):
    table = pd.DataFrame({"language": list(by_language), "value": list(by_language.values())})
    return table.assign(**{"task": task, "metric": metric, "arm": "a", "seed": 0} | columns)


def level_scores(numbers, name, **columns):
    """Every language of a task has the task's number."""
    tables = [
        rows(task, metric, dict.fromkeys(BENCHMARKS[name].tasks[task], value), **columns)
        for task, metrics in numbers.items()
        for metric, value in metrics.items()
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def scores():
    return level_scores(XLM_R_LARGE, "xtreme")


def one(table, level, name, metric=None):
    result = table[(table["level"] == level) & (table["name"] == name)]
    return (result if metric is None else result[result["metric"] == metric]).squeeze(axis=0)


def test_the_average_of_xlm_r_large_on_xtreme(scores):
    table = averages(scores)
    averaged = table.set_index(["level", "name", "metric"])["average"].to_dict()
    assert one(table, "benchmark", "xtreme")["definition"] == "official"
    expected = {
        ("benchmark", "xtreme", ""): 68.25,
        ("task", "xnli", "accuracy"): 79.2,
        ("task", "xquad", "em and f1"): 68.7,
        ("metric", "xquad", "em"): 60.8,
        ("group", "classification", ""): 82.8,
        ("group", "tagging", ""): 69.6,
        ("group", "qa", ""): 62.05,
        ("group", "retrieval", ""): 61.65,
    }
    assert {key: averaged[key] for key in expected} == pytest.approx(expected, abs=1e-9)
    # Tasks without English have no gap and count whole.
    for level, name in (("task", "tatoeba"), ("group", "retrieval"), ("benchmark", "xtreme")):
        row = one(table, level, name)
        assert pd.isna(row["english"]) and pd.isna(row["gap"]) and row["missing"] == ""
        assert row["without_english"] == pytest.approx(row["average"], abs=1e-9)


@pytest.mark.parametrize(
    ("level", "task", "metric", "by_language", "gap"),
    [
        ("task", "paws-x", "accuracy", PAWS_X_MBERT, 14.05),
        ("metric", "xquad", "em", XQUAD_MBERT["em"], 25.03),
        ("metric", "xquad", "f1", XQUAD_MBERT["f1"], 20.87),
    ],
)
def test_published_gaps(level, task, metric, by_language, gap):
    result = one(averages(rows(task, metric, by_language)), level, task, metric)
    assert result["gap"] == pytest.approx(gap, abs=0.005)
    assert result["english"] == by_language["en"]


def test_a_question_task_is_the_mean_of_its_two_metrics_over_its_own_languages():
    scores = pd.concat([rows("xquad", metric, by) for metric, by in XQUAD_MBERT.items()])
    result = one(averages(scores), "task", "xquad")  # XTREME has no Romanian
    assert result["average"] == pytest.approx((709.8 / 11 + 543.9 / 11) / 2, abs=1e-9)
    assert result["gap"] == pytest.approx((25.03 + 20.87) / 2, abs=1e-9)
    result = one(averages(scores, "xtreme-r"), "task", "xquad")
    assert result["average"] == pytest.approx((782.5 / 12 + 603.8 / 12) / 2, abs=1e-9)


def test_what_is_missing_is_named_and_nothing_is_averaged_over_the_rest(scores):
    gone = (scores["task"] == "udpos") & scores["language"].isin(["sw", "ur", "yo"])
    gone |= (scores["task"] == "panx") | ((scores["task"] == "xnli") & (scores["language"] == "en"))
    scores = scores.copy()  # a score that is no number is missing as well
    vietnamese = (scores["task"] == "mlqa") & (scores["language"] == "vi")
    scores.loc[vietnamese & (scores["metric"] == "em"), "value"] = float("nan")
    table = averages(scores[~gone])
    assert one(table, "task", "udpos")["missing"] == "ur, yo"
    assert one(table, "task", "panx")["missing"] == "all 40 languages"
    assert one(table, "task", "mlqa")["missing"] == "vi"
    assert one(table, "metric", "mlqa", "f1")["average"] == pytest.approx(71.6, abs=1e-9)
    assert (table["average"].isna() == (table["missing"] != "")).all()
    # Without English nothing that XNLI needs is missing.
    assert one(table, "task", "xnli")["without_english"] == pytest.approx(79.2)
    whole = one(table, "benchmark", "xtreme")
    assert pd.isna(whole["average"]) and pd.isna(whole["without_english"])
    assert whole["missing"] == "xnli: en; udpos: ur, yo; panx: all 40 languages; mlqa: vi"
    assert one(table, "group", "retrieval")["average"] == pytest.approx(61.65, abs=1e-9)


def test_the_average_of_xtreme_r_is_ours_and_says_so():
    tasks = list(BENCHMARKS["xtreme-r"].tasks)
    numbers = {task: dict.fromkeys(METRICS[task], 10.0 * i) for i, task in enumerate(tasks)}
    table = averages(level_scores(numbers, "xtreme-r"), "xtreme-r")
    whole = one(table, "benchmark", "xtreme-r")
    assert whole["average"] == pytest.approx(45, abs=1e-9)
    assert whole["definition"].startswith("ours: the mean over its 10 tasks")
    assert (table["definition"] == "official").sum() == len(table) - 1
    assert one(table, "group", "multi_choice")["average"] == 10.0 * tasks.index("xcopa")


def test_arms_and_seeds_stay_apart_and_departures_are_named():
    scores = [level_scores({"bucc": {"f1": 10.0 * s}}, "xtreme", seed=s, arm=a, split=split)
              for s, split in ((1, "test"), (2, "validation")) for a in ("one", "two")]  # fmt: skip
    table = averages(pd.concat(scores))
    result = table[(table["level"] == "task") & (table["name"] == "bucc")]
    assert result["average"].tolist() == [10, 10, 20, 20]
    assert result["arm"].tolist() == ["one", "two"] * 2
    definitions = ["official"] * 2 + ["not the benchmark's: not of the test split"] * 2
    assert result["definition"].tolist() == definitions


BUCC = rows("bucc", "f1", {"de": 1.0})


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (BUCC, {"name": "xtrem"}, "Allowed: xtreme, xtreme-r"),
        (BUCC.assign(task="nli"), {}, "no score of a task of xtreme"),
        (pd.concat([BUCC, BUCC]), {}, "non-unique"),
        (pd.concat([BUCC, BUCC.assign(seed=1)]), {"by": ["arm"]}, "non-unique"),
    ],
)
def test_bad_input_is_named(scores, options, message):
    with pytest.raises(ValueError, match=message):
        averages(scores, **options)


def test_the_benchmarks_are_the_official_ones():
    counts = {name: {t: len(c) for t, c in b.tasks.items()} for name, b in BENCHMARKS.items()}
    assert counts["xtreme"] == dict(zip(XLM_R_LARGE, (15, 7, 33, 40, 11, 7, 9, 4, 36), strict=True))
    assert counts["xtreme-r"] == {
        "xnli": 15, "xcopa": 11, "udpos": 38, "panx": 48, "xquad": 12, "mlqa": 7, "tydiqa": 9,
        "tatoeba": 41, "lareqa": 11, "mewsli-x": 11,
    }  # fmt: skip
    for name, languages in (("xtreme", 40), ("xtreme-r", 50)):
        tasks = BENCHMARKS[name].tasks
        assert len({code for codes in tasks.values() for code in codes}) == languages
        for task in tasks:  # the table has every language, whether or not its data is available
            assert set(tasks[task]) <= set(TASKS[task].test.languages)
            assert TASKS[task].metric in METRICS[task]
