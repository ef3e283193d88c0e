# dsr1 - Mixture-of-Experts language models inside PostgreSQL and inside editors
#
#   make demo     install what is missing, build, and show everything once
#   make test     install what is missing, build, run every suite
#   make help     all targets

CC          ?= gcc
ifeq ($(origin CC),default)
CC          := gcc
endif
B           ?= build
PG_CONFIG   ?= pg_config
SHELL       := /bin/bash
MAKEFLAGS   += --no-builtin-rules

# -ffp-contract=off: a fused multiply-add is written where it is meant, so that every kernel family rounds alike.
WARN        := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wno-unused-parameter
OPT         ?= -O2
SAN         ?=
CFLAGS_ALL  := -std=gnu11 $(OPT) -g -fPIC -pthread -fno-strict-aliasing -ffp-contract=off -fvisibility=hidden \
               -D_GNU_SOURCE -Icore/include -Icore $(WARN) $(SAN) $(CFLAGS)
LDFLAGS_ALL := -pthread $(SAN) $(LDFLAGS)
LIBS        := -lpcre2-8 -lm

.DEFAULT_GOAL := all
.PHONY: all help clean setup demo test check installcheck bench fuzz format tidy layers symbols install models model-rebuild eval objects warnings

include core/core.mk
include lsp_bridge/lsp_bridge.mk
include pg_ext/pg_ext.mk
include tests/tests.mk
include tests/fuzz/fuzz.mk
include bench/bench.mk

all: $(ALL_TARGETS) ## build everything

setup: ## install missing Debian packages (as root or with sudo)
	@scripts/setup

models: ## fetch the dense model that the shipped one is made of
	@scripts/fetch-model

model-rebuild: $(B)/bin/dsr1 ## make the shipped model anew, in build/model (models/README.md)
	@B=$(B) scripts/model-rebuild

eval: $(B)/bin/dsr1 models ## the shipped model beside the dense one, as JSON
	@scripts/eval $(B)/bin/dsr1

demo: setup ## the tour: SQL, a table, a job, an editor, on a private server
	@$(MAKE) --no-print-directory -j2 all
	@scripts/demo

test: ## install what is missing, build, run every suite
	@scripts/setup test
	@$(MAKE) --no-print-directory -j2 all tests-built
	@scripts/test-all

format: ## clang-format every C file of core/, lsp_bridge/ and tests/
	@git ls-files 'core/*.[ch]' 'lsp_bridge/*.[ch]' 'tests/*.[ch]' | xargs clang-format -i

tidy: ## clang-tidy over the core
	@git ls-files 'core/*.c' 'lsp_bridge/*.c' | xargs clang-tidy --quiet -- $(CFLAGS_ALL)

layers: ## check that includes only go down (design: docs/architecture.md)
	@scripts/check-layers

symbols: $(B)/libdsr1.so ## check that the shared core exports dsr1_* and nothing else
	@scripts/check-symbols $(B)/libdsr1.so

objects: $(CORE_OBJ) $(foreach f,$(TOOLS_SRC) $(DAEMON_SRC) $(LSP_SRC) $(UNIT_SRC),$(B)/obj/$(f:.c=.o))

warnings: ## check that gcc and clang have nothing to say
	@scripts/check-warnings

clean: ## remove what was built
	rm -rf build build-*

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 24
