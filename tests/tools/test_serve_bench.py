#!/usr/bin/env python3
"""The load generator as a test of the scheduler: many threads through the real queues, every result checked. WARPKEM_TOOL
is the tool and WARPKEM_SERVE_BENCH the program of bench/serve, which has backends with faults; without it, the tests that take
them are skipped. WARPKEM_LONG_TESTS makes it a soak of minutes, WARPKEM_BACKEND says where the work is done."""
import contextlib
import glob
import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import unittest
import urllib.request

TOOL = os.environ.get("WARPKEM_TOOL") or sys.exit("WARPKEM_TOOL is not set")
DOUBLES = os.environ.get("WARPKEM_SERVE_BENCH")
LONG = bool(os.environ.get("WARPKEM_LONG_TESTS"))
# An emulated device and a sanitizer are slow; what is asked of them is the same, only less of it.
SLOW = bool(os.environ.get("WARPKEM_SANITIZED")) or os.environ.get("WARPKEM_BACKEND") == "cuda"
FEW = 1_500 if SLOW else 20_000
of_values = unittest.skipIf(bool(os.environ.get("WARPKEM_SANITIZED")), "values and rates are compared at full speed")
without_threads = unittest.skipIf(os.environ.get("WARPKEM_SANITIZED") == "thread", "a refusal or a simulation has no threads")
EVERYTHING = ",".join(f"{op}:{param}=1" for op in ("keygen", "encaps", "decaps") for param in (512, 768, 1024))


class ServeTest(unittest.TestCase):
    COMMAND = [TOOL, "serve-bench"]

    def run_tool(self, *arguments):
        return subprocess.run([*self.COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=1800)

    def serve(self, *arguments, rc=0):
        done = self.run_tool("--json", *arguments)
        self.assertEqual(done.returncode, rc, f"{arguments}\n{done.stdout}\n{done.stderr}")
        report = json.loads(done.stdout)
        self.assertEqual((report["lost"], report["duplicated"]), (0, 0))
        self.assertEqual(report["completed"] + report["refused"], report["offered"])
        return report

    def check_refusals(self, *refused):
        """Each is arguments, and words of the line that says why they are refused."""
        for arguments, words in refused:
            with self.subTest(arguments):
                done = self.run_tool("--requests", 1, *arguments)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stdout, "")
                for word in words:
                    self.assertIn(word, done.stderr)

    def all_right(self, *arguments):
        report = self.serve("--verify", "portable", *arguments)
        self.assertEqual((report["wrong"], report["failed"]), (0, 0))
        self.assertEqual(report["verified"], report["completed"])
        return report


class ServeBench(ServeTest):
    """With the library's own backends, as users have it."""

    def test_everything_that_goes_without_faults(self):
        report = self.all_right("--op-mix", EVERYTHING, "--requests", FEW, "--outstanding", 64, "--sentinel", 0.05, "--cancel",
                                0.05, "--deadline", 10_000_000, "--bulk", 0.2, "--bad", 0.02, "--seed", 3)
        self.assertEqual(report["completed"], FEW)
        for field in "verified_drawn", "expected_failures", "cancelled":
            self.assertGreater(report[field], 0, field)
        self.assertGreater(report["sentinel"]["checked"], 0)
        self.assertEqual((report["sentinel"]["mismatched"], report["sentinel"]["bad_items"], report["redone"]), (0, 0, 0))

    def test_batches_are_counted_by_their_sizes(self):
        report = self.serve("--requests", FEW)
        sizes = report["batch_size"]
        self.assertLessEqual(sizes["p50"], sizes["max"])
        self.assertEqual([size for size, _ in sizes["histogram"]], sorted({size for size, _ in sizes["histogram"]}))
        self.assertEqual(sizes["histogram"][-1][0], sizes["max"])
        items = sum(size * count for size, count in sizes["histogram"])  # sizes from 64 on are good to 3 %
        self.assertAlmostEqual(items / FEW, 1, delta=0.04)
        batches = sum(count for _, count in sizes["histogram"])
        self.assertAlmostEqual(sizes["mean"], FEW / batches)
        self.assertEqual(sum(report["items_by_backend"].values()), FEW)

    def test_usage_is_counted_by_algorithm(self):
        mix = {"encaps:768": "ML-KEM-768", "encaps:X-Wing": "MLKEM768-X25519"}
        report = self.serve("--op-mix", ",".join(f"{one}=1" for one in mix), "--requests", FEW)
        items = {param: 0 for param in mix.values()}
        for one in report["usage"]:
            self.assertEqual(one["op"], "encaps")
            self.assertLessEqual(one["batches"], one["items"])
            items[one["param"]] += one["items"]
        self.assertEqual(sum(items.values()), FEW)
        for param, number in items.items():
            self.assertGreater(number, FEW / 4, param)

    def test_open_loop(self):
        report = self.all_right("--rate", 2000, "--seconds", 0.5)
        self.assertEqual(report["refused"], 0)

    def test_bad_keys_fail_alone_and_are_expected_to(self):
        for mix in "encaps:768=1", "decaps:512=1", "encaps:X-Wing=1,decaps:X25519MLKEM768=1":
            report = self.all_right("--op-mix", mix, "--requests", FEW, "--bad", 0.25)
            self.assertAlmostEqual(report["expected_failures"] / FEW, 0.25, delta=0.06)
        self.assertEqual(self.all_right("--op-mix", "keygen:512=1", "--requests", 200, "--bad", 1)["expected_failures"], 0)

    def test_randomness_of_the_engines_own_is_checked_too(self):
        report = self.all_right("--op-mix", "keygen:768=1,encaps:768=1", "--requests", FEW // 5, "--drawn", 1)
        self.assertEqual(report["verified_drawn"], FEW // 5)

    def test_an_open_loop_of_few_requests_ends(self):
        report = self.serve("--rate", 60, "--requests", 20, "--producers", 8)
        self.assertEqual(report["offered"], 20)

    @of_values
    def test_executors_stay_on_their_cores_unless_told_otherwise(self):
        cores = len(os.sched_getaffinity(0))
        if cores == 1:
            self.skipTest("one core")

        def most_on_one_core_each(*arguments):
            most = 0
            command = [*self.COMMAND, "--backend", "portable", "--threads", str(cores), "--seconds", "1.5", *arguments]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            try:
                end = time.monotonic() + 600
                while process.poll() is None:
                    self.assertLess(time.monotonic(), end)
                    masks = []
                    for status in glob.glob(f"/proc/{process.pid}/task/*/status"):
                        with contextlib.suppress(OSError), open(status) as text:
                            masks += re.findall(r"^Cpus_allowed_list:\t(\d+)$", text.read(), re.M)
                    most = max(most, len(masks))
                    time.sleep(0.02)
            finally:
                process.kill()
            self.assertEqual(process.wait(), 0)
            return most

        # Those that watch for stalls are always pinned, one on each core.
        self.assertEqual(most_on_one_core_each(), 2 * cores)
        self.assertEqual(most_on_one_core_each("--no-pin"), cores)

    @without_threads
    def test_what_is_not_accepted(self):
        self.check_refusals(
            (["--op-mix", "encaps:42=1"], ["encaps:42=1", "encaps:768=1"]), (["--op-mix", "sign:768=1"], ["sign:768=1"]),
            (["--op-mix", "encaps:768=0"], ["encaps:768=0"]), (["--closed", "--rate", 5], ["--closed", "--rate"]),
            (["--verify", "avx2"], ["--verify", "portable"]), (["--backend", "abacus"], ["abacus"]),
            (["--cancel", 2], ["--cancel"]), (["--backend", "null"], ["null", "portable"]),
            (["--faults", "slow:1"], ["--faults"]), (["--virtual-clock"], ["--virtual-clock"]))

    def test_a_port_that_is_taken_is_refused(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            taken = self.run_tool("--metrics-port", server.getsockname()[1], "--requests", 1)
        self.assertEqual((taken.returncode, taken.stdout), (1, ""))
        self.assertIn("cannot be served", taken.stderr)

    def run_with_metrics(self, seconds, wanted):
        """What it prints, and the last metrics that it served: those that have all of `wanted`, if it lived to show them."""
        arguments = ["--backend", "portable", "--seconds", seconds, "--metrics-port", 0, "--bad", 0.1]
        metrics = ""
        with subprocess.Popen([*self.COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            told = process.stderr.readline()
            self.assertRegex(told, r"^metrics: http://127\.0\.0\.1:\d+/metrics\n$")
            while process.poll() is None and not all(re.search(w, metrics, re.M) for w in wanted):
                try:
                    with urllib.request.urlopen(told.split()[1], timeout=5) as answer:
                        metrics = answer.read().decode()
                except (OSError, http.client.HTTPException):  # not yet, or no more
                    pass
                time.sleep(0.05)
            text = process.communicate(timeout=seconds + 600)[0]
        self.assertEqual(process.returncode, 0)
        return text, metrics

    def test_only_metrics_are_served(self):
        with subprocess.Popen([*self.COMMAND, "--backend", "portable", "--seconds", "600", "--metrics-port", "0"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            self.addCleanup(process.kill)
            port = int(re.search(r":(\d+)/metrics$", process.stderr.readline())[1])

            def ask(method, path):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request(method, path)
                answer = connection.getresponse()
                return answer.status, answer.getheader("Content-Type", ""), answer.read()

            with socket.create_connection(("127.0.0.1", port)):  # one that says nothing holds nobody up
                status, kind, text = ask("GET", "/metrics")
            self.assertEqual((status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"))
            self.assertEqual(ask("HEAD", "/metrics")[::2], (200, b""))
            self.assertEqual(ask("GET", "/")[0], 404)
            self.assertEqual(ask("GET", "/../etc/passwd")[0] // 100, 4)
            self.assertEqual(ask("POST", "/metrics")[0], 405)
            process.kill()

    def test_the_tool_takes_no_network_libraries_but_its_server_and_libssl(self):
        needed = subprocess.run(["ldd", TOOL], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertIn("libcivetweb", needed)
        self.assertNotRegex(needed, "curl|ldap|krb5|gssapi|prometheus")  # tls-check shakes hands with libssl

    def test_text_and_metrics(self):
        wanted = [rf"^warpkem_{name}" for name in (
            r"requests_submitted_total [1-9]", r"requests_completed_total [1-9]", r"batches_total [1-9]", r"queue_items \d",
            r'backend_items_total{backend="portable"} [1-9]', r"request_total_seconds_bucket{")]
        for seconds in 2, 20, 200:  # a machine may stall for longer than a run lasts
            text, metrics = self.run_with_metrics(seconds, wanted)
            self.assertRegex(text, r"\nlost 0, duplicated 0, wrong 0\n")
            self.assertRegex(text, r"\nverified [1-9]\d*, of which [1-9]\d* with .* [1-9]\d* bad keys refused\n")
            if all(re.search(w, metrics, re.M) for w in wanted):
                break
        for w in wanted:
            self.assertRegex(metrics, re.compile(w, re.M))
        if shutil.which("promtool"):
            done = subprocess.run(["promtool", "check", "metrics"], input=metrics, stderr=subprocess.PIPE, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))


@unittest.skipUnless(DOUBLES, "WARPKEM_SERVE_BENCH is not set")
class Doubles(ServeTest):
    """With backends that fail, answer wrongly or do nothing, and on a simulated clock."""
    COMMAND = [DOUBLES]

    def test_everything_at_once(self):
        count = 10_000_000 if LONG else FEW
        # Of few requests a larger part, so that none of what is asked for below stays away by chance.
        report = self.all_right(
            "--op-mix", EVERYTHING, "--requests", count, "--producers", 8, "--outstanding", 64, "--faults", "error:0.1",
            "--sentinel", 0.05 if SLOW else 0.01, "--cancel", 0.05 if SLOW else 0.01, "--deadline", 1_000_000, "--bulk", 0.2,
            "--bad", 0.02, "--seed", count)
        self.assertEqual(report["completed"], count)
        self.assertEqual(report["sentinel"]["mismatched"], 0)
        for field in "verified_drawn", "expected_failures", "cancelled", "redone":
            self.assertGreater(report[field], 0, field)
        self.assertGreater(report["sentinel"]["checked"], 0)
        backend = os.environ.get("WARPKEM_BACKEND")
        if backend:
            self.assertGreater(report["items_by_backend"][backend], 0)

    def test_what_comes_too_late_expires(self):
        # While a batch sleeps for longer than the deadline of what comes meanwhile.
        report = self.all_right("--op-mix", EVERYTHING, "--requests", FEW // 5, "--outstanding", 64, "--deadline", 1,
                                "--faults", "slow:200")
        self.assertGreater(report["expired"], 0)

    @of_values
    def test_every_wrong_answer_is_seen(self):
        for drawn in 0, 1:
            report = self.serve("--backend", "lying:0.02", "--op-mix", EVERYTHING, "--requests", FEW, "--verify", "portable",
                                "--drawn", drawn, rc=2)
            self.assertGreater(report["wrong"], 0)
            self.assertEqual(report["wrong"], report["sentinel"]["bad_items"])

    @of_values
    def test_the_sentinel_lets_no_wrong_answer_out(self):
        report = self.all_right("--backend", "lying:0.02", "--op-mix", EVERYTHING, "--requests", FEW, "--sentinel", 1)
        self.assertEqual(report["sentinel"]["quarantines"], 1)
        self.assertGreater(report["sentinel"]["mismatched"], 0)

    @of_values
    def test_a_sentinel_of_a_fraction_finds_a_liar_out_in_time(self):
        # Nobody can seed the sentinel. It is allowed 10 / fraction bad items, ten times what it needs on average; one run
        # would need more once in 40,000, three together less than once in 1e9. That counts some that are under way when
        # it finds out: few, for there is one thread, and little at a time. In 6000 requests it finds nothing with a
        # probability of (1 - 0.05 * fraction) ** 6000 = 1e-13.
        fraction, bad_items = 0.1, 0
        for seed in 1, 2, 3:
            report = self.serve("--backend", "lying:0.05", "--requests", max(FEW, 6000), "--outstanding", 4, "--threads", 1,
                                "--sentinel", fraction, "--seed", seed)
            self.assertEqual(report["sentinel"]["quarantines"], 1)
            bad_items += report["sentinel"]["bad_items"]
        self.assertLess(bad_items, 3 * 10 / fraction)

    def test_the_scheduler_alone(self):
        report = self.serve("--backend", "null", "--requests", 10 * FEW)
        self.assertEqual(report["completed"], 10 * FEW)
        self.assertEqual(sum(report["items_by_backend"].values()), 10 * FEW)
        self.assertGreater(report["cpu_ns_per_request"], 0)
        sizes = report["batch_size"]
        self.assertLessEqual(sizes["p50"], sizes["max"])
        self.assertEqual(max(size for size, _ in sizes["histogram"]), sizes["max"])
        items = sum(size * count for size, count in sizes["histogram"])  # sizes from 64 on are good to 3 %
        self.assertAlmostEqual(items / (10 * FEW), 1, delta=0.04)

    def test_open_loop_and_overload(self):
        # However many cores there are: each batch takes 2 ms or more, in which 2000 requests come and 1024 have room.
        report = self.all_right("--rate", 1_000_000, "--seconds", 60 if LONG else 1, "--queue-items", 1024, "--drawn", 0,
                                "--faults", "slow:2000")
        self.assertGreater(report["refused"], 0)
        self.assertGreater(report["completed"], 0)

    @without_threads
    def test_virtual_time_keeps_the_bound(self):
        mixed = ("--op-mix", "keygen:512=1,encaps:768=2,decaps:1024=1")
        # The simulated device does up to 2 M/s.
        for more in ((500_000,), (1_500_000,), (1_700_000,), (1_900_000,), (1_960_000,), (500_000, *mixed),
                     (1_500_000, *mixed), (1_900_000, *mixed)):
            report = self.serve("--virtual-clock", "--requests", 50 * FEW, "--rate", *more)
            self.assertEqual(report["completed"], 50 * FEW)
            self.assertLessEqual(report["latency_us"]["p999"], report["bound_us"], more)
        simulated = ("--virtual-clock", "--rate", 1_000_000, "--requests", 2 * FEW, "--op-mix", "encaps:768=1", "--backend",
                     "null")
        report = self.serve(*simulated, "--producers", 3, "--max-delay", 70)
        self.assertEqual((report["completed"], report["refused"]), (2 * FEW, 0))
        self.assertGreater(report["bound_us"], 70)
        self.assertGreater(self.serve(*simulated, "--queue-items", 64)["refused"], 0)
        for more in (), ("--closed", "--producers", 3, "--outstanding", 100):
            report = self.serve("--virtual-clock", "--requests", 10 * FEW, *more)
            self.assertEqual((report["completed"], report["refused"], report["lost"]), (10 * FEW, 0, 0))
            self.assertLessEqual(report["latency_us"]["p999"], report["bound_us"])
        # All that there are in one batch after the other.
        self.assertEqual(report["batch_size"]["max"], 300)
        report = self.serve("--virtual-clock", "--closed", "--queue-items", 64, "--seconds", 0.1)
        self.assertGreater(report["refused"], 0)
        self.assertEqual(report["completed"], report["offered"] - report["refused"])

    @without_threads
    def test_what_is_not_accepted(self):
        self.check_refusals(
            (["--backend", "abacus"], ["abacus", "null"]), (["--backend", "lying:often"], ["often"]),
            (["--faults", "fire:1"], ["fire", "error", "slow"]), (["--backend", "null", "--verify", "portable"], ["null"]),
            (["--backend", "null", "--bad", 0.1], ["null"]),
            *((["--virtual-clock", *refused], ["--virtual-clock", refused[0]]) for refused in (
                ["--verify", "portable"], ["--drawn", 0], ["--bad", 0.1], ["--faults", "slow:1"], ["--sentinel", 0.1],
                ["--deadline", 50], ["--cancel", 0.1], ["--bulk", 0.1], ["--metrics-port", 0])),
            (["--virtual-clock", "--cancel", 0.1, "--deadline", 5], ["excludes --deadline, --cancel\n"]))

    @without_threads
    def test_numbers(self):
        self.check_refusals(
            (["--faults", "error:2"], ["--faults", "'2'", "1"]), (["--faults", "error:-0.1"], ["--faults", "'-0.1'"]),
            (["--faults", "error:nan"], ["'nan'"]), (["--faults", "error:0.1,error:1.5"], ["'1.5'"]),
            (["--faults", "slow:inf"], ["--faults", "'inf'"]), (["--faults", "slow:-1"], ["'-1'"]),
            (["--faults", "error:0.1,"], ["--faults", "error", "slow"]), (["--faults", "error"], ["--faults", "error"]),
            (["--faults", "error:"], ["--faults"]), (["--backend", "lying:1.5"], ["--backend", "'1.5'", "1"]),
            (["--backend", "lying:nan"], ["'nan'"]), (["--backend", "null", "--faults", "error:1"], ["--faults", "null"]),
            (["--backend", "lying:0.1", "--faults", "slow:1"], ["--faults", "lying:0.1"]))


if LONG:
    @unittest.skipUnless(DOUBLES, "WARPKEM_SERVE_BENCH is not set")
    class Soak(ServeTest):
        COMMAND = [DOUBLES]

        def test_memory_stays_flat(self):
            report = self.all_right("--op-mix", EVERYTHING, "--seconds", 240, "--faults", "error:0.02,slow:50", "--bulk", 0.3,
                                    "--cancel", 0.05, "--deadline", 5_000, "--bad", 0.01, "--sentinel", 0.02)
            rss = report["rss_bytes"]
            self.assertGreater(len(rss), 200)
            third = len(rss) // 3
            self.assertLess(statistics.median(rss[-third:]), statistics.median(rss[:third]) + 8 * 2**20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
