# The PostgreSQL extension, built by PGXS (pg_ext/Makefile) for the server that PG_CONFIG names.

WIRE_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard core/wire/*.c) $(addprefix core/base/,buffer.c memory.c error.c))
PG_SRC   := $(wildcard pg_ext/*.[ch] pg_ext/*.sql pg_ext/dsr1.control pg_ext/exports.map pg_ext/Makefile)
# PGXS counts on the built-in rules, which ours turns off.
PGXS_RUN  = MAKEFLAGS= $(MAKE) -k -j2 --no-print-directory -s -C $(B)/pg_ext -f $(CURDIR)/pg_ext/Makefile VPATH=$(CURDIR)/pg_ext \
            DSR1_TOP=$(CURDIR) WIRE=$(abspath $(B))/wire.a PG_CONFIG=$(PG_CONFIG) CC="$(CC)" COPT="$(PG_COPT)"
PG_SHARE  = $(DESTDIR)$(shell $(PG_CONFIG) --sharedir)/dsr1
PREFIX   ?= /usr/local
PG_LIB    = $(DESTDIR)$(shell $(PG_CONFIG) --pkglibdir)

$(B)/wire.a: $(WIRE_OBJ)
	@echo "  AR    $@"
	@rm -f $@
	@ar rcs $@ $^

$(B)/pg_ext/dsr1.so: $(PG_SRC) $(B)/wire.a core/include/dsr1.h
	@mkdir -p $(@D)
	@echo "  PGXS  $@"
	@$(PGXS_RUN) all

ALL_TARGETS += $(B)/pg_ext/dsr1.so

# What dsr1.model, dsr1.engine_path and dsr1.trainer_path mean when they are empty. -C: what is the same already is left alone.
install: all ## extension, engine and model into the server that PG_CONFIG names; dsr1 and dsr1-lsp into PREFIX/bin
	@$(PGXS_RUN) install
	@install -C -m 755 $(B)/bin/dsr1-engine $(PG_LIB)/dsr1-engine
	@install -C -m 755 $(B)/bin/dsr1 $(PG_LIB)/dsr1-trainer
	@mkdir -p $(PG_SHARE)
	@install -C -m 644 models/dsr1-default.gguf $(PG_SHARE)/default.gguf
	@mkdir -p $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/dsr1
	@install -C -m 755 $(B)/bin/dsr1 $(B)/bin/dsr1-lsp $(DESTDIR)$(PREFIX)/bin/
	@ln -sf $(patsubst $(DESTDIR)%,%,$(PG_SHARE))/default.gguf $(DESTDIR)$(PREFIX)/share/dsr1/dsr1-default.gguf

uninstall: ## remove what install installed
	@$(PGXS_RUN) uninstall
	@rm -f $(PG_LIB)/dsr1-engine $(PG_LIB)/dsr1-trainer $(PG_SHARE)/default.gguf
	@rm -f $(DESTDIR)$(PREFIX)/bin/dsr1 $(DESTDIR)$(PREFIX)/bin/dsr1-lsp $(DESTDIR)$(PREFIX)/share/dsr1/dsr1-default.gguf
	@rmdir $(PG_SHARE) $(DESTDIR)$(PREFIX)/share/dsr1

.PHONY: uninstall
