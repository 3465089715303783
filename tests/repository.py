"""A repository with notebooks and runs, for tests that run a batch or report on one."""

import json
from pathlib import Path

from nbformat import v4, write

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
PNG += "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # one dot


def write_notebook(path: Path, cells: list[str], **metadata) -> None:
    """A notebook of code cells, the first of which declares its parameters."""
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = v4.new_notebook(metadata={"kernelspec": kernel, **metadata})
    notebook.cells = [v4.new_code_cell(source.strip()) for source in cells]
    notebook.cells[0].metadata["tags"] = ["parameters"]
    write(notebook, path)


def write_repository(root: Path, notebooks: dict[str, list[str]], extra: str = "") -> Path:
    """Notebooks by name, and a run of each; ``extra`` are more lines of ``runs.toml``."""
    (root / "notebooks").mkdir()
    blocks = [extra]
    for name, cells in notebooks.items():
        if cells:
            write_notebook(root / "notebooks" / f"{name}.ipynb", cells)
        question = json.dumps(f"Is {name} <so>?")
        blocks.append(f'[{name}]\nnotebook = "{name}"\nquestion = {question}\nminutes = 1')
    (root / "notebooks" / "runs.toml").write_text("\n".join(blocks))
    return root
