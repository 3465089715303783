#!/bin/sh
# Opens the lesson; the first time it installs what it needs from wheels/, without a network.
cd "$(dirname "$0")" || exit 1
PYTHON=${PYTHON:-python3}
if ! [ -x .venv/bin/jupyter-lab ]; then
    "$PYTHON" -m venv --clear .venv || {
        echo "No Python here can make a virtual environment (on Debian it needs python3-venv)."
        echo "If there is another one, name it: PYTHON=/path/to/python3 sh lesson.sh"
        exit 1
    }
    .venv/bin/python -m pip install --quiet --no-index --find-links wheels -r requirements.txt xltkit || {
        echo "Nothing was installed: wheels/ lacks packages for this machine, $(.venv/bin/python made-for.py)."
        echo "They are for $(cat made-for); all but the last number have to agree."
        echo "If there is another Python, name it: PYTHON=/path/to/python3 sh lesson.sh"
        rm -r .venv
        exit 1
    }
fi
exec .venv/bin/jupyter-lab "$@" notebooks/00_start_here.ipynb
