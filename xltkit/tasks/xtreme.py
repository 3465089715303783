"""The tasks of XTREME and XTREME-R, and the data sets they are trained on, as rows of the table.

Budgets are those of the reference scripts (google-research/xtreme, ``scripts/``). A revision is a
commit of the Hub repository; where none is given, none could be verified.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from xltkit.tasks import readers
from xltkit.tasks.benchmarks import BENCHMARKS
from xltkit.tasks.table import Budget, Portion, Reader, Source, Suite, Task

REVISIONS = {
    "aps/super_glue": "3de24cf8022e94f4ee4b9d55a6f539891524d646",
    "cambridgeltl/xcopa": "042f78955ba48e6404616762fa6e05e839c3907a",
    "facebook/xnli": "b8dd5d7af51114dbda02c0e3f6133f332186418e",
    "google-research-datasets/paws-x": "4cd8187c404bda33cb1f62b49b001115862acf37",
    "google-research-datasets/tydiqa": "da78f23f9119363459acbaf46bf89426ff26c259",
    "google/xquad": "51adfef1c1287aab1d2d91b5bead9bcfb9c68583",
    "nyu-mll/glue": "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
    "rajpurkar/squad": "7b6d24c440a36b6815f21b70d25016731768db1f",
}

_XTREME, _XTREME_R = (BENCHMARKS[name].tasks for name in ("xtreme", "xtreme-r"))
XNLI, PAWS_X = _XTREME["xnli"], _XTREME["paws-x"]
XQUAD, MLQA, TYDIQA, XCOPA = (_XTREME_R[name] for name in ("xquad", "mlqa", "tydiqa", "xcopa"))
WIKINEURAL = "de en es fr it nl pl pt ru".split()
UDPOS = {
    "af": "Afrikaans", "ar": "Arabic", "bg": "Bulgarian", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian",
    "id": "Indonesian", "it": "Italian", "ja": "Japanese", "kk": "Kazakh", "ko": "Korean",
    "mr": "Marathi", "nl": "Dutch", "pt": "Portuguese", "ru": "Russian", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tl": "Tagalog", "tr": "Turkish", "ur": "Urdu",
    "vi": "Vietnamese", "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip
# Tatoeba names languages by ISO 639-3, and Persian and Chinese by the variety.
TATOEBA = {
    "af": "afr", "ar": "ara", "bg": "bul", "bn": "ben", "de": "deu", "el": "ell", "es": "spa",
    "et": "est", "eu": "eus", "fa": "pes", "fi": "fin", "fr": "fra", "he": "heb", "hi": "hin",
    "hu": "hun", "id": "ind", "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz",
    "ko": "kor", "ml": "mal", "mr": "mar", "nl": "nld", "pt": "por", "ru": "rus", "sw": "swh",
    "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl", "tr": "tur", "ur": "urd", "vi": "vie",
    "zh": "cmn",
}  # fmt: skip

Configs = Mapping[str, str] | Iterable[str]


def _sources(hub: str, configs: Configs, read: Reader, **splits: str) -> dict[str, Source]:
    """Sources by our name of the split; ``configs`` without values are named like the languages."""
    if not isinstance(configs, Mapping):
        configs = {code: code for code in configs}
    revision = REVISIONS.get(hub, "")
    return {name: Source(hub, split, configs, read, revision) for name, split in splits.items()}


_ALL = {"train": "train", "validation": "validation", "test": "test"}
_PAIRS = Budget(epochs=5, warmup=0.0)
_TAGS = Budget(epochs=10, warmup=0.0)
# The scripts warm up for 500 steps whatever the length of the run: 6 % on SQuAD.
_SPANS = Budget(epochs=3, learning_rate=3e-5, warmup=0.06, weight_decay=1e-4, max_length=384)

_TYDIQA_CONFIGS = {code: "secondary_task" for code in TYDIQA}
_COPA = _sources("aps/super_glue", {"en": "copa"}, readers.copa, **_ALL)

_NLI = Task(
    name="xnli",
    kind="classification",
    metric="accuracy",
    chance=100 / 3,
    labels=readers.NLI_LABELS,
    budget=_PAIRS,
    train_on="mnli",
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Conneau et al. 2018",
    note="trains on MNLI; the train rows in other languages are machine translations of it",
    **_sources("facebook/xnli", XNLI, readers.nli, **_ALL),
)
_QA = Task(
    name="xquad",
    kind="span",
    metric="f1",
    chance=0.0,
    budget=_SPANS,
    train_on="squad",
    licence="CC BY-SA 4.0",
    citation="Artetxe et al. 2020",
    note="scored on its only split; parallel by id; SQuAD's English rule normalises all languages",
    **_sources("google/xquad", {c: f"xquad.{c}" for c in XQUAD}, readers.span, test="validation"),
)
_TYDI = replace(
    _QA,
    name="tydiqa",
    train_on="",
    # 500 steps of warm-up would be longer than the whole run of the reference script.
    budget=replace(_SPANS, warmup=0.1),
    licence="Apache-2.0",
    citation="Clark et al. 2020",
    note="TyDiQA-GoldP; trains on its own English part; scored on the published validation split",
    **_sources(
        "google-research-datasets/tydiqa",
        _TYDIQA_CONFIGS,
        readers.tydiqa,
        train="train",
        test="validation",
    ),
)
_CHOICE = Task(
    name="copa",
    kind="choice",
    metric="accuracy",
    chance=50.0,
    budget=_PAIRS,
    train=_COPA["train"],
    validation=_COPA["validation"],
    licence="BSD-2-Clause",
    citation="Roemmele et al. 2011",
    note="the labels of its test split are hidden, so it has none here; 400 rows to train on",
)
_NER = Task(
    name="wikineural",
    kind="tagging",
    metric="f1",
    chance=0.0,
    labels=readers.WIKINEURAL_TAGS,
    budget=_TAGS,
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    citation="Tedeschi et al. 2021",
    note="in the place of PAN-X, with MISC as a fourth type: not comparable with XTREME's figures",
    **_sources(
        "Babelscape/wikineural",
        {code: "default" for code in WIKINEURAL},
        readers.wikineural,
        train="train_{language}",
        validation="val_{language}",
        test="test_{language}",
    ),
)

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        _NLI,
        replace(
            _NLI,
            name="mnli",
            train_on="",
            train=_sources("nyu-mll/glue", {"en": "mnli"}, readers.nli, train="train")["train"],
            validation=None,
            test=None,
            licence="OANC, CC BY 3.0, CC BY-SA 3.0, by genre",
            citation="Williams et al. 2018",
            note="English training set of XNLI, 392,702 rows",
        ),
        replace(
            _NLI,
            name="sick",
            train_on="",
            train=_sources("local/sick", {"en": "default"}, readers.nli, train="train")["train"],
            validation=None,
            test=None,
            licence="CC BY-NC-SA 3.0 (non-commercial)",
            citation="Marelli et al. 2014",
            note="9,927 rows, all of them for training; stands in for MNLI where that is missing",
        ),
        Task(
            name="paws-x",
            kind="classification",
            metric="accuracy",
            chance=50.0,
            labels=readers.PARAPHRASE_LABELS,
            budget=_PAIRS,
            licence="free for any purpose, acknowledge Google LLC",
            citation="Yang et al. 2019",
            note="not in XTREME-R; labels differ between languages in up to 32 rows; the train "
            "rows in other languages are machine translations",
            **_sources("google-research-datasets/paws-x", PAWS_X, readers.paws_x, **_ALL),
        ),
        replace(
            _QA,
            name="squad",
            train_on="",
            citation="Rajpurkar et al. 2016",
            note="SQuAD 1.1, 87,599 rows; its validation split holds XQuAD's questions in English",
            test=None,
            **_sources("rajpurkar/squad", {"en": "plain_text"}, readers.span, train="train"),
        ),
        _QA,
        _TYDI,
        replace(
            _TYDI,
            name="tydiqa-heldout",
            note="for machines without the validation split: in every language a tenth of the "
            "training split is scored and never trained on; not comparable with published figures",
            train=replace(_TYDI.train, read=readers.tydiqa_kept),
            test=replace(_TYDI.train, read=readers.tydiqa_held_out),
        ),
        replace(
            _QA,
            name="mlqa",
            licence="CC BY-SA 3.0",
            citation="Lewis et al. 2020",
            note="question and context in the same language; a question exists in some languages "
            "only; has a normalisation of its own by language",
            **_sources(
                "google/xtreme",
                {code: f"MLQA.{code}.{code}" for code in MLQA},
                readers.span,
                validation="validation",
                test="test",
            ),
        ),
        Task(
            name="siqa",
            kind="choice",
            metric="accuracy",
            chance=100 / 3,
            budget=_PAIRS,
            licence="CC BY 4.0",
            citation="Sap et al. 2019",
            note="Social IQa; the reference trains on it before COPA",
            **_sources(
                "lighteval/siqa",
                {"en": "default"},
                readers.siqa,
                train="train",
                validation="validation",
            ),
        ),
        _CHOICE,
        replace(
            _CHOICE,
            name="xcopa",
            train=None,
            train_on="copa",
            licence="CC BY 4.0",
            citation="Ponti et al. 2020",
            note="not in English; wrong questions of id, it, sw, th, tr repaired from English COPA",
            **_sources(
                "cambridgeltl/xcopa",
                XCOPA,
                readers.Xcopa(_COPA),
                validation="validation",
                test="test",
            ),
        ),
        Task(
            name="udpos",
            kind="tagging",
            metric="f1",
            chance=0.0,
            labels=readers.UPOS,
            budget=_TAGS,
            licence="CC BY-SA 3.0 / 4.0, by treebank",
            citation="Nivre et al. 2018",
            note="f1 is XTREME's, over runs of equal tags; accuracy beside it; lt, pl, ro, uk and "
            "wo of XTREME-R are not in this data set",
            **_sources(
                "google/xtreme",
                {code: f"udpos.{name}" for code, name in UDPOS.items()},
                readers.udpos,
                **_ALL,
            ),
        ),
        _NER,
        replace(
            _NER,
            name="wikineural-small",
            note="11,590 rows; the validation part, for training where the train part is missing",
            train=_NER.validation,
            validation=None,
            test=None,
        ),
        Task(
            name="tatoeba",
            kind="retrieval",
            metric="accuracy",
            chance=0.1,
            budget=Budget(max_length=512),
            licence="CC BY 2.0 FR",
            citation="Artetxe and Schwenk 2019",
            note="nothing is trained; 205 to 1,000 pairs, so chance is 0.1 to 0.5; az, lt, pl, ro "
            "and uk of XTREME-R are not in this data set",
            **_sources(
                "google/xtreme",
                {code: f"tatoeba.{name}" for code, name in TATOEBA.items()},
                readers.tatoeba,
                test="validation",
            ),
        ),
    )
}

_CONTRASTS = {
    "size": (Portion("mnli"), Portion("copa")),
    "language": (Portion("tydiqa", "en"), Portion("tydiqa", "sw")),
}
_ENCODER = "xlm-roberta-base"
SUITES: dict[str, Suite] = {
    "xtreme-r": Suite(
        name="xtreme-r",
        targets={
            "nli": ("xnli",),
            "qa": ("xquad", "tydiqa"),
            "pos": ("udpos",),
            "retrieval": ("tatoeba",),
            "choice": ("xcopa",),
            "ner": ("wikineural",),
        },
        contrasts=_CONTRASTS,
        encoder=_ENCODER,
    ),
    "xtreme": Suite(
        name="xtreme",
        targets={
            "nli": ("xnli",),
            "paraphrase": ("paws-x",),
            "qa": ("xquad", "mlqa", "tydiqa"),
            "pos": ("udpos",),
            "retrieval": ("tatoeba",),
            "ner": ("wikineural",),
        },
        contrasts=_CONTRASTS,
        encoder=_ENCODER,
    ),
}
