"""Checkpoints by name: where they are, how they load, which languages they have seen."""

import json
import os
import shlex
import tomllib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging as transformers_logging

from xltkit.files import flush, read, write
from xltkit.keys import choose, digest, file_digest, known_digest, unknown

MICRO = Path(__file__).parents[1] / "data" / "microworld" / "micro"
MICRO_CLIP = MICRO.with_name("micro-clip")
HEADS = "heads.safetensors"  # beside the encoder in the folder of a stage
INDEX = "model.safetensors.index.json"  # of a checkpoint in parts: which weight is in which file
TOWER = "tower"  # the folder of a trained image tower beside it
SHIPPED = {"micro": MICRO, "micro-clip": MICRO_CLIP, "micro-vision": MICRO_CLIP / TOWER}
# Files of weights: transformers loads the first of these patterns that a folder has.
WEIGHTS = ("model.safetensors", "model*.safetensors*", "pytorch_model.bin", "pytorch_model*.bin*")
# Encoders the kit knows by a short name, and lists of the languages that they have seen.
ENCODERS = tomllib.loads(read(Path(__file__).with_name("encoders.toml")))
LANGUAGES = {name: tuple(text.split()) for name, text in ENCODERS.pop("languages").items()}


def locate(name: str) -> tuple[str, str]:
    """The folder or Hub id, and the revision, of an encoder or image tower by its name.

    As for data, a mirror (``XLTKIT_HUB``) is searched first, for ``<organization>/<name>``.

    Raises ValueError if the name is not that of a model that ships with the kit, a folder with a
    ``config.json``, or a Hub id (``organization/name``, optionally with ``@revision``).
    """
    folder = SHIPPED.get(name) or Path(name).expanduser()
    if (folder / "config.json").is_file():
        return str(folder), "main"
    identifier, _, revision = name.partition("@")
    if identifier in ENCODERS:
        row = ENCODERS[identifier]
        identifier, revision = row["hub"], revision or row.get("revision", "")
    mirror = os.environ.get("XLTKIT_HUB")
    if mirror and "@" not in name and Path(mirror, identifier, "config.json").is_file():
        return str(Path(mirror, identifier)), "main"
    if folder.exists() or identifier.count("/") != 1 or identifier.startswith((".", "/", "~")):
        raise ValueError(
            unknown("encoder or image tower", name, [*SHIPPED, *ENCODERS]).removesuffix(".")
            + ", a Hub id such as 'FacebookAI/xlm-roberta-base' or 'openai/clip-vit-base-patch32', "
            "with '@' and a commit to pin it, or a folder with config.json and model.safetensors."
        )
    return identifier, revision or "main"


def facts(name: str) -> dict[str, Any]:
    """Facts about an encoder from the table of encoders: those on which all matching rows agree.

    A folder is recognized by its architecture and the size of its vocabulary.
    """
    rows = [row for short, row in ENCODERS.items() if name.partition("@")[0] in (short, row["hub"])]
    if not rows and name not in SHIPPED and Path(name).is_dir():
        config = configuration(name)
        shape = f"{config.model_type} {config.num_hidden_layers}x{config.hidden_size}"
        alike = [row for row in ENCODERS.values() if row["architecture"] == shape]
        exact = [row for row in alike if row["vocabulary"] == config.vocab_size]
        cut = [row for row in alike if 1 <= row["vocabulary"] / config.vocab_size <= 2]
        rows = exact or cut
    first = rows[0] if rows else {}
    return {field: fact for field, fact in first.items() if all(r.get(field) == fact for r in rows)}


def unseen(name: str, languages: Iterable[str]) -> list[str]:
    """The languages (codes) that an encoder was pretrained without, as far as is known."""
    seen = LANGUAGES.get(facts(name).get("languages", ""))
    return [code for code in languages if seen and code.partition("-x-")[0] not in seen]


def describe_encoders(names: Sequence[str] = ()) -> str:
    """The table of encoders as text, or everything known about some, one fact per line.

    ``encoders.toml`` explains the facts.
    """
    if names:
        texts = []
        for name in names:
            facts = dict(ENCODERS[choose("encoder", name, ENCODERS)])
            seen = LANGUAGES.get(facts["languages"], ())
            facts["languages"] = " ".join(sorted(seen)) or "not known"
            for count in ("weights", "layer_weights"):
                if count in facts:
                    facts[count] = f"{facts[count]} million"
            texts.append("\n".join(f"{fact:<20}{value}" for fact, value in facts.items()))
        return "\n\n".join(texts)
    table = pd.DataFrame.from_dict(ENCODERS, "index").astype(object)
    counts = {"": "-"} | {name: str(len(codes)) for name, codes in LANGUAGES.items()}
    table["languages"] = table["languages"].map(counts)
    table = table.fillna({"prefix_space": False, "remote_code": False, "revision": "-"})
    return table.fillna("-").drop(columns="revision").to_string()


def load(loader: Any, name: str, **options: Any) -> Any:
    """Load an encoder with a class of transformers, as in ``load(AutoConfig, "micro")``.

    Raises ValueError, naming the remedy, for the many ways in which loading fails.
    """
    where, revision = locate(name)
    if any(row["hub"] == where and row.get("remote_code") for row in ENCODERS.values()):
        raise ValueError(
            f"The encoder {name!r} needs code that comes with its weights, which the kit never "
            "runs. Use another; `python -m xltkit encoders` lists some."
        )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        return loader.from_pretrained(where, revision=revision, **options)
    except (ImportError, OSError, ValueError) as error:
        command = shlex.join(["hf", "download", where, "--revision", revision])
        remedy = f"fetch it with `{command}` (without HF_HUB_OFFLINE), or give a folder"
        if Path(where).is_dir():
            remedy = "its folder needs config.json, model.safetensors and the files of a tokenizer"
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"The encoder {name!r} could not be loaded: {remedy}. transformers says: {reason}"
        ) from error


def configuration(name: str) -> Any:
    """The configuration of an encoder, from transformers."""
    return load(AutoConfig, name)


def fingerprint(name: str) -> str:
    """An identifier of an encoder's weights and tokenizer, whatever its folder is called."""
    where, revision = locate(name)
    folder = Path(where)
    if not folder.is_dir():
        return f"{where}@{_commit(f'{where}@{revision}') or revision}"
    # Only what transformers loads: other files in the folder change nothing.
    files = next(filter(None, ([*folder.glob(pattern)] for pattern in WEIGHTS)), [])
    settings = folder / "tokenizer_config.json"
    patterns = ["config.json", "tokenizer*.json"]
    if not (folder / "tokenizer.json").is_file():
        patterns += ["vocab*", "merges.txt", "*.model"]
    if not settings.is_file() or b"added_tokens_decoder" not in settings.read_bytes():
        patterns += ["special_tokens_map.json", "added_tokens.json"]
    files += [file for pattern in patterns for file in folder.glob(pattern)]
    return digest({file.name: known_digest(file) for file in files})


@cache
def _commit(name: str) -> str | None:
    """The commit that a revision of a Hub model points to, read from its downloaded config."""
    return getattr(configuration(name), "_commit_hash", None)


def load_tokenizer(name: str) -> Any:
    """The tokenizer of an encoder, cached unless its folder changes."""
    return _tokenizer(name, fingerprint(name))


@lru_cache(maxsize=4)
def _tokenizer(name: str, fingerprint: str) -> Any:
    return load(AutoTokenizer, name)


def share_frozen(network: nn.Module, folder: Path) -> None:
    """Move the frozen weights of a checkpoint to a file that all stages of a store share.

    ``AutoModel`` can still load the checkpoint, which now has two parts; the shared one is beside
    its folder and named by its hash.
    """
    names = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    if not names:
        return
    whole = folder / "model.safetensors"
    weights = load_file(whole)
    whole.unlink()
    trained = {name: weight for name, weight in weights.items() if name not in names}
    save_file(trained, folder / "model-trained.safetensors", metadata={"format": "pt"})
    frozen = {name: weight for name, weight in weights.items() if name in names}
    file = folder / "model-frozen.safetensors"
    save_file(frozen, file, metadata={"format": "pt"})
    place = f"../frozen/{file_digest(file)[:16]}.safetensors"
    (folder.parent / "frozen").mkdir(exist_ok=True)
    # It is on the disk before a stage can point to it.
    flush(file.replace(folder / place))
    places = dict.fromkeys(frozen, place) | dict.fromkeys(trained, "model-trained.safetensors")
    size = sum(weight.nbytes for weight in weights.values())
    write(folder / INDEX, json.dumps({"metadata": {"total_size": size}, "weight_map": places}))


def whole_checkpoint(folder: Path, to: Path) -> None:
    """If ``folder`` is a checkpoint in parts, write its weights as one file, ``to``."""
    if (folder / INDEX).is_file():
        names = json.loads(read(folder / INDEX))["weight_map"].values()
        parts = [load_file(folder / name) for name in sorted(set(names))]
        save_file({k: v for p in parts for k, v in p.items()}, to, metadata={"format": "pt"})
