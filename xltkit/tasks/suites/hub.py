"""The Hub repositories that the suites draw on, and the commits they are pinned to.

A commit stands here only if it was seen at work in public code (lighteval, mteb and others that
load it without a script). Nothing here has been loaded from the Hub by the authors of this table:
``xltkit data check``, on a machine with a network, tells whether it still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from xltkit.data.loading import CONVERTED, Reader, Source

REVISIONS = {
    "Rowan/hellaswag": "218ec52e09a7e7462a5400043bb9a69a41d06b76",
    "aps/super_glue": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    "cambridgeltl/xcopa": "042f78955ba48e6404616762fa6e05e839c3907a",
    "facebook/anli": "8e4813d81f46d313dac7892e1c28076917cfcdf9",
    "facebook/xnli": "b8dd5d7af51114dbda02c0e3f6133f332186418e",
    "floschne/xm3600": "8d3e5665526c55a5855cd6ddfbaba2032bc7cee4",
    "google-research-datasets/paws-x": "4cd8187c404bda33cb1f62b49b001115862acf37",
    "google-research-datasets/tydiqa": "da78f23f9119363459acbaf46bf89426ff26c259",
    "google/xquad": "51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
    "lighteval/siqa": "54c6a1f8cb6daf4f5abf24a601852612fb35eb25",
    "mteb/BUCC": "414572247440f0ccacf7eb0bb70a31533a0e5443",
    "mteb/tatoeba-bitext-mining": "69e8f12da6e31d59addadda9a9c8a2e601a0e282",
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "rajpurkar/squad": "7b6d24c440a36b6815f21b70d25016731768db1f",
    "rajpurkar/squad_v2": "3ffb306f725f7d2ce8394bc1873b24868140c412",
    "romrawinjp/multi30k": "110e827dac7d6aabe6201d13bbdbc7413630390d",
    "stanfordnlp/snli": "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
    "tau/commonsense_qa": "94630fe30dad47192a8546eb75f094926d47e155",
    "unimelb-nlp/wikiann": "f0a3be6dc5564c0cc4150bb660144800a1f539d4",
    # The main branch is a script; the Hub's conversion moves with it, and its commit is in the key.
    "universal-dependencies/universal_dependencies": CONVERTED,
}
_UNSEEN = "no commit of it was found in public code"
UNPINNED = {
    "Babelscape/wikineural": _UNSEEN,
    "Samsoup/cosmos_qa": _UNSEEN,
    "google/xtreme": _UNSEEN,
    "jxie/flickr8k": _UNSEEN,
    "lmms-lab/flickr30k": _UNSEEN,
    "wikimedia/wikipedia": _UNSEEN,
    "local/balanced-copa": "Made from balanced-copa-dev-all.xml of github.com/Balanced-COPA.",
    "local/ccg": "CCGbank is licensed by the LDC (LDC2005T13) and has no free copy. Write yours "
    "with a word, a tab and its supertag on each line, and an empty line after each sentence.",
    "local/emoji-captions": "Made from png/72 of github.com/emoj-info/noto and from "
    "cldr-annotations-full of github.com/unicode-org/cldr-json.",
    "raw/bucc2018": "XTREME's scripts/download_data.sh makes these files of the sample data of "
    "the shared task (comparable.limsi.fr/bucc2018): de-en.dev.de, .en and .gold.",
    "raw/mewsli-x": "get-mewsli-x.sh in dense_representations_for_entity_retrieval/mel of "
    "github.com/google-research/google-research makes these files.",
    "local/sick": "Made from the SICK file of Marelli et al. 2014, all rows for training.",
}

# Folders that files off the Hub are fetched from.
URLS = {
    "raw/lareqa": "https://raw.githubusercontent.com/google-research-datasets/lareqa/"
    "5405d2a77e83d5ccb47623a3f9e5604c3f103193",
}

Configs = Mapping[str, str] | Iterable[str]
ALL = {"train": "train", "validation": "validation", "test": "test"}


def sources(
    hub: str, configs: Configs, read: Reader, columns: str, **splits: str
) -> dict[str, Source]:
    """Sources by our name of the split, as keyword arguments of ``Task``.

    Args:
        hub: a key of ``REVISIONS``, ``UNPINNED`` or ``URLS``.
        configs: by language; without values, configs are named like the languages.
        read: the reader.
        columns: the columns that it uses, separated by spaces.
        splits: the Hub's name of a split, by ours (``train``, ``validation``, ``test``,
            ``candidates``).
    """
    if not isinstance(configs, Mapping):
        configs = {code: code for code in configs}
    pin = {"revision": REVISIONS.get(hub, ""), "unpinned": UNPINNED.get(hub, "")}
    pin["url"] = URLS.get(hub, "")
    used = tuple(columns.split())
    return {
        name: Source(hub, split, configs, read, columns=used, **pin)
        for name, split in splits.items()
    }
