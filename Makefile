# numalab: every command. `make help` lists them.
#
# Each target sets up what it needs: a virtual environment in .venv, the compiled kernels beside their sources. When
# nothing has changed, that costs nothing.

PYTHON ?= python3
JOBS   ?= $(shell nproc)

VENV := .venv
PY   := $(VENV)/bin/python
PIP  := NUMALAB_CYTHON=none $(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation

# How to compile: fast, debug, trace or annotate (setup.py says what they mean).
MODE    := $(or $(NUMALAB_CYTHON),fast)
BUILT   := build/.built-$(MODE)
FLOORS  := arch mm kernel syscalls tools
KERNELS := $(shell find $(FLOORS) -name '*.pyx' -o -name '*.pxd')
STUBS    = $(shell find $(FLOORS) -name '*.pyi' | sed 's/\.pyi$$//; s,/,.,g; s/^/numalab./')

PYTEST := $(PY) -m pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# --- use ---------------------------------------------------------------------------------------------------------

.PHONY: demo conform oracle fuzz-oracle
demo: $(VENV)/.core $(BUILT) ## watch pages move between the nodes of a machine
	@$(VENV)/bin/numalab demo

conform: $(VENV)/.core $(BUILT) ## compare with the answers recorded from Linux 6.12
	@$(VENV)/bin/numalab conform

# Is there all that the recorder needs? Linking a program statically is the only sure answer.
oracle_works    = command -v qemu-system-x86_64 && command -v xz && command -v dpkg-deb && \
	echo 'int main(void) { return 0; }' | gcc -static -x c -o /dev/null -
oracle_packages = qemu-system-x86 gcc libc6-dev xz-utils

.PHONY: recorder
recorder:
	@{ $(oracle_works); } >/dev/null 2>&1 || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
			echo "This machine lacks what the recorder needs. As root:"; \
			echo "$(apt) $(oracle_packages)"; exit 2; }; \
		echo "installing $(oracle_packages)"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(apt) -qq $(oracle_packages) >/dev/null && \
			{ $(oracle_works); } >/dev/null || \
			{ echo "That failed. Needed: $(apt) $(oracle_packages)"; exit 2; }; }

oracle: recorder ## ask a real kernel whether it still answers so: MACHINE=quad ONLY="a b" SAMPLE=12 RECORD=1
	@$(PYTHON) -m tests.oracle $(if $(MACHINE),--machine $(MACHINE)) $(if $(ONLY),--only $(ONLY)) \
		$(if $(SAMPLE),--sample $(SAMPLE)) $(if $(RECORD),--record)

fuzz-oracle: recorder $(VENV)/.dev $(BUILT) ## random scenarios, there and here: N=100 MACHINE=quad SEED=0
	@$(PY) -m tests.fuzz $(if $(N),--count $(N)) $(if $(MACHINE),--machine $(MACHINE)) $(if $(SEED),--seed $(SEED))

# --- check -------------------------------------------------------------------------------------------------------

.PHONY: check check-fast check-long
check check-fast check-long: $(VENV)/.dev $(BUILT)
check check-long: real-tools

check-fast: lint ## lint and the quick tests, 4 minutes at most
	NUMALAB_HYPOTHESIS=fast $(PYTEST) -m "not (slow or long or wheel)"

check: lint wheel ## all that must hold before a commit, 15 minutes at most
	NUMALAB_HYPOTHESIS=ci $(PYTEST) -m "not (long or wheel)"

check-long: lint wheel ## as check, with new random examples and the long tests, about an hour
	NUMALAB_HYPOTHESIS=night $(PYTEST) -o faulthandler_timeout=1800 -m "not wheel"

# Debian's own numactl and numastat, to be pointed at a machine. Where they cannot be had, that test is skipped.
.PHONY: real-tools
real-tools:
	@{ command -v numactl && command -v numastat; } >/dev/null || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing numactl" && \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(apt) -qq numactl >/dev/null || \
			echo "numalab export is not tried with real programs. As root: $(apt) numactl"; }

# Checked builds stand apart: each is a package of its own in build/MODE, and the modules beside the sources stay those
# of `make build`, even if a check is broken off. tests/checked/README.md says what they look for.
#
# pytest leaves file descriptor 2 alone (--capture=sys): what a dying process says must be seen. The runtime of the
# sanitizers must be the first library of the process, and is the one that the modules were linked with.
checked  = NUMALAB_HYPOTHESIS=fast PYTHONPATH=$(CURDIR)/build/$(1)/package $(2) $(PYTEST) --capture=sys \
	-m "not (long or wheel or timed)" $(3) tests/checked/$(1).py tests/unit tests/properties
runtime  = $$(ldd build/asan/package/numalab/_numalab_shared*.so | awk '/lib(asan|ubsan)/ { print $$3 }' | tr '\n' ' ')
SANITIZE = LD_PRELOAD="$(runtime)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1:handle_segv=2 \
	UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1

.PHONY: check-debug check-asan apart-debug apart-asan
check-debug: apart-debug ## unit and property tests with bounds checks, assertions and poison, 15 minutes at most
	$(call checked,debug)

check-asan: apart-asan ## unit and property tests under AddressSanitizer and UBSan, 15 minutes at most
	$(call checked,asan,$(SANITIZE),-p tests.checked.redzones)

apart-debug apart-asan: apart-%: $(VENV)/.dev
	@echo 'compiling the kernels ($*)'
	@mkdir -p build/$*/package && find build/$*/package -name '*.py' -delete
	@NUMALAB_CYTHON=$* $(PY) setup.py --quiet build --build-lib build/$*/package --build-temp build/$*/temp

.PHONY: wheel
wheel: $(VENV)/.dev ## does what is handed out work without the checkout?
	$(PY) -m pytest tests/unit/test_packaging.py

.PHONY: lint ruff mypy cython-lint imports stubs format
lint: ruff mypy cython-lint imports stubs ## style, types, structure (make -k lint goes on after a failure)

ruff: $(VENV)/.dev
	$(VENV)/bin/ruff check --quiet --output-format concise .
	$(VENV)/bin/ruff format --quiet --check . || { echo 'make format puts these in form'; exit 1; }

mypy: $(VENV)/.dev
	$(VENV)/bin/mypy --no-error-summary

cython-lint: $(VENV)/.dev # it runs pycodestyle by its bare name
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" cython-lint $(FLOORS) benchmarks

imports: $(VENV)/.dev
	$(VENV)/bin/lint-imports --no-logo

stubs: $(VENV)/.dev $(BUILT) # the .pyi files must say what the compiled modules are
	$(if $(STUBS),$(PY) -m mypy.stubtest --concise --mypy-config-file pyproject.toml --ignore-unused-allowlist \
		--allowlist tests/stubtest_allowlist.txt $(STUBS))

format: $(VENV)/.dev ## put the Python files in form
	$(VENV)/bin/ruff check --quiet --fix-only --select I .
	$(VENV)/bin/ruff format .

# --- measure -----------------------------------------------------------------------------------------------------

.PHONY: bench gates reliability scale pictures
bench: $(VENV)/.dev $(BUILT) ## measure, without judging
	@$(PY) -m benchmarks.bench

gates: $(VENV)/.dev $(BUILT) ## measure what benchmarks/gates.toml promises, and judge
	@$(PY) -m benchmarks.gates

reliability: $(VENV)/.dev $(BUILT) ## empty nodes under load and faults, write docs/reliability.md: N=1000 SEED=0 RESUME=FILE SCHEDULES=50 CALLS=150000
	@$(PY) -m tests.reliability --jobs $(JOBS) $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED)) \
		$(if $(RESUME),--resume $(RESUME)) $(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(CALLS),--calls $(CALLS))

pictures: $(VENV)/.dev $(BUILT) ## draw the pictures of docs/pictures anew
	@command -v chromium >/dev/null || { echo "That needs Chromium. As root: $(apt) chromium"; exit 2; }
	@$(PIP) --editable '.[pictures]'
	@$(PY) -m tests.docs.pictures

scale: $(VENV)/.dev $(BUILT) ## measure cost against size (5 GiB of host memory), and write docs/scale.md
	@$(PY) -m benchmarks.scale --write docs/scale.md

# --- build -------------------------------------------------------------------------------------------------------

.PHONY: build clean distclean
build: $(BUILT) ## compile the kernels that changed (NUMALAB_CYTHON=debug: with checks)

$(BUILT): $(KERNELS) setup.py $(VENV)/.core
	@echo 'compiling the kernels ($(MODE))'
	@NUMALAB_CYTHON=$(MODE) $(PY) setup.py --quiet build_ext --inplace
	@rm -f build/.built-*
	@touch $@

clean: ## remove what was compiled, and caches
	rm -rf build dist src/*.egg-info .benchmarks .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find $(FLOORS) src '(' -name '*.so' -o -name '*.so.new' -o -name '_*.c' -o -name '_*.html' ')' -delete
	find $(FLOORS) src tests benchmarks examples -name __pycache__ -prune -exec rm -r '{}' +

distclean: clean ## remove the virtual environment as well
	rm -rf $(VENV)

# --- set-up ------------------------------------------------------------------------------------------------------

.PHONY: venv
venv: $(VENV)/.dev $(BUILT) ## set up .venv with the development tools, and build

$(VENV)/.dev: $(VENV)/.core
	@echo 'installing the development tools'
	@$(PIP) --editable '.[dev]'
	@touch $@

# setup.py compiles; pip only notes where the package is (NUMALAB_CYTHON=none), so that the compiler's words are seen.
$(VENV)/.core: pyproject.toml $(VENV)/.made
	@echo 'installing numalab in $(VENV)'
	@$(PIP) 'setuptools>=77' 'cython>=3.1'
	@$(PIP) --editable '.[repl]'
	@touch $@

# Can this machine make a virtual environment with pip, and compile an extension? Doing both is the only sure answer.
works = $(PYTHON) -m venv --clear $(VENV) && \
	echo '\#include <Python.h>' | $$($(PY) -c 'import os, sysconfig as s; print( \
		os.environ.get("CC") or s.get_config_var("CC"), "-I" + s.get_path("include"))') \
		-shared -fPIC -x c -o /dev/null -
version  = $(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])'
packages = $$(set -- $$($(version) 2>/dev/null || echo python3); echo $$1 $$1-dev $$1-venv gcc libc6-dev)
apt      = apt-get install -y --no-install-recommends

# A virtual environment cannot be moved, for its scripts hold its path; so the stamp holds it too.
ifneq ($(shell cat $(VENV)/.made 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.made
endif
$(VENV)/.made:
	@[ '$(PYTHON)' = python3 ] || command -v $(PYTHON) >/dev/null || { echo 'There is no $(PYTHON).'; exit 2; }
	@! command -v $(PYTHON) >/dev/null || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'numalab needs Python 3.11 or newer: make PYTHON=python3.11'; exit 2; }
	@{ $(works); } >/dev/null 2>&1 || { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
			echo "This machine lacks what numalab is built with. As root:"; \
			echo "$(apt) $(packages)"; exit 2; }; \
		echo "installing $(packages)"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive $(apt) -qq $(packages) >/dev/null && { $(works); } || \
			{ echo "That failed. Needed: $(apt) $(packages)"; exit 2; }; }
	@echo $(CURDIR) >$@
