/* How many threads this process may use: what `usable_threads` in team.py computes, in C. */
#define _GNU_SOURCE
#include "program.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH = 4096 };

static int64_t at_most(int64_t threads, long long quota, long long period) {
    if (quota <= 0 || period <= 0 || quota / period >= threads) return threads;
    return quota / period > 0 ? quota / period : 1;
}

static long long read_number(const char *folder, const char *name) {
    char path[PATH + 64];
    long long number = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (!file) return 0;
    if (fscanf(file, "%lld", &number) != 1) number = 0;
    fclose(file);
    return number;
}

static int64_t quota_v1(const char *folder, int64_t threads) {
    return at_most(threads, read_number(folder, "cpu.cfs_quota_us"), read_number(folder, "cpu.cfs_period_us"));
}

static int64_t quota_v2(const char *folder, int64_t threads) {
    char path[PATH + 64];
    long long quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    FILE *file = fopen(path, "re");
    if (!file) return threads;
    if (fscanf(file, "%lld %lld", &quota, &period) != 2) quota = 0; /* "max" */
    fclose(file);
    return at_most(threads, quota, period);
}

/* The group's quota and those of the groups above it. Inside a container the group's own path may not be visible; its
   files are then at the root. */
static int64_t walk(const char *root, const char *group, int64_t (*quota)(const char *, int64_t), int64_t threads) {
    char folder[PATH];
    int length = snprintf(folder, sizeof folder, "%s%s", root, group);
    if (length < 0 || length >= PATH) return threads;
    for (;;) {
        threads = quota(folder, threads);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < strlen(root)) return threads;
        *slash = '\0';
    }
}

static int has_controller(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += length)
        if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == '\0')) return 1;
    return 0;
}

static int64_t quotas(int64_t threads) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH];
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        controllers++;
        if (!*controllers) threads = walk("/sys/fs/cgroup", group, quota_v2, threads);
        if (has_controller(controllers, "cpu")) threads = walk("/sys/fs/cgroup/cpu", group, quota_v1, threads);
    }
    if (file) fclose(file);
    return threads;
}

static int64_t affinity(void) {
    /* The kernel's mask may be larger than ours. */
    for (size_t processors = 1024; processors <= 1 << 20; processors *= 2) {
        cpu_set_t *set = CPU_ALLOC(processors);
        if (!set) return 1;
        size_t size = CPU_ALLOC_SIZE(processors);
        int count = sched_getaffinity(0, size, set) ? 0 : CPU_COUNT_S(size, set);
        CPU_FREE(set);
        if (count > 0) return count;
    }
    return 1;
}

int64_t graphc_asked_threads(void) {
    const char *text = getenv("GRAPHC_THREADS");
    if (!text) return 0;
    if (!*text || strspn(text, "0123456789") != strlen(text)) return -1;
    long long asked = strtoll(text, NULL, 10); /* the largest number, if it is larger */
    return asked;
}

int32_t graphc_threads(int64_t asked) {
    int64_t threads = quotas(affinity());
    return (int32_t)(asked > 0 && asked < threads ? asked : threads);
}
