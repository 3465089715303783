"""Execute one notebook in this process: ``python -m xltkit.batch.notebook JSON``."""

import json
import os
import sys
import threading
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from papermill import PapermillExecutionError, execute_notebook


class Kernel(AsyncKernelManager):
    """The kernel of this interpreter, whatever Jupyter's folders hold under the same name."""

    kernel_spec = KernelSpec(**get_kernel_dict())


def execute(arguments: dict[str, Any], retries: int) -> str:
    """Execute one notebook with papermill's arguments; return what went wrong, if anything."""
    for name in ("input_path", "output_path"):  # papermill formats paths: braces are doubled
        arguments[name] = arguments[name].replace("{", "{{").replace("}", "}}")
    while True:
        try:
            notebook = execute_notebook(
                **arguments,
                progress_bar=False,
                stdout_file=sys.stdout,
                stderr_file=sys.stderr,
                kernel_name="python3",
                kernel_manager_class=Kernel,
                # The kernel is silent because it would report its own orderly shutdown as an error.
                extra_arguments=["--IPKernelApp.log_level=50"],
            )
            break
        except PapermillExecutionError as error:
            return f"{error.ename}: {' '.join(error.evalue.split())}"
        except RuntimeError as error:  # DeadKernelError; or it died before it answered
            name = type(error).__name__
            problem = f"{name}: the kernel died; if memory is short, try fewer --jobs"
            if not retries:
                return problem
            # Something from outside ended it; a cell that raised would raise again.
            retries -= 1
            print(f"{problem}; starts again", flush=True)
        except Exception as error:
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    for number, cell in enumerate(notebook.cells, start=1):
        # After sys.exit(0) papermill reports no error.
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            return f"the notebook stopped before its cell {number}"
    return ""


def end_with_parent() -> None:
    """End this process when the batch is gone, however it died; the kernel ends with it."""
    os.read(0, 1)  # the batch has the other end of standard input
    os._exit(3)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    problem = execute(*json.loads(sys.argv[1]))
    print(problem, flush=True)
    os._exit(bool(problem))  # nothing may be printed after the line that says what went wrong
