#!/usr/bin/env python3
"""A small HTTP/1.1 upstream for the demo: says who it is and what it was sent.

usage: demo_upstream.py NAME PORT [CERTIFICATE_WITH_KEY]
"""
import http.server
import ssl
import sys

NAME, PORT = sys.argv[1], int(sys.argv[2])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        lines = [f"upstream {NAME} answers {self.command} {self.path}"]
        for field in ("Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Request-ID"):
            lines.append(f"  {field}: {self.headers.get(field)}")
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Upstream", NAME)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
