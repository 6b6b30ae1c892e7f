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
};

struct model {
    const char *target;
    int64_t buffers;
    struct tensors inputs, outputs;
    struct tasks prepare, steps;
    int64_t flags;                             /* of the context */
    struct places arena, prepared, constants, variables;
    int64_t arena_bytes, prepared_bytes;
    const unsigned char *constant_data;        /* read only */
    unsigned char *variable_data;
    const char *(*missing_feature)(void);      /* what the code needs and this processor lacks, or NULL */
};

extern const struct model graphc_model;

int64_t graphc_call(struct Context *context, struct Team *team);
int32_t graphc_team_start(struct Team *team, int32_t threads, int32_t spin);

/* Threads to run with: as many as the affinity mask and the control groups' CPU quotas allow, and GRAPHC_THREADS. */
int32_t graphc_threads(int64_t asked);

/* GRAPHC_THREADS: 0 for all, also where it is not set; -1 for what is no number. */
int64_t graphc_asked_threads(void);

#endif
