"""Planning a study: arms x target tasks x seeds, checked before anything is trained."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from xltkit.data.languages import language as find_language
from xltkit.data.loading import warn_once
from xltkit.keys import choose, unknown
from xltkit.models import checkpoints
from xltkit.studies.results import Run, Study
from xltkit.studies.stages import Recipe, evaluation_stage, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import Suite, Task, available, get, load, parse_substitutes
from xltkit.tasks import suite as find_suite
from xltkit.training.phases import Evaluate, Target


def study(
    arms: Mapping[str, Recipe],
    targets: Sequence[str],
    seeds: Sequence[int],
    *,
    suite: str = "microworld",
    source: str | Mapping[str, str] = "en",
    languages: Sequence[str] | Mapping[str, Sequence[str]] = (),
    split: str = "test",
    steps: int = 0,
    examples: int = 0,
    rows: int = 0,
    substitutes: Iterable[str] = (),
    sweep: bool = False,
    shuffled: bool = False,
    learning_rate: float = 0.0,
    freeze: str | int = "",
) -> Study:
    """Plan a study; nothing is trained before ``run``.

    Args:
        arms: the conditions to compare, by name.
        targets: short names of the suite (``qa``) or names of tasks (``xquad``).
        seeds: one training run per seed and arm.
        suite: the suite that defines the short names.
        source: the language of the labels in the target phase, or a mapping by arm if arms differ
            in it: two arms are then compared on the languages in which neither has labels.
        languages: test languages; empty means those of the benchmark, or all that the task has.
            The source is always added, if the task has it. Give a mapping by arm if each arm has
            its own variant of a language, such as another word order: arms are then compared on
            the base language, before ``-x-`` in the code.
        split: ``test`` or ``validation``.
        steps: steps of the target phase; 0 means the task's default.
        examples: test rows per language; 0 means all.
        rows: the maximum size of each training set, in every phase; 0 means all rows.
        substitutes: ``"mnli<-sick"`` trains on SICK instead of MNLI, in every phase.
        sweep: score every layer and pooling in retrieval tasks.
        shuffled: permute the labels of the target phase: every score must then fall to chance.
        learning_rate: of the target phase, unless an arm has its own; 0 means the task's, scaled
            to the encoder (``xltkit encoders``).
        freeze: what no phase trains: ``"embeddings"``, or a number of lowest layers in addition.

    Raises ValueError for unknown names or labels that do not match, and MissingData if a training
    set is missing, or a test set in all languages.
    """
    _check_design(arms, targets, seeds, languages, steps, learning_rate)
    names = parse_substitutes(substitutes)
    suite_row = find_suite(suite)
    _check_training_sets(arms, suite_row)
    tasks = target_tasks(targets, suite)
    choose("split", split, ("test", "validation"))
    sources = source if isinstance(source, Mapping) else dict.fromkeys(arms, source)
    if set(sources) != set(arms):
        raise ValueError(f"Give each arm one source: the arms are {list(arms)}, given {source}.")
    for code in sources.values():
        find_language(code)  # it may be one that no target is tested in: Tatoeba has no English
    is_by_arm = isinstance(languages, Mapping)
    if is_by_arm:
        _check_variants(languages, list(arms))
    by_arm = {arm: tuple(languages[arm] if is_by_arm else languages) for arm in arms}
    check_languages([code for codes in by_arm.values() for code in codes], tasks, split)
    given = {"steps": steps, "learning_rate": learning_rate}
    options = {"shuffled": shuffled}
    options |= {name: value for name, value in given.items() if value}
    runs = []
    for task in tasks:
        train_set, training = _training(task, suite_row, names)
        # A benchmark may test a task in fewer languages than it has.
        default = suite_row.tasks.get(task.name, ())
        tested_in = {arm: (sources[arm], by_arm[arm] or default) for arm in arms}
        distinct = set(tested_in.values())  # not once for each arm: looking for data takes time
        present = {codes: _present(task, split, *codes) for codes in distinct}
        for arm, recipe in arms.items():
            length = training.get("max_length", 0)
            scoring = Evaluate(
                task.name, present[tested_in[arm]], split, examples, sweep=sweep, max_length=length
            )
            rate = _learning_rate(recipe.encoder, suite_row.rates_for, train_set, training)
            # The training set of the target is a substitute already and must not be replaced again.
            own = {"language": sources[arm], **training, **rate, **options}
            recipe = recipe.adapted(names).with_target(train_set, **own)
            recipe = recipe.adapted({}, rows, freeze)
            for seed in seeds:
                parent = (training_stages(recipe, seed) or [None])[-1]
                stage = evaluation_stage(recipe.encoder, seed, parent, scoring)
                runs.append(Run(arm, seed, task.name, train_set or "-", stage, sources[arm]))
    tested = sorted({code for run in runs for code in run.stage.phase.languages})
    for encoder in dict.fromkeys(recipe.encoder for recipe in arms.values()):
        if codes := checkpoints.unseen(encoder, tested):
            names = ", ".join(find_language(code).name for code in codes)
            warn_once(f"{encoder} is not known to have seen text in {names} ({', '.join(codes)}).")
    return Study(dict(arms), tuple(runs), suite, is_by_arm)


def _check_design(
    arms: Any, targets: Any, seeds: Any, languages: Any, steps: int, learning_rate: float
) -> None:
    """Raise ValueError for arguments of another shape than a study takes."""
    if isinstance(languages, str):
        raise ValueError(f"Languages are a list, as in languages=[{languages!r}].")
    for name, value, shape, example in (
        ("arms", arms, Mapping, "{'none': xlt.encoder('micro')}"),
        ("targets", targets, Sequence, "['nli', 'pos']"),
        ("seeds", seeds, Sequence, "[0, 1, 2]"),
    ):
        if not value or not isinstance(value, shape) or isinstance(value, str):
            raise ValueError(f"A study needs {name} as in {name}={example}; given {value!r}.")
    for arm, recipe in arms.items():
        if not isinstance(recipe, Recipe):
            example = "xlt.encoder('micro').then(xlt.Intermediate(['nli'], steps=200))"
            given = type(recipe).__name__
            raise ValueError(f"The arm {arm!r} is of type {given}, not a recipe such as {example}.")
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"Each seed is one run; given {list(seeds)}, some of them twice.")
    if steps < 0 or learning_rate < 0:
        raise ValueError(
            f"steps is {steps} and learning_rate {learning_rate}; give positive numbers, or 0 for "
            "those of the task."
        )


def _check_training_sets(arms: Mapping[str, Recipe], suite: Suite) -> None:
    """Raise ValueError if an arm would train on the invented world before real targets."""
    phases = [phase for recipe in arms.values() for phase in recipe.phases]
    sets = [part for phase in phases for name in phase.trained for part in getattr(phase, name)]
    for name in dict.fromkeys(part.task for part in sets) if not suite.is_microworld else ():
        if get(name).train and get(name).train.is_generated:
            real = suite.targets.get(name) or [t for ts in suite.targets.values() for t in ts]
            raise ValueError(
                f"An arm trains on {name!r}, which is of the microworld, but the targets are real. "
                f"Name a real training set, such as {', '.join(real)}."
            )


def sweep(
    base: Recipe,
    task: str,
    learning_rates: Sequence[float],
    *,
    seeds: Sequence[int] = (0,),
    source: str = "en",
    store: Store | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Compare learning rates on the source language's validation split; nothing else is scored.

    Args:
        base: the recipe that the target phase follows.
        task: the target, as in ``study``.
        learning_rates: the rates to compare.
        seeds: training seeds; the mean over them decides.
        source: the language that is trained on and scored.
        store: the store of the stages.
        options: more arguments of ``study``, such as ``suite``, ``steps`` and ``freeze``.

    Returns:
        One row per rate: mean, lowest and highest ``score`` over seeds (0 to 100), ``chance``, and
        whether the rate is ``taken``: the one with the highest score (of equals, the lower rate).

    Raises MissingData if the task has no validation split.
    """
    arms = {f"{rate:g}": base.then(Target(learning_rate=rate)) for rate in sorted(learning_rates)}
    options |= {"source": source, "languages": [source], "split": "validation"}
    scores = study(arms, [task], seeds, **options).run(store).scores
    groups = scores[scores["main"]].groupby("arm", sort=False)
    table = groups["value"].agg(score="mean", lowest="min", highest="max")
    table["chance"] = groups["chance"].first()
    table["taken"] = table.index == table["score"].idxmax()
    return table.rename_axis("learning_rate").reset_index().astype({"learning_rate": float})


def target_tasks(targets: Sequence[str], suite: str) -> list[Task]:
    """The tasks that a suite's targets stand for; microworld tasks never mix with real ones."""
    rows = find_suite(suite)
    tasks = [get(name) for target in targets for name in rows.targets.get(target, (target,))]
    for task in tasks:
        if not task.metric:
            raise ValueError(
                f"{task.name!r} has no metric: pretrain on it, or name another target."
            )
        if (task.test or task.validation).is_generated and not rows.is_microworld:
            raise ValueError(
                f"{task.name!r} is of the microworld, but the suite is {suite!r}, whose targets "
                f"are {', '.join(rows.targets)}."
            )
    return tasks


def _training(task: Task, suite: Suite, names: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The training set of a task (empty if untrained) and the suite's training arguments."""
    training = dict(suite.training.get(task.name, {}))
    train_on = training.pop("train_on", task.train_on or task.name)
    train_set = "" if task.type.is_untrained else names.get(train_on, train_on)
    trained = get(train_set or task.name)
    if (trained.kind, trained.labels) != (task.kind, task.labels):
        raise ValueError(
            f"{task.name} cannot be trained on {train_set}: it is {trained.kind} with the labels "
            f"{trained.labels}, not {task.kind} with the labels {task.labels}."
        )
    return train_set, training


def _learning_rate(
    encoder: str, reference: str, train_set: str, training: Mapping[str, Any]
) -> dict[str, float]:
    """The learning rate of a task, scaled to what the encoder needs, if that is known."""
    if not train_set or get(train_set).train.is_generated:
        return {}
    own = checkpoints.facts(encoder).get("learning_rate")
    if own is None:
        return {}
    rate = training.get("learning_rate", get(train_set).training.learning_rate)
    return {"learning_rate": rate * (own / checkpoints.ENCODERS[reference]["learning_rate"])}


def _check_variants(by_arm: Mapping[str, Sequence[str]], arms: list[str]) -> None:
    """Raise ValueError unless every arm has one variant of each of the same base languages."""
    bases = {arm: sorted(code.partition("-x-")[0] for code in by_arm.get(arm, ())) for arm in arms}
    first = bases[arms[0]]
    is_alike = all(codes == first for codes in bases.values())
    if set(by_arm) != set(arms) or not is_alike or len(set(first)) < len(first):
        raise ValueError(
            f"Arms {arms} cannot be compared: their languages are given as {dict(by_arm)}. Give "
            "each one variant of the same languages, as in {'a': ['qbe'], 'b': ['qbe-x-sov']}."
        )


def check_languages(codes: Iterable[str], tasks: Sequence[Task], split: str) -> None:
    """Raise ValueError for a language that no target has; one that only some have is allowed."""
    sources = [getattr(task, split) for task in tasks if getattr(task, split)]
    allowed = sorted({code for source in sources for code in source.languages})
    for code in codes:
        # Each source is asked: the microworld has variants that it does not list.
        if sources and not any(code in source for source in sources):
            hint = " Knobs follow -x-, as in 'qbe-x-sov'." if "-x-" in code else ""
            raise ValueError(unknown("test language", code, allowed) + hint)


def _present(task: Task, split: str, source: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages that can be scored, including the source, if the task has it."""
    codes = dict.fromkeys([source, *languages])
    if source not in (getattr(task, split) or ()):
        codes.pop(source)
    present, absent = available(task, split, list(codes) if languages else None)
    if not present:
        load(task, split, absent[0] if absent else source)  # raises the error that says what to do
    for code in () if getattr(task, split).is_generated else present:
        load(task, split, code)  # a row that cannot be scored is refused before anything is trained
    return tuple(present)
