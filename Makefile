# Every target sets up what it needs in .venv. The exact torch comes first: an open range would
# pull gigabytes of CUDA where only a CPU is at hand. For a GPU: make TORCH="torch" <target>.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BIN := $(VENV)/bin
RUNS ?= runs

.PHONY: demo test test-slow faults lint docs bench examples setup interpreters clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check $(TORCH)
	$(BIN)/pip install -q --disable-pip-version-check -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/m3d condense digits --ipc 1 --watch 100 --out $(RUNS)/digits-1
	$(BIN)/m3d condense digits --ipc 10 --watch 100 --out $(RUNS)/digits-10
	$(BIN)/m3d evaluate $(RUNS)/digits-1 $(RUNS)/digits-10 --random --repeats 3
	$(BIN)/m3d report $(RUNS)/digits-1 $(RUNS)/digits-10 --repeats 3 --out $(RUNS)/digits.html
	@echo "Open the report in a browser: $(RUNS)/digits.html"

# A worker a core, each with one thread: a file's tests stay together, for what they share is made once.
test: setup interpreters
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -m "not slow and not faults" -n auto --dist loadfile

# The other supported Pythons found here, on which the command line is tested too; those that are missing are skipped.
interpreters: setup
	$(BIN)/python tests/interpreters.py

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not faults"

# Processes killed at any moment and before every file operation, full disks, no permission, two at once: see
# docs/reliability.md. A part of it: make faults FAULTS="-k compare". As root it covers full disks and permissions too.
faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults tests/faults $(FAULTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in site/: a broken link, or a name of the package that is gone, fails.
docs: setup
	$(BIN)/pip install -q --disable-pip-version-check -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

bench: setup
	$(BIN)/python -m benchmarks.run

# Each draws a picture in $(RUNS)/examples. Other data: make examples PHOTOGRAPHS="FOLDER --size 64" REPLAY="digits
# fashion-mnist" CHOOSING=fashion-mnist; docs/examples.md has what they gave.
examples: setup
	$(BIN)/python examples/photographs.py $(PHOTOGRAPHS) --out $(RUNS)/examples
	$(BIN)/python examples/replay.py $(REPLAY) --out $(RUNS)/examples
	$(BIN)/python examples/choosing.py $(CHOOSING) --out $(RUNS)/examples

clean:
	rm -rf $(VENV) .venvs $(RUNS) site
