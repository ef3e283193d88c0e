/*
 * cpu.h - which instruction set this process uses
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>

enum cpu_level {
    CPU_SCALAR,     /* plain C */
    CPU_AVX2,       /* AVX2, FMA, F16C */
    CPU_AVXVNNI,    /* and AVX-VNNI; some that have AVX-512 lack it */
    CPU_AVX512,     /* AVX-512 F BW VL DQ and VNNI */
    CPU_AVX512BF16, /* and BF16, where its products are faster than those of floats */
    CPU_LEVELS
};

/*
 * The best level this CPU and operating system offer, lowered by DSR1_CPU =
 * scalar | avx2 | avxvnni | avx512 | avx512bf16 in the environment. Decided once per process.
 */
enum cpu_level cpu_level(void);

/* The best that the hardware has: without the environment, and even where the level below is faster. */
enum cpu_level cpu_level_hardware(void);
bool cpu_has_level(enum cpu_level level);

const char *cpu_level_name(enum cpu_level level);

/* What is fetched ahead of what is read: nothing, or lines into the second level, or straight into the first. */
enum cpu_fetch { CPU_FETCH_NOTHING, CPU_FETCH_L2, CPU_FETCH_L1 };

/*
 * What suits this core where each line is worked on; `plain`: the program does nothing but read on. Cores see such a
 * run themselves, but Intel's and Zen 3's are too short ahead of it (one column of Q4_K reads 10 GB/s for 13.5), and
 * Zen 5 reads no more than half of what it can (19 GB/s for 37). Zen 4 does it best alone: fetching costs a quarter.
 */
enum cpu_fetch cpu_fetch(bool plain);

/* Brand string, "AMD EPYC ..."; "unknown" where there is none. */
const char *cpu_brand(void);

/* Cores this process may run on (affinity and cgroup quota), at least 1. */
int cpu_count(void);

#endif
