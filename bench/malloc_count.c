/* Counts the heap's calls of edged's workers, by who calls: preloaded by allocations.py.
 *
 * A call belongs to OpenSSL if its return address is in libssl or libcrypto, else to us (the
 * program with the Swift runtime in it, libc on its behalf, liburing ...). Only threads called
 * `worker…` count. The proxy gets a cleaned environment from its guardian, so posix_spawn hands
 * the preloading on.
 *
 * The counts are in a file that is mapped shared, so that they can be read from outside:
 * HEAP_COUNT_FILE. While `armed` is set, the first calls that are ours leave their stacks there.
 *
 * Build: gcc -O2 -fPIC -shared -o malloc_count.so malloc_count.c -ldl
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { STACKS = 64, DEPTH = 24, OURS = 0, OPENSSL = 1 };

struct shared {
    uint64_t magic, armed;
    uint64_t calls[2];          /* malloc, calloc, realloc, memalign: ours, OpenSSL's */
    uint64_t frees[2];
    uint64_t base;              /* where the program is loaded */
    uint64_t stack_count;
    uint64_t stacks[STACKS][DEPTH];
};

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static struct shared *shared;
static struct { uintptr_t from, to; } libraries[8];
static int library_count;
/* 0: not looked at yet, 1: no worker, 2: a worker. */
static __thread int kind __attribute__((tls_model("initial-exec")));
static __thread int inside __attribute__((tls_model("initial-exec")));
static __thread unsigned looks __attribute__((tls_model("initial-exec")));

static int look(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    (void)data;
    if (!info->dlpi_name[0]) shared->base = info->dlpi_addr;
    if (!strstr(info->dlpi_name, "libssl.so") && !strstr(info->dlpi_name, "libcrypto.so")) return 0;
    for (int i = 0; i < info->dlpi_phnum && library_count < 8; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X)) continue;
        libraries[library_count].from = info->dlpi_addr + h->p_vaddr;
        libraries[library_count++].to = info->dlpi_addr + h->p_vaddr + h->p_memsz;
    }
    return 0;
}

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("HEAP_COUNT_FILE");
    void *stack[4];
    if (!path || !getenv("HEAP_COUNT_PROXY")) return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) return;
    backtrace(stack, 4);        /* loads what it needs now, not in the middle of a count */
    shared = memory;
    dl_iterate_phdr(look, NULL);
    shared->magic = 1;
}

static int counts(void) {
    if (!shared || inside) return 0;
    /* A thread is named soon after its start: look again until it is. */
    if (kind != 2 && looks++ < 100000) {
        char name[17] = "";
        prctl(PR_GET_NAME, name);
        kind = strncmp(name, "worker", 6) == 0 ? 2 : 1;
    }
    return kind == 2;
}

static void note(uint64_t *counters, void *caller) {
    int is_call = counters == shared->calls;
    uintptr_t address = (uintptr_t)caller;
    for (int i = 0; i < library_count; i++)
        if (address >= libraries[i].from && address < libraries[i].to) {
            counters[OPENSSL]++;
            return;
        }
    counters[OURS]++;
    if (is_call && shared->armed && shared->stack_count < STACKS) {
        inside = 1;
        void *stack[DEPTH] = {0};
        backtrace(stack, DEPTH);
        for (int i = 0; i < DEPTH; i++)
            shared->stacks[shared->stack_count][i] = (uintptr_t)stack[i];
        shared->stack_count++;
        inside = 0;
    }
}

#define NOTE(which) if (counts()) note(shared->which, __builtin_return_address(0))

void *malloc(size_t n) { NOTE(calls); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { NOTE(calls); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { NOTE(calls); return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { NOTE(calls); return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { NOTE(calls); return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) {
    NOTE(calls);
    void *got = __libc_memalign(a, n);
    if (!got) return ENOMEM;
    *p = got;
    return 0;
}
void free(void *p) {
    if (p) { NOTE(frees); }
    __libc_free(p);
}

int posix_spawn(pid_t *id, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const arguments[], char *const given[]) {
    static char preload[512], file[512], proxy[] = "HEAP_COUNT_PROXY=1";
    char *all[64];
    int count = 0;
    int (*next)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                const posix_spawnattr_t *, char *const[], char *const[]) =
        (void *)dlsym(RTLD_NEXT, "posix_spawn");
    while (given && given[count] && count < 60) { all[count] = given[count]; count++; }
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
    snprintf(file, sizeof file, "HEAP_COUNT_FILE=%s", getenv("HEAP_COUNT_FILE"));
    all[count++] = preload;
    all[count++] = file;
    all[count++] = proxy;
    all[count] = NULL;
    return next(id, path, actions, attributes, arguments, all);
}
