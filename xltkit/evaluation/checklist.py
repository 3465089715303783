"""Behavioural tests of capabilities (MultiCheckList) for models that answer by a span.

The templates are not part of the kit. They are the file ``multichecklist/checklist_templates.tsv``
of google-research/xtreme (Apache-2.0; six tests in fifty languages, translated for Ruder et al.
2021, arXiv 2104.07412), which every user gets for themselves; a file of one's own in the same
format (``templates.py``) does as well. A study of it::

    tests = [tasks.register(t) for t in checklist.tasks("checklist_templates.tsv")]
    study = xlt.study(arms, [t.name for t in tests], seeds=[0, 1, 2])
    checklist.error_rates(study.run())

Two things differ from the original generator. A sample here is one question about one context,
where the original asks every question of a filling about every context. And names, which the
templates leave open, are the ten men's names below (men's, because the templates decline for
them) and not names that are common where the language is spoken.

The translations are taken as they are. What cannot make a question is left out in that language:
a missing wording, a template with other slots than the English one, an answer that its context
does not hold. Wrong wordings that show in none of these ways stay in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pandas as pd
from datasets import Dataset

from xltkit import data
from xltkit.evaluation import templates
from xltkit.evaluation.diagnostics import wilson
from xltkit.keys import digest, known_digest
from xltkit.languages import LANGUAGES
from xltkit.results import Results
from xltkit.tasks import Source, Task, get, readers

VERSION = 1  # of the samples that a file, a seed and a number of samples give
HUB = "local/checklist"
# Samples drawn for each one asked for: a language that lacks some wordings takes later ones.
SPARE = 20
TITLES = {
    "A is COMP than B. Who is more / less COMP?": "comparison",
    "Intensifiers (very, super, extremely) and reducers (somewhat, kinda, etc)?": "intensifiers",
    "size, shape, age, color": "properties",
    "Profession vs nationality": "profession",
    "Animal vs Vehicle": "animal",
    "Animal vs Vehicle v2": "animal-v2",
}
# The same ten names by script, and by language where a script is written in several ways.
NAMES = {
    "Latin": "Adam David Martin Robert Thomas Victor Simon Mark Arthur Anton",
    "Arabic": "آدم ديفيد مارتن روبرت توماس فيكتور سيمون مارك آرثر أنطون",
    "fa": "آدم دیوید مارتین رابرت توماس ویکتور سایمون مارک آرتور آنتون",
    "ur": "آدم ڈیوڈ مارٹن رابرٹ تھامس وکٹر سائمن مارک آرتھر اینٹن",
    "Bengali": "আদম ডেভিড মার্টিন রবার্ট টমাস ভিক্টর সাইমন মার্ক আর্থার অ্যান্টন",
    "Burmese": "အာဒမ် ဒေးဗစ် မာတင် ရောဘတ် သောမတ်စ် ဗစ်တာ ဆိုင်မွန် မာ့ခ် အာသာ အန်တွန်",
    "Cyrillic": "Адам Давид Мартин Роберт Томас Виктор Симон Марк Артур Антон",
    "uk": "Адам Давид Мартін Роберт Томас Віктор Симон Марк Артур Антон",
    "Devanagari": "आदम डेविड मार्टिन रॉबर्ट थॉमस विक्टर साइमन मार्क आर्थर एंटन",
    "Georgian": "ადამი დავითი მარტინი რობერტი თომა ვიქტორი სიმონი მარკი არტური ანტონი",
    "Greek": "Αδάμ Δαβίδ Μάρτιν Ρόμπερτ Τόμας Βίκτωρ Σίμων Μάρκος Άρθουρ Αντώνης",
    "Gujarati": "આદમ ડેવિડ માર્ટિન રોબર્ટ થોમસ વિક્ટર સાયમન માર્ક આર્થર એન્ટોન",
    "Gurmukhi": "ਆਦਮ ਡੇਵਿਡ ਮਾਰਟਿਨ ਰੌਬਰਟ ਥਾਮਸ ਵਿਕਟਰ ਸਾਈਮਨ ਮਾਰਕ ਆਰਥਰ ਐਂਟਨ",
    "Han": "亚当 大卫 马丁 罗伯特 托马斯 维克多 西蒙 马克 亚瑟 安东",
    "Hangul": "아담 데이비드 마틴 로버트 토머스 빅터 사이먼 마크 아서 안톤",
    "Hebrew": "אדם דוד מרטין רוברט תומס ויקטור סימון מארק ארתור אנטון",
    "Japanese": "アダム ダビド マルタン ロバート トマス ビクトル シモン マルク アルトゥル アントン",
    "Malayalam": "ആദം ഡേവിഡ് മാർട്ടിൻ റോബർട്ട് തോമസ് വിക്ടർ സൈമൺ മാർക്ക് ആർതർ ആന്റൺ",
    "Tamil": "ஆதாம் டேவிட் மார்ட்டின் ராபர்ட் தாமஸ் விக்டர் சைமன் மார்க் ஆர்தர் ஆண்டன்",
    "Telugu": "ఆడమ్ డేవిడ్ మార్టిన్ రాబర్ట్ థామస్ విక్టర్ సైమన్ మార్క్ ఆర్థర్ ఆంటన్",
    "Thai": "อดัม เดวิด มาร์ติน โรเบิร์ต โทมัส วิกเตอร์ ไซมอน มาร์ค อาร์เธอร์ แอนตัน",
}
# What an answer may have or lack: articles, and a few words that stand where one would
# (multichecklist/generate_test_utils.py, clean). Arabic writes its article as a part of the word.
ARTICLES = {
    "af": "’n", "bn": "একটি একজন", "de": "ein eine einen", "el": "Ο ένα μια",
    "en": "a an the in at", "es": "un una unos unas el la los las", "eu": "bat", "fa": "یک",
    "fr": "un une le la en", "hi": "एक", "hu": "egy", "it": "un una", "ml": "ഒരു", "mr": "एक",
    "my": "တစ်ဦး", "nl": "een", "pa": "ਇੱਕ ਇਕ", "pt": "um uma", "ta": "ஒரு", "tl": "Si",
    "tr": "bir", "vi": "một", "wo": "dafa", "yo": "kan",
}  # fmt: skip
MARKS = ",. ৷।。„”\u200f"


@dataclass(frozen=True, eq=False)  # compared by identity, as readers are
class Expansion:
    """The reader of one test: its rows are made of the template file and read from nowhere else."""

    path: Path
    test: str
    samples: int
    seed: int
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __call__(self, rows: Dataset, language: str) -> Dataset:
        """The rows in a language, as ``make`` does."""
        return self.make(language)

    def make(self, language: str) -> Dataset:
        """The rows in a language, in the columns of spans; equal ids are the same sample.

        Raises:
            MissingData: if the file is gone, or cannot say a single sample in the language.
        """
        names = _names(language, self.names)
        version = known_digest(_there(self.path))
        test, drawn = _drawn(
            self.path, version, self.test, self.seed, SPARE * self.samples, len(names)
        )
        speaker = templates.Speaker(test, language, names)
        said: dict[str, tuple[str, str, str, int]] = {}
        for number, sample in drawn:
            if len(said) == self.samples:
                break
            with suppress(templates.Unsayable):
                said[f"{number:05}"] = speaker.say(sample)
        if not said:
            raise data.MissingData(f"{self.path} says nothing of {self.test!r} in {language!r}.")
        rows = [
            {"id": key, "question": question, "context": context,
             "answers": {"text": [answer], "answer_start": [start]}}
            for key, (question, context, answer, start) in said.items()
        ]  # fmt: skip
        return readers.span(Dataset.from_list(rows), language)

    def fingerprint(self) -> str:
        """The digest of the file and all that the rows depend on besides."""
        there = _there(self.path)
        names = digest({name: list(own) for name, own in {**_SPLIT, **self.names}.items()}, 8)
        made = f"{self.test}/{self.samples}/{self.seed}/{names}/{VERSION}"
        return f"sha256:{known_digest(there)[:16]}/{made}"


_SPLIT = {key: names.split() for key, names in NAMES.items()}


def _names(language: str, own: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Names to use in a language: the user's own, or those of the language or its script."""
    script = LANGUAGES[language].script if language in LANGUAGES else "Latin"
    keys = (language, script, "Latin")
    return own.get(language) or next(_SPLIT[key] for key in keys if key in _SPLIT)


def _there(path: Path) -> Path:
    if path.is_file():
        return path
    raise data.MissingData(
        f"There is no file {path}. It should be the template file of MultiCheckList, to be had as "
        "multichecklist/checklist_templates.tsv in the repository google-research/xtreme on "
        "GitHub, or one of your own in the same format."
    )


def _read(path: Path) -> list[templates.Templates]:
    return _parsed(path, known_digest(_there(path)))


@lru_cache(maxsize=8)
def _parsed(path: Path, version: str) -> list[templates.Templates]:
    return templates.read(path)


@lru_cache(maxsize=64)
def _drawn(
    path: Path, version: str, name: str, seed: int, count: int, names: int
) -> tuple[templates.Templates, list[tuple[int, templates.Sample]]]:
    """A test and its samples, numbered, each once: the same for every language."""
    test = next(test for test in _parsed(path, version) if test.name == name)
    first: dict[templates.Sample, int] = {}
    for number, sample in enumerate(islice(templates.draw(test, seed, names), count)):
        first.setdefault(sample, number)
    return test, [(number, sample) for sample, number in first.items()]


def tasks(
    path: str | Path,
    *,
    samples: int = 200,
    seed: int = 0,
    names: Mapping[str, Sequence[str]] | None = None,
    train_on: str = "squad",
) -> list[Task]:
    """One task for every test of a template file, in all its languages that the kit knows.

    Args:
        path: of the file (see the head of this module).
        samples: questions per test and language; fewer where the templates run out.
        seed: of the samples. The same file, seed and number give the same rows.
        names: ten to fill in, by language; instead of ``NAMES``.
        train_on: the task of the kind span whose training rows a model learns to answer from.

    Returns:
        Tasks to be registered. Their main metric is exact match by SQuAD's rule; ``error_rates``
        gives the figure of the paper.

    Raises:
        MissingData: if there is no such file, saying where it is to be had.
        ValueError: if it has another format, or an argument cannot be used.
    """
    names = {code: tuple(own) for code, own in (names or {}).items()}
    _check_arguments(samples, names)
    path = Path(path).expanduser().resolve()
    base = get(train_on)
    made = []
    for test in _read(path):
        title = TITLES.get(test.name) or re.sub(r"\W+", "-", test.name.lower()).strip("-")
        read = Expansion(path, test.name, samples, seed, names)
        source = Source(HUB, "test", {code: title for code in _languages(test)}, read)
        made.append(
            Task(
                name=f"checklist-{title}",
                kind="span",
                metric="em",
                chance=0.0,
                test=source,
                train_on=base.name,
                budget=base.budget,
                citation="Ruder et al. 2021",
                note=f"made of {path.name}: {samples} samples, seed {seed}; parallel by id",
            )
        )
    return made


def _check_arguments(samples: int, names: Mapping[str, Sequence[str]]) -> None:
    count = len(_SPLIT["Latin"])
    wrong = {
        code: own for code, own in names.items() if len(own) != count or len(set(own)) != count
    }
    if samples < 1 or wrong:
        raise ValueError(
            f"samples is {samples} and names are {names}; expected 1 or more samples and, for each "
            f"language given, {count} different names, so that a sample has one in every language."
        )


def _languages(test: templates.Templates) -> list[str]:
    """The languages of a test; those that the kit does not know cannot stand in its tables."""
    codes = list(dict.fromkeys(code for row in test.contexts for code in row))
    if unknown := [code for code in codes if code not in LANGUAGES]:
        data.warn_once(
            f"The templates in {', '.join(unknown)} are left out: xltkit.languages does not list "
            "the language. xltkit.languages.register([...]) before checklist.tasks brings it in."
        )
    return [code for code in codes if code in LANGUAGES]


def clean(text: str, language: str) -> str:
    """A text without articles and outer punctuation, as answers are compared."""
    if language == "ar":
        text = text.replace("ال", " ")
    articles = ARTICLES.get(language, "").split()
    return " ".join(word for word in text.split() if word not in articles).strip(MARKS)


def error_rates(results: Results) -> pd.DataFrame:
    """The figure of the paper: how often an answer is wrong, by test and language.

    Returns:
        One row per arm, seed, task and language: ``error_rate`` (0 to 100) after ``clean``, its
        95 % Wilson interval over the ``n`` samples, which are all of the same few templates and
        so vary less than other questions about the capability would.

    Raises:
        ValueError: if the study has no task of ``checklist.tasks``.
    """
    table = results.predictions
    mine = [name for name in table["task"].unique() if getattr(get(name).test, "hub", "") == HUB]
    if not mine:
        raise ValueError(f"None of {sorted(table['task'].unique())} is of checklist.tasks(...).")
    table = table[table["task"].isin(mine)]
    wrong = [
        clean(pred, code) not in {clean(text, code) for text in json.loads(gold)}
        for gold, pred, code in table[["gold", "pred", "language"]].itertuples(index=False)
    ]
    groups = table.assign(wrong=wrong).groupby(["arm", "seed", "task", "language"], sort=False)
    found = groups["wrong"].agg(["mean", "size"]).reset_index()
    bounds = [wilson(share, n) for share, n in zip(found["mean"], found["size"], strict=True)]
    return found.drop(columns=["mean", "size"]).assign(
        error_rate=100 * found["mean"],
        low=[100 * low for low, _ in bounds],
        high=[100 * high for _, high in bounds],
        n=found["size"],
    )
