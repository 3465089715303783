"""The tasks of XTREME and XTREME-R as rows of the table, each with its own training split.

Those that search a pool are in ``retrieval.py``, and what English tasks all of them, or a phase
before them, are trained on in ``intermediate.py``. Budgets are those of the reference scripts
(google-research/xtreme, ``scripts/``).
"""

from __future__ import annotations

from dataclasses import replace

from xltkit.data import readers
from xltkit.data import readers_choice as choice_readers
from xltkit.data import readers_tags as tag_readers
from xltkit.data.languages import language
from xltkit.tasks.base import ImageTextSuite, Suite, Task, TrainingArguments, TrainingSet
from xltkit.tasks.suites.benchmarks import BENCHMARKS
from xltkit.tasks.suites.english import COPA, PAIRS, SPANS
from xltkit.tasks.suites.hub import ALL, sources

_XTREME = BENCHMARKS["xtreme"].tasks
_XTREME_R = BENCHMARKS["xtreme-r"].tasks
WIKINEURAL = "de en es fr it nl pl pt ru".split()
# Languages that XTREME-R adds: one treebank each, of the sort that its script would merge.
TREEBANKS = {"lt": "lt_alksnis", "pl": "pl_pdb", "ro": "ro_rrt", "uk": "uk_iu", "wo": "wo_wtb"}
_TAGS = TrainingArguments(epochs=10, warmup=0.0)
_QA_COLUMNS = "id context question answers"

_NLI = Task(
    name="xnli",
    kind="classification",
    metric="accuracy",
    chance=100 / 3,
    labels=readers.NLI_LABELS,
    training=PAIRS,
    train_on="mnli",
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Conneau et al. 2018",
    note="trains on MNLI; the train rows in other languages are machine translations of it",
    **sources("facebook/xnli", _XTREME["xnli"], readers.nli, "premise hypothesis label", **ALL),
)
_PAWS = Task(
    name="paws-x",
    kind="classification",
    metric="accuracy",
    chance=50.0,
    labels=readers.PARAPHRASE_LABELS,
    training=PAIRS,
    licence="free for any purpose, acknowledge Google LLC",
    citation="Yang et al. 2019",
    note="not in XTREME-R; labels differ between languages in up to 32 rows; the train rows in "
    "other languages are machine translations",
    **sources(
        "google-research-datasets/paws-x",
        _XTREME["paws-x"],
        readers.paws_x,
        "id sentence1 sentence2 label",
        **ALL,
    ),
)
_QA = Task(
    name="xquad",
    kind="span",
    metric="f1",
    chance=0.0,
    training=SPANS,
    train_on="squad",
    licence="CC BY-SA 4.0",
    citation="Artetxe et al. 2020",
    note="scored on its only split; parallel by id; SQuAD's English rule normalises all languages",
    **sources(
        "google/xquad",
        {c: f"xquad.{c}" for c in _XTREME_R["xquad"]},
        readers.span,
        _QA_COLUMNS,
        test="validation",
    ),
)
_TYDI = replace(
    _QA,
    name="tydiqa",
    train_on="",
    # 500 steps of warm-up would be longer than the whole run of the reference script.
    training=replace(SPANS, warmup=0.1),
    licence="Apache-2.0",
    citation="Clark et al. 2020",
    note="TyDiQA-GoldP; trains on its own English part; scored on the published validation split",
    **sources(
        "google-research-datasets/tydiqa",
        dict.fromkeys(_XTREME_R["tydiqa"], "secondary_task"),
        readers.tydiqa,
        _QA_COLUMNS,
        train="train",
        test="validation",
    ),
)
_TYDI_PARTS = replace(
    _TYDI,
    name="tydiqa-heldout",
    note="for machines without the validation split: in every language a tenth of the training "
    "split is scored and never trained on; not comparable with published figures",
    train=replace(_TYDI.train, read=readers.tydiqa_kept),
    test=replace(_TYDI.train, read=readers.tydiqa_held_out),
)


def _mlqa(question: str = "") -> Task:
    """MLQA: context and question in the same language, or all questions in one language."""
    same = "question and context in the same language; a question exists in some languages only"
    mixed = f"the question in {question!r} and the context in the language of the row (G-XLT)"
    configs = {code: f"MLQA.{code}.{question or code}" for code in _XTREME_R["mlqa"]}
    return replace(
        _QA,
        name=f"mlqa-q-{question}" if question else "mlqa",
        licence="CC BY-SA 3.0",
        citation="Lewis et al. 2020",
        note=f"{mixed if question else same}; normalised by rules of its own for each language",
        **sources(
            "google/xtreme",
            configs,
            readers.span,
            _QA_COLUMNS,
            validation="validation",
            test="test",
        ),
    )


def _xcopa() -> Task:
    """XCOPA, whose questions are repaired from English COPA's in the same split."""
    splits = sources(
        "cambridgeltl/xcopa",
        _XTREME_R["xcopa"],
        choice_readers.xcopa,
        "premise choice1 choice2 question idx label",
        validation="validation",
        test="test",
    )
    return Task(
        name="xcopa",
        kind="choice",
        metric="accuracy",
        chance=50.0,
        training=PAIRS,
        train_on="copa",
        licence="CC BY 4.0",
        citation="Ponti et al. 2020",
        note="not in English; wrong questions of id, it, sw, th, tr repaired from English COPA; "
        "the reference trains on Social IQa first",
        **{name: replace(source, repaired_by=COPA[name]) for name, source in splits.items()},
    )


def _udpos() -> Task:
    """UDPOS of XTREME, and the languages that XTREME-R adds from another repository."""
    # A single sort of treebank has test rows only, and Kazakh too few for a validation split.
    missing = {"train": ("th", "tl", "yo"), "validation": ("kk", "th", "tl", "yo"), "test": ()}
    added = sources(
        "universal-dependencies/universal_dependencies",
        TREEBANKS,
        tag_readers.upos,
        "tokens upos head",
        **ALL,
    )
    splits = {}
    for name, without in missing.items():
        codes = [code for code in _XTREME["udpos"] if code not in without]
        configs = {code: f"udpos.{language(code).name}" for code in codes}
        source = sources(
            "google/xtreme", configs, tag_readers.udpos, "tokens pos_tags", **{name: name}
        )[name]
        splits[name] = replace(source, others=(added[name],))
    return Task(
        name="udpos",
        kind="tagging",
        metric="f1",
        chance=0.0,
        labels=tag_readers.UPOS,
        training=_TAGS,
        licence="CC BY-SA 3.0 / 4.0, by treebank",
        citation="Nivre et al. 2018",
        note="f1 is XTREME's, over runs of equal tags; accuracy beside it; UD 2.5; lt, pl, ro, uk "
        "and wo of XTREME-R from UD 2.7, from one treebank each and without fused forms",
        **splits,
    )


_NER = Task(
    name="panx",
    kind="tagging",
    metric="f1",
    chance=0.0,
    labels=tag_readers.PANX_TAGS,
    training=_TAGS,
    licence="ODC-BY; texts of Wikipedia, CC BY-SA",
    citation="Pan et al. 2017; Rahimi et al. 2019",
    note="WikiANN in the splits of Rahimi et al.; entity F1; 100 to 10,000 test rows",
    **sources("unimelb-nlp/wikiann", _XTREME_R["panx"], tag_readers.panx, "tokens ner_tags", **ALL),
)
_WIKINEURAL = replace(
    _NER,
    name="wikineural",
    labels=tag_readers.WIKINEURAL_TAGS,
    licence="CC BY-NC-SA 4.0 (non-commercial)",
    citation="Tedeschi et al. 2021",
    note="in the place of PAN-X, with MISC as a fourth type: not comparable with XTREME's figures",
    **sources(
        "Babelscape/wikineural",
        dict.fromkeys(WIKINEURAL, "default"),
        tag_readers.wikineural,
        "tokens ner_tags",
        train="train_{language}",
        validation="val_{language}",
        test="test_{language}",
    ),
)
_WIKINEURAL_SMALL = replace(
    _WIKINEURAL,
    name="wikineural-small",
    note="11,590 rows; the validation part, for training where the train part is missing",
    train=_WIKINEURAL.validation,
    validation=None,
    test=None,
)


_ROWS = (
    _NLI,
    _PAWS,
    _QA,
    _TYDI,
    _TYDI_PARTS,
    _mlqa(),
    *map(_mlqa, _XTREME_R["mlqa"]),
    _xcopa(),
    _udpos(),
    _NER,
    _WIKINEURAL,
    _WIKINEURAL_SMALL,
)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}

_CLIP = "openai/clip-vit-base-patch32"
# Ours: no paper has trained on pictures between pretraining and these targets.
_IMAGES = ImageTextSuite(
    captions="flickr8k",
    test_captions="xm3600",
    tower=_CLIP,
    teacher=_CLIP,
    text=("mnli", "squad"),
    training=TrainingArguments(steps=2000, batch_size=128, learning_rate=2e-5, max_length=128),
)
# The nine tasks that the intermediate-training paper is taken to use. Its translated data, its text
# and its steps are not known to us: XNLI's training set in four languages, text of six languages in
# six scripts, and as many steps as fit.
_SHARED = {
    "encoder": "xlm-roberta-base",
    "order_pairs": {
        "size": (TrainingSet("mnli"), TrainingSet("copa")),
        "language": (TrainingSet("tydiqa", "en"), TrainingSet("tydiqa", "sw")),
    },
    "intermediate_tasks": tuple("anli+ mnli qqp squad2 squad hellaswag ccg cosmosqa csqa".split()),
    "translated": tuple(TrainingSet("xnli", code) for code in ("en", "de", "ru", "sw")),
    "multilingual": tuple(
        TrainingSet("tydiqa", code) for code in "en ar bn fi id ko ru sw te".split()
    ),
    "text": tuple(TrainingSet("wikipedia", code, 20000) for code in "bg el sw ta th ur".split()),
    "intermediate_training": TrainingArguments(
        steps=5000, batch_size=16, learning_rate=1e-5, max_length=256
    ),
    "images": _IMAGES,
}
SUITES: dict[str, Suite] = {
    "xtreme-r": Suite(
        name="xtreme-r",
        targets={
            "nli": ("xnli",),
            "qa": ("xquad", "mlqa", "tydiqa"),
            "pos": ("udpos",),
            "retrieval": ("tatoeba",),
            "answers": ("lareqa",),
            "linking": ("mewsli-x",),
            "choice": ("xcopa",),
            "ner": ("panx",),
        },
        **_SHARED,
    ),
    "xtreme": Suite(
        name="xtreme",
        targets={
            "nli": ("xnli",),
            "paraphrase": ("paws-x",),
            "qa": ("xquad", "mlqa", "tydiqa"),
            "pos": ("udpos",),
            "retrieval": ("tatoeba",),
            "mining": ("bucc",),
            "ner": ("panx",),
        },
        **_SHARED,
    ),
}
