"""Which source language to take: what a rule loses that selects one without labels in the target.

For studies whose arms differ in their source: ``xlt.study(arms, ..., source={"de": "de", ...})``.
"""

import pandas as pd
from sklearn.ensemble import GradientBoostingRegressor

from xltkit.analysis.intervals import difference, holm, t_interval
from xltkit.data.languages import CLASSES, columns
from xltkit.data.text import texts, word_spans
from xltkit.keys import choose
from xltkit.models.checkpoints import load_tokenizer
from xltkit.studies.make import test_rows
from xltkit.studies.results import Results
from xltkit.tasks import get

PAIR = ["task", "source_language", "language"]


def similarity(results: Results) -> pd.DataFrame:
    """How near each source language is to each target language, without a label of either.

    Indexed by task, source and target. ``words`` and ``pieces`` are the types that both test texts
    have, over the sum of the types of each (0 to 0.5; Lin et al. 2019, the feature "overlap" of
    LangRank); ``family``, ``branch`` and ``script`` are 1 if both have the same; ``resource`` is
    how much text there is in the source (0 low, 1 mid, 2 high).
    """
    sources = list(dict.fromkeys(run.source for run in results.study.runs))
    ranks = {level: rank for rank, level in enumerate(reversed(CLASSES))}
    rows = []
    for task in results.main["task"].unique():
        stages = [run.stage for run in results.study.runs if run.task == task]
        languages = list(dict.fromkeys(code for stage in stages for code in stage.phase.languages))
        phase = stages[0].phase
        tokenizer = load_tokenizer(stages[0].encoder)
        columns_of_text = get(task).type.texts
        words, pieces = {}, {}
        for code in languages:
            found = test_rows(get(task), phase, code)
            lines = [text for row in found for _, _, text in texts(columns_of_text, row)]
            words[code] = {t[start:end].lower() for t in lines for start, end in word_spans(t)}
            pieces[code] = {piece for t in lines for piece in tokenizer.tokenize(t)}
        about = columns(languages)
        for source in sources:
            for target in set(languages) - {source}:
                row = dict(zip(PAIR, (task, source, target), strict=True))
                for name, types in {"words": words, "pieces": pieces}.items():
                    shared = len(types[source] & types[target])
                    row[name] = shared / (len(types[source]) + len(types[target]))
                for name in ("family", "branch", "script"):
                    row[name] = float(about.loc[source, name] == about.loc[target, name])
                rows.append(row | {"resource": ranks.get(about.loc[source, "resource"], 0)})
    return pd.DataFrame(rows).set_index(PAIR).sort_index()


def regrets(results: Results, near: pd.DataFrame, usual: str = "en") -> pd.DataFrame:
    """What each rule that selects a source language loses against the best source of a target.

    The rules, none of which sees a label of the target or a model that was trained on any:

    - ``always`` the ``usual`` source;
    - ``nearest``: of the target's family, branch and script if there is any, then the one with most
      pieces in common;
    - ``best on average`` over all other targets;
    - ``ranker``: gradient boosting on ``near`` (``similarity``), trained on the scores of all other
      sources in all other targets (as LangRank, Lin et al. 2019, is left without one language);
    - ``any at random``: what a source costs on average, for comparison.

    The best source of a target is selected by other seeds than it is scored with (by the same one
    if there is no other): the best of many noisy numbers would always look good.

    One row per task, target (never the usual source) and rule: the source ``selected``, its
    ``score``, that of the ``best`` one, and their difference ``regret``, in points, means over
    seeds. ValueError if the usual source is none of the study's, or it has fewer than three.
    """
    sources = list(results.main["source_language"].unique())
    choose("usual source", usual, sources)
    if len(sources) < 3:
        raise ValueError(f"The sources are {sources}: to rank them takes three or more.")
    transfer = results.main[~results.main["is_source"]]
    rows = []
    for task, table in transfer.groupby("task", sort=False):
        scores = table.pivot_table("value", ["source_language", "language"], "seed")
        means = scores.mean(axis=1).unstack("language")
        # Some targets are easy for all sources; and no source is scored in its own language.
        relative = means - means.mean()
        for target in means.columns.drop(usual, errors="ignore"):
            own = scores.xs(target, level="language")  # (sources, seeds)
            known = relative.drop(index=target, columns=target, errors="ignore")
            pairs = near.loc[task].xs(target, level="language").loc[own.index]
            selected = {
                f"always {usual}": usual,
                "nearest": _nearest(pairs),
                "best on average": known.mean(axis=1).idxmax(),
                "ranker": _ranked_first(known, near.loc[task], pairs),
            }
            best = pd.Series({seed: _best(own, seed) for seed in own.columns}).mean()
            by_source = own.mean(axis=1)
            values = {rule: (source, by_source[source]) for rule, source in selected.items()}
            values["any at random"] = ("", by_source.mean())
            for rule, (source, score) in values.items():
                row = {"task": task, "language": target, "rule": rule, "selected": source}
                rows.append(row | {"score": score, "best": best, "regret": best - score})
    return pd.DataFrame(rows)


def _nearest(pairs: pd.DataFrame) -> str:
    return pairs.sort_values(["family", "branch", "script", "pieces"]).index[-1]


def _ranked_first(known: pd.DataFrame, near: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The source that a ranker of the known pairs puts first for one more target."""
    values = known.stack().dropna()
    ranker = GradientBoostingRegressor(random_state=0)
    ranker.fit(near.loc[values.index].to_numpy(), values)
    return pairs.index[ranker.predict(pairs.to_numpy()).argmax()]


def _best(own: pd.DataFrame, seed: int) -> float:
    """The score, with one seed, of the source that is best with the others."""
    others = own.drop(columns=seed) if own.shape[1] > 1 else own
    return own.loc[others.mean(axis=1).idxmax(), seed]


def rules(table: pd.DataFrame, usual: str = "en") -> pd.DataFrame:
    """Each rule's mean regret, and what it gains over always taking the usual source.

    From the table of ``regrets``: means over tasks, then over targets, which are the sample here:
    all intervals and p values are t over the ``n_targets``. ``difference`` is the gain in points.
    """
    by_target = table.groupby(["rule", "language"], sort=False)[["regret", "score"]].mean()
    usual_scores = by_target["score"].loc[f"always {usual}"]
    rows = []
    for rule, of_rule in by_target.groupby("rule", sort=False):
        regret = of_rule["regret"]
        low, high = t_interval(regret)
        row = {"rule": rule, "regret": regret.mean(), "regret_low": low, "regret_high": high}
        rows.append(row | difference((of_rule["score"].loc[rule] - usual_scores).to_numpy()))
    out = pd.DataFrame(rows).rename(columns={"n_seeds": "n_targets"})
    return out.assign(p_holm=holm(out["p"]))
