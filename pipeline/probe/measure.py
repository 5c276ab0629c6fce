"""What the probe costs: the start of a job of 2,000 modules and a loop of training steps, each with and without it.

    python pipeline/probe/measure.py [--modules 2000] [--runs 7]

Runs alternate, so that what else the machine does falls on both, and the least of each is compared, since that only adds.  A step is
some 25 ms of arithmetic, a logged line and what frameworks do that raises audit events (`id`, frames, an opened file); of the steps the
middle half counts.  In a second loop every fortieth step saves a checkpoint of 32 MiB, more than a rank of a large job writes, which
the probe hashes beside the next steps; there all count.  Last, what one audit event costs that is of no interest, and one opened file.
Prints one JSON object.  Standard library only: it runs where the job does.
"""

from __future__ import annotations

import argparse
import json
import os
import py_compile
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROBE = Path(__file__).resolve().with_name("trainwatch_probe.py")
START = """
import sys, time
sys.path.insert(0, sys.argv[1])
begin = time.perf_counter()
for number in range(int(sys.argv[2])):
    __import__("site-packages.m%d" % number)
print(time.perf_counter() - begin)
"""
STEPS = """
import logging, os, sys, time
checkpoint = bytes(32 << 20)
log = logging.getLogger("train")
log.addHandler(logging.StreamHandler(open(os.devnull, "w")))
log.setLevel(logging.INFO)
def step(number):
    total = 0
    for each in range(400_000):
        total += each * each % 7
    tensors = [object() for _ in range(200)]
    seen = {id(each) for each in tensors}
    log.info("iteration %d loss %f", number, total / len(seen))
    with open("/proc/self/statm") as file:
        file.read()
for number in range(5):
    step(number)
STEPS, EVERY = 120, int(sys.argv[2])
wall, thread = [], []
for number in range(1, STEPS + 1):
    begin, cpu = time.perf_counter(), time.thread_time()
    step(number)
    if number % EVERY == 0:
        with open(os.path.join(sys.argv[1], "step%d.pt" % number), "wb") as file:
            file.write(checkpoint)
    wall.append(time.perf_counter() - begin)
    thread.append(time.thread_time() - cpu)
middle = slice(None) if EVERY < STEPS else slice(30, 90)
print(*(sum(sorted(each)[middle]) for each in (wall, thread)))
"""
EVENTS = """
import time
def least(function):
    times = []
    for _ in range(30):
        begin = time.thread_time()
        for _ in range(5000):
            function()
        times.append((time.thread_time() - begin) / 5000)
    return min(times)
def opened():
    with open("/proc/self/statm") as file:
        pass
print(least(lambda: id(0)) * 1e9, least(opened) * 1e9)
"""


def run(script: str, output: Path, *arguments: str, probed: bool) -> tuple[float, list[float]]:
    """(seconds of the whole process, what the script measured)."""
    command = [sys.executable, "-c", script, *arguments]
    if probed:
        command = [sys.executable, "-S", str(PROBE), "--", *command]
    environment = {**os.environ, "TWPROBE_OUTPUT": str(output), "TWPROBE_JOB": "measure"}
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return time.perf_counter() - begin, [float(word) for word in done.stdout.split()]


def compare(script: str, folder: Path, *arguments: str, runs: int) -> dict[str, tuple[float, list[float]]]:
    """The least of the alternated runs: whatever else runs on the machine only adds."""
    results: dict[str, list[tuple[float, list[float]]]] = {"without": [], "with": []}
    output = folder / "probe.jsonl"
    run(script, output, *arguments, probed=True)  # compiled files are there from now on
    for _ in range(runs):
        for name, probed in (("without", False), ("with", True)):
            output.unlink(missing_ok=True)
            results[name].append(run(script, output, *arguments, probed=probed))
    return {
        name: (min(whole for whole, _ in rows), [min(column) for column in zip(*(told for _, told in rows))])  # noqa: B905  Python 3.8
        for name, rows in results.items()
    }


def told(output: Path) -> tuple[int, float]:
    """(modules told, seconds from the first line to the last of them)."""
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    times = [line["time_ms"] for line in lines if line["kind"] == "module_imported"]
    return len(times), (max(times) - lines[0]["time_ms"]) / 1000 if times else 0.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--modules", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        package = folder / "site-packages"
        package.mkdir()
        for number in range(options.modules):
            path = package / f"m{number}.py"
            body = "\n".join(f"def f{each}(x):\n    '''{'x' * 40}'''\n    return x + {number + each}\n" for each in range(60))
            path.write_text(body)
            py_compile.compile(str(path))
        start = compare(START, folder, str(folder), str(options.modules), runs=options.runs)
        count, seconds = told(folder / "probe.jsonl")
        plain = compare(STEPS, folder, str(folder), "1000", runs=options.runs)
        events = compare(EVENTS, folder, runs=options.runs)
        saving = compare(STEPS, folder, str(folder), "40", runs=options.runs)
    (whole, _), (whole_probed, _) = start["without"], start["with"]
    figures = {
        "python": sys.version.split()[0],
        "modules": options.modules,
        "modules_told": count,
        "last_told_after_seconds": round(seconds, 3),
        "start_seconds": round(whole, 3),
        "start_seconds_probed": round(whole_probed, 3),
        "start_seconds_added": round(whole_probed - whole, 3),
        "step_ms": round(plain["without"][1][0] / 60 * 1000, 3),
    }
    for column, name in enumerate(("event", "open")):
        figures[f"{name}_ns_added"] = round(events["with"][1][column] - events["without"][1][column])
    for name, loop in (("step", plain), ("saving", saving)):
        for column, clock in enumerate(("wall", "thread")):
            figures[f"{name}_{clock}_percent_added"] = round((loop["with"][1][column] / loop["without"][1][column] - 1) * 100, 2)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
