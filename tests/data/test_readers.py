"""Readers of the training sets, on rows with the Hub's own columns and quirks."""

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, NamedSplit, Value

from xltkit.data import readers
from xltkit.data import readers_choice as choice_readers
from xltkit.data import readers_tags as tag_readers
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import get, load
from xltkit.tasks.base import TYPES, Task

NLI = ["entailment", "neutral", "contradiction"]
TEXT = Value("string")


def pairs(labels, first="premise", second="hypothesis", names=NLI, split=None):
    features = Features({first: TEXT, second: TEXT, "label": ClassLabel(names=names)})
    texts = [f"{i}\r\n" for i in range(len(labels))]
    rows = {first: texts, second: texts, "label": labels}
    return Dataset.from_dict(rows, features=features, split=split and NamedSplit(split))


def test_snli_pairs_without_a_gold_label_are_left_out():
    read = readers.snli(pairs([2, -1, 0]), "en")
    assert read["label"][:] == [2, 0]
    assert read["id"][:] == ["0", "2"]
    assert read["text_a"][:] == ["0", "2"]


def test_qqp_labels_are_those_of_paws_x():
    rows = pairs([0, 1], "question1", "question2", ["not_duplicate", "duplicate"])
    read = readers.qqp(rows, "en")
    labels = get("qqp").labels
    assert [labels[n] for n in read["label"]] == ["different", "paraphrase"]
    assert labels == get("paws-x").labels


def test_anli_plus_appends_the_others_and_its_fingerprint_names_all(tmp_path, monkeypatch):
    hub = tmp_path / "hub"
    sizes = {"train_r1": 2, "train_r2": 1, "train_r3": 3}
    for split, size in sizes.items():
        put(hub, "facebook/anli", "plain_text", split, pairs([0] * size))
    put(hub, "nyu-mll/glue", "mnli", "train", pairs([1, 2]))
    put(hub, "stanfordnlp/snli", "plain_text", "train", pairs([-1, 0, 1]))
    monkeypatch.setenv("XLTKIT_HUB", str(hub))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    assert len(load(get("anli"), "train", "en")) == 6
    rows = load(get("anli+"), "train", "en")
    assert rows["label"][:] == [0] * 6 + [1, 2] + [0, 1]
    assert len(set(rows["id"][:])) == 10
    before = get("anli+").train.fingerprint("en")
    assert before.count("sha256:") == 3
    put(hub, "stanfordnlp/snli", "plain_text", "train", pairs([2]))
    assert get("anli+").train.fingerprint("en") != before
    (hub / "facebook/anli/plain_text/train_r2.parquet").unlink()
    assert not get("anli").train.location("en").files  # two rounds are not ANLI
    (hub / "stanfordnlp/snli/plain_text/train.parquet").unlink()
    pinned = [part.partition("@")[0] for part in get("anli+").train.fingerprint("en").split("+")]
    assert [part.partition(":")[0] for part in pinned] == ["hub", "sha256", "hub"]


def put(hub, name, config, split, rows):
    folder = hub / name
    (folder / config).mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / config / f"{split}.parquet")
    there = sorted(folder.glob("*/*.parquet"))
    lines = ["---", "configs:"]
    for sub in sorted({file.parent.name for file in there}):
        lines += [f"- config_name: {sub}", "  data_files:"]
        for file in there:
            if file.parent.name == sub:
                lines += [f"  - split: {file.stem}", f"    path: {sub}/{file.name}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def test_a_joined_source_that_is_missing_is_missing_data(tmp_path, monkeypatch):
    put(tmp_path, "demo/own", "en", "train", pairs([0]))
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    other = Source("demo/other", "train", {"en": "en"}, readers.nli, "0" * 40)
    source = Source("demo/own", "train", {"en": "en"}, readers.nli, appended=(other,))
    pinned = source.fingerprint("en")
    assert pinned.endswith(f"+hub@{'0' * 40}")
    unknown = Source("local/other", "train", {"en": "en"}, readers.nli)
    source = Source("demo/own", "train", {"en": "en"}, readers.nli, appended=(unknown,))
    with pytest.raises(MissingData, match="local/other"):
        source.fingerprint("en")


def squad2_rows():
    answers = {"text": List(TEXT), "answer_start": List(Value("int32"))}
    return Dataset.from_dict(
        {
            "id": ["a", "b"],
            "question": ["Who fell?", "Who sang?"],
            "context": ["Anna fell.", "Anna fell."],
            "answers": [{"text": ["Anna"], "answer_start": [0]}, {"text": [], "answer_start": []}],
        },
        features=Features({"id": TEXT, "question": TEXT, "context": TEXT, "answers": answers}),
    )


def test_a_question_without_an_answer_is_trained_to_the_first_token():
    rows = readers.span(squad2_rows(), "en")
    assert rows["answers"][:] == [["Anna"], []]
    assert rows["starts"][:] == [[0], []]
    features = TYPES["span"].encode(rows, words(), 32, training=True)
    assert [f.target for f in features] == [(4, 4), (0, 0)]


def words():
    """A tokenizer of words, with one special token before, between and after."""

    class Encoding(dict):
        def sequence_ids(self, i):
            return self["sides"][i]

    def encode(questions, contexts, **_):
        made = Encoding(input_ids=[], offset_mapping=[], sides=[], overflow_to_sample_mapping=[])
        for n, (question, context) in enumerate(zip(questions, contexts, strict=True)):
            marked = context.replace(".", " .").split()
            offsets = [(context.find(w), context.find(w) + len(w)) for w in marked]
            asked = question.split()
            sides = [None, *[0] * len(asked), None, *[1] * len(marked), None]
            made["sides"].append(sides)
            made["input_ids"].append(list(range(len(sides))))
            made["offset_mapping"].append([(0, 0)] * (len(asked) + 2) + [*offsets, (0, 0)])
            made["overflow_to_sample_mapping"].append(n)
        return made

    return encode


def test_hellaswag_labels_are_strings():
    rows = Dataset.from_dict(
        {"ctx": ["A man sits. He", "x"], "endings": [list("abcd")] * 2, "label": ["3", ""]}
    )
    read = choice_readers.hellaswag(rows, "en")
    assert read[0] == {"id": "0", "premise": "A man sits. He", "choices": list("abcd"), "label": 3}
    with pytest.raises(ValueError, match=r"cannot be scored.*-1"):
        TYPES["choice"].check_rows(get("hellaswag"), read, "validation")


def test_csqa_answers_are_found_by_their_letter():
    choices = {"label": list("ABCDE"), "text": ["bank", "library", "mall", "store", "York"]}
    rows = Dataset.from_dict(
        {
            "id": ["h1", "h2"],
            "question": ["Where?", "Which?"],
            "choices": [choices, {"label": list("EDCBA"), "text": choices["text"]}],
            "answerKey": ["B", "E"],
        }
    )
    read = choice_readers.csqa(rows, "en")
    assert read["label"][:] == [1, 0]
    assert read["choices"][0] == choices["text"]


def test_cosmosqa_keeps_none_of_the_above():
    row = {"id": "k", "context": "It rained .\r\n", "question": "Why ?", "label": 3}
    answers = ["a", "b", "c", "None of the above choices ."]
    row |= {f"answer{i}": text for i, text in enumerate(answers)}
    read = choice_readers.cosmosqa(Dataset.from_list([row]), "en")[0]
    assert read == {"id": "k", "premise": "It rained . Why ?", "choices": answers, "label": 3}


def test_panx_tags_are_mapped_by_name():
    names = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-ORG", "I-ORG"]
    features = Features({"tokens": List(TEXT), "ner_tags": List(ClassLabel(names=names))})
    rows = Dataset.from_dict({"tokens": [["Rio", "!"]], "ner_tags": [[1, 0]]}, features=features)
    read = tag_readers.panx(rows, "pt")
    assert [get("panx").labels[tag] for tag in read["tags"][0]] == ["B-LOC", "O"]
    wrong = features | {"ner_tags": List(ClassLabel(names=["O", "B-MISC"]))}
    rows = Dataset.from_dict({"tokens": [["x"]], "ner_tags": [[1]]}, features=Features(wrong))
    with pytest.raises(ValueError, match=r"B-MISC.*expected only O, B-PER"):
        tag_readers.panx(rows, "pt")


def test_ranges_and_empty_nodes_of_universal_dependencies_are_no_words():
    tags = List(ClassLabel(names=["NOUN", "_", "VERB", "AUX"]))
    features = Features({"tokens": List(TEXT), "upos": tags, "head": List(TEXT)})
    rows = Dataset.from_dict(
        {
            "tokens": [["zrobiłem", "zrobił", "em", "praca", "jest"]],
            "upos": [[1, 2, 3, 0, 2]],  # 1-2, 1, 2, 3, and the empty node 3.1
            "head": [["None", "0", "1", "1", "None"]],
        },
        features=features,
    )
    read = tag_readers.upos(rows, "pl")
    assert read["tokens"][:] == [["zrobił", "em", "praca"]]
    assert [tag_readers.UPOS[tag] for tag in read["tags"][0]] == ["VERB", "AUX", "NOUN"]
    assert read["id"][:] == ["pl-0"]


def test_tatoeba_of_xtreme_r_has_the_foreign_sentence_first():
    rows = Dataset.from_dict({"sentence1": ["Labas!\n"], "sentence2": ["Hello!"]})
    read = readers.tatoeba_r(rows, "lt")[0]
    assert read == {"id": "lt-0", "text": "Labas!", "english": "Hello!"}


CONLL = "The\tNP/N\r\nNew York\tN\r\n\r\n#\tN\n\u2028x\tS\\NP\n\n\n"


@pytest.fixture
def ccg(tmp_path, monkeypatch):
    file = tmp_path / "local" / "ccg" / "train.conll"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONLL.encode())
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    return file


def test_ccg_takes_its_labels_from_your_file(ccg):
    task = get("ccg")
    assert task.labels == ("N", "NP/N", "S\\NP")
    rows = load(task, "train", "en")
    assert rows["tokens"][:] == [["The", "New York"], ["#", "\u2028x"]]
    assert [[task.labels[t] for t in tags] for tags in rows["tags"]] == [
        ["NP/N", "N"],
        ["N", "S\\NP"],
    ]
    assert TYPES["tagging"].head(task).size == 3
    first = task.train.fingerprint("en")
    ccg.write_text(CONLL.replace("NP/N", "NP"))
    assert get("ccg").labels == ("N", "NP", "S\\NP")
    assert task.train.fingerprint("en") != first


@pytest.mark.parametrize("line", ["The NP/N", "The\tDT\tNP/N", "The\t"])
def test_a_line_that_is_no_token_and_tag_is_named(ccg, line):
    ccg.write_text(f"a\tN\n{line}\n")
    with pytest.raises(ValueError, match=r"train.conll, line 2: .*is not a token, one tab"):
        get("ccg")


def test_without_the_file_ccg_says_what_to_write_where(tmp_path, monkeypatch):
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    assert get("ccg").labels == ()
    with pytest.raises(MissingData) as error:
        load(get("ccg"), "train", "en")
    for part in (str(tmp_path / "local/ccg/train.conll"), "licensed by the LDC", "a tab and its"):
        assert part in str(error.value)


def lareqa(url="https://example.org/1234abcd/xquad-r"):
    def read(path, language):
        return Dataset.from_list([{"id": "0", "text": path.read_text(), "english": language}])

    return Source("raw/demo/xquad-r", "test", {"en": "en.json"}, read, url=url)


def test_a_file_of_upstream_is_handed_to_the_reader_as_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("XLTKIT_HUB", str(tmp_path))
    task = Task("demo", "retrieval", "accuracy", 0.0, test=lareqa())
    with pytest.raises(MissingData) as error:
        load(task, "test", "en")
    file = tmp_path / "raw/demo/xquad-r/en.json"
    command = f'curl --create-dirs -fL -o "{file}" https://example.org/1234abcd/xquad-r/en.json'
    assert command in str(error.value)
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert load(task, "test", "en")["text"][:] == ["{}"]
    assert task.test.file("en") == file
    assert task.test.fingerprint("en").startswith("sha256:")
    monkeypatch.delenv("XLTKIT_HUB")
    with pytest.raises(MissingData, match=r'Set XLTKIT_HUB.*-o "\$XLTKIT_HUB/raw/demo/xquad'):
        task.test.file("en")


def test_labels_of_a_batch_hold_no_answer_as_position_zero():
    features = TYPES["span"].encode(readers.span(squad2_rows(), "en"), words(), 32, training=True)
    assert np.array_equal(TYPES["span"].labels(features, 32), [[4, 4], [0, 0]])
