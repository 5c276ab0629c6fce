"""A kernel line of a system log in; an out-of-memory kill, a GPU error or another kernel line out.

    Mar  2 19:40:41 gpu-012 kernel: [81231.5] Memory cgroup out of memory: Killed process 4711 (python) total-vm:.., UID:5012 ..
    Mar  2 19:40:41 gpu-012 kernel: oom-kill:constraint=CONSTRAINT_MEMCG,..,task=python,pid=4711,uid=5012
    Mar  2 19:40:41 gpu-012 kernel: NVRM: Xid (PCI:0000:83:00): 79, pid=4711, name=python, GPU has fallen off the bus.

These lines acquit, so only the kernel's own tag is believed: a job can print such text, and any user can write it to the system log
under another tag.  Where the line carries a syslog priority, its facility must be the kernel's, which user space cannot set.
Process names are chosen by users: numbers are taken from where a name cannot reach.  The seconds since boot in brackets are not a time; the
day and time of `dmesg -T` are.  What `dmesg` prints has no tag: it is believed from a file that is called so and is no job's output, or
where the shipper names the program `kernel`.
"""

import re
from collections.abc import Sequence

from pipeline.errors import UnknownFormat
from pipeline.formats import syslog
from pipeline.formats.choosing import TEXT
from pipeline.formats.fields import iso_time
from pipeline.formats.line import Line, Reading
from pipeline.model.events import AnyBody, KernelLine, OomKill, Parsed, Xid
from pipeline.model.source import Source

_TAG = b"kernel"
_UPTIME = re.compile(r"\[ {0,8}[0-9]{1,12}\.[0-9]{1,9}\] ?(?:\[ {0,8}[TC][0-9]{1,10}\] ?)?")
# As `dmesg -T` writes it, local time; its own error of seconds is what such a time is worth.
_WALL_CLOCK = re.compile(r"\[[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([ 0-9][0-9]) ([0-9]{2}:[0-9]{2}:[0-9]{2}) (20[0-9]{2})\] ?")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_BARE_FILES = ("dmesg", "kern.log", "kmsg")
_KILLED = re.compile(r"(?:(Out of memory|Memory cgroup out of memory)(?: \([a-z_]{1,40}\))?: )?Killed process ([0-9]{1,10}) \(")
_KILLED_UID = re.compile(r"UID:? ?([0-9]{1,10})\b")
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]{4,20})\): ([0-9]{1,5})(?:, (.*))?", re.DOTALL)
_XID_PROCESS = re.compile(r"pid='?([0-9]{1,10}|<unknown>)'?(?:, name=)?")


class Kernel:
    """The kernel's lines in a system log."""

    name = "kernel"
    source = Source.KERNEL
    begins = (b" kernel",)
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """The kernel's tag near the start, or the two kinds of line that matter without any prefix."""
        if payload.find(_TAG, 0, 400) >= 0:
            return True
        return payload.find(b"NVRM: Xid") >= 0 or payload.find(b"Killed process") >= 0 or payload.find(b"oom-kill:", 0, 80) >= 0

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The event of the line.  Raises UnknownFormat unless the kernel itself said it."""
        found = syslog.split(line, reading)
        if found is not None:
            if found.program != "kernel" or (found.priority is not None and found.priority >> 3):
                raise UnknownFormat("no kernel line")
            host, time, text = found.host, found.time, found.text
        elif not reading.job and line.file.rsplit("/", 1)[-1].startswith(_BARE_FILES):
            host, time, text = "", None, syslog.text_of(line.payload)
        else:
            raise UnknownFormat("no kernel line")
        if uptime := _UPTIME.match(text):
            text = text[uptime.end() :]
        elif time is None and (clock := _WALL_CLOCK.match(text)) and clock[1] in _MONTHS:
            day = f"{clock[4]}-{_MONTHS.index(clock[1]) + 1:02d}-{clock[2].replace(' ', '0')}"
            time, text = iso_time(f"{day}T{clock[3]}", reading), text[clock.end() :]
        body = _oom(text) or _xid(text) or KernelLine(text=text[: syslog.TEXT_CHARACTERS_MAX])
        return (Parsed(source=Source.KERNEL, host=host, event_time=time, body=body),)


def _oom(text: str) -> AnyBody | None:
    if text.startswith("oom-kill:"):
        # task=..,pid=..,uid=.. stand at the end, and the name before them is the user's: read from the right.
        head, mark, uid = text.rpartition(",uid=")
        head, pid_mark, pid = head.rpartition(",pid=")
        number = syslog.number(pid)
        if not mark or not pid_mark or number is None:
            return None
        constraint = text.partition("constraint=")[2].partition(",")[0]
        comm = head.partition(",task=")[2]
        return OomKill(pid=number, comm=comm[:64], uid=syslog.number(uid.strip()), constraint=constraint[:64])
    killed = _KILLED.match(text)
    if killed is None:
        return None
    # The name may hold a bracket; what follows it is the kernel's.
    end = max(text.rfind(mark) for mark in (") total-vm:", "), UID ", ") anon-rss"))
    if end < killed.end():
        return None
    owner = _KILLED_UID.search(text, end)
    cgroup = killed[1] == "Memory cgroup out of memory"
    return OomKill(
        pid=int(killed[2]),
        comm=text[killed.end() : end][:64],
        uid=int(owner[1]) if owner else None,
        constraint="CONSTRAINT_MEMCG" if cgroup else "",
    )


def _xid(text: str) -> AnyBody | None:
    xid = _XID.match(text)
    if xid is None:
        return None
    rest = xid[3] or ""
    pid, name = None, ""
    if process := _XID_PROCESS.match(rest):
        pid = syslog.number(process[1])
        rest = rest[process.end() :]
        if process[0].endswith("name="):
            name, _, rest = rest.partition(", ")
    return Xid(
        code=int(xid[2]),
        pid=pid,
        name="" if name.strip("'") == "<unknown>" else name[:64],
        device=xid[1],
        text=rest.removeprefix(", ")[: syslog.TEXT_CHARACTERS_MAX],
    )


FORMAT = Kernel()
