#!/usr/bin/env python3
"""What sites with a certificate each cost: edged, HAProxy and nginx with 10, 1,000 and 10,000.

Per program and number of sites: CPU from the start until it serves, CPU 5 s later ("settled":
what it does in the background is in it), CPU of a reload after one certificate was renewed and
after one site was added, resident memory (PSS of all its processes, settled), and CPU per request
over 64 of the sites on kept connections. CPU is user and system time of all its
processes. Certificates are minted once into FOLDER and kept there.

HAProxy: one `bind … crt FOLDER`, hosts by a map file. nginx: one server block per site.
edged: one `sites:` entry per site.

usage: sites.py [--edged PATH] [--folder /tmp/edged-sites] [--sites 10,1000,10000] [--rounds 3]
                [--programs haproxy,nginx,edged] [--seconds 3] [--json FILE]
"""
import argparse, json, os, shutil, signal, socket, ssl, statistics, subprocess, sys, time

import mint
from compare import ROOT, descendants, free_port

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pids):
    """Seconds of user and system time of `pids`, of all their threads, ended ones included."""
    total = 0.0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            threads = 0
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                    threads += int(file.read().split()[0])
            # schedstat is exact but forgets threads that have ended; stat is coarse and does not.
            total += max(threads / 1e9, (int(fields[11]) + int(fields[12])) / TICK)
            # Children that have ended and been waited for (old workers of a reload).
            total += (int(fields[13]) + int(fields[14])) / TICK
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


def pss_mib(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += sum(int(l.split()[1]) for l in file if l.startswith("Pss:"))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1024


class Program:
    """One of the three with `count` sites, started, reloaded and asked."""

    def __init__(self, options, name, count, origin):
        self.options, self.name, self.count, self.origin = options, name, count, origin
        self.folder = os.path.join(options.folder, f"run-{name}-{count}")
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(os.path.join(self.folder, "certs"))
        for index in range(count):
            os.link(f"{options.folder}/certs/{index:05}.pem",
                    f"{self.folder}/certs/{index:05}.pem")
        self.port = free_port()
        self.hosts = [mint.host(i) for i in range(count)]
        self.extra = []

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def configure(self):
        return getattr(self, "configure_" + self.name)()

    def configure_edged(self):
        sites = "".join(f"  - {{ hosts: {h}, upstream: app }}\n" for h in self.hosts + self.extra)
        self.write("edged.yaml", f"""version: 1
workers: 1
listeners:
  - {{ name: https, address: 127.0.0.1, port: {self.port}, protocol: tls }}
certificates: {{ directory: certs, default: {self.hosts[0]} }}
upstreams:
  app: {{ servers: ["127.0.0.1:{self.origin}"] }}
admin: {{ socket: {self.path('admin.sock')} }}
sites:
{sites}""")
        return [self.options.edged, "-c", self.path("edged.yaml")]

    def configure_haproxy(self):
        self.write("hosts.map", "".join(f"{h} app\n" for h in self.hosts + self.extra))
        self.write("haproxy.cfg", f"""
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
  bind 127.0.0.1:{self.port} ssl crt {self.path('certs')} alpn http/1.1
  use_backend %[req.hdr(host),host_only,lower,map({self.path('hosts.map')})]
backend app
  server s 127.0.0.1:{self.origin}
""")
        return ["haproxy", "-W", "-db", "-f", self.path("haproxy.cfg")]

    def configure_nginx(self):
        certs = self.path("certs")
        servers = "".join(
            f"server {{ listen 127.0.0.1:{self.port} ssl; server_name {h}; "
            f"ssl_certificate {certs}/{i % self.count:05}.pem; "
            f"ssl_certificate_key {certs}/{i % self.count:05}.pem; include proxy.conf; }}\n"
            for i, h in enumerate(self.hosts + self.extra))
        self.write("proxy.conf", """location / { proxy_pass http://u; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; }""")
        self.write("nginx.conf", f"""
worker_processes 1; daemon off; error_log {self.path('n.err')}; pid {self.path('n.pid')};
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000;
  server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  client_body_temp_path {self.path('n1')}; proxy_temp_path {self.path('n2')};
  fastcgi_temp_path {self.path('n3')}; uwsgi_temp_path {self.path('n4')};
  scgi_temp_path {self.path('n5')};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  upstream u {{ server 127.0.0.1:{self.origin}; keepalive 128; keepalive_requests 100000000; }}
{servers} }}
""")
        return ["nginx", "-c", self.path("nginx.conf")]

    def pids(self):
        return descendants(self.process.pid)

    def served(self, host):
        """The serial number of the certificate served for `host`; None if none is."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as raw:
                with context.wrap_socket(raw, server_hostname=host) as tls:
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                                .encode())
                    if b" 200 " not in tls.recv(4096):
                        return None
                    return hash(tls.getpeercert(True))
        except OSError:
            return None

    def until(self, ready, seconds=900):
        end = time.time() + seconds
        while time.time() < end:
            if ready():
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        text = open(self.path("log")).read()[-2000:]
        sys.exit(f"{self.name} with {self.count} sites: not ready in {seconds} s\n{text}")

    def start(self):
        command = self.configure()
        # Linking has changed the files just now, and edged reads such again with its first reload.
        time.sleep(2)
        self.log = open(self.path("log"), "w")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder)
        self.until(lambda: self.served(self.hosts[0]) is not None)

    def reload(self, is_done):
        before = cpu(self.pids())
        self.process.send_signal(signal.SIGUSR2 if self.name == "haproxy" else signal.SIGHUP)
        self.until(is_done)
        time.sleep(0.5)
        return before

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def renew(self, issuer):
        """Replaces one certificate, reloads and returns the CPU it took."""
        index = self.count // 2
        host, path = self.hosts[index], self.path(f"certs/{index:05}.pem")
        old = self.served(host)
        mint.write(path + ".new", mint.bundle(issuer, [host]))
        os.replace(path + ".new", path)
        before = self.reload(lambda: self.served(host) not in (None, old))
        return cpu(self.pids()) - before

    def add(self, issuer):
        """Adds a site, its certificate included, reloads and returns the CPU it took."""
        host = "added." + mint.SUFFIX
        mint.write(self.path("certs/added.pem"), mint.bundle(issuer, [host]))
        self.extra.append(host)
        self.configure()
        before = self.reload(lambda: self.served(host) is not None)
        return cpu(self.pids()) - before

    def load(self):
        """CPU microseconds per request, over 64 hosts."""
        step = max(1, self.count // 64)
        hosts = self.hosts[::step][:64]
        script = self.write("hosts.lua", "local hosts = {%s}\nlocal i = 0\n" % ",".join(
            f'"{h}"' for h in hosts) + (
            "request = function() i = i % #hosts + 1\n"
            "  return wrk.format('GET', '/', {Host = hosts[i]}) end\n"))

        def run(seconds):
            # SNI is localhost, for which each has a default; Host rotates over the sites.
            out = subprocess.run(
                ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", script,
                 f"https://localhost:{self.port}/"], capture_output=True, text=True)
            for line in out.stdout.splitlines():
                if "requests in" in line:
                    return int(line.split()[0])
            sys.exit("wrk: " + out.stdout + out.stderr)

        run(1)
        before = cpu(self.pids())
        requests = run(self.options.seconds)
        return (cpu(self.pids()) - before) * 1e6 / max(requests, 1)


def measure(options, name, count, origin):
    program = Program(options, name, count, origin)
    figures = {}
    issuer = mint.authority()
    try:
        program.start()
        figures["start"] = cpu(program.pids())
        time.sleep(5)
        figures["settled"] = cpu(program.pids())
        figures["MiB"] = pss_mib(program.pids())
        figures["renew"] = program.renew(issuer)
        figures["add"] = program.add(issuer)
        if options.load:
            for pid in program.pids():
                subprocess.run(["taskset", "-apc", "0", str(pid)], stdout=subprocess.DEVNULL)
            figures["µs/req"] = program.load()
        figures["MiB after"] = pss_mib(program.pids())
    finally:
        program.stop()
        shutil.rmtree(program.folder, ignore_errors=True)
    return figures


def start_origin(folder, port):
    path = os.path.join(folder, "origin.conf")
    with open(path, "w") as file:
        file.write(f"""
worker_processes 1; daemon off; error_log {folder}/o.err; pid {folder}/o.pid;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 "{'x' * 100}"; }} }} }}
""")
    return subprocess.Popen(["taskset", "-c", "1", "nginx", "-c", path])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--folder", default="/tmp/edged-sites")
    parser.add_argument("--sites", default="10,1000,10000")
    parser.add_argument("--programs", default="haproxy,nginx,edged")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--no-load", dest="load", action="store_false")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.edged = os.path.abspath(options.edged)
    options.load = options.load and shutil.which("wrk") is not None
    programs, counts = options.programs.split(","), [int(n) for n in options.sites.split(",")]
    mint.mint(os.path.join(options.folder, "certs"), max(counts))
    origin = free_port()
    upstream = start_origin(options.folder, origin)
    rows = []
    try:
        for count in counts:
            runs = {name: [] for name in programs}
            for _ in range(options.rounds):
                for name in programs:
                    runs[name].append(measure(options, name, count, origin))
            for name in programs:
                for figure in runs[name][0]:
                    values = [run[figure] for run in runs[name]]
                    row = {"sites": count, "figure": figure, "program": name,
                           "median": statistics.median(values), "min": min(values),
                           "max": max(values)}
                    if "haproxy" in runs:
                        row["ratio"] = statistics.median(
                            own[figure] / max(base[figure], 1e-9)
                            for own, base in zip(runs[name], runs["haproxy"]))
                    rows.append(row)
                    print(f"{count:>6} {name:<8} {figure:<10} {row['median']:>10.3f} "
                          f"({row['min']:.3f}–{row['max']:.3f})  "
                          f"× HAProxy {row.get('ratio', float('nan')):.3f}", flush=True)
    finally:
        upstream.terminate()
        upstream.wait()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)


if __name__ == "__main__":
    main()
