"""Image towers from transformers, and the features they give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, Image
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel
from transformers.utils import logging as transformers_logging

from xltkit.keys import digest, file_digest, known_digest
from xltkit.models import device as runtime
from xltkit.models import encoder as models
from xltkit.models import vectors
from xltkit.models.checkpoints import HEADS, TOWER
from xltkit.models.heads import pool

MICRO_CLIP = Path(__file__).parents[1] / "data" / "microworld" / "micro-clip"
PROCESSOR = "preprocessor_config.json"
# Known by a short name: what ships with the kit.
SHIPPED = {"micro-clip": MICRO_CLIP, "micro-vision": MICRO_CLIP / TOWER}
PIXELS = "pixels"  # no network at all: what is seen without any training
PIXELS_SIDE = 16
VERSION = 1  # raised when the same picture or text gets other vectors: old ones are not read then


def locate(name: str) -> str:
    """An image tower or a teacher by its name, as ``models.locate`` takes encoders.

    Raises:
        ValueError: if it is neither shipped, nor a folder, nor of the form of a Hub id.
    """
    where = str(SHIPPED.get(name, name))
    try:
        models.locate(where)
    except ValueError:
        raise ValueError(
            f"{name!r} is no image tower. Give {', '.join(map(repr, SHIPPED))}, {PIXELS!r}, a "
            "folder of a checkpoint, or a Hub id such as 'openai/clip-vit-base-patch32' or "
            "'facebook/dinov2-base', with '@' and a commit to pin it."
        ) from None
    return where


def fingerprint(name: str) -> str:
    """What identifies the weights of a tower or of a teacher, its heads included."""
    if name == PIXELS:
        return f"{PIXELS}/{PIXELS_SIDE}"
    where = locate(name)
    files = [Path(where, name) for name in (HEADS, PROCESSOR)]
    more = [known_digest(file)[:16] for file in files if file.is_file()]
    pooling = _pooling(Path(where))
    return "+".join([models.fingerprint(where), *more, *([pooling] if pooling != "mean" else [])])


def _pooling(folder: Path) -> str:
    """How a stage pools; ``mean`` if the folder is none."""
    record = folder / "signature.json"
    return json.loads(record.read_text())["signature"]["pooling"] if record.is_file() else "mean"


def _network(name: str) -> nn.Module:
    """The weights of a tower or of a teacher, in fp32."""
    where, revision = models.locate(locate(name))
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with models.explained(name):
        return AutoModel.from_pretrained(where, dtype=torch.float32, **models.pin(revision))


def tower_fingerprint(name: str) -> str:
    """The same of an image tower. Raises ValueError for a folder that holds none."""
    where = locate(name) if name != PIXELS else ""
    if Path(where).is_dir() and where and not Path(where, PROCESSOR).is_file():
        raise ValueError(
            f"{name!r} is no image tower: its folder has no {PROCESSOR}. Save the tower's image "
            "processor beside it with save_pretrained()."
        )
    return fingerprint(name)


def tower_of(teacher: str) -> str:
    """The image tower whose space the text vectors of a teacher are in.

    Raises:
        ValueError: for a stage without one: its texts went to the features of a locked tower, which
            a linear layer took to their space, or to no pictures at all.
    """
    if teacher == "micro-clip":
        return "micro-vision"
    beside = Path(teacher, TOWER)
    if Path(teacher, HEADS).is_file() and not beside.is_dir():
        raise ValueError(
            f"No pictures lie in the space of {teacher!r}: it trained no tower of its own. "
            "Score captions with 'micro-clip', a stage of ImageText(locked=False), or a Hub id."
        )
    return str(beside) if beside.is_dir() else teacher


class Tower(nn.Module):
    """A network that turns pictures into features (batch, ``width``).

    Of a dual encoder (CLIP, SigLIP) the image vector in the space it shares with text; of any
    other vision model the mean of its last hidden states.
    """

    def __init__(self, name: str):
        super().__init__()
        where, revision = models.locate(locate(name))
        with models.explained(name):
            # Without torchvision, which the kit does not need for anything else.
            self.processor = AutoImageProcessor.from_pretrained(
                where, backend="pil", **models.pin(revision)
            )
        self.network = _network(name)
        if self.network.config.model_type == "siglip2":
            raise ValueError(
                f"{name!r} takes pictures of any shape (NaFlex), which the kit does not. Take one "
                "of fixed size, such as 'google/siglip2-base-patch16-224'."
            )

    def pixels(self, images: Sequence[Any]) -> Tensor:
        """Pictures as the network wants them: a tensor (batch, channels, height, width)."""
        return self.processor([i.convert("RGB") for i in images], return_tensors="pt").pixel_values

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (batch, channels, height, width) to features (batch, width)."""
        if hasattr(self.network, "get_image_features"):
            return self.network.get_image_features(pixel_values=pixels).pooler_output
        hidden = self.network(pixel_values=pixels).last_hidden_state
        return hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)

    def save(self, folder: Path) -> None:
        """Write the tower as an ordinary checkpoint folder."""
        self.network.save_pretrained(folder)
        self.processor.save_pretrained(folder)


@torch.inference_mode()
def width(tower: str | Tower) -> int:
    """The number of features of a tower, found by looking at a grey picture."""
    if tower == PIXELS:
        return 3 * PIXELS_SIDE**2
    tower = tower if isinstance(tower, Tower) else Tower(tower)
    was = tower.training
    seen = tower.eval()(tower.pixels([PIL.Image.new("RGB", (64, 64), "grey")]))
    tower.train(was)
    return seen.shape[1]


def contents(rows: Dataset) -> list[str]:
    """A digest of the bytes of each picture: equal pictures have equal ones."""
    if rows._fingerprint not in _known:
        raw = rows.select_columns(["image"]).cast_column("image", Image(decode=False))
        _known[rows._fingerprint] = [
            digest_of(picture["bytes"])
            if picture["bytes"]
            else file_digest(Path(picture["path"]))[:32]
            for at in range(0, len(raw), vectors.AT_ONCE)  # never all pictures in memory
            for picture in raw[at : at + vectors.AT_ONCE]["image"]
        ]
    return _known[rows._fingerprint]


_known: dict[str, list[str]] = {}  # by what datasets calls the rows: digests of their pictures


def digest_of(content: bytes) -> str:
    """A digest of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()[:32]


def features(name: str, rows: Dataset, store: Path) -> np.ndarray:
    """The features of the pictures of some rows by a locked tower, in half precision.

    Args:
        name: of a tower, or ``pixels``: 16 x 16 pixels in three colours, from -1 to 1.
        rows: with a column ``image``.
        store: the folder of the store; what is computed is kept there.

    Returns:
        An array (rows, width).
    """
    loaded: list[Tower] = []

    def compute(chosen: Sequence[int]) -> np.ndarray:
        images = rows.select(chosen)["image"][:]
        if name == PIXELS:
            small = [i.convert("RGB").resize((PIXELS_SIDE, PIXELS_SIDE)) for i in images]
            return np.stack([np.asarray(i, dtype=np.float32).ravel() / 127.5 - 1 for i in small])
        if not loaded:
            loaded.append(Tower(name).to(runtime.device()).eval())
        with torch.inference_mode():
            return loaded[0](loaded[0].pixels(images).to(runtime.device())).float().cpu().numpy()

    folder = store / vectors.FOLDER / digest([fingerprint(name), VERSION])
    return vectors.kept(folder, contents(rows), compute)


def taught(teacher: str, texts: Sequence[str], store: Path) -> np.ndarray:
    """What the text tower of a CLIP says of some texts, in half precision.

    Args:
        teacher: ``micro-clip``, the folder of a stage of ``ImageText``, or a Hub id of a dual
            encoder that transformers knows.
        texts: in the language of the teacher.
        store: the folder of the store; what is computed is kept there.

    Returns:
        Vectors (texts, width), not brought to length 1.
    """
    loaded: list[Any] = []

    def compute(chosen: Sequence[int]) -> np.ndarray:
        if not loaded:
            loaded.extend(_teacher(teacher))
        network, tokenizer, options = loaded
        encoded = tokenizer([texts[i] for i in chosen], truncation=True, return_tensors="pt",
                            **options).to(runtime.device())  # fmt: skip
        with torch.inference_mode():
            return network(**encoded).float().cpu().numpy()

    folder = store / vectors.FOLDER / digest([fingerprint(teacher), "text", VERSION])
    return vectors.kept(folder, [digest_of(text.encode()) for text in texts], compute)


def _teacher(name: str) -> tuple[Callable[..., Tensor], Any, dict[str, Any]]:
    """A function from tokens to vectors, the tokenizer, and how it is to pad."""
    network = _network(name).to(runtime.device()).eval()

    def of_two(**inputs: Tensor) -> Tensor:
        return network.get_text_features(**inputs).pooler_output

    dual = hasattr(network, "get_text_features")
    read = of_two if dual else _stage_as_teacher(name, Path(locate(name)), network)
    tokenizer = models.load_tokenizer(locate(name))
    options: dict[str, Any] = {"padding": True}
    if network.config.model_type.startswith("siglip"):
        # Its vector is the state of the last position, padding or not, of texts of one length.
        length = network.config.text_config.max_position_embeddings
        options = {"padding": "max_length", "max_length": length, "return_attention_mask": False}
    return read, tokenizer, options


def _stage_as_teacher(name: str, folder: Path, network: nn.Module) -> Callable[..., Tensor]:
    """The text side of what ``ImageText`` trained: the encoder's pooled state, a linear layer."""
    heads = folder / HEADS
    weights = load_file(heads) if heads.is_file() else {}
    text = {k.rpartition(".")[2]: v for k, v in weights.items() if ".text." in k}
    if not text:
        raise ValueError(
            f"{name!r} is no teacher: it has no text tower. Give 'micro-clip', the folder of a "
            "trained ImageText stage, or a Hub id such as 'openai/clip-vit-base-patch32'."
        )

    pooling = _pooling(folder)

    def vectors_of(input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        hidden = network(input_ids, attention_mask=attention_mask, **more).last_hidden_state
        pooled = pool(hidden, attention_mask, pooling)
        return nn.functional.linear(pooled, text["weight"].to(pooled), text["bias"].to(pooled))

    return vectors_of
