"""A line of sshd, sudo, su, PAM, logind, cron or the user tools in; a login, a session, a use of privilege or another access line out.

What a line says is half chosen by whoever knocks: a user name may be `x from 1.2.3.4 port 22 ssh2`, a reason may be anything.  So
addresses of refused attempts are read from the *right*, where sshd itself wrote them, and reasons of a client are read from the left:

    Invalid user x from 1.2.3.4 port 22 from 203.0.113.9 port 50022        address 203.0.113.9, user `x from 1.2.3.4 port 22`
    Accepted publickey for u017 from 203.0.113.9 port 51234 ssh2: ED25519 SHA256:..   an account's name has no blank

One act may leave several lines: an accepted login, its PAM session and logind's session are three events.  `Disconnected` before
authentication is not the end of a login, hence `disconnected_preauth`.  `AccessLine.what` is from a closed set: the words in this
module.  `-- MARK --` of the syslog daemon vouches for both families that it carries, access and kernel.

A line end is in what a user runs by sudo, and in no other line of these: sshd writes it as `\\n`.  Where there is one, two lines are one
value that nothing took apart (several.py), and whose words the second one's are nobody knows.

Holds: linear time; text that no rule knows is UnknownFormat and becomes a dead letter.
"""

import re
from collections.abc import Callable, Sequence

import msgspec

from pipeline.errors import UnknownFormat
from pipeline.formats.choosing import TEXT
from pipeline.formats.line import Line, Reading
from pipeline.formats.syslog import TEXT_CHARACTERS_MAX, SyslogLine, number, split
from pipeline.model.events import AccessLine, AnyBody, Heartbeat, Login, Parsed, PrivilegeUsed, SessionChanged
from pipeline.model.source import Source

_CLAIM = re.compile(
    rb"(?:^|[ >])(?:sshd(?:-session|-auth)?|sudo|su|login|runuser|systemd(?:-logind)?|CRON|crond?|pam|passwd|chpasswd|chage|rsyslogd"
    rb"|syslogd|syslog-ng|(?:user|group)(?:add|del|mod))(?:\([A-Za-z0-9_-]{1,32}\))?(?:\[[0-9]{1,10}\])?(?:: | [0-9-]{1,10} \S{1,64} )"
)
# Texts that a shipper may send without their prefix, beside the program's name.
_BARE = (
    b"Accepted ", b"Failed ", b"Invalid user ", b"Disconnected from ", b"Connection closed by ", b"Received disconnect from ",
    b"pam_", b"New session ", b"Removed session ", b"Successful su ", b"FAILED su ", b"(to ", b"+ ", b"- ", b"new user: ",
    b"new group: ", b"-- MARK --", b"Server listening on ", b"error: ", b"Did not receive ", b"message repeated ", b"Disconnecting",
)  # fmt: skip
_REPEATED = re.compile(r"message repeated ([0-9]{1,9}) times: \[ (.*)\]", re.DOTALL)
_MARK = "-- MARK --"
_PREAUTH = " [preauth]"
HEAD_BYTES = 600  # in which the tag stands


class Sshd:
    """What a host's system log says of who came in and acted as whom."""

    name = "sshd"
    source = Source.SSHD
    begins = (b" sshd", b" sudo", b" su:", b" su[", b" systemd", b" CRON", b" rsyslogd")
    first_bytes = TEXT

    def claims(self, payload: bytes) -> bool:
        """A tag of one of the programs near the start, or one of their texts."""
        return _CLAIM.search(payload[:HEAD_BYTES]) is not None or payload.lstrip(b" ").startswith(_BARE) or b" : TTY=" in payload[:200]

    def parse(self, line: Line, reading: Reading) -> Sequence[Parsed]:
        """The events of the line.  Raises UnknownFormat for other programs and for texts that no rule knows."""
        found = split(line, reading)
        if found is None:
            raise UnknownFormat("no line of a system log")
        if found.text.strip() == _MARK and "syslog" in found.program:
            beat = Heartbeat(program=found.program)
            return tuple(Parsed(source=each, host=found.host, event_time=found.time, body=beat) for each in (Source.SSHD, Source.KERNEL))
        reader = _READERS.get(found.program)
        if reader is None:
            raise UnknownFormat("no program that tells of access")
        if "\n" in found.text and found.program != "sudo":
            raise UnknownFormat(f"a line end in a line of {found.program}")
        unmapped = {}
        if repeated := _REPEATED.fullmatch(found.text):
            found = msgspec.structs.replace(found, text=repeated[2].strip())
            unmapped["repeated"] = repeated[1]
        body = (_pam(found) if found.text.startswith("pam_") else None) or reader(found) or _old_pam(found, line.payload)
        if body is None:
            raise UnknownFormat(f"an unknown line of {found.program}")
        return (Parsed(source=Source.SSHD, host=found.host, event_time=found.time, body=body, unmapped=unmapped),)


def _line(found: SyslogLine, what: str, user: str = "", address: str = "") -> AccessLine:
    text = found.text[:TEXT_CHARACTERS_MAX]
    return AccessLine(what=what, program=found.program, user=user, address=address, text=text, pid=found.pid)


# --- PAM ------------------------------------------------------------------------------------------------------------------------

_PAM = re.compile(r"pam_[a-z0-9_]{1,32}\(([A-Za-z0-9_.@-]{1,64})(?::([a-z_]{1,16}))?\): ")
_OLD_PAM = re.compile(rb"(?:^|[ >])([A-Za-z0-9_-]{1,64})\((pam_[a-z0-9_]{1,32})\)(?:\[[0-9]{1,10}\])?: ")
_UID_SUFFIX = re.compile(r"\(uid=([0-9]{1,10})\)$")
_PAM_HOST = re.compile(r"(?<![a-z])rhost=(\S{0,255})")


def _pam_values(text: str) -> tuple[str, str]:
    """User and remote host of a failure.

    The user is the end of the line, and any text; before the host stands the remote user, who may imitate it too: the last one holds.
    """
    before, _, user = text.partition(" user=")
    hosts = _PAM_HOST.findall(before)
    return user[:255].strip(), hosts[-1] if hosts else ""


def _pam(found: SyslogLine) -> AnyBody | None:
    module = _PAM.match(found.text)
    if module is None:
        return None
    service, text = module[1], found.text[module.end() :]
    if text.startswith("session opened for user "):
        user, _, by = text.removeprefix("session opened for user ").rpartition(" by ")
        return SessionChanged(
            user=_UID_SUFFIX.sub("", user), change="opened", service=service, by=_UID_SUFFIX.sub("", by.strip()), pid=found.pid
        )
    if text.startswith("session closed for user "):
        return SessionChanged(user=text.removeprefix("session closed for user ").strip(), change="closed", service=service, pid=found.pid)
    if text.startswith("authentication failure;"):
        return _line(found, "pam_failure", *_pam_values(text))
    if text.startswith("password changed for "):
        return _line(found, "password_changed", text.removeprefix("password changed for ").strip())
    return _line(found, "pam")


def _old_pam(found: SyslogLine, payload: bytes) -> AnyBody | None:
    """As PAM wrote until 2007: the module in the tag, `sshd(pam_unix)[19937]: session opened for user u017 by (uid=0)`."""
    module = _OLD_PAM.search(payload, 0, HEAD_BYTES)
    if module is None or module[1].decode() != found.program:
        return None
    return _pam(msgspec.structs.replace(found, text=f"{module[2].decode()}({found.program}): {found.text}"))


# --- sshd -----------------------------------------------------------------------------------------------------------------------

_ACCEPTED = re.compile(r"Accepted (\S{1,64}) for (\S{1,255}) from (\S{1,64}) port ([0-9]{1,5})(?: ssh[0-9])?(?:: (.*))?", re.DOTALL)
_ENDPOINT = re.compile(r"(\S{1,255})(?: port ([0-9]{1,5}))?(?: ssh[0-9]?)?(?:: (.{0,200}))?")
_FAILED_METHOD = re.compile(r"(?:Failed|Postponed|Partial) (\S{1,64}) for ")
# An address at the start of a text, and after the user whose connection it was.
_ADDRESS_FIRST = re.compile(r"(?:user )?(\S{1,255})(?: port [0-9]{1,5})?(?::| |$)")
_USER_ADDRESS = re.compile(r"(?:(?:invalid |authenticating )?user )?(?:(.{0,255}) )?(\S{1,255}) port ([0-9]{1,5})", re.DOTALL)

_SSHD_LINES: tuple[tuple[str, str], ...] = (
    ("input_userauth_request: invalid user ", "invalid_user_request"),
    ("Server listening on ", "listening"),
    ("Did not receive identification string from ", "no_identification"),
    ("Bad protocol version identification ", "bad_protocol"),
    ("Received disconnect from ", "received_disconnect"),
    ("Disconnecting", "disconnecting"),
    ("Connection closed by ", "connection_closed"),
    ("Connection reset by ", "connection_reset"),
    ("Connection from ", "connection"),
    ("Close session: ", "session_end"),
    ("Starting session: ", "session_start"),
    ("Transferred: ", "transferred"),
    ("Closing connection to ", "connection_closed"),
    ("User child is on pid ", "child"),
    ("subsystem request for ", "subsystem"),
    ("Postponed ", "postponed"),
    ("Partial ", "partial"),
    ("Received signal ", "daemon_signal"),
    ("Exiting on signal ", "daemon_signal"),
    ("Received SIGHUP", "daemon_signal"),
    ("Timeout, client not responding", "timeout"),
    ("fatal: ", "fatal"),
    ("error: ", "error"),
    ("warning: ", "warning"),
    ("reverse mapping checking ", "reverse_mapping"),
    ("Address ", "reverse_mapping"),
    ("Nasty PTR record ", "reverse_mapping"),
    ("PAM ", "pam"),
    ("ssh_dispatch_run_fatal: ", "fatal"),
    ("Unable to negotiate with ", "no_agreement"),
    ("banner exchange: ", "bad_protocol"),
    ("kex_exchange_identification: ", "bad_protocol"),
    ("kex_protocol_error: ", "bad_protocol"),
    ("Protocol major versions differ", "bad_protocol"),
    ("drop connection ", "throttled"),
    ("beginning MaxStartups throttling", "throttled"),
    ("exited MaxStartups throttling", "throttled"),
    ("Authentication refused: ", "refused"),
    ("Authentication tried for ", "refused"),
    ("Certificate invalid: ", "refused"),
    ("ROOT LOGIN REFUSED FROM ", "refused"),
    ("Changed root directory to ", "chroot"),
    ("Accepted certificate ID ", "certificate"),
    ("Set /proc/self/oom_score_adj", "daemon"),
    ("rexec line ", "daemon"),
    ("Attempt to write login records ", "daemon"),
    ("Could not ", "daemon"),
    ("User ", "user"),
)


def _sshd(found: SyslogLine) -> AnyBody | None:
    text = found.text
    if text.startswith("Accepted ") and not text.startswith("Accepted certificate ID "):
        return _accepted(found)
    if text.startswith("Failed ") and (method := _FAILED_METHOD.match(text)):
        return _refused(found, text[method.end() :], "failed", method[1])
    if text.startswith("Invalid user "):
        return _refused(found, text.removeprefix("Invalid user "), "invalid_user")
    preauth = text.endswith(_PREAUTH)
    bare = text.removesuffix(_PREAUTH)
    attempts = "maximum authentication attempts exceeded for "
    if bare.startswith(("error: " + attempts, attempts)):
        return _refused(found, bare.partition(attempts)[2], "too_many")
    if bare.startswith("Disconnected from "):
        user, address = _whose(bare.removeprefix("Disconnected from "))
        return _line(found, "disconnected_preauth" if preauth else "disconnected", user, address)
    for start, what in _SSHD_LINES:
        if bare.startswith(start):
            return _known(found, bare, bare[len(start) :], what)
    return None


def _known(found: SyslogLine, text: str, rest: str, what: str) -> AccessLine:
    """A line of a known kind, with user and address where its shape has them."""
    if what == "invalid_user_request":
        return _line(found, what, rest)
    if what in {"connection_closed", "connection_reset"}:
        return _line(found, what, *_whose(rest))
    if what in {"bad_protocol", "postponed", "partial"}:
        # The client's own text comes first.
        user, _, endpoint = rest.rpartition(" from ")
        address = _ENDPOINT.match(endpoint) if user or endpoint else None
        return _line(found, what, user.partition(" for ")[2] if what != "bad_protocol" else "", address[1] if address else "")
    if what in {"received_disconnect", "no_identification", "connection", "no_agreement", "throttled"}:
        address = _ADDRESS_FIRST.match(rest)
        return _line(found, what, "", address[1].rstrip(":") if address else "")
    if what == "fatal" and rest.startswith("Unable to negotiate with "):
        address = _ADDRESS_FIRST.match(rest.removeprefix("Unable to negotiate with "))
        return _line(found, "no_agreement", "", address[1] if address else "")
    if what == "pam" and "authentication failure" in text:
        return _line(found, "pam_failure", *_pam_values(text))
    return _line(found, what)


def _accepted(found: SyslogLine) -> AnyBody | None:
    exact = _ACCEPTED.fullmatch(found.text)
    if exact is None:
        method, _, rest = found.text.removeprefix("Accepted ").partition(" for ")
        return _refused(found, rest, "accepted", method) if rest else None
    method, user, address, port, key = exact.groups()
    return Login(
        user=user, outcome="accepted", method=method, address=address, port=int(port), fingerprint=(key or "")[:200], pid=found.pid
    )


def _refused(found: SyslogLine, rest: str, outcome: str, method: str = "") -> AnyBody | None:
    """`[invalid user ]NAME from ADDRESS port N`, read from the right: the name may hold anything."""
    user, mark, endpoint = rest.removesuffix(_PREAUTH).rpartition(" from ")
    where = _ENDPOINT.fullmatch(endpoint) if mark else None
    if where is None:
        return None
    return Login(
        user=user.removeprefix("invalid user ")[:255],
        outcome=outcome,
        method=method,
        address=where[1],
        port=number(where[2] or ""),
        fingerprint=where[3] or "",
        pid=found.pid,
    )


def _whose(rest: str) -> tuple[str, str]:
    """User and address of `[invalid |authenticating ][user NAME ]ADDRESS[ port N]`."""
    if whose := _USER_ADDRESS.fullmatch(rest):
        return whose[1] or "", whose[2]
    return "", rest.partition(" ")[0][:255]


# --- sudo and su ----------------------------------------------------------------------------------------------------------------

_SU_TO = re.compile(r"(FAILED SU )?\(to (\S{1,64})\) (\S{1,64}) on (\S{1,64})")
_SU_FOR = re.compile(r"(Successful|FAILED) su for (\S{1,64}) by (\S{1,64})")
_SU_TTY = re.compile(r"([+-]) (\S{1,64}) (\S{1,64}):(\S{1,64})")
_SUDO_NAMES = {"TTY": "tty", "PWD": "working_directory", "USER": "run_as"}


def _sudo(found: SyslogLine) -> AnyBody | None:
    text = found.text
    if text.startswith("(command continued) "):
        return _line(found, "sudo_continued")
    if "(command continued) " in text[:300]:
        return _line(found, "sudo_continued", text.partition(" : ")[0].strip())
    user, mark, rest = text.partition(" : ")
    if not mark or " " in user.strip():
        return _line(found, "sudo_note") if text.startswith(("unable to ", "pam", "problem with ", "timestamp ")) else None
    # The first COMMAND= wins: a folder may be named to look like the rest of a line, and so nothing after it is lost.
    if rest.startswith("COMMAND="):
        head, command = "", rest.removeprefix("COMMAND=")
    else:
        head, _, command = rest.partition(" ; COMMAND=")
    values: dict[str, str] = {}
    detail = []
    for part in head.split(" ; "):
        name, equals, value = part.partition("=")
        if equals and name in _SUDO_NAMES:
            values.setdefault(_SUDO_NAMES[name], value)
        elif part and not equals:
            detail.append(part)
    if not command and not values:
        return None
    return PrivilegeUsed(
        user=user.strip(),
        run_as=values.get("run_as", ""),
        command=command[:TEXT_CHARACTERS_MAX],
        tty=values.get("tty", ""),
        working_directory=values.get("working_directory", ""),
        means="sudo",
        # What stands before TTY= is why sudo refused: `3 incorrect password attempts`, `user NOT in sudoers`, `command not allowed`.
        refused=bool(detail),
        detail="; ".join(detail)[:TEXT_CHARACTERS_MAX],
    )


def _su(found: SyslogLine) -> AnyBody | None:
    text = found.text
    if to := _SU_TO.fullmatch(text):
        return PrivilegeUsed(user=to[3], run_as=to[2], tty=to[4], means="su", refused=bool(to[1]))
    if by := _SU_FOR.fullmatch(text):
        return PrivilegeUsed(user=by[3], run_as=by[2], means="su", refused=by[1] == "FAILED")
    if tty := _SU_TTY.fullmatch(text):
        return _line(found, "su_terminal", tty[3])
    return None


# --- logind, cron, systemd, user tools ------------------------------------------------------------------------------------------

_NEW_SESSION = re.compile(r"New session '?([A-Za-z0-9]{1,20})'? of user '?([^' ]{1,255}?)'?\.?(?: with .{0,200})?")
_REMOVED_SESSION = re.compile(r"Removed session '?([A-Za-z0-9]{1,20}?)'?\.?")
_CRON = re.compile(r"\((\S{1,64})\) ([A-Za-z ]{1,40}) \(")
_TOOL = re.compile(r"(new|delete|remove|removed|add|change|changed) (user|group|shadow group|member|account)s?\b")
_NAMED = re.compile(r"(?:name=|')([^,' ]{1,255})")

_LOGIND_LINES = (
    "New seat ", "Watching system buttons on ", "Power key pressed", "System is ", "Session ", "User ", "Lid ", "Failed to ", "Suspending",
    "Hibernating", "Delay lock ", "Creating ", "Existing logind session ",
)  # fmt: skip
_SYSTEMD_LINES = (
    "Started ", "Starting ", "Stopped ", "Stopping ", "Reached target ", "Created slice ", "Removed slice ", "Listening on ", "Closed ",
    "Finished ", "Mounted ", "Unmounted ", "Reloading", "Reloaded ", "Startup finished ", "Received SIGRTMIN", "Queued start job ",
    "Deactivated ", "Activated ", "Activating ",
)  # fmt: skip


def _logind(found: SyslogLine) -> AnyBody | None:
    if new := _NEW_SESSION.fullmatch(found.text):
        return SessionChanged(user=new[2], change="opened", service="logind", session=new[1], pid=found.pid)
    if removed := _REMOVED_SESSION.fullmatch(found.text):
        return SessionChanged(user="", change="closed", service="logind", session=removed[1], pid=found.pid)
    return _line(found, "logind") if found.text.startswith(_LOGIND_LINES) else None


def _cron(found: SyslogLine) -> AnyBody | None:
    if job := _CRON.match(found.text):
        return _line(found, "cron_command" if job[2] == "CMD" else "cron", job[1])
    return None


def _systemd(found: SyslogLine) -> AnyBody | None:
    return _line(found, "systemd") if found.text.startswith(_SYSTEMD_LINES) or ": Succeeded." in found.text[-80:] else None


def _tool(found: SyslogLine) -> AnyBody | None:
    """useradd and its like: `new user: name=u017, UID=..`, `add 'u017' to group 'sudo'`, `group added to /etc/group: name=..`."""
    text = found.text
    named = _NAMED.search(text)
    if named is None:
        return _line(found, "account_note") if text.startswith(("password ", "failed ")) else None
    kind = _TOOL.match(text)
    if kind is None:
        return _line(found, "account_changed", named[1])
    return _line(found, f"{kind[1]}_{kind[2].replace(' ', '_')}", named[1])


def _logged_out(found: SyslogLine) -> AnyBody | None:
    """The bare `pam` program of an old desktop."""
    user = found.text.removeprefix("user ").removesuffix(" logged out.")
    if f"user {user} logged out." == found.text:
        return _line(found, "logged_out", user)
    return _line(found, "pam") if found.text.startswith("gkr-pam") else None


def _only_pam(found: SyslogLine) -> AnyBody | None:  # noqa: ARG001
    """Of what else these write nothing is read."""
    return None


_READERS: dict[str, Callable[[SyslogLine], AnyBody | None]] = {
    **dict.fromkeys(("sshd", "sshd-session", "sshd-auth"), _sshd),
    "sudo": _sudo,
    "su": _su,
    "systemd-logind": _logind,
    **dict.fromkeys(("CRON", "cron", "crond"), _cron),
    "systemd": _systemd,
    **dict.fromkeys(
        ("useradd", "userdel", "usermod", "groupadd", "groupdel", "groupmod", "passwd", "chpasswd", "chage"),
        _tool,
    ),
    "pam": _logged_out,
    **dict.fromkeys(("login", "runuser"), _only_pam),
}

FORMAT = Sshd()
