"""The text of `main.c`, a complete program around a generated model. `@NAME@` is filled in by `embed.main_program`."""

from __future__ import annotations

from typing import Final

__all__ = ["MAIN_TEMPLATE"]

MAIN_TEMPLATE: Final = r"""/* Runs a model compiled by polydl; prints a checksum of each output and the time of a run.

   cc -O2 main.c model.o -lm -pthread -o model        (or: model.c, or: -L. -lmodel)
   ./model [-t THREADS] [-n ROUNDS] [-s SEED] [-w WEIGHTS] [-z SIZE=VALUE]... [-i FILE]... [-o FILE]...

   The k-th -i names the raw bytes of the k-th input, the k-th -o receives those of the k-th output. Inputs without a
   file are seeded: floating point in [-1, 1), integers 0 to 9, truth values 0 or 1. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "@HEADER@"

#define MAX_FILES 4096

struct tensor {
    const char *name;
    char kind; /* f, i, u, b */
    size_t width, elements;
};

struct job {
    void *const *inputs, *const *outputs;
    const void *constants;
    void *workspace, *barrier;
    const int64_t *sizes;
    int64_t threads;
    long rounds;
    pthread_barrier_t *gate;
    double best;
    int32_t code;
};

struct worker {
    struct job *job;
    int64_t thread;
};

static void fail(const char *what, const char *which) {
    fprintf(stderr, "error: %s: %s\n", what, which);
    exit(1);
}

static void *aligned(size_t bytes) {
    void *memory = 0;
    size_t room = (bytes + 63) / 64 * 64;
    if (posix_memalign(&memory, 4096, room ? room : 64)) fail("out of memory", "buffer");
    memset(memory, 0, room ? room : 64);
    return memory;
}

static const void *map_weights(const char *path, size_t bytes) {
    struct stat found;
    void *memory;
    int handle;
    if (!bytes) return 0;
    handle = open(path, O_RDONLY);
    if (handle < 0 || fstat(handle, &found)) fail("cannot open the weights", path);
    if ((size_t)found.st_size != bytes) fail("wrong size of the weights", path);
    memory = mmap(0, bytes, PROT_READ, MAP_PRIVATE, handle, 0);
    if (memory == MAP_FAILED) fail("cannot map the weights", path);
    close(handle);
    return memory;
}

/* splitmix64 */
static uint64_t next(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void seeded(unsigned char *data, const struct tensor *t, uint64_t *state) {
    size_t i;
    for (i = 0; i < t->elements; i++) {
        uint64_t bits = next(state);
        if (t->kind == 'f' && t->width == 4) {
            float value = (float)((double)(bits >> 40) / 8388608.0 - 1.0);
            memcpy(data + i * 4, &value, 4);
        } else if (t->kind == 'f' && t->width == 8) {
            double value = (double)(bits >> 40) / 8388608.0 - 1.0;
            memcpy(data + i * 8, &value, 8);
        } else if (t->kind == 'f') { /* half: sign and exponent of 0.5 to 1, ten random bits */
            uint16_t value = (uint16_t)(0x3800u | (unsigned)((bits >> 40) & 0x83ffu));
            memcpy(data + i * 2, &value, 2);
        } else {
            int64_t value = (int64_t)(bits >> 40) % (t->kind == 'b' ? 2 : 10);
            memcpy(data + i * t->width, &value, t->width); /* little endian */
        }
    }
}

static void read_file(const char *path, unsigned char *data, size_t bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot open", path);
    if (fread(data, 1, bytes, file) != bytes || fgetc(file) != EOF) fail("wrong size of an input file", path);
    fclose(file);
}

static void write_file(const char *path, const unsigned char *data, size_t bytes) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file)) fail("cannot write", path);
}

/* FNV-1a */
static uint64_t checksum(const unsigned char *data, size_t bytes) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t i;
    for (i = 0; i < bytes; i++) hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *work(void *argument) {
    struct worker *self = argument;
    struct job *job = self->job;
    long round;
    for (round = 0; round < job->rounds; round++) {
        double start, spent;
        int32_t code;
        if (job->threads > 1) pthread_barrier_wait(job->gate);
        start = seconds();
        code = @ENTRY@(job->inputs, job->outputs, job->constants, job->workspace, job->sizes, self->thread,
                       job->threads, job->threads > 1 ? job->barrier : 0, 0, @MACRO@_STEPS);
        if (job->threads > 1) pthread_barrier_wait(job->gate);
        spent = seconds() - start;
        if (code) __atomic_store_n(&job->code, code, __ATOMIC_RELAXED);
        if (self->thread == 0 && (round == 0 || spent < job->best)) job->best = spent;
    }
    return 0;
}

static long number(const char *text, long least, long greatest) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || value < least || value > greatest) fail("not a number in range", text);
    return value;
}

int main(int argc, char **argv) {
    static const char *const size_names[] = {@SIZE_NAMES@};
    static const char *files_in[MAX_FILES], *files_out[MAX_FILES];
    const char *weights = "weights.bin";
    int64_t sizes[@MACRO@_SIZES + 1] = {0};
    void *inputs[@MACRO@_INPUTS + 1] = {0}, *outputs[@MACRO@_OUTPUTS + 1] = {0};
    long threads = 1, rounds = 1, count_in = 0, count_out = 0, i;
    uint64_t state = 0;
    struct job job;
    pthread_barrier_t gate;
    int option;
    while ((option = getopt(argc, argv, "t:n:s:w:z:i:o:")) != -1) {
        switch (option) {
        case 't': threads = number(optarg, 1, 1024); break;
        case 'n': rounds = number(optarg, 1, 1000000000); break;
        case 's': state = (uint64_t)number(optarg, 0, 2147483647); break;
        case 'w': weights = optarg; break;
        case 'i':
            if (count_in == @MACRO@_INPUTS || count_in == MAX_FILES) fail("too many input files", optarg);
            files_in[count_in++] = optarg;
            break;
        case 'o':
            if (count_out == @MACRO@_OUTPUTS || count_out == MAX_FILES) fail("too many output files", optarg);
            files_out[count_out++] = optarg;
            break;
        case 'z': {
            char *equals = strchr(optarg, '=');
            for (i = 0; equals && i < @MACRO@_SIZES; i++)
                if (strlen(size_names[i]) == (size_t)(equals - optarg) &&
                    !strncmp(size_names[i], optarg, (size_t)(equals - optarg))) break;
            if (!equals || i == @MACRO@_SIZES) fail("unknown size", optarg);
            sizes[i] = number(equals + 1, 1, 1073741824);
            break;
        }
        default: fail("unknown option; see the comment at the top", argv[0]);
        }
    }
    if (optind != argc) fail("unexpected argument", argv[optind]);
    for (i = 0; i < @MACRO@_SIZES; i++)
        if (!sizes[i]) fail("give the size with -z SIZE=VALUE", size_names[i]);
    {
        const struct tensor given[] = {
@INPUT_TABLE@
        };
        const struct tensor made[] = {
@OUTPUT_TABLE@
        };
        pthread_t handles[1024];
        static struct worker workers[1024];
        for (i = 0; i < @MACRO@_INPUTS; i++) {
            inputs[i] = aligned(given[i].elements * given[i].width);
            if (i < count_in) read_file(files_in[i], inputs[i], given[i].elements * given[i].width);
            else seeded(inputs[i], &given[i], &state);
        }
        for (i = 0; i < @MACRO@_OUTPUTS; i++) outputs[i] = aligned(made[i].elements * made[i].width);
        memset(&job, 0, sizeof job);
        job.inputs = inputs;
        job.outputs = outputs;
        job.constants = map_weights(weights, @MACRO@_CONSTANTS_BYTES);
        job.workspace = aligned(@MACRO@_WORKSPACE_BYTES(threads));
        job.barrier = aligned(@MACRO@_BARRIER_BYTES);
        job.sizes = sizes;
        job.threads = threads;
        job.rounds = rounds;
        job.gate = &gate;
        pthread_barrier_init(&gate, 0, (unsigned)threads);
        for (i = 0; i < threads; i++) {
            workers[i].job = &job;
            workers[i].thread = i;
            if (i && pthread_create(&handles[i], 0, work, &workers[i])) fail("cannot start a thread", argv[0]);
        }
        work(&workers[0]);
        for (i = 1; i < threads; i++) pthread_join(handles[i], 0);
        if (job.code) fail("a check failed", @ENTRY@_message(job.code));
        for (i = 0; i < @MACRO@_OUTPUTS; i++) {
            size_t bytes = made[i].elements * made[i].width;
            printf("%s %016llx\n", made[i].name, (unsigned long long)checksum(outputs[i], bytes));
            if (i < count_out) write_file(files_out[i], outputs[i], bytes);
            free(outputs[i]);
        }
        for (i = 0; i < @MACRO@_INPUTS; i++) free(inputs[i]);
        free(job.workspace);
        free(job.barrier);
    }
    fprintf(stderr, "%.6f ms, %ld threads\n", job.best * 1e3, threads);
    return 0;
}
"""
