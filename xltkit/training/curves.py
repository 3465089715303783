"""The curves of training in TensorBoard, if ``XLTKIT_TENSORBOARD`` names a folder for them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from xltkit.provenance import root

Tell = Callable[[int, Mapping[str, float]], None]  # what is to be shown of a step
FOLDER = "XLTKIT_TENSORBOARD"


@contextmanager
def curves(folder: Path, title: str, start: int) -> Iterator[Tell | None]:
    """What shows a line of the log as points of a curve; None if nobody asked.

    Each stage has a folder of its own, named by its title and its key, in the folder that
    ``XLTKIT_TENSORBOARD`` names, seen from the repository: the store keeps what it needs alone.

    Args:
        folder: of the stage.
        title: of the stage, for people.
        start: the step that training goes on with; what an earlier attempt showed of it and of
            later ones is taken back.

    Raises:
        ValueError: if tensorboard is not installed.
    """
    where = os.environ.get(FOLDER)
    if not where:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ValueError(
            f"{FOLDER} is {where!r}, and tensorboard is not installed here. Type: pip install "
            f"tensorboard; or unset {FOLDER}: log.jsonl of each stage has the same numbers."
        ) from error
    name = f"{title} {folder.name.removesuffix('.partial')}".replace(os.sep, "-")
    with SummaryWriter(root() / where / name, purge_step=start + 1) as writer:

        def tell(step: int, values: Mapping[str, float]) -> None:
            for value, number in values.items():
                writer.add_scalar(value, number, step)
            writer.flush()  # a kill takes the buffer with it

        yield tell
