"""Writing, renaming and deleting files that belong to no run: modules, hooks, datasets, scripts, keys; and the audit records of it.

As in `deeds`, a deed happens at the clock's present instant, and nothing here knows whether it is right.
"""

from pipeline.simulate import deeds
from pipeline.simulate import lines_access as text
from pipeline.simulate.deeds import Session, Writer
from pipeline.simulate.lines_access import FileName, Program, Subject
from pipeline.simulate.machines import Host
from pipeline.simulate.people import UNSET, Person
from pipeline.simulate.wares import File

SHARED_KEY = "shared_write"
MODE = "0100664"


def write(writer: Writer, path: str, owner: Person, inode: int, *, create: bool = False, key: str = SHARED_KEY, late: int = 0) -> str:
    """openat(2) of a file to write; returns time:serial."""
    flags = text.O_WRONLY_CREATE_TRUNCATE if create else text.O_RDWR
    names: tuple[FileName, ...] = (FileName(path, inode, MODE, owner.uid, owner.gid, "CREATE" if create else "NORMAL"),)
    if create:
        names = (_folder(path, owner), *names)
    arguments = (text.AT_FDCWD, f"{0x7F3A_0000_0000 + inode % 65_536 * 16:x}", f"{flags:x}", "1b6")
    program = writer.program
    return deeds.file_event(writer.host, text.OPENAT, arguments, 3, writer.subject, writer.pids, program, writer.cwd, names, late, key)


def replace(writer: Writer, source: str, file: File, inode: int, *, key: str = SHARED_KEY, late: int = 0) -> str:
    """rename(2) of a prepared file over `file`, which has `inode` from then on."""
    owner, parent = file.owner, _folder(file.path, file.owner)
    names = (
        _folder(source, owner),
        parent,
        FileName(source, inode, MODE, owner.uid, owner.gid, "DELETE"),
        FileName(file.path, file.inode, MODE, owner.uid, owner.gid, "DELETE"),
        FileName(file.path, inode, MODE, owner.uid, owner.gid, "CREATE"),
    )
    arguments = (f"{0x55AA_0000_0000 + inode % 65_536 * 64:x}", f"{0x55AA_0010_0000 + inode % 65_536 * 64:x}", "0", "0")
    file.inode = inode
    program = writer.program
    return deeds.file_event(writer.host, text.RENAME, arguments, 0, writer.subject, writer.pids, program, writer.cwd, names, late, key)


def delete(writer: Writer, path: str, owner: Person, inode: int, *, key: str = SHARED_KEY) -> str:
    """unlink(2)."""
    names = (_folder(path, owner), FileName(path, inode, MODE, owner.uid, owner.gid, "DELETE"))
    arguments = (f"{0x7F3A_0020_0000 + inode % 65_536 * 16:x}", "0", "0", "0")
    program = writer.program
    return deeds.file_event(writer.host, text.UNLINK, arguments, 0, writer.subject, writer.pids, program, writer.cwd, names, 0, key)


def writer_of(session: Session, argv: tuple[str, ...], exe: str, *, as_root: bool = False, gid: int | None = None) -> Writer:
    """A program that somebody runs in a login, as themselves or by sudo."""
    program = Program(exe.rsplit("/", 1)[1], exe, argv)
    home = f"/home/{session.person.login}"
    if as_root:
        parent = deeds.sudo(session, " ".join(argv))
        return Writer(session.host, session.subject(0, 0), (parent, session.host.process()), program, home)
    return Writer(session.host, session.subject(gid=gid), (session.shell_pid, session.host.process()), program, home)


def daemon_writer(host: Host, person: Person, argv: tuple[str, ...], exe: str) -> Writer:
    """A program of a service or of a job: nobody logged in for it."""
    program = Program(exe.rsplit("/", 1)[1], exe, argv)
    return Writer(host, Subject.daemon(person.uid, person.gid), (1, host.process()), program, "/")


def audit_switched(session: Session, enabled: int) -> None:
    """`auditctl -e`: the kernel notes who changed the configuration."""
    person, old = session.person, 1 - enabled
    body = f"auid={person.uid} ses={session.number} op=set audit_enabled={enabled} old={old} res=1"
    session.host.audit.event([("CONFIG_CHANGE", body)])


def audit_daemon(host: Host, kind: str, auid: int = UNSET, session: int = UNSET) -> None:
    """auditd itself says that it starts or ends, and for whom."""
    pid = host.process()
    if kind == "DAEMON_START":
        text = f"op=start ver=3.0.9 format=raw kernel=6.1.0-31-amd64 auid={auid} pid={pid} uid=0 ses={session} res=success"
    else:
        text = f"op=terminate auid={auid} uid=0 ses={session} pid={pid} res=success"
    host.audit.event([(kind, text)])


def _folder(path: str, owner: Person) -> FileName:
    folder = path.rsplit("/", 1)[0] + "/"
    return FileName(folder, 144_115_205_300_000_000 + sum(folder.encode()) * 8191 % 9_999_999, "042775", owner.uid, owner.gid, "PARENT")
