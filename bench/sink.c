/* An upstream for compare.py that reads uploads to the end before it answers, with the number of
 * bytes it has received. HTTP/1.1, keep-alive, Content-Length only (else 411), plaintext, one
 * thread.
 *
 * Build: gcc -O2 -o sink sink.c        usage: sink PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <errno.h>

enum { HEAD_MAX = 16384, PIECE = 512 * 1024 };

struct connection {
    int fd, head_count;
    long length, got;        /* -1: the head is incomplete */
    char head[HEAD_MAX];
};

static char *piece;

static int answer(struct connection *c, const char *status, long number) {
    char text[256], body[32];
    int body_count = sprintf(body, "%ld\n", number);
    int count = sprintf(text, "HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, body_count,
                        body);
    c->length = -1;
    c->head_count = 0;
    return send(c->fd, text, count, MSG_NOSIGNAL) == count;
}

/* 0: the connection is over. */
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
            if (!length || length > end) { answer(c, "411 Length Required", 0); return 0; }
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

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) {
        perror("sink");
        return 1;
    }
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    piece = malloc(PIECE);
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) continue;
                c = calloc(1, sizeof *c);
                c->fd = fd;
                c->length = -1;
                struct epoll_event fresh = {.events = EPOLLIN, .data.ptr = c};
                epoll_ctl(poller, EPOLL_CTL_ADD, fd, &fresh);
                continue;
            }
            long n = recv(c->fd, piece, PIECE, MSG_DONTWAIT);
            if (n < 0 && errno == EAGAIN) continue;
            if (n <= 0 || !take(c, piece, n)) {
                close(c->fd);
                free(c);
            }
        }
    }
}
