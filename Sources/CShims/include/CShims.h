// C that Swift cannot express: processor instructions and Linux calls that glibc's Swift overlay
// does not import. Everything here is a thin function without state.
#ifndef CAS_SHIMS_H
#define CAS_SHIMS_H

#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `count` bytes, continuing from `crc` (0 at the start).
uint32_t cas_crc32c(uint32_t crc, const void *bytes, size_t count);

/// Clones the whole of file `source` into file `destination` (FICLONE). 0, or -1 with errno.
int cas_clone_file(int destination, int source);

/// renameat2 with RENAME_NOREPLACE. 0, or -1 with errno.
int cas_rename_no_replace(int old_directory, const char *old_name, int new_directory, const char *new_name);

/// Takes (1) or releases (0) an open-file-description write lock on the whole file without waiting. 0, or -1 with errno.
int cas_lock_file(int descriptor, int lock);
/* Takes a lock on the file that others may share, but nobody who wants it alone; as cas_lock_file. */
int cas_share_lock_of_file(int descriptor);

/// Opens a file as openat(2) does, but refuses to follow any symbolic link and to leave `directory`. Descriptor, or -1.
int cas_open_beneath(int directory, const char *path, int flags, unsigned int mode);

/// Reads raw directory records as getdents64(2). Bytes read, 0 at the end, -1 with errno.
long cas_getdents(int descriptor, void *buffer, size_t capacity);

/// Flushes the file system that holds `descriptor`. 0, or -1 with errno.
int cas_sync_file_system(int descriptor);

/// Variadic calls of the C library under fixed signatures.
int cas_open_at(int directory, const char *path, int flags, unsigned int mode);

/// A descriptor that tells of changes in directories (inotify(7)), closed on exec and never waiting. Descriptor, or -1.
int cas_events_open(void);
/// Watches the directory at `path` for what `mask` says. The number of the watch, or -1 with errno.
int cas_events_watch(int descriptor, const char *path, uint32_t mask);
/// Ends a watch. 0, or -1 with errno.
int cas_events_unwatch(int descriptor, int watch);

/// The type of the file system that holds `descriptor`, as statfs(2) names it. 0, or -1 with errno.
int cas_file_system_type(int descriptor, uint64_t *type);

/// Starts a program in a directory, in a process group of its own, with default signals and an empty input. 0, or an error number.
int cas_spawn(int *process, const char *directory, char *const arguments[]);

/// Starts a program in this process's group, so that a terminal's keys reach it, with default signals. Its input is
/// `input`, or empty for -1; its output and errors go to these descriptors, or where ours go for -1. 0, or an error number.
int cas_spawn_connected(int *process, char *const arguments[], int input, int output, int errors);

/// Makes a pipe whose ends are closed on exec. 0, or -1 with errno.
int cas_pipe(int ends[2]);

/// Starts a joinable thread with a stack of `stack_bytes`; `name` is cut to what the kernel keeps. 0, or an error number.
int cas_thread_start(uint64_t *thread, size_t stack_bytes, const char *name, void (*body)(void *), void *context);

/// Waits for the end of a thread that `cas_thread_start` started.
void cas_thread_join(uint64_t thread);

#endif
