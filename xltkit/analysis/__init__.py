"""From tidy tables to comparisons, confidence intervals, consistency and claims."""

from xltkit.analysis.claims import CLAIMS, claims_table, permute_arms, verdict, verdict_shares
from xltkit.analysis.compare import (
    attack_report,
    compare,
    interaction,
    per_seed,
    protocol,
    summary,
)
from xltkit.analysis.consistency import consistency, pairwise
from xltkit.analysis.intervals import difference, holm, judge, t_interval
from xltkit.analysis.laws import law, rows_saved
from xltkit.analysis.mixed_pairs import penalty, score_matrix
from xltkit.analysis.selection import select_arms
from xltkit.analysis.sources import regrets, rules, similarity
from xltkit.analysis.xtreme import averages, write_submission

__all__ = ["CLAIMS", "claims_table", "permute_arms", "verdict", "verdict_shares"]
__all__ += ["attack_report", "compare", "interaction", "per_seed", "protocol", "summary"]
__all__ += ["consistency", "pairwise", "penalty", "score_matrix", "select_arms"]
__all__ += ["averages", "difference", "holm", "t_interval", "write_submission"]
__all__ += ["judge", "law", "regrets", "rows_saved", "rules", "similarity"]
