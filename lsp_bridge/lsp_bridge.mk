# The language server: build/bin/dsr1-lsp.

LSP_SRC := $(wildcard lsp_bridge/*.c)

$(B)/obj/lsp_bridge/%.o: CFLAGS_FILE := -Ilsp_bridge

$(B)/bin/dsr1-lsp: $(LSP_SRC:%.c=$(B)/obj/%.o) $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) -ljansson

ALL_TARGETS += $(B)/bin/dsr1-lsp
-include $(LSP_SRC:%.c=$(B)/obj/%.d)
