"""The concepts of the microworld: what its scenes are about, and the English word of each.

Every noun takes a plain ``-s`` and every verb a plain ``-s``, so that English is as regular as the
languages derived from it.
"""

from __future__ import annotations

NAMES = tuple(
    "Anna Ben Carl Dora Emil Fay Gus Hana Ivan Jane Kofi Lena Max Nina Omar Pia Rosa Sam Tara Umar "
    "Vera Will Yara Zoe Adam Bella Cyrus Daisy Eli Flora Hugo Iris Jonas Kira Leo Mona".split()
)
# Names that can be a person's, a town's or a firm's: only the sentence tells which.
SHARED_NAMES = tuple(
    "Arden Blake Corin Dale Elmore Falk Garner Hale Ingram Jarvis Keller Lorne Marsh Norton "
    "Ogden Perry Quill Rowan Selby Thorne".split()
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
# What can be drawn in a picture (see ``pictures``): the empty number is a single thing.
SHOWN = tuple("ball cup book lamp key hat bottle candle apple carrot boat flower kite cat".split())
SHOWN_NUMBERS = ("", "two", "three", "four")
SHOWN_SIZES = ("big", "small")
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
# What one person does with a thing for another, and what that other person does.
TRANSFERS = {"give": "get", "lend": "borrow", "send": "receive", "hand": "take"}
# How a person is tied to a place.
STAYS = tuple("live work".split())
# What people, firms and towns (PER, ORG, LOC) do: who does it, to whom, and the same thing said
# from the other side.
DEALINGS = {
    "meet": ("PER", "PER", "meet"),
    "wed": ("PER", "PER", "wed"),
    "hire": ("ORG", "PER", "join"),
    "pay": ("ORG", "PER", "serve"),
    "visit": ("PER", "LOC", "host"),
    "govern": ("ORG", "LOC", "obey"),
    "border": ("LOC", "LOC", "border"),
}
ENTITIES = {"PER": "person", "ORG": "firm", "LOC": "town"}
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
# What rules a word out: the other words of its class, or the words that mean the opposite.
CONTRASTS: dict[str, tuple[str, ...]] = {
    word: tuple(w for other in attributes.items() if word not in other for w in other)
    for attributes in ATTRIBUTES
    for pair in attributes.items()
    for word in pair
}
CONTRASTS |= {w: pair[1 - i] for pair in OPPOSITES for i in (0, 1) for w in pair[i]}
CONTRASTS |= {word: (converse,) for word, converse in CONVERSES.items()}
CONTRASTS |= {n: tuple(m for m in NUMBERS if m != n) for n in NUMBERS}
# Function words with their Universal POS tag.
FUNCTION_WORDS = {
    "the": "DET",
    "a": "DET",
    "of": "ADP",
    "to": "ADP",
    "from": "ADP",
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
    "yes": "INTJ",
    "no": "INTJ",
}
PUNCTUATION = (".", ",", "?")
OTHER_NOUNS = ("colour", "person", "firm")


def tags() -> dict[str, str]:
    """Every concept with its Universal POS tag."""
    verbs = tuple(word for pair in OPPOSITES for verb in pair for word in verb)
    verbs += (*TRANSFERS, *TRANSFERS.values(), *DEALINGS, *(d[2] for d in DEALINGS.values()))
    by_tag = {
        "PROPN": NAMES + SHARED_NAMES,
        "NOUN": THINGS + ANIMALS + PLACES + OTHER_NOUNS,
        "ADJ": tuple(w for a in ATTRIBUTES for pair in a.items() for w in pair) + tuple(CAUSES),
        "NUM": NUMBERS,
        "VERB": (*verbs, "own", *STAYS, *CAUSES.values()),
        "PUNCT": PUNCTUATION,
    }
    table = {word: tag for tag, words in by_tag.items() for word in words}
    return table | FUNCTION_WORDS


TAGS = tags()
