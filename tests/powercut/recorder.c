/*
 * Records, in one order, what a process does to the files of one folder and what it answers over HTTP; or kills the
 * process at a sync. Loaded into an unmodified program with LD_PRELOAD:
 *
 *   RECORDER_FOLDER     the folder, an absolute path; without it nothing happens
 *   RECORDER_LOG        where to append the records, outside the folder; without it nothing is recorded
 *   RECORDER_KILL_AT    n: SIGKILL in the n-th fsync or fdatasync, counted from 1
 *   RECORDER_KILL_WHEN  "before" or "after" the real sync
 *
 * A lock is held over each call and its record, so that the records' order is the order in which things happened. An
 * answer is recorded before it leaves: whoever received one finds it in the log.
 *
 * A record is four 64-bit numbers (kind, offset, length of the name, length of the data), then the name, then the data.
 * A name is relative to the folder; the folder itself has the empty name.
 *
 * The shared-memory file (-shm) is not recorded, since SQLite rebuilds it after a crash, nor is the lock file, whose
 * content means nothing. System calls are made directly, which spares looking libc's own functions up.
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
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { CREATED = 1, WRITTEN, RESIZED, SYNCED, REMOVED, RENAMED, ANSWERED };

enum { MAX_FILES = 65536 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int log_file = -1;
static long syncs, kill_at;
static int kill_after;

/* The name of each open file of the folder, by descriptor. Names are never freed, so that they can be read unlocked. */
static const char *_Atomic names[MAX_FILES];

__attribute__((constructor)) static void start(void)
{
    const char *log = getenv("RECORDER_LOG"), *at = getenv("RECORDER_KILL_AT"), *when = getenv("RECORDER_KILL_WHEN");
    if (log != NULL) {
        log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_file < 0)
            abort();
    }
    kill_at = at == NULL ? 0 : atol(at);
    kill_after = when != NULL && strcmp(when, "after") == 0;
    folder = getenv("RECORDER_FOLDER");
    folder_length = folder == NULL ? 0 : strlen(folder);
}

static int ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* What the path is called in the folder, or NULL if it is not in it or not to be recorded. */
static const char *name_in_folder(const char *path)
{
    if (folder == NULL || path == NULL || strncmp(path, folder, folder_length) != 0)
        return NULL;
    if (path[folder_length] == '\0')
        return path + folder_length;
    if (path[folder_length] != '/' || ends_with(path, "-shm") || ends_with(path, ".lock"))
        return NULL;
    return path + folder_length + 1;
}

static const char *name_of(int fd)
{
    return fd >= 0 && fd < MAX_FILES ? names[fd] : NULL;
}

/* Appends one record. Must be called with the lock held. A log that is not whole must not be taken for one. */
static void record(enum kind kind, const char *name, uint64_t offset, const struct iovec *parts, int count)
{
    int saved = errno;
    struct iovec all[2 + 64];
    uint64_t data = 0;
    if (log_file < 0)
        return;
    if (count > 64)
        abort();
    for (int i = 0; i < count; i++) {
        data += parts[i].iov_len;
        all[2 + i] = parts[i];
    }
    uint64_t head[4] = {kind, offset, strlen(name), data};
    all[0] = (struct iovec){head, sizeof head};
    all[1] = (struct iovec){(void *)name, strlen(name)};
    if (syscall(SYS_writev, log_file, all, 2 + count) != (long)(sizeof head + head[2] + data))
        abort();
    errno = saved;
}

static int open_file(int at, const char *path, int flags, mode_t mode)
{
    const char *name = path != NULL && path[0] == '/' ? name_in_folder(path) : NULL;
    if (name == NULL)
        return (int)syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int saved = errno;
    int is_new = syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    errno = saved;
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0) {
        if (fd >= MAX_FILES || (names[fd] = strdup(name)) == NULL)
            abort();
        if (is_new)
            record(CREATED, name, 0, NULL, 0);
        else if (flags & O_TRUNC)
            record(RESIZED, name, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

/* The mode is there only when a file may be made; reading it otherwise does no harm on the systems this runs on. */
#define OPEN(at)                                                                                                      \
    va_list rest;                                                                                                     \
    va_start(rest, flags);                                                                                            \
    mode_t mode = va_arg(rest, mode_t);                                                                               \
    va_end(rest);                                                                                                     \
    return open_file(at, path, flags, mode)

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD); }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD); }
int openat(int at, const char *path, int flags, ...) { OPEN(at); }
int openat64(int at, const char *path, int flags, ...) { OPEN(at); }
int creat(const char *path, mode_t mode) { return open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int close(int fd)
{
    if (name_of(fd) != NULL)
        names[fd] = NULL;
    return (int)syscall(SYS_close, fd);
}

static ssize_t write_at(int fd, const char *name, const void *data, size_t length, off_t offset)
{
    pthread_mutex_lock(&lock);
    ssize_t written = syscall(SYS_pwrite64, fd, data, length, offset);
    if (written > 0)
        record(WRITTEN, name, (uint64_t)offset, &(struct iovec){(void *)data, (size_t)written}, 1);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    const char *name = name_of(fd);
    return name != NULL ? write_at(fd, name, data, length, offset) : syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return pwrite(fd, data, length, offset); }

/*
 * Calls `call(fd, what, flags)`, which sends the parts; if they are an answer, records it first. Nothing but an answer
 * takes the lock: a signal handler may write to a socket at any time.
 */
static ssize_t send_parts(int fd, const struct iovec *parts, int count, long (*call)(int, const void *, int),
                          const void *what, int flags)
{
    static const char start_of_answer[] = "HTTP/1.1 ";
    size_t length = sizeof start_of_answer - 1;
    if (log_file < 0 || count < 1 || parts[0].iov_len < length ||
        memcmp(parts[0].iov_base, start_of_answer, length) != 0)
        return call(fd, what, flags);
    pthread_mutex_lock(&lock);
    record(ANSWERED, "", 0, parts, count);
    ssize_t sent = call(fd, what, flags);
    pthread_mutex_unlock(&lock);
    return sent;
}

static long call_write(int fd, const void *what, int flags)
{
    const struct iovec *part = what;
    (void)flags;
    return syscall(SYS_write, fd, part->iov_base, part->iov_len);
}

static long call_writev(int fd, const void *what, int count) { return syscall(SYS_writev, fd, what, count); }

static long call_sendmsg(int fd, const void *what, int flags) { return syscall(SYS_sendmsg, fd, what, flags); }

ssize_t write(int fd, const void *data, size_t length)
{
    struct iovec part = {(void *)data, length};
    const char *name = name_of(fd);
    if (name == NULL)
        return send_parts(fd, &part, 1, call_write, &part, 0);
    pthread_mutex_lock(&lock);
    off_t offset = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    ssize_t written = syscall(SYS_write, fd, data, length);
    if (written > 0)
        record(WRITTEN, name, (uint64_t)offset, &(struct iovec){(void *)data, (size_t)written}, 1);
    pthread_mutex_unlock(&lock);
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    /* Nothing is known to write a database's file so, and what is not recorded would be missed. */
    if (name_of(fd) != NULL)
        abort();
    return send_parts(fd, parts, count, call_writev, parts, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return send_parts(fd, message->msg_iov, (int)message->msg_iovlen, call_sendmsg, message, flags);
}

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t to_length)
{
    struct iovec part = {(void *)data, length};
    struct msghdr message = {.msg_name = (void *)to, .msg_namelen = to_length, .msg_iov = &part, .msg_iovlen = 1};
    return send_parts(fd, &part, 1, call_sendmsg, &message, flags);
}

ssize_t send(int fd, const void *data, size_t length, int flags) { return sendto(fd, data, length, flags, NULL, 0); }

int ftruncate(int fd, off_t length)
{
    const char *name = name_of(fd);
    if (name == NULL)
        return (int)syscall(SYS_ftruncate, fd, length);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_ftruncate, fd, length);
    if (result == 0)
        record(RESIZED, name, (uint64_t)length, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

static int sync_file(int fd, long call)
{
    const char *name = name_of(fd);
    if (name == NULL)
        return (int)syscall(call, fd);
    pthread_mutex_lock(&lock);
    int last = ++syncs == kill_at;
    if (last && !kill_after)
        raise(SIGKILL);
    int result = (int)syscall(call, fd);
    if (result == 0)
        record(SYNCED, name, 0, NULL, 0);
    if (last)
        raise(SIGKILL);
    pthread_mutex_unlock(&lock);
    return result;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int unlinkat(int at, const char *path, int flags)
{
    const char *name = path[0] == '/' ? name_in_folder(path) : NULL;
    if (name == NULL)
        return (int)syscall(SYS_unlinkat, at, path, flags);
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_unlinkat, at, path, flags);
    if (result == 0)
        record(REMOVED, name, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rename(const char *from, const char *to)
{
    const char *old_name = name_in_folder(from), *new_name = name_in_folder(to);
    if (old_name == NULL && new_name == NULL)
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    /* Into or out of the folder: nothing is known to do that, and the log could not say it. */
    if (old_name == NULL || new_name == NULL)
        abort();
    pthread_mutex_lock(&lock);
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0)
        record(RENAMED, old_name, 0, &(struct iovec){(void *)new_name, strlen(new_name)}, 1);
    pthread_mutex_unlock(&lock);
    return result;
}
