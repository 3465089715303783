"""Why is a run at chance? Its stages are checked for one cause after another."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel

from xltkit.data.loading import warn_once
from xltkit.files import read
from xltkit.models import checkpoints
from xltkit.studies.make import test_rows, untrained
from xltkit.studies.results import RUN, Results
from xltkit.studies.stages import Stage
from xltkit.studies.store import Store
from xltkit.tasks import Task, get
from xltkit.tasks.base import word_pieces
from xltkit.tasks.tagging import tags_of

COLUMNS = [*RUN, "language", "cause", "evidence", "remedy"]
Cause = tuple[str, str, str]  # the last three columns
FLAT = 0.9  # if the last loss is above this share of the first, little was learned
# How far weights move, relative to where they started. In runs that learn, layers move by 2 to 7 %
# (micro and e5-small) and heads by 3 to 40 %; at a hundredth of the rate by less than 0.1 %, at six
# times the rate by 20 % or more.
STILL, FAR, LOST = 0.005, 0.2, 1.0
# Largest acceptable shares: the first three of the pieces in a language, the last of its rows.
UNKNOWN, BYTES, APART, CUT = 0.1, 0.5, 0.5, 0.5
WHOLE = 2**20  # tokens: longer than any text
RATES = "compare rates on the source language: xlt.sweep(base, task, [...])"


def doctor(results: Results) -> pd.DataFrame:
    """Why runs and languages are at chance, one row per cause that was found.

    For a run at chance in the source language, checks labels, loss, weights, predictions and
    inputs. For a run that learned, checks only the inputs in languages that are still at chance:
    how they are tokenized, and whether the encoder has seen them. Columns: ``arm``, ``seed``,
    ``task``, the ``language`` at chance, ``cause``, ``evidence`` and ``remedy``. A cause that is
    found may not be the only one.
    """
    runs = results.study.runs  # raises the error that says what a saved run lacks
    degenerate = results.degenerate.set_index(RUN)
    bounds = results.bounds.groupby(RUN)
    predictions = results.predictions.groupby([*RUN, "language"])
    rows = []
    for run in runs:
        key = (run.arm, run.seed, run.task)
        if key not in degenerate.index or run.stage is None:
            continue  # untrained, or trained elsewhere
        scores = bounds.get_group(key)
        languages = scores.loc[scores["value"] <= scores["bound"], "language"]
        if degenerate.loc[key, "degenerate"]:
            languages = [degenerate.loc[key, "language"]]
            causes = [*_of_training(run.stage.parent, results.store)]
            part = predictions.get_group((*key, languages[0]))
            causes += _of_predictions(get(run.task), part)
            rows += [(*key, languages[0], *cause) for cause in causes]
        for language in languages:
            rows += [(*key, language, *cause) for cause in _of_inputs(run.stage, language)]
    return pd.DataFrame(rows, columns=COLUMNS)


@lru_cache(maxsize=2)  # a notebook asks for several summaries of the same results
def warn_of_chance(results: Results) -> None:
    """Warn about runs at chance and name a cause, unless the study shuffles labels on purpose."""
    at_chance = results.degenerate.query("degenerate")
    runs = {(run.arm, run.seed, run.task): run for run in results.study.runs if run.stage}
    runs = [runs[key] for key in at_chance[RUN].itertuples(index=False, name=None) if key in runs]
    if not runs or _is_shuffled(runs[0].stage.parent):
        return
    first = runs[0]
    causes = doctor(Results(replace(results.study, runs=(first,)), results.store))["cause"]
    names = ", ".join(causes.unique()) or "no cause was found"
    warn_once(
        f"{len(runs)} of {len(results.study.runs)} runs are at chance, such as {first.arm!r} with "
        f"seed {first.seed} on {first.task}: {names}. Call xlt.doctor(results) for details."
    )


def _is_shuffled(stage: Stage) -> bool:
    """Whether a stage was trained on permuted labels."""
    return any(part.shuffled for part in stage.phase.training_sets)


def _of_training(stage: Stage, store: Store) -> Iterator[Cause]:
    """Causes in the labels, losses and weights of the phase that trained for the task."""
    phase = stage.phase
    if _is_shuffled(stage):
        evidence = "shuffled=True: labels were permuted before training"
        yield "permuted labels", evidence, "none, if this is a control; else leave shuffled out"
        return
    folder = store.path(stage.key)
    start = str(store.path(stage.parent.key)) if stage.parent else stage.encoder
    _, model = untrained(stage, start, store.folder)
    trained = {n: w for n, w in model.encoder.named_parameters() if w.requires_grad}
    layers = {n: w for n, w in trained.items() if w.ndim > 1 and "embed" not in n}
    moved = _moved(layers, checkpoints.load(AutoModel, str(folder)).state_dict())
    head = _moved(dict(model.heads.named_parameters()), load_file(folder / checkpoints.HEADS))
    losses = [json.loads(line)["loss"] for line in read(folder / "log.jsonl").splitlines()]
    tenths = [part.mean() for part in np.array_split(losses, min(10, len(losses)))]
    is_flat = tenths[-1] > FLAT * tenths[0]
    evidence = (
        f"loss {tenths[0]:.2f} at first, {min(tenths):.2f} at best, {tenths[-1]:.2f} at last, in "
        f"{phase.steps} steps at {phase.learning_rate:g}; layers moved by {100 * moved:.2g} %, the "
        f"head by {100 * head:.2g} %"
    )
    if head < STILL and moved > STILL:
        yield "a head that was not trained", evidence, "delete this stage and make it again"
    elif head < STILL:
        yield "rate too low, or too few steps", evidence, RATES
    elif moved > LOST or (is_flat and (moved > FAR or min(tenths) < FLAT * tenths[0])):
        yield "rate too high", evidence, RATES
    elif is_flat:
        yield "a loss that never fell", evidence, f"{RATES}, or give more steps"


def _moved(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> float:
    """The mean distance that weights moved, relative to their norm; 0 if there are none."""
    moves = [float((after[name] - w.data).norm() / w.data.norm()) for name, w in before.items()]
    return float(np.mean(moves)) if moves else 0.0


def _of_predictions(task: Task, predictions: pd.DataFrame) -> Iterator[Cause]:
    """Whether the same label is predicted everywhere."""
    labels = predictions["pred"]
    if task.type.gold == "tags":
        labels = labels.map(lambda text: tags_of(task, text)).explode()
    if labels.nunique() == 1:
        evidence = f"{labels.iloc[0]!r} in all {len(labels)} places"
        yield "one prediction for everything", evidence, "see the other causes of this run"


def _of_inputs(stage: Stage, language: str) -> Iterator[Cause]:
    """Causes in how the encoder reads the test rows in a language."""
    phase = stage.phase
    task = get(phase.task)
    tokenizer = checkpoints.load_tokenizer(stage.encoder)
    rows = test_rows(task, phase, language)
    texts = pd.Series([rows[column][:] for column in task.type.texts]).explode().explode()
    words = " ".join(texts).split()
    pieces = [piece for ids in word_pieces(tokenizer, words) for piece in ids]
    names = tokenizer.convert_ids_to_tokens(pieces)
    remedy = "use an encoder whose vocabulary has this script (xltkit encoders)"
    unknown = np.mean([piece == tokenizer.unk_token_id for piece in pieces])
    if unknown > UNKNOWN:
        evidence = f"{100 * unknown:.0f} % of the pieces in {language} are {tokenizer.unk_token}"
        yield "unknown pieces", evidence, remedy
    in_bytes = np.mean([name.startswith("<0x") for name in names])
    if in_bytes > BYTES:
        evidence = f"{100 * in_bytes:.0f} % of the pieces in {language} are single bytes"
        yield "byte pieces", evidence, remedy
    if task.type.gold == "tags":  # words are encoded one by one
        running = Counter(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"])
        apart = (Counter(pieces) - running).total() / len(pieces)
        if apart > APART:
            evidence = f"{100 * apart:.0f} % of the pieces in {language} differ in running text"
            yield "words cut without the space before them", evidence, "set add_prefix_space"
    if checkpoints.unseen(stage.encoder, [language]):
        evidence = f"{stage.encoder} is not known to have been pretrained on {language}"
        yield "a language never seen", evidence, "use another encoder (xltkit encoders)"
    sizes = []
    for limit in (phase.max_length, WHOLE):
        examples = task.type.encode(rows, tokenizer, limit, training=False)
        sizes.append([sum(map(len, example.sequences)) for example in examples])
    # Texts read in windows are never cut.
    if len(sizes[0]) == len(rows) == len(sizes[1]):
        cut = np.mean(np.array(sizes[0]) < np.array(sizes[1]))
        if cut > CUT:
            evidence = f"{100 * cut:.0f} % of the rows have more than {phase.max_length} tokens"
            yield "inputs cut", evidence, "raise max_length of the task (docs/tasks.md)"
