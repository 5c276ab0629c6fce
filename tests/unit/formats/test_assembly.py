"""Audit records of one event put together: every order, every loss, every call."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.formats.assembly import Assembled, assemble, is_part, is_whole_run
from pipeline.model.events import AuditRecord, FileTouched, ProcessRun, SignalSent

SERIAL = 9001


def record(record_type: str, /, **fields: str) -> AuditRecord:
    """A record of the event."""
    item, keys = int(fields.get("item", "0")), ("k",) if record_type == "SYSCALL" else ()
    return AuditRecord(record_type=record_type, serial=SERIAL, item=item, fields=fields, keys=keys)


def call(name: str, /, **fields: str) -> AuditRecord:
    """The SYSCALL record, by a person (auid 5099) who is root."""
    identity = {"pid": "912", "ppid": "880", "uid": "0", "auid": "5099", "ses": "41", "comm": "bash", "exe": "/usr/bin/bash"}
    return record("SYSCALL", **{"syscall_name": name, "result": "success", **identity, **fields})


def path(kind: str, name: str, item: int = 0) -> AuditRecord:
    """A PATH record."""
    return record("PATH", nametype=kind, name=name, item=str(item))


def receiver(pid: int, uid: str = "5012") -> AuditRecord:
    """An OBJ_PID record."""
    return record("OBJ_PID", opid=str(pid), ouid=uid, oauid="4294967295", ocomm="python3")


def together(*records: AuditRecord) -> tuple[Assembled, ...]:
    """What the records say; ids are by position."""
    return assemble([(f"id-{number}", each) for number, each in enumerate(records)])


CWD = record("CWD", cwd="/lustre/run7")
HERE = "ffffff9c"  # AT_FDCWD

KILLS = [
    ("kill", [call("kill", a0="1267", a1="9"), receiver(4711)], [(9, 4711, 5012)]),
    ("kill without its receiver", [call("kill", a0="1267", a1="f")], [(15, 4711, None)]),
    ("a receiver in another namespace", [call("kill", a0="7", a1="9"), receiver(4711)], [(9, 4711, 5012)]),
    ("tkill", [call("tkill", a0="1267", a1="13")], [(19, 4711, None)]),
    ("tgkill", [call("tgkill", a0="1267", a1="1268", a2="6")], [(6, 4711, None)]),
    ("by a queue", [call("rt_sigqueueinfo", a0="1267", a1="a", a2="7ffd")], [(10, 4711, None)]),
    ("by a descriptor", [call("pidfd_send_signal", a0="5", a1="9"), receiver(4711)], [(9, 4711, 5012)]),
    ("by a descriptor, without its receiver", [call("pidfd_send_signal", a0="5", a1="9")], []),
    ("a group, 32 bits", [call("kill", a0="ffffff85", a1="9")], [(9, -123, None)]),
    ("a group, 64 bits", [call("kill", a0="ffffffffffffff85", a1="9")], [(9, -123, None)]),
    ("a group with receivers", [call("kill", a0="ffffff85", a1="9"), receiver(2), receiver(1)], [(9, 1, 5012), (9, 2, 5012)]),
    ("everybody", [call("kill", a0="ffffffff", a1="9")], [(9, -1, None)]),
    ("its own group", [call("kill", a0="0", a1="f")], [(15, 0, None)]),
    ("an existence probe", [call("kill", a0="1267", a1="0"), receiver(4711)], []),
    ("an argument that is none", [call("kill", a0="x", a1="9")], []),
    ("no signal", [call("kill", a0="1267")], []),
    ("a receiver without pid", [call("kill", a0="1267", a1="9"), record("OBJ_PID", ocomm="x")], [(9, 4711, None)]),
    ("no SYSCALL", [receiver(4711), CWD], []),
    ("another call", [call("mmap", a0="1267", a1="9"), receiver(4711)], []),
    ("an unknown call", [record("SYSCALL", a0="1267", a1="9")], []),
    ("nothing", [], []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "records", "expected"), KILLS)
def test_signals(name: str, records: list[AuditRecord], expected: list[tuple[int, int, int | None]]) -> None:
    """Target and signal are read from where each call has them; the owner of the target only from its record."""
    bodies = together(*records)
    signals = [body for body in bodies if isinstance(body, SignalSent)]
    assert len(signals) == len(bodies)
    assert [(body.signal, body.target_pid, body.target_uid) for body in signals] == expected


def test_who_sent_a_signal() -> None:
    """The sender's identity is that of the SYSCALL record; unset numbers are nobody."""
    (body,) = together(call("kill", a0="1267", a1="9"), receiver(4711))
    assert body == SignalSent(
        signal=9, target_pid=4711, success=True, serial=SERIAL, pid=912, ppid=880, uid=0, auid=5099, session=41, comm="bash",
        exe="/usr/bin/bash", target_uid=5012, target_auid=None, target_comm="python3", keys=("k",),
    )  # fmt: skip


@pytest.mark.parametrize("unset", ["4294967295", "-1", "unset", "", "1" * 11])
def test_unset_identities(unset: str) -> None:
    """A daemon has no login: every spelling of unset is None."""
    (body,) = together(call("kill", a0="1267", a1="9", auid=unset, ses=unset, uid=unset))
    assert isinstance(body, SignalSent)
    assert (body.auid, body.session, body.uid) == (None, None, None)


def test_a_refused_kill_is_an_attempt() -> None:
    """A call that failed is told as such."""
    (body,) = together(call("kill", a0="1267", a1="9", result="fail"), receiver(4711))
    assert isinstance(body, SignalSent)
    assert not body.success


CREATE = path("CREATE", "step100.pt", 1)
OPENED = path("NORMAL", "/ckpt/step100.pt", 1)
FILES = [
    ("open to read", [call("open", a1="0"), OPENED], []),
    ("open to write", [call("open", a1="1"), OPENED], [("written", "/ckpt/step100.pt", "")]),
    ("open to read and write", [call("open", a1="80002"), OPENED], [("written", "/ckpt/step100.pt", "")]),
    ("open to append", [call("open", a1="400"), OPENED], [("written", "/ckpt/step100.pt", "")]),
    ("open a path only", [call("open", a1="200002"), OPENED], []),
    ("openat has its flags elsewhere", [call("openat", a0=HERE, a1="1", a2="0"), OPENED], []),
    ("openat creates", [call("openat", a0=HERE, a2="241"), CWD, path("PARENT", "/lustre/run7"), CREATE],
     [("written", "/lustre/run7/step100.pt", "")]),
    ("64-bit AT_FDCWD", [call("openat", a0="ffffffffffffff9c", a2="1"), CWD, CREATE], [("written", "/lustre/run7/step100.pt", "")]),
    ("relative to a descriptor", [call("openat", a0="5", a2="1"), CWD, CREATE], [("written", "step100.pt", "")]),
    ("relative without CWD", [call("open", a1="1"), CREATE], [("written", "step100.pt", "")]),
    ("dots in a name", [call("open", a1="1"), CWD, path("NORMAL", "../run8/./a")], [("written", "/lustre/run8/a", "")]),
    ("openat2 without its flags", [call("openat2", a0=HERE), OPENED], []),
    ("openat2 to write", [call("openat2", a0=HERE), record("OPENAT2", oflag="0100001"), OPENED], [("written", "/ckpt/step100.pt", "")]),
    ("creat", [call("creat"), OPENED], [("written", "/ckpt/step100.pt", "")]),
    ("truncate", [call("truncate"), OPENED], [("truncated", "/ckpt/step100.pt", "")]),
    ("ftruncate has no name", [call("ftruncate"), record("PATH", nametype="NORMAL")], []),
    ("unlink", [call("unlink"), CWD, path("PARENT", "/ckpt/"), path("DELETE", "/ckpt/a", 1)], [("deleted", "/ckpt/a", "")]),
    ("unlinkat", [call("unlinkat", a0=HERE), CWD, path("DELETE", "a")], [("deleted", "/lustre/run7/a", "")]),
    ("an old kernel's word", [call("unlink"), record("PATH", objtype="DELETE", name="/a")], [("deleted", "/a", "")]),
    ("rename", [call("rename"), path("PARENT", "/c/"), path("PARENT", "/c/", 1), path("DELETE", "/c/a", 2), path("CREATE", "/c/b", 3)],
     [("renamed", "/c/b", "/c/a")]),
    ("rename over a file",
     [call("renameat2", a0=HERE, a2=HERE), CWD, path("DELETE", "a", 2), path("DELETE", "b", 3), path("CREATE", "b", 4)],
     [("renamed", "/lustre/run7/b", "/lustre/run7/a")]),
    ("rename, the new name lost", [call("rename"), path("DELETE", "/c/a", 2)], [("renamed", "", "/c/a")]),
    ("rename, only the replaced file known", [call("rename"), path("DELETE", "/c/b", 3)], []),
    ("rename, the old name lost", [call("rename"), path("CREATE", "/c/b")], [("renamed", "/c/b", "")]),
    ("rename between descriptors", [call("renameat", a0="5", a2=HERE), CWD, path("DELETE", "a"), path("CREATE", "b", 1)],
     [("renamed", "/lustre/run7/b", "a")]),
    ("a link in a file's place", [call("symlinkat", a1=HERE), CWD, path("PARENT", "/x"), path("CREATE", "latest", 1)],
     [("written", "/lustre/run7/latest", "")]),
    ("hard link", [call("linkat", a0="5", a2=HERE), CWD, path("NORMAL", "a"), path("CREATE", "b", 1)], [("written", "/lustre/run7/b", "")]),
    ("chmod", [call("chmod"), OPENED], [("attributes", "/ckpt/step100.pt", "")]),
    ("fchmodat", [call("fchmodat", a0=HERE), CWD, path("NORMAL", "a")], [("attributes", "/lustre/run7/a", "")]),
    ("stat", [call("stat"), OPENED], []),
    ("no path", [call("unlink"), CWD], []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "records", "expected"), FILES)
def test_files(name: str, records: list[AuditRecord], expected: list[tuple[str, str, str]]) -> None:
    """What was done to which file, with names made whole where their folder is known."""
    bodies = together(*records)
    files = [body for body in bodies if isinstance(body, FileTouched)]
    assert len(files) == len(bodies)
    assert [(body.action, body.path, body.old_path) for body in files] == expected


def test_who_touched_a_file() -> None:
    """Identity, item and keys come along."""
    (body,) = together(call("unlink"), path("DELETE", "/ckpt/a", 1))
    assert body == FileTouched(
        action="deleted", path="/ckpt/a", serial=SERIAL, success=True, item=1, pid=912, uid=0, auid=5099, session=41, comm="bash",
        exe="/usr/bin/bash", keys=("k",),
    )  # fmt: skip


PIECES = {"a1[1]": "d", "a1[0]": "c"}
RUNS = [
    ("one record", [record("EXECVE", argc="2", a0="scancel", a1="48213")], ("scancel", "48213")),
    ("more than nine", [record("EXECVE", **{f"a{n}": str(n) for n in range(12)})], tuple(map(str, range(12)))),
    ("over two records", [record("EXECVE", a1="b"), record("EXECVE", a0="a")], ("a", "b")),
    ("a long one in pieces", [record("EXECVE", a0="a", a1_len="4"), record("EXECVE", **PIECES)], ("a", "cd")),
    ("lost", [], ()),
    ("a hostile number", [record("EXECVE", a0="a", a999999999999="b", argc="99999999")], ("a",)),
]


@pytest.mark.parametrize(("name", "records", "expected"), RUNS)
def test_executions(name: str, records: list[AuditRecord], expected: tuple[str, ...]) -> None:
    """Arguments come in order, whichever records hold them."""
    (body,) = together(call("execve"), *records)
    assert isinstance(body, ProcessRun)
    assert body.arguments == expected
    assert (body.auid, body.exe, body.success) == (5099, "/usr/bin/bash", True)


WHOLE = [
    ([call("execve"), record("EXECVE", argc="2", a0="ls", a1="-l")], True),
    ([call("execve"), record("EXECVE", argc="2", a0="ls", a1="-l"), record("CWD"), path("NORMAL", "/usr/bin/ls")], True),
    ([call("execve"), record("EXECVE", argc="0")], True),
    ([record("EXECVE", argc="1", a0="ls")], False),  # who?
    ([call("execve")], False),
    ([call("execve"), record("EXECVE", argc="3", a0="ls", a1="-l")], False),
    ([call("execve"), record("EXECVE", argc="1", a0="ls"), record("EXECVE", a1="-l")], False),
    ([call("execve"), record("EXECVE", argc="2", a0="ls", a1_len="5000")], False),
    ([call("execve"), record("EXECVE", argc="99999999", a0="ls")], False),
    ([call("execve"), record("EXECVE", argc="many", a0="ls")], False),
    ([call("execve"), record("EXECVE", argc="1", a0="ls"), record("OBJ_PID")], False),  # what is this?
]


@pytest.mark.parametrize(("records", "expected"), WHOLE)
def test_whole_executions(records: list[AuditRecord], expected: bool) -> None:
    """No record that may still come changes what they say; where that is not sure they are not."""
    assert is_whole_run(records) is expected


PARTS = [
    (call("kill"), True), (call("openat"), True), (call("execve"), True), (call("mmap"), False), (record("SYSCALL"), False),
    (record("OBJ_PID"), True), (record("CWD"), True), (record("EXECVE"), True), (record("OPENAT2"), True), (path("NORMAL", "a"), True),
    (path("PARENT", "/"), False), (record("PROCTITLE"), False), (record("EOE"), False), (record("USER_CMD"), False),
]  # fmt: skip


@pytest.mark.parametrize(("part", "expected"), PARTS, ids=lambda value: getattr(value, "record_type", str(value)))
def test_parts(part: AuditRecord, expected: bool) -> None:
    """Only records that can be part of something reach the stage."""
    assert is_part(part) is expected


EVENTS = [records for _, records, _ in [*KILLS, *FILES] if 1 < len(records) <= 5]


@pytest.mark.parametrize("records", EVENTS, ids=range(len(EVENTS)))
def test_any_order(records: list[AuditRecord]) -> None:
    """Every order of arrival, with and without a part that came twice, says the same."""
    parts = [(f"id-{number}", each) for number, each in enumerate(records)]
    expected = assemble(parts)
    for arrival in permutations(parts):
        assert assemble(arrival) == expected
        assert assemble((*arrival, arrival[0])) == expected


def test_records_that_are_no_part_change_nothing() -> None:
    """What `is_part` keeps away would not have mattered."""
    for records in EVENTS:
        assert together(*(each for each in records if is_part(each))) == together(*records)


FIELD_VALUES = st.sampled_from(["0", "1", "9", "f", "1267", "ffffff85", "ffffff9c", "x", "", "a", "/a", "../b", "4294967295"])
FIELDS = st.dictionaries(st.sampled_from(["a0", "a1", "a2", "name", "cwd", "nametype", "opid", "ouid", "pid", "oflag"]), FIELD_VALUES)
NAMES = st.sampled_from(["kill", "tgkill", "openat", "rename", "unlinkat", "execve", "pidfd_send_signal", "truncate", "openat2", "linkat"])


@st.composite
def events(draw: st.DrawFn) -> list[tuple[str, AuditRecord]]:
    """One SYSCALL and other records with fields at random."""
    others = draw(st.lists(st.tuples(st.sampled_from(["PATH", "CWD", "OBJ_PID", "EXECVE", "OPENAT2", "EOE"]), FIELDS)))
    records = [call(draw(NAMES), **draw(FIELDS)), *(record(kind, **fields) for kind, fields in others)]
    return [(f"id-{number}", each) for number, each in enumerate(records)]


@given(events().flatmap(lambda parts: st.tuples(st.just(parts), st.permutations(parts))))
def test_any_records_in_any_order(orders: tuple[list[tuple[str, AuditRecord]], list[tuple[str, AuditRecord]]]) -> None:
    """Order does not matter whatever the records hold."""
    assert assemble(orders[0]) == assemble(orders[1])


def subset_of(body: Assembled, later: Assembled) -> bool:
    """Whether every field that was known stands unchanged, or was completed, in the later body."""
    if type(body) is not type(later):
        return False
    return all(
        (before := getattr(body, name)) in (None, "", ()) or before == (after := getattr(later, name)) or (name in COMPLETED and after)
        for name in body.__struct_fields__
    )


# A relative name becomes whole with CWD, arguments grow, and the process of a group or namespace replaces what a0 says.
COMPLETED = {"path", "old_path", "arguments", "target_pid"}


@pytest.mark.parametrize("records", EVENTS, ids=range(len(EVENTS)))
def test_more_parts_never_say_less(records: list[AuditRecord]) -> None:
    """Each further part keeps all bodies, with at least the fields they had."""
    for arrival in permutations(records):
        known: tuple[Assembled, ...] = ()
        for count in range(1, len(arrival) + 1):
            now = assemble([(f"id-{records.index(each)}", each) for each in arrival[:count]])
            assert len(now) >= len(known)
            assert all(any(subset_of(body, later) for later in now) for body in known)
            known = now


def test_the_owner_of_a_replaced_file_is_the_one_that_counts() -> None:
    """A rename over somebody else's file; without one, or while the record of the new name is to come, the file that was moved.

    Whom a mount with squashed or unknown owners shows is nobody: the file may be the writer's own.
    """
    moved = AuditRecord(record_type="PATH", serial=SERIAL, item=4, fields={"name": "/c/b", "nametype": "CREATE", "ouid": "5099"})
    replaced = AuditRecord(record_type="PATH", serial=SERIAL, item=3, fields={"name": "/c/b", "nametype": "DELETE", "ouid": "5012"})
    before = AuditRecord(record_type="PATH", serial=SERIAL, item=2, fields={"name": "/c/a", "nametype": "DELETE", "ouid": "5099"})
    squashed = AuditRecord(record_type="PATH", serial=SERIAL, item=3, fields={"name": "/c/b", "nametype": "DELETE", "ouid": "65534"})
    rename = call("rename")
    rows = ([rename, before], 5099), ([rename, moved], 5099), ([rename, before, moved, replaced], 5012), ([rename, moved, squashed], None)
    for parts, owner in rows:
        (body,) = assemble([(str(number), record) for number, record in enumerate(parts)])
        assert isinstance(body, FileTouched)
        assert body.file_uid == owner
