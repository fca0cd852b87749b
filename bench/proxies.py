"""The proxies that are compared: their configurations, their processes, what these cost.

Every proxy gets its best fair configuration for the same work: one worker on one CPU, TLS 1.3 with
TLS_AES_128_GCM_SHA256 and the same certificate, connections to the upstream kept, X-Forwarded-For
added, no compression, no log unless the row is about it. What is not said is the default.
"""
import array, glob, os, signal, socket, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BODY = "x" * 100
STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
#: A rate of requests per client that nobody reaches.
LIMITS = "rate_limits: { own: { requests: 100000000 per 1s } }\n"
#: Loopback is the first's; the second's interface may be absent.
VIEWS = """views:
  local: { interfaces: [lo] }
  public: { interfaces: [wg0] }
"""
#: Files of the upstream, by path: 64-bit counters, so that a lost or moved byte shows.
FILES = {"16k": 16 << 10, "1m": 1 << 20, "100m": 100 << 20}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_ns(pids):
    """CPU time of all threads that live, in ns."""
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return total


def ticks(pids):
    """User and system time in ticks: only good for the share of each."""
    user = system = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rsplit(") ", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        user, system = user + int(fields[11]), system + int(fields[12])
    return user, system


def descendants(pid):
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path) as f:
                for child in f.read().split():
                    found += descendants(int(child))
        except FileNotFoundError:
            pass
    return found


def rollup_kib(pids, *names):
    """The sum of these lines of smaps_rollup, in KiB."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    if line.split(":")[0] in names:
                        total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def private_kib(pids):
    return rollup_kib(pids, "Private_Dirty", "Private_Clean")


def descriptors(pids, origin):
    """Open descriptors without the connections to the upstream, whose number follows the load."""
    upstream = set()
    with open("/proc/net/tcp") as f:
        for line in list(f)[1:]:
            fields = line.split()
            if int(fields[2].split(":")[1], 16) == origin:
                upstream.add(f"socket:[{fields[9]}]")
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/fd/*"):
            try:
                total += os.readlink(path) not in upstream
            except FileNotFoundError:
                pass
    return total


class Server:
    """One program, its port, and all the processes it has started."""

    def __init__(self, name, command, port, cpu, cwd, alone=False):
        """alone: in a session of its own, which the scheduler can prefer as a whole."""
        self.name, self.port = name, port
        self.log = open(os.path.join(cwd, name + ".log"), "w")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(cpu)] + command, stdout=self.log, stderr=self.log, cwd=cwd,
            start_new_session=alone)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                return
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.05)
        self.stop()
        sys.exit(f"{name} did not start, see {self.log.name}:\n" + open(self.log.name).read())

    def pids(self):
        return descendants(self.process.pid)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()
        self.log.close()


class Site:
    """Certificates, upstreams and the configuration of each proxy.

    bridge: the upstream speaks TLS and is verified; key: `ec` (P-256) or `rsa` (2048 bits);
    tcp: bytes are passed on as they are; log: an access log is written; h2: clients are offered
    HTTP/2; upstream_h2: the upstream is spoken to in HTTP/2 in plaintext (nginx does so for gRPC
    alone); views: edged has two views, told apart by the interface; limits: each client's requests
    are counted and held against a rate that nobody reaches.
    """

    #: What the upstream speaks besides nginx's default, where that matters.
    upstream_tls = ""
    #: How many host names clients ask for, see routed.py; 0: localhost alone.
    hosts = 0

    def __init__(self, folder, bridge=False, key="ec", tcp=False, log=False, h2=False,
                 upstream_h2=False, views=False, limits=False):
        self.folder, self.bridge, self.key, self.tcp, self.log = folder, bridge, key, tcp, log
        self.h2, self.upstream_h2, self.views, self.limits = h2, upstream_h2, views, limits
        os.makedirs(os.path.join(folder, "certs"), exist_ok=True)
        os.chmod(folder, 0o755)  # nginx's workers read the files as another user
        if not os.path.exists(self.path("cert.pem")):
            self.mint()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def openssl(self, *words):
        subprocess.run(["openssl", *words], check=True, cwd=self.folder,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def mint(self, name="localhost"):
        kind = (["ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if self.key == "ec" else ["rsa:2048"])
        self.openssl("req", "-x509", "-newkey", *kind,
                     "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
                     "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
        with open(self.path("cert.pem")) as c, open(self.path("key.pem")) as k:
            self.write("certs/localhost.pem", c.read() + k.read())
        os.chmod(self.path("certs/localhost.pem"), 0o640)

    def temporary(self, prefix):
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        return " ".join(f"{k}_temp_path {self.path(prefix + k)};" for k in kinds)

    def upstream(self, port):
        """nginx as the origin: 100 bytes at / and below /api, files at /16k, /1m, /100m."""
        tls = (f"ssl_certificate {self.path('cert.pem')}; "
               f"ssl_certificate_key {self.path('key.pem')}; "
               "ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; "
               f"{self.upstream_tls}") if self.bridge else ""
        listen = f"127.0.0.1:{port} backlog=4096" + (" ssl" if self.bridge else "")
        for name, size in FILES.items():
            if os.path.exists(self.path(name)):
                continue
            with open(self.path(name), "wb") as f:
                for start in range(0, size, 1 << 20):
                    count = min(size, 1 << 20) // 8
                    f.write(array.array("Q", range(start // 8, start // 8 + count)).tobytes())
        return self.write("upstream.conf", f"""
worker_processes 1; daemon off; error_log {self.path('u.err')}; pid {self.path('u.pid')};
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on;
  sendfile_max_chunk 1m; {self.temporary('u-')}
  server {{ listen {listen}; {tls} server_name localhost;
    location = / {{ return 200 "{BODY}"; }}
    location /api/ {{ return 200 "{BODY}"; }}
    location / {{ root {self.folder}; }} }} }}
""")

    def nginx(self, port, upstream):
        if self.tcp:
            return self.write("nginx.conf", f"""
load_module {STREAM_MODULE};
worker_processes 1; daemon off; error_log {self.path('n.err')}; pid {self.path('n.pid')};
events {{ worker_connections 8192; }}
stream {{ server {{ listen 127.0.0.1:{port} backlog=4096; tcp_nodelay on;
  proxy_pass 127.0.0.1:{upstream}; }} }}
""")
        scheme = "https" if self.bridge else "http"
        verify = (f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.path('cert.pem')}; "
                  "proxy_ssl_name localhost; proxy_ssl_server_name on;") if self.bridge else ""
        log = f"{self.path('nginx.access')} combined buffer=64k flush=1s" if self.log else "off"
        http2 = " http2" if self.h2 else ""
        passed = (f"proxy_pass {scheme}://u; proxy_http_version 1.1; "
                  'proxy_set_header Connection ""; proxy_set_header Host $host; '
                  f"proxy_set_header X-Forwarded-For $remote_addr; {verify}")
        zone = limited = ""
        if self.limits:
            zone = "limit_req_zone $binary_remote_addr zone=own:10m rate=100000000r/s;"
            limited = "limit_req zone=own burst=1000000 nodelay;"
        if self.upstream_h2:
            passed = ("grpc_pass grpc://u; grpc_set_header Host $host; "
                      "grpc_set_header X-Forwarded-For $remote_addr;")
        return self.write("nginx.conf", f"""
worker_processes 1; daemon off; error_log {self.path('n.err')}; pid {self.path('n.pid')};
events {{ worker_connections {16384 if self.h2 else 8192}; }}
http {{ access_log {log}; {zone} keepalive_requests 100000000; client_max_body_size 0;
  proxy_buffering on; proxy_buffer_size 16k; proxy_buffers 16 16k; proxy_busy_buffers_size 128k;
  proxy_max_temp_file_size 0; proxy_request_buffering off; client_body_buffer_size 128k; {self.temporary('n-')}
  upstream u {{ server 127.0.0.1:{upstream}; keepalive {512 if self.h2 else 128};
    keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} ssl{http2} backlog=4096; server_name localhost;
    ssl_certificate {self.path('cert.pem')}; ssl_certificate_key {self.path('key.pem')};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    location / {{ {limited} {passed} }} }} }}
""")

    def haproxy_head(self):
        return f"""
global
  nbthread 1
  maxconn {9500 if self.h2 else 8192}
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  tune.ssl.default-dh-param 2048
defaults
  timeout client 60s
  timeout server 60s
  timeout connect 5s
"""

    def haproxy(self, port, upstream):
        tls = (f" ssl verify required ca-file {self.path('cert.pem')} sni str(localhost) "
               "verifyhost localhost") if self.bridge else ""
        tls += " proto h2" if self.upstream_h2 else ""
        alpn = "h2,http/1.1" if self.h2 else "http/1.1"
        head = self.haproxy_head()
        if self.tcp:
            return self.write("haproxy.cfg", head + f"""
listen f
  mode tcp
  bind 127.0.0.1:{port} backlog 4096
  server s 127.0.0.1:{upstream}
""")
        log = "  log stdout format raw local0\n  option httplog\n" if self.log else ""
        limits = """  stick-table type ip size 100k expire 60s store http_req_rate(10s)
  http-request track-sc0 src
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 1000000000 }
""" if self.limits else ""
        return self.write("haproxy.cfg", head + f"""
  mode http
  option forwardfor
  http-reuse always
{log}
frontend f
  bind 127.0.0.1:{port} ssl crt {self.path('certs/localhost.pem')} alpn {alpn} backlog 4096
{limits}  default_backend b
backend b
  server s 127.0.0.1:{upstream}{tls}
""")

    def edged_served(self, port):
        """The listener on `port`, its certificates and its sites."""
        named = ", rate_limits: own" if self.limits else ""
        if self.tcp:
            return f"""listeners:
  - {{ name: tcp, address: 127.0.0.1, port: {port}, protocol: tcp, upstream: app }}"""
        return f"""listeners:
  - {{ name: https, address: 127.0.0.1, port: {port}, protocol: tls }}
certificates: {{ directory: certs, default: localhost }}
sites:
  - {{ hosts: localhost, upstream: app{named} }}"""

    def edged_upstreams(self, upstream):
        tls = f"\n    tls: {{ ca: {self.path('cert.pem')} }}" if self.bridge else ""
        spoken = "\n    protocol: h2" if self.upstream_h2 else ""
        return f"""  app:
    servers: ["127.0.0.1:{upstream}"]{spoken}{tls}"""

    def edged(self, port, upstream, name="edged", views=None):
        """name: of its files; views: another answer than the site's."""
        log = f"access_log: {{ path: {self.path(name + '.access')} }}\n" if self.log else ""
        shown = VIEWS if (self.views if views is None else views) else ""
        http2 = "http2: { enabled: true }\n" if self.h2 else ""
        shown += LIMITS if self.limits else ""
        admin = "admin.sock" if name == "edged" else f"{name}.sock"
        return self.write(f"{name}.yaml", f"""
version: 1
workers: 1
{shown}{self.edged_served(port)}
upstreams:
{self.edged_upstreams(upstream)}
{log}{http2}admin: {{ socket: {self.path(admin)} }}
""")

    def access_log(self, proxy):
        """Where a proxy's access log goes."""
        return self.path({"haproxy": "haproxy.log"}.get(proxy, proxy + ".access"))
