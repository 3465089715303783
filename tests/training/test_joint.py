"""Few labels with many beside them: mixed losses by hand, copied embeddings, a graph of tokens."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.sparse import csr_array
from test_loop import same

import xltkit as xlt
from xltkit.data import microworld
from xltkit.models.checkpoints import load_tokenizer
from xltkit.models.encoder import Model, PerToken, Pooled
from xltkit.studies.make import make
from xltkit.studies.stages import training_stages
from xltkit.tasks.base import IGNORED
from xltkit.training.joint import Graph, mixed_loss

SHORT = {"steps": 4, "examples": 20}


def trained(tiny, store, **options):
    """The heads and the encoder after a short target phase in Bera."""
    recipe = xlt.encoder(tiny).then(xlt.Target("pos", language="qbe", **SHORT, **options))
    folder = make(training_stages(recipe, 0)[-1], store)
    return load_file(folder / "heads.safetensors") | load_file(folder / "model.safetensors")


def divergence(target, predicted):
    """KL(target || softmax(predicted)) of one row, in numpy."""
    log_probs = predicted - np.log(np.exp(predicted).sum())
    return sum(t * (np.log(t) - p) for t, p in zip(target, log_probs, strict=True) if t)


def test_the_loss_of_mixed_sentences_by_hand():
    torch.manual_seed(0)
    head = Pooled(3, 3, dropout=0.0)
    hidden, mask = torch.randn(2, 2, 3), torch.tensor([[1, 1], [1, 0]])
    loss = mixed_loss(head, hidden, mask, torch.tensor([2, 0]), alpha=0.25)
    own, other = hidden[0].mean(0), hidden[1, 0]
    mixed = torch.tanh(head.dense(0.75 * own + 0.25 * other))
    scores = head.scores(mixed).detach().numpy()
    assert loss.item() == pytest.approx(divergence([0.25, 0.0, 0.75], scores), rel=1e-5)


def test_the_loss_of_mixed_tags_by_hand():
    """Position 0 has a tag in both, 1 in the target alone, 2 in the other alone: it counts not."""
    torch.manual_seed(0)
    head = PerToken(3, 2, dropout=0.0)
    hidden, mask = torch.randn(2, 3, 3), torch.ones(2, 3)
    labels = torch.tensor([[0, 1, IGNORED], [1, IGNORED, 0]])
    loss = mixed_loss(head, hidden, mask, labels, alpha=0.4)
    both = head.scores(0.6 * hidden[0, 0] + 0.4 * hidden[1, 0]).detach().numpy()
    alone = head.scores(hidden[0, 1]).detach().numpy()
    by_hand = divergence([0.6, 0.4], both) + divergence([0.0, 1.0], alone)
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_no_mixing_is_training_on_the_target_alone_to_the_bit(tiny, store):
    plain = trained(tiny, store)
    assert same(plain, trained(tiny, store, joint=xlt.Joint(mixup=0.0)))
    assert not same(plain, trained(tiny, store, joint=xlt.Joint(mixup=0.3)))


def test_pieces_translate_each_other():
    tokenizer = load_tokenizer("micro")
    table = xlt.Translations(language="qto").pieces(tokenizer)
    totals = table.sum(axis=1)
    assert set(np.round(totals, 6)) == {0.0, 1.0}
    # A word of one piece that is in no other word has the mean of the pieces of its translation.
    found = xlt.data.lexicons.translations("microworld", "qto", ("en",))
    ids = {word: tokenizer(word, add_special_tokens=False)["input_ids"] for word in found}
    used = [piece for pieces in ids.values() for piece in pieces]
    alone = [
        w for w in ids if len(ids[w]) == 1 and used.count(ids[w][0]) == 1 and totals[ids[w][0]]
    ]
    assert len(alone) > 20
    for word in alone[:20]:
        translated = [
            p for t in found[word] for p in tokenizer(t, add_special_tokens=False)["input_ids"]
        ]
        assert set(table[[ids[word][0]]].nonzero()[1]) == set(translated)
    # No piece of an English word is translated.
    english = tokenizer("the red ball", add_special_tokens=False)["input_ids"]
    assert totals[english].sum() == 0
    for noise in (0.0, 0.5, 1.0):
        wrong = xlt.Translations(language="qto", noise=noise).pieces(tokenizer)
        rows = np.flatnonzero(totals)
        changed = [(wrong[[row]] != table[[row]]).nnz > 0 for row in rows]
        assert np.mean(changed) == pytest.approx(noise, abs=0.15)


def test_embeddings_are_copied_exactly_and_no_others():
    lexicon = xlt.Translations(language="qto")
    model, tokenizer = Model("micro", {}), load_tokenizer("micro")
    model.encoder.resize_token_embeddings(len(tokenizer) + 7)  # some tables have rows to spare
    table = lexicon.pieces(tokenizer)
    weight = model.encoder.get_input_embeddings().weight
    before = weight.detach().clone()
    lexicon.initialize(model, tokenizer)
    mapped = np.unique(table.nonzero()[0])
    assert len(mapped) > 10
    expected = torch.from_numpy(table[mapped].toarray()).float() @ before[: len(tokenizer)]
    torch.testing.assert_close(weight[mapped].detach(), expected)
    rest = np.setdiff1d(np.arange(len(weight)), mapped)
    assert torch.equal(weight[rest], before[rest])


def test_a_graph_adds_the_mean_of_neighbors_and_nothing_without_any():
    """Tokens 1 and 2 of the target mean token 3 of the other language; 0 is padding."""
    table = csr_array(([1.0, 1.0], ([1, 2], [3, 3])), shape=(5, 5))
    ids, hidden = torch.tensor([[1, 2, 4], [3, 4, 0]]), torch.randn(2, 3, 2)
    graph = Graph(2, table, itself=False)
    assert torch.equal(graph(hidden, ids, 1), hidden)  # it begins as the identity
    graph.message.weight.data = torch.eye(2)
    out = graph(hidden, ids, 1)
    torch.testing.assert_close(out[0, 0], hidden[0, 0] + hidden[1, 0])
    torch.testing.assert_close(out[1, 0], hidden[1, 0] + (hidden[0, 0] + hidden[0, 1]) / 2)
    assert torch.equal(out[0, 2], hidden[0, 2]) and torch.equal(out[1, 1:], hidden[1, 1:])
    # A batch of one language gives what it gave without the layer: no neighbor, no message.
    alone = graph(hidden, torch.tensor([[1, 2, 4], [1, 2, 0]]), 1)
    assert torch.equal(alone, hidden)
    control = Graph(2, table, itself=True)
    control.message.weight.data = torch.eye(2)
    torch.testing.assert_close(control(hidden, ids, 1)[0, 0], 2 * hidden[0, 0])


def test_a_graph_is_trained_and_left_out_of_what_is_scored(tiny, store):
    lexicon = xlt.Translations(language="qbe")
    both = trained(tiny, store, joint=xlt.Joint())
    linked = trained(tiny, store, joint=xlt.Joint(graph=lexicon))
    assert both.keys() == linked.keys()  # an ordinary checkpoint
    assert not same(both, linked)


@pytest.mark.parametrize(
    "make_phase, message",
    [
        (lambda: xlt.Joint(mixup=1.0), "mixup"),
        (lambda: xlt.Joint(mixup=0.2, graph=xlt.Translations(language="qbe")), "without graph"),
        (lambda: xlt.Joint(itself=True), "graph"),
        (lambda: xlt.Translations(language="qbe", noise=50), "share"),
        (lambda: xlt.Translations(language="qbe", other="qbe").sources(), "no word"),
        (lambda: xlt.Target("pos", joint=xlt.Joint(), accumulation=2), "accumulation"),
        (lambda: xlt.Target("qa", joint=xlt.Joint()), "tagging"),
        (lambda: xlt.Target("pos", joint=xlt.Joint(), robust=xlt.Adversarial()), "robust"),
    ],
)
def test_what_cannot_be_combined_is_refused(make_phase, message):
    with pytest.raises(ValueError, match=message):
        make_phase()


def test_a_made_up_language_has_a_lexicon():
    code = "qke-x-georgian"
    word = next(iter(xlt.data.lexicons.translations("microworld", code, ("en",))))
    assert microworld.language(code).script == "Georgian" and not word.isascii()
    table = xlt.Translations(language=code).pieces(load_tokenizer("micro"))
    assert table.nnz > 0
