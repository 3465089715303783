"""The concepts of the microworld, by their English words: ``lexicon.toml`` as constants."""

import tomllib
from pathlib import Path

from xltkit.files import read

_TABLES = tomllib.loads(read(Path(__file__).with_name("lexicon.toml")))
_WORDS = {name: tuple(words.split()) for name, words in _TABLES["words"].items()}

NAMES = _WORDS["names"]
SHARED_NAMES = _WORDS["shared_names"]
THINGS = _WORDS["things"]
ANIMALS = _WORDS["animals"]
PLACES = _WORDS["places"]
NUMBERS = _WORDS["numbers"]
STAYS = _WORDS["stays"]
SHOWN = _WORDS["shown"]
SHOWN_NUMBERS = ("", "two", "three", "four")  # the empty number is a single thing
SHOWN_SIZES = ("big", "small")
PUNCTUATION = (".", ",", "?")

# Attributes of a thing, each word with its synonym.
COLOURS: dict[str, str] = _TABLES["colours"]
ATTRIBUTES: tuple[dict[str, str], ...] = (COLOURS, _TABLES["sizes"], _TABLES["conditions"])
# Pairs of opposite verbs, each verb a pair with its synonym.
OPPOSITES = tuple(tuple(map(tuple, pair)) for pair in _TABLES["verbs"]["opposites"])
ACTIONS = tuple(verb for pair in OPPOSITES for verb, _ in pair)
TRANSFERS: dict[str, str] = _TABLES["transfers"]
DEALINGS: dict[str, list[str]] = _TABLES["dealings"]
ENTITIES: dict[str, str] = _TABLES["entities"]
CONVERSES: dict[str, str] = _TABLES["converses"]
RELATIONS = (*CONVERSES, "near", "on", "in")
CAUSES: dict[str, str] = _TABLES["causes"]

SYNONYMS = {word: other for attributes in ATTRIBUTES for word, other in attributes.items()}
SYNONYMS |= {word: other for pair in OPPOSITES for word, other in pair}


def _contrasts() -> dict[str, tuple[str, ...]]:
    """What rules a word out: the other words of its class, or the words that mean the opposite."""
    contrasts: dict[str, tuple[str, ...]] = {}
    for attributes in ATTRIBUTES:
        for pair in attributes.items():
            others = tuple(word for other in attributes.items() if other != pair for word in other)
            contrasts |= dict.fromkeys(pair, others)
    for verb, opposite in OPPOSITES:
        contrasts |= dict.fromkeys(verb, opposite) | dict.fromkeys(opposite, verb)
    contrasts |= {word: (converse,) for word, converse in CONVERSES.items()}
    return contrasts | {n: tuple(other for other in NUMBERS if other != n) for n in NUMBERS}


def _tags() -> dict[str, str]:
    """Every concept with its Universal POS tag."""
    attributes = [word for table in ATTRIBUTES for pair in table.items() for word in pair]
    actions = [word for pair in OPPOSITES for verb in pair for word in verb]
    transfers = (*TRANSFERS, *TRANSFERS.values())
    dealings = (*DEALINGS, *(converse for _, _, converse in DEALINGS.values()))
    words = {
        "PROPN": NAMES + SHARED_NAMES,
        "NOUN": THINGS + ANIMALS + PLACES + ("colour", "person", "firm"),
        "ADJ": (*attributes, *CAUSES),
        "NUM": NUMBERS,
        "VERB": (*actions, *transfers, *dealings, "own", *STAYS, *CAUSES.values()),
        "PUNCT": PUNCTUATION,
    }
    tags = {word: tag for tag, tagged in words.items() for word in tagged}
    return tags | _TABLES["function_words"]


CONTRASTS = _contrasts()
TAGS = _tags()
