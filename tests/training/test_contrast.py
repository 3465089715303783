"""The losses of training on pictures by hand, the queue, and what a batch is made of."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from xltkit.models import encoder as models
from xltkit.models import vision
from xltkit.models.heads import Joint
from xltkit.tasks import TrainingSet
from xltkit.tasks.rows import training_rows
from xltkit.training import contrast
from xltkit.training.batches import Plan
from xltkit.training.contrast import Memory, info_nce
from xltkit.training.phases_images import Distil, ImageText
from xltkit.training.supervised import encode

FEW = TrainingSet("captions", "qas", 40)


def objective(phase, tiny, tokenizer, store, steps=6, batch_size=8):
    """The objective of a phase as a stage puts it together."""
    phase = replace(phase, max_length=96)
    encoded = encode(phase, tiny)
    lengths = [[len(example) for example in e.examples] for e in encoded]
    weights = phase.weights([p.examples for p in phase.training_sets])
    plan = Plan(lengths, weights, steps, batch_size, seed=3)
    return phase.objective(encoded, plan, tokenizer, 3, store=store.folder)


# --- the loss ------------------------------------------------------------------------------------

IMAGES, TEXTS = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [1.0, 1.0]])
APART = torch.arange(2)


def minus_log_share(right, *scores):
    return math.log(sum(map(math.exp, scores))) - right


def test_the_loss_of_two_pairs_is_what_one_computes_by_hand():
    half = 2 * math.sqrt(0.5)  # twice the cosine of 45 degrees
    first = minus_log_share(2, 2, 0) + minus_log_share(2, 2, half)
    second = minus_log_share(half, half, half) + minus_log_share(half, 0, half)
    found = info_nce(IMAGES, TEXTS, 2.0, APART)
    assert found.tolist() == pytest.approx([first / 2, second / 2])
    assert torch.allclose(info_nce(TEXTS, IMAGES, 2.0, APART), found)


def test_vectors_that_are_all_alike_are_at_chance():
    alike, scale = torch.ones(7, 3), Joint(3, 3, "mean", False).scale()
    assert torch.allclose(info_nce(alike, alike, scale, torch.arange(7)), torch.tensor(7.0).log())


def test_two_captions_of_one_picture_are_no_negatives_of_each_other():
    images = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    found = info_nce(images, texts, 1.0, torch.tensor([5, 5, 2])).tolist()
    first = minus_log_share(1, 1, 0) + minus_log_share(1, 1, 0)
    second = minus_log_share(0.6, 0.6, 0.8) + minus_log_share(0.6, 0.6, 0)
    third = minus_log_share(1, 1, 0, 0) + minus_log_share(1, 1, 0, 0.8)
    assert found == pytest.approx([first / 2, second / 2, third / 2])
    assert not np.allclose(found, info_nce(images, texts, 1.0, torch.arange(3)).tolist())


def test_a_queue_adds_its_vectors_as_negatives_and_an_empty_one_nothing():
    plain = info_nce(IMAGES, TEXTS, 2.0, APART)
    empty = (torch.zeros(0, 2), torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert torch.equal(info_nce(IMAGES, TEXTS, 2.0, APART, empty), plain)
    old = torch.tensor([[-1.0, 0.0], [0.0, -1.0]])  # far from everything
    half = 2 * math.sqrt(0.5)
    by_text = minus_log_share(2, 2, 0, -2, 0), minus_log_share(half, half, half, -half, -half)
    by_image = minus_log_share(2, 2, half, -2, 0), minus_log_share(half, 0, half, 0, -2)
    found = info_nce(IMAGES, TEXTS, 2.0, APART, (old, old, torch.tensor([8, 9])))
    assert found.tolist() == pytest.approx(np.add(by_text, by_image) / 2)
    # what the queue has of the batch's own pictures is no negative of them
    found = info_nce(IMAGES, TEXTS, 2.0, APART * 0, (old, old, torch.tensor([0, 0])))
    assert found.tolist() == [0, 0]


def test_the_scale_starts_at_its_value_is_clamped_and_comes_back():
    head = Joint(4, 4, "mean", True)
    assert float(head.scale().detach()) == pytest.approx(1 / 0.07)
    for far, limit, way in ((9.0, 100.0, 1), (-9.0, 1.0, -1)):
        with torch.no_grad():
            head.log_scale.fill_(far)
        assert float(head.scale().detach()) == pytest.approx(limit)
        step = torch.optim.SGD([head.log_scale], lr=0.5 / limit)
        (way * head.scale()).backward()
        step.step()
        assert float(head.scale().detach()) == pytest.approx(limit * math.exp(-way * 0.5))
        head.log_scale.grad = None


# --- the queue -----------------------------------------------------------------------------------


def test_the_oldest_pairs_fall_out_of_the_queue():
    memory, given = Memory(5, 2), torch.arange(1.0, 9.0)
    assert [len(part) for part in memory.read()] == [0, 0, 0]
    for at in (slice(0, 2), slice(2, 4), slice(4, 7)):
        numbers = given[at]
        vectors = torch.stack([numbers, numbers * 0], dim=1).requires_grad_()
        memory.add(vectors, -vectors, numbers.long())
        images, texts, kept = memory.read()
        newest = [int(n) for n in torch.cat([numbers, memory.numbers[len(numbers) :].float()])]
        assert kept.tolist() == newest[: len(kept)] and int(memory.filled) == len(kept)
        assert images.tolist() == [[1, 0]] * len(kept) == (-texts).tolist()  # of length 1
        assert not images.requires_grad
    assert kept.tolist() == [5, 6, 7, 3, 4]
    memory.add(torch.ones(8, 2), torch.ones(8, 2), torch.arange(8))  # more than it can hold
    assert memory.read()[2].tolist() == [0, 1, 2, 3, 4]
    images[0, 0] = 7.0  # what was read is not changed by what is added, nor the other way round
    assert memory.images.max() <= 1


# --- batches ------------------------------------------------------------------------------------


def test_each_caption_comes_with_its_own_picture(tiny, tokenizer, store):
    phase = ImageText((TrainingSet("captions", "qas", 9), TrainingSet("captions", "qbu", 12)))
    made = objective(phase, tiny, tokenizer, store)
    seen = set()
    for step in range(6):
        (batch,) = made.batches(step, 1)
        rows = training_rows(phase.training_sets[batch.training_set])
        pictures = vision.features("micro-vision", rows, store.folder)[batch.labels.numpy()]
        assert np.array_equal(batch.inputs["pictures"].numpy(), pictures)
        texts = [tokenizer(texts)["input_ids"] for texts in rows["texts"][:]]
        for ids, at in zip(batch.inputs["input_ids"], batch.labels, strict=True):
            assert [i for i in ids.tolist() if i != 1] in texts[int(at)]
        # one scene has one number, in whatever language it is told
        assert torch.equal(batch.inputs["numbers"], batch.labels)
        seen.add(batch.training_set)
    assert seen == {0, 1}


def test_a_paraphrase_stands_where_the_picture_would(tiny, tokenizer, store):
    made = objective(ImageText(FEW, against="paraphrase", queue=20), tiny, tokenizer, store)
    model = models.Model(tiny, made.heads()).eval()
    made.prepare(model)
    head, more = model.heads["captions"], None
    for step in range(2):  # in the second step the first one's pairs are negatives, too
        (batch,) = made.batches(step, 1)
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        one, two = (head(model.hidden(ids[i::2], mask[i::2]), mask[i::2]) for i in (0, 1))
        wanted = info_nce(two, one, 1 / 0.07, batch.inputs["numbers"], more).sum()
        found = made(model, batch)
        assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
        more = model.memory.read()
        assert len(more[2]) == 8 * (step + 1) and more[0].shape == (len(more[2]), 128)
    assert torch.equal(more[2][:8], batch.inputs["numbers"])


# --- distillation --------------------------------------------------------------------------------


@pytest.fixture
def taught(monkeypatch):
    """What teachers were asked; they answer with vectors of ten numbers drawn at random."""
    asked = []

    def answer(teacher, texts, store):
        asked.append((teacher, list(texts)))
        return np.random.default_rng(len(texts)).normal(size=(len(texts), 10)).astype(np.float16)

    monkeypatch.setattr(contrast.vision, "teacher_vectors", answer)
    return asked


def test_the_student_is_told_the_squared_distance_from_the_teacher(tiny, tokenizer, store, taught):
    made = objective(Distil(FEW), tiny, tokenizer, store)
    texts = [t for texts in training_rows(FEW)["texts"][:] for t in texts]
    assert taught == [("micro-clip", texts)]
    model = models.Model(tiny, made.heads()).eval()
    (batch,) = made.batches(0, 1)
    ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"][..., None]
    hidden = model.hidden(ids, mask[..., 0])
    given = model.heads["captions"].text((hidden * mask).sum(1) / mask.sum(1))
    said = [tokenizer(t)["input_ids"] for t in texts]
    at = [said.index([i for i in row.tolist() if i != 1]) for row in ids]
    wanted = torch.from_numpy(made.targets[0][at]).float()
    by_hand = (given - wanted).square().mean(1).sum()
    assert float(made(model, batch).detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    # a part without examples repeats one, and counts for nothing
    parts = made.batches(0, 10)
    assert [p.targets for p in parts] == [1] * 8 + [0] * 2
    summed = [float(made(model, part).detach()) for part in parts]
    assert sum(summed) == pytest.approx(float(by_hand.detach()), rel=1e-4) and summed[8:] == [0, 0]


def test_of_a_translation_pair_the_teacher_reads_the_translation(tiny, tokenizer, store, taught):
    training_set = TrainingSet("caption-pairs", "qas", 20)
    made = objective(Distil(training_set), tiny, tokenizer, store)
    rows = training_rows(training_set)
    assert taught[0][1] == rows["translation"][:] != rows["text"][:]
    (batch,) = made.batches(0, 1)
    for ids, at in zip(batch.inputs["input_ids"], batch.labels, strict=True):
        assert [i for i in ids.tolist() if i != 1] == tokenizer(rows["text"][int(at)])["input_ids"]
