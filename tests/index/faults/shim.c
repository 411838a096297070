/* A disk that fails on demand: preloaded before libc, it counts what a process does to the files
 * under one folder, and at one step kills the process or makes the call fail as a disk would.
 *
 * fault_arm() starts the count. A fault stays until the process ends (a disk that is full stays full),
 * but for EIO and a failed sync, which come once: SQLite and the kernel both forget them.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { LOG, KILL_BEFORE, KILL_AFTER, FULL, IO_ERROR, TOO_MANY, SHORT_WRITE, FAILED_SYNC, READ_ONLY };
enum op { OPEN, CREATE, WRITE, SYNC, CUT, MAKE, RENAME, REMOVE, READ };
static const char *names[] = {"open", "create", "write", "sync", "cut", "make", "rename", "remove", "read"};

#define FILES 4096
#define LENGTH 512
static char paths[FILES][LENGTH]; /* of what is open under the folder, by descriptor */
static char under[LENGTH];
static int kind, at, count, log_to = -1, armed, broken;

void fault_arm(const char *folder, int which, int step, int log_fd) {
    snprintf(under, sizeof under, "%s", folder);
    kind = which, at = step, log_to = log_fd, count = 0, broken = 0, armed = 1;
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int grows(enum op op) { return op == CREATE || op == WRITE || op == CUT || op == MAKE; }

/* The error that a call meets, 0 for none; -1 for a write of only half. */
static int meets(enum op op, const char *path) {
    if (!armed) return 0;
    int now = ++count == at;
    if (log_to >= 0) dprintf(log_to, "%d %s %s\n", count, names[op], path);
    if (now && kind == KILL_BEFORE) die();
    if (now && kind == SHORT_WRITE) { broken = 1; return -1; }
    if (now) broken = 1;
    if (!broken) return 0;
    switch (kind) {
    case FULL: case SHORT_WRITE: return grows(op) ? ENOSPC : 0;
    case READ_ONLY: return op == OPEN || op == READ || op == SYNC ? 0 : EROFS;
    case TOO_MANY: return op == OPEN || op == CREATE ? EMFILE : 0;
    case IO_ERROR: case FAILED_SYNC: return now ? EIO : 0;
    default: return 0;
    }
}

static void done(void) {
    if (armed && kind == KILL_AFTER && count == at) die();
}

static int inside(const char *path) {
    return armed && path && !strncmp(path, under, strlen(under));
}

static int known(int fd) { return armed && fd >= 0 && fd < FILES && paths[fd][0]; }

static const char *joined(int dir, const char *path, char *room) {
    if (path[0] == '/' || !known(dir)) return path;
    snprintf(room, LENGTH, "%.255s/%.255s", paths[dir], path);
    return room;
}

#define REAL(name) \
    static typeof(name) *real; \
    if (!real) real = dlsym(RTLD_NEXT, #name)
#define FAIL_OR(op, path) \
    do { int error = meets(op, path); if (error > 0) { errno = error; return -1; } } while (0)

static int is_new(const char *path) { struct stat found; return stat(path, &found) != 0; }

#define OPENS(name, before, dir, arguments) \
    int name(before const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        char room[LENGTH]; \
        const char *whole = joined(dir, path, room); \
        int mine = inside(whole); \
        if (mine) FAIL_OR(flags & O_CREAT && is_new(whole) ? CREATE : OPEN, whole); \
        int fd = real arguments; \
        if (mine && fd >= 0 && fd < FILES) snprintf(paths[fd], LENGTH, "%s", whole); \
        if (mine) { int kept = errno; done(); errno = kept; } \
        return fd; \
    }
#define DIR_ARGUMENT int dir,
OPENS(open, , AT_FDCWD, (path, flags, mode))
OPENS(open64, , AT_FDCWD, (path, flags, mode))
OPENS(openat, DIR_ARGUMENT, dir, (dir, path, flags, mode))
OPENS(openat64, DIR_ARGUMENT, dir, (dir, path, flags, mode))

int close(int fd) {
    REAL(close);
    if (fd >= 0 && fd < FILES) paths[fd][0] = 0;
    return real(fd);
}

#define WRITES(name, type, more, given) \
    ssize_t name(int fd, const void *data, size_t size more) { \
        REAL(name); \
        if (!known(fd)) return real(fd, data, size given); \
        int error = meets(WRITE, paths[fd]); \
        if (error > 0) { errno = error; return -1; } \
        ssize_t written = real(fd, data, error < 0 ? size / 2 : size given); \
        done(); \
        return written; \
    }
#define COMMA ,
WRITES(write, , , )
WRITES(pwrite, , COMMA off_t place, COMMA place)
WRITES(pwrite64, , COMMA off64_t place, COMMA place)

#define READS(name, more, given) \
    ssize_t name(int fd, void *data, size_t size more) { \
        REAL(name); \
        if (known(fd)) FAIL_OR(READ, paths[fd]); \
        return real(fd, data, size given); \
    }
READS(read, , )
READS(pread, COMMA off_t place, COMMA place)
READS(pread64, COMMA off64_t place, COMMA place)

#define ON_FILE(name, op, more, given) \
    int name(int fd more) { \
        REAL(name); \
        if (!known(fd)) return real(fd given); \
        FAIL_OR(op, paths[fd]); \
        int result = real(fd given); \
        done(); \
        return result; \
    }
ON_FILE(fsync, SYNC, , )
ON_FILE(fdatasync, SYNC, , )
ON_FILE(ftruncate, CUT, COMMA off_t size, COMMA size)
ON_FILE(ftruncate64, CUT, COMMA off64_t size, COMMA size)

#define ON_PATH(name, op, before, dir, path, after, arguments) \
    int name(before const char *path after) { \
        REAL(name); \
        char room[LENGTH]; \
        const char *whole = joined(dir, path, room); \
        if (!inside(whole)) return real arguments; \
        FAIL_OR(op, whole); \
        int result = real arguments; \
        int kept = errno; \
        done(); \
        errno = kept; \
        return result; \
    }
ON_PATH(unlink, REMOVE, , AT_FDCWD, path, , (path))
ON_PATH(rmdir, REMOVE, , AT_FDCWD, path, , (path))
ON_PATH(unlinkat, REMOVE, DIR_ARGUMENT, dir, path, COMMA int flags, (dir, path, flags))
ON_PATH(mkdir, MAKE, , AT_FDCWD, path, COMMA mode_t mode, (path, mode))
ON_PATH(rename, RENAME, , AT_FDCWD, path, COMMA const char *to, (path, to))
