#!/usr/bin/env python3
"""The provider under stock programs that know nothing of it: nginx, HAProxy, curl, Python, Node, a client of sockets."""
import glob
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import unittest

from tls_case import BUILD, GROUPS, LONG, MODULE, NODE, TlsCase, needs

HERE = pathlib.Path(__file__).parent
NONBLOCKING = BUILD / "bin" / "provider_nonblocking"


class Nginx(TlsCase):
    """With two workers, which are another user where the tests run as root, and have no environment."""

    def serve(self, curves="X25519MLKEM768:X25519:prime256v1", env=None):
        port = self.free_port()
        self.prefix = self.folder / f"nginx-{port}"
        self.prefix.mkdir()
        self.access = self.prefix / "access.log"
        user = "user www-data;" if os.getuid() == 0 else ""
        configuration = self.prefix / "nginx.conf"
        configuration.write_text(f"""daemon off; {user} worker_processes 2; pid {self.prefix}/pid; error_log {self.prefix}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format tls '$ssl_protocol group=$ssl_curve reused=$ssl_session_reused $server_protocol';
  access_log {self.access} tls;
  client_body_temp_path {self.prefix}/body; proxy_temp_path {self.prefix}/proxy; fastcgi_temp_path {self.prefix}/fastcgi;
  uwsgi_temp_path {self.prefix}/uwsgi; scgi_temp_path {self.prefix}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {self.cert}; ssl_certificate_key {self.key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_ecdh_curve {curves};
    ssl_session_cache shared:tls:1m;
    location / {{ return 200 "served\\n"; }}
  }}
}}
""")
        self.access.touch(mode=0o666)
        self.key.chmod(0o644)
        self.server = self.start("nginx", "-p", self.prefix, "-c", configuration, "-e", self.prefix / "error.log",
                                 env=env or self.with_provider, port=port)
        return port

    def logged(self, count=1):
        """The last lines of the access log, once there are as many."""
        deadline = time.monotonic() + 10
        while len(lines := self.access.read_text().splitlines()) < count and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertGreaterEqual(len(lines), count, (self.prefix / "error.log").read_text())
        return lines[-count:]

    def assert_hybrid(self, line):
        self.assertRegex(line, r"TLSv1\.3 group=(0x11ec|X25519MLKEM768)")

    def counting(self, name):
        """The environment of a client whose provider counts; self.counted(NAME) tells."""
        return self.configuration(f"{name}.cnf", settings=f"statistics_file = {self.folder / name}.prom")

    def counted(self, name, operation="decaps"):
        text = (self.folder / f"{name}.prom").read_text()
        return int(re.search(rf'operations_total{{algorithm="X25519MLKEM768",operation="{operation}"}} (\d+)', text)[1])

    def curl(self, port, *options, **more):
        more.setdefault("env", self.with_provider)
        return self.run_program("curl", "-sS", "--noproxy", "*", "--cacert", self.cert, f"https://localhost:{port}/",
                                "--resolve", f"localhost:{port}:127.0.0.1", *options, **more)

    def workers(self):
        return [int(pid) for path in glob.glob(f"/proc/{self.server.pid}/task/*/children")
                for pid in pathlib.Path(path).read_text().split()]

    @needs("nginx")
    @needs("curl")
    def test_curl(self):
        port = self.serve()
        self.assertIn("served", self.curl(port, env=self.counting("curl")))
        self.assert_hybrid(self.logged()[0])
        self.assertIn("HTTP/2", self.logged()[0])
        self.assertEqual(self.counted("curl"), 1)

    @needs("nginx")
    @needs("curl")
    def test_curl_by_its_option_of_curves(self):
        port = self.serve()
        env = self.configuration("plain.cnf", groups="")
        self.curl(port, "--curves", "X25519MLKEM768", env=env)
        self.assert_hybrid(self.logged()[0])

    @needs("nginx")
    @needs("curl")
    def test_a_classical_curl_falls_back(self):
        port = self.serve()
        self.assertIn("served", self.curl(port, env=self.classical()))
        self.assertIn("group=X25519 ", self.logged()[0])
        self.assertIn("served", self.curl(port, "--tls-max", "1.2", env=self.classical()))
        self.assertIn("TLSv1.2", self.logged(2)[1])

    @needs("nginx")
    def test_python(self):
        port = self.serve()
        text = self.run_program(sys.executable if "3.0" in __import__("ssl").OPENSSL_VERSION else "/usr/bin/python3",
                                HERE / "python_client.py", port, self.cert, env=self.counting("python"))
        self.assertEqual(text.split(), ["TLSv1.3", "False", "TLSv1.3", "True"])
        self.assertGreaterEqual(self.counted("python"), 1)
        first, second = self.logged(2)
        self.assert_hybrid(first)
        self.assert_hybrid(second)
        self.assertIn("reused=r", second)

    @needs("nginx")
    @unittest.skipUnless(NODE, "no Node 24")
    def test_node(self):
        port = self.serve(curves=":".join(GROUPS))
        for count, (group, number) in enumerate(GROUPS.items(), 1):
            with self.subTest(group=group):
                text = self.run_program(NODE, HERE / "node_client.js", port, group, env=self.without_provider())
                self.assertIn(f'"{group}"', text)
                self.assertRegex(self.logged(count)[-1], rf"group=(0x{number:04x}|{group}) ")

    @needs("nginx")
    @needs("ab")
    def test_apache_bench(self):
        port = self.serve()
        # One connection at a time: of several, ab begins some at the end that it never finishes, and their keys count.
        self.run_program("ab", "-n", 20, "-c", 1, f"https://127.0.0.1:{port}/", env=self.counting("ab"))
        for line in self.logged(20):
            self.assert_hybrid(line)
        self.assertEqual(self.counted("ab", "keygen"), 20)

    @needs("nginx")
    @needs("wrk")
    def test_wrk(self):
        port = self.serve()
        self.run_program("wrk", "-t", 1, "-c", 4, "-d", 1, f"https://127.0.0.1:{port}/", env=self.counting("wrk"))
        self.assert_hybrid(self.logged(4)[0])
        self.assertGreaterEqual(self.counted("wrk", "keygen"), 1)

    @needs("nginx")
    @needs("h2load")
    def test_h2load_hides_the_groups_of_the_configuration(self):
        port = self.serve()
        for groups, expected in (["--groups=X25519MLKEM768"], r"(0x11ec|X25519MLKEM768) "), ([], "(X25519|prime256v1) "):
            self.run_program("h2load", "-n", 8, "-c", 4, *groups, f"https://127.0.0.1:{port}/", env=self.with_provider)
            for line in self.logged(8)[-8:]:
                self.assertRegex(line, rf"group={expected}.*HTTP/2")

    # With its own defaults; both ends see the group.
    @needs("nginx")
    @needs("chromium")
    def test_headless_chromium(self):
        port = self.serve()
        spki = subprocess.run(f"openssl x509 -in {self.cert} -noout -pubkey | openssl pkey -pubin -outform der | "
                              "openssl dgst -sha256 -binary | base64", shell=True, check=True, capture_output=True, text=True)
        home = self.folder / "chromium"
        home.mkdir()
        network = home / "network.json"
        page = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
             "--disable-background-networking", "--disable-component-update", f"--user-data-dir={home}",
             "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", f"--log-net-log={network}",
             f"--ignore-certificate-errors-spki-list={spki.stdout.strip()}", "--dump-dom", f"https://127.0.0.1:{port}/"],
            env={**self.without_provider(), "HOME": str(home)}, capture_output=True, text=True, errors="replace", timeout=120)
        self.assertIn("served", page.stdout, page.stderr)
        self.assert_hybrid(self.logged()[0])
        self.assertEqual(set(re.findall(r'"key_exchange_group":(\d+)', network.read_text())), {"4588"})

    @needs("nginx")
    def test_many_connections_of_non_blocking_sockets(self):
        port = self.serve()
        text = self.run_program(NONBLOCKING, port, 200, "X25519MLKEM768", env=self.with_provider)
        self.assertEqual(text.split(), ["4588"] * 200)

    @needs("nginx")
    @needs("curl")
    def test_reloads(self):
        port = self.serve()
        for _ in range(20 if LONG else 3):
            old = set(self.workers())
            self.server.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 10
            while old & set(self.workers()) and time.monotonic() < deadline:
                time.sleep(0.05)
            self.curl(port)
        self.assert_hybrid(self.logged()[0])
        self.assertNotIn("exited on signal", (self.prefix / "error.log").read_text())

    def resident_kib(self):
        """Of the workers, the largest."""
        return max(int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1])
                   for pid in self.workers())

    @needs("nginx")
    def test_memory_stays_flat(self):
        port = self.serve()
        rounds, at_once = (500, 200) if LONG else (6, 100)  # 100,000 handshakes
        for number in range(rounds):
            text = self.run_program(NONBLOCKING, port, at_once, "X25519MLKEM768", env=self.with_provider)
            self.assertEqual(text.split(), ["4588"] * at_once)
            if number == rounds // 3:
                before = self.resident_kib()
            if LONG and number > rounds // 3 and number % 100 == 0:
                self.server.send_signal(signal.SIGHUP)
                time.sleep(2)
        self.assertLess(self.resident_kib(), before + 4096)

    @needs("nginx")
    def test_a_worker_killed_in_a_handshake(self):
        port = self.serve()
        hello = self.hello("X25519MLKEM768").record()
        with socket.create_connection(("127.0.0.1", port), 10) as half, \
                socket.create_connection(("127.0.0.1", port), 10) as answered:
            half.sendall(hello[:700])
            answered.sendall(hello)
            self.assertTrue(answered.recv(1))
            for pid in self.workers():
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while len(self.workers()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.run_program(NONBLOCKING, port, 20, env=self.with_provider).split(), ["4588"] * 20)

    @needs("nginx")
    def test_a_group_that_nobody_serves_keeps_it_from_starting(self):
        with self.assertRaisesRegex(AssertionError, "SSL_CTX_set1_curves_list|SSL_CTX_set1_groups_list|no group"):
            self.serve(curves="X25519MLKEM768:NoSuchGroup")


class HaProxy(TlsCase):
    @needs("haproxy")
    def test_s_client_and_curl(self):
        port = self.free_port()
        pem = self.folder / "both.pem"
        pem.write_text(self.cert.read_text() + self.key.read_text())
        configuration = self.folder / "haproxy.cfg"
        configuration.write_text(f"""global
    nbthread 2
defaults
    mode http
    timeout client 10s
    timeout server 10s
    timeout connect 10s
frontend tls
    bind 127.0.0.1:{port} ssl crt {pem} curves X25519MLKEM768:X25519
    http-request return status 200 content-type text/plain string "served"
""")
        self.start("haproxy", "-db", "-f", configuration, env=self.with_provider, port=port)
        text = self.s_client(port, "-groups", "X25519MLKEM768")
        self.assertGreaterEqual(len(re.findall(r"NamedGroup: \S+ \(4588\)", text)), 2, text)
        self.assertEqual(self.run_program(NONBLOCKING, port, 200, env=self.with_provider).split(), ["4588"] * 200)
        if shutil.which("curl"):
            self.assertEqual(self.run_program("curl", "-sS", "--cacert", self.cert, f"https://localhost:{port}/", "--noproxy", "*",
                                              "--resolve", f"localhost:{port}:127.0.0.1", "--curves", "X25519MLKEM768",
                                              env=self.with_provider), "served")
        self.assertRegex(self.s_client(port, env=self.classical()), "(Server|Peer) Temp Key: X25519,")


class Apache(TlsCase):
    @needs("apache2")
    def test_s_client_and_a_classical_client(self):
        port, modules = self.free_port(), "/usr/lib/apache2/modules"
        configuration = self.folder / "apache.conf"
        user = "User www-data\nGroup www-data" if os.getuid() == 0 else ""
        configuration.write_text(f"""ServerRoot {self.folder}
PidFile {self.folder}/apache.pid
ErrorLog {self.folder}/apache.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule ssl_module {modules}/mod_ssl.so
{user}
Listen 127.0.0.1:{port}
ServerName localhost
DocumentRoot {self.folder}
Mutex file:{self.folder} default
SSLEngine on
SSLSessionCache none
SSLCertificateFile {self.cert}
SSLCertificateKeyFile {self.key}
SSLOpenSSLConfCmd Groups X25519MLKEM768:X25519:P-256
""")
        self.start("apache2", "-DFOREGROUND", "-f", configuration, env=self.with_provider, port=port)
        self.assertGreaterEqual(len(re.findall(r"NamedGroup: \S+ \(4588\)", self.s_client(port))), 2)
        self.assertEqual(self.run_program(NONBLOCKING, port, 50, env=self.with_provider).split(), ["4588"] * 50)
        self.assertRegex(self.s_client(port, env=self.classical()), "(Server|Peer) Temp Key: X25519,")


@unittest.skipUnless(NODE, "no Node 24")
class NodeServer(TlsCase):
    """An independent implementation of every group, in the OpenSSL that Node brings."""

    def serve(self, groups):
        server = self.start(NODE, HERE / "node_server.js", self.cert, self.key, groups, env=self.without_provider())
        deadline = time.monotonic() + 20
        while not (match := re.search(r"port (\d+)", self.log.read_text())) and time.monotonic() < deadline:
            self.assertIsNone(server.poll(), self.log.read_text())
            time.sleep(0.05)
        return int(match[1])

    def test_every_group(self):
        for group, number in GROUPS.items():
            with self.subTest(group=group):
                port = self.serve(group)
                text = self.s_client(port, "-groups", group)
                self.assertGreaterEqual(len(re.findall(rf"NamedGroup: \S+ \({number}\)", text)), 2, text)
                self.assertRegex(text, r"(?m)^New, TLSv1.3")

    def test_non_blocking_sockets(self):
        port = self.serve("X25519MLKEM768")
        self.assertEqual(self.run_program(NONBLOCKING, port, 50, env=self.with_provider).split(), ["4588"] * 50)


if __name__ == "__main__":
    assert MODULE.is_file(), MODULE
    unittest.main(verbosity=2)
