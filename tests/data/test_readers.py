"""Readers, and the sources that join or parse their files."""

import io
import json
import warnings
from dataclasses import replace

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest
from datasets import Dataset, Features, Image, Value
from tables import cases, pairs, table

from xltkit.data import loading, readers, readers_captions
from xltkit.data import readers_retrieval as search
from xltkit.data.loading import MissingData, Source
from xltkit.tasks import TYPES, get, load
from xltkit.tasks.base import Task

CASES, CAPTIONS, SEARCH = map(cases, ("readers", "captions", "retrieval"))
COPA = CASES["copa"]["rows"]
BYTES = {"bytes": Value("binary"), "path": Value("string")}
IN_BOTH_FORMS = pytest.mark.parametrize("image", [Image(), BYTES], ids=["pictures", "bytes"])
CONLL = "The\tNP/N\r\nNew York\tN\r\n\r\n#\tN\n\u2028x\tS\\NP\n\n\n"


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
        ("the cat", "dog", 4, 4),  # refused by the check of rows
        ("the cat", "cat", -1, -1),
    ],
)
def test_nearest_start(context, answer, start, expected):
    assert readers.nearest_start(context, answer, start) == expected


def squad(*rows, ids=None):
    """Contexts with an answer and its start, or without an answer."""
    columns = {"id": ids or [f"q{i}" for i in range(len(rows))], "question": ["Who?"] * len(rows)}
    columns["context"] = [row[0] for row in rows]
    columns["answers"] = [{"text": row[1:2], "answer_start": row[2:]} for row in rows]
    return Dataset.from_dict(columns)


def test_spans_keep_their_ids_and_offsets_are_repaired(tokenizer):
    rows = readers.span(squad(("Anna fell.", "Anna", 2), ("Anna fell.",)), "en")
    assert rows["id"][:] == ["q0", "q1"]
    assert rows["answers"][:] == [["Anna"], []] and rows["starts"][:] == [[0], []]
    # A question without an answer is trained to the first token.
    examples = TYPES["span"].encode(rows, tokenizer, 32, training=True)
    first, second = TYPES["span"].labels(examples).tolist()
    assert 0 < first[0] <= first[1] and second == [0, 0]
    with pytest.warns(
        UserWarning, match=r"1 answers in 2 rows \(sw\), as of 'q0', begin more than 10"
    ):
        readers.span(squad(("the cat", "cat", 9), ("the cat", "cat", 15)), "sw")


def test_tydiqa_filters_by_language_and_never_trains_on_what_it_scores():
    ids = ["english-7", "swahili-7", "english-7", "english-8"]
    rows = squad(*[("a b", "b", 2)] * 4, ids=ids)
    assert readers.tydiqa(rows, "en")["id"][:] == ["english-7", "english-7#2", "english-8"]
    for ids, unique in ("x x x#2", "x x#3 x#2"), ("x#2 x x x", "x#2 x x#3 x#4"):
        assert readers.distinct(ids.split()) == unique.split()
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
    source = replace(get("mnli").train, appended=(replace(source, hub="local/other"),))
    with pytest.raises(MissingData, match="local/other"):
        source.fingerprint("en")


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
    command = f"curl --create-dirs -fL -o {mirror}/raw/demo/xquad-r/en.json {url}/en.json"
    assert command in str(error.value)
    file = put("{}", "raw/demo/xquad-r/en.json")
    assert load(task, "test", "en")["text"][:] == ["{}"]
    assert source.raw("en") == file
    assert source.fingerprint("en").startswith("sha256:")
    monkeypatch.delenv("XLTKIT_HUB")
    with pytest.raises(MissingData, match=r'Set XLTKIT_HUB.*-o "\$XLTKIT_HUB/raw/demo/xquad'):
        source.raw("en")


def test_lareqa_questions_and_the_sentences_they_are_answered_by(put):
    path = put(json.dumps({"data": [{"paragraphs": SEARCH["lareqa"]}]}), "en.json")
    questions = search.lareqa_questions(path, "en")
    assert questions["id"][:] == questions["key"][:] == ["q1", "q2"]
    candidates = search.lareqa_candidates(path, "en")
    assert candidates["id"][:] == ["en_2_0", "en_2_1", "en_2_2", "en_2_3"]
    # Both sentences with the same words are right, as in the reference.
    assert candidates["keys"][:] == [[], ["q1"], ["q2"], ["q2"]]
    assert candidates["text"][1] == "Bo paid 3 kr." and "\n" not in candidates["context"][0]


@pytest.mark.parametrize("sentences", SEARCH["sentences"])
def test_sentence_breaks(sentences):
    text = " ".join(sentences)
    assert [text[start:end] for start, end in search.sentence_breaks(text)] == sentences


def test_a_question_trains_on_the_sentence_of_its_answer():
    context = {"context": "Ann came. Bo left at 9. All slept."}
    answers = {"text": ["Bo"], "answer_start": [11]}  # one off, as on the Hub
    row = {"id": "a", "question": "Who left?", "answers": answers}
    (pair,) = search.answer_sentences(Dataset.from_list([row | context]), "en")
    assert pair == {"id": "a", "query": "Who left?", "key": "a", "text": "Bo left at 9."} | context


@pytest.mark.parametrize("case", SEARCH["mewsli"], ids=[c["reader"] for c in SEARCH["mewsli"]])
def test_mewsli_marks_the_mention_and_keeps_its_sentence(put, case):
    path = put("".join(json.dumps(row) + "\n" for row in case["rows"]), "rows.jsonl")
    table = getattr(search, case["reader"])(path, "sw")
    assert list(table) == case["expected"]
    splits = [TYPES["ranking"].split_columns(split) for split in ("train", "test", "candidates")]
    assert tuple(table.column_names) in splits


def test_hidden_entities_are_refused(put):
    context, mention, *_ = SEARCH["mentions"]
    row = {"context": context | {"language": "ar"}, "mentions": [mention]}
    put(json.dumps(row) + "\n", "raw/mewsli-x/wikinews_mentions-test.jsonl")
    with pytest.raises(ValueError, match=r"cannot be scored.*split='validation'"):
        load(get("mewsli-x"), "test", "ar")


def test_bucc_from_the_hub_and_from_files_are_the_same(put):
    row = {"sentence1": ["eins", "zwei"], "sentence2": ["two", "one", "three"]}
    hub = search.bucc(Dataset.from_list([row | {"gold": [[1, 2], [2, 1]]}]), "de")
    put("de-1\teins\r\nde-2\tzwei\r\n", "raw/bucc2018/de-en.dev.de")
    put("en-1\ttwo\nen-2\tone\nen-3\tthree\n", "raw/bucc2018/de-en.dev.en")
    gold = put("de-1\ten-2\nde-2\ten-1\n", "raw/bucc2018/de-en.dev.gold")
    source = get("bucc").validation
    assert load(get("bucc"), "validation", "de")[:] == hub[:]
    before = source.fingerprint("de")
    put("en-1\tother\n", "raw/bucc2018/de-en.dev.en")
    assert source.fingerprint("de") != before  # all three files count
    gold.unlink()
    loading._rows.cache_clear()
    with pytest.raises(ValueError, match=r"no file ends in \['gold'\]"):
        load(get("bucc"), "validation", "de")


def jpeg(shade):
    """A picture as the Hub stores it: encoding it once more would give other bytes."""
    file = io.BytesIO()
    PIL.Image.new("RGB", (6, 4), (shade, 0, 0)).save(file, "JPEG", quality=31)
    return {"bytes": file.getvalue(), "path": f"{shade}.jpg"}


def pictures(name, image):
    """Three pictures beside the columns of a case."""
    images = {"image": [jpeg(40 * i) for i in range(3)]}
    return Dataset.from_dict(images | CAPTIONS[name]["rows"]).cast_column("image", image)


@IN_BOTH_FORMS
@pytest.mark.parametrize(
    ("name", "language"), [(name, code) for name in CAPTIONS for code in CAPTIONS[name]["expected"]]
)
def test_a_picture_comes_with_its_captions_or_not_at_all(monkeypatch, name, language, image):
    source = get(name).test or get(name).train
    given = pictures(name, image)
    assert set(source.columns) <= set(given.column_names)
    with monkeypatch.context() as patched:  # no picture is decoded
        patched.setattr(Image, "decode_example", None)
        rows = source.read(given, language)
        stored = rows.cast_column("image", Image(decode=False))["image"][:]
    assert rows.column_names == list(TYPES["captions"].columns)
    captions = dict(zip(rows["id"][:], rows["texts"][:], strict=True))
    assert captions == CAPTIONS[name]["expected"][language]
    second = 1 if name == "flickr8k" or language == "cs" else 2
    assert stored == [jpeg(0), jpeg(40 * second)]  # nor encoded again
    assert rows[-1]["image"].size == (6, 4)


@IN_BOTH_FORMS
@pytest.mark.parametrize("absent", [0, 5])
def test_pictures_stay_where_they_lie(image, absent):
    noise = np.random.default_rng(0).bytes(200_000)
    captions = [""] * absent + ["x"] * (50 - absent)
    columns = {"image": [{"bytes": noise, "path": None}] * 50, "en": captions}
    given = Dataset.from_dict(columns, features=Features({"image": image, "en": Value("string")}))
    before = pa.total_allocated_bytes()
    rows = readers_captions.multi30k(given, "en")
    assert len(rows) == 50 - absent
    assert pa.total_allocated_bytes() - before < 1_000_000  # of ten million


def test_every_language_of_xm3600_has_a_split(put):
    names = {"de": "de", "qu": "quz", "tl": "fil"}  # two are not our codes
    for split in names.values():
        rows = pictures("xm3600", Image())
        put(rows, f"floschne/xm3600/default/{split}-00000-of-00001.parquet")
    task = get("xm3600")
    for code in names:
        rows = load(task, "test", code)
        assert rows["id"][:] == ["a", "a#2"]
        assert isinstance(rows[1]["image"], PIL.Image.Image)
    assert task.test.location("tl").split == "fil" and task.test.location("zh").split == "zh"
    assert len(task.test.languages) == 36
    with pytest.raises(MissingData, match=r'split="uk", revision="8d3e5665'):
        load(task, "test", "uk")
