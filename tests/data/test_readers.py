"""Readers of pairs, spans, choices and tags, on rows with the Hub's own columns and quirks."""

import warnings

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from xltkit.data import readers, readers_choice, readers_tags
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import TYPES, get, load
from xltkit.tasks.base import Task

TEXT = Value("string")


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ("entailment neutral contradiction", [0, 1, 2]),
        ("contradiction entailment neutral", [1, 2, 0]),
        ("ENTAILMENT NEUTRAL CONTRADICTION", [0, 1, 2]),
    ],
)
def test_nli_labels_are_mapped_by_name(pairs, names, labels):
    assert readers.nli(pairs(labels, names=names.split()), "en")["label"][:] == [0, 1, 2]


def test_nli_labels_as_strings_and_without_gold(pairs):
    rows = pairs([0, 0]).remove_columns("label").add_column("label", ["contradictory", "neutral"])
    assert readers.nli(rows, "en")["label"][:] == [2, 1]
    assert readers.nli(pairs([-1, 1]), "en")["label"][:] == [-1, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["yes", "no", "maybe"], "maybe.*expected only entailment"), (None, "without names")],
)
def test_nli_refuses_labels_it_cannot_name(pairs, names, message):
    with pytest.raises(ValueError, match=message):
        readers.nli(pairs([0, 1, 2], names=names), "en")


def test_line_ends_go_and_separators_inside_stay():
    text = "\u1100 one\u001ctwo\u0085 \u2028three"
    assert readers.lines([f"{text}\r\n"]) == [text]
    rows = Dataset.from_dict(
        {"source_sentence": ["a\n", "b\u001c\n"], "target_sentence": ["A", "B\r\n"]}
    )
    read = readers.tatoeba(rows, "sw")
    assert read["text"][:] == ["a", "b\u001c"]
    assert read["english"][:] == ["A", "B"]
    assert read["id"][:] == ["sw-0", "sw-1"]


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
    texts, starts = [r[1] for r in rows], [r[2] for r in rows]
    return Dataset.from_dict(
        {
            "id": ids or [f"q{i}" for i in range(len(rows))],
            "question": ["?"] * len(rows),
            "context": [r[0] for r in rows],
            "answers": [
                {"text": [t], "answer_start": [s]} for t, s in zip(texts, starts, strict=True)
            ],
        }
    )


def test_span_repairs_offsets_and_keeps_ids():
    read = readers.span(squad(("the cat", "cat", 6), ("the dog", "the", 0)), "en")
    assert read.column_names == list(TYPES["span"].columns)
    assert read["starts"][:] == [[4], [0]]
    assert read["id"][:] == ["q0", "q1"]


def test_span_names_the_row_whose_answer_is_nowhere():
    with pytest.raises(ValueError, match=r"Row 'q1' \(sw\): the answer 'cat' does not occur"):
        readers.span(squad(("the cat", "cat", 4), ("the dog", "cat", 4)), "sw")


def test_tydiqa_filters_by_language_and_repeated_ids_become_distinct():
    ids = ["english-7", "swahili-7", "english-7", "english-8"]
    read = readers.tydiqa(squad(*[("a b", "b", 2)] * 4, ids=ids), "en")
    assert read["id"][:] == ["english-7", "english-7#2", "english-8"]
    assert len(readers.tydiqa(squad(*[("a b", "b", 2)] * 4, ids=ids), "sw")) == 1


def test_tydiqa_heldout_never_trains_on_what_it_scores():
    rows = squad(*[(f"context {i} b", "b", 10) for i in range(300)])
    rows = rows.remove_columns("id").add_column("id", [f"english-{i}" for i in range(300)])
    train = readers.tydiqa_kept(rows, "en")["context"][:]
    test = readers.tydiqa_held_out(rows, "en")["context"][:]
    assert not set(train) & set(test)
    assert len(train) + len(test) == 300
    assert 10 < len(test) < 60


def copa_rows(questions):
    return Dataset.from_dict(
        {
            "premise": ["The man fell.\r\n", "It rained."],
            "choice1": ["a", "b"],
            "choice2": ["c", "d"],
            "question": questions,
            "idx": [5, 9],
            "label": [0, 1],
        }
    )


def test_copa_asks_the_question_of_xtreme_r():
    read = readers_choice.copa(copa_rows(["cause", "effect"]), "en")
    assert read["premise"][:] == [
        "The man fell. What was the cause?",
        "It rained. What was the effect?",
    ]
    assert read["choices"][:] == [["a", "c"], ["b", "d"]]
    assert read["id"][:] == ["5", "9"]
    with pytest.raises(ValueError, match=r"'why'.*expected only cause, effect"):
        readers_choice.copa(copa_rows(["cause", "why"]), "en")


def test_xcopa_takes_the_questions_of_english_copa():
    english = copa_rows(["cause", "cause"])
    read = readers_choice.xcopa(copa_rows(["effect", "effect"]), "it", english)
    assert all(text.endswith("What was the cause?") for text in read["premise"][:])


def test_xcopa_warns_once_when_english_copa_is_missing(monkeypatch):
    monkeypatch.delenv("XLTKIT_HUB", raising=False)
    source = get("xcopa").validation
    with pytest.warns(UserWarning, match="wrong questions.*aps/super_glue"):
        rows = source.converted(copa_rows(["effect", "effect"]), "it")
    assert rows["premise"][0].endswith("effect?")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source.converted(copa_rows(["effect", "effect"]), "it")
        source.converted(copa_rows(["effect", "effect"]), "zh")  # never wrong in Chinese


def test_siqa_letters_become_numbers():
    rows = Dataset.from_dict(
        {
            "context": ["She left."],
            "question": ["Why?"],
            "answerA": ["x"],
            "answerB": ["y"],
            "answerC": ["z"],
            "label": ["3"],
        }
    )
    read = readers_choice.siqa(rows, "en")[0]
    assert read == {"id": "0", "premise": "She left. Why?", "choices": ["x", "y", "z"], "label": 2}


def test_tags_are_mapped_by_name_and_numbers_by_the_table():
    features = Features(
        {"tokens": List(Value("string")), "pos_tags": List(ClassLabel(names=["VERB", "NOUN"]))}
    )
    rows = Dataset.from_dict({"tokens": [["go", "sun"]], "pos_tags": [[0, 1]]}, features=features)
    read = readers_tags.udpos(rows, "en")
    assert [readers_tags.UPOS[tag] for tag in read["tags"][0]] == ["VERB", "NOUN"]
    rows = Dataset.from_dict({"tokens": [["Anna", "Lee"]], "ner_tags": [[1, 2]]})
    read = readers_tags.wikineural(rows, "de")
    assert [readers_tags.WIKINEURAL_TAGS[tag] for tag in read["tags"][0]] == ["B-PER", "I-PER"]
    assert read["id"][:] == ["de-0"]


def test_snli_pairs_without_a_gold_label_are_left_out(pairs):
    read = readers.snli(pairs([2, -1, 0]), "en")
    assert read["label"][:] == [2, 0]
    assert read["id"][:] == ["0", "2"]
    assert read["text_a"][:] == ["0", "2"]


def test_qqp_labels_are_those_of_paws_x(pairs):
    rows = pairs([0, 1], "question1", "question2", ["not_duplicate", "duplicate"])
    read = readers.qqp(rows, "en")
    labels = get("qqp").labels
    assert [labels[n] for n in read["label"]] == ["different", "paraphrase"]
    assert labels == get("paws-x").labels


def test_anli_plus_appends_the_others_and_its_fingerprint_names_all(put, pairs):
    files = {
        f"train_r{number}": put(pairs([0] * size), f"facebook/anli/plain_text/train_r{number}")
        for number, size in ((1, 2), (2, 1), (3, 3))
    }
    put(pairs([1, 2]), "nyu-mll/glue/mnli/train")
    snli = put(pairs([-1, 0, 1]), "stanfordnlp/snli/plain_text/train")
    assert len(load(get("anli"), "train", "en")) == 6
    rows = load(get("anli+"), "train", "en")
    assert rows["label"][:] == [0] * 6 + [1, 2] + [0, 1]
    assert len(set(rows["id"][:])) == 10
    source = get("anli+").train
    before = source.fingerprint("en")
    assert before.count("sha256:") == 3
    put(pairs([2]), "stanfordnlp/snli/plain_text/train")
    assert source.fingerprint("en") != before
    files["train_r2"].unlink()
    assert not get("anli").train.location("en").files  # two rounds are not ANLI
    snli.unlink()
    kinds = [
        part.replace("@", ":").partition(":")[0] for part in source.fingerprint("en").split("+")
    ]
    assert kinds == ["hub", "sha256", "hub"]


def test_a_joined_source_that_is_missing_is_missing_data(put, pairs):
    put(pairs([0]), "demo/own/en/train")
    pinned = Source("demo/other", "train", {"en": "en"}, readers.nli, "0" * 40)
    source = Source("demo/own", "train", {"en": "en"}, readers.nli, appended=(pinned,))
    assert source.fingerprint("en").endswith(f"+hub@{'0' * 40}")
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


def test_a_question_without_an_answer_is_trained_to_the_first_token(tokenizer):
    rows = readers.span(squad2_rows(), "en")
    assert rows["answers"][:] == [["Anna"], []]
    assert rows["starts"][:] == [[0], []]
    examples = TYPES["span"].encode(rows, tokenizer, 32, training=True)
    first, second = TYPES["span"].labels(examples, 32).tolist()
    assert 0 < first[0] <= first[1] and second == [0, 0]


def test_hellaswag_labels_are_strings():
    rows = Dataset.from_dict(
        {"ctx": ["A man sits. He", "x"], "endings": [list("abcd")] * 2, "label": ["3", ""]}
    )
    read = readers_choice.hellaswag(rows, "en")
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
    read = readers_choice.csqa(rows, "en")
    assert read["label"][:] == [1, 0]
    assert read["choices"][0] == choices["text"]


def test_cosmosqa_keeps_none_of_the_above():
    row = {"id": "k", "context": "It rained .\r\n", "question": "Why ?", "label": 3}
    answers = ["a", "b", "c", "None of the above choices ."]
    row |= {f"answer{i}": text for i, text in enumerate(answers)}
    read = readers_choice.cosmosqa(Dataset.from_list([row]), "en")[0]
    assert read == {"id": "k", "premise": "It rained . Why ?", "choices": answers, "label": 3}


def test_panx_tags_are_mapped_by_name():
    names = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER", "B-ORG", "I-ORG"]
    features = Features({"tokens": List(TEXT), "ner_tags": List(ClassLabel(names=names))})
    rows = Dataset.from_dict({"tokens": [["Rio", "!"]], "ner_tags": [[1, 0]]}, features=features)
    read = readers_tags.panx(rows, "pt")
    assert [get("panx").labels[tag] for tag in read["tags"][0]] == ["B-LOC", "O"]
    wrong = features | {"ner_tags": List(ClassLabel(names=["O", "B-MISC"]))}
    rows = Dataset.from_dict({"tokens": [["x"]], "ner_tags": [[1]]}, features=Features(wrong))
    with pytest.raises(ValueError, match=r"B-MISC.*expected only O, B-PER"):
        readers_tags.panx(rows, "pt")


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
    read = readers_tags.upos(rows, "pl")
    assert read["tokens"][:] == [["zrobił", "em", "praca"]]
    assert [readers_tags.UPOS[tag] for tag in read["tags"][0]] == ["VERB", "AUX", "NOUN"]
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
    assert task.test.raw("en") == file
    assert task.test.fingerprint("en").startswith("sha256:")
    monkeypatch.delenv("XLTKIT_HUB")
    with pytest.raises(MissingData, match=r'Set XLTKIT_HUB.*-o "\$XLTKIT_HUB/raw/demo/xquad'):
        task.test.raw("en")
