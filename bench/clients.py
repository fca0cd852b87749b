"""What makes the load: wrk for plain request rates, load.c for all that wrk can't do or check."""
import http.client, json, os, re, ssl, subprocess, tempfile, time

from proxies import BODY, HERE, cpu_ns, ticks

CPU = "1"


def compile_c(source, folder, *libraries):
    """Compiles a program of this folder; the path of the result."""
    target = os.path.join(folder, os.path.splitext(source)[0])
    subprocess.run(["gcc", "-O2", "-o", target, os.path.join(HERE, source), *libraries], check=True)
    return target


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


def ask_once(port, tls=True):
    """One request by another implementation of TLS and HTTP than the load's: status and body."""
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    else:
        connection = http.client.HTTPConnection("localhost", port, timeout=5)
    connection.request("GET", "/")
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    if answer.status != 200 or body != BODY:
        raise SystemExit(f"port {port} answers {answer.status} {body!r}")


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


class Load:
    """load.c, compiled; a call is one run against a server."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="edged-load-")
        self.program = compile_c("load.c", self.folder.name, "-lssl", "-lcrypto")
        self.sink = compile_c("sink.c", self.folder.name)

    def start(self, server, *words):
        return subprocess.Popen(
            ["taskset", "-c", CPU, self.program, "-a", str(server.port), *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __call__(self, server, seconds, *words, warm=0.5):
        with self.start(server, "-s", seconds, "-w", warm, *words) as process:
            line = process.stdout.readline()
            if line == "begin\n":
                cost = Cost(server)
                line = process.stdout.readline()
                spent = cost.since()
            _, errors = process.communicate()
        if not line.startswith("end "):
            return {"failed": 1, "error": errors.strip() or "the load generator died"}
        return result(spent, json.loads(line[4:]))
