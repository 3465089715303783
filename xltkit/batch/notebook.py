"""One notebook, executed by papermill in this process, which a batch starts for it.

``python -m xltkit.batch.notebook JSON``: the arguments of ``papermill.execute_notebook``. Light to
import, for it is started once a notebook.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

DEAD_KERNEL = 4  # exit code of this process when the kernel died under it


def execute(arguments: dict[str, Any]) -> int:
    """Execute one notebook; the exit code, after a line on what went wrong."""
    from papermill import PapermillExecutionError, execute_notebook

    for name in ("input_path", "output_path"):  # papermill formats paths: braces are doubled
        arguments[name] = arguments[name].replace("{", "{{").replace("}", "}}")
    try:
        notebook = execute_notebook(
            **arguments,
            progress_bar=False,
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
            # The kernel is silent because it would report its own orderly end as an error.
            extra_arguments=["--IPKernelApp.log_level=50"],
        )
    except PapermillExecutionError as error:
        print(f"{error.ename}: {' '.join(error.evalue.split())}")
        return 1
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        # DeadKernelError is one, and so is what is raised if it died before it answered.
        return DEAD_KERNEL if isinstance(error, RuntimeError) else 1
    for number, cell in enumerate(notebook.cells, start=1):
        # After sys.exit(0) papermill reports no error.
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            print(f"the notebook stopped before its cell {number}")
            return 1
    return 0


def end_with_parent() -> None:
    """End this process when the batch is gone, however it died; the kernel follows by itself."""
    os.read(0, 1)  # the other end of standard input is the batch's
    os._exit(3)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    exit_code = execute(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(exit_code)  # nothing may be printed after the line on what went wrong
