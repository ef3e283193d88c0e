# Benchmarks print JSON. bench/compare.mjs holds dsr1 against llama.cpp on the same file.

BENCH_BIN := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/bench_*.c))

$(B)/bench/%: $(B)/obj/bench/%.o $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

bench: $(BENCH_BIN) $(B)/bin/dsr1 models ## kernels, then prompts and generation of the real model, as JSON
	@for program in $(BENCH_BIN); do $$program || exit 1; done
	@$(B)/bin/dsr1 bench --json
