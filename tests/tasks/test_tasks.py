"""The table of tasks: every row is complete and consistent, and agrees with the mirror."""

import os
import re
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from datasets import Dataset

from xltkit.data import languages, readers
from xltkit.data.loading import CONVERTED, MissingData
from xltkit.studies import stages
from xltkit.studies.make import test_rows as scored_rows
from xltkit.tasks import SPLITS, SUITES, TASKS, TYPES, TrainingSet, check, get, load, register
from xltkit.tasks.base import Task
from xltkit.tasks.rows import training_rows
from xltkit.training.phases import Evaluate, Intermediate

REAL = [task for task in TASKS.values() if task.note and task.license]
OF_REAL = pytest.mark.parametrize("task", REAL, ids=lambda task: task.name)
MIRROR = os.environ.get("XLTKIT_HUB", "")
METRICS = {"classification": "accuracy", "choice": "accuracy", "tagging": "f1 accuracy"}
METRICS |= {"span": "f1", "retrieval": "accuracy", "mining": "f1", "ranking": "map@20 mrr@20"}
METRICS |= {"captions": "r@1", "text": "", "sentence": "accuracy"}
CHOICES = {"copa": 2, "balanced-copa": 2, "xcopa": 2, "siqa": 3, "cosmosqa": 4, "hellaswag": 4}
CHOICES |= {"csqa": 5, "belebele": 4}
SHARED = {  # training set and test set that have pictures in common
    ("flickr30k", "multi30k"),
    ("flickr30k", "flickr8k"),
    ("flickr8k", "multi30k"),
    ("multi30k", "flickr8k"),
}


def parts(task):
    return [part for split in SPLITS for part in getattr(getattr(task, split), "parts", ())]


def test_every_row_that_is_not_generated_is_looked_at_here():
    generated = {n for n, t in TASKS.items() if parts(t)[0].hub == "microworld"}
    assert {task.name for task in REAL} == set(TASKS) - generated
    assert all(name == task.name for name, task in TASKS.items())


@OF_REAL
def test_a_row_is_complete_and_consistent(task):
    assert (task.type.columns and task.metric in METRICS[task.kind].split()) or task.kind == "text"
    for text in (task.license, task.citation, task.note):
        assert text and text == text.strip()
    assert re.search(r"(19|20)\d\d", task.citation)
    trained = get(task.train_on or task.name)
    if task.type.is_attackable:  # the types with a head of their own
        assert trained.train is not None
        assert (trained.kind, trained.labels) == (task.kind, task.labels)
    if task.kind in ("classification", "sentence", "choice"):
        assert task.chance == pytest.approx(100 / (len(task.labels) or CHOICES[task.name]))
    if task.kind == "tagging":
        assert len(set(task.labels)) == len(task.labels) > 0 or task.name == "ccg"


@OF_REAL
def test_the_sources_of_a_row_are_complete_and_consistent(task):
    assert parts(task)
    for part in parts(task):
        assert part.columns and part.hub.count("/") >= 1, part.hub
        assert all(languages.language(code).code == code for code in part.configs)
        if part.hub.startswith(("local/", "raw/")):
            assert part.url or part.unpinned, part.hub
            continue
        assert bool(part.revision) != bool(part.unpinned), part.hub
        assert not part.revision or re.fullmatch(rf"[0-9a-f]{{40}}|{CONVERTED}", part.revision)
    for source in filter(None, (getattr(task, split) for split in SPLITS)):
        assert len(set(source.languages)) == len(source.languages)
        assert all(source.of(code) in source.parts for code in source.languages)
        assert "xx" not in source


def test_suites_name_tasks_and_their_pictures_have_captions_in_many_languages():
    for suite in SUITES.values():
        assert all(name in TASKS for names in suite.targets.values() for name in names)
        assert all(p.task in TASKS for pair in suite.order_pairs.values() for p in pair)
        trained, tested = get(suite.images.captions), get(suite.images.test_captions)
        assert trained.kind == tested.kind == "captions"
        assert "en" in trained.train and len(tested.test.languages) > 10


def test_numbers_of_languages_are_those_of_the_benchmark():
    counts = {"xnli": 15, "paws-x": 7, "xquad": 12, "mlqa": 7, "tydiqa": 9, "xcopa": 11}
    counts |= {"udpos": 38, "tatoeba": 41, "panx": 48}
    assert {name: len(get(name).test.languages) for name in counts} == counts
    assert len({code for task in counts for code in get(task).test.languages}) == 50
    assert [len(get(name).train.languages) for name in ("xnli", "tydiqa")] == [15, 9]


def test_one_split_may_lie_in_several_repositories():
    source = get("tatoeba").test
    german, lithuanian = map(source.of, ("de", "lt"))
    assert german.hub == "google/xtreme" and lithuanian.hub == "mteb/tatoeba-bitext-mining"
    assert source.location("de")[:3] == (german, "tatoeba.deu", "validation")
    assert source.location("lt")[:3] == (lithuanian, "lit-eng", "test")
    assert german.read is not lithuanian.read
    assert "lt" in source and "gu" not in source
    with pytest.raises(MissingData, match=r"is read in af, ar.*, ro, uk only"):
        load(get("tatoeba"), "test", "gu")


def test_all_pairs_of_mlqa_can_be_reached():
    tasks = [name for name in TASKS if name.startswith("mlqa-q-")]
    configs = [get(name).test.configs[code] for name in tasks for code in get(name).test.configs]
    assert len(set(configs)) == 49
    assert get("mlqa-q-en").test.configs["de"] == "MLQA.de.en"  # context, then question


FACTS = """\
kind tagging; metric f1; google/xtreme; universal_dependencies; lt=lt_alksnis;
refs/convert/parquet; no commit of it was found; license CC BY-SA; Nivre et al. 2018;
split validation; from one treebank each; epochs=10"""


def test_the_table_as_text():
    short = check.describe()
    assert all(re.search(rf"^{re.escape(name)} ", short, re.M) for name in TASKS)
    whole = " ".join(check.describe(["udpos"]).split())
    assert [fact for fact in re.split(r";\s", FACTS) if fact not in whole] == []


def test_the_readme_shows_a_task_of_your_own(monkeypatch):
    text = Path(__file__).parents[2].joinpath("docs/tasks.md").read_text()
    code = text.partition("## A task of your own")[2].partition("```python")[2].partition("```")[0]
    monkeypatch.setitem(TASKS, "my-nli", None)  # taken out again afterwards
    exec(code, {})
    mine = get("my-nli")
    assert mine.labels == get(mine.train_on).labels
    given = {"uid": ["a", "b"], "first": ["x", "y"], "second": ["z", "w"], "label": [0, 2]}
    rows = mine.test.read(Dataset.from_dict(given), "sw")
    assert rows.column_names == list(TYPES["classification"].columns)
    assert rows["text_b"][:] == ["z", "w"]
    with pytest.raises(ValueError, match="has the columns"):
        readers.canonical("retrieval", ["a"], text=["x"])
    with pytest.raises(ValueError, match="no task type 'spans'"):
        register(Task("mine", "spans", "f1", 0.0))


@pytest.mark.real
@pytest.mark.skipif(not MIRROR, reason="XLTKIT_HUB is not set: no mirror of the Hub to read")
@OF_REAL
def test_what_the_mirror_holds_agrees_with_the_row(task):
    seen = Counter()
    for split in SPLITS:
        source = getattr(task, split)
        for code in source.languages if source else ():
            if not source.location(code).files:
                continue
            try:
                rows = load(task, split, code)  # refuses absent columns and equal ids
            except MissingData:
                assert source.is_shared(code)  # a file for all languages lacks some
                continue
            seen[split] += 1
            assert rows.column_names == list(task.type.split_columns(split))
    # What shares a file with others must be there in some language at least.
    assert seen or not any(p.location(c).files for p in parts(task) for c in p.configs)


def check_unseen(trained, tested, split="validation", code="en"):
    source = getattr(get(tested), split)
    stage = SimpleNamespace(phase=Intermediate([trained]))
    stages._check_unseen(Evaluate(tested, (code,), split), source, [stage])


def test_what_is_trained_on_is_not_tested_on(monkeypatch):
    """The same rows under another task's name, and rows that another data set contains."""
    own = replace(get("snli"), name="own", test=get("snli").train, train_on="mnli")
    monkeypatch.setitem(TASKS, "own", own)
    with pytest.raises(ValueError, match=r"own is tested on rows that anli\+ trains on .stanford"):
        check_unseen("anli+", "own", "test")
    check_unseen("mnli", "own", "test")
    pairs = {"copa": "balanced-copa", "xcopa": "balanced-copa", "wikineural": "wikineural-small"}
    for tested, trained in pairs.items():
        with pytest.raises(ValueError, match=f"{tested} is tested on rows that {trained} trains"):
            check_unseen(trained, tested)
    check_unseen("balanced-copa", "xcopa", "test", "et")
    with pytest.raises(ValueError, match="bucc chooses its threshold on the validation split"):
        stages.evaluation_stage("micro", 0, None, Evaluate("bucc", ("de",), "validation"))


@pytest.mark.parametrize("trained", ["emoji", "flickr8k", "flickr30k", "multi30k"])
@pytest.mark.parametrize("tested", ["emoji", "flickr8k", "multi30k", "xm3600"])
def test_pictures_that_were_trained_on_are_not_scored(trained, tested):
    refusal = pytest.raises(ValueError, match=f"{tested} is tested on rows that {trained} trains")
    with refusal if (trained, tested) in SHARED else nullcontext():
        check_unseen(trained, tested, "test")


def test_missing_candidates_stop_a_study_before_it_trains(monkeypatch, tmp_path):
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    phase = Evaluate("mewsli-x", (), "validation")
    with pytest.raises(MissingData, match="No candidates rows of mewsli-x"):
        stages.evaluation_stage("micro", 0, None, phase)


def test_a_file_that_is_edited_in_a_session_is_read_again(monkeypatch, tmp_path):
    file = tmp_path / "local/ccg/train.conll"
    file.parent.mkdir(parents=True)
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    phase = Evaluate("ccg", ("en",), "train")
    for count, more in ((1, ""), (2, "c\tN\n\n")):
        file.write_text("a\tN\nb\tN/N\n\n" + more)
        assert len(training_rows(TrainingSet("ccg"))) == count
        assert len(scored_rows(get("ccg"), phase, "en")) == count
