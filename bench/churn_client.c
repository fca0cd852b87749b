/* The client of soak_http2.py: HTTP/1.1 or HTTP/2 over TLS 1.3, one thread, epoll. Requests of
 * random sizes in both directions; some are aborted by the client, some by the upstream, some
 * answered early (churn.h). Every byte of every answer is compared with what it should be, and
 * every ending with what it must be:
 *
 *   normal, early   200, whole
 *   cut             never whole: the stream is reset, at any place, or the connection ends inside
 *                   the answer; a 502 if nothing of it had been sent
 *   dead            502
 *
 * Prints {json} and ends with 1 if anything was otherwise.
 *
 * Build: gcc -O2 -o churn_client churn_client.c -lnghttp2 -lssl -lcrypto
 * usage: churn_client h1|h2 PORT HOST REQUESTS CONNECTIONS STREAMS SEED
 */
#include "churn.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>

struct stream {
    struct plan plan;
    struct body body;
    struct connection *owner;
    int32_t id;
    int status, has_seed, is_good, is_over, closes;
    size_t sent;
    struct stream *next, *previous;
};

struct connection {
    int fd, wants_out, connected, gone, is_over;
    SSL *ssl;
    struct buffer in, out;
    nghttp2_session *session;
    struct stream *streams;
    int stream_count, has_head;
};

static int version, port, connection_count, stream_count, poller;
static const char *host;
static long wanted, started, finished, failed;
static long kinds[128], bad_gateways, connects;
static uint64_t up_bytes, down_bytes;
static char first_error[512];
static SSL_CTX *context;
static struct connection *all;

static void fail(struct stream *s, const char *format, ...) {
    failed++;
    if (failed > 5) return;
    va_list list;
    char text[256], path[128] = "-";
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (s) plan_path(&s->plan, path);
    fprintf(stderr, "churn: %s: %s (status %d, %zu bytes down, %zu up)\n", path, text,
            s ? s->status : 0, s ? s->body.got : 0, s ? s->sent : 0);
    if (!first_error[0]) snprintf(first_error, sizeof first_error, "%s: %s", path, text);
}

/* Sizes: most are small, a few up to a MiB. */
static unsigned size(void) {
    unsigned dice = below(100);
    return below(dice < 50 ? 200 : dice < 80 ? 4096 : dice < 95 ? 65536
                 : dice < 99 ? 262144 : SIZE_MAX_BYTES + 1);
}

static void plan_make(struct plan *p) {
    unsigned dice = below(1000);
    p->seed = random_next() & 0x7FFFFFFF;
    p->up = below(2) ? 0 : size();
    p->down = size();
    p->what = dice < 900 ? NORMAL : dice < 920 ? EARLY : dice < 940 ? CUT : dice < 955 ? DEAD
        : dice < 970 ? LEFT_HEAD : dice < 985 ? LEFT_UP : LEFT_DOWN;
    if (p->what == CUT || p->what == LEFT_DOWN) p->down += 2;
    if (p->what == EARLY || p->what == LEFT_UP) p->up += 2;
    p->up_known = below(4) > 0;
    p->down_known = below(4) > 0;
    p->at = p->what == CUT || p->what == LEFT_DOWN ? 1 + below(p->down - 1)
        : p->what == DEAD ? below(p->up + 1) : p->what == LEFT_UP ? 1 + below(p->up - 1) : 0;
}

static struct stream *stream_begin(struct connection *c) {
    struct stream *s = calloc(1, sizeof *s);
    plan_make(&s->plan);
    s->owner = c;
    s->body.expected = content(down_seed(&s->plan));
    s->body.expected_count = s->plan.down;
    s->next = c->streams;
    if (s->next) s->next->previous = s;
    c->streams = s;
    c->stream_count++;
    started++;
    kinds[(int)s->plan.what]++;
    return s;
}

static void stream_free(struct stream *s) {
    if (s->previous) s->previous->next = s->next;
    else s->owner->streams = s->next;
    if (s->next) s->next->previous = s->previous;
    s->owner->stream_count--;
    up_bytes += s->sent;
    down_bytes += s->body.got;
    finished++;
    free(s);
}

/* An answer of the upstream's, whole or not: 1 if it may be what it is. */
static int is_genuine(struct stream *s) {
    if (s->body.bad) return fail(s, "other content"), 0;
    if (!s->has_seed) return fail(s, "another request's answer"), 0;
    return 1;
}

/* The answer is over; it is whole or was cut. */
static void judge(struct stream *s, int is_whole, const char *how) {
    char what = s->plan.what;
    if (what >= LEFT_HEAD) {
        /* Nothing is expected of these but right bytes; the answer may have been faster. */
        if (s->status == 200) is_genuine(s);
    } else if (s->status == 502 && is_whole && (what == CUT || what == DEAD)) {
        bad_gateways++;
    } else if (what == CUT) {
        if (is_whole) fail(s, "a cut answer was completed");
        else if (s->status == 200) is_genuine(s);
        else if (version == 2 && !s->status) return;
        else fail(s, "a cut answer: %s", how);
    } else if (what == DEAD) {
        fail(s, "no answer: %s instead of a 502", how);
    } else if (!is_whole || s->status != 200) {
        fail(s, "%s", how);
    } else if (is_genuine(s)) {
        if (s->body.got != s->plan.down) fail(s, "%zu bytes", s->body.got);
        else if (what == NORMAL && !s->is_good) fail(s, "the upload came as another");
    }
}

static void watch(struct connection *c, int out) {
    if (c->wants_out == out) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

/* Ends the connection; `how` is told to those whose answer is incomplete. */
static void drop(struct connection *c, const char *how, int reset) {
    if (c->fd < 0) return;
    while (c->streams) {
        struct stream *s = c->streams;
        if (!s->is_over) judge(s, 0, how);
        stream_free(s);
    }
    if (c->session) nghttp2_session_del(c->session);
    c->session = NULL;
    if (reset) reset_on_close(c->fd);
    else if (c->connected) SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    c->fd = -1;
    c->in.count = c->out.count = 0;
    c->connected = c->has_head = c->gone = 0;
    ERR_clear_error();
}

/* HTTP/1.1 */

static void h1_fill(struct connection *c) {
    struct stream *s = c->streams;
    while (s && !s->is_over && c->out.count < PIECE / 4 && s->sent < s->plan.up) {
        size_t n = s->plan.up - s->sent;
        if (n > 16000) n = 16000;
        if (s->plan.what == LEFT_UP && n > s->plan.at - s->sent) n = s->plan.at - s->sent;
        if (!n) return;
        if (!s->plan.up_known) buffer_text(&c->out, "%zx\r\n", n);
        buffer_add(&c->out, content(s->plan.seed) + s->sent, n);
        if (!s->plan.up_known) buffer_add(&c->out, "\r\n", 2);
        s->sent += n;
        if (s->sent == s->plan.up && !s->plan.up_known) buffer_text(&c->out, "0\r\n\r\n");
    }
}

static void h1_begin(struct connection *c) {
    char path[128];
    struct stream *s = stream_begin(c);
    plan_path(&s->plan, path);
    buffer_text(&c->out, "%s %s HTTP/1.1\r\nHost: %s\r\n", s->plan.up ? "POST" : "GET", path, host);
    if (!s->plan.up) buffer_text(&c->out, "\r\n");
    else if (s->plan.up_known) buffer_text(&c->out, "Content-Length: %u\r\n\r\n", s->plan.up);
    else buffer_text(&c->out, "Transfer-Encoding: chunked\r\n\r\n");
    c->has_head = 0;
}

/* 1: the client leaves here. */
static int h1_leaves(struct connection *c) {
    struct stream *s = c->streams;
    return s && !c->out.count
        && (s->plan.what == LEFT_HEAD
            || (s->plan.what == LEFT_UP && s->sent >= s->plan.at)
            || (s->plan.what == LEFT_DOWN && s->status && s->body.got >= s->plan.at));
}

static void h1_input(struct connection *c) {
    struct stream *s = c->streams;
    if (!s) return drop(c, "bytes between answers", 0);
    while (!c->has_head) {
        char *start = c->in.bytes + c->in.start;
        char *end = c->in.count ? memmem(start, c->in.count, "\r\n\r\n", 4) : NULL;
        if (!end) return;
        end[2] = 0;
        s->status = atoi(start + 9);
        const char *seed = head_field(start, "x-seed"), *up = head_field(start, "x-up");
        const char *closing = head_field(start, "connection");
        s->has_seed = seed && strtoul(seed, NULL, 10) == s->plan.seed;
        s->is_good = up && !strncmp(up, "good", 4);
        s->closes = closing && !strncasecmp(closing, "close", 5);
        const char *length = head_field(start, "content-length");
        body_begin(&s->body, head_field(start, "transfer-encoding") != NULL,
                   length ? strtoul(length, NULL, 10) : 0);
        size_t used = end + 4 - start;
        c->in.start += used;
        c->in.count -= used;
        c->has_head = 1;
    }
    size_t used = body_take(&s->body, c->in.bytes + c->in.start, c->in.count);
    c->in.start += used;
    c->in.count -= used;
    if (h1_leaves(c)) {
        s->is_over = 1;
        if (s->status == 200) is_genuine(s);
        return drop(c, "left", s->plan.seed & 1);
    }
    if (!s->body.ended) return;
    int ends = s->closes || s->sent < s->plan.up || c->out.count;
    if (c->in.count) fail(s, "bytes behind the answer");
    s->is_over = 1;
    judge(s, 1, "a whole answer");
    stream_free(s);
    if (ends) drop(c, "done", 0);
}

/* HTTP/2 */

static ssize_t h2_read(nghttp2_session *session, int32_t id, uint8_t *out, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user) {
    (void)session, (void)id, (void)user;
    struct stream *s = source->ptr;
    size_t n = s->plan.up - s->sent;
    if (s->plan.what == LEFT_UP) {
        if (s->sent >= s->plan.at) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        if (n > s->plan.at - s->sent) n = s->plan.at - s->sent;
    }
    if (n > room) n = room;
    memcpy(out, content(s->plan.seed) + s->sent, n);
    s->sent += n;
    if (s->sent == s->plan.up) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return n;
}

#define FIELD(n, v) {(uint8_t *)(n), (uint8_t *)(v), strlen(n), strlen(v), 0}

static void h2_begin(struct connection *c) {
    char path[128], length[16];
    struct stream *s = stream_begin(c);
    plan_path(&s->plan, path);
    sprintf(length, "%u", s->plan.up);
    nghttp2_nv fields[] = {
        FIELD(":method", s->plan.up ? "POST" : "GET"), FIELD(":scheme", "https"),
        FIELD(":authority", host), FIELD(":path", path), FIELD("content-length", length)};
    nghttp2_data_provider provider = {.source.ptr = s, .read_callback = h2_read};
    s->id = nghttp2_submit_request(c->session, NULL, fields,
                                   s->plan.up && s->plan.up_known ? 5 : 4,
                                   s->plan.up ? &provider : NULL, s);
    if (s->id < 0) {
        fail(s, "submit: %s", nghttp2_strerror(s->id));
        stream_free(s);
    }
}

static void h2_leave(nghttp2_session *session, struct stream *s) {
    s->is_over = 1;
    nghttp2_submit_rst_stream(session, 0, s->id, NGHTTP2_CANCEL);
}

static int h2_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && frame->hd.type == NGHTTP2_HEADERS && s->plan.what == LEFT_HEAD && !s->is_over)
        h2_leave(session, s);
    return 0;
}

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_count, const uint8_t *value, size_t value_count, uint8_t flags,
                     void *user) {
    (void)value_count, (void)flags, (void)user, (void)name_count;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s) return 0;
    if (!strcmp((char *)name, ":status")) s->status = atoi((char *)value);
    if (!strcmp((char *)name, "x-seed"))
        s->has_seed = strtoul((char *)value, NULL, 10) == s->plan.seed;
    if (!strcmp((char *)name, "x-up")) s->is_good = !strcmp((char *)value, "good");
    return 0;
}

static int h2_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
                   size_t count, void *user) {
    (void)flags, (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) return 0;
    if (s->status == 200) body_compare(&s->body, (const char *)data, count);
    if (s->plan.what == LEFT_DOWN && s->body.got >= s->plan.at && !s->is_over)
        h2_leave(session, s);
    return 0;
}

static int h2_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct connection *c = user;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        fail(NULL, "GOAWAY %u", frame->goaway.error_code);
        c->gone = 1;
    }
    if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (!s || s->is_over) return 0;
    judge(s, 1, "a whole answer");
    s->is_over = 1;
    /* The rest of the upload interests nobody. */
    if (s->sent < s->plan.up) nghttp2_submit_rst_stream(session, 0, s->id, NGHTTP2_CANCEL);
    return 0;
}

static int h2_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    (void)user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) return 0;
    nghttp2_session_set_stream_user_data(session, id, NULL);
    char how[32];
    sprintf(how, "RST_STREAM %u", code);
    if (!s->is_over) judge(s, 0, how);
    stream_free(s);
    return 0;
}

static void h2_open(struct connection *c) {
    static nghttp2_session_callbacks *callbacks;
    if (!callbacks) {
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_header);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, h2_sent);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_close);
    }
    nghttp2_session_client_new(&c->session, callbacks, c);
    nghttp2_submit_settings(c->session, 0, NULL, 0);
}

/* Both */

static void open_connection(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) die("socket");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    set_nonblocking(c->fd);
    connects++;
    c->wants_out = 0;
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, host);
    SSL_set_connect_state(c->ssl);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

static void begin_requests(struct connection *c) {
    while (c->connected && !c->gone && started < wanted && c->stream_count < stream_count) {
        if (version == 2) h2_begin(c);
        else h1_begin(c);
    }
}

/* Sends what can be sent. */
static void flush(struct connection *c) {
    for (int turn = 0; turn < 64; turn++) {
        if (version == 2) {
            const uint8_t *data;
            ssize_t n;
            while (c->out.count < PIECE && (n = nghttp2_session_mem_send(c->session, &data)) > 0)
                buffer_add(&c->out, data, n);
        } else {
            h1_fill(c);
        }
        if (!c->out.count) break;
        int n = SSL_write(c->ssl, c->out.bytes + c->out.start,
                          c->out.count < 16384 ? c->out.count : 16384);
        if (n <= 0) {
            int error = SSL_get_error(c->ssl, n);
            ERR_clear_error();
            if (error == SSL_ERROR_WANT_WRITE) return watch(c, 1);
            if (error == SSL_ERROR_WANT_READ) return watch(c, 0);
            /* What has been received before may be the answer to it all. */
            c->out.count = 0;
            break;
        }
        c->out.start += n;
        c->out.count -= n;
    }
    if (version == 1 && h1_leaves(c) && c->streams->plan.what != LEFT_DOWN) {
        c->streams->is_over = 1;
        return drop(c, "left", c->streams->plan.seed & 1);
    }
    watch(c, c->out.count > 0);
}

static void input(struct connection *c) {
    for (int turn = 0; turn < 16 && c->fd >= 0; turn++) {
        int n = SSL_read(c->ssl, buffer_space(&c->in, PIECE), PIECE);
        if (n <= 0) {
            int error = SSL_get_error(c->ssl, n);
            ERR_clear_error();
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
            if (version == 2 && c->stream_count) fail(NULL, "the connection ended");
            return drop(c, error == SSL_ERROR_ZERO_RETURN ? "close" : "reset", 0);
        }
        c->in.count += n;
        if (version == 1) {
            h1_input(c);
            continue;
        }
        ssize_t used = nghttp2_session_mem_recv(
            c->session, (uint8_t *)c->in.bytes + c->in.start, c->in.count);
        c->in.count = 0;
        if (used < 0) {
            fail(NULL, "HTTP/2: %s", nghttp2_strerror(used));
            return drop(c, "a violation", 0);
        }
    }
}

static void turn(struct connection *c) {
    if (c->fd < 0) open_connection(c);
    if (!c->connected) {
        int done = SSL_do_handshake(c->ssl);
        if (done != 1) {
            int error = SSL_get_error(c->ssl, done);
            ERR_clear_error();
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
            fail(NULL, "handshake failed");
            return drop(c, "handshake", 0);
        }
        const unsigned char *chosen;
        unsigned count;
        SSL_get0_alpn_selected(c->ssl, &chosen, &count);
        if (count != (version == 2 ? 2 : 8)) {
            fprintf(stderr, "churn: the server did not agree to this version\n");
            exit(2);
        }
        c->connected = 1;
        if (version == 2) h2_open(c);
    }
    input(c);
    if (c->fd < 0) return;
    begin_requests(c);
    flush(c);
}

int main(int count, char **words) {
    if (count != 8) return 64;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    version = strcmp(words[1], "h2") ? 1 : 2;
    port = atoi(words[2]);
    host = words[3];
    wanted = atol(words[4]);
    connection_count = atoi(words[5]);
    stream_count = version == 2 ? atoi(words[6]) : 1;
    random_state ^= strtoull(words[7], NULL, 10) * 0x9E3779B97F4A7C15u;
    table_make();
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    if (version == 2) SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\2h2", 3);
    else SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\10http/1.1", 9);
    poller = epoll_create1(0);
    all = calloc(connection_count, sizeof *all);
    double begun = now(), progress = begun;
    long before = 0;
    for (int i = 0; i < connection_count; i++) {
        all[i].fd = -1;
        turn(&all[i]);
    }
    while (finished < wanted && failed < 100) {
        struct epoll_event events[256];
        int found = epoll_wait(poller, events, 256, 1000);
        for (int i = 0; i < found; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->fd >= 0) turn(c);
        }
        for (int i = 0; started < wanted && i < connection_count; i++)
            if (all[i].fd < 0) turn(&all[i]);
        if (finished != before) before = finished, progress = now();
        if (now() - progress > 30) {
            for (int i = 0; i < connection_count; i++)
                if (all[i].fd >= 0) drop(&all[i], "nothing for 30 s", 1);
            fail(NULL, "nothing moved for 30 s");
            break;
        }
    }
    for (int i = 0; i < connection_count; i++) drop(&all[i], "the end", 0);
    printf("{\"requests\": %ld, \"failed\": %ld, \"first\": \"%s\", \"early\": %ld, \"cut\": %ld, "
           "\"dead\": %ld, \"left\": %ld, \"bad_gateways\": %ld, \"connects\": %ld, "
           "\"up_mib\": %llu, \"down_mib\": %llu, \"seconds\": %.1f}\n",
           finished, failed, first_error, kinds[EARLY], kinds[CUT], kinds[DEAD],
           kinds[LEFT_HEAD] + kinds[LEFT_UP] + kinds[LEFT_DOWN], bad_gateways, connects,
           (unsigned long long)up_bytes >> 20, (unsigned long long)down_bytes >> 20,
           now() - begun);
    return failed != 0;
}
