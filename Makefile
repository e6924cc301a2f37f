# make test, make demo, make wheel: on a fresh machine with Python >= 3.10, pip and make.
#
# Each has a virtual environment of its own under .venv/. The stamp's name holds
# a checksum of what decides its contents: a second run reuses it, a changed
# setup.cfg or Python makes it anew, an interrupted install (no stamp) too.

PYTHON ?= python3
CHECKSUM := $(shell { cat setup.cfg pyproject.toml; $(PYTHON) --version; } \
	2>/dev/null | cksum | cut -d ' ' -f 1)
TEST := .venv/test
DEMO := .venv/demo

# Only warnings and errors of TensorFlow.
export TF_CPP_MIN_LOG_LEVEL := 2

.PHONY: test demo wheel clean
.DELETE_ON_ERROR:

test: $(TEST)/.installed-$(CHECKSUM)
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/lint-imports
	# Two workers: most of the time goes to tracing and compiling, on one core.
	$(TEST)/bin/python -m pytest --numprocesses 2 --dist loadfile

demo: $(DEMO)/.installed-$(CHECKSUM)
	$(DEMO)/bin/keras-meta demo

# Builds and checks sdist and wheel, and runs the wheel's smoke suite elsewhere.
wheel: $(TEST)/.installed-$(CHECKSUM)
	$(TEST)/bin/nox --session wheel

# Editable: a changed source file needs no new install.
$(TEST)/.installed-$(CHECKSUM): EXTRA := dev
$(DEMO)/.installed-$(CHECKSUM): EXTRA := demo
$(TEST)/.installed-$(CHECKSUM) $(DEMO)/.installed-$(CHECKSUM):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	"keras_meta needs Python >= 3.10: run make with PYTHON=/path/to/python. " \
	"Received: Python " + sys.version.split()[0])'
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet \
		--editable '.[$(EXTRA)]'
	touch $@

clean:
	rm -rf .venv .nox build dist htmlcov .coverage *.egg-info
	rm -rf .pytest_cache .ruff_cache .import_linter_cache
	find keras_meta tests -type d -name __pycache__ -prune -exec rm -rf {} +
