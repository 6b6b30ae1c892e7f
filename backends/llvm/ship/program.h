/* A compiled model as data: what `program.py` generates and `program.c` runs. */
#ifndef GRAPHC_PROGRAM_H
#define GRAPHC_PROGRAM_H

#include "native.h" /* generated: struct Task, struct Context, struct Team and their flags */
#include "npy.h"

/* Where a buffer lies within the memory of its space. */
struct place {
    int32_t buffer;
    int64_t offset;
};

struct places {
    int64_t count;
    const struct place *at;
};

struct tensors {
    int64_t count;
    const struct tensor *at;
};

struct tasks {
    int64_t count;
    const struct Task *at;
    const char *const *where; /* of each task: the user's line, or "" */
    int64_t row_count;
    const struct Control *rows;
    const struct WindowRow *windows;
    const struct Swap *swaps;
    int64_t flags;            /* of the context */
};

/* Where CPUID reports a feature, and the bits of XCR0 that it needs. */
struct feature {
    const char *name;
    uint32_t leaf, subleaf;
    int32_t place, bit; /* 0 to 3: eax to edx */
    uint64_t state;
};

struct model {
    const char *target;
    int64_t buffers;
    struct tensors inputs, outputs;
    struct tasks prepare, steps;
    struct places arena, prepared, constants, variables;
    int64_t arena_bytes, prepared_bytes;
    const unsigned char *constant_data;        /* read only */
    unsigned char *variable_data;
    const struct feature *features;            /* that the code needs; the last has no name */
};

extern const struct model graphc_model;

int64_t graphc_call(struct Context *context, struct Team *team);
int32_t graphc_team_start(struct Team *team, int32_t threads, int32_t spin);

/* The first feature that this processor, or its operating system, lacks; NULL if there is none. */
const char *graphc_missing_feature(const struct feature *features);

/* Threads to run with: as many as the affinity mask and the control groups' CPU quotas allow, and GRAPHC_THREADS. */
int32_t graphc_threads(int64_t asked);

/* GRAPHC_THREADS: 0 for all, also where it is not set; -1 for what is no number. */
int64_t graphc_asked_threads(void);

#endif
