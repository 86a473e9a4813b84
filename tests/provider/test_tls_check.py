#!/usr/bin/env python3
"""warpkem tls-check: what it says of configurations that are right and wrong, and of servers."""
import json
import socket
import subprocess
import unittest

from tls_case import BUILD, GROUPS, OWN_GROUPS, TlsCase

TOOL = BUILD / "bin" / "warpkem"


class TlsCheck(TlsCase):
    def check(self, *words, env=None, status=0):
        done = subprocess.run([str(TOOL), "tls-check", "--json", *map(str, words)], env=env or self.with_provider, text=True,
                              capture_output=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return json.loads(done.stdout) if done.stdout else done.stderr

    def test_all_is_good(self):
        report = self.check()
        self.assertTrue(report["good"])
        self.assertEqual({one["name"]: (one["id"], one["provider"]) for one in report["groups"]},
                         {name: (number, "warpkem") for name, number in GROUPS.items()})
        self.assertTrue(all(one["active"] for one in report["providers"]))
        self.assertEqual([one["served"] for one in report["configured_groups"]], [True] * 3)
        text = subprocess.run([TOOL, "tls-check"], env=self.with_provider, text=True, capture_output=True).stdout
        self.assertRegex(text, r"(?m)^group +X25519MLKEM768 +by warpkem$")
        self.assertTrue(text.endswith("good\n"))

    def problems(self, *words, env):
        report = self.check(*words, env=env, status=2)
        self.assertFalse(report["good"])
        return "\n".join(report["problems"])

    def test_a_missing_module(self):
        env = self.configuration("missing.cnf", module="/nowhere/warpkem.so")
        self.assertRegex(self.problems(env=env), "provider warpkem is not active: .*(No such file|could not load)")

    def test_a_wrong_setting_and_its_reason(self):
        for setting, reason in (("backend = fast", "wrong setting backend = fast"), ("threads = 1e3", "threads = 1e3"),
                                ("policy = PQ", "neither a policy")):
            env = self.configuration("wrong.cnf", settings=setting)
            self.assertRegex(self.problems(env=env), f"provider warpkem is not active: .*{reason}")

    def test_a_group_that_nobody_serves(self):
        env = self.configuration("typo.cnf", groups="X25519MLKEM786:X25519")
        found = self.problems(env=env)
        self.assertIn("Groups names X25519MLKEM786, which nobody serves", found)
        self.assertIn("no post-quantum group that is served", found)

    @unittest.skipUnless(OWN_GROUPS, "OpenSSL 3.5's syntax")
    def test_lists_in_the_syntax_of_openssl_3_5(self):
        for groups in "*X25519MLKEM768 / *X25519:secp256r1", "?nothing:?X25519MLKEM768 / ?X25519", "DEFAULT:-X25519":
            self.check(env=self.configuration("tuples.cnf", groups=groups))
        for groups in "DEFAULT:-X25519MLKEM768", "X25519:SecP256r1MLKEM768:-SecP256r1MLKEM768", "?X25519MLKEM786 / X25519":
            env = self.configuration("tuples.cnf", groups=groups)
            self.assertIn("no post-quantum group that is served", self.problems(env=env), groups)

    def test_spaces_in_a_list(self):
        report = self.check(env=self.configuration("spaces.cnf", groups="X25519MLKEM768 : X25519"))
        self.assertEqual([one["name"] for one in report["configured_groups"]], ["X25519MLKEM768", "X25519"])

    def test_groups_that_are_classical(self):
        env = self.configuration("classical.cnf", groups="X25519:P-256")
        self.assertIn("no post-quantum group that is served", self.problems(env=env))

    def test_a_policy(self):
        env = self.configuration("policy.cnf", groups="SecP384r1MLKEM1024", settings="policy = NIST-curves")
        served = {one["name"]: one["provider"] for one in self.check(env=env)["groups"]}
        self.assertEqual(served["SecP384r1MLKEM1024"], "warpkem")
        self.assertNotEqual(served["X25519MLKEM768"], "warpkem")

    def test_without_a_provider(self):
        if OWN_GROUPS:
            self.skipTest("this OpenSSL has the groups itself")
        self.assertIn("no provider serves a post-quantum group", self.problems(env=self.without_provider()))

    def test_handshakes(self):
        try:
            socket.getaddrinfo("localhost", 443, socket.AF_INET)
            by_name = "localhost"
        except OSError:  # a bare system has no /etc/hosts
            by_name = "127.0.0.1"
        for group in "X25519MLKEM768", "SecP256r1MLKEM768", "MLKEM1024":
            port = self.s_server("-groups", group)
            env = self.configuration(f"{group}.cnf", groups=f"{group}:X25519")
            made = self.check(f"{by_name}:{port}" if group == "X25519MLKEM768" else f"127.0.0.1:{port}", env=env)["handshake"]
            self.assertEqual((made["protocol"], made["group"], made["id"], made["post_quantum"]),
                             ("TLSv1.3", group, GROUPS[group], True))
        self.check(f"127.0.0.1:{port}", "--group", "mlkem1024", env=env)
        self.assertIn("not X25519MLKEM768", self.problems(f"127.0.0.1:{port}", "--group", "X25519MLKEM768", env=env))

    def test_a_server_that_is_classical(self):
        port = self.s_server("-groups", "X25519")
        found = self.problems(f"127.0.0.1:{port}", env=self.with_provider)
        self.assertRegex(found, "(?i)the handshake's group is x25519, which is not post-quantum")
        self.check(f"127.0.0.1:{port}", "--group", "x25519")

    def test_a_server_that_does_not_answer(self):
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            found = self.problems(f"127.0.0.1:{silent.getsockname()[1]}", "--seconds", "1", env=self.with_provider)
            self.assertIn("the handshake failed", found)
        self.assertIn("refused", self.problems(f"127.0.0.1:{self.free_port()}", env=self.with_provider))

    def test_wrong_usage(self):
        for words in ["localhost"], ["localhost:"], [":443"], ["a:1", "b:2"], ["--seconds", "0"]:
            self.assertIn("tls-check", self.check(*words, status=1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
