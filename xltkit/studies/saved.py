"""The saved results of finished runs, and those of them that are kept in git.

``outputs/<run>/`` and ``outputs/published/<run>/`` have the same form: ``result.json`` and the
tables that it names. What is published keeps the scores in the tasks' own metrics, in CSV, so that
a changed result is seen as a changed line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xltkit.files import root, write
from xltkit.keys import file_digest
from xltkit.studies.store import Store

if TYPE_CHECKING:  # the batch reads records before it knows whether it needs pandas
    import pandas as pd

FIELDS = {"parameters": dict, "tables": dict, "smoke": bool}  # of every result.json
# Columns of published scores; the others are the same for a whole run and stand in result.json.
KEPT = ("arm", "seed", "task", "language", "base_language", "is_source", "family", "resource")
KEPT += ("metric", "value", "n", "chance")
DECIMALS = 4
LARGEST = 1000  # rows of a published table; a larger one stays on the machine that made it

TIDY = ("arm", "task", "language", "metric")  # one row of the joint table
SCORES = (*TIDY, "value", "seed", "n", "chance", "is_source", "main", "family")
OVER_SEEDS = ("seeds", "mean", "low", "high", "n", "chance", "main")
JOINT = ("run", "suite", *TIDY, "languages", "family", *OVER_SEEDS)
AGAINST = ("baseline", "against")  # what an arm is compared with
COMPARED = ("difference", "low", "high", "p_holm", "smallest_effect", "n_seeds", "n_examples")


class ResultError(ValueError):
    """A result that does not exist, is damaged, or is of the other kind (smoke or full)."""


@dataclass(frozen=True)
class Saved:
    """The results of a finished run, without its predictions.

    Attributes:
        name: of the run, as in ``runs.toml``.
        record: its ``result.json``: answer, parameters, versions.
        tables: what the notebook wrote, by name.
    """

    name: str
    record: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]

    @property
    def suite(self) -> str:
        """The suite it ran on; a notebook without that parameter is of the microworld."""
        return self.record["parameters"].get("suite", "microworld")

    @property
    def scores(self) -> pd.DataFrame:
        """The scores, as in ``Results.scores``; of a published run in fewer columns."""
        return self.tables["scores"]

    @cached_property
    def main(self) -> pd.DataFrame:
        """The scores in the tasks' own metrics."""
        return self.scores[self.scores["main"]] if "main" in self.scores else self.scores

    @property
    def arms(self) -> list[str]:
        """The names of the arms."""
        return list(dict.fromkeys(self.main["arm"]))

    @property
    def store(self) -> Store:
        """Where the stages of a run of this machine are."""
        return Store()


def record(folder: Path) -> dict[str, Any]:
    """The ``result.json`` of a finished run, after checking that its tables are unchanged.

    Raises:
        ResultError: if there is none, or it or a table is damaged.
    """
    path = folder / "result.json"
    if not path.exists():
        raise ResultError("there is no result")
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        for name, kind in FIELDS.items():
            if not isinstance(result[name], kind):
                raise TypeError(f"{name} is of the wrong type")
        for table in result["tables"].values():
            file = folder / Path(table["file"]).name  # nothing outside of the run's own folder
            if file_digest(file) != table["sha256"]:
                raise ResultError(f"{file.name} was changed after it was written")
    except ResultError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(f"the result is damaged ({type(error).__name__}: {error})") from error
    return result


def read(folder: Path) -> Saved:
    """The results in a run's folder.

    Raises:
        ResultError: if there are none, or a table is not the one that was written.
    """
    try:
        result = record(folder)
    except ResultError as error:
        raise ResultError(
            f"{folder} holds no whole result ({error}). Run the notebook again: "
            f"python -m xltkit run {folder.name}"
        ) from error
    return _with_tables(folder, result)


def read_apart(folder: Path) -> Saved:
    """The results in a run's folder, which has to lie among runs of its own kind.

    Smoke runs measure nothing: they lie in a folder of their own, ``smoke``, and stay there.

    Raises:
        ResultError: if there are none, they are damaged, or of the other kind.
    """
    result = record(folder)
    if result["smoke"] != (folder.parent.name == "smoke"):
        kind = "smoke run among full runs" if result["smoke"] else "full run among smoke runs"
        raise ResultError(f"it is a {kind} and left out: delete {folder.name}/ and run it again")
    return _with_tables(folder, result)


def _with_tables(folder: Path, result: dict[str, Any]) -> Saved:
    """A result with its tables read."""
    import pandas as pd

    tables = {}
    for name, table in result["tables"].items():
        file = folder / Path(table["file"]).name
        read_table = pd.read_csv if file.suffix == ".csv" else pd.read_parquet
        tables[name] = read_table(file)
    return Saved(folder.name, result, tables)


def read_all(folder: Path | str = "") -> dict[str, Saved]:
    """Every full run below a folder that scored models, by name.

    Smoke runs measure nothing, and notebooks that read what others scored measured nothing new.

    Args:
        folder: relative to the repository; ``outputs/published`` unless given.

    Raises:
        ValueError: if there is none, or one is damaged.
    """
    base = root() / (folder or Path("outputs", "published"))
    scored = {}
    for name, saved in _full_runs(base).items():
        if "scores" in saved.tables:
            scored[name] = saved
    if not scored:
        raise ValueError(
            f"{base} holds no finished run. Type: python -m xltkit run, and then outputs as the "
            "folder; or python -m xltkit publish, which fills outputs/published."
        )
    return scored


def _full_runs(base: Path) -> dict[str, Saved]:
    """Every finished run below a folder that is no smoke run, by name."""
    runs = [read(path.parent) for path in sorted(base.glob("*/result.json"))]
    return {saved.name: saved for saved in runs if not saved.record["smoke"]}


def publish(names: Sequence[str] = (), outputs: Path | None = None) -> list[Path]:
    """Keep finished runs in ``outputs/published``.

    Args:
        names: of the runs; empty means all that are finished.
        outputs: the folder of the runs; that of the repository unless given.

    Returns:
        The folders written.

    Raises:
        ValueError: if a run does not exist, or is damaged; nothing has been written then.
    """
    outputs = outputs or root() / "outputs"
    if names:
        chosen = [read(outputs / name) for name in names]
    else:
        read_all(outputs)  # raises the error that says what to type if there is nothing
        runs = _full_runs(outputs)
        chosen = [saved for name, saved in runs.items() if name != "interactive"]
    return [_keep(saved, outputs / "published" / saved.name) for saved in chosen]


def _keep(saved: Saved, folder: Path) -> Path:
    """Write the small tables of a run, and its record, into a folder of published results."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    tables = {name: table for name, table in saved.tables.items() if len(table) <= LARGEST}
    if "scores" in saved.tables:
        tables["scores"] = saved.main[[column for column in KEPT if column in saved.main]]
    written = {}
    for name, table in tables.items():
        file = folder / f"{name}.csv"
        table.round(DECIMALS).to_csv(file, index=False, lineterminator="\n")
        written[name] = {"file": file.name, "rows": len(table), "sha256": file_digest(file)}
    result = json.dumps({**saved.record, "tables": written}, indent=2, ensure_ascii=False)
    write(folder / "result.json", result + "\n")
    return folder


def scores(runs: Iterable[Saved]) -> pd.DataFrame:
    """The scores of all runs: one row per run, arm, task, language and metric.

    ``mean`` over ``seeds`` seeds with its t interval ``low`` to ``high``, in points, as ``chance``
    is; ``n`` test items. ``languages`` is ``source``, ``transfer`` or, for a row more per run, arm
    and task in the task's own metric, ``transfer mean``: the mean over all languages but the
    source. Its interval is that over seeds of this mean, its ``n`` all their items.
    """
    import pandas as pd

    found = []
    for run in runs:
        tables = [table for table in run.tables.values() if {*SCORES} <= {*table.columns}]
        if tables:
            table = pd.concat(tables, ignore_index=True).drop_duplicates([*TIDY, "seed"])
            found.append(_over_seeds(table).assign(run=run.name, suite=run.suite))
    if not found:
        return pd.DataFrame(columns=list(JOINT))
    return pd.concat(found, ignore_index=True)[list(JOINT)]


def _over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Means and intervals over seeds of one run's scores, and of its means over languages."""
    import pandas as pd

    from xltkit.analysis.intervals import t_interval

    table = table.assign(languages=table["is_source"].map({True: "source", False: "transfer"}))
    transfer = table[~table["is_source"] & table["main"]]
    means = transfer.groupby(["arm", "task", "metric", "seed"], sort=False, as_index=False).agg(
        value=("value", "mean"), n=("n", "sum"), chance=("chance", "mean")
    )
    means = means.assign(language="", family="", languages="transfer mean", main=True)
    table = pd.concat([means, table], ignore_index=True)
    groups = table.groupby([*TIDY, "languages"], sort=False, dropna=False)
    joint = groups.agg(
        family=("family", "first"),
        seeds=("seed", "nunique"),
        mean=("value", "mean"),
        n=("n", "first"),
        chance=("chance", "first"),
        main=("main", "first"),
    ).reset_index()
    joint[["low", "high"]] = [t_interval(values) for _, values in groups["value"]]
    return joint


def comparisons(runs: Iterable[Saved]) -> pd.DataFrame:
    """Every difference with an interval that a run has stored, in any of its tables.

    ``what`` names the rest: task, family, setting, whatever that table is split by.
    """
    import pandas as pd

    found = []
    for run in runs:
        for name, table in run.tables.items():
            named = [level for level in table.index.names if level]
            table = table.reset_index(named) if named else table
            if "difference" not in table.columns:
                table = table.rename(columns={"gain": "difference"})
            if {"difference", "low", "high"} <= {*table.columns} and len(table):
                found.append(_compared(table).assign(run=run.name, suite=run.suite, table=name))
    columns = ["run", "suite", "table", "arm", "against", "what", "languages", *COMPARED]
    if not found:
        return pd.DataFrame(columns=columns)
    return pd.concat(found, ignore_index=True).reindex(columns=columns)


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """A table of differences in the columns that all of them share."""
    words = [c for c in table.columns if not _numeric(table[c])]
    against = next((c for c in AGAINST if c in words), "")
    own = {"arm", "languages", "method", "suite", against}
    rest = [c for c in words if c not in own]
    out = table.reindex(columns=["arm", "languages", *COMPARED])
    rows = table[rest].itertuples(index=False)
    what = [", ".join(str(v) for v in row if v == v and v is not None) for row in rows]
    return out.assign(what=what, against=table[against] if against else "")


def _numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers."""
    from pandas.api.types import is_numeric_dtype

    return is_numeric_dtype(column)
