/* An upstream for the benchmarks: HTTP/1.1, keep-alive, plaintext, one thread, no pipelining.
 *
 *   an upload    is read to its end and answered with the number of bytes received
 *                (Content-Length only, else 411)
 *   GET /N       N bytes of content, 64-bit counters
 *   GET /hold    is not answered
 *   GET /held    how many /hold are waiting
 *
 * Build: gcc -O2 -o origin origin.c        usage: origin PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 16384, PIECE = 512 * 1024, WORDS = PIECE / 8 };

struct connection {
    int fd, holds, head_count;
    long length, got;        /* of an upload; -1: the head is incomplete */
    long to_send, sent;      /* of an answer's counters */
    char head[HEAD_MAX];
};

static int poller;
static long held;
static char *piece;
static uint64_t *counters;

static void watch(struct connection *c, int operation, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    epoll_ctl(poller, operation, c->fd, &e);
}

static int put_text(struct connection *c, const char *text, int count) {
    return send(c->fd, text, count, MSG_NOSIGNAL) == count;
}

static int answer(struct connection *c, const char *status, long number) {
    char text[256], body[32];
    int body_count = sprintf(body, "%ld\n", number);
    int count = sprintf(text, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, body_count,
                        body);
    c->length = -1;
    c->head_count = 0;
    return put_text(c, text, count);
}

/* Counters from where the last send has ended; 0: the connection is over. */
static int send_counters(struct connection *c) {
    if (c->sent < c->to_send) {
        long skipped = c->sent % 8, left = c->to_send - c->sent, most = PIECE - skipped;
        uint64_t first = c->sent / 8;
        for (int i = 0; i < WORDS; i++) counters[i] = first + i;
        long n = send(c->fd, (char *)counters + skipped, left < most ? left : most,
                      MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return 0;
        if (n > 0) c->sent += n;
    }
    if (c->sent == c->to_send) watch(c, EPOLL_CTL_MOD, EPOLLIN);
    return 1;
}

static int begin_counters(struct connection *c, long count) {
    char text[128];
    c->to_send = count;
    c->sent = 0;
    c->head_count = 0;
    int text_count = sprintf(text, "HTTP/1.1 200 OK\r\nContent-Length: %ld\r\n\r\n", count);
    watch(c, EPOLL_CTL_MOD, EPOLLOUT);
    return put_text(c, text, text_count);
}

/* A request without content; 0: the connection is over. */
static int get(struct connection *c) {
    if (!memcmp(c->head, "GET /held ", 10)) return answer(c, "200 OK", held);
    if (!memcmp(c->head, "GET /hold ", 10)) {
        c->holds = 1;
        c->head_count = 0;
        held++;
        return 1;
    }
    char *end;
    long count = memcmp(c->head, "GET /", 5) ? 0 : strtol(c->head + 5, &end, 10);
    if (count > 0 && *end == ' ') return begin_counters(c, count);
    answer(c, "411 Length Required", 0);
    return 0;
}

static int take(struct connection *c, char *p, long n) {
    while (n > 0) {
        if (c->length < 0) {
            int old = c->head_count, room = HEAD_MAX - 1 - old, count = n < room ? n : room;
            memcpy(c->head + old, p, count);
            c->head_count += count;
            c->head[c->head_count] = 0;
            char *end = memmem(c->head, c->head_count, "\r\n\r\n", 4);
            if (!end) return count == n;
            char *length = strcasestr(c->head, "\r\ncontent-length:");
            if (!length || length > end) return get(c);
            c->length = atol(length + 17);
            c->got = 0;
            long used = end + 4 - c->head - old;
            p += used;
            n -= used;
        }
        long left = c->length - c->got, count = n < left ? n : left;
        c->got += count;
        p += count;
        n -= count;
        if (c->got == c->length && !answer(c, "200 OK", c->got)) return 0;
    }
    return 1;
}

static int advance(struct connection *c, uint32_t events) {
    if (events & EPOLLOUT) return send_counters(c);
    if (events & (EPOLLERR | EPOLLHUP) && !(events & EPOLLIN)) return 0;
    long n = recv(c->fd, piece, PIECE, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 1;
    return n > 0 && take(c, piece, n);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) {
        perror("origin");
        return 1;
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    piece = malloc(PIECE);
    counters = malloc(PIECE);
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) continue;
                /* A head and its content are two writes: nobody shall wait for an ACK of the first. */
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                c = calloc(1, sizeof *c);
                c->fd = fd;
                c->length = -1;
                watch(c, EPOLL_CTL_ADD, EPOLLIN);
            } else if (!advance(c, events[i].events)) {
                held -= c->holds;
                close(c->fd);
                free(c);
            }
        }
    }
}
