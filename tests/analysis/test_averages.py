"""Benchmark averages: published rows, hand-computed cases, what is missing, what is refused."""

import pandas as pd
import pytest

from xltkit.analysis.averages import averages
from xltkit.tasks import SUITES, TASKS

# XLM-R Large on XTREME, as printed by the authors of later models; its average is 68.25. Then the
# number of languages of each task.
XLM_R_LARGE = {
    "xnli": ({"accuracy": 79.2}, 15),
    "paws-x": ({"accuracy": 86.4}, 7),
    "udpos": ({"f1": 73.8}, 33),
    "panx": ({"f1": 65.4}, 40),
    "xquad": ({"f1": 76.6, "em": 60.8}, 11),
    "mlqa": ({"f1": 71.6, "em": 53.2}, 7),
    "tydiqa": ({"f1": 65.1, "em": 45.0}, 9),
    "bucc": ({"f1": 66.0}, 4),
    "tatoeba": ({"accuracy": 57.3}, 36),
}
# Rows of PAWS-X and XQuAD by language, and the gap between English and the others.
PAWS_X_MBERT = dict(en=94.0, de=85.7, es=87.4, fr=87.0, ja=73.0, ko=69.6, zh=77.0)
XQUAD = "en ar de el es hi ru th tr vi zh ro".split()
F1_MBERT = (83.5, 61.5, 70.6, 62.6, 75.5, 59.2, 71.3, 42.7, 55.4, 69.5, 58, 72.7)
EM_MBERT = (72.2, 45.1, 54, 44.9, 56.9, 46, 53.3, 33.5, 40.1, 49.6, 48.3, 59.9)
F1, EM = (dict(zip(XQUAD, values, strict=True)) for values in (F1_MBERT, EM_MBERT))


def rows(task, metric, by_language, **columns):
    table = pd.DataFrame({"language": list(by_language), "value": list(by_language.values())})
    return table.assign(**{"task": task, "metric": metric, "arm": "a", "seed": 0} | columns)


def level_scores(numbers, name, **columns):
    """Every language of a task has the task's number."""
    tables = [
        rows(task, metric, dict.fromkeys(SUITES[name].tasks[task], value), **columns)
        for task, metrics in numbers.items()
        for metric, value in metrics.items()
    ]
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def scores():
    return level_scores({task: numbers for task, (numbers, _) in XLM_R_LARGE.items()}, "xtreme")


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
        ("metric", "xquad", "em", EM, 25.03),
        ("metric", "xquad", "f1", F1, 20.87),
    ],
)
def test_published_gaps(level, task, metric, by_language, gap):
    result = one(averages(rows(task, metric, by_language)), level, task, metric)
    assert result["gap"] == pytest.approx(gap, abs=0.005)
    assert result["english"] == by_language["en"]


def test_a_question_task_is_the_mean_of_its_two_metrics_over_its_own_languages():
    scores = pd.concat([rows("xquad", "f1", F1), rows("xquad", "em", EM)])
    result = one(averages(scores), "task", "xquad")  # XTREME has no Romanian
    assert result["average"] == pytest.approx((709.8 / 11 + 543.9 / 11) / 2, abs=1e-9)
    assert result["gap"] == pytest.approx((25.03 + 20.87) / 2, abs=1e-9)
    result = one(averages(scores, "xtreme-r"), "task", "xquad")
    assert result["average"] == pytest.approx((782.5 / 12 + 603.8 / 12) / 2, abs=1e-9)


def test_what_is_missing_is_named_and_nothing_is_averaged_over_the_rest(scores):
    gone = (scores["task"] == "udpos") & scores["language"].isin(["sw", "ur", "yo"])
    gone |= (scores["task"] == "panx") | ((scores["task"] == "xnli") & (scores["language"] == "en"))
    scores = scores[~gone].copy()  # a score that is no number is missing as well
    scores.loc[scores.eval("task == 'mlqa' and language == 'vi' and metric == 'em'"), "value"] = (
        None
    )
    table = averages(scores)
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
    tasks = list(SUITES["xtreme-r"].tasks)
    metrics = SUITES["xtreme-r"].metrics
    numbers = {task: dict.fromkeys(metrics[task], 10.0 * i) for i, task in enumerate(tasks)}
    table = averages(level_scores(numbers, "xtreme-r"), "xtreme-r")
    whole = one(table, "benchmark", "xtreme-r")
    assert whole["average"] == pytest.approx(45, abs=1e-9)
    assert whole["definition"].startswith("ours: the mean over its 10 tasks")
    assert (table["definition"] == "official").sum() == len(table) - 1
    assert one(table, "group", "multi_choice")["average"] == 10.0 * tasks.index("xcopa")


def test_seeds_stay_apart_and_departures_are_named():
    scores = []
    for seed, split in ((1, "test"), (2, "validation")):
        scores.append(level_scores({"bucc": {"f1": 10.0 * seed}}, "xtreme", seed=seed, split=split))
    table = averages(pd.concat(scores)).query("level == 'task' and name == 'bucc'")
    assert table["average"].tolist() == [10, 20] and table["seed"].tolist() == [1, 2]
    definitions = ["official", "not the benchmark's: not of the test split"]
    assert table["definition"].tolist() == definitions


@pytest.mark.parametrize(
    ("times", "task", "name", "message"),
    [
        (1, "bucc", "xtrem", "Allowed: xtreme, xtreme-r"),
        (1, "nli", "xtreme", "no score of a task of xtreme"),
        (2, "bucc", "xtreme", "non-unique"),
    ],
)
def test_bad_input_is_named(times, task, name, message):
    with pytest.raises(ValueError, match=message):
        averages(pd.concat([rows(task, "f1", {"de": 1.0})] * times), name)


def test_the_benchmarks_are_the_official_ones():
    xtreme = [count for _, count in XLM_R_LARGE.values()]
    xtreme_r = [15, 11, 38, 48, 12, 7, 9, 41, 11, 11]
    for name, counts, languages in (("xtreme", xtreme, 40), ("xtreme-r", xtreme_r, 50)):
        tasks = SUITES[name].tasks
        assert [len(codes) for codes in tasks.values()] == counts
        assert len({code for codes in tasks.values() for code in codes}) == languages
        for task in tasks:  # the table has every language, whether or not its data is available
            assert set(tasks[task]) <= set(TASKS[task].test.languages)
            assert TASKS[task].metric in SUITES[name].metrics[task]
