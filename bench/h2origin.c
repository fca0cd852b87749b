/* An upstream for the benchmarks: HTTP/2 in plaintext with prior knowledge, one thread, libnghttp2.
 *
 *   GET /        100 bytes of x
 *   GET /N       N bytes of content, 64-bit counters
 *   POST         with content-type application/grpc and te: trailers: the message comes back (at
 *                most 64 KiB), with the trailer grpc-status: 0; other POST: 415
 *   GET /hold    is not answered
 *
 * A connection that begins with HTTP/1.1 is told how many /hold are waiting, whatever it asks.
 *
 * Build: gcc -O2 -o h2origin h2origin.c -lnghttp2        usage: h2origin PORT [STREAMS]
 * STREAMS: at once on a connection, 128.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 256 * 1024, OUT_WANTED = 64 * 1024, OUT_MAX = 128 * 1024, BODY_MAX = 64 * 1024 };
enum { SMALL = 100 };

struct stream {
    struct stream *next;     /* among unused ones */
    int is_post, is_grpc, takes_trailers, holds;
    long number;             /* of the path; 0: there is none */
    long length, sent;       /* of the answer's content */
    int body_room, body_count;
    char *body;
};

struct connection {
    int fd, wants_out;
    nghttp2_session *session;
    int out_count, out_sent;
    char out[OUT_MAX];
};

static int poller;
static unsigned streams_max = 128;
static long held;
static char *piece, small[SMALL];
static struct stream *unused;
static nghttp2_session_callbacks *callbacks;
static nghttp2_option *library_options;

#define FIELD(name, value)                                                                       \
    {(uint8_t *)name, (uint8_t *)value, sizeof name - 1, sizeof value - 1,                       \
     NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct stream *s = unused;
    if (s) unused = s->next;
    else s = calloc(1, sizeof *s);
    char *body = s->body;
    int room = s->body_room;
    memset(s, 0, sizeof *s);
    s->body = body;
    s->body_room = room;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, s);
    return 0;
}

static int is(const uint8_t *text, size_t count, const char *other) {
    return count == strlen(other) && !memcmp(text, other, count);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_count, const uint8_t *value, size_t value_count, uint8_t flags,
                     void *user) {
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags, (void)user;
    if (!s) return 0;
    if (is(name, name_count, ":method")) s->is_post = is(value, value_count, "POST");
    else if (is(name, name_count, ":path")) {
        s->holds = is(value, value_count, "/hold");
        s->number = atol((const char *)value + 1);
    } else if (is(name, name_count, "content-type"))
        s->is_grpc = is(value, value_count, "application/grpc");
    else if (is(name, name_count, "te")) s->takes_trailers = is(value, value_count, "trailers");
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t count, void *user) {
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)flags, (void)user;
    if (!s || s->body_count + count > BODY_MAX) return s ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
    if (s->body_count + (int)count > s->body_room) {
        s->body_room = s->body_count + count < 512 ? 512 : BODY_MAX;
        s->body = realloc(s->body, s->body_room);
    }
    memcpy(s->body + s->body_count, data, count);
    s->body_count += count;
    return 0;
}

/* These bytes of the content, wherever in a counter they begin. */
static void put_counters(uint8_t *to, long offset, long count) {
    uint64_t word = offset / 8;
    long skipped = offset % 8, done = skipped ? 8 - skipped : 0;
    if (done > count) done = count;
    memcpy(to, (char *)&word + skipped, done);
    for (word = (offset + done) / 8; done + 8 <= count; done += 8, word++)
        memcpy(to + done, &word, 8);
    memcpy(to + done, &word, count - done);
}

static ssize_t read_content(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
                            uint32_t *flags, nghttp2_data_source *source, void *user) {
    static const nghttp2_nv trailer[] = {FIELD("grpc-status", "0")};
    struct stream *s = source->ptr;
    long left = s->length - s->sent, n = left < (long)room ? left : (long)room;
    (void)user;
    if (s->is_post) memcpy(to, s->body + s->sent, n);
    else if (!s->number) memcpy(to, small + s->sent, n);
    else put_counters(to, s->sent, n);
    s->sent += n;
    if (n == left) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (s->is_grpc) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            nghttp2_submit_trailer(session, id, trailer, 1);
        }
    }
    return n;
}

static void answer(nghttp2_session *session, int32_t id, struct stream *s) {
    static const nghttp2_nv plain[] = {FIELD(":status", "200"), FIELD("server", "h2origin"),
                                       FIELD("content-type", "text/plain")};
    static const nghttp2_nv grpc[] = {FIELD(":status", "200"),
                                      FIELD("content-type", "application/grpc")};
    static const nghttp2_nv refused[] = {FIELD(":status", "415")};
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = read_content};
    if (s->holds) {
        held++;
    } else if (!s->is_post) {
        char length[24];
        nghttp2_nv all[4] = {plain[0], plain[1], plain[2], FIELD("content-length", "")};
        s->length = s->number > 0 ? s->number : SMALL;
        all[3].valuelen = sprintf(length, "%ld", s->length);
        all[3].value = (uint8_t *)length;
        all[3].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
        nghttp2_submit_response(session, id, all, 4, &provider);
    } else if (s->is_grpc && s->takes_trailers) {
        s->length = s->body_count;
        nghttp2_submit_response(session, id, grpc, 2, &provider);
    } else {
        nghttp2_submit_response(session, id, refused, 1, NULL);
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) return 0;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && frame->hd.flags & NGHTTP2_FLAG_END_STREAM) answer(session, frame->hd.stream_id, s);
    return 0;
}

static void release(struct stream *s) {
    held -= s->holds;
    s->next = unused;
    unused = s;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)code, (void)user;
    if (s) release(s);
    nghttp2_session_set_stream_user_data(session, id, NULL);
    return 0;
}

static void watch(struct connection *c, int out) {
    if (c->wants_out == out) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

/* Frames are gathered and share system calls; 0: the connection is over. */
static int flush(struct connection *c) {
    for (;;) {
        while (c->out_count < OUT_WANTED) {
            const uint8_t *p;
            ssize_t n = nghttp2_session_mem_send(c->session, &p);
            if (n < 0 || c->out_count + n > OUT_MAX) return 0;
            if (n == 0) break;
            memcpy(c->out + c->out_count, p, n);
            c->out_count += n;
        }
        if (!c->out_count) break;
        long n = send(c->fd, c->out + c->out_sent, c->out_count - c->out_sent,
                      MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return 0;
        if (n > 0) c->out_sent += n;
        if (c->out_sent < c->out_count) {
            watch(c, 1);
            return 1;
        }
        c->out_sent = c->out_count = 0;
    }
    watch(c, 0);
    return nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session);
}

static int begin_session(struct connection *c, long n) {
    char text[128], body[32];
    if (n < 3 || memcmp(piece, "PRI", 3)) {
        int count = sprintf(body, "%ld\n", held);
        count = sprintf(text, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
                        count, body);
        send(c->fd, text, count, MSG_NOSIGNAL);
        return 0;
    }
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams_max},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20},
    };
    nghttp2_session_server_new2(&c->session, callbacks, c, library_options);
    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, 1 << 24);
    return 1;
}

static int advance(struct connection *c, uint32_t events) {
    if (events & EPOLLOUT && !flush(c)) return 0;
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP))) return 1;
    long n = recv(c->fd, piece, PIECE, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) return 1;
    if (n <= 0 || (!c->session && !begin_session(c, n))) return 0;
    if (nghttp2_session_mem_recv(c->session, (uint8_t *)piece, n) < 0) return 0;
    return flush(c);
}

static void finish(struct connection *c) {
    if (c->session) {
        /* The library doesn't report open streams when a session goes. */
        int32_t last = nghttp2_session_get_last_proc_stream_id(c->session);
        for (int32_t id = 1; id <= last; id += 2) {
            struct stream *s = nghttp2_session_get_stream_user_data(c->session, id);
            if (s) release(s);
        }
        nghttp2_session_del(c->session);
    }
    close(c->fd);
    free(c);
}

static void accept_one(int listener) {
    int on = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0) return;
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) return 2;
    if (argc == 3) streams_max = atoi(argv[2]);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) {
        perror("h2origin");
        return 1;
    }
    memset(small, 'x', SMALL);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option_new(&library_options);
    nghttp2_option_set_no_closed_streams(library_options, 1);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    piece = malloc(PIECE);
    for (;;) {
        int count = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) accept_one(listener);
            else if (!advance(c, events[i].events)) finish(c);
        }
    }
}
