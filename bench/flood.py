#!/usr/bin/env python3
"""What the LAN notices while the public attacks in four ways at once: slow clients of every kind, a
flood of handshakes, a flood of TCP connections that are reset, and HTTP/2's rapid reset.

One edged with two views on loopback: `lan` (127.0.0.1) and `public` (127.0.0.2, of low priority).
The LAN asks on a schedule (latency from when a request was due), once alone and once during the
attack, in turn: on kept connections, and on new ones. The proxy has a CPU of its own, and the LAN
and its upstream come before the attackers on the others, so that what is measured is the proxy and
not the CPU that they take from it.

Prints one line of JSON. Exit status: 0; 1 if a bound was missed:
  no request of the LAN failed; its p99 (kept and new) and its queue delay in the daemon (median of
  each second's longest) are at most --times the control's, or --slack milliseconds more; resident
  memory grows by at most --growth MiB; every kind of attacker was cut
Latencies are void, and not judged, if the worker waited for a CPU for more than a tenth of either
phase: others had it then, and what was measured is the machine.
"""
import argparse, collections, json, os, select, shutil, signal, socket, ssl, statistics, struct
import subprocess, sys, tempfile, threading, time, urllib.request
from multiprocessing import Process, Queue, Value

# Of the time, for a CPU that others have.
WAIT_MAX = 0.1
LAN, PUBLIC, HOST = "127.0.0.1", "127.0.0.2", "flood.test"
# What cuts whom; one of the names is enough.
RULES = {
    "silent": ["evicted_unused", "client_hello_timeout"],
    "slow hello, handshake or head": [
        "evicted_unfinished", "client_hello_timeout", "client_handshake_timeout",
        "client_head_timeout"],
    "slow body": ["client_body_timeout"],
    "slow reading": ["client_read_timeout"],
    "handshake flood": ["overloaded", "connection_limit", "evicted_unfinished"],
    "rapid reset": ["client_reset_flood", "overloaded"],
}


def free_port():
    with socket.socket() as s:
        s.bind((LAN, 0))
        return s.getsockname()[1]


# A CPU for the proxy alone; the LAN comes before whoever attacks on what there is besides.
CPUS = sorted(os.sched_getaffinity(0))
PROXY, OTHERS = {CPUS[0]}, set(CPUS[1:] or CPUS)


def place(cpus, is_idle=False):
    os.sched_setaffinity(0, cpus)
    if is_idle:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


class Upstream:
    """nginx: `/` has 100 bytes, `/big` 8 MiB, and `/post` waits for its content. Something slower
    would be what is measured: each rapid reset reaches it a hundred times. The LAN has one of its
    own: else it would wait there, behind what slow readers are sent."""

    def __init__(self, is_idle):
        self.folder, self.port = tempfile.mkdtemp(prefix="flood-"), free_port()
        with open(os.path.join(self.folder, "big"), "wb") as f:
            f.write(b"y" * 8388608)
        paths = "".join(f"{name}_temp_path {self.folder}; " for name in
                        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
        text = f"""{'user root;' if os.geteuid() == 0 else ''}
worker_processes 1; daemon off; error_log stderr crit; pid {self.folder}/pid;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000; client_max_body_size 10m; {paths}
  server {{
    listen 127.0.0.1:{self.port} backlog=4096;
    location = / {{ return 200 "{'x' * 100}"; }}
    location = /big {{ root {self.folder}; }}
    location = /post {{ proxy_pass http://127.0.0.1:9; }}
  }}
}}
"""
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as f:
            f.write(text)
        self.process = subprocess.Popen(
            ["nginx", "-e", "stderr", "-c", path], stderr=subprocess.DEVNULL,
            preexec_fn=lambda: place(OTHERS, is_idle=is_idle))

    def stop(self):
        self.process.terminate()
        self.process.wait(5)
        shutil.rmtree(self.folder)


class Edged:
    def __init__(self, program, upstream, own, connections):
        self.folder = tempfile.mkdtemp(prefix="flood-")
        os.chmod(self.folder, 0o755)
        self.https, self.http, self.admin = free_port(), free_port(), free_port()
        certs = self.path("certs")
        os.mkdir(certs)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext",
             f"subjectAltName=DNS:{HOST}", "-keyout", self.path("key"), "-out",
             self.path("leaf")], check=True, capture_output=True)
        with open(os.path.join(certs, "flood.pem"), "w") as f:
            f.write(open(self.path("leaf")).read() + open(self.path("key")).read())
        is_root = os.geteuid() == 0
        if is_root:
            shutil.chown(certs, group="nogroup")
            shutil.chown(os.path.join(certs, "flood.pem"), group="nogroup")
        os.chmod(certs, 0o750)
        os.chmod(os.path.join(certs, "flood.pem"), 0o640)
        with open(self.path("edged.yaml"), "w") as f:
            f.write(f"""version: 1
workers: 1
{'user: nobody' if is_root else ''}
listeners:
  - {{ name: https, address: 127.0.0.1, port: {self.https}, protocol: tls }}
  - {{ name: http, address: 127.0.0.1, port: {self.http}, protocol: http }}
certificates: {{ directory: certs, default: {HOST} }}
admin: {{ socket: admin.sock, http: "127.0.0.1:{self.admin}" }}
views:
  lan: {{ sources: {LAN} }}
  public: {{ sources: {PUBLIC}, priority: low }}
sites:
  - {{ hosts: {{ public: {HOST} }}, upstream: app }}
  - {{ hosts: {{ lan: {HOST} }}, upstream: own }}
upstreams:
  app: {{ servers: ["127.0.0.1:{upstream.port}"], health: off }}
  own: {{ servers: ["127.0.0.1:{own.port}"], health: off }}
limits: {{ connections: {connections} }}
timeouts: {{ client_hello: 2s, handshake: 2s, request_head: 2s, body: 2s, keep_alive: 5s }}
""")
        self.errors = open(self.path("errors"), "w")
        self.process = subprocess.Popen(
            [program, "-c", self.path("edged.yaml")], stderr=self.errors,
            preexec_fn=lambda: place(PROXY))
        for _ in range(100):
            try:
                self.metrics()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit("edged did not start:\n" + open(self.path("errors")).read())

    def path(self, name):
        return os.path.join(self.folder, name)

    def waited(self):
        """How long the workers have waited for a CPU so far, in seconds."""
        total = 0
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            proxies = f.read().split()
        for proxy in proxies:
            for thread in os.listdir(f"/proc/{proxy}/task"):
                task = f"/proc/{proxy}/task/{thread}"
                if open(f"{task}/comm").read().startswith("worker"):
                    total += int(open(f"{task}/schedstat").read().split()[1])
        return total / 1e9

    def metrics(self):
        """By name, with a failure's reason in place of its name."""
        found = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as page:
            for line in page.read().decode().splitlines():
                if line.startswith("#"):
                    continue
                name, value = line.rsplit(" ", 1)
                if name.startswith("edged_failures_total"):
                    name = "reason:" + name.split('reason="')[1].split('"')[0]
                found[name] = float(value)
        return found

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.errors.close()
        log = open(self.path("errors")).read()
        shutil.rmtree(self.folder)
        return log


# The LAN


def context(protocols=None):
    result = ssl.create_default_context()
    result.check_hostname, result.verify_mode = False, ssl.CERT_NONE
    if protocols:
        result.set_alpn_protocols(protocols)
    return result


def connect(port, source, timeout=5):
    result = socket.socket()
    result.settimeout(timeout)
    result.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    result.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    result.bind((source, 0))
    result.connect((LAN, port))
    return result


REQUEST = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def ask(stream):
    stream.sendall(REQUEST)
    held = b""
    while not held.endswith(b"x" * 100):
        more = stream.recv(4096)
        if not more:
            raise OSError("closed")
        held += more
    if not held.startswith(b"HTTP/1.1 200"):
        raise OSError(held[:40].decode())


def lane(port, seconds, every, is_new, result):
    place(OTHERS)
    tls, kept, spans, failed, why = context(), None, [], 0, ""
    due = begun = time.monotonic()
    while due < begun + seconds:
        time.sleep(max(0, due - time.monotonic()))
        try:
            if is_new or kept is None:
                kept = tls.wrap_socket(connect(port, LAN), server_hostname=HOST)
            ask(kept)
            if is_new:
                kept.close()
            spans.append(time.monotonic() - due)
        except OSError as error:
            failed, why, kept = failed + 1, str(error), None
        due += every
    result.put((is_new, spans, failed, why))


def lan(edged, seconds):
    """Two lanes: requests on a kept connection, and connections of one request. By lane: latencies
    in seconds, how many failed, and why."""
    result = Queue()
    lanes = [Process(target=lane, args=(edged.https, seconds, 0.01, False, result)),
             Process(target=lane, args=(edged.https, seconds, 0.05, True, result))]
    for each in lanes:
        each.start()
    found = {}
    for _ in lanes:
        is_new, *rest = result.get(timeout=seconds + 30)
        found["new" if is_new else "kept"] = rest
    for each in lanes:
        each.join()
    return found


def summary(runs):
    """Of all runs together, by lane."""
    found = {}
    for name in ["kept", "new"]:
        spans = sorted(span for run in runs for span in run[name][0]) or [float("inf")]
        found[name] = {
            "count": len(spans), "failed": sum(run[name][1] for run in runs),
            "why": next((run[name][2] for run in runs if run[name][2]), ""),
            "p50_ms": round(spans[len(spans) // 2] * 1e3, 3),
            "p99_ms": round(spans[min(len(spans) - 1, len(spans) * 99 // 100)] * 1e3, 3),
            "max_ms": round(spans[-1] * 1e3, 3)}
    return found


class Watch:
    """What the daemon says of itself meanwhile: memory, and each second's longest wait of what is
    not of low priority."""

    def __init__(self, edged):
        self.edged, self.delays, self.memory, self.worst = edged, [], 0, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.ended.wait(1):
            try:
                now = self.edged.metrics()
            except OSError:
                continue
            self.delays.append(now["edged_queue_delay_preferred_microseconds"])
            self.memory = max(self.memory, now["edged_memory_bytes"])
            self.worst = max(self.worst, now["edged_queue_delay_microseconds"])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


# The public


def hello_bytes():
    """A ClientHello, to be sent again and again: cheap for who sends it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def abuse(body):
    """A process of the lowest priority that ends by itself."""
    def run(end, done, *arguments):
        place(OTHERS, is_idle=True)
        try:
            body(end, done, *arguments)
        except KeyboardInterrupt:
            pass
    return run


def closed(stream):
    """Whether the other side has closed."""
    try:
        while True:
            if not stream.recv(65536, socket.MSG_DONTWAIT):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


@abuse
def slow(end, done, https, http, count, lazy):
    """Keeps `count` slow clients of each kind in turn; who is cut comes again."""
    hello = hello_bytes()
    head = REQUEST[:-2] + b"X: "
    post = f"POST /post HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n".encode()
    big = f"GET /big HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    kinds = [(https, b"", b""), (https, hello[:20], hello[20:21]), (https, hello, b""),
             (http, head, b"a"), (http, post, b"b"), (http, big, None)]
    clients = collections.deque()
    made = 0
    while time.time() < end:
        while len(clients) < count and time.time() < end:
            port, first, drip = kinds[made % len(kinds)]
            if made >= count and made % 50 == 0:
                time.sleep(lazy)
            made += 1
            try:
                client = connect(port, PUBLIC, 1)
                if first:
                    client.sendall(first)
            except OSError:
                done.value += 1
                continue
            clients.append((client, drip))
        for _ in range(min(200, len(clients))):
            client, drip = clients.popleft()
            try:
                if drip is not None and closed(client):
                    raise OSError("cut")
                if drip:
                    client.send(drip, socket.MSG_DONTWAIT)
                clients.append((client, drip))
            except BlockingIOError:
                clients.append((client, drip))
            except OSError:
                client.close()
                done.value += 1
        if clients and clients[0][1] is None:
            poll = select.poll()
            poll.register(clients[0][0], 0)
            if poll.poll(0):
                clients.popleft()[0].close()
                done.value += 1
        time.sleep(0.05)


@abuse
def handshakes(end, done, https):
    hello, open_ones = hello_bytes(), collections.deque()
    while time.time() < end:
        try:
            client = connect(https, PUBLIC, 1)
            client.send(hello, socket.MSG_DONTWAIT)
            open_ones.append(client)
            done.value += 1
        except OSError:
            pass
        while len(open_ones) > 100:
            open_ones.popleft().close()


@abuse
def resets(end, done, https):
    while time.time() < end:
        try:
            client = connect(https, PUBLIC, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            done.value += 1
        except OSError:
            pass


def frame(kind, flags, stream, content=b""):
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(
        ">I", stream) + content


@abuse
def rapid_reset(end, done, https):
    block = b"\x82\x87\x84\x41" + bytes([len(HOST)]) + HOST.encode()
    flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0)
    for number in range(300):
        flood += frame(1, 5, 2 * number + 1, block) + frame(3, 0, 2 * number + 1, b"\0\0\0\x08")
    tls = context(["h2"])
    while time.time() < end:
        try:
            client = tls.wrap_socket(connect(https, PUBLIC, 1), server_hostname=HOST)
            client.sendall(flood)
            while client.recv(65536):
                pass
        except OSError:
            pass
        done.value += 1


def attack(edged, seconds, count, run):
    """Runs `run` while everything is going on; says what the attackers did."""
    end = time.time() + seconds + 2
    works = {"slow": (slow, edged.https, edged.http, count, 0.05),
             "handshakes": (handshakes, edged.https), "resets": (resets, edged.https),
             "rapid_resets": (rapid_reset, edged.https)}
    counts = {name: Value("q", 0) for name in works}
    workers = [Process(target=work[0], args=(end, counts[name], *work[1:]), daemon=True)
               for name, work in works.items()]
    # The slow ones first: of a flood's others many are refused.
    for worker in workers:
        worker.start()
        if worker is workers[0]:
            time.sleep(0.8)
    time.sleep(0.7)
    found = run()
    for worker in workers:
        worker.join(10)
        if worker.is_alive():
            worker.terminate()
    return found, {name: value.value for name, value in counts.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=".build/release/edged")
    parser.add_argument("--seconds", type=float, default=12, help="of each of the two phases")
    parser.add_argument("--rounds", type=int, default=3, help="of both phases, in turn")
    parser.add_argument("--slow", type=int, default=1000, help="slow clients")
    parser.add_argument("--connections", type=int, default=600, help="limits.connections")
    parser.add_argument("--times", type=float, default=2)
    parser.add_argument("--slack", type=float, default=0, help="milliseconds")
    parser.add_argument("--growth", type=float, default=64, help="MiB")
    parser.add_argument("--log", action="store_true", help="show edged's log")
    options = parser.parse_args()
    if options.seconds > 20:
        parser.error("--seconds is at most 20")
    upstream, own = Upstream(is_idle=True), Upstream(is_idle=False)
    edged = Edged(options.edged, upstream, own, options.connections)
    waits, seen = {"control": 0, "attacked": 0}, {"control": [], "attacked": []}
    runs, attackers, memory, worst = {"control": [], "attacked": []}, collections.Counter(), 0, 0
    try:
        lan(edged, 0.5)
        before = edged.metrics()
        for _ in range(options.rounds):
            waited = edged.waited()
            with Watch(edged) as watch:
                runs["control"].append(lan(edged, options.seconds))
            waits["control"] += edged.waited() - waited
            seen["control"] += watch.delays
            waited = edged.waited()
            with Watch(edged) as watch:
                found, done = attack(edged, options.seconds, options.slow,
                                     lambda: lan(edged, options.seconds))
            waits["attacked"] += edged.waited() - waited
            runs["attacked"].append(found)
            # Not those from before the LAN began to ask.
            seen["attacked"] += watch.delays[2:]
            attackers.update(done)
            memory, worst = max(memory, watch.memory), max(worst, watch.worst)
            # What is left of the attack is no part of the next control.
            time.sleep(3)
        after = edged.metrics()
        recovered = lan(edged, 0.5)
    finally:
        log = edged.stop()
        upstream.stop()
        own.stop()
    control, attacked = summary(runs["control"]), summary(runs["attacked"])
    delays = {name: statistics.median(each or [0]) for name, each in seen.items()}
    cuts = {name[7:]: int(after[name] - before.get(name, 0)) for name in after
            if name.startswith("reason:") and after[name] > before.get(name, 0)}
    growth = (memory - before["edged_memory_bytes"]) / (1 << 20)
    missed = []
    shares = {"control": waits["control"] / options.seconds / options.rounds,
              "attacked": waits["attacked"] / (options.seconds + 3.5) / options.rounds}
    void = [f"the worker waited for a CPU {share * 100:.0f} % of the time ({phase})"
            for phase, share in shares.items() if share > WAIT_MAX]
    for name in ["kept", "new"]:
        bound = max(options.times * control[name]["p99_ms"],
                    control[name]["p99_ms"] + options.slack)
        if attacked[name]["failed"]:
            missed.append(f"{attacked[name]['failed']} requests of the LAN ({name}) failed: "
                          + attacked[name]["why"])
        if attacked[name]["p99_ms"] > bound and not void:
            missed.append(f"the LAN's p99 ({name}) is {attacked[name]['p99_ms']} ms, not "
                          f"{bound:.1f}")
    bound = max(options.times * delays["control"], delays["control"] + options.slack * 1e3)
    if delays["attacked"] > bound and not void:
        missed.append(f"the LAN's queue delay is {delays['attacked']} us, not {bound:.0f}")
    if growth > options.growth:
        missed.append(f"memory grew by {growth:.1f} MiB")
    missed += [f"nothing cut: {kind}" for kind, names in RULES.items()
               if not any(name in cuts for name in names)]
    if any(failed for _, failed, _ in recovered.values()):
        missed.append("the LAN is not served afterwards")
    print(json.dumps({
        "control": control, "attacked": attacked, "attackers": dict(attackers), "cuts": cuts,
        "refused": int(after["edged_connections_refused_total"]),
        "deferred": int(after["edged_handshakes_deferred_total"]),
        "lan_queue_delay_us": delays, "worst_queue_delay_us": worst,
        "waited_for_cpu": {name: round(share, 4) for name, share in shares.items()},
        "memory_growth_mib": round(growth, 1), "void": void, "missed": missed}))
    if options.log:
        sys.stderr.write(log)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
