/* What Swift cannot see of the C libraries: headers in the order that works, macros as inline
   functions, constants with casts. No logic. features.h must precede liburing.h, and nothing
   that Swift imports may define _GNU_SOURCE (two views of fd_set break the module build). */
#ifndef CEDGE_H
#define CEDGE_H

#include <features.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <grp.h>
#include <pwd.h>
#include <malloc.h>
#include <execinfo.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <liburing.h>
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <openssl/decoder.h>
#include <openssl/rand.h>
#include <nghttp2/nghttp2.h>
#include <ares.h>
#include <yaml.h>

#define CE_INLINE static inline __attribute__((always_inline))

/* ---- memory shared with the kernel or between processes: explicit ordering ---- */
CE_INLINE uint32_t ce_load_acquire(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
CE_INLINE void ce_store_release(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
CE_INLINE uint64_t ce_load_acquire64(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
CE_INLINE void ce_store_release64(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
CE_INLINE uint64_t ce_load_relaxed64(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
CE_INLINE void ce_store_relaxed64(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
CE_INLINE uint64_t ce_fetch_add64(uint64_t *p, uint64_t v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }

/* ---- system ---- */
CE_INLINE int ce_accept4(int fd, void *address, socklen_t *length, int flags) {
  return (int)syscall(SYS_accept4, fd, address, length, flags);
}
CE_INLINE int ce_memfd_create(const char *name, unsigned flags) { return (int)syscall(SYS_memfd_create, name, flags); }
CE_INLINE int ce_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
CE_INLINE int ce_pidfd_send_signal(int fd, int number) { return (int)syscall(SYS_pidfd_send_signal, fd, number, 0, 0); }
CE_INLINE long ce_getrandom(void *bytes, size_t count) { return syscall(SYS_getrandom, bytes, count, 0); }
CE_INLINE int ce_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }
CE_INLINE int ce_gettid(void) { return (int)syscall(SYS_gettid); }
CE_INLINE int ce_tgkill(int pid, int tid, int number) { return (int)syscall(SYS_tgkill, pid, tid, number); }
CE_INLINE int ce_capset(void *header, const void *data) { return (int)syscall(SYS_capset, header, data); }
CE_INLINE int ce_capget(void *header, void *data) { return (int)syscall(SYS_capget, header, data); }
CE_INLINE int ce_setresuid(uid_t id) { return (int)syscall(SYS_setresuid, id, id, id); }
CE_INLINE int ce_setresgid(gid_t id) { return (int)syscall(SYS_setresgid, id, id, id); }
CE_INLINE int ce_setaffinity(int tid, const void *mask, size_t bytes) {
  return (int)syscall(SYS_sched_setaffinity, tid, bytes, mask);
}
CE_INLINE int ce_getaffinity(int tid, void *mask, size_t bytes) {
  return (int)syscall(SYS_sched_getaffinity, tid, bytes, mask);
}
CE_INLINE int ce_prctl(int option, unsigned long a, unsigned long b) { return prctl(option, a, b, 0, 0); }
CE_INLINE int ce_wait_status_exited(int s) { return WIFEXITED(s); }
CE_INLINE int ce_wait_status_code(int s) { return WEXITSTATUS(s); }
CE_INLINE int ce_wait_status_signal(int s) { return WIFSIGNALED(s) ? WTERMSIG(s) : 0; }
CE_INLINE int ce_wait_status_stopped(int s) { return WIFSTOPPED(s); }
/* glibc declares it for _GNU_SOURCE only. */
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
CE_INLINE int ce_spawn_close_from(posix_spawn_file_actions_t *a, int first) {
  return posix_spawn_file_actions_addclosefrom_np(a, first);
}
static const unsigned CE_MFD_CLOEXEC = 1u, CE_MFD_ALLOW_SEALING = 2u;
static const int CE_F_ADD_SEALS = 1033, CE_F_GET_SEALS = 1034;
static const int CE_SEAL_SEAL = 1, CE_SEAL_SHRINK = 2, CE_SEAL_GROW = 4, CE_SEAL_WRITE = 8;
static const int CE_CAP_NET_BIND_SERVICE = CAP_NET_BIND_SERVICE;
static const int CE_CAP_SETUID = CAP_SETUID;
static const int CE_CAP_NET_ADMIN = CAP_NET_ADMIN, CE_CAP_NET_RAW = CAP_NET_RAW;
/* Sockets bound to addresses that the machine may not have yet (Linux uapi). */
static const int CE_IP_FREEBIND = 15, CE_IPV6_FREEBIND = 78;

/* Bytes that were sent and not yet acknowledged; -1: not known. */
CE_INLINE int ce_unacknowledged(int fd) { int count = 0; return ioctl(fd, TIOCOUTQ, &count) == 0 ? count : -1; }

/* Milliseconds for which a connection's peer has acknowledged nothing of what waits for that; 0: not long enough
   to mean anything; -1: nothing waits, or not known. Sending again counts as waiting on. */
CE_INLINE int64_t ce_silence(int fd) {
  struct tcp_info i; socklen_t n = sizeof i; memset(&i, 0, sizeof i);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n) != 0 || i.tcpi_unacked == 0) return -1;
  uint32_t quiet = i.tcpi_last_ack_recv;
  if (i.tcpi_retransmits == 0 && i.tcpi_last_data_sent < quiet) quiet = i.tcpi_last_data_sent;
  uint32_t patience = 100 + 4 * (i.tcpi_rtt / 1000);
  return quiet >= patience ? quiet : 0;
}

/* What listeners need so that what they accept remembers where its SYN arrived. glibc has the names for
   _GNU_SOURCE only. */
static const int CE_IP_PKTINFO = 8, CE_IP_PKTOPTIONS = 9, CE_IPV6_RECVPKTINFO = 49, CE_IPV6_2292PKTOPTIONS = 6;

/* The index of the interface that an accepted connection arrived on; 0: not known. Dual-stack sockets tell it of
   IPv4 too. */
CE_INLINE int32_t ce_arrival_interface(int fd) {
  char options[256] __attribute__((aligned(8))); socklen_t n = sizeof options;
  int is6 = getsockopt(fd, IPPROTO_IPV6, CE_IPV6_2292PKTOPTIONS, options, &n) == 0;
  if (!is6) { n = sizeof options; if (getsockopt(fd, IPPROTO_IP, CE_IP_PKTOPTIONS, options, &n) != 0) return 0; }
  struct msghdr m; memset(&m, 0, sizeof m); m.msg_control = options; m.msg_controllen = n;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    int32_t index = 0;
    /* struct in_pktinfo begins with the index, struct in6_pktinfo ends with it. */
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == CE_IP_PKTINFO) memcpy(&index, CMSG_DATA(c), 4);
    else if (c->cmsg_level == IPPROTO_IPV6) memcpy(&index, CMSG_DATA(c) + 16, 4);
    if (index > 0) return index;
  }
  return 0;
}

/* Whether the interface of that number has that name, 16 bytes with zeros at the end, where the socket is
   (netdevice(7): struct ifreq begins with the name, then the index). */
CE_INLINE int ce_is_interface(int fd, int32_t index, const void *name) {
  struct { char name[16]; int32_t index; char rest[20]; } r; memset(&r, 0, sizeof r); r.index = index;
  return ioctl(fd, SIOCGIFNAME, &r) == 0 && memcmp(r.name, name, 16) == 0;
}

/* ---- netlink, raw sockets, real time ---- */
static const int CE_SOL_NETLINK = 270;

/* One packet of a raw or datagram socket, with what the kernel tells of it (RECVHOPLIMIT, PKTINFO, TIMESTAMPNS where
   set). Absent values: hop_limit -1, stamp 0, interface 0, destination_count 0. */
struct ce_packet {
  int64_t stamp; /* nanoseconds of CLOCK_REALTIME */
  int32_t hop_limit, interface, is_cut;
  uint32_t source_count, destination_count;
  uint8_t source[28];      /* sockaddr_in or sockaddr_in6 */
  uint8_t destination[16]; /* 4 or 16 bytes */
};
static const int CE_IP_MULTICAST_ALL = 49, CE_IPV6_MULTICAST_ALL = 29, CE_IPV6_ADD_MEMBERSHIP = 20;
static const int CE_SO_TIMESTAMPNS = 35, CE_IPV6_RECVHOPLIMIT = 51, CE_IPV6_HOPLIMIT = 52, CE_IPV6_PKTINFO = 50,
                 CE_IPV6_TCLASS = 67;
CE_INLINE ssize_t ce_receive_packet(int fd, void *bytes, size_t count, struct ce_packet *p) {
  char control[256] __attribute__((aligned(8)));
  struct iovec v = {bytes, count};
  struct msghdr m; memset(&m, 0, sizeof m); memset(p, 0, sizeof *p); p->hop_limit = -1;
  m.msg_name = p->source; m.msg_namelen = sizeof p->source; m.msg_iov = &v; m.msg_iovlen = 1;
  m.msg_control = control; m.msg_controllen = sizeof control;
  ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
  if (n < 0) return n;
  p->source_count = m.msg_namelen; p->is_cut = (m.msg_flags & MSG_TRUNC) != 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == CE_SO_TIMESTAMPNS) {
      struct timespec t; memcpy(&t, CMSG_DATA(c), sizeof t);
      p->stamp = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == CE_IP_PKTINFO) {
      memcpy(&p->interface, CMSG_DATA(c), 4);
      memcpy(p->destination, CMSG_DATA(c) + 8, 4); p->destination_count = 4;
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == CE_IPV6_PKTINFO) {
      memcpy(p->destination, CMSG_DATA(c), 16); p->destination_count = 16;
      memcpy(&p->interface, CMSG_DATA(c) + 16, 4);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == CE_IPV6_HOPLIMIT) {
      memcpy(&p->hop_limit, CMSG_DATA(c), 4);
    }
  }
  return n;
}
/* Sends from an address of an interface; source_count 4 or 16. */
CE_INLINE ssize_t ce_send_packet(int fd, const void *bytes, size_t count, const void *to, uint32_t to_count,
                                 const uint8_t *source, uint32_t source_count, int32_t interface) {
  char control[64] __attribute__((aligned(8)));
  struct iovec v = {(void *)bytes, count};
  struct msghdr m; memset(&m, 0, sizeof m); memset(control, 0, sizeof control);
  m.msg_name = (void *)to; m.msg_namelen = to_count; m.msg_iov = &v; m.msg_iovlen = 1;
  size_t size = source_count == 4 ? 12 : 20;
  m.msg_control = control; m.msg_controllen = CMSG_SPACE(size);
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  c->cmsg_len = CMSG_LEN(size);
  if (source_count == 4) { /* struct in_pktinfo: index, source, (destination) */
    c->cmsg_level = IPPROTO_IP; c->cmsg_type = CE_IP_PKTINFO;
    memcpy(CMSG_DATA(c), &interface, 4); memcpy(CMSG_DATA(c) + 4, source, 4);
  } else { /* struct in6_pktinfo: source, index */
    c->cmsg_level = IPPROTO_IPV6; c->cmsg_type = CE_IPV6_PKTINFO;
    memcpy(CMSG_DATA(c), source, 16); memcpy(CMSG_DATA(c) + 16, &interface, 4);
  }
  return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}
/* The calling thread; policy 0 is everybody's. */
CE_INLINE int ce_set_scheduler(int policy, int priority) {
  struct { int priority; } p = {priority};
  return (int)syscall(SYS_sched_setscheduler, 0, policy, &p);
}
CE_INLINE int ce_mlockall(int flags) { return (int)syscall(SYS_mlockall, flags); }
static const int CE_SCHED_FIFO = 1, CE_SCHED_RESET_ON_FORK = 0x40000000;
static const int CE_MCL_CURRENT = 1, CE_MCL_FUTURE = 2, CE_MCL_ONFAULT = 4;
static const int CE_MADV_POPULATE_READ = 22;
/* The program's own code, as the linker placed it. */
extern char __executable_start, etext;
CE_INLINE uintptr_t ce_text_start(void) { return (uintptr_t)&__executable_start; }
CE_INLINE uintptr_t ce_text_end(void) { return (uintptr_t)&etext; }
static const unsigned CE_RLIMIT_MEMLOCK = RLIMIT_MEMLOCK;

struct ce_ucred { int32_t pid; uint32_t uid; uint32_t gid; };
static const int CE_SO_PEERCRED = 17;

/* What a large parse has left free goes back to the system; glibc keeps it otherwise. */
CE_INLINE void ce_give_back_memory(void) { malloc_trim(1 << 20); }

/* ---- descriptors over Unix sockets: CMSG_* are macros ---- */
CE_INLINE size_t ce_cmsg_space(size_t bytes) { return CMSG_SPACE(bytes); }
CE_INLINE void ce_cmsg_put_fds(struct msghdr *m, const int *fds, size_t count) {
  struct cmsghdr *c = CMSG_FIRSTHDR(m);
  c->cmsg_level = SOL_SOCKET; c->cmsg_type = SCM_RIGHTS; c->cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(c), fds, count * sizeof(int));
}
/* Copies up to `max` received descriptors; returns how many came in all. */
CE_INLINE size_t ce_cmsg_get_fds(struct msghdr *m, int *fds, size_t max) {
  size_t n = 0;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    size_t k = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < k; i++, n++)
      if (n < max) memcpy(&fds[n], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
  }
  return n;
}

/* ---- io_uring: macros and constants newer than liburing 2.3 ---- */
CE_INLINE struct io_uring_cqe *ce_cqe_at(struct io_uring *r, uint32_t head) {
  return &r->cq.cqes[head & r->cq.ring_mask];
}
CE_INLINE uint32_t ce_cq_tail(struct io_uring *r) { return __atomic_load_n(r->cq.ktail, __ATOMIC_ACQUIRE); }
CE_INLINE uint32_t ce_cq_head(struct io_uring *r) { return *r->cq.khead; }
CE_INLINE void ce_cq_set_head(struct io_uring *r, uint32_t head) { __atomic_store_n(r->cq.khead, head, __ATOMIC_RELEASE); }
static const uint8_t CE_SQE_BUFFER_SELECT = IOSQE_BUFFER_SELECT;
static const uint8_t CE_SQE_CQE_SKIP_SUCCESS = IOSQE_CQE_SKIP_SUCCESS;
static const uint32_t CE_CQE_BUFFER_SHIFT = IORING_CQE_BUFFER_SHIFT;

/* ---- OpenSSL: macros ---- */
CE_INLINE int ce_ssl_set_sni(SSL *s, const char *name) { return (int)SSL_set_tlsext_host_name(s, name); }
CE_INLINE int ce_ssl_ctx_set_versions(SSL_CTX *c, int min, int max) {
  return SSL_CTX_set_min_proto_version(c, min) == 1 && SSL_CTX_set_max_proto_version(c, max) == 1;
}
CE_INLINE int ce_ssl_set_min_version(SSL *s, int min) { return (int)SSL_set_min_proto_version(s, min); }
CE_INLINE void ce_ssl_ctx_set_mode(SSL_CTX *c, long mode) { SSL_CTX_set_mode(c, mode); }
CE_INLINE void ce_ssl_ctx_set_options(SSL_CTX *c, uint64_t o) { SSL_CTX_set_options(c, o); }
CE_INLINE void ce_ssl_ctx_set_cache_mode(SSL_CTX *c, long mode) { SSL_CTX_set_session_cache_mode(c, mode); }
CE_INLINE int ce_ssl_ctx_set_groups(SSL_CTX *c, const char *l) { return (int)SSL_CTX_set1_groups_list(c, l); }
CE_INLINE int ce_ssl_ctx_set_signatures(SSL_CTX *c, const char *l) { return (int)SSL_CTX_set1_sigalgs_list(c, l); }
CE_INLINE long ce_ssl_ctx_set_servername_callback(SSL_CTX *c, int (*f)(SSL *, int *, void *), void *argument) {
  SSL_CTX_set_tlsext_servername_callback(c, f);
  return SSL_CTX_set_tlsext_servername_arg(c, argument);
}
static const unsigned long CE_XN_FLAG_RFC2253 = XN_FLAG_RFC2253;
CE_INLINE void ce_bio_set_retry(BIO *b, int flags) { BIO_set_flags(b, flags | BIO_FLAGS_SHOULD_RETRY); }
CE_INLINE void ce_bio_clear_retry(BIO *b) { BIO_clear_retry_flags(b); }
CE_INLINE int ce_sk_x509_num(const STACK_OF(X509) *s) { return sk_X509_num(s); }
CE_INLINE X509 *ce_sk_x509_value(const STACK_OF(X509) *s, int i) { return sk_X509_value(s, i); }
CE_INLINE STACK_OF(X509) *ce_sk_x509_new(void) { return sk_X509_new_null(); }
CE_INLINE int ce_sk_x509_push(STACK_OF(X509) *s, X509 *x) { return sk_X509_push(s, x); }
CE_INLINE void ce_sk_x509_free(STACK_OF(X509) *s) { sk_X509_pop_free(s, X509_free); }
CE_INLINE int ce_sk_name_num(const GENERAL_NAMES *s) { return sk_GENERAL_NAME_num(s); }
CE_INLINE const GENERAL_NAME *ce_sk_name_value(const GENERAL_NAMES *s, int i) { return sk_GENERAL_NAME_value(s, i); }
CE_INLINE int ce_name_is_dns(const GENERAL_NAME *n) { return n->type == GEN_DNS; }
CE_INLINE int ce_name_is_ip(const GENERAL_NAME *n) { return n->type == GEN_IPADD; }
CE_INLINE const unsigned char *ce_name_bytes(const GENERAL_NAME *n, int *count) {
  const ASN1_STRING *s = n->type == GEN_DNS ? n->d.dNSName : (const ASN1_STRING *)n->d.iPAddress;
  *count = ASN1_STRING_length(s);
  return ASN1_STRING_get0_data(s);
}
CE_INLINE int ce_err_lib(unsigned long e) { return ERR_GET_LIB(e); }
CE_INLINE int ce_err_reason(unsigned long e) { return ERR_GET_REASON(e); }
static const uint64_t CE_SSL_OP_NO_RENEGOTIATION = SSL_OP_NO_RENEGOTIATION;
static const uint64_t CE_SSL_OP_NO_COMPRESSION = SSL_OP_NO_COMPRESSION;
static const uint64_t CE_SSL_OP_CIPHER_SERVER_PREFERENCE = SSL_OP_CIPHER_SERVER_PREFERENCE;
static const uint64_t CE_SSL_OP_PRIORITIZE_CHACHA = SSL_OP_PRIORITIZE_CHACHA;
static const uint64_t CE_SSL_OP_IGNORE_UNEXPECTED_EOF = SSL_OP_IGNORE_UNEXPECTED_EOF;
static const uint64_t CE_OPENSSL_INIT_NO_ATEXIT = OPENSSL_INIT_NO_ATEXIT;
static const int CE_EVP_PKEY_KEYPAIR = EVP_PKEY_KEYPAIR;
static const int CE_BIO_READ = BIO_FLAGS_READ, CE_BIO_WRITE = BIO_FLAGS_WRITE;

#endif
