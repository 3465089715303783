"""The tasks of XTREME and XTREME-R that search a pool, and what they are trained on, as rows."""

from __future__ import annotations

from dataclasses import replace

from xltkit.data import readers
from xltkit.data import readers_retrieval as search_readers
from xltkit.data.loading import Source
from xltkit.tasks.base import Task, TrainingArguments
from xltkit.tasks.suites.benchmarks import BENCHMARKS
from xltkit.tasks.suites.hub import sources

_XTREME = BENCHMARKS["xtreme"].tasks
_XTREME_R = BENCHMARKS["xtreme-r"].tasks
# Tatoeba names languages by ISO 639-3, and Persian and Chinese by the variety.
TATOEBA = dict(
    pair.split("=")
    for pair in """
af=afr ar=ara bg=bul bn=ben de=deu el=ell es=spa et=est eu=eus fa=pes fi=fin fr=fra he=heb
hi=hin hu=hun id=ind it=ita ja=jpn jv=jav ka=kat kk=kaz ko=kor ml=mal mr=mar nl=nld pt=por
ru=rus sw=swh ta=tam te=tel th=tha tl=tgl tr=tur ur=urd vi=vie zh=cmn
""".split()
)
TATOEBA_R = {"az": "aze-eng", "lt": "lit-eng", "pl": "pol-eng", "ro": "ron-eng", "uk": "ukr-eng"}


def _tatoeba() -> Task:
    """Tatoeba of XTREME, and the languages that XTREME-R adds from another repository."""
    configs = {code: f"tatoeba.{name}" for code, name in TATOEBA.items()}
    columns = "source_sentence target_sentence"
    source = sources("google/xtreme", configs, readers.tatoeba, columns, test="validation")["test"]
    hub = "mteb/tatoeba-bitext-mining"
    added = sources(hub, TATOEBA_R, readers.tatoeba_r, "sentence1 sentence2", test="test")["test"]
    return Task(
        name="tatoeba",
        kind="retrieval",
        metric="accuracy",
        chance=0.1,
        training=TrainingArguments(max_length=512),
        licence="CC BY 2.0 FR",
        citation="Artetxe and Schwenk 2019",
        note="nothing is trained; English looks for the other language; 205 to 1,000 pairs, so "
        "chance is 0.1 to 0.5",
        test=replace(source, others=(added,)),
    )


# What XTREME calls the test set is the training set of the shared task, and dev its sample.
_BUCC = Task(
    name="bucc",
    kind="mining",
    metric="f1",
    chance=0.0,
    training=TrainingArguments(max_length=512),
    licence="for research; texts of Wikipedia and of news",
    citation="Zweigenbaum et al. 2018",
    note="nothing is trained; not in XTREME-R; margin by 4 neighbours, threshold of the validation "
    "split; hidden states averaged over tokens, as the published figures need; ids are places in "
    "the Hub's lists, not the owners'",
    **sources(
        "mteb/BUCC",
        {code: f"{code}-en" for code in _XTREME["bucc"]},
        search_readers.bucc,
        "sentence1 sentence2 gold",
        test="test",
    ),
    **sources(
        "raw/bucc2018",
        {code: f"{code}-en.dev.*" for code in _XTREME["bucc"]},
        search_readers.bucc_files,
        "id sentence",
        validation="dev",
    ),
)


def _lareqa(name: str, training: dict[str, Source], note: str, licence: str) -> Task:
    """LAReQA, or the same training on other questions."""
    return Task(
        name=name,
        kind="ranking",
        metric="map@20",
        chance=0.0,
        # The batch is the reference's; its four parts of four gave four negatives, this gives 16.
        training=TrainingArguments(epochs=3, batch_size=16, warmup=0.0, max_length=256),
        licence=licence,
        note=note,
        citation="Roy et al. 2020",
        **training,
    )


_XQUAD_R = {code: f"xquad-r/{code}.json" for code in _XTREME_R["lareqa"]}
_LAREQA_COLUMNS = "context sentences sentence_breaks qas"
_LAREQA = replace(
    _lareqa(
        "lareqa",
        sources(
            "rajpurkar/squad",
            {"en": "plain_text"},
            search_readers.answer_sentences,
            "id context question answers",
            train="train",
        ),
        note="XQuAD-R: questions in a language against the sentences of all eleven, each with its "
        "paragraph; trains on SQuAD; candidates are read as pairs, as in training, where the "
        "reference joins sentence and paragraph; Target(pooling='first') reads the first token as "
        "the reference does; not scored by XTREME-R's own script",
        licence="CC BY-SA 4.0",
    ),
    **sources(
        "raw/lareqa", _XQUAD_R, search_readers.lareqa_questions, _LAREQA_COLUMNS, test="test"
    ),
    **sources(
        "raw/lareqa", _XQUAD_R, search_readers.lareqa_candidates, _LAREQA_COLUMNS, candidates="test"
    ),
)
_TYDI_SENTENCES = _lareqa(
    "tydiqa-sentences",
    sources(
        "google-research-datasets/tydiqa",
        {"en": "secondary_task"},
        search_readers.tydiqa_sentences,
        "id context question answers",
        train="train",
    ),
    note="3,696 questions of TyDiQA-GoldP in English; stands in for SQuAD where that is missing",
    licence="Apache-2.0",
)
_MEWSLI = Task(
    name="mewsli-x",
    kind="ranking",
    metric="mrr@20",
    chance=0.0,
    # The batch of mBERT; XLM-R Large has eight negatives and half the rate in the reference.
    training=TrainingArguments(epochs=2, batch_size=64, warmup=0.0, max_length=64),
    licence="CC BY-SA 3.0 (Wikipedia), CC BY 2.5 (WikiNews)",
    citation="Ruder et al. 2021",
    note="mentions in eleven languages against a million entities described in fifty; one is "
    "right, so what XTREME-R calls mAP@20 is MRR@20; test labels are hidden: score validation",
    **sources(
        "raw/mewsli-x",
        {"en": "wikipedia_pairs-train.jsonl"},
        search_readers.mewsli_pairs,
        "contextual_mention entity",
        train="train",
    ),
    **sources(
        "raw/mewsli-x",
        dict.fromkeys(_XTREME_R["mewsli-x"], "wikinews_mentions-dev.jsonl"),
        search_readers.mewsli_mentions,
        "context mentions",
        validation="dev",
    ),
    **sources(
        "raw/mewsli-x",
        dict.fromkeys(_XTREME_R["mewsli-x"], "wikinews_mentions-test.jsonl"),
        search_readers.mewsli_mentions,
        "context mentions",
        test="test",
    ),
    **sources(
        "raw/mewsli-x",
        {"en": "candidate_set_entities.jsonl"},
        search_readers.mewsli_entities,
        "entity_id description sentence_spans",
        candidates="all",
    ),
)

_ROWS = (_tatoeba(), _BUCC, _LAREQA, _TYDI_SENTENCES, _MEWSLI)
TASKS: dict[str, Task] = {task.name: task for task in _ROWS}
