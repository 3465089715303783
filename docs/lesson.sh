#!/bin/sh
# Opens the lesson; the first time it installs what it needs from wheels/, without a network.
set -e
cd "$(dirname "$0")"
[ -x .venv/bin/jupyter-lab ] || {
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --no-index --find-links wheels -r requirements.txt xltkit
}
exec .venv/bin/jupyter-lab "$@" notebooks/00_start_here.ipynb
