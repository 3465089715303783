"""Tidy tables in, honest statements out: comparisons, intervals, consistency, claims."""

from xltkit.analysis.claims import CLAIMS, claims_table, permute_arms, verdict, verdict_shares
from xltkit.analysis.compare import attack_report, compare, interaction, per_seed, summary
from xltkit.analysis.consistency import consistency, pairwise
from xltkit.analysis.intervals import difference, holm, t_interval
from xltkit.analysis.mixed_pairs import penalty, score_matrix
from xltkit.analysis.selection import select_arms
from xltkit.analysis.xtreme import averages, write_submission

__all__ = [
    "CLAIMS",
    "attack_report",
    "averages",
    "claims_table",
    "compare",
    "consistency",
    "difference",
    "holm",
    "interaction",
    "pairwise",
    "penalty",
    "per_seed",
    "permute_arms",
    "score_matrix",
    "select_arms",
    "summary",
    "t_interval",
    "verdict",
    "verdict_shares",
    "write_submission",
]
