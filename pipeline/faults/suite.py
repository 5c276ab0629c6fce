"""Many runs in; one line of JSON per run, kept in a file, and a table row per fault, out.

    (fault, seed) noted in the file?  skip      else run, until it bites or ATTEMPTS_MAX runs did not ──► append

A run in which the fault did not bite proves nothing and is tried again with other dice, and another simulated day; when it never bites,
that is noted as a failure of the suite.  A run that went wrong is never tried again: it is the finding.

Holds: what was finished is in the file before the next run begins, so that a long suite can be stopped and started again at will.
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from pipeline.faults.run import Fault, Result, execute
from pipeline.faults.servers import Servers

ATTEMPTS_MAX = 8  # one fault bites in about every second run only

Say = Callable[[str], None]


class Row(msgspec.Struct, frozen=True):
    """One fault over all its seeds."""

    fault: str
    runs: int
    bit: int
    replayed: int
    lost: int
    doubled: int
    findings: int
    findings_equal: bool
    verdicts_equal: bool
    incidents_equal: bool | None  # None: not compared
    wrong: int  # runs
    seconds: float

    @property
    def right(self) -> bool:
        return self.bit == self.runs and not self.wrong


def until_bitten(fault: Fault, seed: int, servers: Servers, folder: Path, *, say: Say) -> Result:
    """One seed of one fault.  The logs of runs that went wrong stay in `folder`."""
    for attempt in range(ATTEMPTS_MAX):
        place = folder / f"{fault.name}-{seed}-{attempt}"
        try:
            result = execute(fault, seed, attempt, servers, place)
        except KeyboardInterrupt:
            shutil.rmtree(place, ignore_errors=True)
            raise
        say(told(result))
        if result.right:
            shutil.rmtree(place, ignore_errors=True)
        if result.bit or not result.right:
            break
    return result


def told(result: Result) -> str:
    """One line for people."""
    word = "right" if result.right else "WRONG"
    bit = "" if result.bit else ", did not bite"
    return (
        f"{result.fault} seed {result.seed}.{result.attempt}: {word}{bit}; {result.records} records, {result.replayed} replayed, "
        f"{result.take_overs} take-overs, {result.retries} retries, {result.findings} findings, {result.seconds:.0f} s"
        + "".join(f"\n    {line}" for line in result.wrong)
    )


def finished(path: Path | None) -> list[Result]:
    """What a former run noted, but for runs that did not bite; a line that was cut off by a kill does not count."""
    if path is None or not path.exists():
        return []
    results = []
    for line in path.read_bytes().splitlines():
        try:
            results.append(msgspec.json.decode(line, type=Result))
        except msgspec.MsgspecError:
            continue
    return [each for each in results if each.bit or not each.right]


def note(path: Path | None, result: Result) -> None:
    """Append."""
    if path is not None:
        before = path.read_bytes()[-1:] if path.exists() else b""
        with path.open("ab") as file:
            file.write((b"\n" if before not in (b"", b"\n") else b"") + msgspec.json.encode(result) + b"\n")


def rows(results: Iterable[Result], faults: Sequence[Fault]) -> list[Row]:
    """The table, in the order of the faults."""
    by_name: dict[str, list[Result]] = {fault.name: [] for fault in faults}
    for result in results:
        if result.fault in by_name:
            by_name[result.fault].append(result)
    return [
        Row(
            fault=name,
            runs=len(some),
            bit=sum(each.bit for each in some),
            replayed=sum(each.replayed for each in some),
            lost=sum(each.lost for each in some),
            doubled=sum(each.doubled for each in some),
            findings=sum(each.findings for each in some),
            findings_equal=all(each.findings_equal for each in some),
            verdicts_equal=all(each.verdicts_equal for each in some),
            incidents_equal=_all(each.incidents_equal for each in some),
            wrong=sum(not each.right for each in some),
            seconds=sum(each.seconds for each in some),
        )
        for name, some in by_name.items()
        if some
    ]


def _all(compared: Iterable[bool | None]) -> bool | None:
    known = [each for each in compared if each is not None]
    return all(known) if known else None
