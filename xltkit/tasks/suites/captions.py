"""Pictures with captions, as rows of the table.

Captions are ranked by picture and pictures by caption, among those of the test set; R@1 is the
mean of both directions. A model that knows nothing finds one in n, whatever a picture's number of
captions. The budgets are ours, for an encoder of texts that is taught the vectors of a picture
encoder which stays as it is: none was published for it.
"""

from __future__ import annotations

from dataclasses import replace

from xltkit.data import readers_captions as caption_readers
from xltkit.tasks.base import Task, TrainingArguments
from xltkit.tasks.suites.hub import ALL, sources

EMOJI = "ar de en es fi fr he hi hu id ja ko pl ru sw ta th tr vi zh".split()
# XM3600 has 36 languages; two of them go by another code here (Cusco Quechua, Filipino).
XM3600 = (
    "ar bn cs da de el en es fa fi fr he hi hr hu id it ja ko mi nl no pl pt ro ru sv sw te th tr "
    "uk vi zh"
).split()
XM3600_NAMES = {"qu": "quz", "tl": "fil"}

_BUDGET = TrainingArguments(epochs=3, batch_size=256, learning_rate=5e-5, max_length=64)
_FLICKR = "for research and education (non-commercial); pictures under Flickr's terms of use"

_EMOJI = Task(
    name="emoji",
    kind="captions",
    metric="r@1",
    chance=100 / 161,
    training=TrainingArguments(epochs=20, batch_size=64, learning_rate=5e-5, max_length=32),
    licence="Apache-2.0 (images, Noto Emoji), Unicode License V3 (captions, CLDR)",
    citation="Noto Emoji (Google); CLDR annotations (Unicode); up to Emoji 16.0 of 2024",
    note="names only, without the key words; 1,262, 153 and 161 emojis, split by us so that the "
    "genders of one are together; a test for the mechanics: icons, and names that a pretrained "
    "encoder of pictures may have seen",
    **sources(
        "local/emoji-captions",
        dict.fromkeys(EMOJI, "default"),
        caption_readers.emoji,
        "image codepoint captions",
        **ALL,
    ),
)
_MULTI30K = Task(
    name="multi30k",
    kind="captions",
    metric="r@1",
    chance=0.1,
    training=_BUDGET,
    licence="CC BY-NC-SA 4.0 (non-commercial); pictures under Flickr's terms of use",
    citation="Elliott et al. 2016; Elliott et al. 2017; Barrault et al. 2018",
    note="29,000, 1,014 and 1,000 pictures of Flickr30k, one English caption of each and its "
    "translations; 10.5 GB; Flickr8k is not scored after it, whose pictures are of Flickr30k "
    "too. Not loaded by us: columns and commit are those in mteb's code, which says MIT of this "
    "copy; that its test split is test_2016_flickr is a guess by its size; ids are its rows",
    **sources(
        "romrawinjp/multi30k",
        dict.fromkeys(["en", "de", "fr", "cs"], "default"),
        caption_readers.multi30k,
        "en de fr cs image",
        **ALL,
    ),
)
_FLICKR8K = Task(
    name="flickr8k",
    kind="captions",
    metric="r@1",
    chance=0.1,
    training=_BUDGET,
    licence=_FLICKR,
    citation="Hodosh et al. 2013",
    note="6,000, 1,000 and 1,000 pictures, five English captions each. Flickr30k extends it (so "
    "its authors; nobody here counted the pictures in both), so Multi30k is not scored after it. "
    "Not loaded by us: columns and splits are from notes on the Hub; ids are rows of the copy",
    **sources(
        "jxie/flickr8k",
        {"en": "default"},
        caption_readers.flickr8k,
        "image caption_0 caption_1 caption_2 caption_3 caption_4",
        **ALL,
    ),
)
_FLICKR30K = Task(
    name="flickr30k",
    kind="captions",
    metric="r@1",
    chance=0.0,  # nothing of it is scored
    training=_BUDGET,
    licence=_FLICKR,
    citation="Young et al. 2014",
    note="about 31,000 pictures, five English captions each; 4.4 GB. For training only: the copy "
    "has one split, which it calls test, and not Karpathy's three as far as we know; it holds the "
    "pictures of Multi30k and, by its authors, of Flickr8k, so neither is scored after it. Not "
    "loaded by us: its columns are from notes on the Hub; ids are rows of the copy",
    **sources(
        "lmms-lab/flickr30k",
        {"en": "default"},
        caption_readers.flickr30k,
        "image caption",
        train="test",
    ),
)


def _apart(task: Task, *others: Task) -> Task:
    """A task whose training pictures are also among the scored ones of others."""
    scored = (part for other in others for part in (other.validation, other.test))
    return replace(task, train=replace(task.train, holds=tuple(scored)))


def _xm3600() -> Task:
    """XM3600: a split by language, under the code that it has there."""
    test = sources(
        "floschne/xm3600",
        dict.fromkeys(XM3600, "default"),
        caption_readers.xm3600,
        "image_id captions image",
        test="{language}",
    )["test"]
    renamed = (
        replace(test, split=name, configs={code: "default"}) for code, name in XM3600_NAMES.items()
    )
    return Task(
        name="xm3600",
        kind="captions",
        metric="r@1",
        chance=100 / 3600,
        training=_BUDGET,
        licence="CC BY 4.0 (captions), CC BY 2.0 (pictures of Open Images)",
        citation="Thapliyal et al. 2022",
        note="3,600 pictures, two captions or so in each of 36 languages, written and not "
        "translated; no training set; quz is qu here and fil tl; no is Norwegian without saying "
        "which. Not loaded by us: columns, splits and commit are those in mteb's code",
        test=replace(test, others=tuple(renamed)),
    )


_ROWS = (
    _EMOJI,
    _apart(_FLICKR8K, _MULTI30K),
    _apart(_FLICKR30K, _MULTI30K, _FLICKR8K),
    _apart(_MULTI30K, _FLICKR8K),
    _xm3600(),
)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}
