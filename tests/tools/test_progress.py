#!/usr/bin/env python3
"""The progress line on terminals of all widths, also while they change. WARPKEM_TOOL is the executable."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import unittest

from tool_case import P, SANITIZED, ToolTest, chunks_of


class Screen:
    """As much of a terminal as the line needs: rows that wrap at the right edge, and two ways to move and to erase."""

    def __init__(self, width):
        self.width = width
        self.rows = [""]
        self.column = 0
        self.wraps = 0

    def resize(self, width):
        self.width = width
        self.rows = [row[:width] for row in self.rows]
        self.column = min(self.column, width - 1)

    def feed(self, text):
        for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]|[^\x1b\r\n]", text):
            if token in "\r\n":
                self.column = 0
                if token == "\n":
                    self.rows.append("")
            elif token.startswith("\x1b"):
                assert token in ("\x1b[K", "\x1b[0K"), repr(token)
                self.rows[-1] = self.rows[-1][:min(self.column, self.width - 1)]
            else:
                if self.column == self.width:  # the last column was written before: now it wraps
                    self.wraps += 1
                    self.rows.append("")
                    self.column = 0
                row = self.rows[-1].ljust(self.column)
                self.rows[-1] = row[:self.column] + token + row[self.column + 1:]
                self.column += 1


class TerminalTest(ToolTest):
    def setUp(self):
        super().setUp()
        self.open_terminal()

    def open_terminal(self):
        self.master, self.terminal = pty.openpty()
        attributes = termios.tcgetattr(self.terminal)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(self.terminal, termios.TCSANOW, attributes)
        self.addCleanup(os.close, self.master)

    def resize(self, width):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))

    def run_on_it(self, *arguments, **options):
        process = self.start(*arguments, stderr=self.terminal, env=dict(os.environ, TERM="xterm"), **options)
        os.close(self.terminal)
        return process

    def read_all(self, screen):
        text = ""
        for part in chunks_of(self.master):
            text += part.decode()
            screen.feed(part.decode())
        return text

    def keygen_on(self, width, count, batch=50):
        self.resize(width)
        screen = Screen(width or 80)
        process = self.run_on_it("keygen", "--param", P, "--count", count, "--ek", "/dev/null", "--dk", "/dev/null",
                              "--batch", batch)
        text = self.read_all(screen)
        self.assertEqual(process.wait(60), 0, text)
        return screen, text


class Widths(TerminalTest):
    def test_numbers_that_are_too_long_for_everything(self):
        for width in 80, 50:
            with self.subTest(width=width):
                self.resize(width)
                screen = Screen(width)
                process = self.run_on_it("keygen", "--param", P, "--count", 1 << 48, "--ek", "/dev/null", "--dk", "/dev/null",
                                         "--batch", 10)
                text = ""
                while text.count("\r") < 4:
                    text += os.read(self.master, 65536).decode()
                process.terminate()
                text += self.read_all(Screen(width))
                process.wait(60)
                screen.feed(text)
                self.assertEqual((screen.wraps, len(screen.rows)), (0, 1), text)
                self.assertIn(" %", text)
                self.open_terminal()


def of_width(width):
    def test(self):
        count = 2000 if SANITIZED else 20000
        screen, text = self.keygen_on(width, count)
        self.assertEqual(screen.wraps, 0, text)
        self.assertGreater(text.count("\r"), 1, "no line before the last one")
        self.assertEqual(len(screen.rows), 2, "the line stayed where it was")
        self.assertEqual(screen.rows[1], "")
        final = screen.rows[0]
        self.assertNotIn("%", final)
        self.assertNotIn("ETA", final)
        if width != 1:
            self.assertTrue(re.search(rf"\b{str(count)[:max(0, width - 1) or None]}", final), final)
        if width >= 30 or width == 0:
            self.assertRegex(final, rf"{count} items in [\d.]+ s")
        first = re.sub(r"\x1b\[K", "", text.split("\r")[1])
        if 10 <= width:
            self.assertIn("%", first)
        if width >= 80 or width == 0:
            self.assertRegex(first, rf"\Akeygen {P}  \[[#.]+\] +\d+ %  \d+/{count}  [\d.]+ ?[kM]?/s  ETA \d+:\d\d\Z")
        if width == 200:
            self.assertRegex(first, r"\[[#.]{24}\]")
    return test


for columns in 0, 1, 2, 5, 10, 20, 40, 60, 79, 80, 81, 88, 200:
    setattr(Widths, f"test_terminal_of_{columns}_columns", of_width(columns))


class Changes(TerminalTest):
    def test_width_that_changes(self):
        self.resize(200)
        read, write = os.pipe()
        process = self.run_on_it("keygen", "--param", P, "--seeds", "-", "--ek", "/dev/null", "--dk", "/dev/null",
                                 "--batch", 1, "--status", f"/dev/fd/{write}", stdin=subprocess.PIPE, pass_fds=[write])
        os.close(write)
        done = 0
        screen = Screen(200)
        for width in 200, 80, 40, 20, 12, 4, 1, 30, 80, 20, 200:
            self.resize(width)
            screen.resize(width)
            drawn = ""
            # It draws when an item is done, at most ten times a second. When a status is here, only the line of that
            # item may still be on its way: the second line that arrives is of the new width.
            while drawn.count("\r") < 2:
                process.stdin.write(bytes(64))
                process.stdin.flush()
                self.assertEqual(os.read(read, 1), b"\0")
                done += 1
                while select.select([self.master], [], [], 0.02)[0]:
                    drawn += os.read(self.master, 65536).decode()
            screen.feed(drawn[drawn.rindex("\r"):])
            last = drawn[drawn.rindex("\r") + 1:].replace("\x1b[K", "")
            self.assertLess(len(last), width)
            self.assertEqual((screen.wraps, screen.rows), (0, [last]))
        process.stdin.close()
        self.read_all(screen)
        os.close(read)
        self.assertEqual(process.wait(60), 0)
        self.assertEqual((screen.wraps, len(screen.rows), screen.rows[1]), (0, 2, ""))
        self.assertIn(f"{done} items in", screen.rows[0])


if __name__ == "__main__":
    unittest.main(verbosity=2)
