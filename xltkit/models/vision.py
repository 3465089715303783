"""Image towers and teachers from transformers, and the vectors that they give, kept in the store.

What a network that is not trained says of a picture or a text is computed once for each training
set or test set, and kept in ``<store>/vectors`` as one array of half precision.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from datasets import Dataset, Image
from filelock import FileLock
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel
from transformers.utils import logging as transformers_logging

from xltkit.keys import digest, file_digest, known_digest
from xltkit.models import device, encoder
from xltkit.models.encoder import HEADS, TOWER
from xltkit.models.heads import pool

MICRO_CLIP = Path(__file__).parents[1] / "data" / "microworld" / "micro-clip"
PROCESSOR = "preprocessor_config.json"
# Known by a short name: what ships with the kit.
SHIPPED = {"micro-clip": MICRO_CLIP, "micro-vision": MICRO_CLIP / TOWER}
PIXELS = "pixels"  # no network at all: what is seen without any training
PIXELS_SIDE = 16
BATCH = 64  # pictures or texts that are computed together
VERSION = 1  # raised when the same picture or text gets other vectors: old ones are not read then


# --- names and weights -------------------------------------------------------------------------


def locate(name: str) -> str:
    """The folder or the Hub id of an image tower or a teacher by its name.

    Raises:
        ValueError: if it is neither shipped, nor a folder, nor of the form of a Hub id.
    """
    where = str(SHIPPED.get(name, name))
    try:
        encoder.locate(where)
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
    parts = [encoder.fingerprint(where)]
    for file in (Path(where, HEADS), Path(where, PROCESSOR)):
        if file.is_file():
            parts.append(known_digest(file)[:16])
    pooling = _pooling(Path(where))
    if pooling != "mean":
        parts.append(pooling)
    return "+".join(parts)


def tower_fingerprint(name: str) -> str:
    """What identifies the weights of an image tower. Raises ValueError for a folder without one."""
    if name == PIXELS:
        return fingerprint(name)
    folder = Path(locate(name))
    if folder.is_dir() and not (folder / PROCESSOR).is_file():
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
    trained = Path(teacher, TOWER)
    if trained.is_dir():
        return str(trained)
    if Path(teacher, HEADS).is_file():
        raise ValueError(
            f"No pictures lie in the space of {teacher!r}: it trained no image tower. "
            "Score captions with 'micro-clip', a stage of ImageText(locked=False), or a Hub id."
        )
    return teacher


def _pooling(folder: Path) -> str:
    """How the encoder of a stage pools; ``mean`` if the folder is no stage."""
    record = folder / "signature.json"
    if not record.is_file():
        return "mean"
    return json.loads(record.read_text())["signature"]["pooling"]


def _network(name: str) -> nn.Module:
    """The weights of a tower or of a teacher, in fp32."""
    where, revision = encoder.locate(locate(name))
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with encoder.explained(name):
        return AutoModel.from_pretrained(where, dtype=torch.float32, revision=revision)


class Tower(nn.Module):
    """A network that turns pictures into features (batch, width).

    Of a dual encoder (CLIP, SigLIP) the image vector in the space it shares with text; of any
    other vision model the mean of its last hidden states.
    """

    def __init__(self, name: str):
        super().__init__()
        where, revision = encoder.locate(locate(name))
        with encoder.explained(name):
            # Without torchvision, which the kit does not need for anything else.
            self.processor = AutoImageProcessor.from_pretrained(
                where, backend="pil", revision=revision
            )
        self.network = _network(name)
        if self.network.config.model_type == "siglip2":
            raise ValueError(
                f"{name!r} takes pictures of any shape (NaFlex), which the kit does not. Take one "
                "of fixed size, such as 'google/siglip2-base-patch16-224'."
            )

    def pixels(self, images: Sequence[PIL.Image.Image]) -> Tensor:
        """Pictures as the network wants them: a tensor (batch, channels, height, width)."""
        rgb = [image.convert("RGB") for image in images]
        return self.processor(rgb, return_tensors="pt").pixel_values

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
    """The number of features of a tower, measured on a gray picture."""
    if tower == PIXELS:
        return 3 * PIXELS_SIDE**2
    if not isinstance(tower, Tower):
        tower = Tower(tower)
    was_training = tower.training
    features = tower.eval()(tower.pixels([PIL.Image.new("RGB", (64, 64), "grey")]))
    tower.train(was_training)
    return features.shape[1]


# --- features of pictures ----------------------------------------------------------------------


def contents(rows: Dataset) -> list[str]:
    """A digest of the bytes of each picture: equal pictures have equal ones."""
    encoded = rows.select_columns(["image"]).cast_column("image", Image(decode=False))
    digests = []
    for start in range(0, len(encoded), BATCH):  # never all pictures in memory
        for picture in encoded[start : start + BATCH]["image"]:
            if picture["bytes"]:
                whole = hashlib.sha256(picture["bytes"]).hexdigest()
            else:
                whole = file_digest(Path(picture["path"]))
            digests.append(whole[:32])
    return digests


def features(name: str, rows: Dataset, store: Path) -> np.ndarray:
    """The features of the pictures of some rows by a locked tower, in half precision.

    Args:
        name: of a tower, or ``pixels``: 16 x 16 pixels in three colors, from -1 to 1.
        rows: with a column ``image``.
        store: the folder of the store, where they are kept.

    Returns:
        An array (rows, width).
    """

    def compute(indices: Sequence[int]) -> Iterator[np.ndarray]:
        tower = None if name == PIXELS else Tower(name).to(device.device()).eval()
        for start in range(0, len(indices), BATCH):
            images = rows.select(indices[start : start + BATCH])["image"][:]
            yield _plain_pixels(images) if tower is None else _tower_features(tower, images)

    return _kept(store, [fingerprint(name), VERSION], contents(rows), compute)


def _plain_pixels(images: Sequence[PIL.Image.Image]) -> np.ndarray:
    size = (PIXELS_SIDE, PIXELS_SIDE)
    small = [np.asarray(i.convert("RGB").resize(size), dtype=np.float32) for i in images]
    return np.stack([pixels.ravel() / 127.5 - 1 for pixels in small])


@torch.inference_mode()
def _tower_features(tower: Tower, images: Sequence[PIL.Image.Image]) -> np.ndarray:
    return tower(tower.pixels(images).to(device.device())).float().cpu().numpy()


# --- vectors of a teacher ----------------------------------------------------------------------


def teacher_vectors(teacher: str, texts: Sequence[str], store: Path) -> np.ndarray:
    """The vectors of some texts by the text tower of a CLIP, in half precision.

    Args:
        teacher: ``micro-clip``, the folder of a stage of ``ImageText``, or a Hub id of a dual
            encoder that transformers knows.
        texts: in the language of the teacher.
        store: the folder of the store, where they are kept.

    Returns:
        Vectors (texts, width), not brought to length 1.
    """

    def compute(indices: Sequence[int]) -> Iterator[np.ndarray]:
        network, tokenizer, padding = _teacher(teacher)
        options = {"truncation": True, "return_tensors": "pt", **padding}
        for start in range(0, len(indices), BATCH):
            batch = [texts[i] for i in indices[start : start + BATCH]]
            inputs = tokenizer(batch, **options).to(device.device())
            with torch.inference_mode():
                vectors = network(**inputs).float().cpu().numpy()
            yield vectors

    return _kept(store, [fingerprint(teacher), "text", VERSION], texts, compute)


def _teacher(name: str) -> tuple[Callable[..., Tensor], Any, dict[str, Any]]:
    """A function from tokens to vectors, the tokenizer, and the options of padding."""
    network = _network(name).to(device.device()).eval()
    padding: dict[str, Any] = {"padding": True}
    if network.config.model_type.startswith("siglip"):
        # Its vector is the state of the last position, padding or not, of texts of one length.
        length = network.config.text_config.max_position_embeddings
        padding = {"padding": "max_length", "max_length": length, "return_attention_mask": False}

    def text_features(**inputs: Tensor) -> Tensor:
        return network.get_text_features(**inputs).pooler_output

    is_dual = hasattr(network, "get_text_features")
    text_vectors = text_features if is_dual else _stage_as_teacher(name, network)
    return text_vectors, encoder.load_tokenizer(locate(name)), padding


def _stage_as_teacher(name: str, network: nn.Module) -> Callable[..., Tensor]:
    """The text side of what ``ImageText`` trained: the encoder's pooled state, a linear layer."""
    folder = Path(locate(name))
    heads = load_file(folder / HEADS) if (folder / HEADS).is_file() else {}
    layer = {key.rpartition(".")[2]: value for key, value in heads.items() if ".text." in key}
    if not layer:
        raise ValueError(
            f"{name!r} is no teacher: it has no text tower. Give 'micro-clip', the folder of a "
            "trained ImageText stage, or a Hub id such as 'openai/clip-vit-base-patch32'."
        )
    pooling = _pooling(folder)

    def text_vectors(input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Tensor:
        hidden = network(input_ids, attention_mask=attention_mask, **more).last_hidden_state
        pooled = pool(hidden, attention_mask, pooling)
        return nn.functional.linear(pooled, layer["weight"].to(pooled), layer["bias"].to(pooled))

    return text_vectors


# --- one file for each set of inputs -----------------------------------------------------------


def _kept(
    store: Path,
    network: Sequence[Any],
    contents: Sequence[str],
    compute: Callable[[Sequence[int]], Iterator[np.ndarray]],
) -> np.ndarray:
    """The vectors (inputs, width) of some inputs in half precision, computed unless they are kept.

    Args:
        store: the folder of the store.
        network: what identifies the network that computes them.
        contents: each input, or a digest of it; equal ones are computed once.
        compute: batches of vectors of the inputs at some indices, in their order.

    Raises:
        ValueError: if a value does not fit half precision.
    """
    indices: dict[str, int] = {}  # where each content comes first
    for i, content in enumerate(contents):
        indices.setdefault(content, i)
    file = store / "vectors" / f"{digest([*network, list(indices)])}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):  # two arms that start together compute them once
        vectors = _read(file)
        if vectors is None:
            batches = compute(list(indices.values()))
            vectors = np.concatenate(list(batches)).astype(np.float16)
            if not np.isfinite(vectors).all():
                raise ValueError(
                    f"A vector does not fit half precision: a value is above "
                    f"{np.finfo(np.float16).max:.0f}, or is no number. Take another tower."
                )
            partial = file.with_suffix(".partial")
            with partial.open("wb") as opened:
                np.save(opened, vectors)
            os.replace(partial, file)
    positions = {content: position for position, content in enumerate(indices)}
    return vectors[[positions[content] for content in contents]]


def _read(file: Path) -> np.ndarray | None:
    """The array in a file; None if there is no file, or it is torn."""
    try:
        return np.load(file)
    except (FileNotFoundError, ValueError, EOFError):
        return None
