/* The command line of a standalone program: files in, files out. It accepts exactly the shapes and dtypes it was
   compiled for; whatever else it is given ends with one line on stderr and exit code 2. */
#define _GNU_SOURCE
#include "program.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20, LARGE = 4 << 20, WARM_UP = 3, MAX_RUNS = 100000000 };

static const char *program = "program";

static _Noreturn void die(const char *format, ...) {
    char text[2 * MESSAGE + 4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++)
        if (iscntrl((unsigned char)*at)) *at = '?'; /* names and headers may hold anything; an error is one line */
    fprintf(stderr, "%s: %s\n", program, text);
    exit(2);
}

/* Large memory is on huge pages where the system has them, as NumPy's is. */
static void *allocate(int64_t bytes) {
    size_t alignment = bytes < LARGE ? ALIGNMENT : HUGE_PAGE;
    size_t rounded = ((size_t)bytes + alignment) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded);
    if (!memory) die("needs %lld bytes more memory than there is", (long long)bytes);
    if (bytes >= LARGE) madvise(memory, rounded, MADV_HUGEPAGE);
    return memory;
}

/* ---- the command line ---- */

struct options {
    const char **inputs, **outputs;
    int64_t input_count, output_count;
    int64_t runs; /* 0: no --bench */
};

static void print_tensors(const char *title, struct tensors tensors) {
    for (int64_t i = 0; i < tensors.count; i++) {
        char shape[1024];
        const struct tensor *t = &tensors.at[i];
        npy_shape(shape, sizeof shape, t->ndim, t->shape);
        printf("%-8s %s: %s %s\n", i ? "" : title, t->name, t->dtype, shape);
    }
}

static _Noreturn void help(void) {
    const struct model *m = &graphc_model;
    printf("usage: %s", program);
    for (int64_t i = 0; i < m->inputs.count; i++) printf(" %s.npy", m->inputs.at[i].name);
    for (int64_t i = 0; i < m->outputs.count; i++) printf(" -o %s.npy", m->outputs.at[i].name);
    printf("\n       %s --bench N [inputs] [-o output]\n\n", program);
    print_tensors("inputs", m->inputs);
    print_tensors("outputs", m->outputs);
    printf("\nFiles are NumPy's .npy, of exactly these dtypes and shapes, in C order. --bench N times N runs, on\n"
           "zeros if no inputs are given. GRAPHC_THREADS limits the threads. Exit code 2 for every error.\n"
           "Compiled by graphc for %s.\n", m->target);
    exit(fflush(stdout) ? 2 : 0);
}

static int64_t parse_runs(const char *text) {
    char *end;
    errno = 0;
    long long runs = text ? strtoll(text, &end, 10) : 0;
    if (!text || errno || *end || runs < 1 || runs > MAX_RUNS) die("--bench needs a number of runs, 1 to %d", MAX_RUNS);
    return runs;
}

static struct options parse_options(int count, char **arguments) {
    struct options o = {allocate(count * (int64_t)sizeof(char *)), allocate(count * (int64_t)sizeof(char *)), 0, 0, 0};
    int only_files = 0;
    for (int i = 1; i < count; i++) {
        const char *word = arguments[i];
        if (only_files || word[0] != '-' || !word[1]) {
            o.inputs[o.input_count++] = word;
        } else if (!strcmp(word, "--")) {
            only_files = 1;
        } else if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            help();
        } else if (!strcmp(word, "--bench")) {
            o.runs = parse_runs(i + 1 < count ? arguments[++i] : NULL);
        } else if (!strcmp(word, "-o")) {
            if (++i == count) die("-o needs the name of a file");
            o.outputs[o.output_count++] = arguments[i];
        } else {
            die("there is no option %s; --help shows what there is", word);
        }
    }
    const struct model *m = &graphc_model;
    if (o.input_count != m->inputs.count && !(o.runs && !o.input_count))
        die("needs %lld input files, got %lld; --help shows them", (long long)m->inputs.count,
            (long long)o.input_count);
    if (o.output_count != m->outputs.count && !(o.runs && !o.output_count))
        die("needs -o for each of %lld outputs, got %lld; --help shows them", (long long)m->outputs.count,
            (long long)o.output_count);
    for (int64_t i = 0; i < o.output_count; i++)
        for (int64_t j = 0; j < i; j++)
            if (npy_same_place(o.outputs[i], o.outputs[j])) die("%s is named for two outputs", o.outputs[i]);
    return o;
}

/* ---- running ---- */

struct running {
    void **buffers;
    struct Context prepare, steps;
    struct Team *team;
    int32_t threads;
};

static void bind(void **buffers, struct places places, unsigned char *memory) {
    for (int64_t i = 0; i < places.count; i++) buffers[places.at[i].buffer] = memory + places.at[i].offset;
}

static void make_room(void **buffers, struct tensors tensors) {
    for (int64_t i = 0; i < tensors.count; i++) buffers[tensors.at[i].buffer] = allocate(tensors.at[i].nbytes);
}

static struct Context context(struct running *r, struct tasks tasks) {
    struct Context c = {0};
    c.buffers = r->buffers;
    c.tasks = (void *)tasks.at;
    c.rows = (void *)tasks.rows;
    c.row_count = tasks.row_count;
    c.windows = (void *)tasks.windows;
    c.swaps = (void *)tasks.swaps;
    c.flags = tasks.flags;
    c.taken = allocate(tasks.count * (int64_t)sizeof(int64_t));
    return c;
}

static void set_up(struct running *r) {
    const struct model *m = &graphc_model;
    r->buffers = allocate(m->buffers * (int64_t)sizeof(void *));
    bind(r->buffers, m->arena, allocate(m->arena_bytes));
    bind(r->buffers, m->prepared, allocate(m->prepared_bytes));
    bind(r->buffers, m->constants, (unsigned char *)m->constant_data);
    bind(r->buffers, m->variables, m->variable_data);
    make_room(r->buffers, m->inputs);
    make_room(r->buffers, m->outputs);
    r->prepare = context(r, m->prepare);
    r->steps = context(r, m->steps);
    int64_t asked = graphc_asked_threads();
    if (asked < 0) die("GRAPHC_THREADS is a number of threads, or 0 for all, not %s", getenv("GRAPHC_THREADS"));
    r->threads = m->prepare.flags & m->steps.flags & SEQUENTIAL ? 1 : graphc_threads(asked);
    r->team = allocate(sizeof *r->team);
    if (graphc_team_start(r->team, r->threads, SPIN) != r->threads)
        die("the system refused to start %d threads; set GRAPHC_THREADS lower", r->threads);
}

static void call(struct running *r, struct Context *c, struct tasks tasks) {
    int64_t status = graphc_call(c, r->team);
    if (status)
        die("index %lld lies outside its axis%s%s", (long long)c->bad_index, *tasks.where[status - 1] ? ", at " : "",
            tasks.where[status - 1]);
}

static void read_inputs(struct running *r, const struct options *o) {
    char message[MESSAGE];
    for (int64_t i = 0; i < graphc_model.inputs.count; i++) {
        const struct tensor *t = &graphc_model.inputs.at[i];
        if (!o->input_count) {
            memset(r->buffers[t->buffer], 0, (size_t)t->nbytes);
            continue;
        }
        int file = open(o->inputs[i], O_RDONLY | O_CLOEXEC);
        if (file < 0) die("%s can't be read: %s", o->inputs[i], strerror(errno));
        if (npy_read(file, t, r->buffers[t->buffer], message)) die("%s %s", o->inputs[i], message);
        close(file);
    }
}

static struct npy_output *pending; /* outputs that are not complete yet */
static volatile sig_atomic_t pending_count;

/* The end by a signal leaves no temporary files behind. */
static void clean_up(int number) {
    for (int i = 0; i < pending_count; i++)
        if (pending[i].temporary) unlink(pending[i].temporary);
    signal(number, SIG_DFL);
    raise(number);
}

static void catch_signals(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGXCPU};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (signal(ends[i], clean_up) == SIG_IGN) signal(ends[i], SIG_IGN); /* as under nohup */
    signal(SIGXFSZ, SIG_IGN); /* a file that grows too large is an error like a full disk */
}

/* All files are complete before the first takes its name. */
static void write_outputs(struct running *r, const struct options *o) {
    char message[MESSAGE];
    struct npy_output *files = allocate(o->output_count * (int64_t)sizeof *files);
    memset(files, 0, (size_t)o->output_count * sizeof *files);
    pending = files;
    pending_count = (sig_atomic_t)o->output_count;
    for (int64_t i = 0; i < o->output_count; i++) {
        const struct tensor *t = &graphc_model.outputs.at[i];
        if (npy_begin(&files[i], o->outputs[i], t, r->buffers[t->buffer], message)) {
            for (int64_t j = 0; j < i; j++) npy_abort(&files[j]);
            die("%s %s", o->outputs[i], message);
        }
    }
    for (int64_t i = 0; i < o->output_count; i++)
        if (npy_commit(&files[i], message)) {
            for (int64_t j = i + 1; j < o->output_count; j++) npy_abort(&files[j]);
            die("%s %s", o->outputs[i], message);
        }
    pending_count = 0;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench(struct running *r, int64_t runs) {
    double *times = allocate(runs * (int64_t)sizeof(double)); /* microseconds */
    for (int64_t i = -WARM_UP; i < runs; i++) {
        double start = now();
        call(r, &r->steps, graphc_model.steps);
        if (i >= 0) times[i] = now() - start;
    }
    qsort(times, (size_t)runs, sizeof(double), ascending);
    double median = runs % 2 ? times[runs / 2] : (times[runs / 2 - 1] + times[runs / 2]) / 2;
    printf("median %.3f us, min %.3f us, %lld runs, %d threads\n", median, times[0], (long long)runs, r->threads);
    if (fflush(stdout)) die("can't write the times: %s", strerror(errno));
    free(times);
}

int main(int count, char **arguments) {
    if (count > 0) {
        const char *slash = strrchr(arguments[0], '/');
        program = slash ? slash + 1 : arguments[0];
    }
    catch_signals();
    struct options options = parse_options(count, arguments);
    const char *missing = graphc_missing_feature(graphc_model.features);
    if (missing) die("was compiled for a processor with %s, which this one lacks", missing);
    struct running running;
    set_up(&running);
    read_inputs(&running, &options);
    call(&running, &running.prepare, graphc_model.prepare);
    if (options.runs) bench(&running, options.runs);
    else call(&running, &running.steps, graphc_model.steps);
    write_outputs(&running, &options);
    return 0;
}
