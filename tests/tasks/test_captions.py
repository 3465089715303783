"""Captions and pictures that find one another, and captions that are read as plain text."""

import numpy as np
import pytest
import torch
from datasets import Dataset, Image

from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, training_stages
from xltkit.studies.study import study
from xltkit.tasks import TrainingSet, get, load
from xltkit.tasks.base import TYPES
from xltkit.tasks.captions import WAYS, check_paraphrases, ranks_table
from xltkit.tasks.mlm import as_text
from xltkit.tasks.rows import training_rows
from xltkit.training.image_text import ImageText
from xltkit.training.phases import Intermediate, Pretrain, Target

CAPTIONS = get("captions")


@pytest.fixture
def blind(monkeypatch):
    """Decoding a picture is an error."""

    def refuse(*_, **__):
        raise AssertionError("a picture was decoded")

    monkeypatch.setattr(Image, "decode_example", refuse)


def scored(scores, owners, numbers):
    """Recalls of a matrix of scores (captions, pictures), and predictions by direction."""
    ids = [f"p{i}" for i in range(len(numbers))]
    table = ranks_table(ids, np.array(owners), np.array(scores, float), np.array(numbers))
    recalls = TYPES["captions"].metrics(CAPTIONS, table, "en")
    return recalls, [table[table["direction"] == way] for way in WAYS]


def test_recalls_of_both_ways_are_what_one_counts_by_hand():
    scores = 0.5 * np.eye(12)
    scores[1, [2, 3]] = 0.9  # two pictures stand before the right one, then five, then ten
    scores[2, 4:9] = 0.9
    scores[3, [1, 2, *range(4, 12)]] = 0.9
    recalls, tables = scored(scores, range(12), range(12))
    assert tables[0]["rank"].tolist() == [1, 3, 6, 11] + [1] * 8
    assert tables[1]["rank"].tolist() == [1, 2, 3, 2] + [3] * 5 + [2] * 3
    expected = {1: (9, 1), 5: (10, 12), 10: (11, 12)}
    for k, both in expected.items():
        for way, hits in zip(WAYS, both, strict=True):
            assert recalls[f"{way} r@{k}"] == pytest.approx(100 * hits / 12)
        assert recalls[f"r@{k}"] == pytest.approx(100 * sum(both) / 24)


ALIKE = [[0.9, 0.9, 0.1], [0.9, 0.9, 0.2], [0.1, 0.2, 0.9]]
RANKS = [  # scores, the picture of each caption, numbers of the pictures; ranks of either direction
    # The first picture finds any of its captions; the second one's scores less than one of those.
    ([[0.1, 0.9], [0.8, 0.0], [0.7, 0.6]], [0, 0, 1], [0, 1], [2, 1, 2], [1, 2]),
    (ALIKE, [0, 1, 2], [0, 1, 2], [2, 2, 1], [2, 2, 1]),
    (ALIKE, [0, 1, 2], [7, 7, 4], [1, 1, 1], [1, 1, 1]),  # nobody can tell two pictures apart
    *((np.full((12, 12), x), range(12), range(12), [12] * 12, [12] * 12) for x in (0.7, 0, np.nan)),
]


@pytest.mark.parametrize(("scores", "owners", "numbers", "of_captions", "of_pictures"), RANKS)
def test_what_scores_as_much_as_the_right_one_stands_before_it(
    scores, owners, numbers, of_captions, of_pictures
):
    recalls, tables = scored(scores, owners, numbers)
    assert [table["rank"].tolist() for table in tables] == [of_captions, of_pictures]
    assert all(((table["rank"] == 1) == table["score"]).all() for table in tables)
    assert recalls["text to image r@1"] == pytest.approx(100 * np.mean(np.equal(of_captions, 1)))


def test_predictions_name_a_caption_by_its_picture_and_number():
    _, (captions, pictures) = scored(*RANKS[0][:3])
    assert captions["example_id"].tolist() == ["p0/0", "p0/1", "p1/0"]
    assert captions["gold"].tolist() == ["p0", "p0", "p1"]
    assert captions["pred"].tolist() == ["p1", "p0", "p0"]
    assert pictures["gold"].tolist() == ["p0", "p1"] and set(pictures["pred"]) == {"p0"}


def test_captions_dealt_to_other_pictures_are_at_chance():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(500, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    dealt, _ = scored(vectors[random.permutation(500)] @ vectors.T, range(500), range(500))
    # Chance is 0.2 and 2 of 100: a hit or two among 500, and ten or so.
    assert dealt["r@1"] <= 1 and 0.5 <= dealt["r@10"] <= 4.5


def test_an_example_is_a_caption_or_two_and_knows_its_picture(tokenizer):
    texts = [["x", "y", "z"], ["v", "w"]]
    rows = Dataset.from_dict({"id": ["a", "b"], "texts": texts})
    pairs = ["x y", "y z", "z x", "v w", "w v"]  # a caption with the next one of its picture
    for kind, expected in (("captions", "xyzvw"), ("paraphrases", map(str.split, pairs))):
        examples = TYPES[kind].encode(rows, tokenizer, 96, training=True)
        assert [(e.example, e.target) for e in examples] == [(i, i) for i in (0, 0, 0, 1, 1)]
        read = [[list(ids) for ids in example.sequences] for example in examples]
        assert read == [tokenizer(list(texts))["input_ids"] for texts in expected]
    alone = Dataset.from_dict({"id": ["a", "b", "c"], "texts": [["x", "y"], ["z"], ["w"]]})
    with pytest.raises(ValueError, match=r"2 of 3 pictures of captions have one caption only"):
        check_paraphrases(alone, "captions")


def test_captions_are_plain_text_one_a_row(blind):
    rows = load(CAPTIONS, "train", "qas", 5)
    plain = as_text(rows)
    assert plain["text"][:] == [text for texts in rows["texts"][:] for text in texts]
    assert plain["id"][:2] == ["train-0/0", "train-0/1"] and len(set(plain["id"][:])) == 10
    pairs = load(get("caption-pairs"), "train", "qas", 5)
    assert as_text(pairs) is pairs


def test_pretraining_on_captions_looks_at_no_picture(tiny, store, tokenizer, blind):
    training_set = TrainingSet("captions", "qas", 30)
    phase = Pretrain(text=(training_set,), steps=2, batch_size=8, max_length=64)
    (stage,) = training_stages(Recipe(tiny, (phase,)), 0)
    (examples,) = stage.phase.objective(stage.encoder, 0, store.folder).examples
    texts = as_text(training_rows(training_set))["text"][:]
    assert [list(e.sequences[0]) for e in examples] == tokenizer(texts)["input_ids"]
    folder = make(stage, store)
    assert (folder / "model.safetensors").is_file() and not (folder / "tower").exists()
    assert not (store.folder / "vectors").exists()


def test_shuffled_pictures_are_those_of_others_beside_the_same_captions(tiny, tmp_path):
    inputs = []
    for shuffled in (False, True):
        training_set = TrainingSet("captions", "en", 40, shuffled)
        options = {"tower": "pixels", "steps": 4, "batch_size": 80, "max_length": 96}
        phase = ImageText(training_set, **options)
        (batch,) = phase.objective(tiny, 0, tmp_path).batches(0, 1)
        inputs.append(batch.inputs)
    plain, dealt = inputs
    assert torch.equal(plain["input_ids"], dealt["input_ids"])
    moved = (plain["numbers"] != dealt["numbers"]).float().mean()
    assert moved > 0.8 and sorted(plain["numbers"]) == sorted(dealt["numbers"])
    assert not torch.equal(plain["pictures"], dealt["pictures"])
    places = [int((dealt["numbers"] == n).nonzero()[0]) for n in plain["numbers"]]
    assert torch.equal(plain["pictures"], dealt["pictures"][places])  # a number has its picture


@pytest.mark.parametrize("phase", [Intermediate(["captions"], steps=2), Target("captions")])
def test_what_trains_a_task_says_how_pictures_are_trained_on(tiny, phase):
    with pytest.raises(ValueError, match=r"train on it with ImageText\(\['captions'\]\)"):
        training_stages(Recipe(tiny, (phase,)), 0)


UNFIT = {
    "no phase": (),
    "Intermediate": (Intermediate(["pos"], steps=2),),
    "ImageText": (ImageText(["captions"], against="paraphrase"),),
}


@pytest.mark.parametrize(("named", "phases"), UNFIT.items())
def test_captions_are_no_target_of_what_finds_no_pictures(tiny, phases, named):
    with pytest.raises(ValueError, match=f"ImageText or Distil. This one ends with {named}"):
        study({"arm": Recipe(tiny, phases)}, ["captions"], [0], languages=["en"])
