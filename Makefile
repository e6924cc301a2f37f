# make test, make demo, make docs, make wheel, make drills: on a fresh machine with
# Python >= 3.10, pip and make.
#
# Each has a virtual environment of its own under .venv/. The stamp's name holds
# a checksum of what decides its contents: a second run reuses it, a changed
# setup.cfg or Python makes it anew, an interrupted install (no stamp) too.

PYTHON ?= python3
CHECKSUM := $(shell { cat setup.cfg pyproject.toml; $(PYTHON) --version; } \
	2>/dev/null | cksum | cut -d ' ' -f 1)
TEST := .venv/test
DEMO := .venv/demo
DOCS := .venv/docs

# The site reads the docstrings without importing them: nothing but the extra is needed.
DOCS_PACKAGES = $(shell $(PYTHON) -c 'import configparser, shlex; \
	config = configparser.ConfigParser(); config.read("setup.cfg"); \
	extra = config["options.extras_require"]["docs"]; \
	print(*map(shlex.quote, extra.split()))')

# Only warnings and errors of TensorFlow.
export TF_CPP_MIN_LOG_LEVEL := 2

.PHONY: test demo docs wheel drills clean
.DELETE_ON_ERROR:

test: $(TEST)/.installed-$(CHECKSUM)
	$(TEST)/bin/ruff check .
	$(TEST)/bin/ruff format --check .
	$(TEST)/bin/lint-imports
	# Two workers: most of the time goes to tracing and compiling, on one core.
	$(TEST)/bin/python -m pytest --numprocesses 2 --dist loadfile \
		--no-loadscope-reorder

demo: $(DEMO)/.installed-$(CHECKSUM)
	$(DEMO)/bin/keras-meta demo

# Builds and checks sdist and wheel, and runs the wheel's smoke suite elsewhere.
wheel: $(TEST)/.installed-$(CHECKSUM)
	$(TEST)/bin/nox --session wheel

# All fault drills at their full counts, about 15 minutes; what the docs say of them
# stays as it is. An error if one fails.
drills: $(TEST)/.installed-$(CHECKSUM)
	mkdir -p benchmarks/runs
	$(TEST)/bin/python benchmarks/drills.py --output benchmarks/runs/drills.json

# The site, into site/; a warning is an error. The variable silences an advertisement.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(DOCS)/.installed-$(CHECKSUM)
	$(DOCS)/bin/mkdocs build --strict --quiet

# Editable: a changed source file needs no new install.
$(TEST)/.installed-$(CHECKSUM): PACKAGES := --editable '.[dev]'
$(DEMO)/.installed-$(CHECKSUM): PACKAGES := --editable '.[demo]'
$(DOCS)/.installed-$(CHECKSUM): PACKAGES = $(DOCS_PACKAGES)
$(TEST)/.installed-$(CHECKSUM) $(DEMO)/.installed-$(CHECKSUM) \
$(DOCS)/.installed-$(CHECKSUM):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
	"keras_meta needs Python >= 3.10: run make with PYTHON=/path/to/python. " \
	"Received: Python " + sys.version.split()[0])'
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check --quiet \
		$(PACKAGES)
	touch $@

clean:
	rm -rf .venv .nox build dist site htmlcov .coverage *.egg-info
	rm -rf .pytest_cache .ruff_cache .import_linter_cache
	find keras_meta tests -type d -name __pycache__ -prune -exec rm -rf {} +
