"""sshd, sudo, su, PAM, logind, cron and user tools: what is told, and what a user name may not forge."""

import contextlib
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RejectedRecord, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads.sshd import FORMAT
from pipeline.model.events import AccessLine, AnyBody, Heartbeat, Login, Parsed, PrivilegeUsed, SessionChanged
from pipeline.model.source import Source

NOON = 1_772_452_800_000  # 2026-03-02T12:00:00Z
READING = Reading(zone=ZoneInfo("UTC"), reference_time=NOON)
HEAD = "Mar  2 12:00:00 login2 "
A, B = "203.0.113.9", "198.51.100.7"


def parsed(text: str, head: str = HEAD) -> Parsed:
    """The one event of a line that the format claims."""
    payload = (head + text).encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload), READING)
    assert (event.source, event.host, event.event_time) == (Source.SSHD, "login2", NOON)
    return event


def sshd(text: str) -> AnyBody:
    """What sshd's line says."""
    return parsed(f"sshd[7]: {text}").body


def login(user: str, outcome: str, address: str = A, port: int | None = 50022, method: str = "", fingerprint: str = "") -> Login:
    """A login by sshd[7]."""
    return Login(user=user, outcome=outcome, address=address, port=port, method=method, fingerprint=fingerprint, pid=7)


LOGINS = [
    (f"Accepted publickey for u017 from {A} port 50022 ssh2: ED25519 SHA256:abc",
     login("u017", "accepted", method="publickey", fingerprint="ED25519 SHA256:abc")),
    (f"Accepted password for u017 from {A} port 50022 ssh2", login("u017", "accepted", method="password")),
    (f"Accepted keyboard-interactive/pam for u017 from {A} port 50022 ssh2", login("u017", "accepted", method="keyboard-interactive/pam")),
    (f"Accepted publickey for u017 from {A} port 50022 ssh2: RSA-CERT SHA256:x ID x from {B} port 1 ssh2 (serial 0) CA RSA SHA256:y",
     login("u017", "accepted", method="publickey", fingerprint=f"RSA-CERT SHA256:x ID x from {B} port 1 ssh2 (serial 0) CA RSA SHA256:y")),
    ("Accepted password for u017 from 2001:db8::7 port 50022 ssh2", login("u017", "accepted", address="2001:db8::7", method="password")),
    (f"Failed password for u017 from {A} port 50022 ssh2", login("u017", "failed", method="password")),
    (f"Failed password for invalid user a b from {A} port 50022 ssh2", login("a b", "failed", method="password")),
    (f"Failed publickey for u017 from {A} port 50022 ssh2: RSA SHA256:x",
     login("u017", "failed", method="publickey", fingerprint="RSA SHA256:x")),
    (f"Failed none for invalid user x from {B} port 22 ssh2 from {A} port 50022 ssh2",
     login(f"x from {B} port 22 ssh2", "failed", method="none")),
    (f"Invalid user x from {A}", login("x", "invalid_user", port=None)),
    (f"Invalid user  from {A} port 50022", login("", "invalid_user")),
    (f"Invalid user x from {B} port 22 from {A} port 50022", login(f"x from {B} port 22", "invalid_user")),
    (f"error: maximum authentication attempts exceeded for root from {A} port 50022 ssh2 [preauth]", login("root", "too_many")),
    (f"error: maximum authentication attempts exceeded for invalid user x from {A} port 50022 ssh2 [preauth]", login("x", "too_many")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), LOGINS, ids=lambda value: value if isinstance(value, str) else "")
def test_logins(text: str, expected: Login) -> None:
    """The address is the one that sshd wrote, whatever the user name holds."""
    assert sshd(text) == expected


LINES = [
    ("input_userauth_request: invalid user x y [preauth]", "invalid_user_request", "", ""),
    (f"Disconnected from {A} port 50022 [preauth]", "disconnected_preauth", "", A),
    (f"Disconnected from authenticating user root {A} port 50022 [preauth]", "disconnected_preauth", "root", A),
    (f"Disconnected from invalid user {B} port 1 {A} port 50022 [preauth]", "disconnected_preauth", f"{B} port 1", A),
    (f"Disconnected from user u017 {A} port 50022", "disconnected", "u017", A),
    (f"Disconnected from {A}", "disconnected", "", A),
    (f"Connection closed by {A} port 50022 [preauth]", "connection_closed", "", A),
    (f"Connection closed by invalid user x {A} port 50022 [preauth]", "connection_closed", "x", A),
    (f"Connection reset by {A} port 50022", "connection_reset", "", A),
    (f"Received disconnect from {A} port 50022:11: Bye from {B} port 1 [preauth]", "received_disconnect", "", A),
    (f"Received disconnect from {A}: 11: disconnected by user", "received_disconnect", "", A),
    (f"Did not receive identification string from {A}", "no_identification", "", A),
    (f"Bad protocol version identification 'x from {B} port 1' from {A} port 50022", "bad_protocol", "", A),
    (f"fatal: Unable to negotiate with {A} port 50022: no matching cipher found. Their offer: x [preauth]", "no_agreement", "", A),
    ("Disconnecting: Too many authentication failures [preauth]", "disconnecting", "", ""),
    ("Server listening on :: port 22.", "listening", "", ""),
    (f"Postponed publickey for u017 from {A} port 50022 ssh2 [preauth]", "postponed", "u017", A),
    (f"PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost={A}  user=u017", "pam_failure", "u017", A),
    ("fatal: something else", "fatal", "", ""),
    (f"pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser=x rhost={A}", "pam_failure", "", A),
    ("pam_unix(sshd:auth): check pass; user unknown", "pam", "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "user", "address"), LINES)
def test_other_lines(text: str, what: str, user: str, address: str) -> None:
    """Known lines of no consequence are typed, and their user and address read from where the other side cannot reach."""
    body = sshd(text)
    assert isinstance(body, AccessLine)
    assert (body.what, body.address, body.program, body.pid) == (what, address, "sshd", 7)
    assert body.user == (user or ("x y" if what == "invalid_user_request" else ""))


OTHERS: list[tuple[str, AnyBody]] = [
    ("sshd-session[7]: pam_unix(sshd:session): session opened for user u017(uid=5012) by (uid=0)",
     SessionChanged(user="u017", change="opened", service="sshd", pid=7)),
    ("sshd[7]: pam_unix(sshd:session): session closed for user u017", SessionChanged(user="u017", change="closed", service="sshd", pid=7)),
    ("sudo: pam_unix(sudo:session): session opened for user root by u017(uid=0)",
     SessionChanged(user="root", change="opened", service="sudo", by="u017")),
    ("sshd(pam_unix)[7]: session opened for user u017 by (uid=0)",
     SessionChanged(user="u017", change="opened", service="sshd", pid=7)),
    ("su(pam_unix)[7]: session closed for user u017", SessionChanged(user="u017", change="closed", service="su", pid=7)),
    (f"sshd(pam_unix)[7]: authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost={A}  user=root",
     AccessLine(what="pam_failure", program="sshd", user="root", address=A, pid=7,
                text=f"pam_unix(sshd): authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost={A}  user=root")),
    ("login(pam_unix)[7]: session opened for user u017 by LOGIN(uid=0)",
     SessionChanged(user="u017", change="opened", service="login", by="LOGIN", pid=7)),
    ("runuser: pam_unix(runuser:session): session opened for user u017(uid=5012) by (uid=0)",
     SessionChanged(user="u017", change="opened", service="runuser")),
    ("CRON[7]: pam_unix(cron:session): session opened for user root by (uid=0)",
     SessionChanged(user="root", change="opened", service="cron", pid=7)),
    ("systemd-logind[7]: New session 858 of user u017.",
     SessionChanged(user="u017", change="opened", service="logind", session="858", pid=7)),
    ("systemd-logind[7]: New session '858' of user 'u017' with class 'user' and type 'tty'.",
     SessionChanged(user="u017", change="opened", service="logind", session="858", pid=7)),
    ("systemd-logind[7]: Removed session 858.", SessionChanged(user="", change="closed", service="logind", session="858", pid=7)),
    ("sudo:   u017 : TTY=pts/0 ; PWD=/lustre ; USER=root ; COMMAND=/usr/bin/kill -9 4711",
     PrivilegeUsed(user="u017", run_as="root", command="/usr/bin/kill -9 4711", tty="pts/0", working_directory="/lustre")),
    ("sudo: u017 : PWD=/ ; USER=root ; TSID=00001 ; COMMAND=/bin/sh -c true ; ls",
     PrivilegeUsed(user="u017", run_as="root", command="/bin/sh -c true ; ls", working_directory="/")),
    ("sudo: u017 : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
     PrivilegeUsed(user="u017", run_as="root", command="/bin/ls", tty="pts/1", working_directory="/", refused=True,
                   detail="user NOT in sudoers")),
    ("sudo: u017 : 1 incorrect password attempt ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
     PrivilegeUsed(user="u017", run_as="root", command="/bin/ls", tty="pts/1", working_directory="/", refused=True,
                   detail="1 incorrect password attempt")),
    ("sudo: u017 : TTY=pts/1 ; PWD=/x ; USER=root ; COMMAND=/bin/true ; USER=root ; COMMAND=/usr/bin/kill 1",
     PrivilegeUsed(user="u017", run_as="root", command="/bin/true ; USER=root ; COMMAND=/usr/bin/kill 1", tty="pts/1",
                   working_directory="/x")),
    ("su[7]: Successful su for root by u017", PrivilegeUsed(user="u017", run_as="root", means="su")),
    ("su[7]: FAILED su for root by u017", PrivilegeUsed(user="u017", run_as="root", means="su", refused=True)),
    ("su: (to root) u017 on pts/1", PrivilegeUsed(user="u017", run_as="root", tty="pts/1", means="su")),
    ("su: FAILED SU (to root) u017 on pts/1", PrivilegeUsed(user="u017", run_as="root", tty="pts/1", means="su", refused=True)),
    ("su[7]: + /dev/pts/2 u017:root", AccessLine(what="su_terminal", program="su", user="u017", text="+ /dev/pts/2 u017:root", pid=7)),
    ("CRON[7]: (root) CMD (   cd / && run-parts /etc/cron.hourly)",
     AccessLine(what="cron_command", program="CRON", user="root", text="(root) CMD (   cd / && run-parts /etc/cron.hourly)", pid=7)),
    ("useradd[7]: new user: name=u017, UID=5012, GID=5000, home=/home/u017, shell=/bin/bash",
     AccessLine(what="new_user", program="useradd", user="u017", pid=7,
                text="new user: name=u017, UID=5012, GID=5000, home=/home/u017, shell=/bin/bash")),
    ("groupadd[7]: group added to /etc/group: name=llm, GID=5000",
     AccessLine(what="account_changed", program="groupadd", user="llm", text="group added to /etc/group: name=llm, GID=5000", pid=7)),
    ("usermod[7]: add 'u017' to group 'sudo'",
     AccessLine(what="account_changed", program="usermod", user="u017", text="add 'u017' to group 'sudo'", pid=7)),
    ("passwd[7]: pam_unix(passwd:chauthtok): password changed for u017",
     AccessLine(what="password_changed", program="passwd", user="u017", pid=7,
                text="pam_unix(passwd:chauthtok): password changed for u017")),
    ("systemd[1]: Started Session 858 of user u017.",
     AccessLine(what="systemd", program="systemd", text="Started Session 858 of user u017.", pid=1)),
    ("pam: user nobody logged out.", AccessLine(what="logged_out", program="pam", user="nobody", text="user nobody logged out.")),
    ("sudo:   u017 : (command continued) --force", AccessLine(what="sudo_continued", program="sudo", user="u017",
                                                           text="u017 : (command continued) --force")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), OTHERS, ids=lambda value: value if isinstance(value, str) else "")
def test_other_programs(text: str, expected: AnyBody) -> None:
    """Sessions, uses of privilege and account changes are typed."""
    assert parsed(text).body == expected


def test_repeated() -> None:
    """A repeated message is its event once, and the count is kept."""
    event = parsed(f"sshd[7]: message repeated 5 times: [ Failed password for root from {A} port 50022 ssh2]")
    assert event.body == login("root", "failed", method="password")
    assert event.unmapped == {"repeated": "5"}


def test_mark() -> None:
    """The syslog daemon's mark vouches for both families that it carries."""
    events = FORMAT.parse(Line(payload=(HEAD + "rsyslogd: -- MARK --").encode()), READING)
    assert [(event.source, event.host, event.event_time, event.body) for event in events] == [
        (source, "login2", NOON, Heartbeat(program="rsyslogd")) for source in (Source.SSHD, Source.KERNEL)
    ]


def test_without_prefix() -> None:
    """A shipper may cut the prefix off and say the program beside it; a line without either is nobody's."""
    payload = f"Accepted password for u017 from {A} port 50022 ssh2".encode()
    assert FORMAT.claims(payload)
    (event,) = FORMAT.parse(Line(payload=payload, program="sshd", host="login2"), READING)
    assert (event.event_time, event.host) == (None, "login2")
    assert isinstance(event.body, Login)
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=payload), READING)


def test_carriage_return() -> None:
    """A CR at the line's end is not part of it."""
    assert parsed("su: (to root) u017 on pts/1\r").body == parsed("su: (to root) u017 on pts/1").body


UNKNOWN = [
    "sshd[7]: something nobody has seen",
    "sshd[7]: Accepted",
    "sshd[7]: Failed password for root",
    "sudo: u017 : ",
    "sudo: hello",
    "su: hello",
    "CRON[7]: hello",
    "systemd-logind[7]: hello",
    "systemd[1]: hello",
    "useradd[7]: hello",
    "pam: hello",
    "rsyslogd: hello",
    "nginx: hello",
    "u017: -- MARK --",
]


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown(text: str) -> None:
    """Text that no rule knows is not typed by guess."""
    with pytest.raises(UnknownFormat):
        FORMAT.parse(Line(payload=(HEAD + text).encode()), READING)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=60))
def test_no_user_name_forges_an_address(user: str) -> None:
    """Whatever the name, the address of a refused attempt is the last one, and the name comes back whole."""
    body = sshd(f"Failed password for invalid user {user} from {A} port 50022 ssh2")
    assert isinstance(body, Login)
    assert (body.address, body.port, body.outcome) == (A, 50022, "failed")
    assert body.user == user.removeprefix("invalid user ")


PROGRAMS = st.sampled_from(["sshd", "sudo", "su", "systemd-logind", "CRON", "systemd", "useradd", "pam", "rsyslogd"])
TEXTS = [*(text for text, _ in LOGINS), *(text for text, *_ in LINES), *(text for text, _ in OTHERS)]
STARTS = st.sampled_from([text.partition(": ")[2] or text for text in TEXTS])


@given(PROGRAMS, STARTS, st.binary(max_size=60), st.integers(0, 80))
def test_any_text(program: str, start: str, rest: bytes, cut: int) -> None:
    """Nothing but a RejectedRecord is raised."""
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=f"{HEAD}{program}: {start[:cut]}".encode() + rest), READING)


PIECES = [" from ", " by ", "Accepted x for ", " ; PWD=", " : ", "(uid=0)", "user=", "a", " ", "invalid user ", "' "]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize(
    "start",
    ["sshd: Accepted a for ", "sshd: Failed a for ", "sshd: Disconnected from ", "sudo: x : ", "su: ", "pam: ", "useradd: ",
     "sshd: pam_unix(sshd:session): session opened for user ", "sshd: pam_unix(sshd:auth): authentication failure; "],
)  # fmt: skip
def test_hostile_megabyte(start: str, piece: str) -> None:
    """A megabyte made to send a pattern astray is read in linear time."""
    payload = (HEAD + start + piece * (1_000_000 // len(piece))).encode()
    FORMAT.claims(payload)
    with contextlib.suppress(RejectedRecord):
        FORMAT.parse(Line(payload=payload), READING)
