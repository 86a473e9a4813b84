#!/usr/bin/env python3
"""The scheduler while its device fails: lost in mid-run, out of memory, hanging, computing wrongly, with and without a
shutdown meanwhile. serving_run checks that every request completes once and right; this sees to it that the fault came.

usage: serving_sweep.py RUNNER SERVING_RUN

RUNNER is the emulator's ptxemu-run. WARPKEM_LONG_TESTS: some hundred random faults more.
"""
import os
import random
import re
import subprocess
import sys

RUNNER, PROGRAM = sys.argv[1:]
ENDINGS = ("finish", "drain", "abort")
WORK = ("cudaLaunchKernel", "cudaMemcpyAsync", "cudaMemsetAsync")
cases = failures = 0
totals = {"requests": 0, "cancelled": 0, "expired": 0, "aborted": 0, "redone": 0}


def run(seed, requests, ending="finish", trouble="none", **environment):
    """Exit status, output, and the numbers in it: those of runtime calls as {(when, name): number}."""
    # Copy engines, unless told: what fails and what lies are their calls.
    environment = {"WARPKEM_CUDA_KERNEL_COPIES": "0", **os.environ, **environment}
    command = [RUNNER, PROGRAM, str(seed), str(requests), ending, trouble]
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", timeout=300)
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        code, output = -1, f"hangs:\n{(error.stdout or b'').decode(errors='replace')}"
    numbers = {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", output, re.M)}
    calls = {(when, name): int(value) for when, name, value in re.findall(r"^calls (\w+) (\w+) (\d+)$", output, re.M)}
    return code, output, numbers, calls


def case(expected, seed, requests, ending="finish", trouble="none", **environment):
    """`expected` maps numbers of the run to what they must be: a number, or None for more than nothing."""
    global cases, failures
    cases += 1
    code, output, numbers, _ = run(seed, requests, ending, trouble, **environment)
    for name in totals:
        totals[name] += numbers.get(name, 0)
    wrong = {name: numbers.get(name) for name, value in expected.items()
             if numbers.get(name) is None or (numbers[name] == 0 if value is None else numbers[name] != value)}
    if code == 0 and not wrong:
        return
    failures += 1
    print(f"FAILED seed {seed}, {requests} requests, {ending}, {trouble}, {environment}: exit {code}, {wrong}")
    print("\n".join(line for line in output.splitlines() if not line.startswith("calls")))


def at_work(calls, when):
    return sum(calls[when, name] for name in WORK)


def main():
    requests, seed = 100, 1
    code, output, numbers, calls = run(seed, requests)
    if code != 0 or numbers["on_device"] == 0 or numbers["redone"] != 0 or numbers["lost_device"] != 0:
        print(f"the run without faults is not right: exit {code}\n{output}")
        return 1
    begin, end = at_work(calls, "before"), at_work(calls, "after")
    mallocs, pinned = calls["before", "cudaMalloc"], calls["before", "cudaHostAlloc"]
    launches = calls["before", "cudaLaunchKernel"]

    lost, survives = {"lost_device": 1, "redone": None}, {"lost_device": 0, "redone": None}
    for number, ending in enumerate(ENDINGS):
        for part in (0.02, 0.2):
            fault = f"device_lost:{begin + 1 + int(part * (end - begin))}"
            case(lost, seed + 2 * number, requests, ending, PTXEMU_FAIL=fault)
        case(lost, seed + 2 * number, requests, ending, "hang", WARPKEM_CUDA_KERNEL_COPIES="1")
        case(lost, seed + 2 * number + 1, requests, ending, PTXEMU_FAIL=f"device_lost:{begin + 3}")
    for copies in "0", "1":
        case(lost, seed, requests, PTXEMU_FAIL=f"launch:{launches + 3}:700", WARPKEM_CUDA_KERNEL_COPIES=copies)
    # A call that fails while a graph is captured costs only the graph. Of three in a row, one is elsewhere: there are
    # two lanes, and each goes on without the graph.
    in_a_row = lambda name, first: ",".join(f"{name}:{calls['before', name] + first + i}" for i in range(3))
    case(survives, seed, requests, PTXEMU_FAIL=in_a_row("cudaMemcpyAsync", 4))
    case(survives, seed, requests, "drain", PTXEMU_FAIL=in_a_row("cudaEventRecord", 2))
    for fault in f"cudaMalloc:{mallocs + 1}+", f"cudaHostAlloc:{pinned + 1}+":
        case({"lost_device": 0}, seed, requests, PTXEMU_FAIL=fault)
    case({"mismatched": None, "lost_device": 0}, seed, requests, "finish", "corrupt")
    case({"lost_device": 0}, seed, requests, "abort", "corrupt")

    if os.environ.get("WARPKEM_LONG_TESTS"):
        dice = random.Random(7)
        later = lambda name, most: f"{name}:{calls['before', name] + dice.randint(1, most)}"
        for _ in range(200):
            fault = dice.choice((
                f"device_lost:{dice.randint(begin + 1, end)}",
                f"launch:{dice.randint(launches + 1, launches + 60)}:{dice.choice((700, 716, 719))}",
                later("cudaMemcpyAsync", 80), later("cudaMemcpyAsync", 80) + "+", later("cudaMalloc", 4),
                later("cudaMalloc", 4) + "+", later("cudaHostAlloc", 4), later("cudaEventRecord", 60) + "+",
                later("cudaEventRecord", 60), later("cudaMemsetAsync", 60), later("cudaGraphInstantiate", 4),
                later("cudaGraphLaunch", 20), later("cudaStreamEndCapture", 4)))
            case({}, dice.randrange(10**6), dice.choice((40, 100, 300)), dice.choice(ENDINGS),
                 dice.choice(("none", "none", "none", "hang", "corrupt")), PTXEMU_FAIL=fault,
                 PTXEMU_MEM_MB=dice.choice(("8192", "24")))
    print(f"{cases} faults, {failures} failed; {totals}")
    return 1 if failures or 0 in totals.values() else 0


if __name__ == "__main__":
    sys.exit(main())
