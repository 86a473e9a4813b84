#!/usr/bin/env python3
"""Every call of the CUDA runtime, and every launch, fails in turn: the run gives right bytes, or an error and nothing else.

usage: fault_sweep.py [--all] RUNNER FAULT_RUN

RUNNER is the emulator's ptxemu-run, FAULT_RUN the program that makes one run. Without --all, each function's calls are
sampled: the first one, the last one and WARPKEM_FAULTS, 6 unless set, together. If that is 1, only the last one fails, and
no sequence of calls.
"""
import concurrent.futures
import os
import re
import subprocess
import sys


def run(command, fault, extra=None):
    environment = dict(os.environ, **(extra or {}))
    environment.pop("PTXEMU_FAIL", None)
    if fault:
        environment["PTXEMU_FAIL"] = fault
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=120)
    calls = {name: int(count) for name, count in re.findall(r"^calls (\w+) (\d+)$", done.stdout, re.M)}
    return done.returncode, done.stdout, calls


def sample(count, most):
    if count <= most:
        return list(range(1, count + 1))
    if most < 2:
        return [count]
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


def main():
    arguments = sys.argv[1:]
    most = 10**9 if "--all" in arguments else int(os.environ.get("WARPKEM_FAULTS", 6))
    runner, program = [a for a in arguments if not a.startswith("--")]
    outcomes = []
    pool = concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    def outcome(command, fault, extra, expect):
        try:
            code, output, _ = run(command, fault, extra)
        except subprocess.TimeoutExpired:
            code, output = -1, "hangs"
        failed = code != 0 or (expect is not None and not re.search(expect, output))
        if failed:
            lines = [line for line in output.splitlines() if not line.startswith("calls") and ": right" not in line]
            print("\n".join([f"FAILED {' '.join(command[2:])} with {fault} {extra or ''}: exit {code}", *lines]), flush=True)
        return failed, output.count(": right"), output.count(": error")

    def case(command, fault, extra=None, expect=None):
        outcomes.append(pool.submit(outcome, command, fault, extra, expect))

    for shape in (["4", "2", "9", "pageable"], ["64", "1", "5", "pinned"]):
        base = [runner, program, "strict"] + shape
        code, output, calls = run(base, None)
        if code != 0 or ": error" in output:
            print(f"the run without faults is not right:\n{output}")
            return 1
        calls["launch"] = calls["cudaLaunchKernel"]
        calls["device_lost"] = calls["cudaLaunchKernel"] + calls["cudaMemcpyAsync"] + calls["cudaMemsetAsync"]
        for name, count in calls.items():
            # Polls differ from run to run: the first ones of each chunk are what there is to fail.
            polls = name in ("cudaEventQuery", "cudaStreamQuery")
            for k in sample(min(count, 40) if polls else count, most):
                for mode in ("strict", "fail-over"):
                    case([runner, program, mode] + shape, f"{name}:{k}")
            if count and most > 1:  # from some call on, every one fails
                for k in {1, count // 2 + 1}:
                    case(base, f"{name}:{k}+")
                    case([runner, program, "fail-over"] + shape, f"{name}:{k}+")
        # One of three devices is lost in the middle: the others do its work.
        three = {"PTXEMU_DEVICES": "3"}
        for k in sample(calls["device_lost"] // 3, most):
            case(base, f"device_lost@1:{max(k, 6)}", three, r"decaps: right")
            case(base, f"launch@2:{max(k // 3, 2)}", three, r"decaps: right")
    # The same where small chunks are replayed as graphs: what only then is called, and devices that go while one runs.
    base = [runner, program, "strict", "64", "1", "3", "repeated"]
    code, output, calls = run(base, None)
    if code != 0 or ": error" in output or calls["cudaGraphLaunch"] == 0:
        print(f"the run with graphs and without faults is not right:\n{output}")
        return 1
    for name in ("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate", "cudaGraphLaunch"):
        for k in sample(calls[name], most // 2):  # a graph that fails costs nothing
            case(base, f"{name}:{k}", expect=r"(?s)^(?!.*: error)")
        case(base, f"{name}:1+", expect=r"(?s)^(?!.*: error)")
    for name, count in (("launch", calls["cudaLaunchKernel"]), ("device_lost", calls["cudaLaunchKernel"]),
                        ("cudaLaunchKernel", calls["cudaLaunchKernel"]), ("cudaMemcpyAsync", calls["cudaMemcpyAsync"])):
        for k in sample(count, most // 2):
            case(base, f"{name}:{k}")
    # Memory for a fraction of what the lanes would like: smaller chunks, and every answer right.
    case([runner, program, "strict", "5000", "4", "600", "pageable"], None, {"PTXEMU_MEM_MB": "16"},
         r"(?s)^(?!.*: error)")
    failures, right, error = (sum(column) for column in zip(*(one.result() for one in outcomes)))
    print(f"{len(outcomes)} faults: {right} operations right, {error} answered with an error, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
