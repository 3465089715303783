"""How large what is not here is: training sets, test sets and encoders, for plans only.

Nothing that is trained or scored reads this table. Rows are counts of the publishers, of the
English part unless a language stands beside; lengths are rough guesses of ours in tokens of XLM-R.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Size(NamedTuple):
    """Rows to train on, rows to score in one language, and tokens of a row with all its texts."""

    train: int
    test: int
    tokens: int


GUESS = Size(10_000, 2_000, 64)  # of a task that has no row here; a plan that uses it says so

SIZES: Mapping[str, Size] = {
    "mnli": Size(392_702, 0, 40),
    "snli": Size(549_367, 0, 30),
    "anli": Size(162_865, 0, 90),
    "anli+": Size(162_865 + 392_702 + 549_367, 0, 42),
    "qqp": Size(363_846, 0, 32),
    "squad": Size(87_599, 0, 180),
    "squad2": Size(130_319, 0, 180),
    "hellaswag": Size(39_905, 0, 4 * 100),
    "cosmosqa": Size(25_262, 0, 4 * 110),
    "csqa": Size(9_741, 0, 5 * 25),
    "siqa": Size(33_410, 0, 3 * 40),
    "ccg": Size(39_604, 0, 33),
    "copa": Size(400, 0, 2 * 22),
    "balanced-copa": Size(1_000, 0, 2 * 22),
    "wikipedia": Size(100_000, 0, 120),
    "xnli": Size(392_702, 5_010, 45),
    "paws-x": Size(49_401, 2_000, 60),
    "xquad": Size(0, 1_190, 200),
    "mlqa": Size(0, 6_035, 200),
    "tydiqa": Size(3_696, 564, 160),
    "tydiqa-sentences": Size(3_696, 0, 160),
    "xcopa": Size(0, 500, 2 * 25),
    "udpos": Size(21_253, 2_000, 30),
    "panx": Size(20_000, 5_000, 15),
    "tatoeba": Size(0, 1_000, 2 * 12),
    # Both collections of a pair, and those of the validation split.
    "bucc": Size(0, 560_000, 30),
    # Queries, and the sentences of eleven languages with their paragraphs.
    "lareqa": Size(87_599, 1_190 + 1_200, 200),
    "mewsli-x": Size(115_000, 2_000, 64),
    "flickr8k": Size(6_000, 1_000, 5 * 15),
    "flickr30k": Size(31_014, 0, 5 * 15),
    "multi30k": Size(29_000, 1_000, 15),
    "xm3600": Size(0, 3_600, 2 * 15),
}
LANGUAGES: Mapping[tuple[str, str], int] = {  # training rows in a language
    ("tydiqa", "ar"): 14_805, ("tydiqa", "bn"): 2_390, ("tydiqa", "fi"): 6_855,
    ("tydiqa", "id"): 5_702, ("tydiqa", "ko"): 1_625, ("tydiqa", "ru"): 6_490,
    ("tydiqa", "sw"): 2_755, ("tydiqa", "te"): 5_563,
}  # fmt: skip

# Configurations of encoders and of a CLIP, where neither the Hub nor its cache can be asked.
CONFIGS: Mapping[str, Mapping[str, int | str]] = {
    "FacebookAI/xlm-roberta-base": {
        "model_type": "xlm-roberta", "vocab_size": 250_002, "hidden_size": 768,
        "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3_072,
        "max_position_embeddings": 514, "type_vocab_size": 1,
    },
    "FacebookAI/xlm-roberta-large": {
        "model_type": "xlm-roberta", "vocab_size": 250_002, "hidden_size": 1_024,
        "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4_096,
        "max_position_embeddings": 514, "type_vocab_size": 1,
    },
    "google-bert/bert-base-multilingual-cased": {
        "model_type": "bert", "vocab_size": 119_547, "hidden_size": 768, "num_hidden_layers": 12,
        "num_attention_heads": 12, "intermediate_size": 3_072, "max_position_embeddings": 512,
        "type_vocab_size": 2,
    },
    "openai/clip-vit-base-patch32": {"model_type": "clip"},  # transformers' own default
}  # fmt: skip


def training_size(task: str, language: str) -> int:
    """Training rows of a task in a language; 0 if nobody told."""
    known = SIZES.get(task)
    return LANGUAGES.get((task, language), known.train if known else 0)
