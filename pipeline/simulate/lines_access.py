"""The text of access records: auditd bodies, sshd, sudo, su, PAM and logind messages, kernel messages.  Values in, text out.

An audit body is what follows `msg=audit(..): `; the host that writes it adds type, time and serial.  Numbers are as the kernel
prints them: syscall arguments in hex without prefix, unset ids as 4294967295 in SYSCALL but as -1 in OBJ_PID, where the kernel
prints them signed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.simulate.people import UNSET

EXECVE, KILL, RENAME, UNLINK, OPENAT = 59, 62, 82, 87, 257
_NAMES = {EXECVE: "execve", KILL: "kill", RENAME: "rename", UNLINK: "unlink", OPENAT: "openat"}
AT_FDCWD = "ffffff9c"
O_RDWR, O_WRONLY_CREATE_TRUNCATE = 0x2, 0x241
CAPABILITIES = "cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"


class Subject(NamedTuple):
    """Who a process acts as, and from which login it stems."""

    auid: int
    uid: int
    gid: int
    session: int
    tty: str

    @classmethod
    def daemon(cls, uid: int = 0, gid: int = 0) -> "Subject":
        """A process that no login started: Slurm's daemons and the jobs below them."""
        return cls(UNSET, uid, gid, UNSET, "(none)")


class Program(NamedTuple):
    """What a process runs."""

    comm: str
    exe: str
    argv: tuple[str, ...]


class FileName(NamedTuple):
    """One PATH record: a name that a syscall touched."""

    name: str
    inode: int
    mode: str
    uid: int
    gid: int
    kind: str


def proctitle(argv: Sequence[str]) -> str:
    """`proctitle=` of a command line: hex when it has more than one word."""
    if len(argv) == 1 and " " not in argv[0]:
        return f'proctitle="{argv[0]}"'
    return "proctitle=" + "\0".join(argv).encode().hex().upper()


def syscall(
    number: int,
    arguments: tuple[str, str, str, str],
    result: int,
    items: int,
    pids: tuple[int, int],
    subject: Subject,
    program: Program,
    key: str,
) -> str:
    """The SYSCALL record; `pids` is parent and own, a negative `result` is a failure."""
    success = "no" if result < 0 else "yes"
    a0, a1, a2, a3 = arguments
    uid, gid = subject.uid, subject.gid
    return (
        f"arch=c000003e syscall={number} success={success} exit={result} a0={a0} a1={a1} a2={a2} a3={a3} items={items} "
        f"ppid={pids[0]} pid={pids[1]} auid={subject.auid} uid={uid} gid={gid} euid={uid} suid={uid} fsuid={uid} "
        f"egid={gid} sgid={gid} fsgid={gid} tty={subject.tty} ses={subject.session} "
        f'comm="{program.comm}" exe="{program.exe}" key="{key}"'
    )


def enrichment(number: int, subject: Subject, names: dict[int, str]) -> str:
    """What auditd's ENRICHED format appends to SYSCALL, after a group separator."""
    auid = names.get(subject.auid, "unset")
    user, group = names.get(subject.uid, "unknown"), "unknown"
    return (
        f'\x1dARCH=x86_64 SYSCALL={_NAMES[number]} AUID="{auid}" UID="{user}" GID="{group}" EUID="{user}" SUID="{user}" '
        f'FSUID="{user}" EGID="{group}" SGID="{group}" FSGID="{group}"'
    )


def obj_pid(pid: int, subject: Subject, comm: str) -> str:
    """The OBJ_PID record: whom a signal was for."""
    return f'opid={pid} oauid={_signed(subject.auid)} ouid={subject.uid} oses={_signed(subject.session)} ocomm="{comm}"'


def _signed(number: int) -> int:
    return -1 if number == UNSET else number


def path(item: int, name: FileName) -> str:
    """One PATH record."""
    return (
        f'item={item} name="{name.name}" inode={name.inode} dev=00:2d mode={name.mode} ouid={name.uid} ogid={name.gid} '
        f"rdev=00:00 nametype={name.kind} {CAPABILITIES}"
    )


def execve(argv: Sequence[str]) -> str:
    """The EXECVE record."""
    words = " ".join(f'a{number}="{word}"' for number, word in enumerate(argv))
    return f"argc={len(argv)} {words}"


def user_message(pid: int, uid: int, auid: int, session: int, text: str) -> str:
    """A record of a user-space program such as sshd, cron or sudo."""
    return f"pid={pid} uid={uid} auid={auid} ses={session} msg='{text}'"


def pam(operation: str, account: str, exe: str, host: str, address: str, terminal: str, *, result: str = "success") -> str:
    """The message of a PAM record."""
    return (
        f'op=PAM:{operation} grantors=pam_unix acct="{account}" exe="{exe}" hostname={host} addr={address} terminal={terminal} res={result}'
    )


def unit(name: str) -> str:
    """The message of a record that systemd writes about a unit."""
    return f'unit={name} comm="systemd" exe="/usr/lib/systemd/systemd" hostname=? addr=? terminal=? res=success'


def login(pid: int, auid: int, session: int) -> str:
    """The LOGIN record, which sets auid and session."""
    return f"pid={pid} uid=0 old-auid={UNSET} auid={auid} tty=(none) old-ses={UNSET} ses={session} res=1"


def xid(bus: str, number: int, pid: int, text: str) -> str:
    """The driver's report of a GPU error."""
    return f"NVRM: Xid (PCI:{bus}): {number}, pid={pid}, name=python3, {text}"


def oom_kill(job: int, uid: int, pid: int, task: int) -> tuple[str, str]:
    """What the kernel writes when a job's memory cgroup is full."""
    group = f"/slurm/uid_{uid}/job_{job}"
    report = (
        f"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=step_0,mems_allowed=0-1,oom_memcg={group},"
        f"task_memcg={group}/step_0/task_{task},task=python3,pid={pid},uid={uid}"
    )
    killed = (
        f"Memory cgroup out of memory: Killed process {pid} (python3) total-vm:{187_000_000 + pid}kB, "
        f"anon-rss:{130_000_000 + pid}kB, file-rss:412160kB, shmem-rss:1048576kB, UID:{uid} pgtables:281344kB oom_score_adj:0"
    )
    return report, killed
