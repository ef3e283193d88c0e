# Benchmarks print JSON. bench/compare.mjs holds dsr1 against other programs on the same file.
# bench-tools builds what they need besides: mkmodel (model files with random weights) and load (requests to an engine).

BENCH_BIN   := $(patsubst bench/%.c,$(B)/bench/%,$(wildcard bench/bench_*.c))
MKMODEL_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard bench/mkmodel*.c)) $(B)/obj/core/tools/options.o
LOAD_OBJ    := $(patsubst %.c,$(B)/obj/%.o,$(wildcard bench/load*.c)) $(B)/obj/core/tools/options.o
BENCH_TOOLS := $(B)/bin/mkmodel $(B)/bin/load

$(B)/bench/%: $(B)/obj/bench/%.o $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/bin/mkmodel: $(MKMODEL_OBJ) $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/bin/load: $(LOAD_OBJ) $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

bench: $(BENCH_BIN) $(B)/bin/dsr1 ## kernels, then prompts and generation of the real model, as JSON
	@for program in $(BENCH_BIN); do $$program || exit 1; done
	@$(B)/bin/dsr1 bench --json

bench-tools: $(BENCH_TOOLS) ## mkmodel (model files with random weights) and load (requests to an engine)

.PHONY: bench-tools
-include $(wildcard $(B)/obj/bench/*.d)
