# The language server: build/bin/dsr1-lsp. Its parts are an archive, which its unit tests and fuzz targets link, too.

LSP_SRC := $(wildcard lsp_bridge/*.c)
LSP_OBJ := $(LSP_SRC:%.c=$(B)/obj/%.o)

$(B)/obj/lsp_bridge/%.o: CFLAGS_FILE := -Ilsp_bridge

$(B)/lsp_bridge.a: $(filter-out %/main.o,$(LSP_OBJ))
	@echo "  AR    $@"
	@rm -f $@
	@ar rcs $@ $^

$(B)/bin/dsr1-lsp: $(B)/obj/lsp_bridge/main.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -ljansson

$(B)/tests/unit/test_lsp_%: $(B)/obj/tests/unit/test_lsp_%.o $(B)/lsp_bridge.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -lcmocka -ljansson

ALL_TARGETS += $(B)/bin/dsr1-lsp
-include $(LSP_OBJ:.o=.d)
