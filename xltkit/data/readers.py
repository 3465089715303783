"""Readers: from the columns of a Hub data set to the canonical columns of a task type.

A reader takes a data set as ``datasets`` loads it (or the path of a file off the Hub) and a
language, and returns one in memory, so that no cache outlives a change of the reader. Ids pair rows
across languages: if rows are not translations, the language is part of the id.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path

from datasets import Dataset, Features, List, Value

from xltkit.data.languages import language as find_language
from xltkit.data.loading import Reader, warn_once
from xltkit.files import read
from xltkit.keys import derive, known_digest

NLI_LABELS = ("entailment", "neutral", "contradiction")
SENTIMENT_LABELS = ("negative", "neutral", "positive")
POLARITY_LABELS = ("negative", "positive")
TOPICS = tuple("science/technology travel politics sports health entertainment geography".split())
INTENTS = tuple(
    """
    alarm_query alarm_remove alarm_set audio_volume_down audio_volume_mute audio_volume_other
    audio_volume_up calendar_query calendar_remove calendar_set cooking_query cooking_recipe
    datetime_convert datetime_query email_addcontact email_query email_querycontact email_sendemail
    general_greet general_joke general_quirky iot_cleaning iot_coffee iot_hue_lightchange
    iot_hue_lightdim iot_hue_lightoff iot_hue_lighton iot_hue_lightup iot_wemo_off iot_wemo_on
    lists_createoradd lists_query lists_remove music_dislikeness music_likeness music_query
    music_settings news_query play_audiobook play_game play_music play_podcasts play_radio
    qa_currency qa_definition qa_factoid qa_maths qa_stock recommendation_events
    recommendation_locations recommendation_movies social_post social_query takeaway_order
    takeaway_query transport_query transport_taxi transport_ticket transport_traffic weather_query
    """.split()
)
PARAPHRASE_LABELS = ("different", "paraphrase")
# The 17 universal parts of speech; single treebanks use 13 to 17 of them.
UPOS = tuple(
    "ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split()
)
PANX_TAGS = tuple("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())
# WikiNEuRal stores bare numbers; this is the order in which its authors list the tags.
WIKINEURAL_TAGS = (*PANX_TAGS, "B-MISC", "I-MISC")
# The original XNLI files write one class differently from everybody else.
ALIASES = {"contradictory": "contradiction"}
# The languages in which the ``question`` of XCOPA is wrong upstream: cause instead of effect.
XCOPA_WRONG = ("id", "it", "sw", "th", "tr")
# The Hub copies of XQuAD and TyDiQA strip at most this many characters before an answer (6 seen).
STRIPPED = 10

_TEXT, _TEXTS, _NUMBER = Value("string"), List(Value("string")), Value("int64")
_QUERY = {"query": _TEXT, "key": _TEXT}
# The columns after the id: of task types, and of the other splits of retrieval tasks.
FEATURES = {
    "classification": {"text_a": _TEXT, "text_b": _TEXT, "label": _NUMBER},
    "sentence": {"text": _TEXT, "label": _NUMBER},
    "choice": {"premise": _TEXT, "choices": _TEXTS, "label": _NUMBER},
    "tagging": {"tokens": _TEXTS, "tags": List(_NUMBER)},
    "span": {"question": _TEXT, "context": _TEXT, "answers": _TEXTS, "starts": List(_NUMBER)},
    "retrieval": {"text": _TEXT, "english": _TEXT},
    "text": {"text": _TEXT},
    "ranking": _QUERY,
    "ranking pairs": _QUERY | {"text": _TEXT, "context": _TEXT},
    "candidates": {"text": _TEXT, "context": _TEXT, "keys": _TEXTS},
    "mining": {"side": _TEXT, "text": _TEXT, "pairs": _TEXTS},
}


def canonical(kind: str, ids: Iterable[object], **columns: Sequence) -> Dataset:
    """A data set in a task type's columns, with distinct ids. Raises ValueError for other ones."""
    if columns.keys() != FEATURES[kind].keys():
        raise ValueError(f"{kind} has the columns {list(FEATURES[kind])}; given {list(columns)}.")
    for label in columns.get("label", ()):
        if isinstance(label, str) or (isinstance(label, float) and label % 1):
            raise ValueError(f"The column label holds {label!r}; allowed: the numbers of labels.")
    table = {"id": distinct(ids)} | {name: columns[name] for name in FEATURES[kind]}
    return Dataset.from_dict(table, features=Features({"id": _TEXT} | FEATURES[kind]))


def distinct(ids: Iterable[object]) -> list[str]:
    """The ids as strings; the second row with the same id gets ``#2``, and so on (TyDiQA)."""
    unique = list(map(str, ids))
    taken = set(unique)
    counts: Counter[str] = Counter()
    for place, key in enumerate(unique):
        counts[key] += 1
        if counts[key] > 1:
            while f"{key}#{counts[key]}" in taken:  # by a row with this id
                counts[key] += 1
            unique[place] = f"{key}#{counts[key]}"
            taken.add(unique[place])
    return unique


def numbered(language: str, rows: Sequence) -> list[str]:
    """Ids of rows that are not parallel: the language and the number of the row."""
    return [f"{language}-{i}" for i in range(len(rows))]


def lines(texts: Iterable[str]) -> list[str]:
    """Texts without the line endings that some files keep; missing texts stay missing."""
    # U+001C and the like occur inside real rows.
    return [text and text.strip("\r\n") for text in texts]


def class_numbers(column: str, names: Sequence[object], labels: Sequence[str]) -> list[int]:
    """The number of each name among the labels, ignoring case. Raises ValueError if it is none."""
    numbers = {label.lower(): i for i, label in enumerate(labels)}
    keys = [str(name).strip().lower() for name in names]
    keys = [ALIASES.get(key, key) for key in keys]
    if unknown := {name for name, key in zip(names, keys, strict=True) if key not in numbers}:
        raise ValueError(
            f"The column {column!r} holds {sorted(unknown)}; expected only {', '.join(labels)}."
        )
    return [numbers[key] for key in keys]


def renumbering(column: str, names: Sequence[str], labels: Sequence[str]) -> dict:
    """The numbers of a file's classes as those of ``labels``; other numbers are kept as invalid."""
    nameless = {n: f"{n}, which has no name" for n in range(len(names), len(labels))}
    return nameless | dict(enumerate(class_numbers(column, names, labels)))


def _pairs(
    rows: Dataset, language: str, *, texts: tuple[str, str], labels: Sequence[str], key: str = ""
) -> Dataset:
    """Sentence pairs with their class, by its name or number; -1 (no gold label) is kept."""
    first, second = (lines(rows[column][:]) for column in texts)
    values = rows["label"][:]
    if names := getattr(rows.features["label"], "names", None):
        numbers = renumbering("label", names, labels)
        values = [numbers.get(value, value) for value in values]
    else:
        values = class_numbers("label", values, labels)
    ids = rows[key][:] if key else range(len(rows))
    return canonical("classification", ids, text_a=first, text_b=second, label=values)


nli: Reader = partial(_pairs, texts=("premise", "hypothesis"), labels=NLI_LABELS)
# Labels differ from the English ones in up to 32 rows per language, as in the original.
paws_x: Reader = partial(_pairs, texts=("sentence1", "sentence2"), labels=("0", "1"), key="id")


def qqp(rows: Dataset, language: str) -> Dataset:
    """QQP without the two training pairs that lack a question (huggingface/datasets#277)."""
    labels = ("not_duplicate", "duplicate")
    pairs = _pairs(rows, language, texts=("question1", "question2"), labels=labels)
    texts = zip(pairs["text_a"][:], pairs["text_b"][:], strict=True)
    return pairs.select([i for i, pair in enumerate(texts) if all(pair)])


def snli(rows: Dataset, language: str) -> Dataset:
    """SNLI without the pairs, in every split, that have no label because annotators disagreed."""
    pairs = nli(rows, language)
    return pairs.select([i for i, label in enumerate(pairs["label"][:]) if label >= 0])


def _sentences(
    rows: Dataset,
    language: str,
    *,
    labels: Sequence[str],
    text: str = "text",
    label: str = "label",
    key: str = "",
) -> Dataset:
    """Texts with their class, by its name or number; rows without a class are left out.

    Rows are parallel: row ``i`` is the same text in every language.
    """
    ids = rows[key][:] if key else range(len(rows))
    table = list(zip(ids, lines(rows[text][:]), rows[label][:], strict=True))
    table = [row for row in table if row[2] is not None]
    ids, texts, values = ([row[i] for row in table] for i in range(3))
    if values and isinstance(values[0], str):
        values = class_numbers(label, values, labels)
    return canonical("sentence", ids, text=texts, label=values)


sib200: Reader = partial(_sentences, labels=TOPICS, label="category", key="index_id")
nusax: Reader = partial(_sentences, labels=SENTIMENT_LABELS)
massive: Reader = partial(_sentences, labels=INTENTS, key="id")


def indic_sentiment(rows: Dataset, language: str) -> Dataset:
    """Product reviews; each language has the English originals beside the translations."""
    text = "ENGLISH REVIEW" if language == "en" else "INDIC REVIEW"
    return _sentences(rows, language, labels=POLARITY_LABELS, text=text, label="LABEL")


def _translations(rows: Dataset, language: str, *, text: str, english: str) -> Dataset:
    """Sentences and their English translations. The sentences differ by language."""
    columns = {"text": lines(rows[text][:]), "english": lines(rows[english][:])}
    return canonical("retrieval", numbered(language, rows), **columns)


tatoeba: Reader = partial(_translations, text="source_sentence", english="target_sentence")
tatoeba_r: Reader = partial(_translations, text="sentence1", english="sentence2")


def nearest_start(context: str | None, answer: str | None, start: int | None) -> int | None:
    """Where the occurrence of ``answer`` nearest to ``start`` begins; ``start`` if there is none.

    The Hub copies of XQuAD and TyDiQA strip the context without moving ``answer_start``.
    """
    if not (context and answer) or start is None or start < 0 or context.startswith(answer, start):
        return start
    before = context.rfind(answer, 0, start + len(answer))
    after = context.find(answer, start)
    places = [place for place in (before, after) if place >= 0]
    return min(places, key=lambda place: abs(place - start), default=start)


def span(rows: Dataset, language: str) -> Dataset:
    """Rows of the SQuAD family with repaired offsets; a warning counts those that were far off."""
    table = rows[:]
    answers = [answer["text"] for answer in table["answers"]]
    stated = [answer["answer_start"] for answer in table["answers"]]
    starts = []
    for context, texts, offsets in zip(table["context"], answers, stated, strict=True):
        starts.append([nearest_start(context, *pair) for pair in zip(texts, offsets, strict=False)])
    moves = zip(chain(*starts), chain(*stated), strict=False)
    if far := sum(start != offset and abs(start - offset) > STRIPPED for start, offset in moves):
        warn_once(
            f"{far} answers in {len(rows)} rows ({language}), as of {table['id'][0]!r}, begin more "
            f"than {STRIPPED} characters from their answer_start, so the nearest occurrence was "
            "used; answer_start must count characters, not bytes."
        )
    columns = {"question": table["question"], "context": table["context"]}
    return canonical("span", table["id"], **columns, answers=answers, starts=starts)


def of_language(rows: Dataset, language: str) -> Dataset:
    """The rows of TyDiQA in a language, whose name begins the id."""
    prefix = f"{find_language(language).name.lower()}-"
    return rows.select([i for i, key in enumerate(rows["id"][:]) if key.startswith(prefix)])


def tydiqa(rows: Dataset, language: str, held_out: bool | None = None) -> Dataset:
    """The rows of TyDiQA-GoldP in a language, or those held out from training, or the others.

    Which tenth is held out depends on the passage alone: its questions are all on one side.
    """
    whole = span(of_language(rows, language), language)
    if held_out is None:
        return whole
    sides = [derive("tydiqa-heldout", context) % 10 == 0 for context in whole["context"][:]]
    return whole.select([i for i, side in enumerate(sides) if side == held_out])


tydiqa_kept: Reader = partial(tydiqa, held_out=False)
tydiqa_held_out: Reader = partial(tydiqa, held_out=True)


def paragraphs(rows: Dataset, language: str) -> Dataset:
    """Encyclopedia articles as paragraphs of 100 characters or more."""
    table = rows[:]
    entries = [
        (f"{language}-{key}-{i}", text)
        for key, article in zip(table["id"], table["text"], strict=True)
        for i, text in enumerate(article.split("\n"))
        if len(text) >= 100
    ]
    return canonical("text", [key for key, _ in entries], text=[text for _, text in entries])


def _choices(
    rows: Dataset,
    language: str,
    *,
    premise: Sequence[str],
    choices: Sequence[str],
    key: str = "",
    first: int = 0,
) -> Dataset:
    """Some columns as the premise, and choices, counted from ``first``; -1 means no gold label.

    Each choice has its own column, or one column has all of a row as a list.
    """
    table = rows[:]
    columns = [table[name] for name in choices]
    lists = zip(*columns, strict=True) if len(columns) > 1 else columns[0]
    parts = zip(*(lines(table[name]) for name in premise), strict=True)
    labels = (int(label or first - 1) if type(label) is str else label for label in table["label"])
    return canonical(
        "choice",
        table[key] if key else range(len(rows)),
        premise=[None if None in texts else " ".join(texts) for texts in parts],
        choices=list(map(lines, lists)),
        label=[None if label is None else label - first for label in labels],
    )


siqa: Reader = partial(
    _choices, premise=("context", "question"), choices=("answerA", "answerB", "answerC"), first=1
)
# "None of the above choices ." is one of the four answers.
cosmosqa: Reader = partial(
    _choices,
    premise=("context", "question"),
    choices=("answer0", "answer1", "answer2", "answer3"),
    key="id",
)
# ``ctx`` is ``ctx_a`` and then ``ctx_b``, the words that begin the ending. jiant puts ``ctx_b``
# before each ending (``jiant/tasks/lib/hellaswag.py``): the same words, split elsewhere.
hellaswag: Reader = partial(_choices, premise=("ctx",), choices=("endings",))


def copa(rows: Dataset, language: str, questions: Mapping[int, str] | None = None) -> Dataset:
    """COPA: the premise with the question of XTREME-R, from ``questions`` by ``idx`` if given."""
    pairs = zip(rows["idx"][:], rows["question"][:], strict=True)
    asked = [(questions or {}).get(index, question) for index, question in pairs]
    class_numbers("question", asked, ("cause", "effect"))
    texts = [f"What was the {question}?" for question in asked]
    rows = rows.remove_columns("question").add_column("question", texts)
    columns = {"premise": ("premise", "question"), "choices": ("choice1", "choice2")}
    return _choices(rows, language, **columns, key="idx")


def xcopa(rows: Dataset, language: str, english: Dataset | None) -> Dataset:
    """XCOPA with the questions of English COPA; without it, a warning if some are wrong."""
    if english is not None:
        return copa(rows, language, dict(zip(english["idx"], english["question"], strict=True)))
    if language in XCOPA_WRONG:
        warn_once(
            f"XCOPA asks some wrong questions in {', '.join(XCOPA_WRONG)} (cause for effect), and "
            "they could not be repaired without English COPA (aps/super_glue, copa); to see how "
            "to get it, type: xltkit data check copa"
        )
    return copa(rows, language)


def belebele(rows: Dataset, language: str) -> Dataset:
    """Belebele: a passage with a question, and four answers of which ``correct_answer_num`` is one.

    A passage has one or two questions, so the id has both; all languages share it.
    """
    pairs = zip(rows["link"][:], rows["question_number"][:], strict=True)
    rows = rows.add_column("id", [f"{link}#{number}" for link, number in pairs])
    answers = tuple(f"mc_answer{i}" for i in range(1, 5))
    rows = rows.rename_column("correct_answer_num", "label")
    premise = ("flores_passage", "question")
    return _choices(rows, language, premise=premise, choices=answers, key="id", first=1)


def csqa(rows: Dataset, language: str) -> Dataset:
    """CommonsenseQA: five answers with letters, one of which is ``answerKey``."""
    table = rows[:]
    keys = zip(table["choices"], table["answerKey"], strict=True)
    return canonical(
        "choice",
        table["id"],
        premise=lines(table["question"]),
        choices=[lines(choices["text"]) for choices in table["choices"]],
        label=[{k: i for i, k in enumerate(c["label"])}.get(key, -1) for c, key in keys],
    )


def _tagged(
    rows: Dataset, language: str, *, column: str, labels: Sequence[str], is_parallel: bool = False
) -> Dataset:
    """Words and tags; a file that does not name its tags has them in the order of ``labels``.

    Row ``i`` of ``is_parallel`` sets is the same sentence in every language.
    """
    names = getattr(rows.features[column].feature, "names", None) or labels
    numbers = renumbering(column, names, labels)
    tags = [[numbers.get(tag, tag) for tag in sentence] for sentence in rows[column][:]]
    ids = range(len(rows)) if is_parallel else numbered(language, rows)
    return canonical("tagging", ids, tokens=rows["tokens"][:], tags=tags)


udpos: Reader = partial(_tagged, column="pos_tags", labels=UPOS)
panx: Reader = partial(_tagged, column="ner_tags", labels=PANX_TAGS)
uner: Reader = partial(_tagged, column="ner_tags", labels=PANX_TAGS, is_parallel=True)
wikineural: Reader = partial(_tagged, column="ner_tags", labels=WIKINEURAL_TAGS)


def upos(rows: Dataset, language: str) -> Dataset:
    """Universal Dependencies on the Hub: syntactic words and their UPOS.

    Ranges (``1-2``, UPOS ``_``) and empty nodes (``8.1``) have no head and are left out.
    """
    names = rows.features["upos"].feature.names
    numbers = renumbering("upos", names, (*UPOS, "_"))
    table = rows[:]
    tokens = []
    tags = []
    for words, classes, heads in zip(table["tokens"], table["upos"], table["head"], strict=True):
        sentence = [numbers.get(n, n) for n in classes]
        kept = [i for i, head in enumerate(heads) if head != "None" and sentence[i] != len(UPOS)]
        tokens.append([words[i] for i in kept])
        tags.append([sentence[i] for i in kept])
    return canonical("tagging", numbered(language, rows), tokens=tokens, tags=tags)


@lru_cache(maxsize=8)
def _read_conll(path: Path, state: str) -> tuple[list[list[list[str]]], tuple[str, ...]]:
    """The (token, tag) pairs of each sentence, and all tags; a token may hold spaces."""
    sentences: list[list[list[str]]] = [[]]
    for number, line in enumerate(read(path).split("\n"), 1):
        fields = line.split("\t")
        if fields == [""]:
            sentences.append([])
        elif len(fields) == 2 and all(fields):
            sentences[-1].append(fields)
        else:
            raise ValueError(
                f"{path}, line {number}: {line!r} is not a token, one tab and a tag. Write one "
                "token per line and an empty line after each sentence."
            )
    tags = {tag for sentence in sentences for _, tag in sentence}
    return list(filter(None, sentences)), tuple(sorted(tags))


def conll_labels(path: Path) -> tuple[str, ...]:
    """The tags of a CoNLL file, sorted: the label inventory of a task that reads it."""
    return _read_conll(path, known_digest(path))[1]


def conll(path: Path, language: str) -> Dataset:
    """Your own file with a token, a tab and its tag per line. Raises ValueError for any other."""
    sentences, labels = _read_conll(path, known_digest(path))
    number = {tag: i for i, tag in enumerate(labels)}
    tokens = [[token for token, _ in sentence] for sentence in sentences]
    tags = [[number[tag] for _, tag in sentence] for sentence in sentences]
    return canonical("tagging", numbered(language, sentences), tokens=tokens, tags=tags)
