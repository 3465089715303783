"""Build the models that ship with the kit: ``python -m xltkit micro`` and ``micro-clip``.

``micro`` has the XLM-R architecture and 0.8 million weights, pretrained on plain text in thirteen
languages and on translation pairs, both in unequal amounts. ``micro-clip`` is a small
convolutional image tower and a small English text encoder, trained on scenes and their captions.
The same machine reproduces the same weights.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast, ViTImageProcessorPil, XLMRobertaConfig

from xltkit.data.microworld import generate as world
from xltkit.data.microworld.languages import LANGUAGES, MicroLanguage
from xltkit.data.microworld.pictures import SIDE
from xltkit.keys import file_digest
from xltkit.models.checkpoints import MICRO, MICRO_CLIP, TOWER, load_tokenizer
from xltkit.studies.export import copy_encoder
from xltkit.studies.make import make
from xltkit.studies.stages import Recipe, training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet
from xltkit.training.image_text import ImageText
from xltkit.training.phases import Pretrain

# Documents of plain text, and translation pairs with English, by resource level.
DOCUMENTS = {"high": 12000, "mid": 2000, "low": 300}
PAIRS = {"high": 3000, "mid": 500, "low": 75}
SCENES = 20000  # with English captions
STEPS = {"micro": 10000, "micro-clip": 1500}
VOCABULARY = 3000
LAYERS = 3
WIDTH = 128
Sets = tuple[TrainingSet, ...]
# Ids 0 to 4, as in XLM-R except for <mask>.
SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
SPECIAL |= {"mask_token": "<mask>"}


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A BPE tokenizer. (Of the common types, only BPE comes out the same every time.)"""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    options = {"special_tokens": list(SPECIAL.values()), "show_progress": False}
    tokenizer.train_from_iterator(texts, BpeTrainer(vocab_size=VOCABULARY, **options))
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)]
    )
    options = {"model_max_length": 128, "model_input_names": ["input_ids", "attention_mask"]}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **SPECIAL, cls_token="<s>", sep_token="</s>", **options
    )


def write_blank(
    folder: Path, languages: Iterable[MicroLanguage], documents: Mapping[str, int] = DOCUMENTS
) -> None:
    """Write what ``Pretrain(..., scratch=True)`` starts from: an architecture and a tokenizer.

    The tokenizer is trained on as much text per language as the encoder, so that a language with
    little text is cut into more pieces.
    """
    texts = (
        row
        for language in languages
        for row in world.rows("text", "train", language, documents[language.resource])["text"]
    )
    tokenizer = train_tokenizer(texts)
    config = XLMRobertaConfig(
        architectures=["XLMRobertaForMaskedLM"],
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        # Eight narrow heads learn to match words across sentences much later than four.
        num_attention_heads=WIDTH // 32,
        # Twice the width instead of the usual four times: a step costs a quarter less, and tasks
        # are learned in fewer steps.
        intermediate_size=2 * WIDTH,
        max_position_embeddings=130,
        type_vocab_size=1,
        # The usual 0.02 is meant for a width of 768; with it, an encoder this narrow learns late.
        initializer_range=0.05,
        # With dropout, words are matched across sentences only after twice as many steps.
        hidden_dropout_prob=0.0,
        # Dropout on attention rules out the fused attention kernel and costs half the speed.
        attention_probs_dropout_prob=0.0,
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def plain_text(language: MicroLanguage, documents: Mapping[str, int] = DOCUMENTS) -> TrainingSet:
    """As much plain text of a language as its resource level allows."""
    return TrainingSet("text", language.code, documents[language.resource])


def pretraining(text: Sets, pairs: Sets, steps: int) -> Pretrain:
    """The phase that trains an encoder like ``micro`` from scratch, on any text and pairs."""
    return Pretrain(
        text=text,
        pairs=pairs,
        mix="temperature",
        temperature=1.5,
        steps=steps,
        batch_size=64,
        learning_rate=2e-3,
        max_length=128,
        # More than BERT's 15 %: every prediction costs a little, every step a lot (Wettig et al.
        # 2023 find up to 40 % just as good).
        mask_rate=0.25,
        scratch=True,
    )


def micro(
    folder: Path, documents: Mapping[str, int] = DOCUMENTS, pairs: Mapping[str, int] = PAIRS
) -> Pretrain:
    """The phase that trains ``micro``; the encoder that it starts from is written to a folder."""
    languages = LANGUAGES.values()
    write_blank(folder, languages, documents)
    texts = tuple(plain_text(language, documents) for language in languages)
    translated = [language for language in languages if not language.is_english]
    sets = tuple(TrainingSet("pairs", each.code, pairs[each.resource]) for each in translated)
    return pretraining(texts, sets, STEPS["micro"])


def micro_clip(folder: Path) -> ImageText:
    """The same for ``micro-clip``: a text encoder and an image tower with random weights."""
    torch.manual_seed(0)
    config = XLMRobertaConfig.from_pretrained(MICRO, num_hidden_layers=2)
    config.architectures = None
    transformers.XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer("micro").save_pretrained(folder)
    shape = {"embedding_size": 32, "hidden_sizes": [32, 64, 128], "depths": [1, 1, 1]}
    config = transformers.ResNetConfig(layer_type="basic", **shape)
    transformers.ResNetModel(config).save_pretrained(folder / TOWER)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder / TOWER)
    return ImageText(
        TrainingSet("captions", "en", SCENES),
        tower=str(folder / TOWER),
        locked=False,
        steps=STEPS["micro-clip"],
        batch_size=96,
        learning_rate=2e-3,
    )


def main(name: str, out: str | None = None) -> None:
    """Build a model, copy it to where the package looks for it, and print a hash of its weights."""
    build, home = {"micro": (micro, MICRO), "micro-clip": (micro_clip, MICRO_CLIP)}[name]
    out = Path(out or home)
    torch.set_num_threads(1)  # another number changes the last bits
    blank = Store().folder / f"{name}-blank"
    (stage,) = training_stages(Recipe(str(blank), (build(blank),)), seed=0)
    copy_encoder(make(stage, Store()), out)
    print(f"{out}: {file_digest(out / 'model.safetensors')[:16]}")
