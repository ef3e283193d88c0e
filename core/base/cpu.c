/*
 * cpu.c - which instruction set this process uses
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "base/cpu.h"

#include "dsr1.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static bool has[CPU_LEVELS];
static enum cpu_level level_chosen;
static char brand[64] = "unknown";
static enum cpu_fetch fetch, fetch_plain;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const char *const level_names[CPU_LEVELS] = {"scalar", "avx2", "avxvnni", "avx512", "avx512bf16"};

#if defined(__x86_64__)
/* Not every compiler's __builtin_cpu_supports knows f16c. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

/* Nor these. */
enum leaf_7_1 { AVX_VNNI = 1 << 4, AVX512_BF16 = 1 << 5 };

static bool has_leaf_7_1(enum leaf_7_1 feature)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & feature);
}
#endif

static void ask_levels(void)
{
    has[CPU_SCALAR] = true;
#if defined(__x86_64__)
    __builtin_cpu_init();
    has[CPU_AVX2] = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    has[CPU_AVXVNNI] = has[CPU_AVX2] && has_leaf_7_1(AVX_VNNI);
    has[CPU_AVX512] = has[CPU_AVX2] && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
    has[CPU_AVX512BF16] = has[CPU_AVX512] && has_leaf_7_1(AVX512_BF16);
#endif
}

/* The best up to most. */
static enum cpu_level best_level(int most)
{
    while (!has[most])
        most--;
    return (enum cpu_level) most;
}

static void read_brand(void)
{
#if defined(__x86_64__)
    unsigned regs[12];
    unsigned max = __get_cpuid_max(0x80000000u, NULL);
    if (max < 0x80000004u)
        return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &regs[4 * i], &regs[4 * i + 1], &regs[4 * i + 2], &regs[4 * i + 3]);
    memcpy(brand, regs, 48);
    brand[48] = 0;
    char *start = brand + strspn(brand, " ");
    memmove(brand, start, strlen(start) + 1);
#endif
}

/* Family of a processor of this maker, else 0. */
static unsigned family_of(const char maker[static 12])
{
#if defined(__x86_64__)
    unsigned max, name[3], a, b, c, d;
    if (!__get_cpuid(0, &max, &name[0], &name[2], &name[1]) || memcmp(name, maker, sizeof name) != 0 ||
        !__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    return (a >> 8 & 15) + (a >> 20 & 255);
#else
    return 0;
#endif
}

static void choose_fetch(void)
{
    enum { ZEN_3_OR_4 = 0x19, ZEN_5 = 0x1a };
    unsigned amd = family_of("AuthenticAMD");
    fetch = amd >= ZEN_5 ? CPU_FETCH_L1 : CPU_FETCH_L2;
    bool zen_3 = amd == ZEN_3_OR_4 && !has[CPU_AVX512];
    fetch_plain = amd >= ZEN_5 || zen_3 || family_of("GenuineIntel") ? fetch : CPU_FETCH_NOTHING;
}

/* Intel's bf16 products run at half the speed of its float FMA, AMD's at twice the speed. */
static enum cpu_level fastest_level(void)
{
    return best_level(family_of("GenuineIntel") ? CPU_AVX512 : CPU_LEVELS - 1);
}

/* Once: under a hypervisor each question leaves the virtual machine. */
static void choose(void)
{
    ask_levels();
    level_chosen = fastest_level();
    const char *wish = getenv("DSR1_CPU");
    for (int i = 0; wish && i < CPU_LEVELS; i++)
        if (strcmp(wish, level_names[i]) == 0 && i < (int) level_chosen)
            level_chosen = best_level(i);
    read_brand();
    choose_fetch();
}

enum cpu_level cpu_level(void)
{
    pthread_once(&once, choose);
    return level_chosen;
}

enum cpu_level cpu_level_hardware(void)
{
    pthread_once(&once, choose);
    return best_level(CPU_LEVELS - 1);
}

bool cpu_has_level(enum cpu_level level)
{
    pthread_once(&once, choose);
    return has[level];
}

const char *cpu_level_name(enum cpu_level level)
{
    return level_names[level];
}

enum cpu_fetch cpu_fetch(bool plain)
{
    pthread_once(&once, choose);
    return plain ? fetch_plain : fetch;
}

const char *cpu_brand(void)
{
    pthread_once(&once, choose);
    return brand;
}

/* A container's CPU quota counts as much as its affinity mask: more threads than quota only wait. */
static int quota_cpus(void)
{
    long quota, period;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (!file)
        return 0;
    int n = fscanf(file, "%ld %ld", &quota, &period);
    fclose(file);
    return n == 2 && period > 0 && quota > 0 ? (int) ((quota + period - 1) / period) : 0;
}

int cpu_count(void)
{
    cpu_set_t set;
    int n = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    int quota = quota_cpus();
    if (quota > 0 && quota < n)
        n = quota;
    return n > 0 ? n : 1;
}

const char *dsr1_cpu_name(void)
{
    return cpu_level_name(cpu_level());
}
