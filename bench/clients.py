"""What makes the load: wrk for plain request rates, load.c for all that wrk can't do or check,
h2client.c for HTTP/2, abuser.c for abuse of it."""
import http.client, json, os, re, ssl, subprocess, tempfile, time

from proxies import BODY, HERE, cpu_ns, ticks

CPU = "1"
LIBRARIES = {"load": ["-lssl", "-lcrypto"], "abuser": ["-lssl", "-lcrypto"],
             "h2client": ["-lnghttp2", "-lssl", "-lcrypto"], "h2origin": ["-lnghttp2"]}

_folder, _programs = tempfile.TemporaryDirectory(prefix="edged-programs-"), {}


def program(name):
    """The path of a C program of this folder, compiled at its first use."""
    if name not in _programs:
        target = os.path.join(_folder.name, name)
        subprocess.run(["gcc", "-O2", "-o", target, os.path.join(HERE, name + ".c"),
                        *LIBRARIES.get(name, [])], check=True)
        _programs[name] = target
    return _programs[name]


class Cost:
    """CPU time of a proxy's processes between two moments."""

    def __init__(self, server):
        self.pids = server.pids()
        self.ns, self.ticks, self.time = cpu_ns(self.pids), ticks(self.pids), time.monotonic()

    def since(self):
        """(user µs, system µs): the scheduler's sum, divided as the ticks are."""
        spent = (cpu_ns(self.pids) - self.ns) / 1e3
        after = ticks(self.pids)
        user, system = after[0] - self.ticks[0], after[1] - self.ticks[1]
        share = user / (user + system) if user + system else 0.0
        return spent * share, spent * (1 - share)


def result(cost, answer):
    user, system = cost
    return {"user": user, "system": system, "requests": answer["requests"],
            "failed": answer["failed"], "error": answer.get("error", ""),
            "bytes": answer.get("bytes", 0), "rate": answer["requests"] / answer["seconds"],
            "p50": answer["p50"], "p99": answer["p99"], "lag": answer.get("lag", 0.0),
            "cipher": answer.get("cipher", "")}


def held_requests(port):
    """How many requests an origin of this folder has, and answers none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/held")
    count = int(connection.getresponse().read())
    connection.close()
    return count


def ask_once(port, tls=True, path="/", body=BODY):
    """One request by another implementation of TLS and HTTP than the load's: status and body (None:
    any)."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("localhost", port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != 200 or (body and content != body.encode()):
        raise SystemExit(f"port {port} answers {answer.status} {content[:200]!r}")


UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}


def wrk(server, seconds, connections=64, tls=True):
    """Keep-alive requests as fast as one thread of wrk can; warm-up of a second first."""
    ask_once(server.port, tls)
    url = f"{'https' if tls else 'http'}://localhost:{server.port}/"
    command = ["taskset", "-c", CPU, "wrk", "-t1", f"-c{connections}", "--latency"]
    subprocess.run(command + ["-d1s", url], capture_output=True, timeout=60)
    cost = Cost(server)
    out = subprocess.run(command + [f"-d{max(1, round(seconds))}s", url], capture_output=True,
                         text=True, timeout=seconds + 60).stdout
    spent = cost.since()
    count, taken, unit, size, scale = re.search(
        r"(\d+) requests in ([\d.]+)(\w+), ([\d.]+)(\w?)B read", out).groups()
    count, taken = int(count), float(taken) * UNITS[unit] / 1e6
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    failed = (sum(map(int, errors.groups())) if errors else 0) + (int(other.group(1)) if other else 0)
    error = errors.group(0) if errors else other.group(0) if other else ""
    if float(size) * UNITS[scale] * 1.01 < count * len(BODY):
        failed, error = failed + 1, "answers without their content"
    times = {p: float(v) * UNITS[u]
             for p, v, u in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\b", out)}
    return result(spent, {"requests": count, "failed": failed, "seconds": taken, "error": error,
                          "p50": times["50"], "p99": times["99"]})


def start(name, server, *words):
    """A load generator that runs against a server."""
    return subprocess.Popen(
        ["taskset", "-c", CPU, program(name), "-a", str(server.port), *map(str, words)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def load(server, seconds, *words, warm=0.5, client="load"):
    """One run of load.c or h2client.c, whose words these are, against a server."""
    with start(client, server, "-s", seconds, "-w", warm, *words) as process:
        line = process.stdout.readline()
        if line == "begin\n":
            cost = Cost(server)
            line = process.stdout.readline()
            spent = cost.since()
        _, errors = process.communicate()
    if not line.startswith("end "):
        return {"failed": 1, "error": errors.strip() or "the load generator died"}
    return result(spent, json.loads(line[4:]))


class Held:
    """Connections or streams that a load generator holds open; `error`: why it doesn't.

    `release` closes them. The load generator itself stays until the block is left, so that its end
    disturbs no measurement.
    """

    def __init__(self, client, server, count, *words):
        self.process = start(client, server, "-H", "-c", count, *words)
        said = self.process.stdout.readline().split()
        self.error = None
        if said[:2] != ["held", str(count)] or said[2:4] not in ([], ["failed", "0"]):
            self.process.kill()
            self.error = " ".join(said) or self.process.stderr.read().strip() or "it died"

    def release(self):
        """Whether all were still open."""
        self.process.stdin.write("close\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "closed\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
