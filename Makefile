# Each target makes the virtual environment it needs: a fresh clone, Python 3.11 or later and make are enough.
#
#   make train FAMILY=point-robot ARGS="--seed 1"
#   make train FAMILY=cheetah-vel EXTRAS=mujoco

VENV := .venv
FAMILY ?= point-robot
ARGS ?=
# What else of setup.cfg's extras to install, separated by commas.
EXTRAS ?=
INTERPRETERS ?= python3 python3.11 python3.12 python3.13 python3.14

comma := ,
python := $(VENV)/bin/python
# A stamp is written last, so an interrupted installation leaves none. It holds the folder it was made in.
run_stamp := $(VENV)/.installed$(if $(EXTRAS),-$(EXTRAS))
dev_stamp := $(VENV)/.installed-dev$(if $(EXTRAS),$(comma)$(EXTRAS))
# FORCE or nothing. A copied or moved checkout would import the old folder's code, and an upgrade of the system can take
# the interpreter away; neither changes a file that the stamps depend on.
stale = $(shell $(python) -c 'import pip' 2>/dev/null && test "$$(cat '$(1)' 2>/dev/null)" = '$(CURDIR)' || echo FORCE)

.PHONY: help train bench test lint types format release-check FORCE
.NOTPARALLEL:

help:
	@echo 'make train [FAMILY=$(FAMILY)] [ARGS=...] [EXTRAS=mujoco]   meta-train on a task family'
	@echo 'make bench [ARGS=...] [EXTRAS=mujoco]                       measure how fast everything is here'
	@echo 'make test [ARGS=...] [EXTRAS=...]                         lint, types and tests'
	@echo 'make lint | types | format                                one of them; format rewrites the files'
	@echo 'make release-check                                        build a release, install it, run an example'

train: $(run_stamp)
	$(python) experiments/train.py $(FAMILY) $(ARGS)

bench: $(run_stamp)
	$(python) experiments/bench.py $(ARGS)

test: lint types
	OMP_NUM_THREADS=1 $(python) -m pytest -n auto $(ARGS)

lint: $(dev_stamp)
	$(python) -m ruff format --check .
	$(python) -m ruff check .

types: $(dev_stamp)
	$(python) -m mypy

format: $(dev_stamp)
	$(python) -m ruff format .
	$(python) -m ruff check --fix .

release-check: $(dev_stamp)
	.ci/release-check '$(CURDIR)/$(python)'

$(run_stamp): setup.cfg pyproject.toml constraints.txt $(call stale,$(run_stamp))
	$(make_venv)
	$(call install,$(if $(EXTRAS),[$(EXTRAS)]))
	@printf '%s\n' '$(CURDIR)' >'$(run_stamp)'

$(dev_stamp): setup.cfg pyproject.toml constraints.txt $(call stale,$(dev_stamp))
	$(make_venv)
	$(call install,[dev$(if $(EXTRAS),$(comma)$(EXTRAS))])
	@printf '%s\n' '$(CURDIR)' | tee '$(run_stamp)' >'$(dev_stamp)'

# $(1): extras in brackets, or nothing. The .pth file is for scripts in the folder above: to them this checkout, if it is
# called pearl, is an empty package, which Python prefers to a package that only the editable installation knows.
define install
@echo 'Installing pearl-metarl$(1) into $(VENV), about 1 GB the first time.'
$(python) -m pip install --disable-pip-version-check --no-warn-script-location -qq -c constraints.txt -e '.$(1)'
@printf '%s\n' '$(CURDIR)' >"$$($(python) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pearl-metarl.pth"
endef

# Keeps a virtual environment that works. The file .incomplete tells one whose making was interrupted.
define make_venv
@if [ -e $(VENV)/.incomplete ] \
	|| ! $(python) -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	chosen=; without_pip=; \
	for candidate in $(INTERPRETERS); do \
		"$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then chosen=$$candidate; break; fi; \
		without_pip="$${without_pip:-$$candidate}"; \
	done; \
	if [ -z "$$chosen" ] && [ -n "$$without_pip" ]; then \
		echo "error: $$without_pip is new enough but lacks venv or ensurepip, so it cannot make a virtual environment." >&2; \
		echo "  On Debian or Ubuntu: apt install python3-venv (or python3.X-venv for its version)." >&2; \
		exit 1; \
	elif [ -z "$$chosen" ]; then \
		echo "error: no Python 3.11 or later among: $(INTERPRETERS)." >&2; \
		echo "  Install one, or name one: make INTERPRETERS=/path/to/python3.11 ..." >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$chosen."; \
	rm -rf $(VENV) && mkdir $(VENV) && touch $(VENV)/.incomplete \
		&& "$$chosen" -m venv $(VENV) && rm $(VENV)/.incomplete; \
fi
endef
