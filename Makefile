# Everything that a newcomer or a build server calls. `make demo` and `make test` need nothing set up beforehand but Python
# and a compiler; what they prepare stays in .venv (or .venv-<distro> where a ROS 2 installation is sourced).

PYTHON ?= python3
OUT ?= out/demo
PYTEST_ARGS ?=
BENCH_ARGS ?=

RUN = $(PYTHON) ros2_ws/setup_workspace.py
RUN_TEST = $(RUN) --with test --

NO_PYRIGHT = pyright is left out: types are checked against the pinned packages, not those of a ROS installation

.PHONY: help setup demo test lint format bench clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

setup:  ## prepare the virtual environment and no more
	@$(RUN)

demo:  ## watch the built-in scene over ROS 2: heat maps, events, an answered question; written to OUT
	@$(RUN) -- python -m tvau.demo --out $(OUT)

test: lint  ## ruff, pyright and all tests; PYTEST_ARGS go to pytest
	@$(RUN_TEST) python -m pytest $(PYTEST_ARGS)

lint:  ## ruff and pyright
	@$(RUN_TEST) ruff check .
	@$(RUN_TEST) ruff format --check .
	@$(RUN_TEST) sh -c 'if [ "$${VIRTUAL_ENV##*/}" = .venv ]; then pyright; else echo "$(NO_PYRIGHT)"; fi'

format:  ## let ruff format the code
	@$(RUN_TEST) ruff check --fix .
	@$(RUN_TEST) ruff format .

bench:  ## all benchmarks: tables, and figures in out/benchmarks.json; BENCH_ARGS go to benchmarks/run.py
	@$(RUN_TEST) python benchmarks/run.py $(BENCH_ARGS)

clean:  ## remove the environment and everything built
	rm -rf .venv .venv-* build dist *.egg-info ros2_ws/build ros2_ws/install ros2_ws/log .pytest_cache .ruff_cache
