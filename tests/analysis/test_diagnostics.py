"""Diagnostics of small tables worked out by hand, and of effects planted in generated ones."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

import xltkit as xlt
from xltkit.analysis.errors import buckets, error_overlap, wilson
from xltkit.data import loading as data


class Table:
    """Results without a study behind them: predictions, and what a study says of its task."""

    def __init__(self, task, predictions, arm="a"):
        table = pd.DataFrame(
            predictions, columns=["seed", "language", "example_id", "gold", "pred", "score"]
        )
        self.predictions = table.assign(arm=arm, task=task)
        self.scores = pd.DataFrame({"task": [task], "split": ["test"], "examples": [0]})
        self.study = type("Study", (), {"source": "en", "arms": {arm: None}})


def labelled(golds, preds_by_language, seed=0):
    return [
        (seed, code, str(i), gold, pred, float(gold == pred))
        for code, preds in preds_by_language.items()
        for i, (gold, pred) in enumerate(zip(golds, preds, strict=True))
    ]


E, N, C = "entailment", "neutral", "contradiction"


def test_overlap_of_six_items_by_hand():
    golds = [E, E, N, N, C, C]
    en = [E, E, N, N, E, E]  # right in the first four
    de = [E, E, N, C, C, E]  # right in 0, 1, 2 and 4; says the same in 0, 1, 2 and 5
    row = error_overlap(Table("nli", labelled(golds, {"en": en, "de": de}))).iloc[0]
    assert row["kept"] == 75 and row["gained"] == 50
    assert row["agreement"] == pytest.approx(400 / 6)
    # P(E) 4/6 and 3/6, P(N) 2/6 and 1/6, P(C) 0 and 2/6
    expected = (12 + 2) / 36
    assert row["expected"] == pytest.approx(100 * expected)
    assert row["kappa"] == pytest.approx((4 / 6 - expected) / (1 - expected))
    assert (row["n"], row["n_source_right"], row["seeds"]) == (6, 4, 1)
    assert row["language"] == "de"
    assert row[["right", "right_in_source"]].tolist() == pytest.approx([400 / 6, 400 / 6])


def test_seeds_are_paired_with_themselves_and_averaged():
    golds = [E, N]
    first = labelled(golds, {"en": [E, N], "de": [E, N]})
    second = labelled(golds, {"en": [E, E], "de": [N, N]}, seed=1)
    table = Table("nli", first + second)
    rows = error_overlap(table, per_seed=True).set_index("seed")
    assert rows["kept"].to_dict() == {0: 100.0, 1: 0.0}
    assert np.isnan(rows.loc[0, "gained"]) and rows.loc[1, "gained"] == 100
    mean = error_overlap(table).iloc[0]
    assert mean["kept"] == 50 and mean["gained"] == 100 and mean["seeds"] == 2


def test_predictions_dealt_out_at_random_agree_by_chance_alone():
    random = np.random.default_rng(0)
    golds = random.choice([E, N, C], 3000, p=[0.6, 0.3, 0.1]).tolist()
    en = [g if random.random() < 0.8 else E for g in golds]
    shuffled = random.permutation(en).tolist()
    found = error_overlap(Table("nli", labelled(golds, {"en": en, "de": shuffled, "fr": en})))
    rows = found.set_index("language")
    assert abs(rows.loc["de", "kappa"]) < 0.05
    assert rows.loc["de", "agreement"] == pytest.approx(rows.loc["de", "expected"], abs=3)
    assert rows.loc["fr", "kappa"] == 1 and rows.loc["fr", "agreement"] == 100
    assert rows.loc["fr", ["kept", "gained"]].tolist() == [100, 0]


def test_spans_have_no_agreement_and_count_from_a_score_on():
    rows = [
        (0, "en", "x", '["a b"]', "a b", 1.0),
        (0, "en", "y", '["c d"]', "c", 0.67),
        (0, "de", "x", '["e f"]', "e", 0.67),
        (0, "de", "y", '["g h"]', "g h", 1.0),
    ]
    strict, mild = (error_overlap(Table("qa", rows), right=r).iloc[0] for r in (1.0, 0.5))
    assert (strict["kept"], strict["gained"]) == (0, 100)
    assert mild["kept"] == 100 and np.isnan(mild["gained"])
    assert strict[["agreement", "expected", "kappa"]].isna().all()


@pytest.mark.parametrize(
    "ids, message",
    [
        ({"en": "01", "de": "0x"}, "nli is not parallel: 1 of its 2 items in 'de'.*'x'"),
        ({"de": "01", "fr": "01"}, "needs the source language 'en'"),
        ({"en": "01"}, "and another"),
    ],
)
def test_what_is_not_parallel_is_refused(ids, message):
    rows = [(0, code, key, E, E, 1.0) for code, keys in ids.items() for key in keys]
    with pytest.raises(ValueError, match=message):
        error_overlap(Table("nli", rows), ["nli"])
    with (
        pytest.warns(UserWarning, match="Left out: nli"),
        pytest.raises(ValueError, match=r"None of \['nli'\] is parallel"),
    ):
        error_overlap(Table("nli", rows))


def test_unknown_names_are_refused():
    table = Table("nli", labelled([E, N], {"en": [E, N], "de": [E, N]}))
    with pytest.raises(ValueError, match=r"\['nlu'\].*\['nli'\]"):
        error_overlap(table, ["nlu"])
    with pytest.raises(ValueError, match="'nli'; expected a list"):
        error_overlap(table, "nli")
    with pytest.raises(ValueError, match="sorted by characters, words, label, over language"):
        buckets(table, "nli", "answer")
    with pytest.raises(ValueError, match="over is 'continent'"):
        buckets(table, "nli", "label", over="continent")
    with pytest.raises(ValueError, match="source language only"):
        buckets(Table("nli", labelled([E], {"en": [E]})), "nli", "label", over="family")
    with pytest.raises(ValueError, match="bins is 0"):
        buckets(Table("qa", [(0, "en", "x", '["a"]', "a", 1.0)]), "qa", "answer", bins=0)


def test_wilson_at_the_ends_and_in_the_middle():
    # 1.96^2 = 3.8415. 10 of 10: 10 / 13.8415. 5 of 10: 0.5 -+ 1.96 sqrt(0.25 / 13.8415)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_labels_are_buckets_by_themselves():
    golds = [E, E, N, C]
    table = Table("nli", labelled(golds, {"de": [E, N, N, N], "fr": [E, E, N, C]}))
    rows = buckets(table, "nli", "label").set_index(["language", "bucket"])
    assert rows.loc[("de", E), "value"] == 50 and rows.loc[("de", C), "value"] == 0
    assert rows.loc[("fr", C), "value"] == 100 and rows["small"].all()
    assert rows.loc[("de", E), "n"] == 2 and rows["metric"].eq("score").all()
    # de and fr are one family; item 0 in both counts once, and so does item 1
    family = buckets(table, "nli", "label", over="family", least=2).set_index("bucket")
    assert family.loc[E, "n"] == 2 and family.loc[E, "value"] == 75
    assert not family.loc[E, "small"] and family.loc[C, "small"]


def test_a_planted_effect_is_found_in_the_bucket_it_was_planted_in(monkeypatch):
    """Long inputs fail in German and nowhere else."""
    items = [(f"{i}", "x" * (10 + i), "y" * 10) for i in range(200)]
    rows = Dataset.from_dict(
        {
            "id": [key for key, _, _ in items],
            "text_a": [a for _, a, _ in items],
            "text_b": [b for _, _, b in items],
            "label": [0] * len(items),
        }
    )
    monkeypatch.setattr(data, "load", lambda task, split, code, examples: rows)
    right = {"en": [1.0] * 200, "de": [float(i < 150) for i in range(200)]}
    table = Table(
        "nli",
        [
            (seed, code, str(i), E, E, score)
            for seed in (0, 1)
            for code, scores in right.items()
            for i, score in enumerate(scores)
        ],
    )
    found = buckets(table, "nli", "characters").set_index(["language", "bucket"])
    assert found.loc["de", "value"].tolist() == [100, 100, 100, 0]
    assert found.loc["en", "value"].eq(100).all()
    # lengths are 20 to 219; the quantiles 69.75, 119.5 and 169.25 are rounded up
    assert found.loc["en"].index.tolist() == ["< 70", "70 to 119", "120 to 169", ">= 170"]
    assert found["n"].eq(50).all() and found.loc[("de", ">= 170"), "high"] < 10
    two = buckets(table, "nli", "characters", bins=[170]).set_index(["language", "bucket"])
    assert two.loc["de", "value"].tolist() == [100, 0] and two.loc["de", "n"].tolist() == [150, 50]
    words = buckets(table, "nli", "words")
    assert set(words["bucket"]) == {"all"}  # two words in every item: one bucket


def test_lengths_count_characters_of_the_whole_input(monkeypatch):
    rows = Dataset.from_dict(
        {"id": ["q"], "question": ["who ?"], "context": ["Anna a mangé"], "answers": [["Anna"]]}
    )
    monkeypatch.setattr(data, "load", lambda task, split, code, examples: rows)
    table = Table("qa", [(0, "en", "q", json.dumps(["Anna", "she"]), "Anna", 1.0)])
    found = {by: buckets(table, "qa", by, bins=[4, 5, 17, 18]) for by in ("characters", "words")}
    assert found["characters"]["bucket"].tolist() == ["17"]  # 5 + 12
    assert found["words"]["bucket"].tolist() == ["5 to 16"]  # 2 + 3
    answer = buckets(table, "qa", "answer", bins=[4, 5])
    assert answer["bucket"].tolist() == ["4"] and answer["value"].tolist() == [100]
    with pytest.raises(ValueError, match=r"1 predictions of qa .*\('en', 'other'\)"):
        table.predictions["example_id"] = "other"
        buckets(table, "qa", "words")


def test_chunks_are_counted_by_length_and_type():
    gold = "B-PER I-PER O B-LOC O B-PER"
    pred = "B-PER I-PER O B-PER O B-PER"
    table = Table("ner", [(0, "de", "de-0", gold, pred, 5 / 6)])
    by_length = buckets(table, "ner", "chunk length", bins=[2]).set_index(["metric", "bucket"])
    # gold: lengths 2 (found), 1 (LOC, missed), 1 (found); predicted: 2 (right), 1 (wrong), 1
    assert by_length["value"].to_dict() == {
        ("recall", "< 2"): 50, ("recall", ">= 2"): 100,
        ("precision", "< 2"): 50, ("precision", ">= 2"): 100,
    }  # fmt: skip
    by_type = buckets(table, "ner", "chunk type").set_index(["metric", "bucket"])
    assert by_type.loc[("recall", "LOC"), "value"] == 0
    assert ("precision", "LOC") not in by_type.index  # nothing was predicted to be one
    assert by_type.loc[("precision", "PER"), "value"] == pytest.approx(200 / 3)
    assert by_type.loc[("precision", "PER"), "n"] == 3
    parts = Table("pos", [(0, "de", "de-0", "NOUN NOUN VERB", "NOUN VERB VERB", 2 / 3)])
    found = buckets(parts, "pos", "chunk type")
    assert found["metric"].eq("recall").all() and found["value"].eq(0).all()


def test_a_study_can_be_looked_into(tiny, store):
    from xltkit.studies.recipe import Recipe

    arms = {"none": Recipe(tiny)}
    found = xlt.study(
        arms, ["nli", "ner", "qa"], [0], steps=4, examples=30, languages=["en", "qad", "qto"]
    ).run(store)
    overlap = error_overlap(found)
    assert len(overlap) == 3 * 2 and overlap["n"].eq(30).all()
    for task, by in [("nli", "characters"), ("ner", "words"), ("qa", "characters")]:
        table = buckets(found, task, by, bins=3, over="family")
        assert table["value"].between(0, 100).all() and table["small"].any()
        assert set(table["family"]) == {"Alvic", "Tosic"}  # and not that of the source language
        whole = buckets(found, task, by, bins=1).set_index("language")["value"]
        mine = found.predictions.query("task == @task")
        by_hand = 100 * mine.groupby("language")["score"].mean()
        assert whole.to_dict() == pytest.approx(by_hand.to_dict())
    for by in ("family", "script", "resource"):
        groups = xlt.summary(found, by=["task", by])
        assert groups["transfer"].between(0, 100).any() and by in groups.columns
