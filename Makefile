# make demo    a real training on this machine's CPU
# make check   format, lint, types and the tests that need neither torch nor ms-swift: some five minutes
# make test    that, then all other tests, with torch and ms-swift: under half an hour
# make format  writes what `make check` wants to see
# Each makes its own virtual environment; PYTHON=python3.12 or VENV=folder choose another.
PYTHON ?= python3
VENV ?= .venv
LIGHT ?= .venv-check
WORKERS ?= 2
# A CPU build where PyTorch's own index can be reached; else what PyPI has, which runs on a CPU too but is larger.
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := -m pip install -qq --disable-pip-version-check
REACHED = $(shell $(VENV)/bin/python -c "import urllib.request as u; u.urlopen('$(TORCH_INDEX)', timeout=5)" 2>/dev/null \
	&& echo --extra-index-url $(TORCH_INDEX))
CODE := swift_fa_launcher tests benchmarks docs

define look_over
	$(1)/bin/autopep8 --diff --exit-code -r $(CODE)
	$(1)/bin/ruff check .
	$(1)/bin/mypy
endef

.PHONY: demo check test lint format clean

demo: $(VENV)/.train .demo/chat.jsonl
	$(VENV)/bin/swift-fa train configs/demo-cpu.yaml

check: lint
	$(LIGHT)/bin/python -m pytest -n $(WORKERS) -m "not training and not stack and not slow and not gpu"

test: check $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n $(WORKERS) -m "(stack or slow) and not training and not gpu"
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "training or gpu"   # each on a core of its own

lint: $(LIGHT)/.dev
	$(call look_over,$(LIGHT))

format: $(LIGHT)/.dev
	$(LIGHT)/bin/autopep8 --in-place -r $(CODE)

.demo/chat.jsonl: swift_fa_launcher/training/tiny.py | $(VENV)/.train
	$(VENV)/bin/python swift_fa_launcher/training/tiny.py .demo

$(LIGHT)/.dev: pyproject.toml
	$(PYTHON) -m venv $(LIGHT)
	$(LIGHT)/bin/python $(PIP) -e '.[dev]'
	touch $@

$(VENV)/.dev: $(VENV)/.train
	$(VENV)/bin/python $(PIP) -e '.[train,dev]' 'kernels>=0.17,<0.18'   # its tests; no training here asks for it
	touch $@

$(VENV)/.train: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing torch, ms-swift and SwanLab into $(VENV): some minutes"
	$(VENV)/bin/python $(PIP) $(REACHED) $(TORCH)
	$(VENV)/bin/python $(PIP) -e '.[train]'
	$(VENV)/bin/python -m compileall -q swift_fa_launcher   # starts at once even where Python may not write its bytecode
	touch $@

clean:
	rm -rf $(VENV) $(LIGHT) .demo
