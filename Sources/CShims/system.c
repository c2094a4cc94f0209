#define _GNU_SOURCE
#include "CShims.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

int cas_clone_file(int destination, int source) { return ioctl(destination, FICLONE, source); }

int cas_rename_no_replace(int old_directory, const char *old_name, int new_directory, const char *new_name) {
    return (int)syscall(SYS_renameat2, old_directory, old_name, new_directory, new_name, 1u /* RENAME_NOREPLACE */);
}

int cas_lock_file(int descriptor, int lock) {
    struct flock region = {.l_type = lock ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
    return fcntl(descriptor, F_OFD_SETLK, &region);
}

int cas_open_beneath(int directory, const char *path, int flags, unsigned int mode) {
    struct open_how how = {
        .flags = (uint64_t)(unsigned int)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

long cas_getdents(int descriptor, void *buffer, size_t capacity) {
    return syscall(SYS_getdents64, descriptor, buffer, capacity);
}

int cas_sync_file_system(int descriptor) { return syncfs(descriptor); }
#endif

int cas_open_at(int directory, const char *path, int flags, unsigned int mode) {
    return openat(directory, path, flags, mode);
}
