/* A load generator for compare.py: HTTP/1.1 over TLS 1.3 or plaintext, one thread, epoll.
 *
 * It does what wrk can't: it checks every answer (status, length, content), resumes sessions or
 * never does, uploads, keeps a schedule (open loop: latency counts from when a request was due,
 * not from when it was sent), asks for thousands of hosts in turn by chance, and holds thousands of
 * idle connections.
 *
 * Prints `begin` when the measured time begins, `end {json}` when it ends; with -H `held`, waits
 * for a line, closes everything, prints `closed`, waits for the end of its input.
 *
 * Build: gcc -O2 -o load load.c -lssl -lcrypto       HTTP/2: h2client.c
 */
#define _GNU_SOURCE
#include "client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CONNECTING, HANDSHAKING, WRITING, READING, CLOSING, IDLE };
enum { HEAD_MAX = 8192, PIECE = 256 * 1024 };

struct connection {
    int fd, state, wants_out, has_finished;
    SSL *ssl;
    SSL_SESSION *session;    /* of the connection before; the library lets it be used once */
    double due;              /* when this request should have begun */
    long sent, to_send;      /* bytes of head and content */
    long got, length;        /* content received; -1: the head is incomplete */
    int head_count;
    int host;                /* of this request, of `hosts` */
    char head[HEAD_MAX];
};

static int port, connections = 64, tls, closes, resumes, holds;
static double seconds = 2, warm = 0.5, rate;
static long expected = -1, upload, most = 1L << 60;
static int pattern;          /* content is 64-bit counters, not a letter */
static const char *path = "/";
static int hosts;            /* h00000.sites.example and so on; 0: localhost alone */

static SSL_CTX *context;
static int poller, measuring;
static struct connection *all;
static char request[1024];
static int request_count, host_at;
static char *piece, *content;
static long done, failed, bytes, resumed, warmed;
static double lag;
static double *wakes;        /* how late each request of a schedule was noticed */
static long wake_count, wake_room;
static char first_error[256], cipher[128];
static struct connection **unused;
static int unused_count;
static double *queue;        /* due times of requests that found no unused connection */
static long queue_head, queue_tail;
enum { QUEUE = 1 << 16 };

static void open_connection(struct connection *c, double due);
static void begin_request(struct connection *c, double due);

static void watch(struct connection *c, int out) {
    if (c->wants_out == out) return;
    c->wants_out = out;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void drop(struct connection *c) {
    if (c->ssl) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->ssl);
        c->ssl = NULL;
    }
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
}

static void fail(struct connection *c, const char *format, ...) {
    if (!first_error[0]) {
        va_list list;
        va_start(list, format);
        vsnprintf(first_error, sizeof first_error, format, list);
        va_end(list);
    }
    if (measuring) failed++;
    ERR_clear_error();
    drop(c);
    if (failed > 1000 || !measuring) {
        fprintf(stderr, "load: %s\n", first_error);
        exit(1);
    }
    open_connection(c, now());
}

static void finish(struct connection *c) {
    double end = now();
    if (!c->has_finished) {
        c->has_finished = 1;
        warmed++;
    }
    if (measuring) {
        done++;
        note_latency(end - c->due);
    }
    if (closes) {
        if (c->ssl && SSL_session_reused(c->ssl)) resumed += measuring;
        else if (resumes && measuring) { fail(c, "session was not resumed"); return; }
        c->state = CLOSING;   /* until the proxy closes, as it was asked to */
    } else if (rate > 0 || holds) {
        c->state = IDLE;
        if (queue_head != queue_tail) begin_request(c, queue[queue_head++ % QUEUE]);
        else if (!holds) unused[unused_count++] = c;
    } else {
        begin_request(c, end);
    }
}

/* The same sequence in each run: what differs is the proxy. */
static int any_host(void) {
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % hosts;
}

/* All names are of one length, so only the digits differ between requests. */
static void name_host(int number) {
    for (int i = 4; i >= 0; i--, number /= 10) request[host_at + i] = '0' + number % 10;
}

static void advance_write(struct connection *c) {
    if (hosts) name_host(c->host);
    for (long budget = PIECE; c->sent < c->to_send;) {
        long n;
        if (c->sent < request_count) n = put(c->fd, c->ssl, request + c->sent, request_count - c->sent);
        else {
            long left = c->to_send - c->sent;
            n = put(c->fd, c->ssl, content, left < 16384 ? left : 16384);
        }
        if (n == -2) { fail(c, "sending: errno %d", errno); return; }
        c->sent += n;
        budget -= n;
        if (measuring && upload) bytes += n;
        if ((n == 0 || budget <= 0) && c->sent < c->to_send) { watch(c, 1); return; }
    }
    watch(c, 0);
    c->state = READING;
}

static void note_wake(double late) {
    if (wake_count == wake_room) {
        wake_room = wake_room ? wake_room * 2 : 65536;
        wakes = realloc(wakes, wake_room * sizeof *wakes);
    }
    wakes[wake_count++] = late;
}

static void begin_request(struct connection *c, double due) {
    double late = now() - due;
    if (rate > 0 && measuring && late > lag) lag = late;
    c->due = due;
    c->sent = 0;
    c->to_send = request_count + upload;
    c->got = 0;
    c->length = -1;
    c->head_count = 0;
    if (hosts) c->host = any_host();
    c->state = WRITING;
    advance_write(c);
}

static int content_is_right(long offset, const char *p, long n) {
    if (pattern) return counters_are_right(offset, p, n);
    return n == 0 || (p[0] == 'x' && p[n - 1] == 'x');
}

/* Content beyond the head. */
static void take_content(struct connection *c, const char *p, long n) {
    if (!upload && expected >= 0 && !content_is_right(c->got, p, n)) {
        fail(c, "wrong content at %ld", c->got);
        return;
    }
    c->got += n;
    if (measuring && !upload) bytes += n;
    if (c->got > c->length) fail(c, "more content than announced");
    else if (c->got == c->length) finish(c);
}

static void take_head(struct connection *c, const char *p, long n) {
    int room = HEAD_MAX - 1 - c->head_count, count = n < room ? n : room, old = c->head_count;
    memcpy(c->head + old, p, count);
    c->head_count += count;
    c->head[c->head_count] = 0;
    char *end = memmem(c->head, c->head_count, "\r\n\r\n", 4);
    if (!end) {
        if (count == room) fail(c, "head too large");
        return;
    }
    if (memcmp(c->head, "HTTP/1.1 200", 12)) { fail(c, "answered %.40s", c->head); return; }
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    if (!length || length > end) { fail(c, "no content-length"); return; }
    c->length = atol(length + 17);
    if (expected >= 0 && c->length != expected) { fail(c, "length %ld", c->length); return; }
    long used = end + 4 - c->head - old;
    if (upload && n > used && atol(p + used) != upload) { fail(c, "not all was received"); return; }
    take_content(c, p + used, n - used);
}

static void advance_read(struct connection *c) {
    for (int round = 0;; round++) {
        /* What the library has read ahead, no poll would report. */
        if (round >= 32 && !(c->ssl && SSL_has_pending(c->ssl))) return;
        if (c->fd < 0 || c->state == CONNECTING || c->state == HANDSHAKING) return;
        long n = take(c->fd, c->ssl, piece, PIECE);   /* while uploading: tickets */
        if (n == 0) return;
        if (c->state == WRITING) { fail(c, n > 0 ? "%.60s during the upload" : "closed during the upload", piece); return; }
        if (c->state == CLOSING) {
            if (n > 0) { fail(c, "bytes after the answer"); return; }
            if (n == -2 && c->ssl) { fail(c, "closed without close_notify"); return; }
            drop(c);
            open_connection(c, now());
            return;
        }
        if (n < 0) { fail(c, n == -1 ? "closed early" : "receiving: errno %d", errno); return; }
        if (c->state == IDLE) { fail(c, "bytes nobody asked for"); return; }
        if (c->length < 0) take_head(c, piece, n);
        else take_content(c, piece, n);
        if (!c->ssl && c->state != CLOSING) return;
    }
}

static void advance_handshake(struct connection *c) {
    int n = SSL_do_handshake(c->ssl);
    if (n == 1) {
        if (!cipher[0])
            snprintf(cipher, sizeof cipher, "%s %s", SSL_get_version(c->ssl),
                     SSL_get_cipher_name(c->ssl));
        if (!resumes && SSL_session_reused(c->ssl)) { fail(c, "resumed unasked"); return; }
        begin_request(c, c->due);
        return;
    }
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_WANT_READ) watch(c, 0);
    else if (why == SSL_ERROR_WANT_WRITE) watch(c, 1);
    else fail(c, "handshake: %s", ERR_error_string(ERR_get_error(), NULL));
}

static void open_connection(struct connection *c, double due) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (void *)&to, sizeof to) < 0 && errno != EINPROGRESS) die("connect");
    c->due = due;
    c->state = CONNECTING;
    c->wants_out = 1;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

static void connected(struct connection *c) {
    int error = 0;
    socklen_t count = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &count);
    if (error) { fail(c, "connect: %s", strerror(error)); return; }
    if (!tls) { begin_request(c, c->due); return; }
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, hosts ? "h00000.sites.example" : "localhost");
    SSL_set_app_data(c->ssl, c);
    if (c->session) SSL_set_session(c->ssl, c->session);
    SSL_set_connect_state(c->ssl);
    c->state = HANDSHAKING;
    advance_handshake(c);
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct connection *c = SSL_get_app_data(ssl);
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

static void poll_once(double until) {
    struct epoll_event events[256];
    double left = until - now();
    struct timespec limit = {0, 0};
    if (left > 0) {
        limit.tv_sec = (long)left;
        limit.tv_nsec = (long)((left - (long)left) * 1e9);
    }
    int count = epoll_pwait2(poller, events, 256, &limit, NULL);
    for (int i = 0; i < count; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == CONNECTING && events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            connected(c);
        else if (c->state == HANDSHAKING) advance_handshake(c);
        else if (c->state == WRITING && events[i].events & EPOLLOUT) advance_write(c);
        if (c->fd >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
            advance_read(c);
        }
    }
}

/* What a schedule's end finds unanswered counts too: it is what waited longest. */
static void await_rest(void) {
    double limit = now() + 3;
    for (;;) {
        long left = queue_tail - queue_head;
        for (int i = 0; i < connections; i++) left += all[i].state != IDLE;
        if (!left) return;
        if (now() >= limit) {
            failed += left;
            if (!first_error[0]) snprintf(first_error, sizeof first_error, "%ld unanswered", left);
            return;
        }
        poll_once(limit);
    }
}

/* A TLS connection needs its own turn: opening thousands at once would time out. */
static void hold(void) {
    char line[16];
    measuring = 1;   /* failures are counted, none is repaired silently */
    for (int i = 0; i < connections; i++) {
        open_connection(&all[i], now());
        while (i - (int)done > 32) poll_once(now() + 10);
    }
    double limit = now() + 30;
    while (done < connections && now() < limit) poll_once(now() + 1);
    printf("held %ld failed %ld %s\n", done, failed, first_error);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(1);
    for (int i = 0; i < connections; i++) {
        if (all[i].ssl) SSL_shutdown(all[i].ssl);
        drop(&all[i]);
    }
    printf("closed\n");
    fflush(stdout);
    if (fgets(line, sizeof line, stdin)) exit(1);
}

static void run(void) {
    double start = now(), begin = 0, end = start + warm + seconds, next = start;
    long scheduled = 0;
    for (int i = 0; i < connections; i++) open_connection(&all[i], start);
    for (;;) {
        double time = now();
        /* Bulk may take long for its first answer; others all have had one. */
        if (!measuring && time >= start + warm &&
            (warmed == connections || expected > 1 << 20 || upload || time > start + 30)) {
            printf("begin\n");
            fflush(stdout);
            measuring = 1;
            begin = next = now();
            end = begin + seconds;
        }
        if (measuring && (time >= end || done >= most)) break;
        double until = measuring ? end : time < start + warm ? start + warm : time + 0.01;
        if (rate > 0 && measuring) {
            while (next <= time) {
                note_wake(time - next);
                if (unused_count) begin_request(unused[--unused_count], next);
                else if (queue_tail - queue_head < QUEUE) queue[queue_tail++ % QUEUE] = next;
                next = begin + ++scheduled / rate;
            }
            if (next < until) until = next;
        }
        poll_once(until);
    }
    double spent = now() - begin, wake = 0;
    if (rate > 0 && !closes) await_rest();
    sort_latencies();
    if (wake_count) {
        qsort(wakes, wake_count, sizeof *wakes, latency_order);
        wake = wakes[(long)(0.99 * (wake_count - 1))];
    }
    printf("end {\"requests\": %ld, \"failed\": %ld, \"bytes\": %ld, \"seconds\": %.6f, "
           "\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"lag\": %.1f, \"wake\": %.1f, "
           "\"resumed\": %ld, \"cipher\": \"%s\", \"error\": \"%s\"}\n",
           done, failed, bytes, spent, percentile(0.5), percentile(0.99), percentile(1),
           lag * 1e6, wake * 1e6, resumed, cipher, first_error);
    fflush(stdout);
    usleep(50000);   /* who reads counters now finds the connections still open */
}

static void usage(void) {
    fprintf(stderr,
            "usage: load -a PORT [-c connections] [-s seconds] [-n requests] [-w warm-up] [-p path] [-b bytes]\n"
            "  -t TLS 1.3   -x a connection per request   -r resume sessions (with -x)\n"
            "  -b content that is expected   -v of 64-bit counters   -u bytes to upload\n"
            "  -R requests per second, open loop   -H hold idle connections\n"
            "  -N hosts h00000.sites.example and so on by chance, instead of localhost\n");
    exit(2);
}

int main(int argc, char **argv) {
    int option;
    while ((option = getopt(argc, argv, "a:c:s:n:w:p:b:u:R:N:txrvH")) != -1) switch (option) {
        case 'a': port = atoi(optarg); break;
        case 'c': connections = atoi(optarg); break;
        case 's': seconds = atof(optarg); break;
        case 'n': most = atol(optarg); break;
        case 'w': warm = atof(optarg); break;
        case 'p': path = optarg; break;
        case 'b': expected = atol(optarg); break;
        case 'u': upload = atol(optarg); break;
        case 'R': rate = atof(optarg); break;
        case 'N': hosts = atoi(optarg); break;
        case 't': tls = 1; break;
        case 'x': closes = 1; break;
        case 'r': resumes = 1; break;
        case 'v': pattern = 1; break;
        case 'H': holds = 1; break;
        default: usage();
        }
    if (!port || connections < 1 || hosts < 0 || hosts > 100000) usage();
    prctl(PR_SET_TIMERSLACK, 1000);
    signal(SIGPIPE, SIG_IGN);
    request_count = snprintf(
        request, sizeof request,
        "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\nAccept: */*\r\n%s",
        upload ? "POST" : "GET", path, hosts ? "h00000.sites.example" : "localhost", closes ? "Connection: close\r\n" : "");
    if (hosts) host_at = strstr(request, "\r\nHost: h") + strlen("\r\nHost: h") - request;
    if (upload)
        request_count += sprintf(request + request_count, "Content-Length: %ld\r\n", upload);
    request_count += sprintf(request + request_count, "\r\n");
    all = calloc(connections, sizeof *all);
    unused = calloc(connections, sizeof *unused);
    queue = calloc(QUEUE, sizeof *queue);
    piece = malloc(PIECE);
    content = calloc(1, PIECE);
    poller = epoll_create1(EPOLL_CLOEXEC);
    /* Bulk: one system call for many records. */
    context = tls_context(pattern && expected > 65536 ? PIECE : 0);
    if (resumes) SSL_CTX_sess_set_new_cb(context, keep_session);
    if (holds) hold();
    else run();
    return 0;
}
