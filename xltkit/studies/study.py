"""Planning a study: arms x target tasks x seeds, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xltkit.data import loading as data
from xltkit.data.languages import language as find_language
from xltkit.studies.recipe import Recipe
from xltkit.studies.results import Run, Study
from xltkit.studies.stages import evaluation_stage, training_stages
from xltkit.tasks import Task, get, parse_substitutes
from xltkit.tasks import suite as find_suite
from xltkit.tasks.suites.benchmarks import BENCHMARKS
from xltkit.training.phases import Evaluate


def study(
    arms: Mapping[str, Recipe],
    targets: Sequence[str],
    seeds: Sequence[int],
    *,
    suite: str = "microworld",
    source: str = "en",
    languages: Sequence[str] | Mapping[str, Sequence[str]] = (),
    split: str = "test",
    steps: int = 0,
    examples: int = 0,
    rows: int = 0,
    substitutes: Iterable[str] = (),
    sweep: bool = False,
    shuffled: bool = False,
) -> Study:
    """Plan a study; nothing is trained before ``run``.

    Args:
        arms: the conditions to compare, by name.
        targets: short names of the suite (``qa``) or names of tasks (``xquad``).
        seeds: one training run per seed and arm.
        suite: what the short names mean.
        source: the language whose labels the target phase sees.
        languages: test languages; empty means those of the benchmark, or all that the task has.
            The source is always added, if the task has it.
            By arm, if each arm has a language of its own, such as the same language with another
            word order: arms are then compared on the language before ``-x-`` in the code.
        split: ``test`` or ``validation``.
        steps: of the target phase; 0 means the task's own budget.
        examples: test rows per language; 0 means all.
        rows: training rows of each training set, of every phase, at most; 0 means all.
        substitutes: ``"mnli<-sick"`` trains on SICK wherever MNLI is asked for.
        sweep: score every layer and pooling in retrieval tasks.
        shuffled: deal out the labels of the target phase at random: every score must then fall
            to chance, whatever the arm.

    Raises:
        ValueError: for an empty list, an unknown name, or labels that do not fit.
        MissingData: if a training set, or a test set in every language, is not to be had.
    """
    if not arms or not targets or not seeds:
        raise ValueError(
            f"A study needs arms, targets and seeds; given {list(arms)}, {list(targets)} and "
            f"{list(seeds)}. For example seeds=[0, 1, 2]."
        )
    replaced = parse_substitutes(substitutes)
    tasks = [get(name) for t in targets for name in find_suite(suite).targets.get(t, (t,))]
    if unscored := [task.name for task in tasks if not task.metric]:
        raise ValueError(
            f"{unscored} cannot be targets, for they have no metric: they are data to pretrain on, "
            "as in Pretrain(text=(TrainingSet('text'),))."
        )
    _check_worlds(suite, tasks)
    by_arm = languages if isinstance(languages, Mapping) else dict.fromkeys(arms, languages)
    if set(by_arm) != set(arms):
        raise ValueError(
            f"languages are given for {list(by_arm)}, and the arms are {list(arms)}. Give every "
            f"arm its own, as in languages={{{next(iter(arms))!r}: ['qbe'], ...}}."
        )
    if isinstance(languages, Mapping):
        _check_counterparts(by_arm)
    find_language(source)  # it may be one that no target is tested in: Tatoeba has no English
    _check_languages([c for codes in by_arm.values() for c in codes], tasks, split)
    runs, missing = [], {}
    for task in tasks:
        trained_on = _train_set(task, replaced)
        asked = dict.fromkeys(map(tuple, by_arm.values()))
        found = {
            codes: _present(task, split, source, codes or _of_benchmark(suite, task))
            for codes in asked
        }
        missing[task.name] = tuple(dict.fromkeys(c for _, gone in found.values() for c in gone))
        for arm, recipe in arms.items():
            present, _ = found[tuple(by_arm[arm])]
            phase = Evaluate(task.name, present, split, examples, sweep=sweep)
            full = recipe.with_substitutes(replaced).with_target(
                trained_on, language=source, steps=steps or None, shuffled=shuffled
            )
            full = full.limit_rows(rows)
            for seed in seeds:
                chain = training_stages(full, seed)
                last = evaluation_stage(full, seed, chain[-1] if chain else None, phase)
                runs.append(Run(arm, seed, task.name, trained_on or "-", last))
    return Study(dict(arms), tuple(runs), suite, source, missing, isinstance(languages, Mapping))


def _check_worlds(suite: str, tasks: Sequence[Task]) -> None:
    """A mean over real tasks and invented ones would look like a result."""
    invented = [t.name for t in tasks if (t.test or t.validation).hub == "microworld"]
    if invented and not find_suite(suite).is_microworld:
        raise ValueError(
            f"{invented} are of the microworld, and the suite is {suite!r}, whose targets are "
            f"{', '.join(find_suite(suite).targets)}."
        )


def _of_benchmark(suite: str, task: Task) -> tuple[str, ...]:
    """The languages that a benchmark tests a task in; XTREME has fewer than there are."""
    return BENCHMARKS[suite].tasks.get(task.name, ()) if suite in BENCHMARKS else ()


def _present(
    task: Task, split: str, source: str, languages: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The languages that can be scored, and those whose data is not there."""
    codes = _codes(task, split, source, languages)
    present, absent = data.available(task, split, codes)
    if not present:
        # Loading raises the error that says what was looked for and how to get it.
        data.load(task, split, absent[0] if absent else source)
    return tuple(present), tuple(absent)


def _codes(task: Task, split: str, source: str, languages: Sequence[str]) -> list[str] | None:
    """The languages to score; the source too, if the task has it. None means all."""
    if not languages:
        return None
    has = getattr(task, split) or ()
    return [c for c in dict.fromkeys([source, *languages]) if c != source or c in has]


def _check_languages(codes: Iterable[str], tasks: Sequence[Task], split: str) -> None:
    """A language that no task of the study has is a slip; one that some have is skipped there."""
    sources = [getattr(task, split) for task in tasks if getattr(task, split)]
    known = sorted({code for source in sources for code in source.languages})
    # Asked one by one: the microworld has languages that no list of its languages names.
    unknown = {code: "" for code in codes if not any(code in s for s in sources)}
    if known and unknown:
        hint = " Knobs follow -x-, as in 'qbe-x-sov'." if "-x-" in "".join(unknown) else ""
        raise ValueError(
            f"No target has the language {list(unknown)}; there are {', '.join(known)}.{hint}"
        )


def _check_counterparts(by_arm: Mapping[str, Sequence[str]]) -> None:
    """Arms with languages of their own must have variants of the same ones, each once."""
    shared = {arm: sorted(code.partition("-x-")[0] for code in codes)
              for arm, codes in by_arm.items()}  # fmt: skip
    first = next(iter(shared.values()))
    if len(set(first)) < len(first) or any(codes != first for codes in shared.values()):
        raise ValueError(
            f"Arms cannot be compared: by arm, their languages are variants of {shared}. Give each "
            "arm one variant of the same languages, as in {'a': ['qbe'], 'b': ['qbe-x-sov']}."
        )


def _train_set(task: Task, replaced: Mapping[str, str]) -> str:
    """The task whose training split the target phase uses; empty if nothing is trained."""
    if task.type.is_untrained:
        return ""
    name = task.train_on or task.name
    substitute = replaced.get(name, name)
    trained = get(substitute)
    if (trained.kind, trained.labels) != (task.kind, task.labels):
        raise ValueError(
            f"{substitute} cannot stand in for {name}: it is {trained.kind} with the labels "
            f"{trained.labels}, and {task.name} is {task.kind} with the labels {task.labels}."
        )
    return substitute
