// A disk that tests can fail: preloaded into a program, it watches the folder DISK_ROOT.
//
// DISK_LOG: after each sync, appends to this file what is then on the disk for sure: a line "file INODE SIZE" with the
// content, or "folder INODE"; then all names below the root, a line "entry FOLDER-INODE INODE KIND NAME" each (KIND is f or
// d), and a line "end". What was not synced is not in it, so a test can rebuild what a loss of power may leave behind.
// DISK_FULL=N: the N-th write below the root, from 1, and all later ones fail: no space is left on the device.
// DISK_WRITES: the number of writes is written to this file at the end.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long writes;

static const char* root(void) { return getenv("DISK_ROOT"); }

// Whether an open file or folder is the root or lies below it.
static int watched(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = root() ? readlink(link, path, sizeof path - 1) : -1;
    size_t of_root = root() ? strlen(root()) : 0;
    if (length < (ssize_t)of_root || strncmp(path, root(), of_root)) return 0;
    return length == (ssize_t)of_root || path[of_root] == '/';
}

static void list(FILE* log, const char* path, unsigned long inode) {
    DIR* folder = opendir(path);
    if (!folder) return;
    for (struct dirent* entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char inner[PATH_MAX];
        struct stat facts;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (lstat(inner, &facts)) continue;
        int is_folder = S_ISDIR(facts.st_mode);
        fprintf(log, "entry %lu %lu %c %s\n", inode, (unsigned long)facts.st_ino, is_folder ? 'd' : 'f', entry->d_name);
        if (is_folder) list(log, inner, facts.st_ino);
    }
    closedir(folder);
}

static void note(int fd) {
    const char* name = getenv("DISK_LOG");
    struct stat facts, of_root;
    if (!name || fstat(fd, &facts) || stat(root(), &of_root)) return;
    pthread_mutex_lock(&lock);
    FILE* log = fopen(name, "a");
    if (S_ISDIR(facts.st_mode)) {
        fprintf(log, "folder %lu\n", (unsigned long)facts.st_ino);
    } else {
        char* content = malloc(facts.st_size + 1), path[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd); // the file may be open for writing only
        int again = open(path, O_RDONLY);
        ssize_t size = read(again, content, facts.st_size);
        close(again);
        fprintf(log, "file %lu %zd\n", (unsigned long)facts.st_ino, size);
        fwrite(content, 1, size < 0 ? 0 : size, log);
        free(content);
    }
    list(log, root(), of_root.st_ino);
    fprintf(log, "end\n");
    fclose(log);
    pthread_mutex_unlock(&lock);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    if (!result && watched(fd)) note(fd);
    return result;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    if (!result && watched(fd)) note(fd);
    return result;
}

// Whether a write to a watched file finds no space.
static int is_full(int fd) {
    if (!watched(fd)) return 0;
    const char* first = getenv("DISK_FULL");
    unsigned long index = __sync_add_and_fetch(&writes, 1);
    if (!first || index < strtoul(first, NULL, 10)) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void* from, size_t size) {
    ssize_t (*real)(int, const void*, size_t) = (ssize_t (*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write");
    return is_full(fd) ? -1 : real(fd, from, size);
}

ssize_t writev(int fd, const struct iovec* from, int count) {
    ssize_t (*real)(int, const struct iovec*, int) = (ssize_t (*)(int, const struct iovec*, int))dlsym(RTLD_NEXT, "writev");
    return is_full(fd) ? -1 : real(fd, from, count);
}

__attribute__((destructor)) static void report(void) {
    const char* name = getenv("DISK_WRITES");
    FILE* file = name ? fopen(name, "w") : NULL;
    if (!file) return;
    fprintf(file, "%lu\n", writes);
    fclose(file);
}
