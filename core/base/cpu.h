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
    CPU_AVX512,     /* AVX-512 F BW VL DQ and VNNI */
    CPU_LEVELS
};

/*
 * The best level this CPU and operating system offer, lowered by DSR1_CPU =
 * scalar | avx2 | avx512 in the environment. Decided once per process.
 */
enum cpu_level cpu_level(void);

/* The same without the environment: what the hardware has. */
enum cpu_level cpu_level_hardware(void);

const char *cpu_level_name(enum cpu_level level);

/*
 * Whether a plain run through memory has to be fetched ahead by the program. Intel's cores see the stream but run too
 * short ahead of it where each line is worked on: one column of Q4_K reads 13.5 instead of 10 GB/s. AMD's (Zen 4) do it
 * best alone: fetching as well costs a quarter.
 */
bool cpu_wants_fetching(void);

/* Brand string, "AMD EPYC ..."; "unknown" where there is none. */
const char *cpu_brand(void);

/* Cores this process may run on (affinity and cgroup quota), at least 1. */
int cpu_count(void);

#endif
