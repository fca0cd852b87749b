/* The upstream of soak_http2.py: HTTP/1.1 and HTTP/2 (prior knowledge) on one port, one thread,
 * epoll. It does what the path of a request asks for (churn.h), compares every upload with what it
 * should be, and says so in the field x-up. Each HTTP/2 connection gets a GOAWAY after so many
 * requests, as RFC 9113 section 6.8 wants it: a notice first, so that no request may fail for it.
 *
 * SIGTERM ends it; it prints {json} then: what was wrong, and what is still open.
 *
 * Build: gcc -O2 -o churn_upstream churn_upstream.c -lnghttp2      usage: churn_upstream PORT GOAWAY
 */
#include "churn.h"
#include <signal.h>

struct stream {
    struct plan plan;
    struct body body;
    size_t sent;
    int answered;
    int32_t id;
};

struct connection {
    int fd, wants_out, version, dead, requests, said_goaway, streams;
    struct buffer in, out;
    nghttp2_session *session;
    struct stream one;          /* HTTP/1.1 */
    int is_answering, has_head;
    struct connection *next_dead;
};

static int poller, goaway_after;
static volatile sig_atomic_t stops;
static long connections_open, connections_seen[3], streams_open, requests, bad_uploads, goaways;
static char first_error[256];
static struct connection *dead;

static void note(const char *format, ...) {
    bad_uploads++;
    if (first_error[0]) return;
    va_list list;
    va_start(list, format);
    vsnprintf(first_error, sizeof first_error, format, list);
    va_end(list);
}

static void stop(int number) { (void)number, stops = 1; }

static void drop(struct connection *c, int reset) {
    if (c->dead) return;
    c->dead = 1;
    if (reset) reset_on_close(c->fd);
    close(c->fd);
    c->fd = -1;
    c->next_dead = dead;
    dead = c;
    connections_open--;
}

static void bury(void) {
    while (dead) {
        struct connection *c = dead;
        dead = c->next_dead;
        if (c->session) nghttp2_session_del(c->session);
        streams_open -= c->streams;
        buffer_free(&c->in);
        buffer_free(&c->out);
        free(c);
    }
}

static void watch(struct connection *c, int out) {
    if (c->wants_out == out || c->dead) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void upload_begin(struct stream *s) {
    s->body.expected = content(s->plan.seed);
    s->body.expected_count = s->plan.up;
}

static int upload_is_good(struct stream *s) {
    return !s->body.bad && s->body.got == s->plan.up;
}

/* 1: the exchange dies here. */
static int dies(struct stream *s) {
    return s->plan.what == DEAD && s->body.got >= s->plan.at;
}

/* HTTP/1.1 */

static int h1_fill(struct connection *c) {
    struct stream *s = &c->one;
    const char *bytes = content(down_seed(&s->plan));
    while (c->is_answering && c->out.count < PIECE) {
        size_t n = s->plan.down - s->sent;
        if (s->plan.what == CUT && s->sent >= s->plan.at) {
            return -1;
        }
        if (s->plan.what == CUT && n > s->plan.at - s->sent) n = s->plan.at - s->sent;
        if (n > PIECE / 4) n = PIECE / 4;
        if (!n && s->sent == s->plan.down) {
            if (!s->plan.down_known) buffer_text(&c->out, "0\r\n\r\n");
            c->is_answering = 0;
            break;
        }
        if (!s->plan.down_known) buffer_text(&c->out, "%zx\r\n", n);
        buffer_add(&c->out, bytes + s->sent, n);
        if (!s->plan.down_known) buffer_add(&c->out, "\r\n", 2);
        s->sent += n;
    }
    return 0;
}

static void h1_answer(struct connection *c) {
    struct stream *s = &c->one;
    s->answered = 1;
    c->is_answering = 1;
    buffer_text(&c->out, "HTTP/1.1 200 OK\r\nx-seed: %u\r\nx-up: %s\r\n", s->plan.seed,
                s->body.ended && upload_is_good(s) ? "good" : "unread");
    if (s->plan.down_known) buffer_text(&c->out, "Content-Length: %u\r\n\r\n", s->plan.down);
    else buffer_text(&c->out, "Transfer-Encoding: chunked\r\n\r\n");
}

static void h1_flush(struct connection *c) {
    for (;;) {
        int cut = h1_fill(c) < 0;
        if (!c->out.count) {
            if (cut) drop(c, c->one.plan.seed & 1);
            break;
        }
        ssize_t n = send(c->fd, c->out.bytes + c->out.start, c->out.count, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) drop(c, 0);
            break;
        }
        c->out.start += n;
        c->out.count -= n;
    }
    watch(c, c->out.count > 0 || c->is_answering);
}

static void h1_input(struct connection *c) {
    while (!c->dead) {
        struct stream *s = &c->one;
        if (!c->has_head) {
            char *start = c->in.bytes + c->in.start;
            char *end = c->in.count ? memmem(start, c->in.count, "\r\n\r\n", 4) : NULL;
            if (!end) return;
            memset(s, 0, sizeof *s);
            end[2] = 0;
            char *path = strchr(start, ' ');
            if (!path || !plan_parse(&s->plan, path + 1)) {
                note("a head that was not sent: %.60s", start);
                return drop(c, 1);
            }
            requests++;
            upload_begin(s);
            const char *coding = head_field(start, "transfer-encoding");
            const char *length = head_field(start, "content-length");
            body_begin(&s->body, coding != NULL, length ? strtoul(length, NULL, 10) : 0);
            size_t used = end + 4 - start;
            c->in.start += used;
            c->in.count -= used;
            c->has_head = 1;
            if (s->plan.what == EARLY) h1_answer(c);
        }
        size_t used = body_take(&s->body, c->in.bytes + c->in.start, c->in.count);
        c->in.start += used;
        c->in.count -= used;
        if (dies(s)) return drop(c, s->plan.seed & 1);
        if (!s->body.ended) break;
        if (!s->answered) {
            if (!upload_is_good(s)) note("upload %u: %zu of %u bytes, %s", s->plan.seed,
                                         s->body.got, s->plan.up, s->body.bad ? "other" : "same");
            h1_answer(c);
        }
        h1_flush(c);
        if (c->dead || c->is_answering || c->out.count) return;
        c->has_head = 0;
        if (!c->in.count) return;
    }
    if (!c->dead) h1_flush(c);
}

/* HTTP/2 */

static ssize_t h2_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user) {
    (void)session, (void)id, (void)user;
    struct stream *s = source->ptr;
    size_t n = s->plan.down - s->sent;
    if (s->plan.what == CUT) {
        if (s->sent >= s->plan.at) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        if (n > s->plan.at - s->sent) n = s->plan.at - s->sent;
    }
    if (n > room) n = room;
    memcpy(out, content(down_seed(&s->plan)) + s->sent, n);
    s->sent += n;
    if (s->sent == s->plan.down) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return n;
}

#define FIELD(n, v) {(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), 0}

static void h2_answer(struct connection *c, struct stream *s) {
    char seed[16], length[16];
    sprintf(seed, "%u", s->plan.seed);
    sprintf(length, "%u", s->plan.down);
    int good = s->body.ended && upload_is_good(s);
    nghttp2_nv fields[] = {
        FIELD(":status", "200"), FIELD("x-seed", seed), FIELD("x-up", good ? "good" : "unread"),
        FIELD("content-length", length)};
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = h2_read};
    s->answered = 1;
    nghttp2_submit_response(c->session, s->id, fields, s->plan.down_known ? 4 : 3, &provider);
}

static int h2_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct connection *c = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    struct stream *s = calloc(1, sizeof *s);
    s->id = frame->hd.stream_id;
    streams_open++;
    c->streams++;
    nghttp2_session_set_stream_user_data(session, s->id, s);
    return 0;
}

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_count, const uint8_t *value, size_t value_count, uint8_t flags,
                     void *user) {
    (void)value_count, (void)flags, (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && name_count == 5 && !memcmp(name, ":path", 5)
        && !plan_parse(&s->plan, (const char *)value)) {
        note("a path that was not sent: %.60s", value);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return 0;
}

static void h2_die(nghttp2_session *session, struct stream *s) {
    s->plan.what = 0;
    nghttp2_submit_rst_stream(session, 0, s->id, NGHTTP2_INTERNAL_ERROR);
}

static int h2_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct connection *c = user;
    /* RFC 9113 section 6.8: what was under way when it heard the notice has come before this. */
    if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK && c->said_goaway)
        nghttp2_submit_goaway(session, 0, nghttp2_session_get_last_proc_stream_id(session),
                              NGHTTP2_NO_ERROR, NULL, 0);
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        requests++;
        upload_begin(s);
        if (s->plan.what == EARLY) h2_answer(c, s);
        if (goaway_after && ++c->requests >= goaway_after && !c->said_goaway) {
            c->said_goaway = 1;
            goaways++;
            nghttp2_submit_shutdown_notice(session);
            nghttp2_submit_ping(session, 0, NULL);
        }
    }
    if (dies(s)) {
        h2_die(session, s);
        return 0;
    }
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        s->body.ended = 1;
        if (!s->answered && s->plan.what) {
            if (!upload_is_good(s)) note("upload %u: %zu of %u bytes, %s", s->plan.seed,
                                         s->body.got, s->plan.up, s->body.bad ? "other" : "same");
            h2_answer(c, s);
        }
    }
    return 0;
}

static int h2_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t count, void *user) {
    (void)flags, (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) return 0;
    body_compare(&s->body, (const char *)data, count);
    if (dies(s)) h2_die(session, s);
    return 0;
}

/* RFC 9113 section 8.1: the answer is whole and the rest of the upload is not wanted. */
static int h2_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && frame->hd.type == NGHTTP2_DATA && frame->hd.flags & NGHTTP2_FLAG_END_STREAM
        && !s->body.ended)
        nghttp2_submit_rst_stream(session, 0, s->id, NGHTTP2_NO_ERROR);
    return 0;
}

static int h2_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    (void)code;
    struct connection *c = user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    streams_open--;
    c->streams--;
    free(s);
    return 0;
}

static void h2_open(struct connection *c) {
    static nghttp2_session_callbacks *callbacks;
    if (!callbacks) {
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_begin);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, h2_sent);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_close);
    }
    nghttp2_session_server_new(&c->session, callbacks, c);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 100}};
    nghttp2_submit_settings(c->session, 0, settings, 1);
}

static void h2_flush(struct connection *c) {
    for (;;) {
        while (c->out.count < PIECE) {
            const uint8_t *data;
            ssize_t n = nghttp2_session_mem_send(c->session, &data);
            if (n <= 0) break;
            buffer_add(&c->out, data, n);
        }
        if (!c->out.count) break;
        ssize_t n = send(c->fd, c->out.bytes + c->out.start, c->out.count, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) drop(c, 0);
            break;
        }
        c->out.start += n;
        c->out.count -= n;
    }
    /* A connection that said GOAWAY is ended by its other side, which has what it needs then. */
    if (!c->said_goaway && !c->out.count && !nghttp2_session_want_read(c->session)
        && !nghttp2_session_want_write(c->session))
        drop(c, 0);
    watch(c, c->out.count > 0);
}

static void h2_input(struct connection *c) {
    ssize_t n = nghttp2_session_mem_recv(
        c->session, (uint8_t *)c->in.bytes + c->in.start, c->in.count);
    if (n < 0) {
        note("HTTP/2: %s", nghttp2_strerror(n));
        return drop(c, 1);
    }
    c->in.count = 0;
    h2_flush(c);
}

static void readable(struct connection *c) {
    for (int turn = 0; turn < 4 && !c->dead; turn++) {
        ssize_t n = recv(c->fd, buffer_space(&c->in, PIECE), PIECE, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) return drop(c, 0);
        c->in.count += n;
        if (!c->version) {
            if (c->in.count < 4) return;
            c->version = memcmp(c->in.bytes + c->in.start, "PRI ", 4) ? 1 : 2;
            connections_seen[c->version]++;
            if (c->version == 2) h2_open(c);
        }
        if (c->version == 2) h2_input(c);
        else h1_input(c);
        if (n < PIECE) return;
    }
}

int main(int count, char **words) {
    if (count != 3) return 64;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    goaway_after = atoi(words[2]);
    table_make();
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        die("listen");
    set_nonblocking(listener);
    poller = epoll_create1(0);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    while (!stops) {
        struct epoll_event events[256];
        int found = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < found; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    c = calloc(1, sizeof *c);
                    set_nonblocking(c->fd = fd);
                    connections_open++;
                    struct epoll_event add = {.events = EPOLLIN, .data.ptr = c};
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &add);
                }
                continue;
            }
            if (!c->dead && events[i].events & EPOLLOUT) {
                if (c->version == 2) h2_flush(c);
                else {
                    h1_flush(c);
                    if (!c->dead && c->has_head && !c->is_answering && !c->out.count
                        && c->one.body.ended) {
                        c->has_head = 0;
                        h1_input(c);
                    }
                }
            }
            if (!c->dead && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        }
        bury();
    }
    printf("{\"requests\": %ld, \"bad\": %ld, \"first\": \"%s\", \"connections_open\": %ld, "
           "\"streams_open\": %ld, \"h1\": %ld, \"h2\": %ld, \"goaways\": %ld}\n",
           requests, bad_uploads, first_error, connections_open, streams_open,
           connections_seen[1], connections_seen[2], goaways);
    return 0;
}
