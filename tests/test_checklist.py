"""Template files in the format of MultiCheckList, written here: read, said, asked and scored."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import xltkit as xlt
from xltkit import data
from xltkit.evaluation import checklist, templates
from xltkit.recipe import Recipe
from xltkit.tasks import TASKS, register

HEADER = ["Field", "en", "de", "de-placeholders", "de", "de-placeholders", "sw", "qu",
          "qu-placeholders", "zh"]  # fmt: skip
SIZES = [
    ["Name", "Sizes and colours"],
    ["Capability", "Vocabulary"],
    ["Context", "{first_name} has {animal}. {obj[1]} is {p.v1} and {p.v2}.",
     "{first_name} hat {animal}. {obj[1]} ist {p.v1} und {p.v2}.", "", "", "",
     "{first_name} ana {animal}. {obj[1]} ni {p.v1} na {p.v2}.",
     "{first_name}qa {animal}yuq. {obj[1]} {p.v1}mi, {p.v2}mi.", "",
     "{first_name}有{animal}。{obj[1]}是{p.v1}和{p.v2}。"],
    ["Question", "What {p.p1} is {obj[1]}?",
     "Welche {p.p1} hat {obj[1]}?", "color, size", "Wie alt ist {obj[1]}?", "age, the lamp",
     "{obj[1]} ina {p.p1} gani?", "¿Ima {p.p1} {obj[1]}?", "", "{obj[1]}的{p.p1}？"],
    ["Answer", "{p.v1}", "{p.v1}", "", "", "", "{p.v1}", "{p.v1}mi", "{p.v1}yuq", "{p.v1}"],
    ["Question", "What does {first_name} have?",
     "Was hat {first_name}?", "", "", "", "{first_name} ana nini?", "¿Ima {first_name}?", "",
     "{first_name}有什么？"],
    ["Answer", "{animal}", "{animal}", "", "", "", "{animal}", "{animal}mi", "{animal}yuq",
     "{animal}"],
    ["obj", "a lamp, the lamp", "eine Lampe, die Lampe", "", "", "", "taa, taa", "k'anchi, k'anchi",
     "", "一盏灯，这盏灯"],
    ["obj", "a chair, the chair", "ein Stuhl, der Stuhl", "", "", "", "kiti, kiti",
     "tiyana, tiyana", "", "一把椅子，这把椅子"],
    ["color", "red", "rote", "lamp", "roter", "a chair,the chair", "nyekundu", "puka", "", "红色"],
    ["color", "blue", "blaue", "lamp", "blauer", "A chair", "samawati", "anqas", "", "蓝色"],
    ["age", "old", "alt", "", "", "", "", "machu", "", "旧"],
    ["size", "small", "klein", "", "", "", "dogo", "huch'uy", "", "小"],
    ["property", "color", "Farbe", "", "", "", "rangi", "llimphi", "", "颜色"],
    ["property", "age", "Alter", "", "", "", "umri", "wata", "", "年龄"],
    ["property", "size", "Größe", "", "", "", "ukubwa", "sayay", "", "大小"],
    [" "],
]  # fmt: skip
BOUGHT = [
    ["Name", "Who bought it"],
    ["Capability", "Taxonomy"],
    ["Context", "{first_name} bought {animal}. {first_name1} bought nothing.",
     "{first_name} kaufte {animal}. {first_name1} kaufte nichts.", "", "", "",
     "{first_name} alinunua {animal}. {first_name} hakununua.", "", "", ""],
    ["Question", "Who bought something?", "Wer kaufte etwas?", "", "", "", "Nani alinunua?"],
    ["Answer", "{first_name}", "{first_name}", "", "", "", "{first_name}"],
    ["animal", "a dog", "einen Hund", "", "", "", "mbwa", "alqu", "", "一只狗"],
    ["animal", "a cat", "eine Katze", "", "", "", "paka", "misi", "", "一只猫"],
    ["animal", "a hen", "", "", "", "", "kuku", "wallpa", "", "一只母鸡"],
]  # fmt: skip


def write(path, *tests, header=HEADER):
    lines = [header, *(row for test in tests for row in test)]
    path.write_text("\n".join("\t".join(line) for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path):
    return write(tmp_path / "templates.tsv", SIZES, BOUGHT)


@pytest.fixture(autouse=True)
def tidy():
    yield
    for name in [name for name in TASKS if name.startswith("checklist-")]:
        del TASKS[name]


def rows(file, test, language, **options):
    tasks = {t.name: t for t in checklist.tasks(file, **options)}
    table = data.load(tasks[f"checklist-{test}"], "test", language).to_pandas()
    return table.set_index("id")


def test_a_row_is_in_canonical_columns_and_its_answer_lies_where_it_says(file):
    for language in ("en", "de", "sw", "qu", "zh"):
        table = rows(file, "sizes-and-colours", language, samples=20)
        assert len(table) >= 10 and table.columns.tolist() == [
            "question", "context", "answers", "starts",
        ]  # fmt: skip
        for row in table.itertuples():
            (answer,), (start,) = row.answers, row.starts
            assert answer and row.context[start : start + len(answer)] == answer
            assert "{" not in row.context + row.question
        assert not table[["context", "question"]].duplicated().any()


COLOURS = {"rote", "roter", "blaue", "blauer"}


def words(text):
    return set(text.replace(".", " ").split())


def test_wordings_are_chosen_by_what_they_are_for(file):
    table = rows(file, "sizes-and-colours", "de", samples=40)
    text = " ".join(table["context"])
    assert "Die Lampe ist" in text and "Der Stuhl ist" in text  # a sentence begins with a capital
    said = {(row.split()[5], word) for row in table["context"] for word in COLOURS & words(row)}
    assert said == {("Lampe", "rote"), ("Lampe", "blaue"), ("Stuhl", "roter"), ("Stuhl", "blauer")}
    asked = set(table["question"])
    assert "Wie alt ist die Lampe?" in asked and "Welche Farbe hat der Stuhl?" in asked
    # the only wording for an age is for lamps: nobody asks how old a chair is
    assert not {"Wie alt ist der Stuhl?", "Welche Alter hat der Stuhl?"} & asked
    english = rows(file, "sizes-and-colours", "en", samples=40)
    assert "What age is the chair?" in set(english["question"])


def test_equal_ids_are_the_same_sample_in_every_language(file):
    english, german = (rows(file, "who-bought-it", code, samples=30) for code in ("en", "de"))
    shared = english.index.intersection(german.index)
    # German has words for two of the three animals, and takes later samples for those it lacks
    assert 12 <= len(shared) < 30 == len(german) == len(english)
    assert "a hen" in " ".join(english["context"])
    animal = {"a dog": "einen Hund", "a cat": "eine Katze"}
    for key in shared:
        name, _, rest = english.loc[key, "context"].partition(" bought ")
        start = f"{name} kaufte {animal[rest.split('.')[0]]}."
        assert german.loc[key, "context"].startswith(start)
    chinese = rows(file, "sizes-and-colours", "zh", samples=30)
    names = set(checklist.NAMES["Han"].split())
    assert {context.split("有")[0] for context in chinese["context"]} <= names


def test_values_are_borrowed_and_second_wordings_of_answers_used(file):
    """The animals stand in the other test; Quechua's first wording of one answer is not said."""
    table = rows(file, "sizes-and-colours", "qu", samples=40)
    answers = {answer for (answer,) in table["answers"]}
    assert {"alquyuq", "pukami"} <= answers and not any(a == "alqumi" for a in answers)


def test_what_a_language_cannot_say_is_left_out(file):
    """Swahili has no word for old, and a broken template that forgets the second name."""
    table = rows(file, "sizes-and-colours", "sw", samples=30)
    with pytest.raises(data.MissingData, match=r"says nothing of 'Who bought it' in 'sw'"):
        rows(file, "who-bought-it", "sw")
    assert len(table) > 0 and "umri" not in " ".join(table["question"])
    languages = {t.name: list(t.test.configs) for t in checklist.tasks(file)}
    assert languages["checklist-who-bought-it"] == ["en", "de", "sw"]


def test_seed_and_number_are_honoured_and_nothing_else_matters(file, tmp_path):
    one, again = (rows(file, "who-bought-it", "en", samples=25) for _ in range(2))
    pd.testing.assert_frame_equal(one, again)
    other = rows(file, "who-bought-it", "en", samples=25, seed=1)
    assert len(one) == len(other) == 25 and set(one["context"]) != set(other["context"])
    fewer = rows(file, "who-bought-it", "en", samples=5)
    pd.testing.assert_frame_equal(fewer, one.head(5))
    alone = write(tmp_path / "alone.tsv", BOUGHT)
    pd.testing.assert_frame_equal(rows(alone, "who-bought-it", "en", samples=25), one)


def test_the_fingerprint_follows_the_file_the_number_the_seed_and_the_names(file):
    def prints(**options):
        return {data.fingerprint(t.test, "de") for t in checklist.tasks(file, **options)}

    ten = [f"Name{i}" for i in range(10)]
    found = [prints(), prints(samples=9), prints(seed=1), prints(names={"de": ten})]
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    found.append(prints())
    assert len(set.union(*found)) == 2 * len(found)
    assert all(text.startswith("sha256:") for text in set.union(*found))
    own = rows(file, "who-bought-it", "de", names={"de": ten}, samples=5)
    assert own["context"].str.startswith("Name").all()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda lines: ["Feld\ten"], "begins with 'Feld"),
        (lambda lines: [lines[0].replace("en\t", "eo\t"), *lines[1:]], "with en among them"),
        (lambda lines: [lines[0], *lines[2:]], "line 2: 'Capability' stands before"),
        (lambda lines: [x for x in lines if not x.startswith("Answer")], "0 answers"),
        (lambda lines: [x for x in lines if not x.startswith("animal")], r"slots \['animal'\]"),
        (
            lambda lines: [x.replace("Question\tWho", "Question\t\tWho") for x in lines],
            "no English",
        ),
    ],
)
def test_another_format_is_refused(file, change, message):
    lines = file.read_text(encoding="utf-8").split("\n")
    file.write_text("\n".join(change(lines)), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        checklist.tasks(file)


def test_bad_arguments_and_a_missing_file_are_named(file, tmp_path):
    with pytest.raises(data.MissingData, match=r"no file .*x\.tsv.*google-research/xtreme"):
        checklist.tasks(tmp_path / "x.tsv")
    with pytest.raises(ValueError, match="samples is 0"):
        checklist.tasks(file, samples=0)
    for own in ("A B C".split(), ["A"] * 10):
        with pytest.raises(ValueError, match="10 different names"):
            checklist.tasks(file, names={"de": own})
    with pytest.raises(data.MissingData, match="is read in en, de, sw only"):
        rows(file, "who-bought-it", "ja")


def test_languages_that_the_kit_does_not_know_are_told_and_left_out(tmp_path):
    header = [code if code != "sw" else "xq" for code in HEADER]
    file = write(tmp_path / "t.tsv", SIZES, BOUGHT, header=header)
    with pytest.warns(UserWarning, match="templates in xq are left out"):
        made = checklist.tasks(file)
    assert all("xq" not in task.test.configs for task in made)


def test_every_script_has_ten_names_and_none_is_a_part_of_another():
    for key, names in checklist.NAMES.items():
        found = names.split()
        assert len(set(found)) == 10, key
        assert not [(a, b) for a in found for b in found if a != b and a in b], key
    scripts = {entry.script for entry in xlt.languages.LANGUAGES.values()}
    missing = {s for s in scripts if s not in checklist.NAMES}
    assert not missing


def test_answers_are_compared_without_articles_and_marks():
    assert checklist.clean("a dog.", "en") == checklist.clean("dog", "en") == "dog"
    assert checklist.clean("einen Hund,", "de") == "Hund"
    assert checklist.clean("الكلب", "ar") == checklist.clean("كلب", "ar")
    assert checklist.clean("a dog", "sw") == "a dog"


def test_parts_of_values_in_any_punctuation():
    assert templates._part("一盏灯，这盏灯", 1) == "这盏灯"
    assert templates._part("แกกว่า แก่", 1) == "แก่"
    assert templates._part("أكبر، كبير", 0) == "أكبر"
    with pytest.raises(templates.Unsayable):
        templates._part("one", 1)


def test_a_study_of_them_gives_error_rates(tiny, store, file):
    for task in checklist.tasks(file, samples=20, train_on="qa"):
        register(task)
    names = ["checklist-who-bought-it", "checklist-sizes-and-colours"]
    options = {"steps": 4, "languages": ["en", "de"]}
    found = xlt.study({"none": Recipe(tiny)}, names, [0], **options).run(store)
    assert len(found.study.stages) == 1 + 2  # trained once
    table = checklist.error_rates(found)
    assert len(table) == 2 * 2 and set(table["language"]) == {"en", "de"}
    one = found.predictions.query(f"task == {names[0]!r} and language == 'en'")
    wrong = [
        checklist.clean(json.loads(gold)[0], "en") != checklist.clean(pred, "en")
        for gold, pred in zip(one["gold"], one["pred"], strict=True)
    ]
    row = table.query(f"task == {names[0]!r} and language == 'en'").iloc[0]
    assert row["error_rate"] == pytest.approx(100 * sum(wrong) / len(wrong))
    assert row["n"] == 20 and row["low"] <= row["error_rate"] <= row["high"]
    other = xlt.study({"none": Recipe(tiny)}, ["qa"], [0], steps=4, examples=5, languages=["en"])
    with pytest.raises(ValueError, match=r"None of \['qa'\]"):
        checklist.error_rates(other.run(store))
