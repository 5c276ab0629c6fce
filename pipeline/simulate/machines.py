"""The machines: nodes with GPUs, login nodes, the controller.  Each has its own logs, process ids, sessions and audit serials.

Process ids rise with time and wrap, as with the kernel's own counter, so over a week an id means several processes; while a
process is held, nobody else gets its id.  Audit serials rise and restart at boot.  Session numbers are shared by sshd and cron,
as with logind.
"""

from collections.abc import Sequence
from random import Random

from pipeline.simulate.clock import SECOND, Clock, syslog_time
from pipeline.simulate.lines_access import Subject, enrichment
from pipeline.simulate.shipping import ACCESS, TRAINING, RawLines, Rsyslog, Shipper, Vector, Wrapped

PID_MAX = 131_072
GPUS = 8


class Pids:
    """The kernel's process ids: a counter that other processes push on as time passes."""

    def __init__(self, dice: Random) -> None:
        self._base = dice.randrange(3000, PID_MAX)
        self._per_second = dice.uniform(1.5, 4.0)
        self._last = 0
        self._held: dict[int, None] = {}

    def take(self, seconds: float, *, hold: bool = False) -> int:
        """The next free id, `seconds` after boot; held until released when `hold`."""
        self._last = max(self._last + 1, self._base + int(seconds * self._per_second))
        while (pid := 300 + self._last % (PID_MAX - 300)) in self._held:
            self._last += 1
        if hold:
            self._held[pid] = None
        return pid

    def release(self, pid: int) -> None:
        """The process has gone."""
        self._held.pop(pid, None)


class AuditLog:
    """The host's audit.log: gives serials, writes all records of an event at once."""

    def __init__(self, channel: RawLines, clock: Clock, *, enriched: bool, names: dict[int, str]) -> None:
        self.stopped = False  # somebody switched auditing off: events happen, nothing is written
        self.channel = channel
        self._clock = clock
        self._enriched = enriched
        self._names = names
        self._serial = 100

    def event(self, records: Sequence[tuple[str, str]], late: int = 0) -> str:
        """Write one event of (type, body) records now; returns `time:serial`."""
        if self.stopped:
            return ""
        self._serial += 1
        now = self._clock.now
        stamp = f"{now // 1000}.{now % 1000:03d}:{self._serial}"
        self.channel.write(now, [f"type={kind} msg=audit({stamp}): {body}" for kind, body in records], late)
        return stamp

    def tail(self, number: int, subject: Subject) -> str:
        """What follows a SYSCALL body in this host's log format."""
        return enrichment(number, subject, self._names) if self._enriched else ""

    def boot(self) -> None:
        """The serial restarts with the kernel."""
        self._serial = 0


class SyslogFile:
    """One of rsyslog's files below /var/log."""

    def __init__(self, channel: Wrapped, clock: Clock, host: str) -> None:
        self.channel = channel
        self._clock = clock
        self._host = host

    def line(self, program: str, message: str) -> None:
        """Write one line now; `program` carries its pid in brackets, if any."""
        now = self._clock.now
        self.channel.write(now, (f"{syslog_time(now // SECOND)} {self._host} {program}: {message}",))


class Host:
    """One machine."""

    def __init__(self, name: str, address: str, gpus: int, clock: Clock, shipper: Shipper, dice: Random, names: dict[int, str]) -> None:
        self.name = name
        self.address = address
        self.free_gpus = gpus
        self.gpus = gpus
        self.is_up = True
        self.pids = Pids(dice)
        self._clock = clock
        self._booted = clock.now - dice.randrange(2, 40) * 86_400 * SECOND
        self._session = dice.randrange(20, 900)
        # Acts of interference and hardware trouble keep away from one another, or the truth would have two causes.
        self.quiet_until = 0
        self.last_trouble = 0
        self.slow = 1.0  # how much longer a step takes here
        self.logind_pid = self.pids.take(0, hold=True)
        audit = RawLines(shipper, dice, ACCESS, (100, 3000), source="auditd", host=name, file="/var/log/audit/audit.log")
        self.audit = AuditLog(audit, clock, enriched=name in ("login-2", "gpu-016"), names=names)
        wrapper = Vector if name == "login-2" else Rsyslog
        self.auth, self.kern, self.system = (
            SyslogFile(channel, clock, name)
            for channel in (
                wrapper(shipper, dice, ACCESS, (1000, 5000), host=name, file=f"/var/log/{file}", tag=tag, family=family)
                for file, tag, family in (("auth.log", "authlog", "sshd"), ("kern.log", "kernlog", "kernel"), ("syslog", "syslog", "marks"))
            )
        )
        self.probe = RawLines(shipper, dice, TRAINING, (500, 4000), source="probe", host=name, file="/var/log/trainwatch/probe.jsonl")

    def cut_off(self, until: int) -> None:
        """Nothing leaves the machine before `until`; what is written meanwhile is kept and comes then."""
        for channel in (self.audit.channel, self.auth.channel, self.kern.channel, self.system.channel, self.probe):
            channel.held_until = until

    def process(self, *, hold: bool = False) -> int:
        """A new process id."""
        return self.pids.take((self._clock.now - self._booted) / SECOND, hold=hold)

    def new_session(self) -> int:
        """A new login session number."""
        self._session += 1
        return self._session

    def kernel(self, message: str) -> None:
        """A kernel message, with seconds since boot in front as the kernel log has them."""
        self.kern.line("kernel", f"[{(self._clock.now - self._booted) / SECOND:12.6f}] {message}")

    def boot(self) -> None:
        """The machine comes back after a failure: serials and sessions restart."""
        self.is_up = True
        self._booted = self._clock.now
        self._session = 0
        self.audit.boot()
        pid = self.process()
        text = f"op=start ver=3.0.9 format=raw kernel=6.1.0-31-amd64 auid=4294967295 pid={pid} uid=0 ses=4294967295 res=success"
        self.audit.event([("DAEMON_START", text)])
