# Unit and kernel tests: one program a file, linked with the core and cmocka.

UNIT_SRC := $(wildcard tests/unit/test_*.c tests/kernel/test_*.c)
UNIT_BIN := $(UNIT_SRC:tests/%.c=$(B)/tests/%)

$(B)/obj/tests/%.o: CFLAGS_FILE := -Itests -Ilsp_bridge $(shell pkg-config --cflags libpq)

$(B)/tests/%: $(B)/obj/tests/%.o $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka -ljansson

# Tests the program, not the library.
$(B)/tests/unit/test_engine_process $(B)/tests/unit/test_engine_requests $(B)/tests/unit/test_engine_storm: | $(B)/bin/dsr1-engine

tests-built: $(UNIT_BIN) $(B)/tests/constrain/sample

check: tests-built ## unit and kernel tests only
	@scripts/run-unit $(UNIT_BIN)

ASAN_BUILD := -j2 B=build-asan SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined"

check-asan: ## unit tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory $(ASAN_BUILD) check

check-lsp-asan: ## the language server's hostile traffic and its masks, on a tiny model, under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory $(ASAN_BUILD) build-asan/bin/dsr1-lsp
	@DSR1_LSP=$(CURDIR)/build-asan/bin/dsr1-lsp DSR1_LSP_MODEL=$(CURDIR)/tests/golden/models/deepseek-f32.gguf \
	    ASAN_OPTIONS=allocator_may_return_null=1 scripts/lsp-test robustness masks

check-tsan: ## unit tests under ThreadSanitizer
	@$(MAKE) --no-print-directory -j2 B=build-tsan SAN="-fsanitize=thread" check

installcheck: all ## install the extension, test it in private servers
	@scripts/pg-test

check-versions: all ## install and test the extension in PostgreSQL 16, 17 and 18 (servers from PyPI)
	@scripts/pg-versions

check-crash: all ## kill everything 50 times during a job over 5,000 rows; cancel 500 times; 20,000 odd calls
	@DSR1_CRASH_KILLS=50 DSR1_CANCELS=500 DSR1_ARGUMENT_CALLS=20000 \
	    scripts/pg-test tap tests/tap/007_crash.pl tests/tap/008_arguments.pl tests/tap/009_cancel_often.pl

check-valgrind-pg: all ## the tests of the extension in SQL, with the server below valgrind
	@scripts/pg-test valgrind

.PHONY: tests-built check-asan check-lsp-asan check-tsan check-versions check-crash check-valgrind-pg
.PRECIOUS: $(B)/obj/%.o
-include $(UNIT_SRC:%.c=$(B)/obj/%.d)

# The engine without a model that the tests of pg_ext order about.
FAKE_OBJ := $(B)/obj/tests/fake/fake_engine.o $(B)/obj/tests/fake/script.o

$(B)/tests/fake_engine: $(FAKE_OBJ) $(B)/wire.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^

ALL_TARGETS += $(B)/tests/fake_engine
objects: $(FAKE_OBJ)
-include $(FAKE_OBJ:.o=.d)
