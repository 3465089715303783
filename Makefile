# Things to do here; each installs the kit into .venv first, once:
#   make run     the notebooks of notebooks/runs.toml, into outputs/   (make run ARGS="00_start_here --smoke")
#   make test    style, clean notebooks, quick tests      (make test ARGS="-m slow": the long ones)
#   make lesson  a folder for laptops without a network, see docs/exploring.md  (make lesson RUNS="00_start_here 07_how_much_data")
#   make api     all docstrings as pages, into outputs/api

PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
RUNS ?= 00_start_here
MADE_FOR := import platform as p; print(p.system(), p.machine(), 'Python', p.python_version())
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
# nbstripout keeps papermill's and the widgets' own notes unless it is told.
STRIP := $(BIN)/nbstripout --drop-tagged-cells injected-parameters --extra-keys \
	"metadata.papermill cell.metadata.papermill metadata.widgets metadata.language_info.version"

.PHONY: run test lesson api strip

run: $(STAMP)
	$(BIN)/python -m xltkit run --jobs 4 --workers $(WORKERS) $(ARGS)

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(if $(NOTEBOOKS),$(STRIP) --verify $(NOTEBOOKS) || \
		{ echo "These notebooks carry outputs. Type: make strip"; exit 1; })
	$(BIN)/python -m pytest --timeout 900 -n 2 --dist loadfile -m "not slow" $(ARGS)

# Wheels for machines like this one, notebooks, and the finished stages of those that are named.
lesson: $(STAMP)
	mkdir -p lesson/wheels
	sed '/^# For make test only/,$$d' requirements.txt > lesson/requirements.txt
	$(BIN)/python -m pip wheel --quiet -r lesson/requirements.txt . -w lesson/wheels
	echo "$(MADE_FOR)" > lesson/made-for.py
	$(BIN)/python lesson/made-for.py > lesson/made-for
	echo "Copy this folder to your disk, open a terminal in it, and type: sh lesson.sh" > lesson/README
	cp -r notebooks LICENSE docs/lesson.sh lesson
	cd lesson && ../$(BIN)/python -m xltkit run $(RUNS) --workers $(WORKERS)

api: $(STAMP)
	$(BIN)/pdoc --docformat google xltkit '!xltkit.__main__' --output-directory outputs/api

# Notebooks are committed without outputs.
strip: $(STAMP)
	$(if $(NOTEBOOKS),$(STRIP) $(NOTEBOOKS))
	$(if $(NOTEBOOKS),$(BIN)/ruff format $(NOTEBOOKS))

# The stamp is written last: an installation that was interrupted is made again.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "Python 3.11 to 3.13 is needed. Type: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@
