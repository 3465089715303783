"""The kit's side of the benchmark: stages in a fresh store."""

from __future__ import annotations

import pandas as pd
from speed import Job
from torch import set_num_threads as set_threads

from xltkit import Evaluate, Target, encoder
from xltkit.models.device import peak_gib
from xltkit.studies.make import make
from xltkit.studies.stages import Stage, evaluation_stage, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import get

__all__ = ["evaluate", "peak_gib", "set_threads", "train"]


def chain(job: Job) -> tuple[Stage, Stage]:
    """The stage that trains and the stage that evaluates."""
    work = job.work
    target = Target(
        work.train,
        steps=work.steps,
        batch_size=work.batch_size,
        learning_rate=work.learning_rate,
        warmup=work.warmup,
        weight_decay=0.0,
        max_length=work.max_length,
        examples=work.steps * work.batch_size,
    )
    recipe = encoder(job.encoder).then(target)
    trained = training_stages(recipe, job.seed)[-1]
    test = Evaluate(work.test, job.languages, "test", work.examples)
    return trained, evaluation_stage(job.encoder, job.seed, trained, test)


def train(job: Job) -> dict[str, float]:
    make(chain(job)[0], Store(job.folder))
    return {}


def evaluate(job: Job) -> dict[str, float]:
    folder = make(chain(job)[1], Store(job.folder))
    scores = pd.read_parquet(folder / "result" / "scores.parquet")
    main = scores[scores["metric"] == get(job.work.test).metric]
    return dict(zip(main["language"], main["value"], strict=True))
