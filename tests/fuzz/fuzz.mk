# Fuzz targets: one program a file of tests/fuzz, built by clang with libFuzzer,
# AddressSanitizer and UBSan into build-fuzz/. What is found lands there, too.
#
#     make fuzz FUZZ_SECONDS=600
#     make fuzz FUZZ=wire

FUZZ_SECONDS ?= 30
FUZZ         ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN     := $(FUZZ:%=$(B)/fuzz/fuzz_%)

$(B)/obj/tests/fuzz/%.o: CFLAGS_FILE := -Itests -Ilsp_bridge

$(B)/fuzz/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS) -ljansson

fuzz-built: $(FUZZ_BIN)

fuzz: ## every parser against libFuzzer, FUZZ_SECONDS each
	@$(MAKE) --no-print-directory -j2 B=build-fuzz CC=clang OPT=-O1 \
	    SAN="-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined" fuzz-built
	@for name in $(FUZZ); do \
	    echo "== fuzz_$$name"; \
	    mkdir -p build-fuzz/corpus/$$name; \
	    build-fuzz/fuzz/fuzz_$$name -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 \
	        -artifact_prefix=build-fuzz/ build-fuzz/corpus/$$name || exit 1; \
	done

.PHONY: fuzz-built
