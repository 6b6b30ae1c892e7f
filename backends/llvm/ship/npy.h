/* NumPy's .npy files of exactly one dtype and shape. */
#ifndef GRAPHC_NPY_H
#define GRAPHC_NPY_H

#include <stddef.h>
#include <stdint.h>

enum { MESSAGE = 512 }; /* bytes that an error message may take */

/* An input or output of the program. */
struct tensor {
    const char *name;
    const char *dtype; /* graphc's name, for people */
    const char *descr; /* NumPy's name in files, "<f4" */
    int64_t ndim;
    const int64_t *shape;
    int64_t nbytes;
    int32_t buffer; /* its number */
};

/* Read a whole file into `data`, which has room for the tensor. It must hold exactly this dtype and shape, in C order,
   little-endian, and nothing after it. On success 0; else -1 and why. Nothing is written beyond `data`, whatever the
   file. */
int npy_read(int file, const struct tensor *tensor, void *data, char message[MESSAGE]);

/* Write a tensor so that the path holds either all of it or what it held before. Anything but a regular file (a pipe,
   /dev/null) is written to as it is. `npy_begin` writes a temporary file, `npy_commit` renames it, `npy_abort` removes
   it. On success 0; else -1 and why, and nothing is left behind. */
struct npy_output {
    char *path;      /* where it goes, symbolic links followed */
    char *temporary; /* NULL: written in place */
};
int npy_begin(struct npy_output *output, const char *path, const struct tensor *tensor, const void *data,
              char message[MESSAGE]);
int npy_commit(struct npy_output *output, char message[MESSAGE]);
void npy_abort(struct npy_output *output);

/* Whether two paths name the same file, which need not exist: the same name in the same folder, links followed. */
int npy_same_place(const char *a, const char *b);

/* "(3, 4)" into `text`. */
void npy_shape(char *text, size_t size, int64_t ndim, const int64_t *shape);

#endif
