"""Tasks that search a pool: the dual encoder's loss, rankings in blocks, pairs mined by margin."""

import json

import numpy as np
import pytest
import torch
from datasets import Dataset

import xltkit as xlt
from xltkit.data.microworld import generate as micro
from xltkit.data.microworld.languages import LANGUAGES
from xltkit.data.readers_retrieval import bucc
from xltkit.evaluation.predict import outputs, predict
from xltkit.models import checkpoints
from xltkit.models import encoder as models
from xltkit.studies.stages import Recipe
from xltkit.tasks import get, retrieval
from xltkit.tasks.base import TYPES, Task, TrainingArguments
from xltkit.training.phases import Target

RANKING = TYPES["ranking"]
LINKING = get("linking")
MINING = Task("pairs-mined", "mining", "f1", 0.0, training=TrainingArguments(max_length=64))


POOLS = [  # keys, candidates, negatives; (query, row, side) of what is not in a pool
    ("abc", "uvw", "", []),
    ("abc", "uvw", "xyz", []),
    ("aab", "uvw", "", [(0, 1, 1), (1, 0, 1)]),
    ("abc", "uvu", "xyz", [(0, 2, 1), (2, 0, 1)]),
    ("abc", "uvw", "xuz", [(0, 1, 2)]),
]


@pytest.mark.parametrize(("keys", "texts", "negatives", "hidden"), POOLS)
def test_the_loss_is_a_softmax_over_the_candidates(keys, texts, negatives, hidden):
    columns = {"key": keys, "text": texts, "context": [""] * 3, "negative": negatives}
    rows = Dataset.from_dict({name: list(column) for name, column in columns.items() if column})
    numbers = retrieval.candidate_numbers(rows)
    sides = range(1, len(numbers[0]))
    rows = torch.randn(3, 1 + len(sides), 4, generator=torch.Generator().manual_seed(0))
    by_hand = 0.0
    for i in range(3):
        pool = [(i, j, side) for j in range(3) for side in sides if (i, j, side) not in hidden]
        scores = torch.stack([rows[i, 0] @ rows[j, side] for _, j, side in pool])
        by_hand += float(torch.logsumexp(scores, 0) - rows[i, 0] @ rows[i, 1])
    loss = RANKING.losses(rows.flatten(0, 1), torch.tensor(numbers)).sum()
    assert float(loss) == pytest.approx(by_hand, abs=1e-5)


def test_the_head_gives_cosines_times_a_learned_scale_of_100():
    torch.manual_seed(0)
    head = models.Vector(6)
    out = head(torch.randn(2, 3, 6), torch.ones(2, 3))
    assert float((out[0] @ out[0]).detach()) == pytest.approx(100.0, rel=1e-5)
    assert abs(float((out[0] @ out[1]).detach())) < 100.0
    (out[0] @ out[1]).backward()
    assert head.scale.grad is not None and head.scale.grad != 0


def test_a_batch_that_is_cut_in_parts_would_have_fewer_negatives(tiny, tmp_path):
    phase = Target("linking", examples=8, steps=2, batch_size=4, max_length=96)
    objective = phase.objective(tiny, 0, tmp_path)
    assert {len(f.sequences) for f in objective.examples[0]} == {3}  # query, candidate, negative
    assert objective.batches(0, 1)[0].inputs["input_ids"].shape[0] == 12
    with pytest.raises(ValueError, match="accumulation=1"):
        objective.batches(0, 2)


@pytest.fixture(scope="module")
def linking(tiny, tokenizer):
    """An untrained dual encoder, its tokenizer, test rows in two languages and candidates."""
    torch.manual_seed(0)
    model = models.Model(tiny, {"linking": RANKING.head(LINKING)})
    rows = {c: micro.rows("linking", "test", LANGUAGES[c], 30) for c in ("en", "qto")}
    return model, tokenizer, rows, LINKING.candidates.read(rows["en"], "en")


@pytest.mark.parametrize("block", [7, 1000])
def test_a_ranking_in_blocks_is_the_ranking_of_all(fp32, linking, monkeypatch, block):
    model, tokenizer, rows, pool = linking
    monkeypatch.setattr(retrieval, "BLOCK", block)
    extra = {"en": pool}
    predictions, scores = predict(model, LINKING, "linking", rows, tokenizer, extra=extra)
    assert len(predictions) == 60 and set(scores["metric"]) == {"map@20", "mrr@20"}

    def vectors(part):
        examples = RANKING.encode(part, tokenizer, 96, training=False)
        return np.stack(outputs(model, RANKING, "linking", examples, tokenizer))

    table = predictions[predictions["language"] == "qto"].reset_index(drop=True)
    products = vectors(rows["qto"]) @ vectors(pool).T
    for i in range(30):
        ranked = json.loads(table.loc[i, "pred"])
        best = [pool["id"][j] for j in np.argsort(-products[i], kind="stable")[:20]]
        assert len(ranked) == 20 and len(set(ranked) & set(best)) >= 19  # ties may fall otherwise
        (right,) = json.loads(table.loc[i, "gold"])
        assert pool["text"][pool["id"].index(right)] == rows["qto"]["key"][i]
        reciprocal = 1 / (1 + ranked.index(right)) if right in ranked else 0.0
        assert table.loc[i, "score"] == pytest.approx(reciprocal)


def test_candidates_of_all_languages_are_one_pool(linking):
    model, tokenizer, rows, pool = linking
    other = pool.map(lambda row: {"id": "more-" + row["id"], "text": row["text"] + " ."})
    extra = {"en": pool, "qad": other}
    predictions, _ = predict(model, LINKING, "linking", rows, tokenizer, extra=extra)
    gold = [json.loads(text) for text in predictions["gold"]]
    assert all(len(ids) == 2 and ids[1] == "more-" + ids[0] for ids in gold)
    short = {"en": pool.select(range(5))}
    with pytest.raises(ValueError, match=r"linking \(en\): 2\d queries have no right candidate"):
        predict(model, LINKING, "linking", rows, tokenizer, extra=short)


@pytest.mark.slow
def test_a_dual_encoder_learns_to_link_and_shuffled_queries_teach_nothing(store):
    arms = {"micro": Recipe(str(checkpoints.MICRO))}
    options = {"steps": 60, "languages": ["qad"], "examples": 200}
    plain = xlt.study(arms, ["linking"], [0], **options).run(store)
    shuffled = xlt.study(arms, ["linking"], [0], **options, shuffled=True).run(store)
    learned, nothing = (r.main["value"].mean() for r in (plain, shuffled))
    assert learned > 80 > 20 > nothing


def sides(foreign, english, gold):
    """Rows of mining; ``gold`` are pairs of places, counted from 1."""
    row = {"sentence1": foreign, "sentence2": english, "gold": gold}
    return bucc(Dataset.from_list([row]), "f")


def test_mining_finds_equal_sentences_and_never_looks_at_the_tested_gold(fp32, tiny, tokenizer):
    texts = micro.rows("retrieval", "test", LANGUAGES["en"], 40)["text"][:]
    pairs = [[i + 5, i] for i in range(1, 16)]
    extra = {"a": sides(texts[:20], texts[5:20], pairs)}
    model = models.Model(tiny, {})
    mined = []
    for gold in ([[1, 1]], pairs):
        rows = {"a": sides(texts[20:40], texts[25:40], gold)}
        predictions, scores = predict(model, MINING, "", rows, tokenizer, extra=extra)
        predictions = predictions[predictions["pred"] != ""]
        mined.append(set(zip(predictions["example_id"], predictions["pred"], strict=True)))
    values = scores.set_index("metric")["value"]
    assert values["recall"] == 100 and values["f1"] > 80
    assert mined[0] == mined[1]


def test_hidden_states_that_half_precision_cannot_hold_are_compared(tiny, tokenizer):
    rows = {"qad": micro.rows("retrieval", "test", LANGUAGES["qad"], 30)}
    model = models.Model(tiny, {}).requires_grad_(False)
    before, _ = predict(model, get("retrieval"), "", rows, tokenizer)
    for parameter in model.encoder.encoder.layer[0].output.LayerNorm.parameters():
        parameter.mul_(2.0**20)  # the layer that is read, and exactly so: half ends at 65504
    after, _ = predict(model, get("retrieval"), "", rows, tokenizer)
    assert after.equals(before) and before["pred"].nunique() > 10


def test_a_sentence_that_is_repeated_is_in_no_pair(tiny, tokenizer):
    texts = micro.rows("retrieval", "test", LANGUAGES["en"], 12)["text"][:]
    extra = {"qad": sides(texts, texts, [[i, i] for i in range(1, 13)])}
    rows = {"qad": sides([f"{texts[0]} ", *texts], texts, [[i + 1, i] for i in range(1, 13)])}
    predictions, _ = predict(models.Model(tiny, {}), MINING, "", rows, tokenizer, extra=extra)
    paired = predictions.loc[predictions["pred"] != "", "example_id"]
    assert len(paired) > 5 and not set(paired) & {"f-1", "f-2"}
