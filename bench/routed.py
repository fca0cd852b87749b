"""Sites of the comparison that are about where a connection or a request goes: TLS passed through
by its SNI, and many host names. proxies.py says what a proxy's configuration keeps to."""
import os, socket, ssl

from proxies import BODY, STREAM_MODULE, Site

DOMAIN = "sites.example"


def host(index):
    """load.c makes the same names."""
    return f"h{index:05}.{DOMAIN}"


class PassthroughSite(Site):
    """TLS for localhost is the upstream's; on the same port the proxy ends that for another name.

    A proxy that can't do both in one place has a second, behind a local socket, for what it ends.
    """

    upstream_tls = "ssl_protocols TLSv1.3;"

    def __init__(self, folder, **more):
        super().__init__(folder, bridge=True, **more)

    def mint(self):
        """cert.pem is the upstream's; the proxy has but the other's."""
        super().mint("*." + DOMAIN)
        os.rename(self.path("certs/localhost.pem"), self.path("certs/sites.pem"))
        os.rename(self.path("cert.pem"), self.path("sites-cert.pem"))
        os.rename(self.path("key.pem"), self.path("sites-key.pem"))
        super().mint()
        os.remove(self.path("certs/localhost.pem"))

    def fault(self, port):
        """What is wrong with who ends TLS for which name; None: nothing."""
        for name, certificate in (("localhost", "cert.pem"), (host(0), "sites-cert.pem")):
            context = ssl.create_default_context(cafile=self.path(certificate))
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as raw:
                    context.wrap_socket(raw, server_hostname=name).close()
            except OSError as error:
                return f"{name} is not served by {certificate}: {error}"
        return None

    def nginx(self, port, upstream):
        return self.write("nginx.conf", f"""
load_module {STREAM_MODULE};
worker_processes 1; daemon off; error_log {self.path('n.err')}; pid {self.path('n.pid')};
events {{ worker_connections 8192; }}
stream {{
  map $ssl_preread_server_name $whose {{ localhost 127.0.0.1:{upstream};
    default unix:{self.path('n.sock')}; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; tcp_nodelay on; ssl_preread on;
    proxy_pass $whose; }} }}
http {{ access_log off; {self.temporary('n-')}
  server {{ listen unix:{self.path('n.sock')} ssl; server_name {host(0)};
    ssl_certificate {self.path('sites-cert.pem')};
    ssl_certificate_key {self.path('sites-key.pem')};
    location / {{ return 200 "{BODY}"; }} }} }}
""")

    def haproxy(self, port, upstream):
        return self.write("haproxy.cfg", self.haproxy_head() + f"""
frontend f
  mode tcp
  bind 127.0.0.1:{port} backlog 4096
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  use_backend b if {{ req.ssl_sni -i localhost }}
  default_backend ended
backend b
  mode tcp
  server s 127.0.0.1:{upstream}
backend ended
  mode tcp
  server s unix@{self.path('h.sock')}
frontend ended
  mode http
  bind unix@{self.path('h.sock')} ssl crt {self.path('certs/sites.pem')} alpn http/1.1
  http-request return status 200 content-type text/plain string {BODY}
""")

    def edged_served(self, port):
        return f"""listeners:
  - {{ name: https, address: 127.0.0.1, port: {port}, protocol: tls }}
certificates: {{ directory: certs, default: {host(0)} }}
sites:
  - {{ hosts: localhost, passthrough: app }}
  - {{ hosts: {host(0)}, upstream: ended }}"""

    def edged_upstreams(self, upstream):
        return f"""  app:
    servers: ["127.0.0.1:{upstream}"]
  ended:
    servers: ["127.0.0.1:{upstream}"]
    tls: {{ ca: {self.path('cert.pem')} }}"""


class RoutingSite(Site):
    """`hosts` names with one certificate and one upstream, under which each tenth has a path.

    HAProxy looks host and path up at once in one map; nginx has a server for all names without a
    path and one for those with it; edged has a site for each. What is under the path goes to the
    same server as another upstream.
    """

    def __init__(self, folder, hosts=10, **more):
        self.hosts = hosts
        super().__init__(folder, **more)

    def mint(self):
        super().mint("*." + DOMAIN)
        os.rename(self.path("certs/localhost.pem"), self.path("certs/sites.pem"))

    @staticmethod
    def has_path(index):
        return index % 10 == 3

    def nginx(self, port, upstream):
        passed = ("proxy_pass http://{}; proxy_http_version 1.1; "
                  'proxy_set_header Connection ""; proxy_set_header Host $host; '
                  "proxy_set_header X-Forwarded-For $remote_addr;")

        def names(with_path):
            return "\n".join(f"    server_name {host(i)};" for i in range(self.hosts)
                             if self.has_path(i) == with_path)
        kept = "keepalive 128; keepalive_requests 100000000;"
        return self.write("nginx.conf", f"""
worker_processes 1; daemon off; error_log {self.path('n.err')}; pid {self.path('n.pid')};
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; client_max_body_size 0;
  server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  proxy_buffering on; proxy_buffer_size 16k; proxy_buffers 16 16k; proxy_busy_buffers_size 128k;
  proxy_max_temp_file_size 0; proxy_request_buffering off; {self.temporary('n-')}
  ssl_certificate {self.path('cert.pem')}; ssl_certificate_key {self.path('key.pem')};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
  upstream u {{ server 127.0.0.1:{upstream}; {kept} }}
  upstream p {{ server 127.0.0.1:{upstream}; {kept} }}
  server {{ listen 127.0.0.1:{port} ssl backlog=4096;
    location / {{ {passed.format("u")} }}
{names(False)} }}
  server {{ listen 127.0.0.1:{port} ssl;
    location / {{ {passed.format("u")} }}
    location /api {{ {passed.format("p")} }}
{names(True)} }} }}
""")

    def haproxy(self, port, upstream):
        self.write("hosts.map", "".join(
            (f"{host(i)}/api p\n" if self.has_path(i) else "") + f"{host(i)}/ b\n"
            for i in range(self.hosts)))
        return self.write("haproxy.cfg", self.haproxy_head() + f"""
  mode http
  option forwardfor
  http-reuse always
frontend f
  bind 127.0.0.1:{port} ssl crt {self.path('certs/sites.pem')} alpn http/1.1 backlog 4096
  use_backend %[base,map_beg({self.path('hosts.map')})]
backend b
  server s 127.0.0.1:{upstream}
backend p
  server s 127.0.0.1:{upstream}
""")

    def edged_served(self, port):
        paths = ", paths: [{ prefix: /api, upstream: paths }]"
        sites = "\n".join(
            f"  - {{ hosts: {host(i)}, upstream: app{paths if self.has_path(i) else ''} }}"
            for i in range(self.hosts))
        return f"""listeners:
  - {{ name: https, address: 127.0.0.1, port: {port}, protocol: tls }}
certificates: {{ directory: certs, default: {host(0)} }}
sites:
{sites}"""

    def edged_upstreams(self, upstream):
        return f"""  app: {{ servers: ["127.0.0.1:{upstream}"] }}
  paths: {{ servers: ["127.0.0.1:{upstream}"] }}"""
