"""What a person explores in a notebook: controls around functions that work without them.

Where nobody sits, as in a batch run, each shows what its first choices give, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, partial

import pandas as pd
from IPython.display import display

from xltkit.evaluation.attacks import CodeMixing, Typos
from xltkit.evaluation.predict import protocol_layer
from xltkit.explore import embeddings, plots, plots_pictures
from xltkit.explore import errors as error_browser
from xltkit.explore import tokens as token_view
from xltkit.explore.controls import Chosen, Control, explore
from xltkit.explore.playground import Playground
from xltkit.models.encoder import configuration
from xltkit.progress import track
from xltkit.studies.results import Results

PAGE = 5  # examples on a page of the error browser
NO_ATTACK = "none: type"
ATTACKS = {
    "typing errors": Typos(strength=0.2, beam=3),
    "words of other languages": CodeMixing(strength=0.2, beam=3),
}


def scores(results: Results) -> None:
    """The results of a study by language: task, metric, arms, languages and colors to choose."""
    table = results.scores.sort_values("main", ascending=False, kind="stable")

    def values(column: str, chosen: Chosen) -> tuple[str, ...]:
        """The metrics or languages of a task; the main metric first."""
        return tuple(table.loc[table["task"] == chosen["task"], column].unique())

    def draw(task: str, metric: str, arms: Sequence[str], languages: Sequence[str], color: str):
        axes = plots.dots(results, task, metric=metric, arms=arms, languages=languages, color=color)
        rows = table[(table["task"] == task) & (table["metric"] == metric)]
        rows = rows[rows["language"].isin(languages) & rows["arm"].isin(arms)]
        means = rows[~rows["is_source"]].groupby("arm", sort=False)["value"].mean().round(1)
        means = ", ".join(f"{arm} {value}" for arm, value in means.items()) or "none"
        caption = (
            f"{task}: {metric} in points; {plots.interval_caption(results)}; "
            f"n = {rows['n'].max()} items a language at most. {results.study.suite}."
        )
        names = ", ".join(rows["language_name"].unique())
        alt = f"Dot plot of {task} in {names}. Means without the source: {means}."
        plots.show(axes, caption=caption, alt=alt)

    arms = list(results.study.arms)
    languages = partial(values, "language")
    controls = {
        "task": Control("task", list(results.scores["task"].unique())),
        "metric": Control("metric", partial(values, "metric"), follows=("task",)),
        "arms": Control("arms", arms, tuple(arms)),
        "languages": Control("languages", languages, languages, ("task",)),
        "color": Control("color by", ("arm", *plots.GROUPS)),
    }
    explore(draw, controls)


def errors(results: Results, task: str = "") -> None:
    """The error browser (``errors.errors``): task, two arms, language, outcome, page to choose.

    Args:
        results: of a study.
        task: chosen at first, if given.
    """

    def languages(chosen: Chosen) -> Sequence[str]:
        return error_browser.choices(results, chosen["task"]).languages

    def draw(task: str, one: str, other: str, language: str, seed: int, outcome: str, number: int):
        page = {"outcome": outcome, "first": PAGE, "skip": PAGE * (number - 1)}
        display(error_browser.errors(results, task, (one, other), language, seed, **page))

    tasks = error_browser.shown_tasks(results)
    task = task or tasks[0]
    allowed = error_browser.choices(results, task)
    outcomes = (error_browser.ALL, *error_browser.OUTCOMES.values())
    above = ("task", "one", "other", "language", "seed")
    controls = {
        "task": Control("task", tasks, task),
        "one": Control("arm", allowed.arms),
        "other": Control("beside", allowed.arms, allowed.arms[:2][-1]),
        "language": Control("language", languages, follows=("task",)),
        "seed": Control("seed", allowed.seeds),
        "outcome": Control("outcome", outcomes, follows=above[:-2]),
        "number": Control("page", range(1, 1000), 1, (*above, "outcome")),
    }
    explore(draw, controls)


def tokens(texts: Mapping[str, Sequence[str]], encoder: str = "micro") -> None:
    """The token view (``tokens.tokens``): a sentence to choose or to type, languages to choose.

    Args:
        texts: by language, the same sentences in the same order.
        encoder: whose tokenizer cuts.
    """
    codes = list(texts)

    def draw(number: int, languages: Sequence[str], typed: str) -> None:
        sentences = {code: texts[code][number - 1] for code in languages}
        if typed.strip():
            sentences = {codes[0]: typed}
        display(token_view.tokens(sentences, encoder))

    controls = {
        "number": Control("sentence", range(1, len(texts[codes[0]]) + 1), 1),
        "languages": Control("languages", codes, tuple(codes)),
        "typed": Control("or your own", value=""),
    }
    explore(draw, controls)


def ask(results: Results, task: str) -> None:
    """The attack playground: a test example to choose and to edit, and the model's answer to it.

    Or an attack of the kit edits it: the one that hurts this very model.

    Args:
        results: of a study.
        task: of the study, one whose rows can be edited.
    """
    allowed = error_browser.choices(results, task)

    @lru_cache(maxsize=1)
    def load(arm: str, language: str, seed: int) -> Playground:
        for _ in track(1, "loading the model", "model", leave=False):
            playground = Playground(results, task, arm, language, seed)
        return playground

    @cache
    def texts(arm: str, language: str, seed: int, number: int, attack: str) -> Mapping[str, str]:
        playground = load(arm, language, seed)
        if attack == NO_ATTACK:
            return playground.texts(number - 1)
        for _ in track(1, "editing", "text", leave=False):
            attacked = playground.attacked(number - 1, ATTACKS[attack])
        return attacked

    def text(name: str, chosen: Chosen) -> str:
        return texts(*(chosen[control] for control in above))[name]

    def draw(arm: str, language: str, seed: int, number: int, attack: str, **edits: str) -> None:
        display(load(arm, language, seed).ask(number - 1, **edits))

    above = ("arm", "language", "seed", "number", "attack")
    first = load(allowed.arms[0], allowed.languages[0], allowed.seeds[0])
    controls = {
        "arm": Control("arm", allowed.arms),
        "language": Control("language", allowed.languages),
        "seed": Control("seed", allowed.seeds),
        "number": Control("example", range(1, len(first.rows) + 1), 1),
        "attack": Control("attack", (NO_ATTACK, *ATTACKS), follows=("number",)),
    }
    for name in first.texts(0):
        controls[name] = Control(name, (), partial(text, name), above)
    explore(draw, controls)


def sentences(encoders: Mapping[str, str], texts: Mapping[str, Sequence[str]]) -> None:
    """Sentences as points, before and after phases: encoders, languages, layer to choose.

    Args:
        encoders: by name, as ``embeddings.checkpoints`` gives them.
        texts: by language, the same sentences in the same order; the first is the source.
    """
    untrained = "untrained"
    first = next(iter(encoders.values()))
    source, *others = texts

    @cache
    def vectors(name: str, layer: int) -> pd.DataFrame:
        encoder = encoders.get(name, first)
        return embeddings.embed(encoder, texts, layer=layer, untrained=name == untrained)

    def draw(shown: Sequence[str], languages: Sequence[str], layer: int, number: int) -> None:
        panels = {}
        for name in track(shown, "embedding", "encoder", leave=False):
            table = vectors(name, layer)
            panels[name] = table[table["language"].isin([source, *languages])]
        figure = plots_pictures.sentences(panels, first=number)
        titles = "; ".join(ax.get_title(loc="left").replace("\n", ", ") for ax in figure.axes)
        names = ", ".join([source, *languages])
        caption = (
            f"{number} sentences in {names}, means of their tokens after layer {layer}; above: % "
            f"of {len(texts[source])} whose nearest in {source} is the translation."
        )
        alt = f"Points of the same sentences in {names}, joined by lines: {titles}."
        plots.show(figure, caption=caption, alt=alt)

    depth = configuration(first).num_hidden_layers
    names = (untrained, *encoders)
    controls = {
        "shown": Control("encoders", names, names[:3]),
        "languages": Control("languages", others, tuple(others[:4])),
        "layer": Control("layer", range(1, depth + 1), protocol_layer(depth)),
        "number": Control("sentences", range(2, 9), 6),
    }
    explore(draw, controls)
