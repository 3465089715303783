"""Benchmark averages: published rows, hand-computed cases, what is missing, what is refused."""

import pandas as pd
import pytest

from xltkit.analysis.averages import averages
from xltkit.tasks import TASKS
from xltkit.tasks.suites.benchmarks import BENCHMARKS, METRICS, benchmark

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
# Rows of XNLI, PAWS-X and XQuAD by language, and the gap between English and the others.
PAWS_X_MBERT = dict(en=94.0, de=85.7, es=87.4, fr=87.0, ja=73.0, ko=69.6, zh=77.0)
XNLI_XLM_R = dict(
    en=89.1, fr=84.1, es=85.1, de=83.9, el=82.9, bg=84.0, ru=81.2, tr=79.6, ar=79.8, vi=80.8,
    th=78.1, zh=80.2, hi=76.9, sw=73.9, ur=73.8,
)  # fmt: skip
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


def one(table, level, name, metric=None):
    result = table[(table["level"] == level) & (table["name"] == name)]
    return (result if metric is None else result[result["metric"] == metric]).squeeze(axis=0)


def test_the_average_of_xlm_r_large_on_xtreme():
    table = averages(level_scores(XLM_R_LARGE, "xtreme"))
    whole = one(table, "benchmark", "xtreme")
    assert whole["average"] == pytest.approx(68.25, abs=1e-9)
    assert whole["definition"] == "official" and whole["missing"] == ""
    expected = {"xquad": 68.7, "mlqa": 62.4, "tydiqa": 55.05, "xnli": 79.2}
    for task, score in expected.items():
        assert one(table, "task", task)["average"] == pytest.approx(score, abs=1e-9)
    expected = {"classification": 82.8, "tagging": 69.6, "qa": 62.05, "retrieval": 61.65}
    for group, score in expected.items():
        assert one(table, "group", group)["average"] == pytest.approx(score, abs=1e-9)
    assert one(table, "metric", "xquad", "em")["average"] == pytest.approx(60.8, abs=1e-9)


@pytest.mark.parametrize(
    ("level", "task", "metric", "by_language", "gap"),
    [
        ("task", "paws-x", "accuracy", PAWS_X_MBERT, 14.05),
        ("task", "xnli", "accuracy", XNLI_XLM_R, 8.79),
        ("metric", "xquad", "em", XQUAD_MBERT["em"], 25.03),
        ("metric", "xquad", "f1", XQUAD_MBERT["f1"], 20.87),
    ],
)
def test_published_gaps(level, task, metric, by_language, gap):
    result = one(averages(rows(task, metric, by_language)), level, task, metric)
    assert result["gap"] == pytest.approx(gap, abs=0.005)
    assert result["english"] == by_language["en"]
    assert result["english"] - result["without_english"] == pytest.approx(result["gap"], abs=1e-9)


def test_a_question_task_is_the_mean_of_its_two_metrics_over_its_own_languages():
    scores = pd.concat([rows("xquad", metric, by) for metric, by in XQUAD_MBERT.items()])
    result = one(averages(scores), "task", "xquad")  # XTREME has no Romanian
    assert result["average"] == pytest.approx((709.8 / 11 + 543.9 / 11) / 2, abs=1e-9)
    assert result["gap"] == pytest.approx((25.03 + 20.87) / 2, abs=1e-9)
    result = one(averages(scores, "xtreme-r"), "task", "xquad")
    assert result["average"] == pytest.approx((782.5 / 12 + 603.8 / 12) / 2, abs=1e-9)


def test_what_is_missing_is_named_and_nothing_is_averaged_over_the_rest():
    scores = level_scores(XLM_R_LARGE, "xtreme")
    gone = (scores["task"] == "udpos") & scores["language"].isin(["sw", "ur", "yo"])
    gone |= (scores["task"] == "panx") | ((scores["task"] == "xnli") & (scores["language"] == "en"))
    gone |= (scores["task"] == "mlqa") & (scores["metric"] == "em") & (scores["language"] == "vi")
    table = averages(scores[~gone])
    assert one(table, "task", "udpos")["missing"] == "ur, yo"
    assert one(table, "task", "panx")["missing"] == "all 40 languages"
    assert one(table, "task", "mlqa")["missing"] == "vi"
    assert one(table, "metric", "mlqa", "f1")["average"] == pytest.approx(71.6, abs=1e-9)
    assert (table["average"].isna() == (table["missing"] != "")).all()
    # Without English nothing that XNLI needs is missing.
    xnli = one(table, "task", "xnli")
    assert pd.isna(xnli["average"]) and xnli["without_english"] == pytest.approx(79.2)
    whole = one(table, "benchmark", "xtreme")
    assert pd.isna(whole["average"]) and pd.isna(whole["without_english"])
    assert whole["missing"] == "xnli: en; udpos: ur, yo; panx: all 40 languages; mlqa: vi"
    assert one(table, "group", "retrieval")["average"] == pytest.approx(61.65, abs=1e-9)


def test_a_score_that_is_no_number_is_missing():
    scores = rows("bucc", "f1", {"de": 50.0, "fr": float("nan"), "ru": 50.0, "zh": 50.0})
    result = one(averages(scores), "task", "bucc")
    assert pd.isna(result["average"]) and result["missing"] == "fr"


def test_tasks_without_english_have_no_gap_and_count_whole():
    table = averages(level_scores(XLM_R_LARGE, "xtreme"))
    for level, name in (("task", "tatoeba"), ("group", "retrieval"), ("benchmark", "xtreme")):
        result = one(table, level, name)
        assert pd.isna(result["english"]) and pd.isna(result["gap"])
        assert result["without_english"] == pytest.approx(result["average"], abs=1e-9)


def test_the_average_of_xtreme_r_is_ours_and_says_so():
    numbers = {task: dict.fromkeys(METRICS[task], 10.0 * i)
               for i, task in enumerate(BENCHMARKS["xtreme-r"].tasks)}  # fmt: skip
    table = averages(level_scores(numbers, "xtreme-r"), "xtreme-r")
    whole = one(table, "benchmark", "xtreme-r")
    assert whole["average"] == pytest.approx(45, abs=1e-9)
    assert whole["definition"].startswith("ours: the mean over its 10 tasks")
    assert (table["definition"] == "official").sum() == len(table) - 1
    groups = table[table["level"] == "group"].set_index("name")["average"]
    order = list(BENCHMARKS["xtreme-r"].tasks)
    assert groups["multi_choice"] == 10.0 * order.index("xcopa")
    without = averages(level_scores(numbers, "xtreme-r").query("task != 'lareqa'"), "xtreme-r")
    assert pd.isna(one(without, "benchmark", "xtreme-r")["average"])
    assert one(without, "benchmark", "xtreme-r")["missing"] == "lareqa: all 11 languages"


def test_arms_and_seeds_stay_apart():
    scores = [level_scores({"bucc": {"f1": 10.0 * s}}, "xtreme", seed=s, arm=a)
              for s in (1, 2) for a in ("one", "two")]  # fmt: skip
    table = averages(pd.concat(scores))
    result = table[(table["level"] == "task") & (table["name"] == "bucc")]
    assert result["average"].tolist() == [10, 10, 20, 20]
    assert result["arm"].tolist() == ["one", "two"] * 2


@pytest.mark.parametrize(
    ("scores", "options", "message"),
    [
        (rows("bucc", "f1", {"de": 1.0}), {"name": "xtrem"}, "Allowed: xtreme, xtreme-r"),
        (rows("nli", "accuracy", {"en": 1.0}), {}, "no score of a task of xtreme"),
        (pd.concat([rows("bucc", "f1", {"de": 1.0})] * 2), {}, "non-unique"),
        (pd.concat([rows("bucc", "f1", {"de": 1.0}, seed=s) for s in (0, 1)]), {"by": ["arm"]},
         "non-unique"),
    ],
)  # fmt: skip
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
    for b, languages in ((benchmark("xtreme"), 40), (benchmark("xtreme-r"), 50)):
        assert len({code for codes in b.tasks.values() for code in codes}) == languages
        assert {task for tasks in b.groups.values() for task in tasks} <= set(b.tasks)
        assert set(b.tasks) <= set(METRICS)
        # The table has every language of every task, whether or not its data is to be had.
        for task in b.tasks:
            assert set(b.tasks[task]) <= set(TASKS[task].test.languages)
            assert TASKS[task].metric in METRICS[task]
