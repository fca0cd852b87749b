/* What churn_client.c and churn_upstream.c share: what a request asks for, bodies that show every
 * lost or moved byte, a growing buffer and the chunked coding.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE_MAX_BYTES = 1 << 20, PIECE = 64 * 1024, HEAD_MAX = 8192 };

/* How an exchange goes. */
enum {
    NORMAL = 'n',
    EARLY = 'e',        /* the upstream answers before it has read the upload */
    CUT = 'u',          /* the upstream aborts behind `at` bytes of its answer */
    DEAD = 'b',         /* the upstream aborts behind `at` bytes of the upload, with no answer */
    LEFT_HEAD = 'x',    /* the client aborts behind the head, */
    LEFT_UP = 'y',      /* behind `at` bytes of its upload, */
    LEFT_DOWN = 'z',    /* behind `at` bytes of the answer */
};

struct plan {
    unsigned seed, up, down, at;
    char what;
    int up_known, down_known;   /* whether lengths are said */
};

static char *table;

static void die(const char *what) {
    perror(what);
    exit(2);
}

static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 20);
}

static inline unsigned below(unsigned bound) { return bound ? random_next() % bound : 0; }

static void table_make(void) {
    table = malloc(2 * SIZE_MAX_BYTES);
    if (!table) die("malloc");
    uint64_t x = 0x9E3779B97F4A7C15u;
    for (size_t i = 0; i < 2 * SIZE_MAX_BYTES; i += 8) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        memcpy(table + i, &x, 8);
    }
}

/* The content that belongs to a seed. */
static const char *content(unsigned seed) {
    return table + (seed * 2654435761u) % SIZE_MAX_BYTES;
}

static unsigned down_seed(const struct plan *p) { return p->seed ^ 0x55555555u; }

static inline void plan_path(const struct plan *p, char *path) {
    sprintf(path, "/%u/%u/%u/%u/%c%d%d", p->seed, p->up, p->down, p->at, p->what, p->up_known,
            p->down_known);
}

static inline int plan_parse(struct plan *p, const char *path) {
    return sscanf(path, "/%u/%u/%u/%u/%c%1d%1d", &p->seed, &p->up, &p->down, &p->at, &p->what,
                  &p->up_known, &p->down_known) == 7
        && p->up <= SIZE_MAX_BYTES && p->down <= SIZE_MAX_BYTES;
}

/* Bytes that wait to be sent. */
struct buffer {
    char *bytes;
    size_t start, count, room;
};

static char *buffer_space(struct buffer *b, size_t more) {
    if (!b->count) b->start = 0;
    if (b->start + b->count + more > b->room) {
        memmove(b->bytes, b->bytes + b->start, b->count);
        b->start = 0;
        if (b->count + more > b->room) {
            b->room = (b->count + more) * 2;
            b->bytes = realloc(b->bytes, b->room);
            if (!b->bytes) die("realloc");
        }
    }
    return b->bytes + b->start + b->count;
}

static void buffer_add(struct buffer *b, const void *data, size_t count) {
    memcpy(buffer_space(b, count), data, count);
    b->count += count;
}

static void buffer_text(struct buffer *b, const char *format, ...) {
    va_list list;
    va_start(list, format);
    b->count += vsnprintf(buffer_space(b, HEAD_MAX), HEAD_MAX, format, list);
    va_end(list);
}

static inline void buffer_free(struct buffer *b) {
    free(b->bytes);
    memset(b, 0, sizeof *b);
}

/* Content of an HTTP/1.1 message as it comes, compared with what it should be. */
struct body {
    int chunked, ended, bad;
    size_t left;            /* of the chunk, or of everything */
    size_t got;
    const char *expected;
    size_t expected_count;
    char line[64];
    int line_count, in_trailers, skip;
};

static void body_compare(struct body *b, const char *data, size_t count) {
    if (b->got + count > b->expected_count || memcmp(data, b->expected + b->got, count)) b->bad = 1;
    b->got += count;
}

/* How many bytes belong to it. */
static size_t body_take(struct body *b, const char *data, size_t count) {
    size_t used = 0;
    while (used < count && !b->ended) {
        if (b->left) {
            size_t n = count - used < b->left ? count - used : b->left;
            body_compare(b, data + used, n);
            b->left -= n;
            used += n;
            if (!b->left) {
                if (b->chunked) b->skip = 2;
                else b->ended = 1;
            }
            continue;
        }
        char c = data[used++];
        if (b->skip) {
            if (c != (b->skip == 2 ? '\r' : '\n')) b->bad = 1;
            b->skip--;
        } else if (c != '\n') {
            if (b->line_count < (int)sizeof b->line - 1) b->line[b->line_count++] = c;
        } else {
            b->line[b->line_count] = 0;
            int is_empty = b->line_count <= 1;
            b->line_count = 0;
            if (b->in_trailers) {
                if (is_empty) b->ended = 1;
            } else {
                b->left = strtoul(b->line, NULL, 16);
                b->in_trailers = !b->left;
            }
        }
    }
    return used;
}

static void body_begin(struct body *b, int chunked, size_t length) {
    b->chunked = chunked;
    b->left = chunked ? 0 : length;
    b->ended = !chunked && !length;
}

/* A field of an HTTP/1.1 head, or NULL. The head ends with a NUL. */
static const char *head_field(const char *head, const char *name) {
    size_t count = strlen(name);
    for (const char *line = strchr(head, '\n'); line; line = strchr(line, '\n')) {
        line++;
        if (!strncasecmp(line, name, count) && line[count] == ':') {
            line += count + 1;
            while (*line == ' ') line++;
            return line;
        }
    }
    return NULL;
}

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void set_nonblocking(int fd) {
    int one = 1;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline void reset_on_close(int fd) {
    struct linger none = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}
