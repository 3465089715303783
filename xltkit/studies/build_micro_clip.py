"""Build ``micro-clip``, the CLIP that ships with the kit: ``python -m xltkit micro-clip``.

A small convolutional tower, ``micro-vision``, and a small English text encoder, both from scratch,
trained by the kit's ``ImageText`` phase on scenes of the microworld and their English captions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ResNetConfig, ResNetModel, ViTImageProcessorPil, XLMRobertaModel

from xltkit.data.microworld.pictures import SIDE
from xltkit.models.encoder import HEADS, MICRO, TOWER, load_tokenizer
from xltkit.models.vision import MICRO_CLIP, PROCESSOR
from xltkit.studies.build_micro import FILES as ENCODER_FILES
from xltkit.studies.build_micro import asked_of_builder, ship
from xltkit.studies.make import make
from xltkit.studies.recipe import Recipe
from xltkit.studies.stages import training_stages
from xltkit.studies.store import Store
from xltkit.tasks import TrainingSet
from xltkit.training.phases_images import ImageText

SCENES, STEPS, LAYERS = 20000, 1500, 2
FILES = (
    *ENCODER_FILES, HEADS, f"{TOWER}/config.json", f"{TOWER}/model.safetensors",
    f"{TOWER}/{PROCESSOR}",
)  # fmt: skip


def write_blank(folder: Path, seed: int = 0) -> Path:
    """A text encoder with random weights, and below it an image tower with random weights."""
    torch.manual_seed(seed)
    config = XLMRobertaModel.config_class.from_pretrained(MICRO, num_hidden_layers=LAYERS)
    config.architectures = None
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer("micro").save_pretrained(folder)
    shape = ResNetConfig(
        embedding_size=32, hidden_sizes=[32, 64, 128], depths=[1, 1, 1], layer_type="basic"
    )
    ResNetModel(shape).save_pretrained(folder / TOWER)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder / TOWER)
    return folder


def main(arguments: list[str] | None = None) -> None:
    """Build both towers and copy them to where the package looks for them."""
    asked = asked_of_builder(arguments, "micro-clip", __doc__, MICRO_CLIP, STEPS)
    store = Store()
    blank = write_blank(store.folder / "micro-clip-blank")
    phase = ImageText(
        TrainingSet("captions", "en", SCENES), tower=str(blank / TOWER), locked=False,
        steps=asked.steps, batch_size=96, learning_rate=2e-3,
    )  # fmt: skip
    (stage,) = training_stages(Recipe(str(blank), (phase,)), seed=0)
    ship(make(stage, store), asked.out, FILES)


if __name__ == "__main__":
    main()
