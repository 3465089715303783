"""Readers of pairs, spans, choices and tags, on rows with the Hub's own columns and quirks."""

import warnings

import pytest
from datasets import ClassLabel, Dataset, List
from tables import pairs, table

from xltkit.data import readers
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import TYPES, get, load
from xltkit.tasks.base import Task

STRINGS = {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": ["contradictory", "neutral"]}
QUESTIONS = {"question1": ["a", "b"], "question2": ["c", "d"], "label": [0, 1]}
COPA = {
    "premise": ["The man fell.\r\n", "It rained."],
    "choice1": ["a", "b"],
    "choice2": ["c", "d"],
    "question": ["cause", "effect"],
    "idx": [5, 9],
    "label": [0, 1],
}
SIQA = {"context": ["She left."], "question": ["Why?"], "label": ["3"]}
COSMOS = {"id": ["k"], "context": ["It rained .\r\n"], "question": ["Why ?"], "label": [3]}
CSQA = {
    "id": ["h1", "h2"],
    "question": ["Where?", "Which?"],
    "choices": [{"label": list("ABCDE"), "text": list("vwxyz")}] * 2,
    "answerKey": ["B", ""],
}
HELLASWAG = {"ctx": ["A man. He", "x"], "endings": [list("abcd")] * 2, "label": ["3", ""]}
UD = {
    "tokens": [["zrobiłem", "zrobił", "em", "praca", "jest"]],
    "upos": [[1, 2, 3, 0, 2]],  # 1-2, 1, 2, 3, and the empty node 3.1
    "head": [["None", "0", "1", "1", "None"]],
}
SEPARATED = "\u1100 one\u001ctwo\u0085 \u2028three"
PANX = "O B-LOC I-LOC B-PER I-PER B-ORG I-ORG".split()


def tags(*names):
    return List(ClassLabel(names=list(names)))


def upos(*names):
    return [[readers.UPOS.index(name) for name in names]]


# Reader, language, rows of the Hub, and what some of the canonical columns then hold.
READ = {
    "labels by name": (
        readers.nli, "en", pairs([1, 2, 0], "CONTRADICTION entailment neutral"),
        {"id": ["0", "1", "2"], "text_a": ["0", "1", "2"], "label": [0, 1, 2]},
    ),
    "labels as strings": (readers.nli, "en", table(STRINGS), {"label": [2, 1]}),
    "no gold label": (readers.nli, "en", pairs([-1, 1]), {"label": [-1, 1]}),
    "left out": (
        readers.snli, "en", pairs([2, -1, 0]),
        {"id": ["0", "2"], "text_a": ["0", "2"], "label": [2, 0]},
    ),
    "qqp": (
        readers.qqp, "en",
        table(QUESTIONS, label=ClassLabel(names=["duplicate", "not_duplicate"])),
        {"text_b": ["c", "d"], "label": [1, 0]},
    ),
    "line ends": (
        readers.tatoeba, "sw",
        table({"source_sentence": ["a\n", f"{SEPARATED}\r\n"], "target_sentence": ["A", "B"]}),
        {"id": ["sw-0", "sw-1"], "text": ["a", SEPARATED], "english": ["A", "B"]},
    ),
    "tatoeba of xtreme-r": (
        readers.tatoeba_r, "lt", table({"sentence1": ["Labas!\n"], "sentence2": ["Hello!"]}),
        {"id": ["lt-0"], "text": ["Labas!"], "english": ["Hello!"]},
    ),
    "copa": (
        readers.copa, "en", table(COPA),
        {
            "id": ["5", "9"],
            "premise": ["The man fell. What was the cause?", "It rained. What was the effect?"],
            "choices": [["a", "c"], ["b", "d"]],
        },
    ),
    "siqa": (
        readers.siqa, "en", table(SIQA | {f"answer{a}": [a] for a in "ABC"}),
        {"premise": ["She left. Why?"], "choices": [["A", "B", "C"]], "label": [2]},
    ),
    "cosmosqa": (
        readers.cosmosqa, "en", table(COSMOS | {f"answer{i}": [str(i)] for i in range(4)}),
        {"id": ["k"], "premise": ["It rained . Why ?"], "choices": [list("0123")], "label": [3]},
    ),
    "csqa": (
        readers.csqa, "en", table(CSQA),
        {"id": ["h1", "h2"], "choices": [list("vwxyz")] * 2, "label": [1, -1]},
    ),
    "hellaswag": (
        readers.hellaswag, "en", table(HELLASWAG),
        {"premise": ["A man. He", "x"], "choices": [list("abcd")] * 2, "label": [3, -1]},
    ),
    "tags by name": (
        readers.udpos, "en",
        table({"tokens": [["go", "sun"]], "pos_tags": [[0, 1]]}, pos_tags=tags("VERB", "NOUN")),
        {"id": ["en-0"], "tokens": [["go", "sun"]], "tags": upos("VERB", "NOUN")},
    ),
    "tags by number": (
        readers.wikineural, "de", table({"tokens": [["Anna", "Lee"]], "ner_tags": [[1, 2]]}),
        {"id": ["de-0"], "tags": [[1, 2]]},
    ),
    "panx": (
        readers.panx, "pt",
        table({"tokens": [["Rio", "!"]], "ner_tags": [[1, 0]]}, ner_tags=tags(*PANX)),
        {"tags": [[readers.PANX_TAGS.index("B-LOC"), 0]]},
    ),
    "ranges and empty nodes": (
        readers.upos, "pl", table(UD, upos=tags("NOUN", "_", "VERB", "AUX")),
        {"tokens": [["zrobił", "em", "praca"]], "tags": upos("VERB", "AUX", "NOUN")},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("reader", "language", "rows", "expected"), READ.values(), ids=READ)
def test_rows_become_canonical(reader, language, rows, expected):
    read = reader(rows, language)
    assert {column: read[column][:] for column in expected} == expected
    assert read.column_names in [list(kind.columns) for kind in TYPES.values()]


@pytest.mark.parametrize(
    ("reader", "rows", "message"),
    [
        (readers.nli, pairs([0, 1, 2], "yes no maybe"), "maybe.*expected only entailment"),
        (readers.nli, table(STRINGS | {"label": [0, 1]}), r"holds \[0, 1\]; expected only entail"),
        (readers.copa, table(COPA | {"question": ["cause", "why"]}), "'why'.*cause, effect"),
        (
            readers.panx,
            table({"tokens": [["x"]], "ner_tags": [[1]]}, ner_tags=tags("O", "B-MISC")),
            "B-MISC.*expected only O, B-PER",
        ),
    ],
)
def test_classes_that_are_not_of_the_task_are_named(reader, rows, message):
    with pytest.raises(ValueError, match=message):
        reader(rows, "en")


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
    read = readers.span(squad(("Anna fell.", "Anna", 2), ("Anna fell.",)), "en")
    assert read["id"][:] == ["q0", "q1"]
    assert read["answers"][:] == [["Anna"], []] and read["starts"][:] == [[0], []]
    # A question without an answer is trained to the first token.
    examples = TYPES["span"].encode(read, tokenizer, 32, training=True)
    first, second = TYPES["span"].labels(examples).tolist()
    assert 0 < first[0] <= first[1] and second == [0, 0]
    with pytest.raises(ValueError, match=r"Row 'q1' \(sw\): the answer 'cat' does not occur"):
        readers.span(squad(("the cat", "cat", 4), ("the dog", "cat", 4)), "sw")


def test_tydiqa_filters_by_language_and_repeated_ids_become_distinct():
    ids = ["english-7", "swahili-7", "english-7", "english-8"]
    rows = squad(*[("a b", "b", 2)] * 4, ids=ids)
    assert readers.tydiqa(rows, "en")["id"][:] == ["english-7", "english-7#2", "english-8"]
    assert len(readers.tydiqa(rows, "sw")) == 1


def test_tydiqa_heldout_never_trains_on_what_it_scores():
    contexts = [(f"context {i} b", "b", 10) for i in range(300)]
    rows = squad(*contexts, ids=[f"english-{i}" for i in range(300)])
    train = readers.tydiqa_kept(rows, "en")["context"][:]
    test = readers.tydiqa_held_out(rows, "en")["context"][:]
    assert not set(train) & set(test)
    assert len(train) + len(test) == 300
    assert 10 < len(test) < 60


def test_xcopa_takes_the_questions_of_english_copa_or_warns_once(unset):
    swapped = table(COPA | {"question": ["effect", "effect"]})
    read = readers.xcopa(swapped, "it", table(COPA))
    assert read["premise"][:] == readers.copa(table(COPA), "en")["premise"][:]
    source = get("xcopa").validation
    with pytest.warns(UserWarning, match="wrong questions.*aps/super_glue"):
        read = source.converted(swapped, "it")
    assert read["premise"][0].endswith("effect?")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source.converted(swapped, "it")
        source.converted(swapped, "zh")  # never wrong in Chinese


def test_anli_plus_appends_the_others_and_its_fingerprint_names_all(put):
    for number, size in ((1, 2), (2, 1), (3, 3)):
        last = put(pairs([0] * size), f"facebook/anli/plain_text/train_r{number}.parquet")
    put(pairs([1, 2]), "nyu-mll/glue/mnli/train.parquet")
    snli = put(pairs([-1, 0, 1]), "stanfordnlp/snli/plain_text/train.parquet")
    assert len(load(get("anli"), "train", "en")) == 6
    rows = load(get("anli+"), "train", "en")
    assert rows["label"][:] == [0] * 6 + [1, 2] + [0, 1]
    assert len(set(rows["id"][:])) == 10
    source = get("anli+").train
    before = source.fingerprint("en")
    assert before.count("sha256:") == 3
    put(pairs([2]), "stanfordnlp/snli/plain_text/train.parquet")
    assert source.fingerprint("en") != before
    last.unlink()
    assert not get("anli").train.location("en").files  # two rounds are not ANLI
    snli.unlink()
    origins = [part.replace("@", ":").split(":")[0] for part in source.fingerprint("en").split("+")]
    assert origins == ["hub", "sha256", "hub"]


def test_a_joined_source_that_is_missing_is_missing_data(put):
    put(pairs([0]), "demo/own/en/train.parquet")
    configs = {"en": "en"}
    pinned = Source("demo/other", "train", configs, readers.nli, "0" * 40)
    source = Source("demo/own", "train", configs, readers.nli, appended=(pinned,))
    assert source.fingerprint("en").endswith(f"+hub@{'0' * 40}")
    unknown = Source("local/other", "train", configs, readers.nli)
    with pytest.raises(MissingData, match="local/other"):
        Source("demo/own", "train", configs, readers.nli, appended=(unknown,)).fingerprint("en")


CONLL = "The\tNP/N\r\nNew York\tN\r\n\r\n#\tN\n\u2028x\tS\\NP\n\n\n"


def test_ccg_takes_its_labels_from_your_file(put):
    put(CONLL, "local/ccg/train.conll")
    task = get("ccg")
    assert task.labels == ("N", "NP/N", "S\\NP") and TYPES["tagging"].head(task).size == 3
    rows = load(task, "train", "en")
    assert rows["tokens"][:] == [["The", "New York"], ["#", "\u2028x"]]
    assert rows["tags"][:] == [[1, 0], [0, 2]]
    first = task.train.fingerprint("en")
    put(CONLL.replace("NP/N", "NP"), "local/ccg/train.conll")
    assert get("ccg").labels == ("N", "NP", "S\\NP")
    assert task.train.fingerprint("en") != first
    for line in ("The NP/N", "The\tDT\tNP/N", "The\t"):
        put(f"a\tN\n{line}\n", "local/ccg/train.conll")
        with pytest.raises(ValueError, match=r"train.conll, line 2: .*is not a token, one tab"):
            get("ccg")


def test_without_the_file_ccg_says_what_to_write_where(mirror):
    assert get("ccg").labels == ()
    with pytest.raises(MissingData) as error:
        load(get("ccg"), "train", "en")
    for part in (str(mirror / "local/ccg/train.conll"), "licensed by the LDC", "a tab and its"):
        assert part in str(error.value)


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
