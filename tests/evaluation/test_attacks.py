"""Attacks: what they propose, searched by loss, read off gradients, reported, and withstood."""

import json
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from transformers import BertTokenizer

import xltkit as xlt
from xltkit.analysis.compare import _settings, attack_report
from xltkit.data.microworld import generate as micro
from xltkit.data.microworld import glosses
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.text import is_valid, replace_words, words
from xltkit.evaluation import attacks, gradient
from xltkit.evaluation.attacked import AttackedModel, attacked
from xltkit.evaluation.attacks import CodeMixing, Distractor, EmbeddingPGD, TokenFlip, Typos
from xltkit.evaluation.predict import predict
from xltkit.explore import plots
from xltkit.studies.make import reader
from xltkit.studies.store import Store
from xltkit.tasks import get, load
from xltkit.training.robust import Adversarial, Ball

COUNT = 16
STEPS = {"nli": 10, "choice": 60, "pos": 25, "qa-small": 60}


pytestmark = pytest.mark.usefixtures("fp32")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Results of models of all types that can be attacked, trained for seconds."""
    store = Store(tmp_path_factory.mktemp("store"))
    options = {"arms": {"micro": xlt.encoder("micro")}, "languages": ["qbe"], "examples": COUNT}
    studies = {n: xlt.study(targets=[n], seeds=[0], steps=s, **options) for n, s in STEPS.items()}
    return {name: study.run(store) for name, study in studies.items()}


@pytest.fixture
def parts(trained):
    """A function that gives model, task, head, rows and tokenizer of a task."""

    def of(name: str):
        results = trained[name]
        stage = results.study.runs[0].stage
        task, head, model, tokenizer = reader(stage, str(results.store.path(stage.parent.key)))
        data = name.removesuffix("-small")
        rows = {code: micro.rows(data, "test", LANGUAGES[code], COUNT) for code in ("en", "qbe")}
        return model, task, head, rows, tokenizer

    return of


def values(scores, metric):
    return scores.loc[scores["metric"] == metric, "value"].to_numpy()


def propose(attack, word, code="en"):
    return attack.proposals(word, code, np.random.default_rng(0), frozenset())


def test_a_name_that_is_the_same_abroad_is_no_change(tmp_path):
    (tmp_path / "en-de.txt").write_text("berlin berlin\nriver fluss\n")
    mix = CodeMixing(source=str(tmp_path), languages=("de",))
    assert propose(mix, "Berlin") == []
    assert propose(mix, "River") == ["Fluss"]
    assert propose(CodeMixing(languages=("en",)), "river") == []
    big = LANGUAGES["qbe"].form("big")
    expected = {LANGUAGES[code].form("big") for code in ("qke", "qto")} - {big}
    assert set(propose(CodeMixing(), big, "qbe")) == expected


@pytest.mark.parametrize(("code", "other"), [("en", "qto"), ("qbe", "en"), ("qke", "qad")])
def test_mixing_every_word_gives_the_other_language(code, other):
    attack = CodeMixing(languages=(other,))
    forms = set(glosses.word_forms(other).values())
    columns = get("nli").type.texts
    for row in load(get("nli"), "test", code).select(range(50)):
        proposals = [propose(attack, word.text, code) for word in words(columns, row)]
        mixed = replace_words(columns, row, {i: p[0] for i, p in enumerate(proposals) if p})
        assert {word.text for word in words(columns, mixed)} <= forms
        assert mixed["label"] == row["label"]


def test_distractors_resemble_the_question_and_do_not_answer_it():
    questions = [
        ("where does Anna live ?", "Anna lives in Rome .", "Rome", 14),
        ("where does Ben live ?", "Ben lives in Oslo . ANNA is in ROME .", "Oslo", 13),
        ("what ?", "does Anna like tea ?", "tea", 15),
    ]
    names = ("question", "context", "answers", "starts")
    rows = [dict(zip(names, (q, c, [a], [s]), strict=True)) for q, c, a, s in questions]
    for at in ("end", "start"):
        ((first,),) = Distractor(at=at).variants(rows[:1], rows)
        # "ANNA is in ROME ." is more alike, but holds the answer
        assert "does Anna like tea ?" in first["context"]
        assert is_valid(names[:2], first)
    (variants,) = Distractor(tries=3).variants(rows[:1], rows)
    assert len({variant["context"] for variant in variants}) == 2  # no other is usable


@pytest.mark.parametrize(
    ("attack", "settings", "message"),
    [
        (Typos, {"strength": 0}, "strength is 0"),
        (Typos, {"strength": 1.2}, "1 at most"),
        (Typos, {"beam": -1}, "beam is -1"),
        (Distractor, {"tries": 0}, "tries is 0"),
        (Distractor, {"at": "middle"}, "Allowed: end, start"),
        (EmbeddingPGD, {"norm": "l1"}, "Allowed: l2"),
        (EmbeddingPGD, {"radius": 0}, "radius is 0"),
    ],
)
def test_bad_settings_are_named(attack, settings, message):
    with pytest.raises(ValueError, match=message):
        attack(**settings)


@pytest.mark.parametrize("name", STEPS)
def test_an_attack_is_deterministic_and_keeps_the_clean_scores(parts, name):
    setup = parts(name)
    table, scores = attacked(*setup, CodeMixing(strength=0.3, beam=2))
    again, _ = attacked(*setup, CodeMixing(strength=0.3, beam=2))
    assert table.equals(again)
    clean, clean_scores = predict(*setup)
    assert list(table["example_id"]) == list(clean["example_id"])
    assert np.allclose(table["clean_score"], clean["score"].astype(float))
    metric = setup[1].metric
    assert np.allclose(values(scores, "clean"), values(clean_scores, metric))
    assert (values(scores, metric) <= values(scores, "clean") + 1e-6).all()


def test_the_order_and_the_company_of_the_rows_play_no_part(parts):
    model, task, name, rows, tokenizer = parts("choice")
    half = {"qbe": rows["qbe"].select(range(7, -1, -1))}
    attack = CodeMixing(strength=0.3, beam=2)
    whole, _ = attacked(model, task, name, {"qbe": rows["qbe"]}, tokenizer, attack)
    part, _ = attacked(model, task, name, half, tokenizer, attack)
    both = part.merge(whole, on="example_id", suffixes=("", "_whole"))
    assert len(both) == 8
    for column in ("pred", "input", "queries"):
        assert (both[column] == both[f"{column}_whole"]).all()


def test_a_beam_is_never_weaker_than_chance_at_the_same_places(parts):
    model, task, name, rows, tokenizer = parts("pos")
    victim = AttackedModel(model, task, name, tokenizer)
    listed = rows["qbe"].to_list()
    clean = victim.predict(listed)
    losses = [np.mean([prediction.loss for prediction in clean])]
    for beam in (0, 1, 3):
        results = Typos(strength=0.3, beam=beam).run(victim, clean, listed, "qbe")
        losses.append(np.mean([result.prediction.loss for result in results]))
        assert all(0 < result.changed <= 1 for result in results)
    assert losses[0] < losses[1] < losses[2] <= losses[3]


def test_more_tries_are_no_weaker_and_each_is_a_query(parts):
    setup = parts("choice")
    one, _ = attacked(*setup, Typos(strength=0.2))
    five, scores = attacked(*setup, Typos(strength=0.2, tries=5))
    assert (five["score"] <= one["score"]).all()
    tried = five["clean_score"] > 0
    assert set(one.loc[tried, "queries"]) == {1} and five.loc[tried, "queries"].max() == 5
    queries = five[tried & (five["language"] == "en")]["queries"]
    assert np.isclose(values(scores, "queries")[0], queries.mean())


def test_queries_are_the_rows_that_the_model_reads(parts, monkeypatch):
    read = []
    real = AttackedModel.predict
    monkeypatch.setattr(
        AttackedModel, "predict", lambda self, rows: read.append(len(rows)) or real(self, rows)
    )
    table, _ = attacked(*parts("qa-small"), Typos(strength=0.2, beam=2))
    assert table["queries"].sum() == sum(read) - 2 * COUNT  # the clean rows, once each


def test_places_of_a_weaker_attack_are_among_those_of_a_stronger(parts):
    _, task, _, rows, _ = parts("nli")
    for row in rows["en"].to_list()[:8]:
        options = (task.type.texts, row, "en", frozenset())
        weak, strong = (Typos(strength=strength).places(*options) for strength in (0.2, 0.5))
        assert weak and strong[: len(weak)] == weak
        assert all(len(set(words)) == len(words) <= 3 for _, words in strong)
    assert [attacks.word_limit(0.2, count) for count in (1, 5, 6, 10)] == [1, 1, 2, 2]


def test_what_was_wrong_before_is_left_as_it_is(parts):
    setup = parts("nli")
    table, scores = attacked(*setup, Typos(strength=0.5, beam=1))
    english = table[table["language"] == "en"].set_index("example_id")
    wrong = english[english["clean_score"] == 0]
    assert len(wrong) and (wrong["queries"] == 0).all() and (wrong["changed"] == 0).all()
    texts = {row["id"]: row["text_a"] for row in setup[3]["en"].to_list()}
    for key, inputs in wrong["input"].items():
        assert json.loads(inputs)["text_a"] == texts[key]
    right = english[english["clean_score"] > 0]
    assert np.isclose(values(scores, "success")[0], 100 * (right["score"] == 0).mean())
    assert np.isclose(values(scores, "changed")[0], 100 * right["changed"].mean())


ATTACKS = [Typos(strength=0.4, beam=2), CodeMixing(strength=0.4)]
ATTACKS += [Distractor(tries=2, at="start"), TokenFlip(strength=0.3)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_gold_answers_stay_in_every_attacked_context(parts, attack):
    table, scores = attacked(*parts("qa-small"), attack)
    assert table["valid"].all() and (values(scores, "valid") == 100).all()
    for row in table.itertuples():
        texts = json.loads(row.input)
        context = texts.get("context") or " ".join(texts["read"])
        assert any(answer in context for answer in json.loads(row.gold))
    assert (values(scores, "success") > 0).any()


def test_the_best_flip_of_a_linear_loss_is_the_one_with_the_largest_true_change():
    draw = torch.Generator().manual_seed(0)
    embeddings = torch.randn(9, 5, generator=draw)
    slope = torch.randn(4, 5, generator=draw)
    current = [0, 3, 3, 8]
    changes = (embeddings[None] - embeddings[current][:, None]) @ slope[:, :, None]
    changes[range(4), current] = float("-inf")  # no flip
    token, flip = gradient.best_flip(slope, current, embeddings)
    assert changes[token, flip] == changes.max()


@pytest.mark.parametrize("name", ["choice", "pos", "qa-small"])
def test_flips_raise_the_loss_and_a_premise_is_flipped_in_all_alternatives(parts, name):
    setup = parts(name)
    table, _ = attacked(*setup, TokenFlip(strength=0.3))
    tried = table[table["clean_score"] > 0]
    assert (tried["loss"] >= tried["clean_loss"]).all()
    assert tried["loss"].mean() > tried["clean_loss"].mean() + 0.1
    assert (tried["queries"] % 2 == 0).all() and tried["queries"].min() >= 2
    if name == "choice":
        premises = {row["id"]: row["premise"].split() for row in setup[3]["en"].to_list()}
        changed = 0
        for row in table[(table["changed"] > 0) & (table["language"] == "en")].itertuples():
            one, other = (text.split() for text in json.loads(row.input)["read"])
            premise = premises[row.example_id][:-1]
            assert one[: len(premise)] == other[: len(premise)]
            changed += one[: len(premise)] != premise
        assert changed


@pytest.mark.parametrize("marks_starts", [True, False])
def test_whole_words_are_found_whatever_marks_their_start(parts, marks_starts):
    model, task, name, rows, tokenizer = parts("nli")
    listed = rows["en"].to_list()
    texts = [f"{row['text_a']} {row['text_b']}" for row in listed]
    if not marks_starts:  # as mBERT's, which marks what goes on inside of words
        words = sorted({word for text in texts for word in text.split()})
        letters = sorted(set("".join(words)))
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words[::2], *letters]
        tokens = dict.fromkeys([*tokens, *(f"##{letter}" for letter in letters)])
        vocabulary = {token: i for i, token in enumerate(tokens)}
        tokenizer = BertTokenizer(vocabulary, do_lower_case=False, model_max_length=512)
    ids = gradient.whole_words(tokenizer, "LATIN")
    decoded = [tokenizer.decode([i]).strip() for i in ids]
    assert len(ids) > 10 and all(text.isalpha() for text in decoded)
    assert not set(ids) & set(tokenizer.all_special_ids)
    examples = AttackedModel(model, task, name, tokenizer).encode(listed, words=True)
    sites = gradient.find_sites(listed, examples, ids)
    assert sum(map(len, sites)) > len(listed)
    for text, row_sites in zip(texts, sites, strict=True):
        for (word, *_), places in row_sites.items():
            assert decoded[word] in text.split()
            example, sequence, position = places[0]
            assert examples[example].sequences[sequence][position] == ids[word]


def test_shifts_of_the_embeddings_stay_in_the_ball_and_vanish_with_it(parts, monkeypatch):
    setup = parts("choice")
    shifts = []
    real = gradient.read_perturbed

    def recorded(model, examples, inputs, *args):
        shifts.append((inputs, args[-1].detach()))
        return real(model, examples, inputs, *args)

    monkeypatch.setattr(gradient, "read_perturbed", recorded)
    table, scores = attacked(*setup, EmbeddingPGD(radius=0.3, step=0.7, steps=3))
    assert len(shifts) % 4 == 0  # the start, and three steps
    for inputs, shift in shifts:
        ball = Ball(setup[0], inputs, 0.3)
        assert float(shift.flatten(1).norm(dim=1).max()) <= ball.radius * (1 + 1e-5)
        assert not shift[inputs["attention_mask"] == 0].any()
    tried = table[table["clean_score"] > 0]
    assert tried["loss"].mean() > tried["clean_loss"].mean() + 0.1
    assert tried["changed"].isna().all() and set(tried["queries"]) == {6}
    still, scores = attacked(*setup, EmbeddingPGD(radius=1e-9))
    assert (still["score"] == still["clean_score"]).all()
    assert np.allclose(still["loss"], still["clean_loss"], atol=2e-5)
    assert (values(scores, "success") == 0).all()


def test_the_report_starts_at_the_clean_scores_and_draws(trained):
    results = trained["choice"]
    typos = {"weak": Typos(strength=0.1), "strong": Typos(strength=0.4)}
    typos["searched"] = Typos(strength=0.1, beam=2)
    changes = {name: {"attack": attack} for name, attack in typos.items()}
    changes["fewer"] = {"attack": EmbeddingPGD(steps=2), "examples": 8}
    table = attack_report(results, results.rescore(changes))
    assert len(table) == 2 * (3 + 2 + 2)  # languages, and three attacks with their start
    start = table[(table["strength"] == 0) & (table["attack"] == "typos")]
    clean = results.main.set_index("language")["value"]
    assert len(start) == 4 and np.allclose(start["value"], clean[start["language"]])
    assert (start["drop"] == 0).all() and (start["queries"] == 0).all()
    shifts = table[table["attack"] == "embeddings"]
    assert set(shifts["n"]) == {8} and set(shifts["access"]) == {"white box"}
    assert set(shifts["settings"]) == {"steps=2"} and set(shifts["strength"]) == {0.0, 0.1}
    assert np.allclose(table["drop"], table["clean"] - table["value"])
    with pytest.raises(ValueError, match="of no attack"):
        attack_report(results, {"plain": results})
    with pytest.raises(ValueError, match="choice has no context"):
        results.rescore({"sentence": {"attack": Distractor()}})
    figure = plots.attacks(table)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["typos, random", "typos, beam 2", "embeddings"]
    assert figure.axes[0].get_ylabel() == "choice: accuracy\nunder attack (points)"
    plt.close("all")


def test_the_report_names_a_folder_of_dictionaries_but_not_where_it_lies(tmp_path):
    phase = SimpleNamespace(attack=CodeMixing(source=str(tmp_path / "words")))
    run = SimpleNamespace(arm="none", seed=0, task="nli", stage=SimpleNamespace(phase=phase))
    assert _settings(run)[-1] == "source=words"


ARMS = {
    "plain": xlt.encoder("micro"),
    "robust": xlt.encoder("micro").then(xlt.Target(robust=Adversarial())),
}


def gain(store, seeds, **options):
    """Robust minus plain under attack, in points, with its interval over seeds."""
    options = {"languages": ["qbe"], "examples": 60, **options}
    pgd = {"attack": EmbeddingPGD(radius=0.1)}
    results = xlt.study(ARMS, ["choice"], seeds, **options).run(store)
    comparison = xlt.compare(results.rescore({"pgd": pgd})["pgd"], "plain")
    return results, comparison.query("languages == 'transfer'").iloc[0]


@pytest.mark.slow
def test_a_robust_model_is_harder_to_break_unless_it_learned_nothing(store):
    results, row = gain(store, range(5))
    assert row["low"] > 0, row
    assert results.main["value"].min() > 80  # without an attack both know the task
    _, row = gain(store, range(3), shuffled=True)
    assert row["low"] <= 0 <= row["high"] or abs(row["difference"]) < 5
