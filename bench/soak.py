#!/usr/bin/env python3
"""What must never fail, under load: reloads and a killed proxy.

1. wrk for N seconds at 64 connections over TLS with 20 SIGHUP reloads in it, beside 20 idle
   keep-alive connections: no request may fail, no idle connection may be closed.
2. 300 new connections while the proxy is killed with SIGKILL: none may be refused.

usage: soak.py [--edged PATH] [--seconds S] [--workers N] [--only reloads|kill]
"""
import argparse, json, os, re, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time

from proxies import ROOT, Server, Site, free_port


def admin(path, target="/status"):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(5)
        s.connect(path)
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while piece := s.recv(65536):
            data += piece
    return json.loads(data.split(b"\r\n\r\n", 1)[1])


def client(context, port):
    raw = socket.create_connection(("127.0.0.1", port), 5)
    return context.wrap_socket(raw, server_hostname="localhost")


def ask(connection):
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data or len(data.split(b"\r\n\r\n", 1)[1]) < 100:
        piece = connection.recv(65536)
        if not piece:
            return 0
        data += piece
    return int(data.split(b" ", 2)[1])


def reloads(options, site, server, context, port):
    idle = [client(context, port) for _ in range(20)]
    assert all(ask(c) == 200 for c in idle)
    load = subprocess.Popen(
        ["wrk", "-t1", "-c64", f"-d{options.seconds}s", f"https://localhost:{port}/"],
        stdout=subprocess.PIPE, text=True)
    epoch = admin(site.path("admin.sock"))["epoch"]
    for _ in range(20):
        time.sleep(options.seconds / 22)
        server.process.send_signal(signal.SIGHUP)
    out = load.communicate(timeout=options.seconds + 60)[0]
    time.sleep(0.5)
    status = admin(site.path("admin.sock"))
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    errors = re.search(r"Socket errors: .*", out)
    wrong = re.search(r"Non-2xx or 3xx responses: \d+", out)
    kept = sum(1 for c in idle if ask(c) == 200)
    for c in idle:
        c.close()
    print(f"reloads: {status['epoch'] - epoch} of 20 applied, {requests} requests, "
          f"{errors.group(0) if errors else '0 failed'}, {wrong.group(0) if wrong else '0 wrong'}, "
          f"idle keep-alive connections kept: {kept} of 20")
    return not errors and not wrong and kept == 20 and status["epoch"] - epoch == 20


def kill(site, context, port):
    outcome = {"answered": 0, "refused": 0, "reset_connecting": 0, "lost": 0}
    lock = threading.Lock()

    def one():
        try:
            raw = socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            word = "refused"
        except OSError:
            word = "reset_connecting"
        else:
            try:
                with context.wrap_socket(raw, server_hostname="localhost") as c:
                    c.settimeout(5)
                    word = "answered" if ask(c) == 200 else "lost"
            except OSError:
                word = "lost"
        with lock:
            outcome[word] += 1

    proxy = admin(site.path("admin.sock"))["pid"]
    threads, killed = [], None
    for index in range(300):
        if index == 60:
            os.kill(proxy, signal.SIGKILL)
            killed = time.monotonic()
        thread = threading.Thread(target=one)
        thread.start()
        threads.append(thread)
        time.sleep(0.003)
    for thread in threads:
        thread.join(20)
    after = admin(site.path("admin.sock"))["pid"]
    print(f"kill -9: 300 connects over {time.monotonic() - killed:.1f} s: {outcome}, "
          f"proxy {proxy} → {after}")
    return outcome["refused"] == 0 and outcome["reset_connecting"] == 0 and after != proxy


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edged", default=os.path.join(ROOT, ".build/release/edged"))
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=["reloads", "kill"])
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="edged-soak-")
    servers = []
    try:
        site = Site(folder, bridge=False)
        origin, port = free_port(), free_port()
        servers.append(Server("upstream", ["nginx", "-c", site.upstream(origin)], origin, "0-1", folder))
        config = site.edged(port, origin)
        with open(config) as f:
            text = f.read().replace("workers: 1", f"workers: {options.workers}")
        site.write("edged.yaml", text)
        servers.append(Server("edged", [os.path.abspath(options.edged), "-c", config], port, "0-1",
                              folder))
        context = ssl.create_default_context(cafile=site.path("cert.pem"))
        time.sleep(0.5)
        good = True
        if options.only != "kill":
            good = reloads(options, site, servers[1], context, port)
        if options.only != "reloads":
            good = kill(site, context, port) and good
        if not good:
            print(open(os.path.join(folder, "edged.log")).read()[-4000:])
        return 0 if good else 1
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
