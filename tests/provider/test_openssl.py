#!/usr/bin/env python3
"""The provider under openssl s_server and s_client: every group, wrong shares, configurations that are wrong."""
import os
import re
import socket
import subprocess
import threading
import unittest

from tls_case import (ALERT, BUILD, GROUPS, HANDSHAKE, HANDSHAKE_FAILURE, ILLEGAL_PARAMETER, MODULE, OWN_GROUPS, Hello, TlsCase, needs,
                      read_record)


class Module(TlsCase):
    def test_exports_its_entry_alone_and_needs_no_library_of_ours(self):
        symbols = self.run_program("nm", "--dynamic", "--defined-only", MODULE).split()
        self.assertEqual(symbols[2::3], ["OSSL_provider_init"])
        needed = self.run_program("readelf", "--dynamic", "--wide", MODULE)
        self.assertIn("[libcrypto.so.3]", needed)
        self.assertNotIn("libwarpkem", needed)
        self.assertNotIn("libssl", needed)
        self.assertIn("NOW", needed)
        self.assertNotRegex(needed, r"\((RPATH|RUNPATH)\)")

    @needs("cmake")
    def test_is_installed_into_a_folder_of_modules(self):
        self.run_program("cmake", "--install", BUILD, "--component", "warpkem_provider", "--prefix", self.folder / "installed")
        found = [path for path in (self.folder / "installed").rglob("*") if path.is_file()]
        self.assertEqual([(path.parent.name, path.name) for path in found], [("ossl-modules", "warpkem.so")])


class Handshakes(TlsCase):
    def negotiated(self, port, group, **more):
        text = self.s_client(port, "-groups", group, **more)
        number = GROUPS[group]
        # Offered, with a share, and answered with a share.
        self.assertGreaterEqual(len(re.findall(rf"NamedGroup: \S+ \({number}\)", text)), 2, text)
        self.assertIn("ServerHello", text)
        self.assertRegex(text, r"(?m)^New, TLSv1.3")

    def test_every_group_on_both_ends(self):
        for group in GROUPS:
            with self.subTest(group=group):
                port = self.s_server("-groups", group, "-naccept", "1")
                self.negotiated(port, group)

    def test_a_classical_client_is_served(self):
        port = self.s_server("-groups", "X25519MLKEM768:X25519")
        text = self.s_client(port, env=self.classical())
        self.assertRegex(text, "(Server|Peer) Temp Key: X25519,")

    def test_a_classical_client_of_a_server_that_wants_the_hybrid_is_refused(self):
        port = self.s_server("-groups", "X25519MLKEM768")
        text = self.s_client(port, env=self.classical(), fails=True)
        self.assertRegex(text, f"alert number {HANDSHAKE_FAILURE}|handshake failure")

    def test_without_the_provider_the_group_is_unknown(self):
        if OWN_GROUPS:
            self.skipTest("this OpenSSL has the group itself")
        text = self.s_client(self.free_port(), "-groups", "X25519MLKEM768", env=self.without_provider(), fails=True)
        self.assertIn("X25519MLKEM768", text)

    def test_hello_retry_request(self):
        for group in "X25519MLKEM768", "SecP256r1MLKEM768", "MLKEM1024":
            with self.subTest(group=group):
                port = self.s_server("-groups", group, "-naccept", "1")
                text = self.s_client(port, "-groups", f"X25519:{group}")
                self.assertEqual(len(re.findall(r"(?m)^\s+ClientHello,", text)), 2, text)
                self.assertRegex(text, rf"NamedGroup: \S+ \({GROUPS[group]}\)")
                self.assertRegex(text, r"(?m)^New, TLSv1.3")


def wrong_shares(group, share):
    """(what is wrong, share) of a client's shares that no server may take."""
    yield "one byte short", share[:-1]
    yield "one byte long", share + b"\0"
    yield "one byte", share[:1]
    curve = {"SecP256r1MLKEM768": 65, "SecP384r1MLKEM1024": 97}.get(group, 0)
    bad = bytearray(share)
    bad[curve:curve + 3] = b"\xff\xff\xff"
    yield "a coefficient of 4095", bytes(bad)
    if curve:
        yield "no point of the curve", share[:10] + bytes([share[10] ^ 1]) + share[11:]
        yield "a compressed point", b"\x02" + share[1:]
        yield "the point at infinity", bytes(curve) + share[curve:]
    if group == "X25519MLKEM768":
        yield "an X25519 part of zero", share[:-32] + bytes(32)
        yield "an X25519 part of one", share[:-32] + b"\1" + bytes(31)
    yield "the halves exchanged", share[len(share) - 40:] + share[:-40]


class WrongShares(TlsCase):
    def test_a_server_answers_illegal_parameter_and_lives(self):
        for group in GROUPS:
            port = self.s_server("-groups", group)
            hello = self.hello(group)
            self.assertEqual(hello.share[0], GROUPS[group])
            kind, content = self.answer_to(port, hello)
            self.assertEqual((kind, content[0]), (HANDSHAKE, 2), "the share as it is is good")
            for what, share in wrong_shares(group, hello.share[1]):
                with self.subTest(group=group, what=what):
                    kind, content = self.answer_to(port, hello.with_share(share))
                    self.assertEqual((kind, *content), (ALERT, 2, ILLEGAL_PARAMETER))
            self.assertEqual(self.answer_to(port, hello)[0], HANDSHAKE)

    def test_a_client_refuses_a_wrong_answer_and_ends_with_an_error(self):
        """A server's share is a ciphertext: one that ML-KEM alone is in gives another secret, and no finished message fits."""
        for group in "X25519MLKEM768", "SecP256r1MLKEM768", "MLKEM768":
            env = self.configuration(f"{group}.cnf", groups=group)
            for what, change in (("a byte short", lambda c: c[:-1]), ("a byte long", lambda c: c + b"\0"),
                                 ("other bytes", lambda c: bytes(b ^ 0x55 for b in c)), ("zeros", lambda c: bytes(len(c))),
                                 ("nothing", lambda c: b"")):
                server = self.s_server("-groups", group, "-naccept", "1", env=env)
                with self.subTest(group=group, what=what), socket.socket() as between:
                    between.bind(("127.0.0.1", 0))
                    between.listen()
                    alerts = []
                    thread = threading.Thread(target=self.relay, args=(between, server, change, alerts))
                    thread.start()
                    text = self.run_program("openssl", "s_client", "-connect", f"127.0.0.1:{between.getsockname()[1]}",
                                            "-groups", group, env=env, fails=True)
                    thread.join(20)
                    self.assertRegex(text, r"error:")
                    self.assertEqual(len(alerts), 1, text)

    @staticmethod
    def relay(listener, port, change, alerts):
        """Passes a ClientHello on, and the answer's first record with another share; keeps the alert that follows."""
        client, _ = listener.accept()
        client.settimeout(10)
        with client, socket.create_connection(("127.0.0.1", port), 10) as server:
            kind, content = read_record(client)
            server.sendall(bytes([kind, 3, 1]) + len(content).to_bytes(2, "big") + content)
            _, content = read_record(server)
            hello = Hello(content)
            client.sendall(hello.with_share(change(hello.share[1])).record())
            server.settimeout(0.3)
            try:
                while data := server.recv(65536):
                    client.sendall(data)
            except OSError:  # no more comes, or nobody listens
                pass
            try:
                while True:
                    kind, content = read_record(client)
                    if kind in (ALERT, 23):  # in the clear, or sealed with keys that do not fit
                        alerts.append(content)
            except (OSError, EOFError):
                pass


class WrongConfigurations(TlsCase):
    def test_a_missing_module_with_the_group_named_is_an_error(self):
        env = self.configuration("missing.cnf", module="/nowhere/warpkem.so")
        if OWN_GROUPS:
            self.skipTest("this OpenSSL has the group itself")
        text = self.s_client(self.free_port(), "-groups", "X25519MLKEM768", env=env, fails=True)
        self.assertIn("X25519MLKEM768", text)

    def test_a_wrong_setting_keeps_the_provider_out(self):
        for setting in "backend = quick", "threads = -3", "policy = none of these":
            env = self.configuration("wrong.cnf", settings=setting)
            done = subprocess.run(["openssl", "list", "-providers"], env=env, capture_output=True, text=True)
            self.assertNotIn("WarpKEM", done.stdout)

    def test_a_policy_takes_groups_away(self):
        env = self.configuration("policy.cnf", settings="policy = SecP256r1MLKEM768,ML-KEM-1024", groups="")
        port = self.s_server("-groups", "SecP256r1MLKEM768:MLKEM1024", env=env)
        self.assertRegex(self.s_client(port, "-groups", "MLKEM1024"), r"\(514\)")
        if not OWN_GROUPS:
            self.s_client(port, "-groups", "X25519MLKEM768", env=env, fails=True)

    def test_under_another_name_in_the_configuration(self):
        text = (self.folder / "with.cnf").read_text().replace("warpkem = warpkem_section", "ours = warpkem_section")
        (self.folder / "renamed.cnf").write_text(text)
        env = {**os.environ, "OPENSSL_CONF": str(self.folder / "renamed.cnf")}
        port = self.s_server("-groups", "X25519MLKEM768", env=env)
        self.assertRegex(self.s_client(port, env=env), r"NamedGroup: \S+ \(4588\)")

    def test_as_a_query_that_prefers_it_and_without(self):
        for preferred in True, False:
            env = self.configuration("preferred.cnf", preferred=preferred)
            port = self.s_server("-groups", "X25519MLKEM768", env=env)
            self.assertRegex(self.s_client(port, env=env), r"NamedGroup: \S+ \(4588\)")


if __name__ == "__main__":
    unittest.main(verbosity=2)
