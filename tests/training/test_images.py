"""Training on pictures and on a teacher's vectors: losses by hand, the queue, batches, stages."""

import math
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from xltkit.keys import file_digest
from xltkit.models import vision
from xltkit.models.checkpoints import MICRO_CLIP, load_tokenizer
from xltkit.models.encoder import Joint, Model
from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, evaluation_stage, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet
from xltkit.tasks.rows import training_rows
from xltkit.training.image_text import Distil, ImageText, Memory, info_nce
from xltkit.training.phases import Evaluate

FEW = TrainingSet("captions", "qas", 40)
QUICK = {"steps": 3, "batch_size": 8}


def objective(phase, tiny, store):
    """The objective of six steps of a phase."""
    phase = replace(phase, max_length=96, steps=6, batch_size=8)
    return phase.objective(tiny, 3, store.folder)


def ids_of(batch):
    """The token ids of each text of a batch, without padding."""
    return [[i for i in row.tolist() if i != 1] for row in batch.inputs["input_ids"]]


def trained(phase, store, encoder):
    (stage,) = training_stages(Recipe(encoder, (phase,)), 0)
    return make(stage, store)


def recalls(phase, store, encoder="micro", languages=("en", "qbe"), examples=100):
    """R@1 by language; the stage is trained first if the store does not have it."""
    (stage,) = training_stages(Recipe(encoder, (phase,)), 0)
    last = evaluation_stage(encoder, 0, stage, Evaluate("captions", languages, examples=examples))
    scores = pd.read_parquet(make(last, store) / "result" / "scores.parquet")
    return scores.query("metric == 'r@1'").set_index("language")["value"].to_dict()


def loss_written_out(images, texts, scale, numbers, queue):
    """The rule of ``info_nce``, one pair and one direction at a time."""
    images, texts = (torch.nn.functional.normalize(side, dim=-1) for side in (images, texts))
    losses = torch.zeros(len(numbers))
    for i, number in enumerate(numbers):
        others = torch.cat([numbers, queue[2]]) != number
        for query, side, old in ((texts, images, queue[0]), (images, texts, queue[1])):
            candidates = torch.cat([side[i : i + 1], torch.cat([side, old])[others]])
            scores = scale * candidates @ query[i]
            losses[i] += (scores.logsumexp(0) - scores[0]) / 2
    return losses


# Two captions of one picture are no negatives of each other, nor of what the queue has of it.
NUMBERS = [([0, 1, 2], []), ([5, 5, 2], []), ([0, 1, 2], [8, 9]), ([0, 1, 2], [8, 1])]


@pytest.mark.parametrize(("numbers", "queued"), NUMBERS)
def test_the_loss_is_the_rule_written_out(numbers, queued):
    random = torch.Generator().manual_seed(0)
    images, texts = torch.randn(2, 3, 2, generator=random)
    old = torch.nn.functional.normalize(torch.randn(2, len(queued), 2, generator=random), dim=-1)
    queue = (*old, torch.tensor(queued))
    expected = loss_written_out(images, texts, 2.0, torch.tensor(numbers), queue)
    assert torch.allclose(info_nce(images, texts, 2.0, torch.tensor(numbers), queue), expected)


def test_the_scale_starts_at_its_value_is_clamped_and_comes_back():
    head = Joint(4, 4, True)
    assert float(head.scale().detach()) == pytest.approx(1 / 0.07)
    for far, limit, way in ((9.0, 100.0, 1), (-9.0, 1.0, -1)):
        with torch.no_grad():
            head.log_scale.fill_(far)
        assert float(head.scale().detach()) == pytest.approx(limit)
        (way * head.scale()).backward()
        torch.optim.SGD([head.log_scale], lr=0.5 / limit).step()
        assert float(head.scale().detach()) == pytest.approx(limit * math.exp(-way * 0.5))
        head.log_scale.grad = None


def test_the_oldest_pairs_fall_out_of_the_queue():
    memory = Memory(5, 2)
    newest = []
    for numbers in ([1, 2], [3, 4], [5, 6, 7], [10, 11, 12, 13, 14, 15, 16, 17]):
        vectors = torch.tensor([[float(n), 0.0] for n in numbers], requires_grad=True)
        memory.add(vectors, -vectors, torch.tensor(numbers))
        newest = [*numbers, *newest][:5]
        images, texts, read = memory.read()
        assert read.tolist() == newest
        assert images.tolist() == [[1, 0]] * len(newest) == (-texts).tolist()  # of length 1
        assert not images.requires_grad


def test_each_caption_comes_with_its_picture(tiny, tokenizer, store):
    phase = ImageText((TrainingSet("captions", "qas", 9), TrainingSet("captions", "qbu", 12)))
    contrast = objective(phase, tiny, store)
    batches = [contrast.batches(step, 1)[0] for step in range(6)]
    assert {batch.training_set for batch in batches} == {0, 1}
    for batch in batches:
        rows = training_rows(phase.training_sets[batch.training_set])
        features = vision.features("micro-vision", rows, store.folder)[batch.labels.numpy()]
        assert np.array_equal(batch.inputs["pictures"].numpy(), features)
        captions = [tokenizer(texts)["input_ids"] for texts in rows["texts"][:]]
        for ids, row in zip(ids_of(batch), batch.labels, strict=True):
            assert ids in captions[int(row)]
        # one scene has one number, in whatever language it is told
        assert torch.equal(batch.inputs["numbers"], batch.labels)


def test_a_paraphrase_stands_where_the_picture_would(tiny, store, monkeypatch):
    monkeypatch.setattr(vision, "features", lambda *_: pytest.fail("pictures were looked at"))
    contrast = objective(ImageText(FEW, against="paraphrase", queue=20), tiny, store)
    model = Model(tiny, contrast.heads()).eval()
    contrast.prepare(model)
    head = model.heads["captions"]
    queue = None
    for step in range(2):  # in the second step the first one's pairs are negatives, too
        (batch,) = contrast.batches(step, 1)
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        one, two = (head(model.hidden(ids[i::2], mask[i::2]), mask[i::2]) for i in (0, 1))
        by_hand = info_nce(two, one, 1 / 0.07, batch.inputs["numbers"], queue).sum()
        loss = contrast(model, batch)
        assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-4)
        queue = model.memory.read()
        assert len(queue[2]) == 8 * (step + 1) and queue[0].shape == (len(queue[2]), 128)
    assert torch.equal(queue[2][:8], batch.inputs["numbers"])


@pytest.fixture
def teacher(monkeypatch):
    """The texts that teachers read; they answer with vectors of ten numbers drawn at random."""
    read = []

    def answer(teacher, texts, store):
        read.append((teacher, list(texts)))
        return np.random.default_rng(len(texts)).normal(size=(len(texts), 10)).astype(np.float16)

    monkeypatch.setattr(vision, "teacher_vectors", answer)
    return read


def test_distillation_is_the_squared_distance_from_the_teacher(tiny, tokenizer, store, teacher):
    distillation = objective(Distil(FEW), tiny, store)
    texts = [text for texts in training_rows(FEW)["texts"][:] for text in texts]
    assert teacher == [("micro-clip", texts)]
    model = Model(tiny, distillation.heads()).eval()
    (batch,) = distillation.batches(0, 1)
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
    vectors = model.heads["captions"](model.hidden(ids, mask), mask)
    encoded = tokenizer(texts)["input_ids"]
    rows = [encoded.index(ids) for ids in ids_of(batch)]
    targets = torch.from_numpy(distillation.targets[0][rows]).float()
    by_hand = float((vectors - targets).square().mean(1).sum().detach())
    assert float(distillation(model, batch).detach()) == pytest.approx(by_hand, rel=1e-5)
    losses = [float(distillation(model, part).detach()) for part in distillation.batches(0, 10)]
    assert sum(losses) == pytest.approx(by_hand, rel=1e-4)  # parts without examples are nothing


def test_of_a_translation_pair_the_teacher_reads_the_translation(tiny, tokenizer, store, teacher):
    training_set = TrainingSet("caption-pairs", "qas", 20)
    distillation = objective(Distil(training_set), tiny, store)
    rows = training_rows(training_set)
    assert teacher[0][1] == rows["translation"][:] != rows["text"][:]
    (batch,) = distillation.batches(0, 1)
    assert ids_of(batch) == tokenizer([rows["text"][int(i)] for i in batch.labels])["input_ids"]


@pytest.mark.filterwarnings("error")  # the store deletes an attempt that is not as it should be
@pytest.mark.parametrize("locked", [True, False])
def test_a_killed_run_ends_like_an_uninterrupted_one(
    tiny, store, tmp_path, locked, monkeypatch, killed_at
):
    phase = ImageText(FEW, locked=locked, queue=30, steps=6, batch_size=8)
    whole = trained(phase, store, tiny)
    cut = Store(tmp_path / "cut")
    monkeypatch.setenv("XLTKIT_CHECKPOINT_SECONDS", "0")
    with killed_at(4):
        trained(phase, cut, tiny)
    resumed = trained(phase, cut, tiny)
    files = ["model.safetensors", "heads.safetensors"]
    files += [] if locked else ["tower/model.safetensors"]
    assert [file_digest(whole / f) for f in files] == [file_digest(resumed / f) for f in files]


def test_a_locked_tower_is_looked_through_once_and_left_alone(tiny, store, monkeypatch):
    files = sorted((MICRO_CLIP / "tower").iterdir())
    before = [file_digest(file) for file in files]
    folder = trained(ImageText(FEW, **QUICK), store, tiny)
    recalls(ImageText(FEW, **QUICK), store, tiny, ("qas",), 20)
    assert not (folder / "tower").exists()
    with monkeypatch.context() as patched:
        patched.setattr(vision.Tower, "forward", None)  # the test pictures were seen, too
        trained(ImageText(FEW, **QUICK, queue=10), store, tiny)
        recalls(ImageText(FEW, **QUICK), store, tiny, ("qbu",), 20)
    assert [file_digest(file) for file in files] == before
    heads = load_file(folder / "heads.safetensors")
    assert {n for n in heads if ".image." in n} == {"captions.image.weight", "captions.image.bias"}


def test_a_trained_tower_changes_and_captions_are_scored_with_it(tiny, store, monkeypatch):
    phase = ImageText(FEW, locked=False, **QUICK)
    folder = trained(phase, store, tiny)
    network = AutoModel.from_pretrained(folder / "tower")
    shipped = AutoModel.from_pretrained(MICRO_CLIP / "tower")
    for name, parameter in network.named_parameters():
        assert not torch.equal(parameter, shipped.get_parameter(name)), name
    assert not any(".image." in name for name in load_file(folder / "heads.safetensors"))
    towers = []
    tower = vision.Tower
    monkeypatch.setattr(vision, "Tower", lambda name: towers.append(name) or tower(name))
    recalls(phase, store, tiny, languages=("en",), examples=10)
    assert towers == [str(folder / "tower")]


def test_captions_and_a_student_find_pictures_also_in_a_language_that_had_none(store):
    def values(phase, *args, shuffled=False, **options):
        training_set = TrainingSet(*args, 300, shuffled)
        phase = phase(training_set, steps=20, batch_size=32, **options)
        return recalls(phase, store, examples=50).values()

    assert min(values(ImageText, "captions", "en")) > 40  # chance is 2
    # captions of other pictures teach nothing
    assert max(values(ImageText, "captions", "en", shuffled=True)) < 10
    assert min(values(Distil, "caption-pairs", "qbe", learning_rate=2e-3)) > 40


def test_a_stage_is_a_teacher_of_captions_if_it_has_a_tower(tiny, store):
    unlocked = trained(ImageText(FEW, locked=False, **QUICK), store, tiny)
    locked = trained(ImageText(FEW, **QUICK), store, tiny)
    inputs = load_tokenizer(tiny)(["some words"], return_tensors="pt")
    pooled = Model(str(locked), {}).eval().hidden(**inputs).mean(1)
    weights = load_file(locked / "heads.safetensors")
    by_hand = pooled @ weights["captions.text.weight"].T + weights["captions.text.bias"]
    vectors = vision.teacher_vectors(str(locked), ["some words"], store.folder)
    assert np.allclose(vectors, by_hand.detach().numpy(), atol=2e-3)
    assert vision.tower_of(str(unlocked)) == str(unlocked / "tower")
    assert recalls(Distil(FEW, teacher=str(unlocked), **QUICK), store, tiny, ("qas",), 10)
    with pytest.raises(ValueError, match="No pictures lie in the space of"):
        recalls(Distil(FEW, teacher=str(locked), **QUICK), store, tiny, ("qas",), 10)


def key(phase, seed=0):
    return training_stages(Recipe("micro", (phase,)), seed)[-1].key


def test_the_key_is_that_of_the_weights_of_the_tower(tmp_path):
    shipped = ImageText(FEW, **QUICK)
    shutil.copytree(MICRO_CLIP / "tower", tmp_path / "tower")
    copied = replace(shipped, tower=str(tmp_path / "tower"))
    assert key(copied) == key(shipped) != key(shipped, seed=1)
    processor = tmp_path / "tower" / "preprocessor_config.json"  # what is done to pictures
    processor.write_text(processor.read_text().replace("0.5", "0.4"))
    others = [{"tower": "pixels"}, {"locked": False}, {"queue": 9}, {"against": "paraphrase"}]
    phases = [shipped, copied, *(replace(shipped, **change) for change in others)]
    assert len({key(phase) for phase in phases}) == 6
    assert key(Distil(FEW)) != key(Distil(FEW, teacher=str(MICRO_CLIP / "tower")))


ERRORS = [
    (ImageText, ["nli"], {}, r"ImageText is given \['nli'\]; it trains on one task"),
    (ImageText, ["captions", "emoji"], {}, "one task of pictures with captions"),
    (ImageText, FEW, {"accumulation": 2}, "accumulation is 2.* leave accumulation 1"),
    (ImageText, FEW, {"tower": "pixels", "locked": False}, "nothing to train"),
    (ImageText, FEW, {"tower": "micro-visoin"}, "Did you mean 'micro-vision'"),
    (Distil, ["pos"], {}, r"Distil is given \['pos'\]; it trains on captions, text or"),
    (Distil, FEW, {"teacher": "mini-clip"}, "no encoder or image tower 'mini-clip'"),
]


@pytest.mark.parametrize(("phase", "sets", "settings", "message"), ERRORS)
def test_bad_settings_are_named_before_anything_is_trained(phase, sets, settings, message):
    with pytest.raises(ValueError, match=message):
        key(phase(sets, **settings))
