"""Attacks on the words of a test set, in any of its languages.

Black-box attacks replace words at random, or search for replacements with a high loss. Their places
are drawn before the model is queried: they are the same for every model and beam width, and those
of a weaker attack are among those of a stronger one. White-box attacks change the encoded rows, not
their text: they flip words one after another, or shift the word embeddings.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator, default_rng

from xltkit.data import lexicons
from xltkit.data.text import Row, replace_words, typos, word_spans, words
from xltkit.evaluation import gradient
from xltkit.evaluation.attacked import Attack, AttackedModel, AttackResult, Clean, Results, Rows
from xltkit.keys import derive
from xltkit.training.robust import Ball

SENTENCE_END = re.compile(r"(?<=[。！？।؟])|(?<=[.!?])(?=\s|\Z)")
ROWS = 128  # flipped at a time: gradients are kept for each of their tokens

Words = frozenset[str]
Edits = Mapping[int, str]  # new words by their index in the row
Places = Sequence[tuple[int, Sequence[str]]]  # indices of words, with what may replace each


def word_limit(strength: float, count: int) -> int:
    """The number of words that an attack may change: a share, rounded up, at least one."""
    return max(1, math.ceil(round(strength * count, 9)))


def _lower_words(text: str) -> list[str]:
    """The distinct words of a text in lower case, in the order of the text."""
    return list(dict.fromkeys(text[start:end].lower() for start, end in word_spans(text)))


@dataclass(frozen=True, kw_only=True)
class WordAttack(Attack):
    """An attack that changes some of the words, at random or by a beam search.

    With ``beam=0``, each chosen word changes at random. Otherwise, word after word, every proposal
    and the word itself are tried in each of the ``beam`` worst variants so far, until the
    prediction is wrong.
    """

    strength: float = 0.2  # share of the words that are changed, at least one word
    beam: int = 0
    candidates: int = 3  # changes proposed per word
    tries: int = 1  # random variants, of which the worst counts, even if better than the input
    seed: int = 0  # of the places and the changes

    version = 3  # 3: words and letters by Unicode's rules (UAX 29)

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        """All words that may replace a word; ``seen`` are those of the test set, in lower case."""
        raise NotImplementedError

    def run(self, model: AttackedModel, clean: Clean, rows: Rows, language: str) -> Results:
        columns = model.type.texts
        seen = frozenset(word.text.lower() for row in rows for word in words(columns, row))
        places = [self.places(columns, start.row, language, seen) for start in clean]
        # The worst variants of each row: the replaced words and the prediction with them.
        beams = [[({}, start)] for start in clean]
        queries = [0] * len(clean)
        # All rows move from place to place together, so that the model reads full batches.
        for depth in range(max(map(len, places)) if self.beam else 1):
            edits: list[list[Edits]] = [[] for _ in clean]
            edited = []
            for i, (start, beam) in enumerate(zip(clean, beams, strict=True)):
                if not self.beam:
                    edits[i] = self._draws(places[i], language, start.row["id"])
                elif depth < len(places[i]) and not model.is_fooled(beam[0][1]):
                    place, options = places[i][depth]
                    edits[i] = [{**edit, place: word} for edit, _ in beam for word in options]
                edited.append([replace_words(columns, start.row, edit) for edit in edits[i]])
            for i, predictions in enumerate(model.predict_variants(edited)):
                variants = list(zip(edits[i], predictions, strict=True))
                queries[i] += len(variants)
                if self.beam or not variants:
                    variants = [*beams[i], *variants]
                variants.sort(key=lambda variant: model.rank(variant[1]), reverse=True)
                beams[i] = variants[: max(1, self.beam)]
        results = []
        for ((replaced, prediction), *_), start, read in zip(beams, clean, queries, strict=True):
            share = len(replaced) / max(1, len(words(columns, start.row)))
            results.append(AttackResult(prediction, share, read))
        return results

    def places(self, columns: Sequence[str], row: Row, language: str, seen: Words) -> Places:
        """The words of a row that are attacked, in order, and what may replace each."""
        row_words = words(columns, row)
        limit = word_limit(self.strength, len(row_words))
        key = (self.seed, language, row["id"])
        free = [i for i, word in enumerate(row_words) if not word.fixed]
        places = []
        for i in default_rng(derive("places", *key)).permutation(free).astype(int).tolist():
            if len(places) == limit:
                break
            random = default_rng(derive("proposals", *key, i))
            proposals = self.proposals(row_words[i].text, language, random, seen)
            order = random.permutation(len(proposals))[: self.candidates]
            if proposals:
                places.append((i, list(dict.fromkeys(proposals[k] for k in order))))
        return places

    def _draws(self, places: Places, language: str, row_id: str) -> list[Edits]:
        """Different random variants of a row, each with a change at every place."""
        draws: list[Edits] = []
        for number in range(self.tries):
            random = default_rng(derive("try", self.seed, language, row_id, number))
            draw = {i: options[random.integers(len(options))] for i, options in places}
            if draw and draw not in draws:
                draws.append(draw)
        return draws


@dataclass(frozen=True, kw_only=True)
class Typos(WordAttack):
    """One typo in a word: letters swapped, dropped, doubled or replaced.

    In Latin script, a letter is replaced by a neighbor on the keyboard; in others, by a letter of
    the same script that the test set uses, with the same marks. The first letter stays, and so do
    words of fewer than three letters, like most Chinese and Japanese words here. Another word of
    the test set is not a typo.
    """

    name = "typos"

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        return typos(word, random, seen)


@dataclass(frozen=True, kw_only=True)
class CodeMixing(WordAttack):
    """Words replaced by their translations into other languages (PolyGloss, Tan and Joty 2021).

    With a beam it is their attack, except that the places are drawn before the search; without, it
    is the random baseline to compare it with. Translations are into ``languages``.
    """

    source: str = "microworld"  # of ``xltkit.data.lexicons.translations``
    languages: tuple[str, ...] = ("qbe", "qke", "qto")
    name = "code-mixing"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "languages", tuple(self.languages))

    def sources(self) -> dict[str, str]:
        return {"lexicon": lexicons.fingerprint(self.source)}

    def proposals(self, word: str, language: str, random: Generator, seen: Words) -> list[str]:
        table = lexicons.translations(self.source, language, self.languages)
        # Dictionaries also hold names, which do not change.
        return [other for other in lexicons.look_up(word, table) if other != word]


@dataclass(frozen=True, kw_only=True)
class Distractor(WordAttack):
    """A sentence added to the context that resembles the question but does not answer it.

    The idea of AddSent (Jia and Liang 2017), for any language: the sentence is from another context
    of the test set and, among those without a gold answer, shares the most words with the question,
    each word weighted by how few sentences have it; of ``tries`` sentences, the worst counts.
    ``changed`` is the share of words added. Other settings of ``WordAttack`` are ignored.
    """

    at: str = "end"  # of the context, or its start
    strength: float = 1.0
    name = "distractor"

    def run(self, model: AttackedModel, clean: Clean, rows: Rows, language: str) -> Results:
        columns = model.type.texts
        if "context" not in columns:
            raise ValueError(f"{model.task.name} has no context, which a distractor needs.")
        variants = self.variants([start.row for start in clean], rows)
        results = []
        for start, tried in zip(clean, model.predict_variants(variants), strict=True):
            worst = max(tried, key=model.rank, default=start)
            share = len(words(columns, worst.row)) / len(words(columns, start.row)) - 1
            results.append(AttackResult(worst, share, len(tried)))
        return results

    def variants(self, rows: Sequence[Row], corpus: Sequence[Row]) -> list[list[dict[str, Any]]]:
        """Each row with each of ``tries`` sentences from the contexts of a corpus."""
        parts = [part.strip() for row in corpus for part in SENTENCE_END.split(row["context"])]
        sentences = [sentence for sentence in dict.fromkeys(parts) if len(sentence) > 1]
        containing: dict[str, list[int]] = {}  # the numbers of the sentences that have a word
        for i, sentence in enumerate(sentences):
            for word in _lower_words(sentence):
                containing.setdefault(word, []).append(i)
        variants = []
        for row in rows:
            overlap = np.zeros(len(sentences))
            for word in _lower_words(row["question"]):
                if word in containing:
                    overlap[containing[word]] += 1 / len(containing[word])
            context = row["context"]
            answers = [answer.casefold() for answer in row["answers"]]
            row_variants: list[dict[str, Any]] = []
            for i in np.argsort(-overlap, kind="stable"):
                if len(row_variants) == self.tries:
                    break
                sentence = sentences[i]
                if sentence in context or any(a in sentence.casefold() for a in answers):
                    continue
                if self.at == "end":
                    new = {"context": f"{context} {sentence}"}
                else:
                    starts = [start + len(sentence) + 1 for start in row["starts"]]
                    new = {"context": f"{sentence} {context}", "starts": starts}
                row_variants.append({**row, **new})
            variants.append(row_variants)
        return variants


@dataclass(frozen=True, kw_only=True)
class EmbeddingPGD(Attack):
    """The worst shift of the word embeddings in a ball, by gradient ascent (Madry et al. 2018).

    It changes no text: it is a reference for the most that attacks on words could achieve.
    """

    radius: float = 0.1  # of the ball around a sequence (``xltkit.training.robust.Ball``)
    steps: int = 5  # of ascent, of which the worst counts
    step: float = 0.5  # the size of one, in radii
    norm: str = "l2"  # of a whole sequence; the only one, part of the keys of stages

    access = "white box"
    name = "embeddings"

    @property
    def strength(self) -> float:
        return self.radius

    def run(self, model: AttackedModel, clean: Clean, rows: Rows, language: str) -> Results:
        unchanged = [start.row for start in clean]
        examples = model.encode(unchanged)
        outputs: list[list[Any]] = [[None] * len(examples) for _ in range(self.steps)]
        for numbers, inputs, perturbation, read in gradient.batches(model, examples):
            ball = Ball(model.model, inputs, self.radius)
            _, loss = read(perturbation)
            for step_outputs in outputs:
                (slope,) = torch.autograd.grad(loss, perturbation)
                size = self.step * self.radius
                perturbation = ball.ascend(perturbation.detach(), slope, size).requires_grad_()
                pairs, loss = read(perturbation)
                for i, output in zip(numbers, pairs, strict=True):
                    step_outputs[i] = output
        steps = [model.predictions(unchanged, examples, of_step) for of_step in outputs]
        worst = [max(tried, key=model.rank) for tried in zip(*steps, strict=True)]
        queries = 2 * self.steps  # a gradient and an evaluation each
        return [AttackResult(prediction, float("nan"), queries) for prediction in worst]


@dataclass(frozen=True, kw_only=True)
class TokenFlip(WordAttack):
    """Words flipped by the gradient of the loss (HotFlip, Ebrahimi et al. 2018, on word pieces).

    Only words that are one token are flipped, into other words of the encoder's vocabulary in the
    same script; the meaning is not preserved. Each flip is the best one by a fresh gradient; none
    is undone, no word is flipped twice, words inside a gold answer stay, and the worst prediction
    along the way counts. ``read`` in a result is what the model read, decoded. Of the settings,
    only ``strength`` is used.
    """

    access = "white box"
    name = "token flips"

    def run(self, model: AttackedModel, clean: Clean, rows: Rows, language: str) -> Results:
        row_words = [word.text for start in clean for word in words(model.type.texts, start.row)]
        scripts = map(gradient.script_of, row_words)
        counts = Counter(sorted(filter(None, scripts)))
        script = max(counts, key=counts.__getitem__, default="")  # of most words
        vocabulary = gradient.whole_words(model.tokenizer, script)
        if len(vocabulary) < 2:  # nothing to flip into
            return list(map(AttackResult, clean))
        results: list[AttackResult] = []
        for first in range(0, len(clean), ROWS):
            results += self._flip(model, clean[first : first + ROWS], vocabulary)
        return results

    def _flip(self, model: AttackedModel, clean: Clean, vocabulary: Sequence[int]) -> Results:
        """The results for rows that are flipped together, one word per row at a time."""
        rows = [start.row for start in clean]
        results = list(map(AttackResult, clean))
        predictions = list(clean)
        examples = model.encode(rows, words=True)
        sites = gradient.find_sites(rows, examples, vocabulary)
        counts = [len(words(model.type.texts, row)) for row in rows]
        limits = [word_limit(self.strength, count) for count in counts]
        for flips in range(1, max(limits) + 1):
            active = [
                row
                for row, limit in enumerate(limits)
                if flips <= limit and sites[row] and not model.is_fooled(predictions[row])
            ]
            if not active:
                break
            gradient.flip_best(model, active, examples, sites, vocabulary)
            numbers = {row: number for number, row in enumerate(active)}
            flipped = [
                replace(e, example=numbers[e.example]) for e in examples if e.example in numbers
            ]
            new = model.predictions([rows[row] for row in active], flipped)
            for row, prediction in zip(active, new, strict=True):
                predictions[row] = prediction
                if model.rank(prediction) > model.rank(results[row].prediction):
                    ids = [ids for e in examples if e.example == row for ids in e.sequences]
                    read = model.tokenizer.batch_decode(ids, skip_special_tokens=True)
                    results[row] = AttackResult(prediction, flips / counts[row], read=read)
                # A flip takes a gradient and an evaluation.
                results[row] = results[row]._replace(queries=2 * flips)
        return results
