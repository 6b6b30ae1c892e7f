/* What the processor and the operating system offer of what a program's code needs. */
#include "program.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TILE_REGISTERS 0x60000  /* in XCR0 */

/* The registers that the operating system saves. */
static uint64_t saved_registers(void) {
    uint32_t a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static int has(const struct feature *f, uint64_t saved) {
    uint32_t r[4];
    if (!__get_cpuid_count(f->leaf, f->subleaf, &r[0], &r[1], &r[2], &r[3])) return 0;
    return (r[f->place] >> f->bit & 1) && (saved & f->state) == f->state;
}

/* Linux gives a process the registers of tiles when it asks for them. */
static int may_use_tiles(void) {
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XFEATURE_XTILEDATA */) == 0;
}

const char *graphc_missing_feature(const struct feature *features) {
    uint64_t saved = saved_registers();
    for (; features->name; features++)
        if (!has(features, saved) || (features->state == TILE_REGISTERS && !may_use_tiles())) return features->name;
    return NULL;
}

#else

const char *graphc_missing_feature(const struct feature *features) {
    (void)features;
    return NULL;
}

#endif
