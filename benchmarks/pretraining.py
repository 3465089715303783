"""What an encoder like ``micro`` is worth, by how it was pretrained.

    python benchmarks/pretraining.py [NAME:KEY=VALUE,...] ... [--tasks nli:400 pos:50] [--seeds 6]

Each variant is ``micro`` with something changed: a field of ``Pretrain`` (``steps``,
``batch_size``, ``learning_rate``, ``mask_rate``, ``pair_share``), of the architecture
(``intermediate_size``, ...), or how many times as many ``documents`` and ``pairs`` it reads.
Without one the shipped encoder is measured. A task may have steps of its own after a colon, a
learning rate after another, and a batch size after a third. All stages are kept in the store: a
variant is pretrained once, and goes on where it was killed.

Two tables. What the encoder learned: the loss of its last tenth of steps, and which masked answers
in unseen text it finds (per cent; of *yes* and *no*, half are found by chance). And what tasks make
of it: English (its worst seed), the share of seeds that lie over two points below the median there
(``late``) or at chance (``degenerate``, per cent), the mean over the other languages and its
standard deviation over seeds, the means by resource level, and CPU seconds a run, training and
evaluation together.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import fields, replace

import pandas as pd
import torch
from transformers import AutoModelForMaskedLM

import xltkit as xlt
from xltkit.data.microworld import generate as world
from xltkit.data.microworld.grammar import Token, forms
from xltkit.data.microworld.languages import MicroLanguage
from xltkit.models.checkpoints import load, load_tokenizer
from xltkit.studies import build_micro
from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, training_stages
from xltkit.studies.store import Store

PROBED = ("en", "qad", "qke", "qte")  # English, the best known, and the least known language
PHASE = [each.name for each in fields(xlt.Pretrain)]


def pretrained(variant: str, store: Store) -> tuple[str, dict]:
    """The folder of a variant, and what it cost; it is trained first if the store lacks it."""
    name, _, text = variant.partition(":")
    changes = {
        key: json.loads(value) for key, value in (p.split("=") for p in text.split(",") if p)
    }
    documents, pairs = (
        {level: int(changes.pop(what, 1) * number) for level, number in usual.items()}
        for what, usual in (("documents", build_micro.DOCUMENTS), ("pairs", build_micro.PAIRS))
    )
    blank = store.folder / f"{name}-blank"
    phase = build_micro.micro(blank, documents, pairs)
    config = json.loads((blank / "config.json").read_text())
    architecture = {key: changes.pop(key) for key in list(changes) if key not in PHASE}
    if strange := set(architecture) - set(config):
        raise SystemExit(f"{', '.join(strange)}: neither of Pretrain nor of the architecture.")
    (blank / "config.json").write_text(json.dumps(config | architecture))
    (stage,) = training_stages(Recipe(str(blank), (replace(phase, **changes),)), seed=0)
    folder = make(stage, store)
    losses = pd.read_json(folder / "log.jsonl", lines=True)["loss"]
    cost = store.record(stage.key)["cost"]
    last = losses.tail(max(1, len(losses) // 10)).mean()
    return str(folder), {"steps": len(losses), "CPU min": cost["cpu_s"] / 60, "loss": last}


def answers(lang: MicroLanguage, documents: int = 600) -> Iterator[tuple[bool, str, int, int]]:
    """Answers of one word in unseen text: whether it is yes or no, the text, and its place."""
    closed = {forms([Token(word)], lang)[0] for word in ("yes", "no")}
    for text in world.rows("text", "test", lang, documents)["text"]:
        words = text.split(" ")
        for i, word in enumerate(words[1:-1], start=1):
            if words[i - 1] == "?" and words[i + 1] == ".":
                start = len(" ".join(words[:i])) + 1
                yield word in closed, text, start, start + len(word)


@torch.no_grad()
def found(encoder: str, code: str) -> dict[str, float]:
    """The share of masked answers that the language model finds (per cent)."""
    model = load(AutoModelForMaskedLM, encoder).eval()
    tokenizer = load_tokenizer(encoder)
    is_closed, texts, starts, ends = zip(*answers(world.language(code)), strict=True)
    inputs = tokenizer(list(texts), return_tensors="pt", padding=True, return_offsets_mapping=True)
    places = inputs.pop("offset_mapping")
    starts, ends = torch.tensor([starts, ends])[..., None]
    chosen = (places[..., 1] > starts) & (places[..., 0] < ends)
    gold = inputs["input_ids"].clone()
    inputs["input_ids"][chosen] = tokenizer.mask_token_id
    predicted = model(**inputs).logits.argmax(-1)
    right = ((predicted == gold) | ~chosen).all(dim=1).numpy()
    shares = pd.Series(right).groupby(list(is_closed)).mean() * 100
    return {f"answers, {code}": shares[False], f"yes or no, {code}": shares[True]}


def downstream(encoder: str, task: str, seeds: int, examples: int, store: Store) -> dict:
    """What a task makes of an encoder: means over seeds in English and the other languages."""
    name, *given = task.split(":")
    budget = ("steps", "learning_rate", "batch_size")
    options = dict(zip(budget, map(json.loads, given), strict=False))
    arms = {"plain": xlt.encoder(encoder).then(xlt.Target(**options))}
    results = xlt.study(arms, [name], range(seeds), examples=examples).run(store)
    means = xlt.analysis.per_seed(results.main, [])
    means = means.pivot(index="seed", columns="languages", values="value")
    english = means["source"]
    row = {"task": task, "English": english.mean(), "worst": english.min()}
    row |= {"late": 100 * (english < english.median() - 2).mean()}
    row |= {"degenerate": 100 * results.degenerate["degenerate"].mean()}
    row |= {"transfer": means["transfer"].mean(), "sd": means["transfer"].std()}
    levels = results.main.query("not is_source").groupby("resource")["value"].mean()
    row |= levels[["high", "mid", "low"]].to_dict()
    return row | {"CPU s": results.main.groupby("seed")["cpu_s"].first().mean()}


def main() -> None:
    """Print the two tables, a variant after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", metavar="NAME:KEY=VALUE,...")
    parser.add_argument("--tasks", nargs="*", default=["nli", "qa-small", "choice", "pos", "ner"])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--examples", type=int, default=200, help="test items a language")
    options = parser.parse_args()
    torch.set_num_threads(1)  # another number, other last bits
    store = Store()
    for variant in options.variants or ["micro"]:
        folder, about = pretrained(variant, store) if options.variants else ("micro", {})
        for code in PROBED:
            about |= found(folder, code)
        tasks = [
            downstream(folder, task, options.seeds, options.examples, store)
            for task in options.tasks
        ]
        for table in (pd.DataFrame([about]), pd.DataFrame(tasks)):
            print(f"\n{variant}\n{table.round(1).to_string(index=False)}", flush=True)


if __name__ == "__main__":
    main()
