"""What a model card says, as tables: read from the records of a store, nothing typed in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import PurePath
from typing import Any

import pandas as pd

from xltkit.data.source import Source
from xltkit.tasks import TASKS, get

Record = dict[str, Any]  # of a stage, as ``Store.record`` gives it
FREE = "microworld"
# The paper of each way of training, by what a signature calls it.
PAPERS = {
    "Pretrain": "Lample and Conneau 2019, arXiv 1901.07291",
    "Intermediate": "Phang et al. 2020, arXiv 2005.13013",
    "ImageText": "Radford et al. 2021, arXiv 2103.00020; Zhai et al. 2022, arXiv 2111.07991",
    "Distil": "Carlsson et al. 2022, Cross-lingual and Multilingual CLIP, LREC",
    "Adversarial": "Huang et al. 2021, arXiv 2104.08645; Zhu et al. 2020, arXiv 1909.11764",
    "RandomPerturbation": "Huang et al. 2021, arXiv 2104.08645",
    "SynonymSmoothing": "Huang et al. 2021, arXiv 2104.08645",
    "Align": "Gritta and Iacobacci 2021, arXiv 2105.02472",
    "Target": "Hu et al. 2020, arXiv 2003.11080",
}


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown; numbers with one decimal, what is missing as a dash."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "-" if value != value else f"{value:.1f}"
        return str(value).replace("|", "\\|")

    lines = [list(table.columns), ["---"] * table.shape[1]]
    lines += [[cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def public(value: Any) -> Any:
    """A value of a signature without the folders of the machine it was made on."""
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list):
        return [public(item) for item in value]
    is_path = isinstance(value, str) and (value.startswith(("/", "~", ".")) or "\\" in value)
    return PurePath(value.replace("\\", "/")).name if is_path else value


def settings(chain: Sequence[Record]) -> str:
    """Everything that the keys of some stages are hashes of, and what they cost, as JSON."""
    shown = [{"key": r["key"], **r["signature"], "cost": r["cost"]} for r in chain]
    return json.dumps(public(shown), indent=1, ensure_ascii=False)


def training_sets(signature: dict[str, Any]) -> list[str]:
    """What a phase read, as ``task/language``; other data of it has no language."""
    return [name for name in signature["data"] if name.partition("/")[0] in TASKS and "/" in name]


def step(signature: dict[str, Any]) -> str:
    """A phase in a few words: what, on what, and how if not plainly."""
    tasks = dict.fromkeys(name.partition("/")[0] for name in training_sets(signature))
    ways = [signature[way]["method"] for way in ("robust", "align") if signature.get(way)]
    shuffled = ["shuffled"] if '"shuffled": true' in json.dumps(signature) else []
    return f"{signature['phase']}({', '.join([*tasks, *ways, *shuffled])})"


def phase_rows(chain: Sequence[Record]) -> pd.DataFrame:
    """One row per stage that trained: what, how long, how fast, and what it cost."""
    rows = [
        {
            "stage": f"`{r['key']}`",
            "phase": step(r["signature"]),
            "steps": r["signature"]["steps"],
            "batch": r["signature"]["batch_size"],
            "learning rate": f"{r['signature']['learning_rate']:g}",
            "seed": r["signature"]["seed"],
            "minutes": r["cost"]["wall_s"] / 60,
        }
        for r in chain
    ]
    return pd.DataFrame(rows)


def data_rows(chain: Sequence[Record]) -> pd.DataFrame:
    """One row per data set and language that was trained on; ``hub`` is its id there, or empty.

    Raises:
        ValueError: for a task that is not registered.
    """
    found = {
        (name, fingerprint): r["signature"]["phase"]
        for r in chain
        for name, fingerprint in r["signature"]["data"].items()
    }
    rows = []
    for (name, fingerprint), phase in found.items():
        title, _, language = name.partition("/")
        task = get(title) if title in TASKS and language else None
        source = task and (task.train or task.test or task.validation)
        part = source and (source.of(language) if language in source.languages else source)
        rows.append(
            {
                "phase": phase,
                "data": part.hub if part else "-",
                "for": title,
                "language": language if task else "",
                "revision or digest": f"`{_short(fingerprint)}`",
                "licence": (task.licence if task else "") or "-",
                "citation": (task.citation if task else "") or "-",
                "hub": _hub(part) if part else "",
            }
        )
    return pd.DataFrame(rows)


def _short(fingerprint: str) -> str:
    """Of what the microworld generates, the digest alone: its settings are in the other table."""
    generated = fingerprint.startswith(f"{FREE}/")
    return fingerprint.rpartition("/")[2] if generated else fingerprint.removeprefix("hub@")


def _hub(part: Source) -> str:
    """The id of a source that is on the Hub; empty for one that is not."""
    return "" if part.hub == FREE or part.hub.startswith(("local/", "raw/")) else part.hub


def is_free(chain: Sequence[Record]) -> bool:
    """Whether all that made a stage ships with the kit, under the kit's own licence."""
    generated = [
        fingerprint.startswith(f"{FREE}/")
        for r in chain
        for name, fingerprint in r["signature"]["data"].items()
        if name in training_sets(r["signature"])
    ]
    towers = {r["signature"].get(name, "pixels") for r in chain for name in ("tower", "teacher")}
    own = {"pixels", "micro-vision", "micro-clip"}
    return chain[0]["signature"]["encoder"] == "micro" and all(generated) and towers <= own


def licence(chain: Sequence[Record]) -> tuple[dict[str, str], str]:
    """What the head of a card says of the licence, and its last section."""
    if is_free(chain):
        own = metadata.metadata("xltkit")["License-Expression"]
        return {"license": own.lower()}, (
            f"{own}, as xltkit itself: encoder and data are the kit's own."
        )
    return {"license": "other", "license_name": "see-the-data", "license_link": "README.md"}, (
        "These weights may be used as far as the licence of the pretrained encoder and those of "
        "all data in the table above allow; some of them are for non-commercial use only."
    )


def papers(chain: Sequence[Record]) -> list[str]:
    """The papers of the ways in which a stage was trained."""
    names = []
    for r in chain:
        ways = [r["signature"][w]["method"] for w in ("robust", "align") if r["signature"].get(w)]
        names += [r["signature"]["phase"], *("Align" if w == "Align" else w for w in ways)]
    return [f"{name}: {PAPERS[name]}" for name in dict.fromkeys(names) if name in PAPERS]


def environment(chain: Sequence[Record]) -> pd.DataFrame:
    """One row per stage: device, precision, threads, versions and commit, as it recorded them."""
    return pd.DataFrame([{"stage": f"`{r['key']}`", **_made_by(r["cost"])} for r in chain])


def _made_by(cost: dict[str, Any]) -> dict[str, str]:
    names = ("device", "dtype", "threads")
    versions = " ".join(f"{name} {version}" for name, version in cost.get("versions", {}).items())
    return {name: str(cost.get(name, "not recorded")) for name in names} | {
        "versions": versions or "not recorded",
        "commit": cost.get("commit", "not recorded"),
    }


def codes(found: Iterable[str]) -> list[str]:
    """Languages as the Hub knows them: a variant of one is that one."""
    return sorted({code.partition("-x-")[0] for code in found if code})
