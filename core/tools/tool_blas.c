/*
 * tool_blas.c - OpenBLAS kernels that suit the CPU
 *
 * OpenBLAS goes by the CPU's model number. A release that is older than the CPU does not know it and takes
 * kernels for a Pentium 4: on a 2023 Xeon, 0.3.21 multiplies at 25 GFLOPS a core that way, and at 150 with the kernels
 * that it has for the same instruction set. It chooses while the program is loaded, so the program starts once more.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#include "tools/tool.h"

#include "base/cpu.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cblas.h>

static const char variable[] = "OPENBLAS_CORETYPE";

/* Kernels without AVX2, which OpenBLAS chooses when it knows no better. */
static bool chosen_for_want_of_better(const char *core)
{
    static const char *const cores[] = {"Prescott", "Core2", "Nehalem", "Sandybridge", "Barcelona", "generic"};
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (strcmp(core, cores[i]) == 0)
            return true;
    return false;
}

void tool_tune_blas(char **argv)
{
    enum cpu_level level = cpu_level_hardware();
    const char *core = level == CPU_SCALAR ? NULL : level < CPU_AVX512 ? "Haswell" : "SkylakeX";
    if (!core || getenv(variable) || !chosen_for_want_of_better(openblas_get_corename()))
        return;
    if (setenv(variable, core, 0) == 0)
        execv("/proc/self/exe", argv);
    log_line(LOG_WARN, "training is slow: OpenBLAS does not know this CPU, and %s=%s could not be set: %s", variable,
                core, strerror(errno));
}
