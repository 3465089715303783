"""Claims beside results: saved runs read back, differences by hand, verdicts that can be wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from analysis.fakes import Given

from xltkit.analysis import claims
from xltkit.analysis.claims import VERDICTS, claims_table, gain, permute_arms, verdict
from xltkit.analysis.compare import compare, summary
from xltkit.analysis.intervals import difference
from xltkit.batch.parameters import Run
from xltkit.batch.runs import read_runs
from xltkit.studies import saved as published
from xltkit.studies.saved import Saved

CODES = ("en", "qad", "qbe")
VALUES = {
    ("none", "nli"): (90, 50, 60),
    ("none", "retrieval"): (90, 40, 40),
    ("nli", "nli"): (99, 53, 61),
    ("nli", "retrieval"): (99, 50, 50),
}


def saved(values: dict, noise: float = 0.0, seeds: int = 3, **tables: pd.DataFrame) -> Saved:
    """A run with scores of an arm and task in all languages, to which a seed adds its number."""
    random = np.random.default_rng(0)
    by_column = {
        (*run, code): value + np.arange(seeds) + noise * random.normal(size=seeds)
        for run, by_language in values.items()
        for code, value in zip(CODES, by_language, strict=True)
    }
    tables["scores"] = Given(by_column).scores
    return Saved("run", {"parameters": {"suite": "microworld"}}, tables)


def test_a_gain_is_a_mean_of_transfer_languages_then_of_tasks():
    run = saved(VALUES)
    # nli: (3 + 1) / 2 = 2; retrieval: 10; English plays no part
    assert gain(run, ("mnli", "nli"), ("none",))["difference"] == pytest.approx(6)
    assert gain(run, ("nli",), ("none",), tasks=("xnli", "nli"))["difference"] == pytest.approx(2)
    assert gain(run, ("squad",), ("none",)) == {}
    assert gain(run, ("nli",), ("none",), tasks=("xnli",)) == {}
    above = gain(run, ("nli",), ("none",), kind="retrieval")
    assert above["difference"] == pytest.approx(8) and above["arms"] == "nli - none"


def test_a_saved_run_is_compared_over_seeds_and_says_what_it_lacks():
    run = saved(VALUES)
    transfer = compare(run, "none", by=[]).query("languages == 'transfer'").iloc[0]
    assert transfer["difference"] == pytest.approx(6) and np.isnan(transfer["degenerate"])
    assert summary(run)["transfer"].tolist() == pytest.approx([56, 41, 58, 51])
    with pytest.raises(AttributeError, match="A saved run has no"):
        compare(run, "none", method="both")


def test_what_a_notebook_worked_out_is_read_from_its_table():
    measured = pd.DataFrame([difference([1, 3]), difference([2, 4])])
    run = saved(VALUES, selection=measured.assign(arm=["a", "b"]))
    row = claims.table_row(run, "selection", {"arm": ["b"]}, arms="b - none")
    assert row == {"arms": "b - none"} | difference([2, 4])
    assert claims.table_row(run, "selection", {"arm": ["c"]}, arms="") == {}
    assert claims.table_row(run, "other", {"arm": ["b"]}, arms="") == {}


@pytest.mark.parametrize(
    "low, high, gain, none",
    [(0.1, 3, 0, 1), (-3, -0.1, 1, 0), (-1, 1, 2, 2), (-3, 0.9, 1, 0), (np.nan, np.nan, 2, 2)],
)
def test_a_verdict_reads_the_interval(low, high, gain, none):
    assert verdict(low, high) == VERDICTS[gain]
    assert verdict(low, high, is_null=True) == VERDICTS[none]


def test_a_claim_has_a_row_for_every_run_and_one_if_there_is_none(monkeypatch):
    claim = {"by": "someone", "confirmed": "no", "measure": "gain"}
    claim["options"] = {"arm": ["nli"], "over": ["none"]}
    helps = {"claim": "it helps", "figure": 5.0, "notebook": "run"}
    not_measured = {"claim": "it does not", "is_null": True, "notebook": "another"}
    monkeypatch.setattr(claims, "CLAIMS", [claim | helps, claim | not_measured])
    table = claims_table({"run": saved(VALUES, 0.1), "run-2": saved(VALUES, 0.2)})
    assert list(table["run"].fillna("")) == ["run", "run-2", ""]
    assert list(table["verdict"]) == ["agrees", "agrees", "not measured"]
    assert (table["p_holm"].iloc[:2] >= table["p"].iloc[:2]).all()
    assert claims.verdict_shares({"t": table}).loc["t"].tolist() == [100, 0, 0]


def test_permuted_arms_are_told_apart_one_time_in_twenty():
    names = [(arm, task) for arm in "abcd" for task in ("nli", "pos", "qa", "ner")]
    # d is better by far: with the names permuted nothing of that may be left
    run = saved({n: (90 + 20 * (n[0] == "d"),) * 3 for n in names}, 1.0, seeds=5)

    def differs(run):
        measured = gain(run, "d", "a")
        return measured["low"] > 0 or measured["high"] < 0

    assert differs(run)
    wrong = np.mean([differs(permute_arms(run, seed)) for seed in range(200)])
    assert 0.01 <= wrong <= 0.1, wrong
    assert sorted(permute_arms(run, 1).main["value"]) == sorted(run.main["value"])


def test_what_is_published_gives_the_same_comparisons(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "root", lambda: tmp_path)
    outputs = tmp_path / "outputs"
    large = pd.DataFrame({"x": range(published.LARGEST + 1)})
    tables = saved(VALUES, 1.0, extra=large).tables
    given = {"smoke": False, "synonyms": str(tmp_path / "table.tsv"), "seeds": [0]}
    Run(given, outputs / "run").finish(tables, "On microworld.")
    (folder,) = published.publish(["run"])
    assert sorted(p.name for p in folder.iterdir()) == ["result.json", "scores.csv"]
    kept, original = published.read(folder), published.read_all(outputs)["run"]
    assert kept.record["answer"] == original.record["answer"]
    assert kept.record["parameters"] == {"smoke": False, "synonyms": "table.tsv", "seeds": [0]}
    one, other = (gain(run, ("nli",), ("none",)) for run in (kept, original))
    assert one.pop("arms") == other.pop("arms")
    assert one == pytest.approx(other, abs=10**-published.DECIMALS)
    text = (folder / "result.json").read_text()
    assert published.publish() and (folder / "result.json").read_text() == text
    with pytest.raises(ValueError, match="holds no finished run"):
        published.read_all(outputs / "run")
    with pytest.raises(ValueError, match=r"no result.*xltkit run missing"):
        published.publish(["missing"])


def test_the_claims_are_rebuilt_from_what_is_published():
    """An arm that was given another name would silently be no longer measured."""
    runs = published.read_all()
    notebooks = tuple(entry.notebook for entry in read_runs().values())
    assert all(name.startswith(notebooks) for name in runs)
    assert {claim["notebook"] for claim in claims.CLAIMS} <= set(notebooks)
    table = claims_table(runs)
    assert set(table["claim"]) == {claim["claim"] for claim in claims.CLAIMS}
    measured = table[table["verdict"] != "not measured"]
    assert len(measured) >= 12 and measured["difference"].between(-100, 100).all()
    folder = Path(__file__).parents[2] / "outputs" / "published"
    kept = published.read(folder / "90_claims").tables["claims"]
    columns = ["claim", "run", "arms", "verdict"]
    assert table[columns].fillna("").values.tolist() == kept[columns].fillna("").values.tolist()
