# Two commands do everything on a fresh machine: `make demo` and `make test`.
# PYTHON is any Python 3.11-3.13; the virtual environment .venv is made from it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test test-slow lint wheel chromium audit benchmark clean

demo: $(VENV)/.demo ## run the baselines on the bundled benchmark and rank them
	$(BIN)/ffr demo

test: $(VENV)/.test chromium lint ## all checks, the tests, and a smoke test of the built wheel
	$(BIN)/python -m pytest -n 2 -m "not slow"
	$(MAKE) wheel

test-slow: $(VENV)/.slow chromium ## kill loops and other long tests
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: $(VENV)/.test ## build the wheel, install it alone in a clean environment, and try it there
	rm -rf build/wheel build/clean
	$(BIN)/python -m build --wheel --outdir build/wheel .
	$(BIN)/python -m venv build/clean
	build/clean/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt build/wheel/*.whl
	cd "$$(mktemp -d)" && "$(CURDIR)/build/clean/bin/python" "$(CURDIR)/tests/wheel_smoke.py"

chromium: ## for the browser tests, where it can be installed; they are skipped without it
	scripts/install_chromium.sh

audit: $(VENV)/.test ## known vulnerabilities of what is installed, in build/audit.txt; a report, not a check
	mkdir -p build && $(PYTHON) -m venv build/audit
	build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(PIP) freeze --exclude-editable > build/installed.txt
	-build/audit/bin/pip-audit --no-deps --disable-pip --progress-spinner off \
		--requirement build/installed.txt > build/audit.txt 2>&1
	@echo "report: build/audit.txt" && head -n 5 build/audit.txt

benchmark: $(VENV)/.test ## the ratios of docs/benchmarks.md
	$(BIN)/python -m benchmarks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "FFR needs Python 3.11-3.13: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(PIP) install --quiet --constraint constraints.txt --editable '.[leaderboard,lexical]'
	touch $@

# Its start-up hook (see the file) lets torchvision's CUDA build be imported beside CPU torch.
HOOK := torchvision_beside_cpu_torch

$(VENV)/.test: $(BIN)/python $(SOURCES) tests/environment/$(HOOK).py
	$(PIP) install --quiet --constraint constraints.txt torch torchvision --editable '.[test]'
	site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		&& cp tests/environment/$(HOOK).py "$$site" && echo "import $(HOOK)" > "$$site/$(HOOK).pth"
	touch $@

$(VENV)/.slow: $(VENV)/.test
	$(PIP) install --quiet --constraint constraints.txt --editable '.[ray]'
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
