"""What a person or a daemon does on a machine, and the lines that the machine writes about it.

Logging in, sudo and su, sending a signal, running a command, writing, renaming or deleting a file.  A deed happens at the
clock's present instant, whoever does it; nothing here knows whether it is right.
"""

from dataclasses import dataclass

from pipeline.simulate import lines_access as text
from pipeline.simulate.lines_access import FileName, Program, Subject
from pipeline.simulate.machines import Host
from pipeline.simulate.people import UNSET, Person
from pipeline.simulate.work import Checkpoint, Run, Share
from pipeline.simulate.world import World

SSHD = "/usr/sbin/sshd"
EACCES, EPERM = -13, -1
SIGNAL_KEY, WRITE_KEY, COMMAND_KEY = "kill_signals", "ckpt_write", "user_commands"


@dataclass(slots=True, eq=False)
class Session:
    """One login of one person on one host."""

    person: Person
    host: Host
    number: int
    tty: str
    sshd_pid: int
    shell_pid: int
    port: int

    def subject(self, uid: int | None = None, gid: int | None = None) -> Subject:
        """This login, acting as its person or, after su or sudo, as somebody else."""
        person = self.person
        return Subject(person.uid, person.uid if uid is None else uid, person.gid if gid is None else gid, self.number, self.tty)


def log_in(world: World, host: Host, person: Person, origin: str = "", fingerprint: str = "") -> Session:
    """A login by ssh key, from the person's own machine or from `origin`; `fingerprint` where the key is not the person's own."""
    dice = world.dice("login")
    address = origin or person.address
    port = dice.randrange(32_768, 60_999)
    sshd, number = host.process(), host.new_session()
    terminal = f"pts/{dice.randrange(12)}"
    session = Session(person, host, number, terminal.replace("/", ""), sshd, host.process(hold=True), port)
    for kind, operation, auid, ses in (
        ("USER_ACCT", "accounting", UNSET, UNSET),
        ("CRED_ACQ", "setcred", UNSET, UNSET),
        ("LOGIN", "", person.uid, number),
        ("USER_START", "session_open", person.uid, number),
    ):
        if kind == "LOGIN":
            host.audit.event([(kind, text.login(sshd, auid, ses))])
        else:
            message = text.pam(operation, person.login, SSHD, address, address, "ssh")
            host.audit.event([(kind, text.user_message(sshd, 0, auid, ses, message))])
    message = f'op=login id={person.uid} exe="{SSHD}" hostname={address} addr={address} terminal={terminal} res=success'
    host.audit.event([("USER_LOGIN", text.user_message(sshd, 0, person.uid, number, message))])
    host.auth.line(
        f"sshd[{sshd}]",
        f"Accepted publickey for {person.login} from {address} port {port} ssh2: ED25519 SHA256:{fingerprint or person.fingerprint}",
    )
    host.auth.line(f"sshd[{sshd}]", f"pam_unix(sshd:session): session opened for user {person.login}(uid={person.uid}) by (uid=0)")
    host.auth.line(f"systemd-logind[{host.logind_pid}]", f"New session {number} of user {person.login}.")
    return session


def log_out(session: Session, origin: str = "") -> None:
    """The end of a login."""
    host, person = session.host, session.person
    if not host.is_up:
        return
    address = origin or person.address
    for kind, operation in (("USER_END", "session_close"), ("CRED_DISP", "setcred")):
        message = text.pam(operation, person.login, SSHD, address, address, "ssh")
        host.audit.event([(kind, text.user_message(session.sshd_pid, 0, person.uid, session.number, message))])
    sshd = f"sshd[{session.sshd_pid}]"
    host.auth.line(sshd, f"Disconnected from user {person.login} {address} port {session.port}")
    host.auth.line(sshd, f"pam_unix(sshd:session): session closed for user {person.login}")
    host.auth.line(f"systemd-logind[{host.logind_pid}]", f"Removed session {session.number}.")
    host.pids.release(session.shell_pid)


def sudo(session: Session, command: str) -> int:
    """Run `command` as root; returns the pid of sudo."""
    host, person = session.host, session.person
    pid = host.process()
    terminal = session.tty.replace("pts", "pts/")
    home = f"/home/{person.login}"
    host.auth.line("sudo", f"{person.login:>8} : TTY={terminal} ; PWD={home} ; USER=root ; COMMAND={command}")
    host.auth.line("sudo", f"pam_unix(sudo:session): session opened for user root(uid=0) by (uid={person.uid})")
    message = f'cwd="{home}" cmd={command.encode().hex().upper()} exe="/usr/bin/sudo" terminal={terminal} res=success'
    host.audit.event([("USER_CMD", text.user_message(pid, person.uid, person.uid, session.number, message))])
    return pid


def switch_user(session: Session, target: Person) -> int:
    """Become `target` by su; returns the pid of the new shell."""
    host, person = session.host, session.person
    pid = host.process()
    terminal = session.tty.replace("pts", "pts/")
    host.auth.line(f"su[{pid}]", f"(to {target.login}) {person.login} on {terminal}")
    host.auth.line(
        f"su[{pid}]", f"pam_unix(su-l:session): session opened for user {target.login}(uid={target.uid}) by {person.login}(uid=0)"
    )
    message = text.pam("authentication", target.login, "/usr/bin/su", "?", "?", f"/dev/{terminal}")
    host.audit.event([("USER_AUTH", text.user_message(pid, person.uid, person.uid, session.number, message))])
    return host.process()


def send_signal(
    host: Host,
    sender: Subject,
    pids: tuple[int, int],
    program: Program,
    target: tuple[int, Subject, str],
    signal: int,
    result: int = 0,
) -> str:
    """kill(2) as auditd sees it: `pids` is the sender's parent and own, `target` pid, subject and comm; returns time:serial."""
    pid, subject, comm = target
    arguments = (f"{pid:x}", f"{signal:x}", "0", "0")
    call = text.syscall(text.KILL, arguments, result, 0, pids, sender, program, SIGNAL_KEY)
    return host.audit.event(
        [
            ("SYSCALL", call + host.audit.tail(text.KILL, sender)),
            ("OBJ_PID", text.obj_pid(pid, subject, comm)),
            ("PROCTITLE", text.proctitle(program.argv)),
            ("EOE", ""),
        ]
    )


def signal_ranks(
    share: Share, owner: Person, sender: Subject, pids: tuple[int, int], program: Program, signal: int, spared: int = -1
) -> None:
    """Signal every rank of a job on one host, but for local rank `spared`."""
    target = Subject.daemon(owner.uid, owner.gid)
    for rank in share.told:
        if rank.local_rank != spared:
            send_signal(share.host, sender, pids, program, (rank.pid, target, "python3"), signal)


def run_command(session: Session, argv: tuple[str, ...], exe: str, *, as_root: bool = False) -> int:
    """execve(2) of a command in a login, or as root by sudo; returns its pid."""
    subject = session.subject(0, 0) if as_root else session.subject()
    return execute(session.host, subject, session.shell_pid, argv, exe, f"/home/{session.person.login}")


def execute(host: Host, subject: Subject, parent: int, argv: tuple[str, ...], exe: str, cwd: str) -> int:
    """execve(2) of any process as auditd sees it; returns its pid."""
    pid = host.process()
    program = Program(exe.rsplit("/", 1)[1], exe, argv)
    arguments = (f"{0x55D0_0000_0000 + pid * 4096:x}", f"{0x55D0_0000_1000 + pid * 4096:x}", f"{0x55D0_0000_2000:x}", "8")
    call = text.syscall(text.EXECVE, arguments, 0, 2, (parent, pid), subject, program, COMMAND_KEY)
    names = (
        FileName(exe, 1_310_725, "0100755", 0, 0, "NORMAL"),
        FileName("/lib64/ld-linux-x86-64.so.2", 1_310_800, "0100755", 0, 0, "NORMAL"),
    )
    host.audit.event(
        [
            ("SYSCALL", call + host.audit.tail(text.EXECVE, subject)),
            ("EXECVE", text.execve(argv)),
            ("CWD", f'cwd="{cwd}"'),
            *(("PATH", text.path(item, name)) for item, name in enumerate(names)),
            ("PROCTITLE", text.proctitle(argv)),
            ("EOE", ""),
        ]
    )
    return pid


def file_event(
    host: Host,
    number: int,
    arguments: tuple[str, str, str, str],
    result: int,
    subject: Subject,
    pids: tuple[int, int],
    program: Program,
    cwd: str,
    names: tuple[FileName, ...],
    late: int,
    key: str = WRITE_KEY,
) -> str:
    """A call that touches files, as auditd sees it; returns time:serial."""
    call = text.syscall(number, arguments, result, len(names), pids, subject, program, key)
    return host.audit.event(
        [
            ("SYSCALL", call + host.audit.tail(number, subject)),
            ("CWD", f'cwd="{cwd}"'),
            *(("PATH", text.path(item, name)) for item, name in enumerate(names)),
            ("PROCTITLE", text.proctitle(program.argv)),
            ("EOE", ""),
        ],
        late,
    )


@dataclass(frozen=True, slots=True)
class Writer:
    """A process that touches files: where, as whom, and what it runs."""

    host: Host
    subject: Subject
    pids: tuple[int, int]
    program: Program
    cwd: str


def open_for_writing(writer: Writer, run: Run, name: str, inode: int, *, create: bool, result: int = 3, late: int = 0) -> str:
    """openat(2) of a file of a run, to write; returns time:serial."""
    owner = run.owner
    flags = text.O_WRONLY_CREATE_TRUNCATE if create else text.O_RDWR
    names: tuple[FileName, ...] = (FileName(name, inode, "0100664", owner.uid, owner.gid, "CREATE" if create else "NORMAL"),)
    if create:
        names = (_parent(run), *names)
    arguments = (text.AT_FDCWD, f"{0x7F3A_0000_0000 + inode % 65_536 * 16:x}", f"{flags:x}", "1b6")
    return file_event(writer.host, text.OPENAT, arguments, result, writer.subject, writer.pids, writer.program, writer.cwd, names, late)


def rename(writer: Writer, run: Run, source: str, target: str, inodes: tuple[int, int | None], late: int = 0) -> str:
    """rename(2) within a run's folder; `inodes` are the file's own and that of the file it replaces, if any."""
    owner = run.owner
    own, replaced = inodes
    parent = _parent(run)
    names = [parent, parent, FileName(source, own, "0100664", owner.uid, owner.gid, "DELETE")]
    if replaced is not None:
        names.append(FileName(target, replaced, "0100664", owner.uid, owner.gid, "DELETE"))
    names.append(FileName(target, own, "0100664", owner.uid, owner.gid, "CREATE"))
    arguments = (f"{0x55AA_0000_0000 + own % 65_536 * 64:x}", f"{0x55AA_0010_0000 + own % 65_536 * 64:x}", "0", "0")
    return file_event(writer.host, text.RENAME, arguments, 0, writer.subject, writer.pids, writer.program, writer.cwd, tuple(names), late)


def unlink(writer: Writer, run: Run, checkpoint: Checkpoint) -> str:
    """unlink(2) of a checkpoint."""
    owner = run.owner
    names = (_parent(run), FileName(checkpoint.path, checkpoint.inode, "0100664", owner.uid, owner.gid, "DELETE"))
    arguments = (f"{0x7F3A_0020_0000 + checkpoint.inode % 65_536 * 16:x}", "0", "0", "0")
    return file_event(writer.host, text.UNLINK, arguments, 0, writer.subject, writer.pids, writer.program, writer.cwd, names, 0)


def _parent(run: Run) -> FileName:
    return FileName(
        f"{run.checkpoint_folder}/",
        144_115_205_300_000_000 + run.owner.uid * 100 + run.number,
        "042775",
        run.owner.uid,
        run.owner.gid,
        "PARENT",
    )
