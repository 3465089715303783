"""Build ``micro``, the encoder that ships with the kit: ``python -m xltkit micro``.

An XLM-R architecture of a little over a million weights with a byte-pair tokenizer of its own,
pretrained by the kit's ``Pretrain`` phase on plain text in thirteen languages and on translation
pairs, both unequal in amount. The same machine and thread count give the same weights again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, XLMRobertaConfig

from xltkit.data.microworld import generate as world
from xltkit.data.microworld.languages import LANGUAGES, MicroLanguage
from xltkit.keys import file_digest
from xltkit.models.encoder import MICRO
from xltkit.studies.make import make
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet
from xltkit.training.phases import Pretrain

# Documents of plain text, and translation pairs with English, by resource level.
DOCUMENTS = {"high": 12000, "mid": 2000, "low": 300}
PAIRS = {"high": 3000, "mid": 500, "low": 75}
SPECIAL = "<s> <pad> </s> <unk> <mask>".split()  # ids 0 to 4, as XLM-R but for <mask>
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
LAYERS, WIDTH, VOCABULARY, STEPS = 3, 128, 3000, 16000


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer. (Of the common kinds only BPE comes out the same every time.)"""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = BpeTrainer(vocab_size=vocabulary, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=128,
        model_input_names=["input_ids", "attention_mask"],
    )


def write_blank(
    folder: Path, languages: Iterable[MicroLanguage], *, layers: int = LAYERS, width: int = WIDTH,
    vocabulary: int = VOCABULARY, documents: Mapping[str, int] = DOCUMENTS,
) -> None:  # fmt: skip
    """A checkpoint folder without weights: an architecture, and a tokenizer of some languages.

    ``Pretrain(..., scratch=True)`` starts from it. The tokenizer reads as much text of each
    language as pretraining does, so that a language with little text is cut into more pieces.
    """
    texts = (
        row
        for lang in languages
        for row in world.rows("text", "train", lang, documents[lang.resource])["text"]
    )
    tokenizer = train_tokenizer(texts, vocabulary)
    config = XLMRobertaConfig(
        architectures=["XLMRobertaForMaskedLM"],
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        # Eight narrow heads learn to match words across sentences much later than four.
        num_attention_heads=max(1, width // 32),
        intermediate_size=4 * width,
        max_position_embeddings=130,
        type_vocab_size=1,
        # The usual 0.02 is meant for a width of 768; in an encoder this narrow it learns late.
        initializer_range=0.05,
        # With dropout, words are matched across sentences only after twice as many steps.
        hidden_dropout_prob=0.0,
        # Dropout on attention rules out the fused attention kernel and costs half the speed.
        attention_probs_dropout_prob=0.0,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain_text(language: MicroLanguage, documents: Mapping[str, int] = DOCUMENTS) -> TrainingSet:
    """As much plain text of a language as its resource level allows."""
    return TrainingSet("text", language.code, documents[language.resource])


def pretraining(
    text: tuple[TrainingSet, ...], pairs: tuple[TrainingSet, ...], steps: int
) -> Pretrain:
    """The phase that makes an encoder like ``micro`` from scratch, on any text and pairs."""
    return Pretrain(
        text=text,
        pairs=pairs,
        pair_share=0.2,
        mix="temperature",
        temperature=1.5,
        steps=steps,
        batch_size=64,
        learning_rate=2e-3,
        max_length=128,
        # More than BERT's 15 %: every prediction costs a little, every step a lot (Wettig et al.
        # 2023 find up to 40 % as good).
        mask_rate=0.25,
        scratch=True,
    )


def asked_of_builder(
    arguments: list[str] | None, name: str, about: str, out: Path, steps: int
) -> argparse.Namespace:
    """The options of a command that builds what ships with the kit; threads are set."""
    parser = argparse.ArgumentParser(prog=f"xltkit {name}", description=about.splitlines()[0])
    parser.add_argument("--out", type=Path, default=out, help="folder to write to")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--threads", type=int, default=1, help="another number, other last bits")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    return asked


def ship(trained: Path, out: Path, names: Iterable[str]) -> None:
    """Copy files of a stage to where the package looks for them, and print what identifies them."""
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trained / name, out / name)
    print(f"{out}: model.safetensors {file_digest(out / 'model.safetensors')[:16]}")


def main(arguments: list[str] | None = None) -> None:
    """Build the encoder and copy it to where the package looks for it."""
    asked = asked_of_builder(arguments, "micro", __doc__, MICRO, STEPS)
    store = Store()
    blank = store.folder / "micro-blank"
    write_blank(blank, LANGUAGES.values())
    every = LANGUAGES.values()
    text = tuple(map(plain_text, every))
    pairs = tuple(
        TrainingSet("pairs", lang.code, PAIRS[lang.resource])
        for lang in every
        if not lang.is_english
    )
    recipe = Recipe(str(blank), (pretraining(text, pairs, asked.steps),))
    (stage,) = training_stages(recipe, seed=0)
    ship(make(stage, store), asked.out, FILES)


if __name__ == "__main__":
    main()
