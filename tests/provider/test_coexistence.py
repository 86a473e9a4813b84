#!/usr/bin/env python3
"""Beside an OpenSSL that has the groups itself (3.5 and later): each side by its own code or by the provider's, as a query says.

Which code served is proved by the provider's counters."""
import re
import unittest

from tls_case import GROUPS, OWN_GROUPS, TlsCase


@unittest.skipUnless(OWN_GROUPS, "this OpenSSL has no groups of its own: 3.5 or later is needed")
class Coexistence(TlsCase):
    def environment(self, side, preferred):
        """Both providers active; ours preferred or not; the side's counters in a file of their own."""
        statistics = self.folder / f"{side}.prom"
        statistics.unlink(missing_ok=True)
        return self.configuration(f"{side}.cnf", groups="", settings=f"statistics_file = {statistics}", preferred=preferred)

    def counted(self, side, algorithm, operation):
        try:
            text = (self.folder / f"{side}.prom").read_text()
        except FileNotFoundError:
            return 0
        return int(re.search(rf'operations_total{{algorithm="{algorithm}",operation="{operation}"}} (\d+)', text)[1])

    def test_all_four_combinations_of_every_group(self):
        for group, number in GROUPS.items():
            algorithm = group if "-" in group or not group.startswith("MLKEM") else group.replace("MLKEM", "ML-KEM-")
            for server in False, True:
                for client in False, True:
                    with self.subTest(group=group, server=server, client=client):
                        port = self.s_server("-groups", group, "-naccept", "1", env=self.environment("server", server))
                        text = self.s_client(port, "-groups", group, env=self.environment("client", client))
                        self.assertGreaterEqual(len(re.findall(rf"NamedGroup: \S+ \({number}\)", text)), 2, text)
                        self.assertEqual(len(re.findall(r"(?m)^\s+ServerHello,", text)), 1)
                        self.assertEqual(self.counted("server", algorithm, "encaps"), int(server))
                        self.assertEqual(self.counted("client", algorithm, "keygen"), int(client))
                        self.assertEqual(self.counted("client", algorithm, "decaps"), int(client))

    def test_the_default_list_is_negotiated_once(self):
        port = self.s_server(env=self.environment("server", True))
        text = self.s_client(port, env=self.environment("client", False))
        self.assertRegex(text, r"NamedGroup: X25519MLKEM768 \(4588\)")
        self.assertEqual(len(re.findall(r"(?m)^\s+ServerHello,", text)), 1)

    def test_key_files_of_each_are_the_others(self):
        own, ours = self.environment("client", False), self.environment("server", True)
        for name in "ML-KEM-512", "ML-KEM-768", "ML-KEM-1024":
            for writer, reader in (own, ours), (ours, own):
                key = self.folder / "k.pem"
                self.run_program("openssl", "genpkey", "-algorithm", name, "-out", key, env=writer)
                public = self.run_program("openssl", "pkey", "-in", key, "-pubout", env=writer)
                self.assertEqual(self.run_program("openssl", "pkey", "-in", key, "-pubout", env=reader), public)
                (self.folder / "p.pem").write_text(public)
                c, sent, received = (self.folder / one for one in ("c", "sent", "received"))
                self.run_program("openssl", "pkeyutl", "-encap", "-pubin", "-inkey", self.folder / "p.pem", "-out", c, "-secret",
                                 sent, env=reader)
                self.run_program("openssl", "pkeyutl", "-decap", "-inkey", key, "-in", c, "-secret", received, env=writer)
                self.assertEqual(sent.read_bytes(), received.read_bytes())


if __name__ == "__main__":
    unittest.main(verbosity=2)
