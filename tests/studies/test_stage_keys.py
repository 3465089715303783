"""Stage keys do not change: a store made by an earlier version of the kit is still used.

The study has every phase, task type and way of scoring; nothing is trained. A key that must
change (a new ``version`` of a method or a generator) is written anew by
``python tests/studies/test_stage_keys.py``.
"""

import json
from dataclasses import replace
from pathlib import Path

import xltkit as xlt
from xltkit.evaluation import attacks
from xltkit.studies.results import Study
from xltkit.studies.stages import evaluation_stage

FILE = Path(__file__).with_name("stage_keys.json")
PART = xlt.TrainingSet
SHORT = {"steps": 3, "batch_size": 8}
OPTIONS = {"steps": 3, "examples": 12, "languages": ["en", "qbe", "qto"]}


def arms() -> dict[str, tuple]:
    """Phases by the name of an arm; all but those of captions end with a target."""
    target = xlt.Target(examples=64)
    pairs = (PART("pairs", "qbe", 40),)
    lexicon = xlt.Translations(language="qbe", noise=0.5)
    mixture = [PART(task, "en", 64) for task in ("nli-large", "odd-one-out", "linking", "ner")]
    text = (PART("text", "en", 64), PART("text", "qbe", 64))
    scratch = (PART("caption-pairs", "en", 64),)
    captions = [PART("captions", "en", 64)]
    intermediate = xlt.Intermediate(
        [mixture[0], PART("qa", "qbe", 64), *mixture[1:]],
        mix="temperature",
        temperature=2.0,
        cap=50,
        mlm=0.3,
        text=[PART("text", "qto", 64)],
        **SHORT,
    )
    robust = xlt.Intermediate([PART("paraphrase", "en", 64)], robust=xlt.Adversarial(), **SHORT)
    return {
        "none": (target,),
        "pretrain": (xlt.Pretrain(text, (PART("pairs", "qbe", 64),), **SHORT), target),
        "scratch": (xlt.Pretrain(scratch, scratch=True, **SHORT), target),
        "inter": (intermediate, target),
        "robinter": (robust, target),
        "img": (xlt.ImageText(captions, **SHORT), xlt.Target(examples=64, effort=2.0)),
        "distil": (xlt.Distil([*captions, PART("pairs", "qbe", 64)], **SHORT), target),
        "para": (xlt.ImageText(captions, against="paraphrase", **SHORT), target),
        "adv": (xlt.Target(examples=64, robust=xlt.Adversarial()),),
        "rp": (xlt.Target(examples=64, robust=xlt.RandomPerturbation()),),
        "da": (xlt.Target(examples=64, robust=xlt.SynonymSmoothing()),),
        "joint": (xlt.Target(examples=64, align=xlt.Align(pairs=pairs)),),
        "mixup": (xlt.Target(examples=64, joint=xlt.Joint(mixup=0.2)),),
        "graph": (xlt.Target(examples=64, joint=xlt.Joint(graph=lexicon)),),
        "copied": (xlt.Target(examples=64, embeddings=lexicon, redraw=True),),
        "kept": (xlt.Target("nli", examples=64), xlt.Target(examples=64, keep_head=True)),
        "queue": (xlt.ImageText(captions, queue=8, **SHORT),),
        "unlocked": (xlt.ImageText(captions, locked=False, **SHORT),),
        "shuffled": (xlt.ImageText([PART("captions", "en", 64, True)], tower="pixels", **SHORT),),
    }


def studies() -> dict[str, Study]:
    base = xlt.encoder("micro")
    recipes = {name: base.then(*phases) for name, phases in arms().items()}
    images = {name: recipes.pop(name) for name in ("queue", "unlocked", "shuffled")}
    others = {"para": recipes.pop("para")}
    plain = {"none": recipes["none"]}
    permuted = ["nli", "ner", "qa", "linking"]
    types = [*permuted, "paraphrase", "choice", "pos", "retrieval"]
    return {
        "arms": xlt.study(recipes, ["nli"], [0], **OPTIONS),
        "others": xlt.study(others, ["choice"], [0], **OPTIONS),
        "types": xlt.study(plain, types, [0], **OPTIONS),
        "captions": xlt.study(images, ["captions"], [0], **OPTIONS),
        "sweep": xlt.study({"none": base}, ["retrieval"], [0], sweep=True, **OPTIONS),
        "permuted": xlt.study(plain, permuted, [0], shuffled=True, **OPTIONS),
    }


SCORED = {  # a task, and what is changed in how it is scored
    "typos": ("nli", {"attack": attacks.Typos(strength=0.3)}),
    "beam": ("choice", {"attack": attacks.Typos(beam=2, strength=0.3)}),
    "mixing": ("pos", {"attack": attacks.CodeMixing(tries=2)}),
    "distractor": ("qa", {"attack": attacks.Distractor(tries=2)}),
    "pgd": ("nli", {"attack": attacks.EmbeddingPGD()}),
    "flip": ("nli", {"attack": attacks.TokenFlip()}),
    "mixed": ("nli", {"mixed": True}),
    "smooth": ("nli", {"smoothing": xlt.RandomPerturbation()}),
}


def planned() -> dict[str, str]:
    """The keys of all stages, by study, arm, task and title."""
    keys = {}
    planned = studies()
    for name, study in planned.items():
        for run in study.runs:
            for stage in run.stage.chain:
                keys[f"{name}/{run.arm}/{run.task}/{stage.title}"] = stage.key
    plain = {run.task: run.stage for run in planned["types"].runs}
    for name, (task, change) in SCORED.items():
        phase = replace(plain[task].phase, **change)
        stage = evaluation_stage(plain[task].encoder, 0, plain[task].parent, phase)
        keys[f"scored {name}/{task}"] = stage.key
    return keys


def test_stage_keys_are_those_of_earlier_versions():
    assert planned() == json.loads(FILE.read_text())


if __name__ == "__main__":
    FILE.write_text(json.dumps(planned(), indent=1) + "\n")
