"""The raw audit records of one kernel event in; what happened out: signals sent, files touched, a process executed.

One event is all records of a host with the same time and serial, among them one SYSCALL (who, which call, with which arguments) and
records that say on what: OBJ_PID the receiver of a signal, PATH a file, CWD the folder that relative names start from, EXECVE the
arguments.  They come in any order, and any of them may be lost:

    SYSCALL kill  a0=1267 a1=9      +  OBJ_PID opid=4711 ouid=5012   ->  SignalSent(9, 4711, target_uid=5012)
    SYSCALL kill  a0=1267 a1=9                                       ->  SignalSent(9, 4711, owner of the target unknown)
                                       OBJ_PID opid=4711 ouid=5012   ->  nothing: nobody is named

Why a0 and not only OBJ_PID: a kill without its OBJ_PID must still be seen.  Why OBJ_PID before a0: a sender in a container knows other
numbers, and a signal to a group (a0 negative or 0) has one OBJ_PID for each process that got it.

Holds: the answer does not depend on the order of the parts; a further part adds bodies or fills fields, it takes nothing away (of a
signal to a group the processes replace the group); nothing is guessed: a name relative to an unknown folder stays as it was written.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence

import msgspec

from pipeline.model.events import AuditRecord, FileTouched, ProcessRun, SignalSent

Assembled = SignalSent | FileTouched | ProcessRun

# Where a call has its target and its signal; None: the target is a file descriptor, which only OBJ_PID resolves.
_SIGNALS: dict[str, tuple[str | None, str]] = {
    "kill": ("a0", "a1"),
    "tkill": ("a0", "a1"),
    "tgkill": ("a0", "a2"),
    "rt_sigqueueinfo": ("a0", "a1"),
    "rt_tgsigqueueinfo": ("a0", "a2"),
    "pidfd_send_signal": (None, "a1"),
}
# Where a call has its flags; openat2 has them in memory and in a record of their own.
_OPENS: dict[str, str] = {"open": "a1", "openat": "a2", "openat2": "", "creat": ""}
_ACTIONS = {
    "truncate": "truncated", "truncate64": "truncated", "ftruncate": "truncated", "ftruncate64": "truncated",
    "unlink": "deleted", "unlinkat": "deleted", "rmdir": "deleted",
    "rename": "renamed", "renameat": "renamed", "renameat2": "renamed",
    "link": "written", "linkat": "written", "symlink": "written", "symlinkat": "written",
    "chmod": "attributes", "fchmod": "attributes", "fchmodat": "attributes", "fchmodat2": "attributes",
    "chown": "attributes", "lchown": "attributes", "fchown": "attributes", "fchownat": "attributes",
    "chown32": "attributes", "lchown32": "attributes", "fchown32": "attributes",
    "utime": "attributes", "utimes": "attributes", "utimensat": "attributes", "futimesat": "attributes",
    "setxattr": "attributes", "lsetxattr": "attributes", "fsetxattr": "attributes",
    "removexattr": "attributes", "lremovexattr": "attributes", "fremovexattr": "attributes",
}  # fmt: skip
# Which PATH items a call has touched; those of other actions are all but the parents.
_ITEMS = {"deleted": ("DELETE", "UNKNOWN"), "written": ("CREATE",)}
# Where a call has the folders that its names are relative to; the others take names relative to CWD.
_FOLDERS: dict[str, tuple[str, ...]] = {
    "openat": ("a0",), "openat2": ("a0",), "unlinkat": ("a0",), "fchmodat": ("a0",), "fchmodat2": ("a0",), "fchownat": ("a0",),
    "utimensat": ("a0",), "futimesat": ("a0",), "renameat": ("a0", "a2"), "renameat2": ("a0", "a2"), "linkat": ("a0", "a2"),
    "symlinkat": ("a1",),
}  # fmt: skip
_EXECUTIONS = frozenset({"execve", "execveat"})
_OF_RUNS = frozenset({"SYSCALL", "EXECVE", "CWD", "PATH"})
_WATCHED = frozenset(_SIGNALS) | frozenset(_OPENS) | frozenset(_ACTIONS) | _EXECUTIONS

_SQUASHED = "65534"  # whom a mount shows as the owner when it does not know him, or its server says nobody's name: anybody's file
_OLD_NAME_ITEM = 2  # a rename's items: both parents, the old name, then the replaced file or the new name
_AT_FDCWD = 0xFFFFFF9C  # -100 in 32 bits
_WRITE_ONLY, _READ_WRITE = 1, 2
_WRITING_FLAGS = 0x40 | 0x200 | 0x400  # O_CREAT, O_TRUNC, O_APPEND
_O_PATH = 0x200000  # such a descriptor cannot be written through
_UNSET = 0xFFFFFFFF
_ARGUMENT = re.compile(r"a([0-9]{1,6})(?:\[([0-9]{1,6})\])?")


def is_part(record: AuditRecord) -> bool:
    """Whether the record can be part of something that is assembled; the others need not reach the stage that assembles."""
    kind = record.record_type
    if kind == "SYSCALL":
        return record.fields.get("syscall_name") in _WATCHED
    if kind == "PATH":
        return _item_kind(record) != "PARENT"
    return kind in {"OBJ_PID", "CWD", "EXECVE", "OPENAT2"}


def assemble(parts: Sequence[tuple[str, AuditRecord]]) -> tuple[Assembled, ...]:
    """What the records of one event, with their event ids, say; empty while the SYSCALL is missing or when it is of no interest."""
    records = [record for _, record in sorted(dict(parts).items())]
    call = next((record for record in records if record.record_type == "SYSCALL"), None)
    if call is None:
        return ()
    name = call.fields.get("syscall_name", "")
    if name in _SIGNALS:
        return tuple(_signals(call, name, records))
    if name in _EXECUTIONS:
        return (_execution(call, records),)
    if name in _OPENS:
        return tuple(_touched(call, name, "written", records)) if _writes(call, name, records) else ()
    action = _ACTIONS.get(name)
    if action is None:
        return ()
    if action == "renamed":
        return tuple(_renamed(call, name, records))
    return tuple(_touched(call, name, action, records))


# --- signals --------------------------------------------------------------------------------------------------------------------


class SignalCall(msgspec.Struct, frozen=True, gc=False):
    """A call that sends a signal, as its SYSCALL alone says it: numbers stay text, since most are only compared."""

    auid: str
    uid: str
    euid: str
    target: str  # hexadecimal; empty: a file descriptor says it
    signal: str  # hexadecimal; 0, too
    done: bool

    @property
    def number(self) -> int:
        """Of the signal, as the kernel reads it."""
        return (_based(self.signal, 16) or 0) & 0xFFFFFFFF

    @property
    def is_to_group(self) -> bool:
        target = _based(self.target, 16)
        return target is not None and _signed(target) <= 0

    @property
    def identities(self) -> tuple[int | None, int | None, int | None]:
        """Login, uid, effective uid."""
        return _identity(self.auid), _identity(self.uid), _identity(self.euid)


def signal_call(record: AuditRecord) -> SignalCall | None:
    """The call that sends a signal, where the record is one."""
    fields = record.fields
    known = _SIGNALS.get(fields.get("syscall_name", "")) if record.record_type == "SYSCALL" else None
    if known is None:
        return None
    where, which = known
    get = fields.get
    uid = get("uid", "")
    return SignalCall(
        get("auid", ""), uid, get("euid", uid), get(where, "") if where is not None else "", get(which, ""), _succeeded(record)
    )


def call_of(sent: SignalSent) -> SignalCall:
    """The same of a signal that a watcher tells whole."""
    auid, uid = ("" if each is None else str(each) for each in (sent.auid, sent.uid))
    return SignalCall(auid, uid, uid, f"{sent.target_pid & 0xFFFFFFFF:x}", f"{sent.signal:x}", sent.success)


def _signals(call: AuditRecord, name: str, records: Sequence[AuditRecord]) -> Iterator[SignalSent]:
    where, which = _SIGNALS[name]
    signal = _argument(call, which)
    if signal is None or signal & 0xFFFFFFFF == 0:
        return  # signal 0 asks only whether the process exists
    receivers = {_pid(each.fields.get("opid")): each for each in records if each.record_type == "OBJ_PID"}
    for pid in sorted(pid for pid in receivers if pid is not None):
        yield _signal(call, signal, pid, receivers[pid])
    target = _argument(call, where) if where is not None else None
    if target is not None and not any(pid is not None for pid in receivers):
        yield _signal(call, signal, _signed(target), None)


def _signal(call: AuditRecord, signal: int, target: int, receiver: AuditRecord | None) -> SignalSent:
    fields = call.fields
    seen = receiver.fields if receiver is not None else {}
    return SignalSent(
        signal=signal & 0xFFFFFFFF,
        target_pid=target,
        success=_succeeded(call),
        serial=call.serial,
        pid=_pid(fields.get("pid")),
        ppid=_pid(fields.get("ppid")),
        uid=_identity(fields.get("uid")),
        auid=_identity(fields.get("auid")),
        session=_identity(fields.get("ses")),
        comm=fields.get("comm", ""),
        exe=fields.get("exe", ""),
        target_uid=_identity(seen.get("ouid")),
        target_auid=_identity(seen.get("oauid")),
        target_comm=seen.get("ocomm", ""),
        keys=call.keys,
    )


# --- files ----------------------------------------------------------------------------------------------------------------------


def _writes(call: AuditRecord, name: str, records: Sequence[AuditRecord]) -> bool:
    """Whether an open asks for more than reading."""
    if name == "creat":
        return True
    if name == "openat2":
        how = next((record.fields.get("oflag", "") for record in records if record.record_type == "OPENAT2"), "")
        flags = _based(how, 8)
    else:
        flags = _argument(call, _OPENS[name])
    if flags is None or flags & _O_PATH:
        return False
    return flags & 3 in (_WRITE_ONLY, _READ_WRITE) or flags & _WRITING_FLAGS != 0


def _touched(call: AuditRecord, name: str, action: str, records: Sequence[AuditRecord]) -> Iterator[FileTouched]:
    kinds = _ITEMS.get(action) if name not in _OPENS else None
    folder = _folder(call, name, 0 if action != "written" else -1, records)
    for record in _paths(records):
        kind = _item_kind(record)
        path = record.fields.get("name", "")
        if path and kind != "PARENT" and (kinds is None or kind in kinds):
            yield _file(call, action, _joined(folder, path), record.item, record.fields.get("ouid"))


def _renamed(call: AuditRecord, name: str, records: Sequence[AuditRecord]) -> Iterator[FileTouched]:
    """One body: DELETE is the old name, CREATE the new one.

    A file that the new name replaced is a second DELETE, of the new name; while that is unknown, only the place tells them apart.  Whose
    file it was is the owner of the replaced one where there was one, else of the one that was moved.
    """
    old_folder, new_folder = _folder(call, name, 0, records), _folder(call, name, -1, records)
    paths = [(_item_kind(record), record.item, record.fields.get("name", "")) for record in _paths(records)]
    new = next((_joined(new_folder, path) for kind, _, path in paths if kind == "CREATE" and path), "")
    olds = [(item, _joined(old_folder, path)) for kind, item, path in paths if kind == "DELETE" and path]
    old = next((path for item, path in olds if (path != new if new else item == _OLD_NAME_ITEM)), "")
    owners = {
        (_item_kind(record), _joined(new_folder, record.fields.get("name", ""))): record.fields.get("ouid") for record in _paths(records)
    }
    owner = owners.get(("DELETE", new)) or owners.get(("CREATE", new))
    if old and not owner:  # the record of the new name is still to come: while it is, nobody must seem to have moved a stranger's file
        owner = next((each.fields.get("ouid") for each in _paths(records) if _joined(old_folder, each.fields.get("name", "")) == old), None)
    if new or old:
        yield _file(call, "renamed", new, 0, owner, old)


def _paths(records: Sequence[AuditRecord]) -> list[AuditRecord]:
    return sorted((each for each in records if each.record_type == "PATH"), key=lambda each: each.item)


def _file(call: AuditRecord, action: str, path: str, item: int, owner: str | None, old_path: str = "") -> FileTouched:
    fields = call.fields
    return FileTouched(
        action=action,
        path=path,
        serial=call.serial,
        success=_succeeded(call),
        item=item,
        old_path=old_path,
        file_uid=None if owner == _SQUASHED else _identity(owner),
        pid=_pid(fields.get("pid")),
        uid=_identity(fields.get("uid")),
        auid=_identity(fields.get("auid")),
        session=_identity(fields.get("ses")),
        comm=fields.get("comm", ""),
        exe=fields.get("exe", ""),
        keys=call.keys,
    )


def _item_kind(record: AuditRecord) -> str:
    """PARENT, CREATE, DELETE, NORMAL or UNKNOWN; older kernels call the field `objtype`."""
    return record.fields.get("nametype") or record.fields.get("objtype", "")


def _folder(call: AuditRecord, name: str, which: int, records: Sequence[AuditRecord]) -> str:
    """The folder that relative names start from; empty when it is not known (a descriptor, or the CWD record is missing)."""
    arguments = _FOLDERS.get(name)
    if arguments is not None:
        descriptor = _argument(call, arguments[which])
        if descriptor is None or descriptor & 0xFFFFFFFF != _AT_FDCWD:
            return ""
    return next((record.fields["cwd"] for record in records if record.record_type == "CWD" and "cwd" in record.fields), "")


def _joined(folder: str, path: str) -> str:
    if path.startswith("/"):
        return posixpath.normpath(path)
    return posixpath.normpath(posixpath.join(folder, path)) if folder else path


# --- executions -----------------------------------------------------------------------------------------------------------------


def _execution(call: AuditRecord, records: Sequence[AuditRecord]) -> ProcessRun:
    fields = call.fields
    return ProcessRun(
        serial=call.serial,
        arguments=_arguments(records),
        success=_succeeded(call),
        pid=_pid(fields.get("pid")),
        ppid=_pid(fields.get("ppid")),
        uid=_identity(fields.get("uid")),
        auid=_identity(fields.get("auid")),
        session=_identity(fields.get("ses")),
        exe=fields.get("exe", ""),
        keys=call.keys,
    )


def is_whole_run(records: Sequence[AuditRecord]) -> bool:
    """Can no further record change what these say of a program's start?  Of long arguments, which come in pieces, nobody knows."""
    told = [record.fields for record in records if record.record_type == "EXECVE"]
    count = _based(told[0].get("argc", ""), 10) if len(told) == 1 else None
    return (
        count is not None
        and all(record.record_type in _OF_RUNS for record in records)
        and any(record.record_type == "SYSCALL" for record in records)
        and set(told[0]) == {"argc", *(f"a{number}" for number in range(min(count, len(told[0]))))}
    )


def _arguments(records: Sequence[AuditRecord]) -> tuple[str, ...]:
    """The arguments in order.  Many come in several records, and a long one in pieces `a1[0]`, `a1[1]`."""
    pieces: dict[tuple[int, int], str] = {}
    for record in records:
        if record.record_type == "EXECVE":
            for name, value in record.fields.items():
                if found := _ARGUMENT.fullmatch(name):
                    pieces.setdefault((int(found[1]), int(found[2] or 0)), value)
    arguments: dict[int, str] = {}
    for (position, _), value in sorted(pieces.items()):
        arguments[position] = arguments.get(position, "") + value
    return tuple(arguments.values())


# --- fields ---------------------------------------------------------------------------------------------------------------------


def _succeeded(call: AuditRecord) -> bool:
    return call.fields.get("result", call.fields.get("success")) in {"success", "yes"}


def _argument(call: AuditRecord, name: str) -> int | None:
    """A system call's argument: hexadecimal digits without prefix."""
    return _based(call.fields.get(name, ""), 16)


def _based(digits: str, base: int) -> int | None:
    if not digits or len(digits) > 32 or not digits.isalnum() or not digits.isascii():
        return None
    try:
        return int(digits, base)
    except ValueError:
        return None


def _signed(value: int) -> int:
    """A pid as the kernel reads it: the low 32 bits, signed, however wide the register was."""
    low = value & 0xFFFFFFFF
    return low - 0x1_0000_0000 if low & 0x8000_0000 else low


def _pid(text: str | None) -> int | None:
    return int(text) if text and len(text) <= 10 and text.isascii() and text.isdigit() else None


def _identity(text: str | None) -> int | None:
    """A uid, auid or session; None when unset, which the kernel writes as the largest number and tools as -1 or `unset`."""
    number = _pid(text)
    return None if number == _UNSET else number
