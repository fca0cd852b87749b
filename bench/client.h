/* What the load generators have in common: time, TLS or plain sockets, latencies, and the content
 * of 64-bit counters that shows a lost or moved byte.
 */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

/* In seconds. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) {
    perror(what);
    exit(2);
}

/* TLS 1.3, certificates unchecked, no sessions kept inside; `buffer`: bytes read at once, or 0. */
static SSL_CTX *tls_context(size_t buffer) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    if (buffer) {
        SSL_CTX_set_default_read_buffer_len(context, buffer);
        SSL_CTX_set_read_ahead(context, 1);
    }
    return context;
}

/* How many bytes moved; 0: not now; -1: the end; -2: an error. */
static long take(int fd, SSL *ssl, char *to, int room) {
    if (!ssl) {
        long n = recv(fd, to, room, MSG_DONTWAIT);
        return n > 0 ? n : n == 0 ? -1 : errno == EAGAIN ? 0 : -2;
    }
    int n = SSL_read(ssl, to, room);
    if (n > 0) return n;
    switch (SSL_get_error(ssl, n)) {
    case SSL_ERROR_WANT_READ: return 0;
    case SSL_ERROR_ZERO_RETURN: return -1;
    default: return -2;
    }
}

/* The same for sending. */
static long put(int fd, SSL *ssl, const char *from, int count) {
    if (!ssl) {
        long n = send(fd, from, count, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n >= 0 ? n : errno == EAGAIN ? 0 : -2;
    }
    int n = SSL_write(ssl, from, count);
    if (n > 0) return n;
    int why = SSL_get_error(ssl, n);
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -2;
}

/* Whether the first and the last counter within these bytes are those of their place. */
static int counters_are_right(long offset, const char *p, long n) {
    long first = (offset + 7) & ~7L;
    uint64_t word;
    if (first + 8 > offset + n) return 1;
    memcpy(&word, p + (first - offset), 8);
    if (word != (uint64_t)first / 8) return 0;
    long last = ((offset + n) & ~7L) - 8;
    memcpy(&word, p + (last - offset), 8);
    return word == (uint64_t)last / 8;
}

static double *latencies;
static long latency_count, latency_room;

static void note_latency(double spent) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? latency_room * 2 : 65536;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
    }
    latencies[latency_count++] = spent;
}

static int latency_order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort_latencies(void) {
    qsort(latencies, latency_count, sizeof *latencies, latency_order);
}

/* In µs, of the sorted ones. */
static double percentile(double share) {
    if (!latency_count) return 0;
    return latencies[(long)(share * (latency_count - 1))] * 1e6;
}
