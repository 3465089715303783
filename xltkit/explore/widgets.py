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
from xltkit.progress import track
from xltkit.studies.results import Results


def scores(results: Results) -> None:
    """The results of a study by language: task, metric, arms, languages and colours to choose."""
    table = results.scores
    names = table.drop_duplicates("language").set_index("language")["language_name"]

    def of(column: str, task: str) -> tuple[str, ...]:
        """The metrics or languages of a task; the main metric first."""
        mine = table[table["task"] == task].sort_values("main", ascending=False, kind="stable")
        return tuple(dict.fromkeys(mine[column]))

    arms = list(results.study.arms)

    def draw(task: str, metric: str, arms: Sequence[str], languages: Sequence[str], color: str):
        shown = {"metric": metric, "arms": arms, "languages": languages}
        axes = plots.dots(results, task, **shown, color=color)
        mine = table[(table["task"] == task) & (table["metric"] == metric)]
        mine = mine[mine["language"].isin(languages) & mine["arm"].isin(arms)]
        means = mine[~mine["is_source"]].groupby("arm", sort=False)["value"].mean().round(1)
        told = ", ".join(f"{arm} {value}" for arm, value in means.items())
        caption = f"{task}: {metric} in points; {plots.interval_caption(results)}; "
        caption += f"n = {mine['n'].max()} items a language at most. {results.study.suite}."
        alt = f"Dot plot of {task} in {len(languages)} languages: "
        alt += ", ".join(names[list(languages)])
        plots.show(axes, caption=caption, alt=f"{alt}. Means without the source: {told or 'none'}.")

    explore(draw, {
        "task": Control("task", list(dict.fromkeys(table["task"]))),
        "metric": Control("metric", lambda chosen: of("metric", chosen["task"]), follows=("task",)),
        "arms": Control("arms", arms, tuple(arms)),
        "languages": Control(
            "languages", lambda chosen: of("language", chosen["task"]),
            lambda chosen: of("language", chosen["task"]), ("task",),
        ),
        "color": Control("color by", ("arm", *plots.GROUPS)),
    })  # fmt: skip


def errors(results: Results, task: str = "", right: float = 1.0) -> None:
    """The error browser (``errors.errors``): task, two arms, language, outcome and page to choose.

    ``task`` is chosen at first, if given; ``right`` is the score (0 to 1) that counts as right.
    """
    arms, page = list(results.study.arms), 5

    def pair(one: str, other: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys((one, other)))

    def may(chosen: Chosen) -> error_browser.Choices:
        return error_browser.choices(results, chosen["task"], pair(chosen["one"], chosen["other"]))

    def draw(task: str, one: str, other: str, language: str, seed: int, outcome: str, number: int):
        shown = {"language": language, "seed": seed, "outcome": outcome, "right": right}
        skip = page * (number - 1)
        display(
            error_browser.errors(results, task, pair(one, other), **shown, first=page, skip=skip)
        )

    tasks, all_but = error_browser.choices(results).tasks, ("task", "one", "other")
    explore(draw, {
        "task": Control("task", tasks, task or tasks[0]),
        "one": Control("arm", arms),
        "other": Control("beside", arms, arms[min(1, len(arms) - 1)]),
        "language": Control("language", lambda chosen: may(chosen).languages, follows=all_but),
        "seed": Control("seed", lambda chosen: may(chosen).seeds, follows=all_but),
        "outcome": Control("outcome", lambda chosen: may(chosen).outcomes, follows=all_but),
        "number": Control("page", range(1, 1000), 1, (*all_but, "language", "seed", "outcome")),
    })  # fmt: skip


def tokens(texts: Mapping[str, Sequence[str]], encoder: str = "micro") -> None:
    """The token view (``token_view.tokens``): a sentence to choose or to type, languages to choose.

    ``texts`` has by language the same sentences in the same order.
    """
    codes = list(texts)

    def draw(number: int, languages: Sequence[str], typed: str) -> None:
        shown = {code: texts[code][number - 1] for code in languages}
        if typed.strip():
            shown = {codes[0]: typed}
        display(token_view.tokens(shown, encoder))

    explore(draw, {
        "number": Control("sentence", range(1, len(texts[codes[0]]) + 1), 1),
        "languages": Control("languages", codes, tuple(codes)),
        "typed": Control("or your own", value=""),
    })  # fmt: skip


NO_ATTACK = "none: type"
ATTACKS = {
    "typing errors": Typos(strength=0.2, beam=3),
    "words of other languages": CodeMixing(strength=0.2, beam=3),
}


def ask(results: Results, task: str) -> None:
    """The attack playground: a test example to choose, and to edit, and what the model says to it.

    Or an attack of the kit edits it: the one that is found to hurt this very model.
    """
    may = error_browser.choices(results, task)

    @lru_cache(maxsize=1)
    def at(arm: str, language: str, seed: int) -> Playground:
        with track(1, "loading the model", "model", leave=False) as bar:
            made = Playground(results, task, arm, language=language, seed=seed)
            bar.update()
        return made

    @cache
    def texts(arm: str, language: str, seed: int, number: int, attack: str) -> Mapping[str, str]:
        with track(1, "editing", "text", leave=False) as bar:
            own, way = at(arm, language, seed), ATTACKS.get(attack)
            made = own.attacked(number - 1, way) if way else own.texts(number - 1)
            bar.update()
        return made

    def text(name: str, chosen: Chosen) -> str:
        return texts(*(chosen[of] for of in follows))[name]

    def draw(arm: str, language: str, seed: int, number: int, attack: str, **edits: str) -> None:
        display(at(arm, language, seed).ask(number - 1, **edits))

    follows = ("arm", "language", "seed", "number", "attack")
    first = at(may.arms[0], may.languages[0], may.seeds[0])
    explore(draw, {
        "arm": Control("arm", may.arms),
        "language": Control("language", may.languages),
        "seed": Control("seed", may.seeds),
        "number": Control("example", range(1, len(first.rows) + 1), 1),
        "attack": Control("attack", (NO_ATTACK, *ATTACKS), follows=("number",)),
        **{name: Control(name, (), partial(text, name), follows) for name in first.texts(0)},
    })  # fmt: skip


def sentences(encoders: Mapping[str, str], texts: Mapping[str, Sequence[str]]) -> None:
    """Sentences as points, before and after phases: encoders, languages, layer to choose.

    Args:
        encoders: by name, as ``embeddings.checkpoints`` gives them.
        texts: by language, the same sentences in the same order.
    """
    first = next(iter(encoders.values()))
    known = {"untrained": (first, True)} | {name: (e, False) for name, e in encoders.items()}
    vectors: dict[tuple[str, int], pd.DataFrame] = {}
    depth, codes = embeddings.depth(first), list(texts)
    source = codes[0]

    def draw(shown: Sequence[str], languages: Sequence[str], layer: int, number: int) -> None:
        languages = [source, *(c for c in languages if c != source)]
        if left := [name for name in shown if (name, layer) not in vectors]:
            for name in track(left, "embedding", "encoder", leave=False):
                where, untrained = known[name]
                vectors[name, layer] = embeddings.embed(
                    where, texts, layer=layer, untrained=untrained
                )
        made = {name: vectors[name, layer] for name in shown}
        panels = {name: t[t["language"].isin(languages)] for name, t in made.items()}
        share = {
            name: embeddings.retrieval_accuracy(t, source).mean().round(0)
            for name, t in panels.items()
        }
        figure = plots_pictures.sentences(panels, first=number)
        caption = f"{number} sentences in {len(languages)} languages, means of their tokens after "
        caption += f"layer {layer}; above: nearest sentence in {source} is the translation, "
        caption += f"% of {len(texts[source])}, mean over the other languages."
        alt = f"Points of the same sentences in {', '.join(languages)}, joined by lines. "
        alt += "Translations found: " + ", ".join(f"{n} {v:.0f} %" for n, v in share.items())
        plots.show(figure, caption=caption, alt=f"{alt}.")

    explore(draw, {
        "shown": Control("encoders", list(known), tuple(known)[:3]),
        "languages": Control("languages", codes[1:], tuple(codes[1:5])),
        "layer": Control("layer", range(1, depth + 1), protocol_layer(depth)),
        "number": Control("sentences", range(2, 9), 6),
    })  # fmt: skip
