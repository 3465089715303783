"""English training sets as rows of the table.

They are what the tasks of XTREME are trained on, and the tasks of jiant, the code of the English
intermediate-training paper (Phang et al. 2020), that it is taken to train on before; MNLI, SQuAD
and HellaSwag are confirmed as such. Texts are joined as in jiant (``jiant/tasks/lib``) unless a
note says otherwise. Budgets are XTREME's: those of the paper are not known to us.
"""

from __future__ import annotations

from dataclasses import replace

from xltkit.data import readers
from xltkit.data import readers_choice as choice_readers
from xltkit.data import readers_tags as tag_readers
from xltkit.tasks.base import Task, TrainingArguments
from xltkit.tasks.suites.benchmarks import BENCHMARKS
from xltkit.tasks.suites.hub import ALL, sources

PAIRS = TrainingArguments(epochs=5, warmup=0.0)
# The scripts warm up for 500 steps whatever the length of the run: 6 % on SQuAD.
SPANS = TrainingArguments(
    epochs=3, learning_rate=3e-5, warmup=0.06, weight_decay=1e-4, max_length=384
)

XTREME_R = sorted({code for codes in BENCHMARKS["xtreme-r"].tasks.values() for code in codes})
_TRAIN = {"train": "train"}
_LABELLED = {"train": "train", "validation": "validation"}  # the test labels are hidden
_NLI_COLUMNS = "premise hypothesis label"
_COPA_COLUMNS = "premise choice1 choice2 question idx label"
COPA = sources("aps/super_glue", {"en": "copa"}, choice_readers.copa, _COPA_COLUMNS, **ALL)

_MNLI = Task(
    name="mnli",
    kind="classification",
    metric="accuracy",
    chance=100 / 3,
    labels=readers.NLI_LABELS,
    training=PAIRS,
    licence="OANC, CC BY 3.0, CC BY-SA 3.0, by genre",
    citation="Williams et al. 2018",
    note="English training set of XNLI, 392,702 rows; validation is the matched one",
    **sources(
        "nyu-mll/glue",
        {"en": "mnli"},
        readers.nli,
        _NLI_COLUMNS,
        train="train",
        validation="validation_matched",
    ),
)
_SNLI = replace(
    _MNLI,
    name="snli",
    licence="CC BY-SA 4.0",
    citation="Bowman et al. 2015",
    note="550,152 pairs to train on, less those without a gold label (-1)",
    **sources("stanfordnlp/snli", {"en": "plain_text"}, readers.snli, _NLI_COLUMNS, **ALL),
)
_ANLI = replace(
    _MNLI,
    name="anli",
    licence="CC BY-NC 4.0 (non-commercial)",
    citation="Nie et al. 2020",
    note="the three rounds together: 16,946, 45,460 and 100,459 rows to train on",
    **sources(
        "facebook/anli",
        {"en": "plain_text"},
        readers.nli,
        _NLI_COLUMNS,
        train="train_r1+train_r2+train_r3",
        validation="dev_r1+dev_r2+dev_r3",
        test="test_r1+test_r2+test_r3",
    ),
)
_ANLI_PLUS = replace(
    _ANLI,
    name="anli+",
    citation="Nie et al. 2020; Williams et al. 2018; Bowman et al. 2015",
    note="ANLI, MNLI and SNLI as one task with one head; validated on ANLI",
    train=replace(_ANLI.train, appended=(_MNLI.train, _SNLI.train)),
    test=None,
)
_SICK = replace(
    _MNLI,
    name="sick",
    licence="CC BY-NC-SA 3.0 (non-commercial)",
    citation="Marelli et al. 2014",
    note="9,927 rows, all of them for training; stands in for MNLI where that is missing",
    validation=None,
    **sources("local/sick", {"en": "default"}, readers.nli, _NLI_COLUMNS, **_TRAIN),
)
_QQP = replace(
    _MNLI,
    name="qqp",
    chance=50.0,
    labels=readers.PARAPHRASE_LABELS,
    licence="Quora's terms of service (non-commercial)",
    citation="Iyer et al. 2017",
    note="363,846 pairs of questions, with the labels of PAWS-X",
    **sources("nyu-mll/glue", {"en": "qqp"}, readers.qqp, "question1 question2 label", **_LABELLED),
)
_SQUAD = Task(
    name="squad",
    kind="span",
    metric="f1",
    chance=0.0,
    training=SPANS,
    licence="CC BY-SA 4.0",
    citation="Rajpurkar et al. 2016",
    note="SQuAD 1.1, 87,599 rows; its validation split holds XQuAD's questions in English",
    **sources(
        "rajpurkar/squad",
        {"en": "plain_text"},
        readers.span,
        "id context question answers",
        **_TRAIN,
    ),
)
_SQUAD2 = replace(
    _SQUAD,
    name="squad2",
    citation="Rajpurkar et al. 2018",
    note="SQuAD 2.0, 130,319 rows; a question without an answer is trained to the first token; "
    "for training only, since the kit scores no abstention",
    **sources(
        "rajpurkar/squad_v2",
        {"en": "squad_v2"},
        readers.span,
        "id context question answers",
        **_TRAIN,
    ),
)
_COPA = Task(
    name="copa",
    kind="choice",
    metric="accuracy",
    chance=50.0,
    training=PAIRS,
    train=COPA["train"],
    validation=COPA["validation"],
    licence="BSD-2-Clause",
    citation="Roemmele et al. 2011",
    note="the labels of its test split are hidden, so it has none here; 400 rows to train on",
)
_BALANCED_COPA = replace(
    _COPA,
    name="balanced-copa",
    licence="CC BY 4.0 (COPA: BSD-2-Clause)",
    citation="Kavumba et al. 2019",
    note="500 items of COPA and a mirrored one for each; it holds the validation items of COPA "
    "and XCOPA, so neither is scored after it",
    train=replace(
        sources(
            "local/balanced-copa", {"en": "default"}, choice_readers.copa, _COPA_COLUMNS, **_TRAIN
        )["train"],
        holds=(COPA["train"], COPA["validation"]),
    ),
    validation=None,
)
_SIQA = replace(
    _COPA,
    name="siqa",
    chance=100 / 3,
    licence="CC BY 4.0",
    citation="Sap et al. 2019",
    note="Social IQa, 33,410 rows; the reference of XCOPA trains on it before COPA",
    **sources(
        "lighteval/siqa",
        {"en": "default"},
        choice_readers.siqa,
        "context question answerA answerB answerC label",
        **_LABELLED,
    ),
)
_COSMOS = replace(
    _COPA,
    name="cosmosqa",
    chance=25.0,
    licence="CC BY 4.0",
    citation="Huang et al. 2019",
    note="25,262 rows; 'None of the above choices .' is an answer like any other",
    **sources(
        "Samsoup/cosmos_qa",
        {"en": "default"},
        choice_readers.cosmosqa,
        "id context question answer0 answer1 answer2 answer3 label",
        **_LABELLED,
    ),
)
_CSQA = replace(
    _COPA,
    name="csqa",
    chance=20.0,
    licence="MIT",
    citation="Talmor et al. 2019",
    note="CommonsenseQA, 9,741 rows, five answers",
    **sources(
        "tau/commonsense_qa",
        {"en": "default"},
        choice_readers.csqa,
        "id question choices answerKey",
        **_LABELLED,
    ),
)
_HELLASWAG = replace(
    _COPA,
    name="hellaswag",
    chance=25.0,
    licence="MIT",
    citation="Zellers et al. 2019",
    note="39,905 rows; premise: ctx, the context with the words that begin the ending; jiant sets "
    "those words (ctx_b) before each ending instead",
    **sources(
        "Rowan/hellaswag",
        {"en": "default"},
        choice_readers.hellaswag,
        "ctx endings label",
        **_LABELLED,
    ),
)
_CCG = Task(
    name="ccg",
    kind="tagging",
    metric="accuracy",
    chance=0.0,
    training=TrainingArguments(epochs=10, warmup=0.0),
    licence="LDC user agreement (CCGbank, LDC2005T13)",
    citation="Hockenmaier and Steedman 2007",
    note="your own file, local/ccg/train.conll: word TAB supertag; its tags are the labels",
    train=replace(
        sources("local/ccg", {"en": "train.conll"}, tag_readers.conll, "word supertag", **_TRAIN)[
            "train"
        ],
        labels=tag_readers.conll_labels,
    ),
)
_WIKIPEDIA = Task(
    name="wikipedia",
    kind="text",
    metric="",
    chance=0.0,
    training=TrainingArguments(learning_rate=1e-5, max_length=256),
    licence="CC BY-SA 4.0",
    citation="Wikimedia, dump of 2023-11-01",
    note="plain text for masked language modelling: the paragraphs of articles; a language is "
    "downloaded and read whole, so prefer small ones",
    **sources(
        "wikimedia/wikipedia",
        {code: f"20231101.{code}" for code in XTREME_R},
        readers.paragraphs,
        "id text",
        **_TRAIN,
    ),
)

_ROWS = (
    _MNLI,
    _SNLI,
    _ANLI,
    _ANLI_PLUS,
    _QQP,
    _SICK,
    _SQUAD,
    _SQUAD2,
    _COPA,
    _BALANCED_COPA,
    _SIQA,
    _COSMOS,
    _CSQA,
    _HELLASWAG,
    _CCG,
    _WIKIPEDIA,
)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}
