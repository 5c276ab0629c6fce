"""Raw auditd records: prefixes, encodings, dialects, and what user space may not do."""

import contextlib
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DecodeError, RejectedRecord, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import auditd
from pipeline.formats.payloads.auditd import FORMAT
from pipeline.formats.syscalls import syscall_name
from pipeline.model.events import AuditRecord, Parsed
from pipeline.model.source import Source

AT = 1_772_480_441_311
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT)
STAMP = "msg=audit(1772480441.311:9001):"
KILL = (
    f"type=SYSCALL {STAMP} arch=c000003e syscall=62 success=yes exit=0 a0=1267 a1=9 a2=0 a3=0 items=0 ppid=880 pid=912 auid=5099 uid=0"
    ' gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=pts3 ses=41 comm="bash" exe="/usr/bin/bash" key="kill_signals"'
)


def parsed(text: str | bytes) -> Parsed:
    """The one event of a record that the format claims."""
    payload = text if isinstance(text, bytes) else text.encode()
    assert FORMAT.claims(payload)
    events = FORMAT.parse(Line(payload=payload), READING)
    assert len(events) == 1
    return events[0]


def record(text: str | bytes) -> AuditRecord:
    """Its body."""
    body = parsed(text).body
    assert isinstance(body, AuditRecord)
    return body


def test_a_syscall() -> None:
    """Arguments stay hexadecimal; the name of the call, the outcome and the keys are added."""
    event = parsed(KILL)
    body = record(KILL)
    assert (event.source, event.event_time, event.host) == (Source.AUDITD, AT, "")
    assert event.own_id == "1772480441.311:9001/SYSCALL/0"
    assert (body.record_type, body.serial, body.keys) == ("SYSCALL", 9001, ("kill_signals",))
    wanted = {"a0": "1267", "a1": "9", "comm": "bash", "exe": "/usr/bin/bash", "result": "success", "syscall_name": "kill", "auid": "5099"}
    assert {name: body.fields[name] for name in wanted} == wanted
    assert "key" not in body.fields


PREFIXES = [
    ("none", "", ""),
    ("node", "node=gpu-012 ", "gpu-012"),
    ("journal", "audit[1]: ", ""),
    ("daemon", "audispd: node=gpu-012 ", "gpu-012"),
    ("syslog", "Mar  3 03:40:41 gpu-012 audispd[77]: ", "gpu-012"),
    ("syslog and node", "Mar  3 03:40:41 login2 audisp-syslog: node=gpu-012 ", "gpu-012"),
    ("RFC 5424", "<13>1 2026-03-02T19:40:41Z gpu-012 audit 1 - - ", "gpu-012"),
]


@pytest.mark.parametrize(("name", "prefix", "host"), PREFIXES)
def test_prefixes(name: str, prefix: str, host: str) -> None:
    """A record is the same behind every prefix of the audit daemons, and the prefix names the host."""
    event = parsed(prefix + KILL)
    assert event.body == record(KILL)
    assert event.host == host
    assert event.tag in prefix
    assert (event.tag == "") == (name in ("none", "node"))


def test_the_kernels_own_log() -> None:
    """Without a daemon the kernel writes numbered types to its own log."""
    event = parsed('Mar  3 03:40:41 gpu-012 kernel: [   12.3] audit: type=1400 audit(1772480441.311:9001): apparmor="DENIED" pid=7')
    assert isinstance(event.body, AuditRecord)
    assert (event.body.record_type, event.body.fields, event.host) == ("AVC", {"apparmor": "DENIED", "pid": "7"}, "gpu-012")
    assert event.tag == "kernel"


FORGED = [
    ("a user name", f"Mar  3 03:40:41 gpu-012 sshd[7]: Invalid user {KILL} from 203.0.113.9"),
    ("logger", f"Mar  3 03:40:41 gpu-012 u017: {KILL}"),
    ("a log of a job", f"0: {KILL}"),
    ("the kernel's tag with other text", f"Mar  3 03:40:41 gpu-012 kernel: hello {KILL}"),
]


@pytest.mark.parametrize(("name", "text"), FORGED)
def test_forged_records(name: str, text: str) -> None:
    """A record inside the text of another program is not a record."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=text.encode()), READING)


FIELDS = [
    ("quoted is literal", "CWD", 'cwd="/lustre/run7"', {"cwd": "/lustre/run7"}),
    ("quoted hex is literal", "PATH", 'name="ABCD"', {"name": "ABCD"}),
    ("unquoted hex is text", "CWD", "cwd=2F6D6E742F6120622063", {"cwd": "/mnt/a b c"}),
    ("hex of another script", "PATH", "name=E4BD", {"name": "�"}),
    ("numbers are never text", "PATH", 'item=10 inode=4242 ouid=5012', {"item": "10", "inode": "4242", "ouid": "5012"}),
    ("odd length is no hex", "CWD", "cwd=2F7", {"cwd": "2F7"}),
    ("lower case is no hex", "USER_ACCT", "msg='acct=beef'", {"acct": "beef"}),
    ("zero bytes part arguments", "PROCTITLE", "proctitle=64640069663D78", {"proctitle": "dd if=x"}),
    ("absent values", "PATH", "item=0 name=(null)", {"item": "0"}),
    ("stray quote after text", "EXECVE", 'argc=1 a0="ls"\'', {"argc": "1", "a0": "ls"}),
    ("stray quote after hex", "CWD", 'cwd=2F6D6E74"', {"cwd": "/mnt"}),
    ("arguments in hex", "EXECVE", 'argc=10 a0="echo" a1=612062', {"argc": "10", "a0": "echo", "a1": "a b"}),
    ("a long argument", "EXECVE", "a1_len=16384 a1[0]=6162 a1[1]=6364", {"a1_len": "16384", "a1[0]": "ab", "a1[1]": "cd"}),
    ("a value with an equals sign", "EXECVE", 'a0="cat" a1="x=y"', {"a0": "cat", "a1": "x=y"}),
    ("a message", "USER_CMD", "pid=7 msg='cwd=\"/\" cmd=6C73202D6C terminal=? res=success'",
     {"pid": "7", "cwd": "/", "cmd": "ls -l", "res": "success", "result": "success"}),
    ("an empty value", "CRYPTO_SESSION", "msg='mac= pfs=x res=failed'", {"pfs": "x", "res": "failed", "result": "fail"}),
    ("a text with blanks", "ANOM_ABEND", 'reason="memory violation" sig=11', {"reason": "memory violation", "sig": "11"}),
    ("names with a blank", "LOGIN", "login pid=7 uid=0 old auid=4294967295 new auid=0",
     {"pid": "7", "uid": "0", "old_auid": "4294967295", "new_auid": "0"}),
    ("brackets", "USER_START", "msg='PAM: session open acct=root : exe=\"/usr/sbin/crond\" (addr=?, terminal=cron res=success)'",
     {"acct": "root", "exe": "/usr/sbin/crond", "terminal": "cron", "res": "success", "result": "success"}),
    ("an old denial", "AVC", 'avc:  denied  { read write } for  pid=7 comm="x"',
     {"pid": "7", "comm": "x", "seresult": "denied", "seperms": "read write"}),
    ("a key of several", "SYSCALL", "key=65786563013634626974", {}),
    ("IPv4", "SOCKADDR", "saddr=02000050A9FEA9FE0000000000000000",
     {"saddr": "02000050A9FEA9FE0000000000000000", "family": "ipv4", "addr": "169.254.169.254", "port": "80"}),
    ("a path", "SOCKADDR", "saddr=01002F72756E2F7300FF", {"saddr": "01002F72756E2F7300FF", "family": "unix", "path": "/run/s"}),
    ("an abstract socket", "SOCKADDR", "saddr=0100006162", {"saddr": "0100006162", "family": "unix", "path": "@ab"}),
    ("no address", "SOCKADDR", "saddr=zz", {"saddr": "zz"}),
    ("a short address", "SOCKADDR", "saddr=0200", {"saddr": "0200", "family": "ipv4"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record_type", "text", "expected"), FIELDS)
def test_fields(name: str, record_type: str, text: str, expected: dict[str, str]) -> None:
    """Text is decoded where the kernel encoded it, and nowhere else."""
    assert record(f"type={record_type} {STAMP} {text}").fields == expected


KEYS = [
    ('key="a"', ("a",)),
    ("key=(null)", ()),
    ('key="key=user_commands"', ("user_commands",)),
    ("key=65786563013634626974", ("exec", "64bit")),
    ('key=65786563013634626974"', ("exec", "64bit")),
    ("key=226B696C6C73686F7422", ('"killshot"',)),
    ("key=(null)ARCH=x86_64 SYSCALL=kill", ()),
    ('key="a"ARCH=x86_64', ("a",)),
    ("key=61626364\x1dARCH=x86_64", ("abcd",)),
    ("pid=7", ()),
]


@pytest.mark.parametrize(("text", "expected"), KEYS)
def test_keys(text: str, expected: tuple[str, ...]) -> None:
    """Several keys share a field, and translations that were glued to it are not keys."""
    assert record(f"type=SYSCALL {STAMP} {text}").keys == expected


ENRICHED = [
    ("separator", 'arch=c000003e syscall=62 key=(null)\x1dARCH=x86_64 SYSCALL=kill AUID="unset" UID="root"'),
    ("separator lost", 'arch=c000003e syscall=62 key=(null)ARCH=x86_64 SYSCALL=kill AUID="unset" UID="root"'),
]


@pytest.mark.parametrize(("name", "text"), ENRICHED)
def test_enriched(name: str, text: str) -> None:
    """The daemon's translations are kept under their upper-case names."""
    assert record(f"type=SYSCALL {STAMP} {text}").fields == {
        "arch": "c000003e", "syscall": "62", "syscall_name": "kill", "ARCH": "x86_64", "SYSCALL": "kill", "AUID": "unset", "UID": "root",
    }  # fmt: skip


def test_an_enriched_record_is_not_told_by_the_one_before() -> None:
    """Translations that are read once for many records are no record's own to change; what the kernel said stays as it was."""
    text = f'type=SYSCALL {STAMP} syscall=62 uid=0\x1dARCH=x86_64 UID="u017" uid="u099"'
    first = record(text).fields
    first["UID"] = "u001"
    again = record(text).fields
    assert (again["UID"], again["uid"]) == ("u017", "0")


def test_enriched_path_without_separator() -> None:
    """A translation that was glued to a number leaves the number whole."""
    fields = record(f'type=PATH {STAMP} item=1 name="/x" nametype=NORMAL cap_frootid=0OUID="root" OGID="root"').fields
    assert (fields["cap_frootid"], fields["OUID"], fields["OGID"]) == ("0", "root", "root")


def test_the_daemon_names_a_call_that_we_do_not_know() -> None:
    """On an architecture without a table the daemon's own translation is taken."""
    assert record(f"type=SYSCALL {STAMP} arch=c00000f3 syscall=129\x1dARCH=riscv64 SYSCALL=kill").fields["syscall_name"] == "kill"


def test_user_space_cannot_replace_the_kernels_word() -> None:
    """Identity fields in a message do not override those that the kernel wrote."""
    text = f'type=USER_CMD {STAMP} pid=7 uid=5099 auid=5099 msg=\'uid=0 auid=0 pid=1 cmd="ls" res=success\'\x1dUID="u017" uid=0'
    fields = record(text).fields
    assert (fields["pid"], fields["uid"], fields["auid"]) == ("7", "5099", "5099")


def test_the_first_of_two_equal_fields_wins() -> None:
    """The kernel writes no field twice, so a second one is somebody's text."""
    assert record(f"type=SYSCALL {STAMP} uid=5099 uid=0").fields["uid"] == "5099"


SAME_EVENT = [
    ("paths", 'type=PATH {} item=0 name="/a"', 'type=PATH {} item=1 name="/a"'),
    ("receivers", "type=OBJ_PID {} opid=1 ouid=0", "type=OBJ_PID {} opid=2 ouid=0"),
    ("argument parts", 'type=EXECVE {} a0="a"', 'type=EXECVE {} a1="b"'),
    ("denials", 'type=AVC {} apparmor="DENIED" name="/a"', 'type=AVC {} apparmor="DENIED" name="/b"'),
    ("types", 'type=CWD {} cwd="/"', "type=EOE {} "),
]


@pytest.mark.parametrize(("name", "first", "second"), SAME_EVENT)
def test_own_ids(name: str, first: str, second: str) -> None:
    """Records of one event have different ids, and the same record has the same."""
    one, two, again = (parsed(text.format(STAMP)).own_id for text in (first, second, first))
    assert one == again
    assert one != two


def test_no_colon_and_a_carriage_return() -> None:
    """Daemon records lack the colon; a CR at the end is not part of a value."""
    body = record("type=DAEMON_CONFIG msg=audit(1490239800.477:34) config changed, auid=0 pid=1512 res=success\r")
    assert body.fields == {"auid": "0", "pid": "1512", "res": "success", "result": "success"}


BROKEN = ["type=UNKNOWN[1329] msg=?", "type=SYSCALL msg=audit(x)", "type=SYSCALL msg=audit(1.5:7): a=b", "type= msg=audit(1.500:7): a=b"]


@pytest.mark.parametrize("text", BROKEN)
def test_broken(text: str) -> None:
    """A record without type, time and serial is broken."""
    assert FORMAT.claims(text.encode())
    with pytest.raises(DecodeError):
        FORMAT.parse(Line(payload=text.encode()), READING)


NAMES = [
    ("c000003e", "62", "kill"), ("c000003e", "424", "pidfd_send_signal"), ("c000003e", "257", "openat"), ("c000003e", "334", "rseq"),
    ("c00000b7", "129", "kill"), ("c00000b7", "131", "tgkill"), ("c00000b7", "35", "unlinkat"), ("c00000b7", "276", "renameat2"),
    ("c00000b7", "291", "statx"), ("c00000b7", "260", "wait4"), ("c00000b7", "250", ""), ("40000003", "132", "getpgid"),
    ("40000003", "37", "kill"), ("c000003e", "9999", ""), ("ffffffff", "62", ""),
]  # fmt: skip


@pytest.mark.parametrize(("arch", "number", "name"), NAMES)
def test_syscall_names(arch: str, number: str, name: str) -> None:
    """The same number is another call on another architecture."""
    assert syscall_name(arch, number) == name


@given(st.binary(max_size=400))
def test_any_bytes(payload: bytes) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=payload), READING)


@given(st.sampled_from(["SYSCALL", "PATH", "EXECVE", "SOCKADDR", "USER_CMD", "AVC", "LOGIN"]), st.binary(max_size=300))
def test_any_body(record_type: str, body: bytes) -> None:
    """Whatever follows the stamp, the record has its type and serial."""
    found = record(f"type={record_type} {STAMP} ".encode() + body)
    assert (found.record_type, found.serial) == (record_type, 9001)


@given(st.integers(0, len(KILL)), st.binary(max_size=4), st.integers(0, 8))
def test_damaged_records(at: int, inserted: bytes, cut: int) -> None:
    """A record with bytes cut out or put in is read or rejected."""
    payload = KILL.encode()
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=payload[:at] + inserted + payload[at + cut :]), READING)


@pytest.mark.parametrize(
    "piece", ["a", "a=", 'a="', "a='", "=", "AB", "(", "UID=", "ARCH=", "avc: ", "avc:  denied  { ", "\x1d", "msg='", " "]
)
@pytest.mark.parametrize("record_type", ["SYSCALL", "EXECVE", "AVC"])
def test_hostile_megabyte(piece: str, record_type: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    record(f"type={record_type} {STAMP} key=" + piece * (1_000_000 // len(piece)))


PART = st.sampled_from(["arch", "auid", "comm", "exe", "key", "msg='op", "item", "name", "subj", "res", "hostname", "acct", "cwd", "ses"])
VALUE = st.one_of(
    st.sampled_from(["?", "(null)", '"x"', '"/a b=c"', "6C73", "1'", "(none)", '"', "pam(x)"]), st.text("a1=\"' ?()", max_size=6)
)
CREDENTIALS = (
    f'type=CRED_ACQ {STAMP} pid=9 uid=0 auid=0 ses=9 msg=\'op=PAM:setcred grantors=pam_unix acct="root" exe="/usr/sbin/cron"'
    " hostname=? addr=? terminal=cron res=success'"
)
SERVICE = (
    f'type=SERVICE_STOP {STAMP} pid=1 uid=0 auid=4294967295 ses=1 subj=s:r msg=\'unit=x comm="systemd" exe="/s" hostname=h addr=?'
    " terminal=? res=success'"
)
WHOLE = [
    KILL,
    f'type=PATH {STAMP} item=1 name="/x" inode=7 dev=fd:00 mode=0100644 ouid=0 ogid=0 rdev=00:00 nametype=CREATE cap_fp=0 cap_fver=0',
    f'type=OBJ_PID {STAMP} opid=38194 oauid=-1 ouid=5019 oses=-1 ocomm="python3"',
    f"type=LOGIN {STAMP} pid=7 uid=0 subj=s:r old-auid=4294967295 auid=5020 tty=(none) old-ses=4294967295 ses=9 res=1",
    CREDENTIALS,
    SERVICE,
]


@given(st.sampled_from(WHOLE), st.lists(st.tuples(st.integers(0, 30), PART, VALUE), max_size=3))
def test_whole_layouts_read_what_the_fields_say_one_by_one(line: str, changes: list[tuple[int, str, str]]) -> None:
    """A body in the usual order is read quicker, not otherwise, whatever a field is replaced by."""
    words = line.split(" ")
    for place, name, value in changes:
        at = 2 + place % (len(words) - 2)
        words[at] = f"{name}={value}" if place % 2 else f"{words[at].partition('=')[0]}={value}"
    changed = " ".join(words)
    quick = record(changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditd, "_LAYOUTS", {})
        assert record(changed) == quick


@pytest.mark.parametrize(
    ("program", "file", "believed"),
    [("", "", True), ("auditd", "", True), ("audisp-syslog", "", True), ("u017", "", False), ("auth", "/var/log/audit/audit.log", True)],
)
def test_a_record_that_another_program_wrote_to_the_system_log_is_none(program: str, file: str, believed: bool) -> None:
    """`logger type=SYSCALL msg=audit(...)` is open to every user; a shipper that took the line apart says whose it was."""
    line = Line(payload=KILL.encode(), program=program, file=file)
    if believed:
        assert FORMAT.parse(line, READING)
    else:
        with pytest.raises(UnknownFormat):
            FORMAT.parse(line, READING)
