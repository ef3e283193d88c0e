# The inference core: build/libdsr1.a and .so, and the programs dsr1 and dsr1-engine.

CORE_DIRS   := base gguf kernel kv wire text model constrain serve api
# Schemas are read with jansson.
LIBS        += -ljansson
CORE_SRC    := $(foreach d,$(CORE_DIRS),$(wildcard core/$(d)/*.c))
CORE_OBJ    := $(CORE_SRC:%.c=$(B)/obj/%.o)
TOOLS_SRC   := $(wildcard core/tools/*.c)
DAEMON_SRC  := $(wildcard core/daemon/*.c)

# Kernels end in their CPU; only they may use its instructions. Sanitizers take minutes over them
# beyond -O1; parsers are what is fuzzed, so that there they go without.
KERNEL_OPT   := $(if $(SAN),-O1,-O3) $(if $(findstring fuzzer,$(SAN)),-fno-sanitize=all)
AVX2_FLAGS   := $(KERNEL_OPT) -mavx2 -mfma -mf16c -mprefer-vector-width=256
AVX512_FLAGS := $(KERNEL_OPT) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c \
                -mprefer-vector-width=512

$(B)/obj/%_avx2.o: CFLAGS_CPU := $(AVX2_FLAGS)
$(B)/obj/%_avxvnni.o: CFLAGS_CPU := $(AVX2_FLAGS) -mavxvnni
$(B)/obj/%_avx512.o: CFLAGS_CPU := $(AVX512_FLAGS)
$(B)/obj/%_avx512bf16.o: CFLAGS_CPU := $(AVX512_FLAGS) -mavx512bf16
# Where each variable of the tiles is would take gcc longer to write down than the tiles.
$(B)/obj/core/kernel/matmul_%.o: CFLAGS_FILE := -g1

$(B)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_CPU) $(CFLAGS_FILE) -MMD -MP -c -o $@ $<

$(B)/libdsr1.a: $(CORE_OBJ)
	@echo "  AR    $@"
	@rm -f $@
	@ar rcs $@ $^

$(B)/libdsr1.so: $(CORE_OBJ)
	@echo "  LD    $@"
	@$(CC) -shared $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

$(B)/bin/dsr1: $(TOOLS_SRC:%.c=$(B)/obj/%.o) $(B)/libdsr1_train.a $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(TRAIN_LIBS)

$(B)/bin/dsr1-engine: $(DAEMON_SRC:%.c=$(B)/obj/%.o) $(B)/libdsr1.a
	@mkdir -p $(@D)
	@echo "  LD    $@"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

include core/train/train.mk

ALL_TARGETS += $(B)/bin/dsr1 $(B)/bin/dsr1-engine
-include $(CORE_OBJ:.o=.d) $(TOOLS_SRC:%.c=$(B)/obj/%.d) $(DAEMON_SRC:%.c=$(B)/obj/%.d)
