// Makes one kind of system call on the files below a folder fail, or kills the process at it. Preloaded by the test `downloads`.
//
// AIGNOSTICS_FAULT is "OPERATION ACTION AFTER TIMES": the name of a function below; an errno, or -1 (kill before the call) or -2
// (kill after it); the bytes or calls that pass before; the number of calls that fail. AIGNOSTICS_FAULT_BELOW is the folder, and
// AIGNOSTICS_FAULT_LOG the file that gets a byte for each fault.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { KILL_BEFORE = -1, KILL_AFTER = -2 };

static char operation[32];
static const char *below;
static int action, log_file = -1;
static long after, times;
static atomic_long passed, struck;

__attribute__((constructor)) static void begin(void) {
    const char *fault = getenv("AIGNOSTICS_FAULT"), *log = getenv("AIGNOSTICS_FAULT_LOG");
    below = getenv("AIGNOSTICS_FAULT_BELOW");
    if (!fault || !log || !below || sscanf(fault, "%31s %d %ld %ld", operation, &action, &after, &times) != 4) {
        operation[0] = 0;
        return;
    }
    log_file = syscall(SYS_open, log, 02001 /* O_WRONLY | O_APPEND */, 0);
}

static int path_is_below(const char *path) {
    return path && strncmp(path, below, strlen(below)) == 0;
}

static int file_is_below(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    return path_is_below(path);
}

static int strikes(long amount) {
    if (atomic_fetch_add(&passed, amount) + amount <= after || atomic_fetch_add(&struck, 1) >= times)
        return 0;
    syscall(SYS_write, log_file, "x", 1);
    return 1;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

#define FAULTY(type, name, parameters, arguments, amount, is_below)              \
    type name parameters {                                                       \
        static type(*real) parameters;                                           \
        if (!real)                                                               \
            real = dlsym(RTLD_NEXT, #name);                                      \
        int hit = !strcmp(operation, #name) && (is_below) && strikes(amount);    \
        if (hit && action > 0) {                                                 \
            errno = action;                                                      \
            return -1;                                                           \
        }                                                                        \
        if (hit && action == KILL_BEFORE)                                        \
            die();                                                               \
        type result = real arguments;                                            \
        if (hit)                                                                 \
            die();                                                               \
        return result;                                                           \
    }

FAULTY(ssize_t, pwrite64, (int file, const void *block, size_t size, off64_t at), (file, block, size, at), size, file_is_below(file))
FAULTY(ssize_t, pread64, (int file, void *block, size_t size, off64_t at), (file, block, size, at), 1, file_is_below(file))
FAULTY(ssize_t, write, (int file, const void *block, size_t size), (file, block, size), 1, file_is_below(file))
FAULTY(ssize_t, read, (int file, void *block, size_t size), (file, block, size), 1, file_is_below(file))
FAULTY(int, ftruncate64, (int file, off64_t size), (file, size), 1, file_is_below(file))
FAULTY(int, fsync, (int file), (file), 1, file_is_below(file))
FAULTY(int, fdatasync, (int file), (file), 1, file_is_below(file))
FAULTY(int, rename, (const char *from, const char *to), (from, to), 1, path_is_below(from))
FAULTY(int, unlink, (const char *path), (path), 1, path_is_below(path))
FAULTY(int, open64, (const char *path, int flags, unsigned mode), (path, flags, mode), 1, path_is_below(path))
