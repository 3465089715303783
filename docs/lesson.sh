#!/bin/sh
# Opens the lesson; the first time it installs what it needs from wheels/, without a network.
cd "$(dirname "$0")" || exit 1
PYTHON=${PYTHON:-python3}
if ! [ -x .venv/bin/jupyter-lab ]; then
    "$PYTHON" -m venv --clear .venv &&
        .venv/bin/python -m pip install --quiet --no-index --find-links wheels -r requirements.txt xltkit || {
        echo "Nothing was installed: the packages are for $(cat python-version), here is $("$PYTHON" --version)."
        echo "If there is another one, name it: PYTHON=/path/to/python3 ./lesson.sh"
        exit 1
    }
fi
exec .venv/bin/jupyter-lab "$@" notebooks/00_start_here.ipynb
