/*
 * Makes file operations of a process fail as its tests want. Loaded into an unmodified program with LD_PRELOAD:
 *
 *   FAULTS_DATABASE     the database, an absolute path; without it nothing happens
 *   FAULTS_PLAN         a file that holds a `struct plan`, which a test may change at any time
 *
 * The plan says which operation on which of the database's files fails next, how often and in what way. All other calls
 * go to the system directly, which spares looking libc's own functions up.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum file { DATABASE = 1, WAL = 2, SHM = 4 };
enum operation { WRITE = 1, SYNC = 2, TRUNCATE = 4, OPEN = 8, MAP = 16, READ = 32 };
enum fault { IO_ERROR = 1, DISK_FULL, SHORT, KILL_BEFORE, KILL_AFTER, KILL_WITHIN };

struct plan {
    uint32_t times; /* how often it fails from now on; 0: nothing fails. Written last by a test. */
    uint32_t files, operations;
    uint32_t skip; /* how many such operations go well before */
    uint32_t fault;
    uint32_t hits[3][6]; /* how often each operation on each file failed, counted here */
};

enum { MAX_FILES = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *database;
static volatile struct plan *plan;
static _Atomic unsigned char files[MAX_FILES];

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("FAULTS_PLAN");
    database = getenv("FAULTS_DATABASE");
    if (database == NULL || path == NULL)
        return;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *map = (void *)syscall(SYS_mmap, NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || map == MAP_FAILED)
        abort();
    syscall(SYS_close, fd);
    plan = map;
}

static unsigned file_of_path(const char *path)
{
    size_t length = plan == NULL || path == NULL ? 0 : strlen(database);
    if (length == 0 || strncmp(path, database, length) != 0)
        return 0;
    const char *end = path + length;
    return *end == '\0' ? DATABASE : strcmp(end, "-wal") == 0 ? WAL : strcmp(end, "-shm") == 0 ? SHM : 0;
}

static unsigned file_of(int fd)
{
    return fd >= 0 && fd < MAX_FILES ? files[fd] : 0;
}

/* The fault that this operation meets, or 0. */
static unsigned fault_of(unsigned file, unsigned operation)
{
    unsigned fault = 0;
    if (file == 0 || plan->times == 0)
        return 0;
    pthread_mutex_lock(&lock);
    if (plan->times > 0 && (plan->files & file) && (plan->operations & operation)) {
        if (plan->skip > 0) {
            plan->skip--;
        } else {
            plan->times--;
            plan->hits[__builtin_ctz(file)][__builtin_ctz(operation)]++;
            fault = plan->fault;
        }
    }
    pthread_mutex_unlock(&lock);
    if (fault == KILL_BEFORE)
        raise(SIGKILL);
    return fault;
}

/* Fails, or does the operation that `call` is. */
#define FAIL_OR(fault, call)                                                                                          \
    do {                                                                                                              \
        unsigned met = (fault);                                                                                       \
        if (met == IO_ERROR || met == SHORT) {                                                                        \
            errno = EIO;                                                                                              \
            return -1;                                                                                                \
        }                                                                                                             \
        if (met == DISK_FULL) {                                                                                       \
            errno = ENOSPC;                                                                                           \
            return -1;                                                                                                \
        }                                                                                                             \
        long result = (call);                                                                                         \
        if (met != 0)                                                                                                 \
            raise(SIGKILL);                                                                                           \
        return result;                                                                                                \
    } while (0)

static int open_file(int at, const char *path, int flags, mode_t mode)
{
    unsigned file = file_of_path(path);
    if (file == 0)
        return (int)syscall(SYS_openat, at, path, flags, mode);
    unsigned fault = fault_of(file, OPEN);
    if (fault != 0) {
        errno = fault == DISK_FULL ? ENOSPC : EIO;
        return -1;
    }
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= MAX_FILES)
        abort();
    if (fd >= 0)
        files[fd] = (unsigned char)file;
    return fd;
}

/* The mode is there only when a file may be made; reading it otherwise does no harm on the systems this runs on. */
#define OPEN_AT(at)                                                                                                   \
    va_list rest;                                                                                                     \
    va_start(rest, flags);                                                                                            \
    mode_t mode = va_arg(rest, mode_t);                                                                               \
    va_end(rest);                                                                                                     \
    return open_file(at, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN_AT(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN_AT(AT_FDCWD); }
int openat(int at, const char *path, int flags, ...) { OPEN_AT(at); }
int openat64(int at, const char *path, int flags, ...) { OPEN_AT(at); }

int close(int fd)
{
    if (file_of(fd) != 0)
        files[fd] = 0;
    return (int)syscall(SYS_close, fd);
}

/* A short write writes the first half. What SQLite then writes of the rest finds the disk full. */
static size_t half(unsigned fault, size_t length)
{
    if (fault == SHORT) {
        pthread_mutex_lock(&lock);
        plan->fault = DISK_FULL;
        plan->times++;
        pthread_mutex_unlock(&lock);
    }
    return fault == SHORT || fault == KILL_WITHIN ? length / 2 : length;
}

#define WRITE_OR_FAIL(call)                                                                                           \
    do {                                                                                                              \
        unsigned fault = fault_of(file_of(fd), WRITE);                                                                \
        length = half(fault, length);                                                                                 \
        FAIL_OR(fault == SHORT ? 0 : fault, call);                                                                    \
    } while (0)

ssize_t write(int fd, const void *data, size_t length) { WRITE_OR_FAIL(syscall(SYS_write, fd, data, length)); }

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    WRITE_OR_FAIL(syscall(SYS_pwrite64, fd, data, length, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return pwrite(fd, data, length, offset); }

ssize_t read(int fd, void *data, size_t length)
{
    FAIL_OR(fault_of(file_of(fd), READ), syscall(SYS_read, fd, data, length));
}

ssize_t pread(int fd, void *data, size_t length, off_t offset)
{
    FAIL_OR(fault_of(file_of(fd), READ), syscall(SYS_pread64, fd, data, length, offset));
}

ssize_t pread64(int fd, void *data, size_t length, off_t offset) { return pread(fd, data, length, offset); }

int ftruncate(int fd, off_t length)
{
    FAIL_OR(fault_of(file_of(fd), TRUNCATE), syscall(SYS_ftruncate, fd, length));
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

int fsync(int fd) { FAIL_OR(fault_of(file_of(fd), SYNC), syscall(SYS_fsync, fd)); }
int fdatasync(int fd) { FAIL_OR(fault_of(file_of(fd), SYNC), syscall(SYS_fdatasync, fd)); }

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && fault_of(file_of(fd), MAP) != 0) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return mmap(at, length, protection, flags, fd, offset);
}
