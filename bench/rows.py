"""The rows of operations_bench and `warpkem bench --json`, for the scripts that compare, draw and sum them up."""
import collections
import json
import re
import statistics

NAME = re.compile(r"(?P<op>keygen|encaps|decaps)/(?P<set>[\w-]*ML-?KEM[\w-]*)/(?P<backend>\w+)/batch:(?P<batch>\d+)/threads:(?P<threads>\d+)"
                  r"(?P<seed>/dk:seed)?(?P<prepared>/prepared)?(?:/memory:(?P<memory>\w+))?")

Row = collections.namedtuple("Row", "op set keys backend batch threads memory rate bytes_in bytes_out")


def plain(name):
    """What Google Benchmark adds to the name that both programs give a case is taken off."""
    return re.sub(r"(/iterations:\d+)?/real_time$", "", name)


def benchmarks(files):
    """Every measured line of the files."""
    for name in files:
        with open(name, encoding="utf-8") as file:
            for line in json.load(file)["benchmarks"]:
                if line.get("run_type") != "aggregate" and not line.get("error_occurred"):
                    yield {**line, "name": plain(line["name"])}


def medians(lines):
    """{name: (median of its items per second, one of its lines)}"""
    rates = {}
    for line in lines:
        if "items_per_second" in line:
            rates.setdefault(line["name"], []).append(line)
    return {name: (statistics.median(one["items_per_second"] for one in same), same[0]) for name, same in rates.items()}


def rows_of(lines):
    """A Row for every benchmark of a batch; keys are "expanded", "seed" or "prepared"; memory "pageable" where none is named."""
    rows = []
    for name, (rate, line) in medians(lines).items():
        match = NAME.fullmatch(name)
        if match:
            keys = "seed" if match["seed"] else "prepared" if match["prepared"] else "expanded"
            rows.append(Row(match["op"], match["set"], keys, match["backend"], int(match["batch"]), int(match["threads"]),
                            match["memory"] or "pageable", rate, line.get("bytes_in"), line.get("bytes_out")))
    return rows


def copies_of(lines):
    """What the probe of copies says, medians of its runs: bytes per second, in each direction alone and in both at once."""
    probes = [line for line in lines if line["name"] == "copy/cuda"]
    names = [f"{both}to_{end}_bytes_per_second" for both in ("", "both_") for end in ("device", "host")]
    return {name: statistics.median(probe[name] for probe in probes) for name in names} if probes else None


def copy_limit(row, copies):
    """Items per second that the link lets pass if it does nothing else, both directions at once."""
    return min(copies["both_to_device_bytes_per_second"] / row.bytes_in,
               copies["both_to_host_bytes_per_second"] / row.bytes_out)


def bound(device_rate, best_device_rate, limit):
    """What holds batches of a size in host memory back, from their rate when they are on the GPU already."""
    if device_rate > limit:
        return "copy-bound"
    return "launch-bound" if device_rate < best_device_rate / 2 else "compute-bound"
