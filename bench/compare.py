#!/usr/bin/env python3
"""Compares edged with HAProxy and nginx, side by side in one run.

Every proxy is pinned to one CPU, the load generator and the upstream to another. Rounds are
interleaved; a row's figure is CPU time of all the proxy's processes and threads (user and system,
from schedstat) per unit of work, and its ratio to HAProxy in the same round. Medians and spread of
the rounds are printed: compare ratios, not microseconds.

usage: compare.py [--edged PATH] [--rounds N] [--seconds S] [--rows a,b] [--json FILE]
"""
import argparse, glob, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BODY = "x" * 100


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_ns(pids):
    total = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                with open(path) as f:
                    total += int(f.read().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return total


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


def private_kib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                for line in f:
                    if line.startswith(("Private_Dirty", "Private_Clean")):
                        total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


class Server:
    """One program, its ports, and all the processes it has started."""

    def __init__(self, name, command, port, cpu, cwd):
        self.name, self.port = name, port
        self.log = open(os.path.join(cwd, name + ".log"), "w")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(cpu)] + command, stdout=self.log, stderr=self.log, cwd=cwd)
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
                self.process.kill()
                self.process.wait()


class Site:
    """Certificates, upstreams and the configuration of each proxy for one row."""

    def __init__(self, folder, bridge):
        self.folder, self.bridge = folder, bridge
        os.makedirs(os.path.join(folder, "certs"), exist_ok=True)
        os.chmod(folder, 0o755)  # nginx's workers read the download as another user
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

    def mint(self):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                     "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2",
                     "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
        with open(self.path("cert.pem")) as c, open(self.path("key.pem")) as k:
            self.write("certs/localhost.pem", c.read() + k.read())
        os.chmod(self.path("certs/localhost.pem"), 0o640)

    def upstream(self, port):
        tls = (f"ssl_certificate {self.path('cert.pem')}; "
               f"ssl_certificate_key {self.path('key.pem')};") if self.bridge else ""
        listen = f"127.0.0.1:{port} backlog=4096" + (" ssl" if self.bridge else "")
        with open(self.path("1m"), "wb") as f:
            f.write(os.urandom(1 << 20))
        return self.write("upstream.conf", f"""
worker_processes 1; daemon off; error_log {self.path('u.err')}; pid {self.path('u.pid')};
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; sendfile on;
  client_body_temp_path {self.path('t1')}; proxy_temp_path {self.path('t2')};
  fastcgi_temp_path {self.path('t3')}; uwsgi_temp_path {self.path('t4')};
  scgi_temp_path {self.path('t5')};
  server {{ listen {listen}; {tls} server_name localhost;
    location = / {{ return 200 "{BODY}"; }}
    location = /1m {{ alias {self.path('1m')}; }} }} }}
""")

    def nginx(self, port, upstream):
        scheme = "https" if self.bridge else "http"
        verify = (f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {self.path('cert.pem')}; "
                  "proxy_ssl_name localhost; proxy_ssl_server_name on;") if self.bridge else ""
        return self.write("nginx.conf", f"""
worker_processes 1; daemon off; error_log {self.path('n.err')}; pid {self.path('n.pid')};
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; proxy_buffering on;
  client_body_temp_path {self.path('n1')}; proxy_temp_path {self.path('n2')};
  fastcgi_temp_path {self.path('n3')}; uwsgi_temp_path {self.path('n4')};
  scgi_temp_path {self.path('n5')};
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} ssl backlog=4096; server_name localhost;
    ssl_certificate {self.path('cert.pem')}; ssl_certificate_key {self.path('key.pem')};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    location / {{ proxy_pass {scheme}://u; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; {verify} }} }} }}
""")

    def haproxy(self, port, upstream):
        tls = (f" ssl verify required ca-file {self.path('cert.pem')} sni str(localhost) "
               "verifyhost localhost") if self.bridge else ""
        return self.write("haproxy.cfg", f"""
global
  nbthread 1
  maxconn 8192
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{port} ssl crt {self.path('certs/localhost.pem')} alpn http/1.1
  default_backend b
backend b
  server s 127.0.0.1:{upstream}{tls}
""")

    def edged(self, port, upstream):
        tls = f"\n    tls: {{ ca: {self.path('cert.pem')} }}" if self.bridge else ""
        return self.write("edged.yaml", f"""
version: 1
workers: 1
listeners:
  - {{ name: https, address: 127.0.0.1, port: {port}, protocol: tls }}
certificates: {{ directory: certs, default: localhost }}
sites:
  - {{ hosts: localhost, upstream: app }}
upstreams:
  app:
    servers: ["127.0.0.1:{upstream}"]{tls}
admin: {{ socket: {self.path('admin.sock')} }}
""")


def wrk(port, seconds, path="/", connections=64, close=False):
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    if close:
        command += ["-H", "Connection: close"]
    out = subprocess.run(command + [f"https://localhost:{port}{path}"],
                         capture_output=True, text=True, timeout=seconds + 60).stdout
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    bad = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    failed = sum(map(int, bad.groups())) if bad and not close else 0
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return requests, failed + (int(other.group(1)) if other else 0)


ROWS = {
    # name: (bridge, wrk options, unit of the figure, factor from µs/request)
    "h1-offload": (False, {}, "µs/request", 1.0),
    "h1-bridge": (True, {}, "µs/request", 1.0),
    "handshake": (False, {"close": True}, "µs/connection", 1.0),
    "download-1m": (False, {"path": "/1m", "connections": 16}, "s/GiB", 1024 / 1e6),
}


def run_row(name, options):
    bridge, load, unit, factor = ROWS[name]
    folder = tempfile.mkdtemp(prefix="edged-bench-")
    figures, failures, servers = {}, {}, []
    try:
        site = Site(folder, bridge)
        origin = free_port()
        servers.append(Server("upstream", ["nginx", "-c", site.upstream(origin)], origin, 1, folder))
        makers = {
            "haproxy": lambda p: ["haproxy", "-W", "-db", "-f", site.haproxy(p, origin)],
            "nginx": lambda p: ["nginx", "-c", site.nginx(p, origin)],
            "edged": lambda p: [options.edged, "-c", site.edged(p, origin)],
        }
        for _ in range(options.rounds):
            for proxy, make in makers.items():
                port = free_port()
                server = Server(proxy, make(port), port, 0, folder)
                servers.append(server)
                wrk(port, 1, **load)
                before = cpu_ns(server.pids())
                requests, failed = wrk(port, options.seconds, **load)
                spent = cpu_ns(server.pids()) - before
                server.stop()
                figures.setdefault(proxy, []).append(spent / 1e3 / max(requests, 1) * factor)
                failures[proxy] = failures.get(proxy, 0) + failed
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    base = figures["haproxy"]
    row = {"row": name, "unit": unit}
    for proxy, values in figures.items():
        ratios = [v / b for v, b in zip(values, base)]
        row[proxy] = {"median": statistics.median(values), "min": min(values), "max": max(values),
                      "ratio": statistics.median(ratios), "ratio_min": min(ratios),
                      "ratio_max": max(ratios), "failed": failures[proxy]}
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--json")
    options = parser.parse_args()
    options.edged = os.path.abspath(options.edged)
    for tool in ("wrk", "haproxy", "nginx", "openssl", "taskset", options.edged):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing")
    if (os.cpu_count() or 1) < 2:
        sys.exit("two CPUs are needed: one for the proxy, one for everything else")
    rows = []
    print(f"{'row':<14}{'proxy':<10}{'median':>10} {'unit':<14}{'× HAProxy':>10}"
          f"{'(spread)':>16}{'failed':>8}")
    for name in options.rows.split(","):
        row = run_row(name, options)
        rows.append(row)
        for proxy in ("haproxy", "nginx", "edged"):
            f = row[proxy]
            spread = "(%.2f–%.2f)" % (f["ratio_min"], f["ratio_max"])
            print(f"{name:<14}{proxy:<10}{f['median']:>10.2f} {row['unit']:<14}{f['ratio']:>10.2f}"
                  f"{spread:>16}{f['failed']:>8}", flush=True)
    if options.json:
        with open(options.json, "w") as f:
            json.dump(rows, f, indent=2)


if __name__ == "__main__":
    main()
