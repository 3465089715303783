"""Choosing a source language without labels in the target: how much each rule loses.

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
    """How similar each source language is to each target language, without using labels.

    Indexed by task, source and target. ``words`` and ``pieces`` are the number of types that the
    test texts of both languages share, divided by the sum of their numbers of types (0 to 0.5; the
    overlap of LangRank, Lin et al. 2019). ``family``, ``branch`` and ``script`` are 1 if equal.
    ``resource`` is the resource class of the source: 0 low, 1 mid, 2 high.
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
    """What rules for choosing a source language lose against the best source of each target.

    No rule sees labels in the target, or scores of a model trained on them:

    - ``always`` the ``usual`` source;
    - ``nearest``: a source of the target's family, branch and script if there is one, and among
      those the one that shares the most pieces with it;
    - ``best on average``: the best source for the other targets;
    - ``ranker``: gradient boosting on the columns of ``near`` (see ``similarity``), trained on the
      scores of the other sources in the other targets (leave one language out, as in LangRank);
    - ``any at random``: the mean of all sources, for comparison.

    Since the maximum of noisy scores is too high, the best source of a target is chosen on all
    seeds but one and scored on that one, in turn (with a single seed, on the same scores).

    One row per task, seed, target (except the usual source) and rule: the source ``selected``, its
    ``score``, the score of the ``best`` source, and ``regret``, their difference, in points.
    Raises ValueError if the study lacks the usual source or has fewer than three sources.
    """
    sources = list(results.main["source_language"].unique())
    choose("usual source", usual, sources)
    if len(sources) < 3:
        raise ValueError(f"The sources are {sources}: ranking them takes three or more.")
    transfer = results.main[~results.main["is_source"]]
    families = transfer.groupby("language")["family"].first()
    rows = []
    for task, table in transfer.groupby("task", sort=False):
        scores = table.pivot_table("value", ["source_language", "language"], "seed")
        means = scores.mean(axis=1).unstack("language")
        for target in means.columns.drop(usual, errors="ignore"):
            own = scores.xs(target, level="language")  # (sources, seeds)
            known = means.drop(index=target, columns=target, errors="ignore")
            # Some targets are easy for all sources, and no source is scored in its own language.
            known = known - known.mean()
            pairs = near.loc[task].xs(target, level="language").loc[own.index]
            selected = {
                f"always {usual}": usual,
                "nearest": pairs.sort_values(["family", "branch", "script", "pieces"]).index[-1],
                "best on average": known.mean(axis=1).idxmax(),
                "ranker": _ranked_first(known, near.loc[task], pairs),
            }
            about = {"task": task, "language": target, "family": families[target]}
            for seed in own.columns:
                # The source that is best on the other seeds, scored with this one.
                others = own.drop(columns=seed) if own.shape[1] > 1 else own
                best = own.loc[others.mean(axis=1).idxmax(), seed]
                values = {rule: own.loc[source, seed] for rule, source in selected.items()}
                for rule, score in (values | {"any at random": own[seed].mean()}).items():
                    row = about | {"seed": seed, "rule": rule, "selected": selected.get(rule, "")}
                    rows.append(row | {"score": score, "best": best, "regret": best - score})
    return pd.DataFrame(rows)


def _ranked_first(known: pd.DataFrame, near: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """The source that a ranker puts first for a new target, trained on the known pairs."""
    values = known.stack().dropna()
    ranker = GradientBoostingRegressor(random_state=0)
    ranker.fit(near.loc[values.index].to_numpy(), values)
    return pairs.index[ranker.predict(pairs.to_numpy()).argmax()]


def rules(table: pd.DataFrame, usual: str = "en") -> pd.DataFrame:
    """The mean regret of each rule, and its gain over always using the usual source.

    Takes the table of ``regrets``; means are over tasks and targets. ``regret_low`` to
    ``regret_high`` is Student's t over seeds: it generalizes to other seeds for these languages.
    ``families_low`` to ``families_high``, and the interval of the gain (``difference``, a mean over
    families), are t over the families of the targets: they generalize to other families. (Related
    languages are not independent, so an interval over targets would be too narrow.)
    """
    means = table.groupby(["rule", "family", "language", "seed"], sort=False)[["regret", "score"]]
    means = means.mean()
    usual_scores = means["score"].xs(f"always {usual}").groupby("family").mean()
    rows = []
    for rule, of_rule in means.groupby("rule", sort=False):
        by_seed = of_rule.groupby("seed").mean()
        by_family = of_rule["regret"].groupby("family").mean()
        row = {"rule": rule, "regret": by_seed["regret"].mean()}
        row["regret_low"], row["regret_high"] = t_interval(by_seed["regret"])
        row["families_low"], row["families_high"] = t_interval(by_family)
        row["n_families"] = len(by_family)
        gains = of_rule["score"].groupby("family").mean() - usual_scores
        rows.append(row | difference(gains.to_numpy()) | {"n_seeds": len(by_seed)})
    out = pd.DataFrame(rows)
    return out.assign(p_holm=holm(out["p"]))
