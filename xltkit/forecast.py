"""What runs will make, before anything runs: their notebooks executed without the training.

A notebook is executed here statement by statement. ``Study.run`` and ``again`` note their stages
and make none; whoever then reads a result is refused, and the statement is passed over, as are
those that need what it would have said. Everything else runs, so that the stages are those that
the notebook makes, with the same keys.
"""

from __future__ import annotations

import ast
import io
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from xltkit import studies
from xltkit.absent import NotRun, Wanted, as_if_there
from xltkit.evaluation import again
from xltkit.rates import Work, work
from xltkit.results import Results
from xltkit.stages import Stage
from xltkit.store import Store
from xltkit.studies import Study

CHANGES = "append extend insert add update setdefault pop popitem remove discard clear".split()
MAKES = ("study", "again")  # what makes stages: a statement with it that is passed over is told


@dataclass
class Foreseen:
    """What a run will make.

    Attributes:
        name: of the run.
        stages: each once, by key, parents before children.
        asked: their number if nothing were shared, not even between arms, tasks and seeds.
        passed: statements passed over because they need results.
        unseen: those of them that would have made stages: a plan without them is too small.
        wanted: data and weights it takes.
        problem: why there is no plan, or none of the rest of the notebook.
    """

    name: str
    stages: dict[str, Stage] = field(default_factory=dict)
    asked: int = 0
    arms: dict[str, set[str]] = field(default_factory=dict)
    works: dict[str, Work | None] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    wanted: Wanted = field(default_factory=Wanted)
    problem: str = ""

    def note(self, study: Study, again: bool = False) -> None:
        """Add a study that is run, or models that are scored once more."""
        for stage in study.stages:
            self.stages[stage.key] = stage
            if stage.key not in self.works:  # a folder that the notebook wrote is gone later
                self.works[stage.key] = work(stage.signature)
        self.asked += len(study.cells) if again else study.asked
        for cell in study.cells:
            for stage in cell.stage.chain:
                self.arms.setdefault(stage.key, set()).add(cell.arm)


def foresee(name: str, notebook: Path, values: Mapping[str, Any]) -> Foreseen:
    """What a notebook will make with these parameters; nothing is trained, no store is written.

    Args:
        name: of the run.
        notebook: its path.
        values: of its parameters; those not named have the notebook's own.
    """
    seen = Foreseen(name)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    with planning(seen), redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = [cell for cell in cells if cell["cell_type"] == "code"]
        for i, cell in enumerate(cells):
            try:
                _execute(ast.parse("".join(cell["source"])).body, namespace, seen)
            except (Exception, SystemExit) as error:  # a notebook may do anything
                # One that makes nothing from here on, and reads what others made, has its plan.
                if any(_makes(ast.parse("".join(c["source"]))) for c in cells[i:]):
                    seen.problem = f"{type(error).__name__}: {error}"
                break
            if "parameters" in cell["metadata"].get("tags", []):
                namespace |= values
    return seen


@contextmanager
def planning(seen: Foreseen) -> Iterator[None]:
    """Within this, studies note their stages and make none, and results cannot be read."""

    def refuse(store: Store, key: str) -> Path:
        raise NotRun(f"The stage {key} is planned and not made.")

    def results(study: Study, store: Store) -> Results:
        seen.note(study)
        return Results(study, store)

    def once_more(study: Study, store: Store) -> Results:
        seen.note(study, again=True)
        return Results(study, store)

    def nothing(*_: Any, **__: Any) -> None:
        pass

    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="xlt-plan-") as folder:
        enter = stack.enter_context
        # What a notebook itself writes is written here, and gone afterwards.
        folders = {"XLTKIT_STORE": f"{folder}/store", "XLTKIT_RUN_FOLDER": f"{folder}/run"}
        enter(patch.dict(os.environ, folders | {"XLTKIT_SMOKE": "", "MPLBACKEND": "agg"}))
        enter(patch.object(studies, "make_all", nothing))
        enter(patch.object(again, "make_all", nothing))
        enter(patch.object(studies, "Results", results))
        enter(patch.object(again, "Results", once_more))
        enter(patch.object(Store, "path", refuse))
        enter(patch.object(Store, "has", lambda store, key: False))
        enter(patch("IPython.display.display", nothing))
        enter(patch("xltkit.plots.show", nothing))
        enter(as_if_there(seen.wanted))
        yield


def _execute(statements: Sequence[ast.stmt], namespace: dict[str, Any], seen: Foreseen) -> None:
    """Execute statements one by one; those that need results are passed over."""
    for statement in statements:
        try:
            if isinstance(statement, ast.If):
                test = ast.fix_missing_locations(ast.Expression(statement.test))
                met = eval(compile(test, "notebook", "eval"), namespace)
                _execute(statement.body if met else statement.orelse, namespace, seen)
            else:
                exec(compile(ast.Module([statement], []), "notebook", "exec"), namespace)
        except NotRun:
            _pass_over(statement, namespace, seen)
        except NameError as error:
            if error.name not in namespace.get("_unknown", ()):
                raise
            _pass_over(statement, namespace, seen)


def _pass_over(statement: ast.stmt, namespace: dict[str, Any], seen: Foreseen) -> None:
    """Forget what a statement would have set: to use it is to need results, too."""
    seen.passed.append(ast.unparse(statement))
    if _makes(statement):
        seen.unseen.append(ast.unparse(statement))
    for name in _changed(statement, namespace):
        namespace.pop(name, None)
        namespace.setdefault("_unknown", set()).add(name)


def _makes(code: ast.AST) -> bool:
    """Whether code builds a study, or scores one once more."""
    calls = [node.func for node in ast.walk(code) if isinstance(node, ast.Call)]
    return any(getattr(f, "attr", getattr(f, "id", "")) in MAKES for f in calls)


def _changed(statement: ast.stmt, namespace: Mapping[str, Any]) -> Iterator[str]:
    """The names that a statement binds, and those whose contents it changes."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name):
                yield node.value.id
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            whose = node.func.value
            mutable = isinstance(whose, ast.Name) and isinstance(
                namespace.get(whose.id), list | dict | set
            )
            if mutable and node.func.attr in CHANGES:
                yield whose.id
