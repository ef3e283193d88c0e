# Training: build/libdsr1_train.a stands apart from the core, so that only what trains needs OpenBLAS.
# libdsr1_train64.a is the same in double precision, for the tests of gradients (core/train/real.h).

TRAIN_SRC   := $(wildcard core/train/*.c)
TRAIN_OBJ   := $(TRAIN_SRC:%.c=$(B)/obj/%.o)
TRAIN64_OBJ := $(TRAIN_SRC:%.c=$(B)/obj64/%.o)
TRAIN_LIBS  := -lopenblas -ljansson

$(TRAIN_OBJ): CFLAGS_FILE := $(if $(SAN),,-O3)

$(B)/obj64/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC64  $<"
	@$(CC) $(CFLAGS_ALL) -DTRAIN_F64 -MMD -MP -c -o $@ $<

$(B)/libdsr1_train.a: $(TRAIN_OBJ)
	@echo "  AR    $@"
	@rm -f $@
	@ar rcs $@ $^

$(B)/libdsr1_train64.a: $(TRAIN64_OBJ)
	@echo "  AR    $@"
	@rm -f $@
	@ar rcs $@ $^

# tests/unit/test_train_*.c use the floats, tests/unit/test_train_f64_*.c the doubles.
$(B)/obj/tests/unit/test_train_f64_%.o: CFLAGS_FILE := -Itests -DTRAIN_F64

$(B)/tests/unit/test_train_f64_%: $(B)/obj/tests/unit/test_train_f64_%.o $(B)/libdsr1_train64.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(TRAIN_LIBS) -lcmocka

$(B)/tests/unit/test_train_%: $(B)/obj/tests/unit/test_train_%.o $(B)/libdsr1_train.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(TRAIN_LIBS) -lcmocka

objects: $(TRAIN_OBJ) $(TRAIN64_OBJ)

-include $(TRAIN_OBJ:.o=.d) $(TRAIN64_OBJ:.o=.d)
