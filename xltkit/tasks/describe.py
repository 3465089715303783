"""The table of tasks as text: all in short, or one whole. No line is wider than 80 columns."""

from __future__ import annotations

from textwrap import fill

from xltkit.data.loading import SPLITS
from xltkit.data.places import CONVERTED
from xltkit.data.source import Source
from xltkit.tasks import get, table_of_tasks
from xltkit.tasks.base import Task

WIDTH = 80
_INDENT = 14


def overview() -> str:
    """One line a task: kind, metric, number of languages, splits, training set."""
    form = "{:<18}{:<16}{:<10}{:>4}  {:<5}{:<18}{}".format
    lines = [form("task", "kind", "metric", "lang", "tvtc", "trains on", "nc")]
    for name, row in table_of_tasks().iterrows():
        has = "".join(split[0] if split in row["splits"].split() else "-" for split in SPLITS)
        closed = "nc" if "non-commercial" in row["licence"] else ""
        told = row["kind"], row["metric"], row["languages"], has, row["trains on"], closed
        lines.append(form(name, *told).rstrip())
    return "\n".join(lines) + (
        "\n\ntvtc: train, validation, test, candidates. nc: non-commercial use only."
        "\nOne task whole: xltkit tasks NAME. What can be loaded: xltkit data check."
    )


def describe(name: str) -> str:
    """Everything the table says of a task. Raises ValueError for an unknown name."""
    task = get(name)
    labels = ", ".join(task.labels[:20]) + f", ... ({len(task.labels)})" * (len(task.labels) > 20)
    facts = {
        "kind": task.kind,
        "metric": f"{task.metric or '-'} (chance {task.chance:.1f})",
        "labels": labels or "-",
        "trains on": task.train_on or (task.name if task.train else "nothing"),
        "budget": _budget(task),
        "protocol": task.note or "-",
        "licence": task.licence or "-",
        "citation": task.citation or "-",
    }
    lines = [task.name, *(_line(key, value) for key, value in facts.items())]
    for split in SPLITS:
        source = getattr(task, split)
        for part in source.parts if source else ():
            lines += ["", f"{split}: {part.hub}", *(_line(*fact) for fact in _facts(part))]
    return "\n".join(lines)


def _budget(task: Task) -> str:
    budget = task.training
    length = f"{budget.steps} steps" if budget.steps else f"{budget.epochs:g} epochs"
    return f"{length} of {budget.batch_size}, rate {budget.learning_rate:g}"


def _facts(source: Source) -> list[tuple[str, str]]:
    configs = [
        code if config == code else f"{code}={config}" for code, config in source.configs.items()
    ]
    if len(set(source.configs.values())) == 1:  # one config holds all languages
        configs = [*source.configs, f"(config {next(iter(source.configs.values()))})"]
    pinned = "files of one commit, see upstream" if source.url else ""
    revision = source.revision or pinned or f"none: {source.unpinned or 'not given'}"
    if source.revision == CONVERTED:
        revision += " (the main branch is a script; its newest commit is loaded)"
    facts = [("split", source.split), ("languages", f"{len(source.configs)}: {' '.join(configs)}")]
    if source.hub != "microworld":
        facts += [("columns", ", ".join(source.columns) or "-"), ("revision", revision)]
    return [*facts, *([("upstream", source.url)] if source.url else [])]


def _line(name: str, value: str) -> str:
    return fill(
        value,
        WIDTH,
        initial_indent=f"  {name:<{_INDENT - 2}}",
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
