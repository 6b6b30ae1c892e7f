/* Reading and writing .npy files, versions 1.0 to 3.0: magic, version, length of a header, a header that is the text of
   a Python dict, the elements. The reader believes nothing: it is given files by strangers. */
#define _GNU_SOURCE
#include "npy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_HEADER = 1 << 16, MAX_DIMENSIONS = 64 };

static int fail(char message[MESSAGE], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, MESSAGE, format, arguments);
    va_end(arguments);
    return -1;
}

void npy_shape(char *text, size_t size, int64_t ndim, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, size, "(");
    for (int64_t axis = 0; axis < ndim && used < size; axis++)
        used += (size_t)snprintf(text + used, size - used, "%s%lld", axis ? ", " : "", (long long)shape[axis]);
    if (used < size) snprintf(text + used, size - used, ndim == 1 ? ",)" : ")");
}

/* Up to `size` bytes; fewer only at the end of the file. -1: the system can't read it. */
static int64_t read_fully(int file, void *data, int64_t size) {
    int64_t done = 0;
    while (done < size) {
        int64_t chunk = size - done < (1 << 30) ? size - done : 1 << 30;
        ssize_t got = read(file, (char *)data + done, (size_t)chunk);
        if (got == 0) break;
        if (got < 0 && errno != EINTR) return -1;
        if (got > 0) done += got;
    }
    return done;
}

/* What a header says. */
struct header {
    char descr[32];
    int fortran;
    int64_t ndim;
    int64_t shape[MAX_DIMENSIONS];
};

static void skip_space(const char **at) {
    while (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r') ++*at;
}

/* Whether the text goes on with `expected`, after space; if so, step over it. */
static int take(const char **at, const char *expected) {
    skip_space(at);
    size_t length = strlen(expected);
    if (strncmp(*at, expected, length) != 0) return 0;
    *at += length;
    return 1;
}

static int take_string(const char **at, char *text, size_t size) {
    skip_space(at);
    char quote = **at;
    if (quote != '\'' && quote != '"') return 0;
    size_t length = 0;
    for (++*at; **at != quote; ++*at) {
        if (**at == '\0' || **at == '\\' || length + 1 >= size) return 0;
        text[length++] = **at;
    }
    text[length] = '\0';
    ++*at;
    return 1;
}

static int take_shape(const char **at, struct header *header) {
    if (!take(at, "(")) return 0;
    header->ndim = 0;
    while (!take(at, ")")) {
        skip_space(at);
        if (header->ndim == MAX_DIMENSIONS || **at < '0' || **at > '9') return 0;
        int64_t size = 0;
        for (; **at >= '0' && **at <= '9'; ++*at) {
            if (size > (INT64_MAX - 9) / 10) return 0;
            size = 10 * size + (**at - '0');
        }
        if (**at == 'L') ++*at; /* Python 2 wrote long integers so */
        header->shape[header->ndim++] = size;
        if (!take(at, ",")) return take(at, ")") && header->ndim > 1;
    }
    return 1;
}

/* The text of a dict with exactly the three keys, in any order, each once. */
static int parse(const char *at, struct header *header) {
    enum { DESCR = 1, FORTRAN = 2, SHAPE = 4 };
    int seen = 0;
    if (!take(&at, "{")) return 0;
    while (!take(&at, "}")) {
        char key[16];
        if (!take_string(&at, key, sizeof key) || !take(&at, ":")) return 0;
        int found = !strcmp(key, "descr") ? DESCR : !strcmp(key, "fortran_order") ? FORTRAN : SHAPE;
        if ((found == SHAPE && strcmp(key, "shape") != 0) || seen & found) return 0;
        seen |= found;
        if (found == DESCR && !take_string(&at, header->descr, sizeof header->descr)) return 0;
        if (found == SHAPE && !take_shape(&at, header)) return 0;
        if (found == FORTRAN) {
            header->fortran = take(&at, "True");
            if (!header->fortran && !take(&at, "False")) return 0;
        }
        if (!take(&at, ",")) {
            if (!take(&at, "}")) return 0;
            break;
        }
    }
    skip_space(&at);
    return *at == '\0' && seen == (DESCR | FORTRAN | SHAPE);
}

static int read_header(int file, struct header *header, char message[MESSAGE]) {
    unsigned char start[12];
    int64_t got = read_fully(file, start, 10);
    if (got < 0) return fail(message, "can't be read: %s", strerror(errno));
    if (got < 8 || memcmp(start, "\x93NUMPY", 6) != 0) return fail(message, "is no .npy file");
    int version = start[6];
    if (version < 1 || version > 3 || start[7] != 0)
        return fail(message, "has .npy version %d.%d, which is none of 1.0, 2.0 and 3.0", version, start[7]);
    if (got == 10 && version > 1) got += read_fully(file, start + 10, 2) == 2 ? 2 : -2;
    if (got < (version > 1 ? 12 : 10)) return fail(message, "is cut off within its header");
    uint32_t length = start[8] | (uint32_t)start[9] << 8;
    if (version > 1) length |= (uint32_t)start[10] << 16 | (uint32_t)start[11] << 24;
    if (length > MAX_HEADER)
        return fail(message, "has a header of %lu bytes, more than %d", (unsigned long)length, MAX_HEADER);

    char *text = malloc(length + 1);
    if (!text) return fail(message, "needs more memory than there is");
    got = read_fully(file, text, length);
    int ok = got == (int64_t)length && !memchr(text, 0, length);
    text[length] = '\0';
    ok = ok && parse(text, header);
    free(text);
    if (got < (int64_t)length) return fail(message, "is cut off within its header");
    return ok ? 0 : fail(message, "has a header that is no plain array's");
}

/* '<', '|' and '=' mean the same where there is nothing to swap: on the little-endian machines we compile for. */
static int same_descr(const char *got, const char *expected) {
    if (strchr("<|=", *expected) && strchr("<|=", *got) && *got) return strcmp(got + 1, expected + 1) == 0;
    return strcmp(got, expected) == 0;
}

static int check(const struct header *header, const struct tensor *tensor, char message[MESSAGE]) {
    if (*header->descr == '>') return fail(message, "is big-endian (%s); save it as %s", header->descr, tensor->descr);
    if (!same_descr(header->descr, tensor->descr))
        return fail(message, "has dtype %s, but %s is %s (%s)", header->descr, tensor->name, tensor->dtype,
                    tensor->descr);
    int same = header->ndim == tensor->ndim;
    for (int64_t axis = 0; same && axis < tensor->ndim; axis++) same = header->shape[axis] == tensor->shape[axis];
    if (!same) {
        char got[128], expected[128];
        npy_shape(got, sizeof got, header->ndim, header->shape);
        npy_shape(expected, sizeof expected, tensor->ndim, tensor->shape);
        return fail(message, "has shape %s, but %s has shape %s", got, tensor->name, expected);
    }
    if (header->fortran && tensor->ndim > 1)
        return fail(message, "is in Fortran order; save it with numpy.ascontiguousarray");
    return 0;
}

int npy_read(int file, const struct tensor *tensor, void *data, char message[MESSAGE]) {
    struct header header;
    if (read_header(file, &header, message) || check(&header, tensor, message)) return -1;
    int64_t got = read_fully(file, data, tensor->nbytes);
    if (got < 0) return fail(message, "can't be read: %s", strerror(errno));
    if (got < tensor->nbytes)
        return fail(message, "is cut off: %lld of %lld bytes of elements", (long long)got, (long long)tensor->nbytes);
    char more;
    if (read_fully(file, &more, 1) > 0) return fail(message, "goes on after its last element");
    if (!strcmp(tensor->dtype, "bool"))
        for (int64_t i = 0; i < tensor->nbytes; i++) ((unsigned char *)data)[i] = ((unsigned char *)data)[i] != 0;
    return 0;
}

static int write_fully(int file, const void *data, int64_t size) {
    for (int64_t done = 0; done < size;) {
        int64_t chunk = size - done < (1 << 30) ? size - done : 1 << 30;
        ssize_t put = write(file, (const char *)data + done, (size_t)chunk);
        if (put < 0 && errno != EINTR) return -1;
        if (put > 0) done += put;
    }
    return 0;
}

/* Version 1.0, the elements at a multiple of 64 bytes, as NumPy writes it. */
static int write_tensor(int file, const struct tensor *tensor, const void *data) {
    char shape[32 * MAX_DIMENSIONS], header[sizeof shape + 256];
    npy_shape(shape, sizeof shape, tensor->ndim, tensor->shape);
    int text = snprintf(header + 10, sizeof header - 10, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }",
                        tensor->descr, shape);
    size_t length = 10 + (size_t)text;
    while (length % 64 != 63) header[length++] = ' ';
    header[length++] = '\n';
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((length - 10) & 255);
    header[9] = (char)((length - 10) >> 8);
    return write_fully(file, header, (int64_t)length) || write_fully(file, data, tensor->nbytes);
}

enum { MAX_LINKS = 40 };

/* The path with symbolic links followed, of a file that may not exist yet; NULL and errno if there is no such folder. */
static char *resolve(const char *path) {
    char *name = strdup(path);
    for (int links = 0; name && links < MAX_LINKS; links++) {
        char *found = realpath(name, NULL), target[4096];
        if (found || errno != ENOENT) return free(name), found;
        ssize_t length = readlink(name, target, sizeof target - 1); /* a link to what is not there yet */
        char *slash = strrchr(name, '/');
        int start = slash ? (int)(slash - name) + 1 : 0;
        char *next = NULL;
        if (length < 0) { /* no link: the folder is there, the file is not */
            char *base = strdup(name + start);
            name[start] = '\0';
            char *folder = realpath(start ? name : ".", NULL);
            if (base && folder && asprintf(&next, "%s/%s", strcmp(folder, "/") ? folder : "", base) < 0) next = NULL;
            free(base);
            free(folder);
            return free(name), next;
        }
        target[length] = '\0';
        if (asprintf(&next, "%.*s%s", *target == '/' ? 0 : start, name, target) < 0) next = NULL;
        free(name);
        name = next;
    }
    free(name);
    errno = ELOOP;
    return NULL;
}

int npy_same_place(const char *a, const char *b) {
    char *x = resolve(a), *y = resolve(b);
    int same = x && y ? !strcmp(x, y) : !strcmp(a, b);
    free(x);
    free(y);
    return same;
}

/* The temporary file is no more. A signal may come at any time, and look at its name. */
static void forget(struct npy_output *output) {
    char *name = output->temporary;
    output->temporary = NULL;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    free(name);
}

int npy_begin(struct npy_output *output, const char *path, const struct tensor *tensor, const void *data,
              char message[MESSAGE]) {
    struct stat status;
    int in_place = stat(path, &status) == 0 && !S_ISREG(status.st_mode);
    output->temporary = NULL;
    output->path = in_place ? strdup(path) : resolve(path); /* what is no file may have no path, as a pipe */
    if (!output->path) return fail(message, "can't be written: %s", strerror(errno));
    int file;
    if (in_place) {
        file = open(output->path, O_WRONLY | O_CLOEXEC);
    } else {
        if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
            output->temporary = NULL;
            npy_abort(output);
            return fail(message, "needs more memory than there is");
        }
        file = mkostemp(output->temporary, O_CLOEXEC);
        if (file < 0) {
            forget(output); /* it does not exist: there is nothing to remove */
        } else {
            mode_t mask = umask(0);
            umask(mask);
            fchmod(file, 0666 & ~mask);
        }
    }
    int failed = file < 0 || write_tensor(file, tensor, data);
    if (!failed && !in_place && fsync(file) && errno != EINVAL && errno != EROFS) failed = 1;
    int reason = errno;
    if (file >= 0 && close(file) && !failed) failed = 1, reason = errno;
    if (!failed) return 0;
    npy_abort(output);
    return fail(message, "can't be written: %s", strerror(reason));
}

int npy_commit(struct npy_output *output, char message[MESSAGE]) {
    int failed = output->temporary && rename(output->temporary, output->path);
    if (failed) {
        fail(message, "can't be written: %s", strerror(errno));
    } else {
        forget(output);
    }
    npy_abort(output);
    return failed ? -1 : 0;
}

void npy_abort(struct npy_output *output) {
    if (output->temporary) unlink(output->temporary);
    forget(output);
    free(output->path);
    output->path = NULL;
}
