/* An HTTP/2 load generator for compare.py, over TLS 1.3 with ALPN, or plaintext with prior
 * knowledge: one thread, epoll, libnghttp2. Every connection keeps the same number of streams open;
 * a stream that is over begins the next.
 *
 * Each answer is checked: status, length, content, and for gRPC (-g) the message and the trailer
 * grpc-status. Anything else ends the run: a stream that was reset, GOAWAY, a peer that allows fewer
 * streams than are asked for.
 *
 * Prints `begin` when the measured time begins, `end {json}` when it ends; with -H `held` when all
 * requests have arrived at the peer (it has acknowledged a PING behind them), waits for a line while
 * no stream may end, closes everything, prints `closed`, waits for the end of its input.
 *
 * Build: gcc -O2 -o h2client h2client.c -lnghttp2 -lssl -lcrypto
 */
#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, OUT_WANTED = 16 * 1024, OUT_MAX = 64 * 1024, GRPC_PREFIX = 5 };
enum { CONNECTING, HANDSHAKING, OPEN };

struct connection;

struct stream {
    struct connection *connection;
    double begun;
    long got;
    long sent;               /* of a gRPC request's message, prefix included */
    int status, grpc_status; /* 0 and -1: not seen */
};

struct connection {
    int fd, state, wants_out, has_finished, acknowledged;
    SSL *ssl;
    nghttp2_session *session;
    struct stream *streams;
    int out_count, out_sent;
    char out[OUT_MAX];
};

static int port, connections = 16, width = 32, tls, holds, pattern;
static int window_bits = 24, connection_window_bits = 26;
static double seconds = 2, warm = 0.5;
static long expected = -1, message = -1, most = 1L << 60;
static const char *path = "/";

static SSL_CTX *context;
static int poller, measuring, holding;
static struct connection *all;
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *library_options;
static nghttp2_nv fields[16];
static int field_count;
static char *piece, *content;
static long done, bytes, warmed, acknowledged;
static char cipher[128];

static void fail(const char *format, ...) {
    va_list list;
    fputs("h2client: ", stderr);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputs("\n", stderr);
    exit(1);
}

static void watch(struct connection *c, int out) {
    if (c->wants_out == out) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static ssize_t read_message(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *user) {
    struct stream *s = source->ptr;
    long left = GRPC_PREFIX + message - s->sent, n = left < (long)room ? left : (long)room;
    (void)session, (void)id, (void)user;
    memcpy(to, content + s->sent, n);
    s->sent += n;
    if (n == left) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return n;
}

static void begin_request(struct stream *s) {
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_message};
    s->begun = now();
    s->got = s->sent = 0;
    s->status = 0;
    s->grpc_status = -1;
    int id = nghttp2_submit_request(s->connection->session, NULL, fields, field_count,
                                    message >= 0 ? &provider : NULL, s);
    if (id < 0) fail("submitting: %s", nghttp2_strerror(id));
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_count, const uint8_t *value, size_t value_count, uint8_t flags,
                     void *user) {
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags, (void)user, (void)value_count;
    if (!s) return 0;
    if (name_count == 7 && !memcmp(name, ":status", 7)) {
        int status = atoi((const char *)value);
        if (status >= 200) s->status = status;
    } else if (name_count == 11 && !memcmp(name, "grpc-status", 11)) {
        s->grpc_status = atoi((const char *)value);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t count, void *user) {
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    const char *p = (const char *)data;
    long n = count;
    (void)flags, (void)user;
    if (!s) return 0;
    if (s->status == 200 && expected >= 0) {
        if (s->got + n > expected) fail("more content than %ld", expected);
        if (pattern ? !counters_are_right(s->got, p, n) : memcmp(content + s->got, p, n))
            fail("wrong content at %ld", s->got);
    }
    s->got += n;
    if (measuring) bytes += n;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    struct connection *c = user;
    if (!s) return 0;
    if (holding) fail("a held stream ended: %d, %s", s->status, nghttp2_http2_strerror(code));
    if (code) fail("stream %d: %s", id, nghttp2_http2_strerror(code));
    if (s->status != 200) fail("answered %d", s->status);
    if (expected >= 0 && s->got != expected) fail("%ld bytes of content", s->got);
    if (message >= 0 && s->grpc_status) fail("grpc-status %d", s->grpc_status);
    if (!c->has_finished) {
        c->has_finished = 1;
        warmed++;
    }
    if (measuring) {
        done++;
        note_latency(now() - s->begun);
    }
    begin_request(s);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct connection *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        fail("GOAWAY: %s", nghttp2_http2_strerror(frame->goaway.error_code));
    if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        uint32_t allowed = nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
        if (allowed < (uint32_t)width) fail("only %u streams are allowed", allowed);
    }
    if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK && !c->acknowledged) {
        c->acknowledged = 1;
        acknowledged++;
    }
    return 0;
}

/* Frames are gathered, so that they share records and system calls. */
static void flush(struct connection *c) {
    for (;;) {
        while (c->out_count < OUT_WANTED) {
            const uint8_t *p;
            ssize_t n = nghttp2_session_mem_send(c->session, &p);
            if (n < 0) fail("sending: %s", nghttp2_strerror(n));
            if (n == 0) break;
            if (c->out_count + n > OUT_MAX) fail("a frame of %zd bytes", n);
            memcpy(c->out + c->out_count, p, n);
            c->out_count += n;
        }
        if (!c->out_count) break;
        long n = put(c->fd, c->ssl, c->out + c->out_sent, c->out_count - c->out_sent);
        if (n == -2) fail("sending: errno %d", errno);
        if (n == 0) {
            watch(c, 1);
            return;
        }
        c->out_sent += n;
        if (c->out_sent == c->out_count) c->out_sent = c->out_count = 0;
    }
    watch(c, 0);
}

static void begin_session(struct connection *c) {
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)((1L << window_bits) - 1)},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    if (nghttp2_session_client_new2(&c->session, callbacks, c, library_options))
        fail("no session");
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 3);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                          (int32_t)((1L << connection_window_bits) - 1));
    c->state = OPEN;
    for (int i = 0; i < width; i++) {
        c->streams[i].connection = c;
        begin_request(&c->streams[i]);
    }
    flush(c);
    if (holds) {   /* a frame of this kind would be sent before the requests */
        nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
        flush(c);
    }
}

static void advance_read(struct connection *c) {
    for (int round = 0;; round++) {
        /* What the library has read ahead, no poll would report. */
        if (round >= 32 && !(c->ssl && SSL_has_pending(c->ssl))) break;
        long n = take(c->fd, c->ssl, piece, PIECE);
        if (n == 0) break;
        if (n < 0) fail(n == -1 ? "closed early" : "receiving: errno %d", errno);
        ssize_t used = nghttp2_session_mem_recv(c->session, (uint8_t *)piece, n);
        if (used < 0) fail("receiving: %s", nghttp2_strerror(used));
        if (!c->ssl && n < PIECE) break;
    }
    flush(c);
}

static void advance_handshake(struct connection *c) {
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) {
        const unsigned char *name;
        unsigned count;
        SSL_get0_alpn_selected(c->ssl, &name, &count);
        if (count != 2 || memcmp(name, "h2", 2)) fail("h2 was not negotiated");
        if (!cipher[0])
            snprintf(cipher, sizeof cipher, "%s %s", SSL_get_version(c->ssl),
                     SSL_get_cipher_name(c->ssl));
        begin_session(c);
        return;
    }
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_WANT_READ) watch(c, 0);
    else if (why == SSL_ERROR_WANT_WRITE) watch(c, 1);
    else fail("the handshake failed");
}

static void open_connection(struct connection *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    c->state = CONNECTING;
    c->wants_out = 1;
    c->streams = calloc(width, sizeof *c->streams);
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t count = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &count);
    if (error) fail("connect: %s", strerror(error));
    if (!tls) {
        begin_session(c);
        return;
    }
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    SSL_set_connect_state(c->ssl);
    c->state = HANDSHAKING;
    advance_handshake(c);
}

/* Whether there is a line to read from the standard input. */
static int poll_once(double until) {
    struct epoll_event events[256];
    double left = until - now();
    int told = 0, count = epoll_wait(poller, events, 256, left > 0 ? (int)(left * 1e3) + 1 : 0);
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (!c) {
            told = 1;
            continue;
        }
        if (c->state == CONNECTING && events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            connected(c);
        else if (c->state == HANDSHAKING) advance_handshake(c);
        else if (c->state == OPEN && events[i].events & EPOLLOUT) flush(c);
        if (c->state == OPEN && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            advance_read(c);
    }
    return told;
}

/* All come at once, as they do when a node has failed: buffers that a proxy needs only for that
 * moment are its memory, too, if it keeps them. */
static void hold(void) {
    char line[16];
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    holding = 1;
    for (int i = 0; i < connections; i++) open_connection(&all[i]);
    double limit = now() + 30;
    while (acknowledged < connections && now() < limit) poll_once(now() + 1);
    printf("held %ld\n", acknowledged);
    fflush(stdout);
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &e);
    while (!poll_once(now() + 1)) {}
    if (!fgets(line, sizeof line, stdin)) exit(1);
    for (int i = 0; i < connections; i++) {
        if (all[i].ssl) SSL_shutdown(all[i].ssl);
        close(all[i].fd);
    }
    printf("closed\n");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin)) exit(1);
}

static void run(void) {
    double start = now(), begin = 0, end = 0;
    for (int i = 0; i < connections; i++) open_connection(&all[i]);
    for (;;) {
        double time = now();
        if (!measuring && time >= start + warm && warmed == connections) {
            printf("begin\n");
            fflush(stdout);
            measuring = 1;
            begin = now();
            end = begin + seconds;
        }
        if (!measuring && time > start + warm + 30) fail("%ld connections were answered", warmed);
        if (measuring && (time >= end || done >= most)) break;
        poll_once(measuring ? end : time + 0.01);
    }
    double spent = now() - begin;
    sort_latencies();
    printf("end {\"requests\": %ld, \"failed\": 0, \"bytes\": %ld, \"seconds\": %.6f, "
           "\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"cipher\": \"%s\"}\n",
           done, bytes, spent, percentile(0.5), percentile(0.99), percentile(1), cipher);
    fflush(stdout);
    usleep(50000);   /* who reads counters now finds the connections still open */
}

static void usage(void) {
    fprintf(stderr,
            "usage: h2client -a PORT [-c connections] [-m streams] [-s seconds] [-n requests]\n"
            "  [-w warm-up] [-p path] [-b bytes]\n"
            "  -t TLS 1.3   -b content that is expected: x, or -v of 64-bit counters\n"
            "  -g length of a gRPC message that is sent and expected back\n"
            "  -i -I windows of a stream and of a connection: 2 to the power of this, less 1\n"
            "  -H hold the streams open\n");
    exit(2);
}

static void add_field(const char *name, const char *value) {
    fields[field_count++] = (nghttp2_nv){
        (uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void prepare(void) {
    add_field(":method", message >= 0 ? "POST" : "GET");
    add_field(":scheme", tls ? "https" : "http");
    add_field(":authority", "localhost");
    add_field(":path", path);
    add_field("user-agent", "h2client");
    if (message >= 0) {
        add_field("content-type", "application/grpc");
        add_field("te", "trailers");
        expected = GRPC_PREFIX + message;
    } else {
        add_field("accept", "*/*");
    }
    content = malloc(expected > 0 ? expected : 1);
    memset(content, 'x', expected > 0 ? expected : 0);
    if (message >= 0) {
        uint32_t length = htonl((uint32_t)message);
        content[0] = 0;
        memcpy(content + 1, &length, 4);
    }
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_option_new(&library_options);
    nghttp2_option_set_no_closed_streams(library_options, 1);
}

int main(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "a:c:m:s:n:w:p:b:g:i:I:tvH")) != -1) switch (option) {
        case 'a': port = atoi(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 'm': width = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'n': most = atol(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'p': path = optarg; break;
        case 'b': expected = atol(optarg); break;
        case 'g': message = atol(optarg); break;
        case 'i': window_bits = atoi(optarg); break;
        case 'I': connection_window_bits = atoi(optarg); break;
        case 't': tls = 1; break;
        case 'v': pattern = 1; break;
        case 'H': holds = 1; break;
        default: usage();
        }
    if (!port || connections < 1 || width < 1) usage();
    prctl(PR_SET_TIMERSLACK, 1000);
    all = calloc(connections, sizeof *all);
    piece = malloc(PIECE);
    poller = epoll_create1(EPOLL_CLOEXEC);
    prepare();
    context = tls_context(holds ? 0 : PIECE);
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
    if (holds) hold();
    else run();
    return 0;
}
