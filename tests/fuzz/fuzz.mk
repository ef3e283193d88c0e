# Fuzz targets: one program a file of tests/fuzz, built by clang with libFuzzer,
# AddressSanitizer and UBSan into build-fuzz/. What is found lands there, too.
#
#     make fuzz FUZZ_SECONDS=600
#     make fuzz FUZZ=wire
#     make fuzz-keep FUZZ=wire    keep inputs of all sizes out of the fewest that reach what was reached
#
# Each begins with the inputs kept in tests/fuzz/corpus, which `make corpus` replays
# without a fuzzer, in the build of check-asan.

FUZZ_SECONDS ?= 30
FUZZ_ALL     := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ         ?= $(FUZZ_ALL)
FUZZ_KEPT    := $(patsubst tests/fuzz/corpus/%/.,%,$(wildcard tests/fuzz/corpus/*/.))
FUZZ_B       ?= build-fuzz
FUZZ_SAN     := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined
# No input is larger than a few dozen KiB: none may want more memory than this, or more than seconds.
# A constraint's masks may take up to MACHINE_SIZE_MAX (core/constrain/machine.h).
FUZZ_FLAGS   := -rss_limit_mb=4096 -timeout=10 -verbosity=0
FUZZ_LIMIT   := case $$name in constrain_*) limit=256;; *) limit=64;; esac

$(B)/obj/tests/fuzz/%.o: CFLAGS_FILE := -Itests -Ilsp_bridge $(shell pkg-config --cflags libpq)

$(B)/fuzz/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS) $(LSP_LIBS)

$(B)/fuzz/replay_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(LSP_LIBS)

fuzz-built: $(FUZZ:%=$(B)/fuzz/fuzz_%)
replay-built: $(FUZZ_KEPT:%=$(B)/fuzz/replay_%)

fuzz: setup ## every parser against libFuzzer, FUZZ_SECONDS each
	@$(MAKE) --no-print-directory -j2 B=$(FUZZ_B) CC=clang OPT=-O1 SAN="$(FUZZ_SAN)" fuzz-built
	@for name in $(FUZZ); do \
	    echo "== fuzz_$$name"; \
	    mkdir -p $(FUZZ_B)/corpus/$$name tests/fuzz/corpus/$$name; \
	    $(FUZZ_LIMIT); \
	    $(FUZZ_B)/fuzz/fuzz_$$name $(FUZZ_FLAGS) -malloc_limit_mb=$$limit -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
	        -artifact_prefix=$(FUZZ_B)/$$name- $(FUZZ_B)/corpus/$$name tests/fuzz/corpus/$$name || exit 1; \
	done

fuzz-keep: ## minimise what fuzz found into tests/fuzz/corpus
	@for name in $(FUZZ); do \
	    mkdir -p $(FUZZ_B)/kept tests/fuzz/corpus/$$name; \
	    rm -rf $(FUZZ_B)/kept/$$name && mkdir $(FUZZ_B)/kept/$$name; \
	    $(FUZZ_LIMIT); \
	    $(FUZZ_B)/fuzz/fuzz_$$name $(FUZZ_FLAGS) -malloc_limit_mb=$$limit -merge=1 -max_len=$(FUZZ_KEEP_MAX) $(FUZZ_B)/kept/$$name \
	        tests/fuzz/corpus/$$name $(FUZZ_B)/corpus/$$name >/dev/null 2>&1 || exit 1; \
	    rm -f tests/fuzz/corpus/$$name/*; \
	    ls -Sr $(FUZZ_B)/kept/$$name | awk -v n=$$(ls $(FUZZ_B)/kept/$$name | wc -l) -v keep=$(FUZZ_KEEP) \
	        'int(NR * keep / n) > int((NR - 1) * keep / n)' | sed "s|^|$(FUZZ_B)/kept/$$name/|" | \
	        xargs -r cp -t tests/fuzz/corpus/$$name; \
	    du -sbh tests/fuzz/corpus/$$name; \
	done
FUZZ_KEEP     ?= 100
FUZZ_KEEP_MAX ?= 2048

corpus: ## replay the kept fuzz inputs under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory $(ASAN_BUILD) replay-built
	@failed=0; for name in $(FUZZ_KEPT); do \
	    if build-asan/fuzz/replay_$$name tests/fuzz/corpus/$$name; then \
	        echo "ok - fuzz_$$name takes every input of its corpus"; \
	    else \
	        echo "not ok - fuzz_$$name fails on its corpus"; failed=1; \
	    fi; \
	done; exit $$failed

.PHONY: fuzz-built replay-built fuzz-keep corpus
.PRECIOUS: $(B)/obj/%.o
