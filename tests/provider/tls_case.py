"""What the tests of the provider share: a folder, a certificate, configurations, servers on loopback, TLS records."""
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("WARPKEM_BUILD", ROOT / "build" / "dev"))
MODULE = BUILD / "ossl-modules" / "warpkem.so"
LONG = os.environ.get("WARPKEM_LONG_TESTS") == "1"
NODE = os.environ.get("WARPKEM_NODE")  # 24 or later, whose own OpenSSL has the groups
# Whether this OpenSSL has the groups itself, as it has from 3.5 on.
OWN_GROUPS = "X25519MLKEM768" in subprocess.run(["openssl", "list", "-kem-algorithms"], text=True, capture_output=True,
                                                env={**os.environ, "OPENSSL_CONF": os.devnull}).stdout
# name: number
GROUPS = {"X25519MLKEM768": 4588, "SecP256r1MLKEM768": 4587, "SecP384r1MLKEM1024": 4589,
          "MLKEM512": 512, "MLKEM768": 513, "MLKEM1024": 514}
ALERT, HANDSHAKE, ILLEGAL_PARAMETER, HANDSHAKE_FAILURE = 21, 22, 47, 40


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"no {program}")


class TlsCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="warpkem-provider-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.folder.chmod(0o755)  # workers of servers are other users
        cls.cert, cls.key = cls.folder / "cert.pem", cls.folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                        cls.key, "-out", cls.cert, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        cls.with_provider = cls.configuration("with.cnf")

    @classmethod
    def configuration(cls, name, groups="X25519MLKEM768:X25519:P-256", module=MODULE, settings="", preferred=OWN_GROUPS):
        """The environment of a process with this openssl.cnf, which prefers the provider to OpenSSL's own code."""
        path = cls.folder / name
        path.write_text(f"""openssl_conf = init
[init]
{"alg_section = algorithms" if preferred else ""}
providers = providers
{"ssl_conf = ssl" if groups else ""}
[algorithms]
default_properties = ?provider=warpkem
[providers]
default = default_section
warpkem = warpkem_section
[default_section]
activate = 1
[warpkem_section]
module = {module}
activate = 1
{settings}
[ssl]
system_default = tls
[tls]
{"Groups = " + groups if groups else ""}
""")
        return {**os.environ, "OPENSSL_CONF": str(path)}

    @staticmethod
    def without_provider():
        return {**os.environ, "OPENSSL_CONF": os.devnull}

    @classmethod
    def classical(cls):
        """Without the provider, and without what OpenSSL itself may have."""
        path = cls.folder / "classical-only.cnf"
        path.write_text("openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\n"
                        "Groups = X25519:P-256\n")
        return {**os.environ, "OPENSSL_CONF": str(path)}

    def run_program(self, *words, env=None, text="", fails=False, timeout=60):
        done = subprocess.run(list(map(str, words)), env=env, input=text, text=True, errors="replace", timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode != 0, fails, f"{words}\n{done.stdout}")
        return done.stdout

    def free_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return taken.getsockname()[1]

    def start(self, *words, env=None, port=None):
        """A server, which is stopped at the end of the test; returns it when it listens. Its output is in self.log."""
        self.log = self.folder / f"{self.id()}.log"
        with self.log.open("wb") as log:
            server = subprocess.Popen(list(map(str, words)), env=env, stdin=subprocess.PIPE, stdout=log, stderr=log)
        self.addCleanup(self.stop, server)
        deadline = time.monotonic() + 20
        while port and time.monotonic() < deadline:
            self.assertIsNone(server.poll(), f"{words}\n{self.log.read_text(errors='replace')}")
            if self.listens(server.pid, port):
                break
            time.sleep(0.02)
        return server

    @staticmethod
    def listens(pid, port):
        """Without connecting: some servers serve one connection only."""
        pattern = re.compile(rf"^\s*\d+: [0-9A-F]+:{port:04X} [0-9A-F:]+ 0A ", re.M)
        try:
            return any(pattern.search(pathlib.Path(f"/proc/{pid}/net/{name}").read_text()) for name in ("tcp", "tcp6"))
        except OSError:  # it has just ended
            return False

    @staticmethod
    def stop(server):
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdin.close()

    def s_server(self, *options, env=None):
        port = self.free_port()
        self.start("openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", self.cert, "-key", self.key, "-trace",
                   *options, env=env or self.with_provider, port=port)
        return port

    def s_client(self, port, *options, env=None, fails=False):
        return self.run_program("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-trace", *options,
                                env=env or self.with_provider, fails=fails)

    def hello(self, groups, env=None):
        """The ClientHello that s_client sends, as a Hello."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", "-groups",
                                       groups], env=env or self.with_provider, stdin=subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                connection, _ = listener.accept()
                with connection:
                    return Hello(read_record(connection)[1])
            finally:
                client.kill()
                client.wait()

    def answer_to(self, port, hello):
        """The first record of the server's answer: its type and content."""
        with socket.create_connection(("127.0.0.1", port), 20) as connection:
            connection.sendall(hello.record())
            return read_record(connection)


def read_exactly(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError(f"{len(data)} bytes of {count}")
        data += part
    return data


def read_record(connection):
    """(type, content) of a TLS record."""
    head = read_exactly(connection, 5)
    return head[0], read_exactly(connection, int.from_bytes(head[3:5], "big"))


class Hello:
    """A ClientHello or ServerHello, whose key share can be replaced."""
    KEY_SHARE = 51

    def __init__(self, message):
        self.kind, at = message[0], 4 + 2 + 32
        at += 1 + message[at]  # session id
        if self.kind == 1:
            at += 2 + int.from_bytes(message[at:at + 2], "big")  # cipher suites
            at += 1 + message[at]  # compression
        else:
            at += 3
        self.head, self.extensions = message[4:at], []
        at += 2
        while at < len(message):
            number, length = int.from_bytes(message[at:at + 2], "big"), int.from_bytes(message[at + 2:at + 4], "big")
            self.extensions.append((number, message[at + 4:at + 4 + length]))
            at += 4 + length

    @property
    def share(self):
        """(group, share): of a ClientHello its first."""
        data = dict(self.extensions)[self.KEY_SHARE][2 if self.kind == 1 else 0:]
        return int.from_bytes(data[:2], "big"), data[4:4 + int.from_bytes(data[2:4], "big")]

    def with_share(self, share):
        group, _ = self.share
        entry = group.to_bytes(2, "big") + len(share).to_bytes(2, "big") + share
        if self.kind == 1:
            entry = len(entry).to_bytes(2, "big") + entry
        changed = Hello.__new__(Hello)
        changed.kind, changed.head = self.kind, self.head
        changed.extensions = [(number, entry if number == self.KEY_SHARE else data) for number, data in self.extensions]
        return changed

    def record(self):
        body = b"".join(number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for number, data in self.extensions)
        message = self.head + len(body).to_bytes(2, "big") + body
        message = bytes([self.kind]) + len(message).to_bytes(3, "big") + message
        return bytes([HANDSHAKE, 3, 1]) + len(message).to_bytes(2, "big") + message
