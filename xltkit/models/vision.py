"""Image towers and teachers from transformers, and their vectors of inputs.

Vectors of a network that is not trained are computed once and kept in ``<store>/vectors``.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import torch
from datasets import Dataset, Image
from filelock import FileLock
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel

from xltkit.files import replacing
from xltkit.keys import digest, known_digest
from xltkit.models import checkpoints, device
from xltkit.models.checkpoints import HEADS, TOWER, load, load_tokenizer, locate
from xltkit.models.encoder import mean_pool

PROCESSORS = ("preprocessor_config.json", "processor_config.json")
PIXELS = "pixels"  # no network at all: a baseline without any training
PIXELS_SIDE = 16  # of a square in three colors, from -1 to 1
BATCH = 64  # pictures or texts that are computed together
VERSION = 1  # incremented if a picture or text gets other vectors, so that old ones are not read


def fingerprint(name: str) -> str:
    """An identifier of the weights of a tower or teacher, including its heads."""
    if name == PIXELS:
        return f"{PIXELS}/{PIXELS_SIDE}"
    files = [Path(locate(name)[0], file) for file in (HEADS, *PROCESSORS)]
    digests = [known_digest(file)[:16] for file in files if file.is_file()]
    return "+".join([checkpoints.fingerprint(name), *digests])


def tower_of(teacher: str) -> str:
    """The image tower whose space the text vectors of a teacher are in.

    Raises ValueError for a stage without one: its texts share a space with features of a locked
    tower after a linear layer, or with no pictures at all.
    """
    folder = Path(locate(teacher)[0])
    if (folder / TOWER).is_dir():
        return str(folder / TOWER)
    if (folder / HEADS).is_file():
        raise ValueError(
            f"No pictures lie in the space of {teacher!r}, which trained no image tower; score "
            "captions with 'micro-clip', a stage of ImageText(locked=False), or a Hub id."
        )
    return teacher


class Tower(nn.Module):
    """A network that turns pictures into features (batch, width).

    For a dual encoder (CLIP, SigLIP), the image vector in its joint space with text; for any other
    vision model, the mean of its last hidden states.
    """

    def __init__(self, name: str):
        super().__init__()
        # Without torchvision, which the kit does not need for anything else.
        self.processor = load(AutoImageProcessor, name, backend="pil")
        self.network = load(AutoModel, name, dtype=torch.float32)

    def pixels(self, images: Sequence[PIL.Image.Image]) -> Tensor:
        """Pictures as the network expects them: a tensor (batch, channels, height, width)."""
        rgb = [image.convert("RGB") for image in images]
        return self.processor(rgb, return_tensors="pt").pixel_values

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (batch, channels, height, width) to features (batch, width)."""
        if hasattr(self.network, "get_image_features"):
            return self.network.get_image_features(pixel_values=pixels).pooler_output
        hidden = self.network(pixel_values=pixels).last_hidden_state
        return hidden.mean((2, 3)) if hidden.ndim == 4 else hidden.mean(1)

    def save(self, folder: Path) -> None:
        """Write the tower as a standard checkpoint folder."""
        self.network.save_pretrained(folder)
        self.processor.save_pretrained(folder)


@torch.inference_mode()
def width(name: str) -> int:
    """The number of features of a tower, measured on a black picture."""
    if name == PIXELS:
        return 3 * PIXELS_SIDE**2
    tower = Tower(name).eval()
    return tower(tower.pixels([PIL.Image.new("RGB", (64, 64))])).shape[1]


def contents(rows: Dataset) -> list[str]:
    """A digest of each picture's bytes, equal for equal pictures."""
    pictures = rows.cast_column("image", Image(decode=False))["image"]
    files = (picture["bytes"] or Path(picture["path"]).read_bytes() for picture in pictures)
    return [hashlib.sha256(file).hexdigest()[:32] for file in files]


def features(name: str, rows: Dataset, store: Path) -> np.ndarray:
    """A locked tower's features (rows, width) of the pictures in rows, kept in the store."""

    def compute(batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        tower = None if name == PIXELS else Tower(name).to(device.device()).eval()
        for indices in batches:
            images = rows.select(indices)["image"][:]
            if tower is None:
                small = (image.convert("RGB").resize([PIXELS_SIDE] * 2) for image in images)
                colors = np.stack([np.asarray(image, dtype=np.float32).ravel() for image in small])
                yield torch.from_numpy(colors / 127.5 - 1)
            else:
                yield tower(tower.pixels(images).to(device.device()))

    return kept(store, [fingerprint(name), VERSION], contents(rows), compute)


def teacher_vectors(teacher: str, texts: Sequence[str], store: Path) -> np.ndarray:
    """The vectors (texts, width) of texts from a teacher's text tower, kept in the store."""

    def compute(batches: Iterable[Sequence[int]]) -> Iterator[Tensor]:
        target = device.device()
        network = load(AutoModel, teacher, dtype=torch.float32).to(target).eval()
        is_dual = hasattr(network, "get_text_features")
        if not is_dual:  # what ``ImageText`` trained: a linear layer on the pooled states
            file = Path(locate(teacher)[0], HEADS)
            heads = load_file(file, str(target)) if file.is_file() else {}
            layer = {name.rpartition(".")[2]: v for name, v in heads.items() if ".text." in name}
            if not layer:
                raise ValueError(
                    f"{teacher!r} is no teacher, for it has no text tower; give 'micro-clip', the "
                    "folder of a stage of ImageText, or the Hub id of a CLIP."
                )
        tokenizer = load_tokenizer(teacher)
        options: dict[str, Any] = {"padding": True}
        if network.config.model_type.startswith("siglip"):
            # Its vector is the last position's state, padding or not, so texts need one length.
            length = network.config.text_config.max_position_embeddings
            options = {"padding": "max_length", "max_length": length}
            options["return_attention_mask"] = False
        for indices in batches:
            batch = [texts[i] for i in indices]
            inputs = tokenizer(batch, truncation=True, return_tensors="pt", **options).to(target)
            if is_dual:
                yield network.get_text_features(**inputs).pooler_output
            else:
                hidden = network(**inputs).last_hidden_state
                pooled = mean_pool(hidden, inputs["attention_mask"])
                yield nn.functional.linear(pooled, **layer)

    return kept(store, [fingerprint(teacher), "text", VERSION], texts, compute)


def kept(
    store: Path,
    network: Sequence[Any],
    contents: Sequence[str],
    compute: Callable[[Iterable[Sequence[int]]], Iterator[Tensor]],
) -> np.ndarray:
    """The vectors (inputs, width) of some inputs, computed unless a store has them.

    ``network`` identifies what computes them, ``contents`` each input: equal inputs are computed
    once. ``compute`` turns batches of input indices into vectors.
    """
    numbers, distinct = pd.factorize(np.asarray(contents, dtype=object))
    file = store / "vectors" / f"{digest([*network, list(distinct)])}.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):  # two arms that start together compute them once
        try:
            vectors = np.load(file)
        except (FileNotFoundError, ValueError, EOFError):  # missing or truncated
            firsts = np.unique(numbers, return_index=True)[1].tolist()
            batches = [firsts[i : i + BATCH] for i in range(0, len(firsts), BATCH)]
            with torch.inference_mode():
                parts = [part.float().cpu() for part in compute(batches)]
            vectors = torch.cat(parts)
            if not vectors.isfinite().all():
                raise ValueError(
                    "A vector has a value that is no finite number. Use another tower or teacher."
                ) from None
            halves = vectors.half()
            vectors = (halves if halves.isfinite().all() else vectors).numpy()
            with replacing(file) as partial, partial.open("wb") as opened:
                np.save(opened, vectors)
    return vectors[numbers]
