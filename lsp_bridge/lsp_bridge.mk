# The language server: build/bin/dsr1-lsp. Its parts are an archive, which its unit tests and fuzz targets link, too.

LSP_SRC := $(wildcard lsp_bridge/*.c)
LSP_OBJ := $(LSP_SRC:%.c=$(B)/obj/%.o)

LSP_LIBS := -ljansson $(shell pkg-config --libs libpq)

$(B)/obj/lsp_bridge/%.o: CFLAGS_FILE := -Ilsp_bridge $(shell pkg-config --cflags libpq)

$(B)/lsp_bridge.a: $(filter-out %/main.o,$(LSP_OBJ))
	@echo "  AR    $@"
	@rm -f $@
	@ar rcs $@ $^

$(B)/bin/dsr1-lsp: $(B)/obj/lsp_bridge/main.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(LSP_LIBS)

$(B)/tests/unit/test_lsp_%: $(B)/obj/tests/unit/test_lsp_%.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka $(LSP_LIBS)

# The extension for VS Code, with its dependencies from npm.
$(B)/dsr1-lsp.vsix: scripts/make-vsix $(wildcard editors/vscode/*)
	@mkdir -p $(@D)
	@node scripts/make-vsix $@

vscode: $(B)/dsr1-lsp.vsix ## the extension for VS Code, build/dsr1-lsp.vsix

test-editors: $(B)/bin/dsr1-lsp ## VS Code in a headless browser, and Kate, show our suggestion (installs some 800 MB the first time)
	@scripts/test-editors

check-valgrind-lsp: $(B)/bin/dsr1-lsp ## a recorded session of an editor, replayed below valgrind
	@scripts/lsp-valgrind

.PHONY: vscode test-editors check-valgrind-lsp

ALL_TARGETS += $(B)/bin/dsr1-lsp
-include $(LSP_OBJ:.o=.d)
