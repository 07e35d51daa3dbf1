# make demo: a real training on this machine's CPU.   make test: everything that is tested.
# Both make their own virtual environment; PYTHON=python3.12 or VENV=folder choose another.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# A CPU build where PyTorch's own index can be reached; else what PyPI has, which runs on a CPU too but is larger.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
REACHED = $(shell $(BIN)/python -c "import urllib.request as u; u.urlopen('$(TORCH_INDEX)', timeout=5)" 2>/dev/null \
	&& echo --extra-index-url $(TORCH_INDEX))

.PHONY: demo test lint clean

demo: $(VENV)/.train .demo/chat.jsonl
	$(BIN)/swift-fa train configs/demo-cpu.yaml

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

.demo/chat.jsonl: tests/tiny.py | $(VENV)/.train
	$(BIN)/python tests/tiny.py .demo

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -e '.[train,dev]'
	touch $@

$(VENV)/.train: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch, ms-swift and SwanLab into $(VENV): some minutes"
	$(PIP) $(REACHED) $(TORCH)
	$(PIP) -e '.[train]'
	$(BIN)/python -m compileall -q swift_fa_launcher   # starts at once even where Python may not write its bytecode
	touch $@

clean:
	rm -rf $(VENV) .demo
