"""Sentence vectors: translations find each other, and figures draw what the table says."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import xltkit as xlt
from xltkit.data import microworld
from xltkit.explore.embeddings import checkpoints, draw, embed, nearest, retrieval_accuracy, unit

CODES = ("en", "qad", "qto")


@pytest.fixture(scope="module")
def texts():
    return {
        code: list(microworld.rows("retrieval", "test", microworld.language(code), 40)["text"])
        for code in CODES
    }


@pytest.fixture(scope="module")
def both(texts):
    return {"untrained": embed("micro", texts, untrained=True), "pretrained": embed("micro", texts)}


def test_the_nearest_is_found_by_the_angle_and_not_by_the_length():
    table = pd.DataFrame([[1, 0], [0, 1], [1, 1], [9, 1], [5, 6], [-1, 9]])
    table = table.assign(language=["en"] * 3 + ["sw"] * 3, sentence=[0, 1, 2] * 2, text=[*"abcdef"])
    assert retrieval_accuracy(table).to_dict() == {"sw": pytest.approx(100 / 3)}
    assert np.allclose(np.linalg.norm(unit(table), axis=1), 1)
    best = nearest(table, "sw", 1, first=2)
    assert list(best.index) == ["c", "b"] and list(best["translation"]) == [False, True]
    assert best["near"].iloc[0] == pytest.approx(11 / np.sqrt(2 * 61))


def test_pretraining_aligns_what_an_untrained_network_does_not(both):
    shares = {name: retrieval_accuracy(table) for name, table in both.items()}
    assert shares["pretrained"]["qto"] > shares["untrained"]["qto"] + 20
    assert shares["untrained"]["qad"] > shares["untrained"]["qto"]  # shared pieces, not knowledge


def test_vectors_do_not_depend_on_what_stands_beside_them(texts, both):
    """Padding plays no part, and an untrained network is the same one every time."""
    alone = embed("micro", {"qto": texts["qto"][:1]})
    row = both["pretrained"].query("language == 'qto' and sentence == 0")
    assert np.allclose(unit(alone), unit(row), atol=1e-5)
    pd.testing.assert_frame_equal(embed("micro", texts, untrained=True), both["untrained"])


def test_the_layer_of_retrieval_scores_as_the_task_does(store, texts, both):
    arms = {"none": xlt.encoder("micro")}
    study = xlt.study(arms, ["retrieval"], [0], examples=40, languages=["qad", "qto"])
    score = study.run(store).main.set_index("language")["value"]["qto"]
    assert retrieval_accuracy(both["pretrained"])["qto"] == pytest.approx(score, abs=2.6)  # bf16


def test_checkpoints_are_those_of_the_chain(store, tiny):
    base = xlt.encoder(tiny)
    arms = {"none": base, "more": base.then(xlt.Intermediate(["nli"], steps=2))}
    results = xlt.study(arms, ["pos"], [4], examples=5, languages=["qad"], steps=2).run(store)
    named = checkpoints(results, "more", "pos")
    assert list(named) == [Path(tiny).name, "after intermediate nli", "after target pos"]
    before, after, last = (embed(named[name], {"en": ["Anna owns a ball ."]}) for name in named)
    assert len(before) == 1 and not np.allclose(unit(after), unit(last))
    with pytest.raises(ValueError, match="There is no run 'most, pos'"):
        checkpoints(results, "most", "pos")


def test_the_figure_joins_translations_and_counts_all_sentences(both):
    figure = draw(both, first=4)
    assert len(figure.axes) == 2
    for ax, table in zip(figure.axes, both.values(), strict=True):
        accuracy = retrieval_accuracy(table).mean()
        assert f"translation found: {accuracy:.0f} %" in ax.get_title(loc="left")
        drawn = [line for line in ax.lines if len(line.get_xdata())]
        points = [line for line in drawn if line.get_marker() not in ("None", "", None)]
        assert len(points) == 4 * len(CODES)
        assert {t.get_text() for t in ax.texts} == {"1", "2", "3", "4"}
        starts = {tuple(line.get_xydata()[0]) for line in drawn if len(line.get_xydata()) == 2}
        assert len(starts) == 4  # all lines of a sentence start at the one in English
    plt.close(figure)
    wide = pd.concat([both["pretrained"].assign(language=f"q{i}") for i in range(9)])
    with pytest.raises(ValueError, match="draw 8 at most"):
        draw({"x": wide})
