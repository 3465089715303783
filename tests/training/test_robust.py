"""Robust training: ascents by hand, balls that hold, synonyms as released, targets beside plain."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset
from test_loop import fresh, objective, same
from torch import nn

from xltkit.data.text import is_valid
from xltkit.models.encoder import Model
from xltkit.studies.stages import Recipe, training_stages
from xltkit.studies.study import study
from xltkit.tasks import get, load
from xltkit.training import robust
from xltkit.training.phases import Intermediate, Target
from xltkit.training.robust import Adversarial, Ball, RandomPerturbation, SynonymSmoothing
from xltkit.training.supervised import Batch

SLOPE = torch.tensor([3.0, 4.0])  # of length 5


class Toy(nn.Module):
    """A loss that is linear in the word embeddings, all of which are (1, 0)."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Module()
        self.words = nn.Embedding.from_pretrained(torch.tensor([[1.0, 0.0]] * 3), freeze=False)
        self.encoder.get_input_embeddings = lambda: self.words


def linear(model, batch):
    embedded = model.words(batch.inputs["input_ids"]) * batch.inputs["attention_mask"][..., None]
    return (embedded @ SLOPE).sum()


def batch_of(*lengths):
    mask = torch.tensor([[int(i < n) for i in range(max(lengths))] for n in lengths])
    return Batch(0, {"input_ids": mask, "attention_mask": mask}, torch.zeros(len(lengths)), 1)


def backpropagated(losses):
    """The losses, each backpropagated before the next, as the loop does."""
    values = []
    for loss in losses:
        loss.backward()
        values.append(float(loss.detach()))
    return values


def test_freelb_on_a_linear_loss_is_what_one_computes_by_hand():
    method = Adversarial(steps=3, radius=0.5, step_size=0.3, start=0.0)
    losses = backpropagated(method.losses(linear, Toy(), batch_of(4)))
    # Four words at (1, 0) lose 12. The gradient of the block has length 5 * sqrt(4) = 10, so a
    # perturbation of length d adds 10 d: 0, then 0.3, then 0.6 cut to 0.5; each counts a third.
    assert losses == pytest.approx([12 / 3, 15 / 3, 17 / 3])
    unlimited = Adversarial(steps=3, radius=0.0, step_size=0.3, start=0.0)
    assert backpropagated(unlimited.losses(linear, Toy(), batch_of(4)))[2] == pytest.approx(18 / 3)


@pytest.mark.parametrize(("accumulate", "count"), [(True, 4), (False, 1)])
def test_parameters_learn_from_every_step_or_from_the_last(accumulate, count):
    model = Toy()
    method = Adversarial(steps=4, start=0.0, accumulate=accumulate)
    assert len(backpropagated(method.losses(linear, model, batch_of(2)))) == count
    # a linear loss has one gradient everywhere, and the four quarters add up to it
    assert torch.allclose(model.words.weight.grad[1], 2 * SLOPE)


def test_nothing_leaves_the_ball_and_padding_stays():
    torch.manual_seed(0)
    batch = batch_of(5, 2, 1)
    ball = Ball(Toy(), batch.inputs, 0.25)
    padding = batch.inputs["attention_mask"] == 0
    delta = ball.initial(0.2, 7)
    for _ in range(20):
        delta = ball.ascend(delta, torch.randn_like(delta), 0.4)
        assert (delta.flatten(1).norm(dim=1) <= 0.25 + 1e-6).all()
        assert (delta[padding] == 0).all()
    assert torch.equal(ball.initial(0.2, 7), ball.initial(0.2, 7))
    assert not torch.equal(ball.initial(0.2, 7), ball.initial(0.2, 8))


def test_noise_is_as_long_as_it_says():
    lengths = Ball(Toy(), batch_of(*[50] * 40).inputs).noise(0.3, 1).norm(dim=-1)
    assert float(lengths.square().mean().sqrt()) == pytest.approx(0.3, rel=0.03)


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa", "linking"])
def test_methods_on_every_type_of_task(tiny, name):
    task = objective(tiny, name)
    (batch,) = task.batches(0, 1)
    model = fresh(tiny, task).eval()
    before = task(model, batch)
    # without a perturbation the loss is that of the task
    for method in (RandomPerturbation(radius=0.0), Adversarial(step_size=0.0, start=0.0)):
        losses = backpropagated(method.losses(task, model, batch))
        assert sum(losses) == pytest.approx(float(before.detach()), rel=1e-4, abs=1e-4)
    # the ascent raises it
    method = Adversarial(steps=4, radius=4.0, step_size=2.0, start=0.0)
    losses = backpropagated(method.losses(task, model, batch))
    assert losses[-1] > losses[0]
    # and nothing is left on the model, not by an error either
    assert torch.equal(before, task(model, batch))
    with pytest.raises(RuntimeError), robust.perturbed(model, torch.zeros(1, 2, 3, 4, 5)):
        task(model, batch)
    assert torch.equal(before, task(model, batch))


def test_the_steps_of_an_ascent_see_one_dropout_mask(tiny):
    task = objective(tiny, "nli")
    (batch,) = task.batches(0, 1)
    model = fresh(tiny, task).train()
    torch.manual_seed(5)
    still = Adversarial(steps=3, step_size=0.0, start=0.0)
    first, *others = backpropagated(still.losses(task, model, batch))
    assert all(other == first for other in others)
    assert float(task(model, batch).detach()) / 3 != first  # another mask, another loss


@pytest.fixture
def smoothing(tmp_path):
    """A method that draws from the synonyms given."""

    def method(synonyms, **options):
        (tmp_path / "synonyms.json").write_text(json.dumps(synonyms), encoding="utf-8")
        return SynonymSmoothing(source=str(tmp_path / "synonyms.json"), **options)

    return method


def pair(first, second="x"):
    return Dataset.from_list([{"id": "0", "text_a": first, "text_b": second, "label": 1}])


def test_a_word_with_k_neighbors_changes_with_probability_k_of_k_plus_1(smoothing):
    table = {f"w{k}": [f"w{k}n{i}" for i in range(k)] for k in range(1, 9)}
    method = smoothing(table, copies=2000)
    copies = method.augment(get("nli"), pair(" ".join([*table, "other"])))["text_a"][:]
    columns = list(zip(*(text.split(" ") for text in copies), strict=True))
    for (word, neighbors), seen in zip(table.items(), columns, strict=False):
        k = len(neighbors)
        counts = np.array([seen.count(option) for option in [word, *neighbors]])
        assert counts.sum() == len(seen)
        expected = len(seen) / (k + 1)
        # Chi-square with k degrees of freedom: 4.5 standard deviations above its mean.
        assert ((counts - expected) ** 2 / expected).sum() < k + 4.5 * np.sqrt(2 * k)
    assert set(columns[-1]) == {"other"}


def test_a_rate_is_the_probability_of_a_change_in_each_text(smoothing):
    method = smoothing({"good": ["fine", "nice"]}, copies=2000, rate=0.3)
    copies = method.augment(get("nli"), pair("good", "good"))
    changed = np.array([[text != "good" for text in copies[name]] for name in ("text_a", "text_b")])
    assert changed.mean(1) == pytest.approx([0.3, 0.3], abs=0.03)
    assert changed.all(0).mean() == pytest.approx(0.3**2, abs=0.02)  # independently
    assert set(copies["label"]) == {1} and len(set(copies["id"])) == 2000


def test_tokens_are_what_stands_between_single_spaces_and_are_covered(smoothing):
    method = smoothing({"movie": ["film"]}, rate=1.0, copies=1)
    (copy,) = method.augment(get("nli"), pair("Movie movie. movie  movie", "a\tmovie"))
    assert copy["text_a"] == "Movie movie. film  film" and copy["text_b"] == "a\tmovie"
    rows = pair("a movie , movie. Movie", ". x")
    assert method.coverage(get("nli"), rows) == pytest.approx(100 / 5)
    tagged = Dataset.from_list([{"id": "0", "tokens": ["movie", "."], "tags": [0, 1]}])
    assert method.coverage(get("pos"), tagged) == 100
    assert SynonymSmoothing(empty=True).coverage(get("nli"), rows) == 0


WORDS = [("qa", "context", "buys"), ("choice", "choices", "yawns")]
WORDS += [("pos", "tokens", "buys"), ("linking", "text", "joins")]


@pytest.mark.parametrize(("task", "column", "word"), WORDS)
def test_rows_of_other_types_stay_sound(smoothing, task, column, word):
    task = get(task)
    clean = load(task, "train", "en", 200).select(range(200))
    method = smoothing({word: ["obtains"]}, rate=1.0)
    copies = method.augment(task, clean)
    assert all(is_valid(task.type.texts, row) for row in copies)
    assert str(copies[column][:]).count("obtains") == 3 * str(clean[column][:]).count(word) > 0
    assert word not in str(copies[column][:])
    for name in {"answers", "tags", "label", "key"} & set(clean.column_names):
        assert copies[name][::3] == clean[name][:]


@pytest.mark.parametrize("task", ["nli", "qa"])
def test_copies_are_seeded_and_the_control_changes_nothing(task):
    task = get(task)
    rows = load(task, "train", "en", 20).select(range(20))
    one, same, other = (SynonymSmoothing(seed=s).augment(task, rows) for s in (0, 0, 1))
    assert one[:] == same[:] and one[:] != other[:]
    assert len(one) == 60 and one.features == rows.features
    control = SynonymSmoothing(empty=True, copies=2).augment(task, rows)
    assert control.remove_columns("id")[::2] == rows.remove_columns("id")[:]


def test_the_filter_leaves_no_word_that_the_rows_have_not():
    clean = load(get("nli"), "train", "en").select(range(1000))
    methods = [SynonymSmoothing(copies=1, english_only=flag) for flag in (False, True)]
    tables = [clean, *(method.augment(get("nli"), clean) for method in methods)]
    texts = [[*rows["text_a"], *rows["text_b"]] for rows in tables]
    before, released, filtered = (set(" ".join(some).split()) for some in texts)
    assert len(released - before) > 10 and filtered <= before and texts[2] != texts[0]


def test_a_target_without_a_task_takes_that_of_the_study(tiny):
    targets = {"robust": Target(robust=Adversarial()), "own": Target(steps=7)}
    targets["longer"] = Target(effort=2.5)
    arms = {name: Recipe(tiny).then(target) for name, target in targets.items()}
    arms["plain"] = Recipe(tiny)
    planned = study(arms, ["nli", "retrieval"], [0], languages=["en", "qas"], steps=4)
    stages = {(run.arm, run.task): run.stage.parent for run in planned.runs}
    phase = stages["robust", "nli"].phase
    assert phase.robust == Adversarial() and phase.steps == 4
    assert phase.base == stages["plain", "nli"].phase
    assert [stages[arm, "nli"].phase.steps for arm in ("own", "longer")] == [7, 10]
    assert stages["robust", "retrieval"] is None
    with pytest.raises(ValueError, match="names no task"):
        training_stages(arms["robust"], 0)
    with pytest.raises(ValueError, match="Nothing can follow"):
        arms["robust"].then(Intermediate(["nli"]))


def test_robust_arms_share_heads_and_order_with_the_plain_one(tiny, store):
    """At no radius a robust phase must end with the very weights of a plain one."""
    silent = Target(robust=RandomPerturbation(radius=0.0))
    arms = {"plain": Recipe(tiny), "robust": Recipe(tiny).then(silent)}
    results = study(arms, ["nli"], [0], languages=["en"], steps=5, examples=20).run(store)
    folders = [store.path(run.stage.parent.key) for run in results.study.runs]
    assert folders[0] != folders[1]
    assert same(*(Model(str(folder), {}).state_dict() for folder in folders))
