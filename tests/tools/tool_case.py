"""What the tests of the tool share. WARPKEM_TOOL is the executable."""
import fcntl
import os
import pathlib
import pty
import select
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest

TOOL = os.environ.get("WARPKEM_TOOL") or sys.exit("WARPKEM_TOOL is not set")
LONG = bool(os.environ.get("WARPKEM_LONG_TESTS"))
SANITIZED = bool(os.environ.get("WARPKEM_SANITIZED"))
SETS = {"ML-KEM-512": (800, 1632, 768), "ML-KEM-768": (1184, 2400, 1088), "ML-KEM-1024": (1568, 3168, 1568)}
P = "ML-KEM-768"
EK, DK, C = SETS[P]
INVALID_EK, INVALID_DK = 3, 4


def chunks_of(master):
    """What comes out of a terminal until nobody has its other end."""
    while select.select([master], [], [], 60)[0]:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            return
        yield part


class ToolTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="warpkem-test-")
        self.addCleanup(folder.cleanup)
        self.dir = pathlib.Path(folder.name)

    def start(self, *args, **options):
        options.setdefault("cwd", self.dir)
        process = subprocess.Popen([TOOL, *map(str, args)], **options)
        self.addCleanup(lambda: process.poll() is None and (process.kill(), process.wait()))  # a failed test leaves none
        return process

    def tool(self, *args, rc=0, stdin=b"", **options):
        options.setdefault("cwd", self.dir)
        options.setdefault("timeout", 300)
        options.setdefault("stdout", subprocess.PIPE)
        if "stdin" not in options and not hasattr(stdin, "fileno"):
            options["input"] = stdin
        else:
            options["stdin"] = stdin
        done = subprocess.run([TOOL, *map(str, args)], stderr=subprocess.PIPE, **options)
        done.stderr = done.stderr.decode()
        self.assertEqual(done.returncode, rc, f"{args}\n{done.stderr}")
        if rc == 1:
            self.assertRegex(done.stderr, r"\Awarpkem[^\n]*: ", "an error has a text")
        return done

    def read(self, name):
        return (self.dir / name).read_bytes()

    def write(self, name, data):
        (self.dir / name).write_bytes(data)
        return name

    def files(self):
        return sorted(os.listdir(self.dir))

    def keygen(self, count, ek="ek", dk="dk", param=P, *more):
        return self.tool("keygen", "--param", param, "--count", count, "--ek", ek, "--dk", dk, *more)

    def encaps(self, *more, ek="ek", c="c", K="K", param=P, **options):
        return self.tool("encaps", "--param", param, "--ek", ek, "--ciphertext", c, "--shared-secret", K, *more, **options)

    def decaps(self, *more, dk="dk", c="c", K="K2", param=P, **options):
        return self.tool("decaps", "--param", param, "--dk", dk, "--ciphertext", c, "--shared-secret", K, *more, **options)

    def assertNothingWritten(self, before):
        self.assertEqual(self.files(), sorted(before))

    def being_written(self, process):
        """The status of each file in the folder that the process has open, with or without a name: as /proc shows them."""
        found = []
        for fd in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                target, status = os.readlink(fd), os.stat(fd)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode) and os.path.dirname(target) == os.path.realpath(self.dir):
                found.append(status)
        return found

    def wait_for(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)

    def on_terminal(self, *arguments, stream="stdout", columns=None, rc=0):
        """With standard output or standard error on a terminal: what is seen there, and the text of the other one."""
        master, terminal = pty.openpty()
        if columns:
            fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: terminal}
        process = self.start(*arguments, stdin=subprocess.DEVNULL, env=dict(os.environ, TERM="xterm"), **streams)
        os.close(terminal)
        seen = b"".join(chunks_of(master))
        os.close(master)
        text = b"".join(filter(None, process.communicate(timeout=60))).decode()
        self.assertEqual(process.returncode, rc, seen + text.encode())
        return seen, text
