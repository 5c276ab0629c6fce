"""Kernel lines: out-of-memory kills, GPU errors, and who may say them."""

import contextlib
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.kernel import FORMAT
from pipeline.model.events import AnyBody, KernelLine, OomKill, Xid
from pipeline.model.source import Source

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z
READING = Reading(zone=ZoneInfo("UTC"), reference_time=NOON)
HEAD = "Mar  2 12:00:00 gpu-012 kernel: "


def body(text: str) -> AnyBody:
    """What the kernel's line says."""
    payload = (HEAD + text).encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload), READING)
    assert (event.source, event.host, event.event_time) == (Source.KERNEL, "gpu-012", NOON)
    return event.body


TAIL = "total-vm:8131232kB, anon-rss:8000kB, file-rss:0kB, shmem-rss:0kB"
OOM = [
    (f"[81231.512345] Out of memory: Killed process 4711 (python) {TAIL}, UID:5012 pgtables:16kB oom_score_adj:0",
     OomKill(pid=4711, comm="python", uid=5012)),
    (f"Memory cgroup out of memory: Killed process 4711 (python) {TAIL}, UID:5012 pgtables:16kB",
     OomKill(pid=4711, comm="python", uid=5012, constraint="CONSTRAINT_MEMCG")),
    (f"Killed process 4711 (python), UID 5012, {TAIL}", OomKill(pid=4711, comm="python", uid=5012)),
    (f"Out of memory: Killed process 4711 (a) total-vm) {TAIL}", OomKill(pid=4711, comm="a) total-vm")),
    ("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,oom_memcg=/slurm/job_7,task_memcg=/slurm/job_7,task=python,pid=4711,uid=5012",
     OomKill(pid=4711, comm="python", uid=5012, constraint="CONSTRAINT_MEMCG")),
    ("oom-kill:constraint=CONSTRAINT_NONE,task=a,pid=1,uid=0,pid=4711,uid=5012",
     OomKill(pid=4711, comm="a,pid=1,uid=0", uid=5012, constraint="CONSTRAINT_NONE")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), OOM)
def test_out_of_memory(text: str, expected: OomKill) -> None:
    """The victim's numbers are read from where its name, which a user chose, cannot reach."""
    assert body(text) == expected


XIDS = [
    ("NVRM: Xid (PCI:0000:83:00): 79, pid=4711, name=python, GPU has fallen off the bus.",
     Xid(code=79, pid=4711, name="python", device="0000:83:00", text="GPU has fallen off the bus.")),
    ("[ 1.2] NVRM: Xid (PCI:0000:83:00): 31, pid='<unknown>', name=<unknown>, Ch 00000010, intr 00000000.",
     Xid(code=31, device="0000:83:00", text="Ch 00000010, intr 00000000.")),
    ("NVRM: Xid (PCI:0000:83:00): 45, pid=<unknown>, name=<unknown>, Ch 00000010", Xid(code=45, device="0000:83:00", text="Ch 00000010")),
    ("NVRM: Xid (0000:83:00): 43, Ch 00000010", Xid(code=43, device="0000:83:00", text="Ch 00000010")),
    ("NVRM: Xid (PCI:0000:83:00): 63, pid=4711, Row remap", Xid(code=63, pid=4711, device="0000:83:00", text="Row remap")),
    ("NVRM: Xid (PCI:0000:83:00): 48", Xid(code=48, device="0000:83:00")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), XIDS)
def test_gpu_errors(text: str, expected: Xid) -> None:
    """The code, and the process where the driver knows it."""
    assert body(text) == expected


LINES = ["Out of memory: Kill process 4711 (python) score 900 or sacrifice child", "oom-kill:constraint=x", "usb 1-1: new device", ""]


@pytest.mark.parametrize("text", LINES)
def test_other_lines(text: str) -> None:
    """The announcement of a kill is none, and other text is kept as it is."""
    assert body(text) == KernelLine(text=text)


KILL = f"Out of memory: Killed process 4711 (python) {TAIL}, UID:5012"
NOT_THE_KERNEL = [
    ("a job's output", KILL, "", ""),
    ("another tag", f"Mar  2 12:00:00 gpu-012 u017: {KILL}", "", ""),
    ("a tag in the text", f"Mar  2 12:00:00 gpu-012 u017: kernel: {KILL}", "", ""),
    ("a user's priority", f"<13>{HEAD}{KILL}", "", ""),
    ("another file", KILL, "", "/lustre/run7/slurm-48213.out"),
    ("another program", KILL, "u017", ""),
    ("what dmesg prints, from anybody", f"[    1.5] {KILL}", "", ""),
    ("the same with a day", f"[Mon Mar  2 12:00:00 2026] {KILL}", "", "/lustre/run7/slurm-48213.out"),
]


@pytest.mark.parametrize(("name", "text", "program", "file"), NOT_THE_KERNEL)
def test_only_the_kernel_is_believed(name: str, text: str, program: str, file: str) -> None:
    """A line that acquits counts only with the kernel's tag, and with its facility where a facility is told."""
    payload = text.encode()
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=payload, program=program, file=file), READING)


def test_a_jobs_output_is_no_kernels_whatever_it_is_called() -> None:
    """Whoever runs a job chooses where its output goes."""
    line = Line(payload=KILL.encode(), file="/home/u017/dmesg-slurm-48213.out")
    assert FORMAT.parse(line, READING)
    with pytest.raises(UnknownFormat):
        FORMAT.parse(line, msgspec.structs.replace(READING, job="48213"))


THE_KERNEL = [
    ("its priority", f"<3>{HEAD}{KILL}", "", "", NOON),
    ("RFC 5424", f"<3>1 2026-03-02T12:00:00Z gpu-012 kernel - - - {KILL}", "", "", NOON),
    ("the program beside the text", KILL, "kernel", "", None),
    ("its own file", f"[    1.5] {KILL}", "", "/var/log/dmesg.0", None),
    ("dmesg -T", f"[Mon Mar  2 12:00:00 2026] {KILL}", "", "/var/log/dmesg", NOON),
    ("dmesg -T, beside the program", f"[Mon Mar 02 12:00:00 2026] {KILL}", "kernel", "", NOON),
]


@pytest.mark.parametrize(("name", "text", "program", "file", "time"), THE_KERNEL)
def test_ways_to_the_kernel(name: str, text: str, program: str, file: str, time: int | None) -> None:
    """The seconds since boot are no time."""
    payload = text.encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload, program=program, file=file), READING)
    assert event.body == OomKill(pid=4711, comm="python", uid=5012)
    assert event.event_time == time


@given(st.sampled_from([text for text, _ in OOM] + [text for text, _ in XIDS]), st.integers(0, 160), st.binary(max_size=60))
def test_any_text(start: str, cut: int, rest: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=(HEAD + start[:cut]).encode() + rest), READING)


@pytest.mark.parametrize("piece", ["a", ") total-vm:", ",pid=", ",task=", "UID", "[ 1.5] ", "Killed process 1 ("])
@pytest.mark.parametrize("start", ["", "oom-kill:", "Killed process 1 (", "NVRM: Xid (0000:83:00): 43, pid=1, name="])
def test_hostile_megabyte(start: str, piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    body(start + piece * (1_000_000 // len(piece)))
