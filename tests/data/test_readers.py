"""Readers of pairs, spans, choices and tags, and the sources that join or parse their files."""

import warnings

import pytest
from datasets import Dataset
from tables import cases, pairs, table

from xltkit.data import readers
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import TYPES, get, load
from xltkit.tasks.base import Task

CASES = cases("readers")
COPA = CASES["copa"]["rows"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_rows_become_canonical(case):
    read = getattr(readers, case["reader"])
    rows = table(case["rows"], case.get("classes", {}))
    if "error" in case:
        with pytest.raises(ValueError, match=case["error"]):
            read(rows, "en")
        return
    rows = read(rows, case.get("language", "en"))
    assert {column: rows[column][:] for column in case["expected"]} == case["expected"]
    assert rows.column_names in [list(kind.columns) for kind in TYPES.values()]


@pytest.mark.parametrize(
    ("context", "answer", "start", "expected"),
    [
        ("a cat, a dog", "a", 7, 7),  # right as it is
        ("the cat", "cat", 6, 4),  # moved by stripped white space
        ("the cat", "cat", 2, 4),
        ("ab xx ab xx ab", "ab", 7, 6),  # the nearest of three
        ("ab xx ab xx ab", "ab", 99, 12),  # beyond the end
        ("猫が好き。猫", "猫", 4, 5),
        ("the cat", "dog", 4, -1),
    ],
)
def test_nearest_start(context, answer, start, expected):
    assert readers.nearest_start(context, answer, start) == expected


def squad(*rows, ids=None):
    """Contexts with an answer and its start, or without an answer."""
    answers = [{"text": list(answer[:1]), "answer_start": list(answer[1:])} for _, *answer in rows]
    return Dataset.from_dict(
        {
            "id": ids or [f"q{i}" for i in range(len(rows))],
            "question": ["Who?"] * len(rows),
            "context": [row[0] for row in rows],
            "answers": answers,
        }
    )


def test_spans_keep_their_ids_and_offsets_are_repaired(tokenizer):
    rows = readers.span(squad(("Anna fell.", "Anna", 2), ("Anna fell.",)), "en")
    assert rows["id"][:] == ["q0", "q1"]
    assert rows["answers"][:] == [["Anna"], []] and rows["starts"][:] == [[0], []]
    # A question without an answer is trained to the first token.
    examples = TYPES["span"].encode(rows, tokenizer, 32, training=True)
    first, second = TYPES["span"].labels(examples).tolist()
    assert 0 < first[0] <= first[1] and second == [0, 0]
    with pytest.raises(ValueError, match=r"Row 'q1' \(sw\): the answer 'cat' does not occur"):
        readers.span(squad(("the cat", "cat", 4), ("the dog", "cat", 4)), "sw")


def test_tydiqa_filters_by_language_and_never_trains_on_what_it_scores():
    ids = ["english-7", "swahili-7", "english-7", "english-8"]
    rows = squad(*[("a b", "b", 2)] * 4, ids=ids)
    assert readers.tydiqa(rows, "en")["id"][:] == ["english-7", "english-7#2", "english-8"]
    assert len(readers.tydiqa(rows, "sw")) == 1
    contexts = [(f"context {i} b", "b", 10) for i in range(300)]
    rows = squad(*contexts, ids=[f"english-{i}" for i in range(300)])
    train = readers.tydiqa_kept(rows, "en")["context"][:]
    test = readers.tydiqa_held_out(rows, "en")["context"][:]
    assert not set(train) & set(test)
    assert len(train) + len(test) == 300 and 10 < len(test) < 60


def test_xcopa_takes_the_questions_of_english_copa_or_warns_once(unset):
    swapped = table(COPA | {"question": ["effect", "effect"]})
    rows = readers.xcopa(swapped, "it", table(COPA))
    assert rows["premise"][:] == readers.copa(table(COPA), "en")["premise"][:]
    source = get("xcopa").validation
    with pytest.warns(UserWarning, match="wrong questions.*aps/super_glue"):
        rows = source.converted(swapped, "it")
    assert rows["premise"][0].endswith("effect?")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source.converted(swapped, "it")
        source.converted(swapped, "zh")  # never wrong in Chinese


def test_anli_plus_appends_the_others_and_its_fingerprint_names_all(put):
    for number, size in ((1, 2), (2, 1), (3, 3)):
        last = put(pairs([0] * size), f"facebook/anli/plain_text/train_r{number}.parquet")
    put(pairs([1, 2]), "nyu-mll/glue/mnli/train.parquet")
    snli = put(pairs([-1, 0, 1]), "stanfordnlp/snli/plain_text/train.parquet")
    source = get("anli+").train
    rows = source.rows("en")
    assert rows["label"][:] == [0] * 6 + [1, 2] + [0, 1] and len(set(rows["id"][:])) == 10
    before = source.fingerprint("en")
    assert before.count("sha256:") == 3
    put(pairs([2]), "stanfordnlp/snli/plain_text/train.parquet")
    assert source.fingerprint("en") != before
    last.unlink()
    assert not get("anli").train.location("en").files  # two rounds are not ANLI
    snli.unlink()
    origins = [part.replace("@", ":").split(":")[0] for part in source.fingerprint("en").split("+")]
    assert origins == ["hub", "sha256", "hub"]
    unknown = Source("local/other", "train", {"en": "en"}, readers.nli)
    with pytest.raises(MissingData, match="local/other"):
        Source(
            "nyu-mll/glue", "train", {"en": "mnli"}, readers.nli, appended=(unknown,)
        ).fingerprint("en")


CONLL = "The\tNP/N\r\nNew York\tN\r\n\r\n#\tN\n\u2028x\tS\\NP\n\n\n"


def test_ccg_takes_its_labels_from_your_file(put, mirror):
    task = get("ccg")
    assert task.labels == ()
    with pytest.raises(MissingData) as error:
        load(task, "train", "en")
    for part in (str(mirror / "local/ccg/train.conll"), "licensed by the LDC", "a tab and its"):
        assert part in str(error.value)
    put(CONLL, "local/ccg/train.conll")
    task = get("ccg")
    assert task.labels == ("N", "NP/N", "S\\NP") and TYPES["tagging"].head(task).size == 3
    rows = load(task, "train", "en")
    assert rows["tokens"][:] == [["The", "New York"], ["#", "\u2028x"]]
    assert rows["tags"][:] == [[1, 0], [0, 2]]
    before = task.train.fingerprint("en")
    put(CONLL.replace("NP/N", "NP"), "local/ccg/train.conll")
    assert get("ccg").labels == ("N", "NP", "S\\NP")
    assert task.train.fingerprint("en") != before
    for line in ("The NP/N", "The\tDT\tNP/N", "The\t"):
        put(f"a\tN\n{line}\n", "local/ccg/train.conll")
        with pytest.raises(ValueError, match=r"train.conll, line 2: .*is not a token, one tab"):
            get("ccg")


def test_a_file_of_upstream_is_handed_to_the_reader_as_a_path(put, mirror, monkeypatch):
    def read(path, language):
        return Dataset.from_list([{"id": "0", "text": path.read_text(), "english": language}])

    url = "https://example.org/1234abcd/xquad-r"
    source = Source("raw/demo/xquad-r", "test", {"en": "en.json"}, read, url=url)
    task = Task("demo", "retrieval", "accuracy", 0.0, test=source)
    with pytest.raises(MissingData) as error:
        load(task, "test", "en")
    command = f'curl --create-dirs -fL -o "{mirror}/raw/demo/xquad-r/en.json" {url}/en.json'
    assert command in str(error.value)
    file = put("{}", "raw/demo/xquad-r/en.json")
    assert load(task, "test", "en")["text"][:] == ["{}"]
    assert source.raw("en") == file
    assert source.fingerprint("en").startswith("sha256:")
    monkeypatch.delenv("XLTKIT_HUB")
    with pytest.raises(MissingData, match=r'Set XLTKIT_HUB.*-o "\$XLTKIT_HUB/raw/demo/xquad'):
        source.raw("en")
