# Two commands for a fresh machine: `make demo` and `make test`; `make docs` and `make mutants` beside them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUTPUT ?= demo-run
# `make demo TORCH=cpu`: PyTorch without its 4 GB of CUDA libraries
TORCH  ?=

.PHONY: demo test docs mutants clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/t2i-spatial demo --output $(OUTPUT)

# the tests of `view` look at it in a browser of the system
HAS_CHROMIUM = command -v chromium >/dev/null || command -v google-chrome >/dev/null
GET_CHROMIUM = test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(HAS_CHROMIUM) || { $(GET_CHROMIUM); } >/dev/null 2>&1 || echo "no Chromium: the tests in a browser are skipped"
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

# `make mutants MUTANTS=200 SEED=1`: more of them, others
MUTANTS ?= 40
SEED ?= 0
mutants: $(VENV)/.installed-mutants
	$(BIN)/python scripts/mutants.py --sample $(MUTANTS) --seed $(SEED)

$(VENV)/.installed-%: $(VENV)/.installed
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet --constraint constraints.txt --override overrides.txt --group $*
	touch $@

$(VENV)/.installed: pyproject.toml constraints.txt overrides.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.5"
	@echo "installing into $(VENV): 6.5 GB, 4 of them CUDA, which TORCH=cpu leaves out; this once"
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet $(if $(TORCH),--torch-backend $(TORCH)) --constraint constraints.txt --override overrides.txt -e '.[all]' --group dev
	touch $@

clean:
	rm -rf $(VENV) demo-run build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
