"""The concepts of the microworld: what its scenes are about, and the English word of each.

Every noun takes a plain ``-s`` and every verb a plain ``-s``, so that English is as regular as the
languages derived from it.
"""

from __future__ import annotations

NAMES = tuple(
    "Anna Ben Carl Dora Emil Fay Gus Hana Ivan Jane Kofi Lena Max Nina Omar Pia Rosa Sam Tara Umar "
    "Vera Will Yara Zoe Adam Bella Cyrus Daisy Eli Flora Hugo Iris Jonas Kira Leo Mona".split()
)
THINGS = tuple(
    "ball cup book lamp chair table key coin hat ring bag drum kite bell spoon plate bottle basket "
    "rope candle mirror pillow blanket clock shoe coat stone flower apple lemon onion carrot cake "
    "boat cart ladder hammer pencil letter map".split()
)
ANIMALS = tuple("dog cat horse bird goat duck cow frog bear lion pig hen".split())
# Attributes of a thing, by class: of one class a thing has one. Each word has a synonym. None
# begins with a vowel, so that the article is always "a".
COLOURS = {
    "red": "scarlet",
    "blue": "navy",
    "green": "lime",
    "yellow": "golden",
    "black": "sooty",
    "white": "pale",
    "brown": "tan",
    "grey": "silver",
}
SIZES = {"big": "large", "small": "tiny", "long": "lengthy", "short": "stubby"}
CONDITIONS = {"new": "fresh", "worn": "shabby", "broken": "cracked", "dusty": "grimy"}
ATTRIBUTES = (COLOURS, SIZES, CONDITIONS)
NUMBERS = tuple("two three four five six seven eight nine".split())
PLACES = tuple(
    "village town house garden forest field kitchen school market harbour castle farm island "
    "valley tower temple".split()
)
# What one does to a thing, and the opposite; each verb with its synonym.
OPPOSITES = (
    (("find", "discover"), ("lose", "misplace")),
    (("buy", "purchase"), ("sell", "vend")),
    (("like", "enjoy"), ("hate", "detest")),
    (("lift", "raise"), ("drop", "release")),
    (("clean", "scrub"), ("soil", "stain")),
    (("repair", "mend"), ("wreck", "ruin")),
    (("hide", "conceal"), ("reveal", "expose")),
    (("open", "unlock"), ("shut", "close")),
)
ACTIONS = tuple(first for pair in OPPOSITES for first, _ in pair)
# Things done with a thing to another person.
TRANSFERS = tuple("give show lend send".split())
# How a person is tied to a place.
STAYS = tuple("live work".split())
# A relation and its converse: if A is under B, then B is over A.
CONVERSES = {"under": "over", "over": "under", "before": "behind", "behind": "before"}
RELATIONS = (*CONVERSES, "near", "on", "in")
# Causal links: who is (state) therefore (verb)s.
CAUSES = {
    "hungry": "eat",
    "tired": "sleep",
    "thirsty": "drink",
    "cold": "shiver",
    "sad": "weep",
    "happy": "sing",
    "sick": "cough",
    "late": "run",
    "angry": "shout",
    "afraid": "tremble",
    "bored": "yawn",
    "dirty": "bathe",
    "hot": "sweat",
    "lost": "call",
    "amused": "laugh",
    "proud": "smile",
    "curious": "ask",
    "weak": "stumble",
    "rich": "travel",
    "shy": "whisper",
    "brave": "climb",
    "lonely": "write",
    "clever": "win",
    "rude": "grin",
}
SYNONYMS = {
    **{word: other for attributes in ATTRIBUTES for word, other in attributes.items()},
    **{word: other for pair in OPPOSITES for word, other in pair},
}
# Function words with their Universal POS tag.
FUNCTION_WORDS = {
    "the": "DET",
    "a": "DET",
    "of": "ADP",
    "to": "ADP",
    "in": "ADP",
    "on": "ADP",
    "under": "ADP",
    "over": "ADP",
    "near": "ADP",
    "before": "ADP",
    "behind": "ADP",
    "is": "AUX",
    "does": "AUX",
    "and": "CCONJ",
    "so": "CCONJ",
    "because": "SCONJ",
    "who": "PRON",
    "what": "PRON",
    "which": "DET",
    "where": "ADV",
    "how": "ADV",
    "many": "ADJ",
}
PUNCTUATION = (".", ",", "?")
OTHER_NOUNS = ("colour",)


def tags() -> dict[str, str]:
    """Every concept with its Universal POS tag."""
    verbs = tuple(word for pair in OPPOSITES for verb in pair for word in verb)
    by_tag = {
        "PROPN": NAMES,
        "NOUN": THINGS + ANIMALS + PLACES + OTHER_NOUNS,
        "ADJ": tuple(w for a in ATTRIBUTES for pair in a.items() for w in pair) + tuple(CAUSES),
        "NUM": NUMBERS,
        "VERB": (*verbs, "own", *TRANSFERS, *STAYS, *CAUSES.values()),
        "PUNCT": PUNCTUATION,
    }
    table = {word: tag for tag, words in by_tag.items() for word in words}
    return table | FUNCTION_WORDS


TAGS = tags()
