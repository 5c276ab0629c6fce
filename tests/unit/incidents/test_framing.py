"""Attempts to have a colleague named for what somebody else did: from the log lines that are left behind to the incident.

Jobs 7 and 8 of u012 are killed and cancelled.  u099 did it in the first story and is named; in all others u098, or nobody knows who, did it
so that records point at u099.  Nobody who did not do it may be named, whatever else is found.

What cannot be told from its owner, and is said in every report: a key or an agent that is used from where he works, what somebody left in
the account to run later, and root of a host who also gives orders to the scheduler.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pytest

from pipeline.runtime.local import LocalRuntime
from pipeline.settings import IdentitySettings, IngestSettings, Role
from tests import build
from tests.build import COLLEAGUE, OTHER, UNSET, WRITER
from tests.scenario.lines import Line, Site, iso, ship

SITE = Site()
HOUR = 3600
KILLED, CANCELLED = "7", "8"
SOURCES = ("slurmctld", "auditd", "kernel", "sshd")
HUM = [line for at in range(-4_200, HOUR + 8_000, 300) for line in SITE.hum(at, SOURCES, (build.HOST, "login-001"))]
KEYS = {who: IdentitySettings(id=who, uid=uid, login=who, team="blue",
                              names={"key": (f"SHA256:own-of-{who}",), "bastion": (f"{who}@example.org",)})
        for who, uid in (("u099", COLLEAGUE), ("u098", OTHER))}  # fmt: skip
NO_KEYS = [each.model_copy(update={"names": {}}) for each in KEYS.values()]  # a map that knows none
THEIRS = [*SITE.login(-300, "u099", "own-of-u099", "10.20.1.9"), *SITE.login(-200, "u098", "own-of-u098", "10.20.1.8")]
ONLY_U098 = SITE.login(-200, "u098", "own-of-u098", "10.20.1.8")


def killed(by: int = COLLEAGUE, *, uid: int | None = None, login: bool = True, host: str = build.HOST, at: float = 0) -> list[Line]:
    """Job 7, by a signal that the kernel's audit tells."""
    end = SITE.end(at + 100, KILLED, "FAILED", at, signal=9)
    signal = SITE.kill(at + 97, by, uid=uid, login=login, host=host)
    return [*SITE.start(at, KILLED), *SITE.rank(at + 1, KILLED), *signal, *SITE.rank_failed(at + 98, KILLED), *end]


def cancelled(uid: int = COLLEAGUE, *beside: Line) -> list[Line]:
    """Job 8, by an order that the controller tells; `beside`: what other logs say of it."""
    end = [*SITE.step_cancelled(HOUR + 99, CANCELLED), *SITE.end(HOUR + 100, CANCELLED, "CANCELLED", HOUR)]
    return [*SITE.start(HOUR, CANCELLED), *SITE.cancel(HOUR + 98, CANCELLED, uid, command=False), *beside, *end]


def scancel(auid: int, uid: int = COLLEAGUE) -> list[Line]:
    """As the kernel's audit of the login host tells it."""
    lines = SITE._scancel(HOUR + 97, CANCELLED, uid)
    return [line._replace(text=line.text.replace(f"auid={uid}", f"auid={auid}")) for line in lines]


def run_as(command: str, at: float = HOUR + 96) -> Line:
    """u098 runs it as u099 by sudo."""
    text = f"    u098 : TTY=pts/0 ; PWD=/home/u098 ; USER=u099 ; COMMAND={command}"
    return SITE._system(at, "login-001", "sudo", text)


def at_teleport(user: str, login: str = "u099", at: float = 20, event: str = "session.start") -> Line:
    """It lets somebody in as another."""
    said = {"event": event, "code": "T2000I", "ei": 0, "uid": f"t{at}", "time": f"{iso(at)}Z", "user": user, "login": login,
            "sid": "s1", "server_hostname": "login-001", "addr.remote": "10.20.1.8:50022"}  # fmt: skip
    return Line(at, "access", "bastion-1", "teleport", "/var/lib/teleport/log/events.log", orjson.dumps(said).decode())


def at_jumpserver(user: str, account: str = "u099", at: float = 20) -> Line:
    """Likewise."""
    said = {"id": "s1", "user": user, "asset": "login-001(10.0.0.7)", "account": account, "login_from": "ST", "remote_addr": "10.20.1.8",
            "protocol": "ssh", "date_start": f"{iso(at).replace('T', ' ')} +0000", "is_finished": False}  # fmt: skip
    text = f"<14>jumpserver: host_session_log - {orjson.dumps(said).decode()}"
    return Line(at, "access", "bastion-1", "jumpserver", "/var/log/jumpserver.log", text)


def by_ticket(whose: str, at: float = 20, address: str = "10.20.1.9") -> Line:
    """A login to u099's account by a ticket of Kerberos."""
    text = f"Accepted gssapi-with-mic for u099 from {address} port 50022 ssh2: {whose}@EXAMPLE.ORG"
    return SITE._system(at, "login-001", "sshd", text)


def told(
    lines: Iterable[Line], identities: Sequence[IdentitySettings] = tuple(KEYS.values()), hum: Sequence[Line] = HUM, **settings: Any
) -> list[dict[str, Any]]:
    """Incidents."""
    own = {each.id for each in identities}
    people = (*(each for each in build.IDENTITIES if each.id not in own), *identities)
    runtime = LocalRuntime(build.settings(identities=people, **settings))
    records = list(ship([*hum, *lines]))
    for at in range(0, len(records), 50):
        runtime.feed(records[at : at + 50])
        runtime.checkpoint()
    said = [orjson.loads(body) for body in runtime.finish().canonical_incidents().values()]
    assert said, "no incident: the story shows nothing"
    return said


def named(lines: Iterable[Line], identities: Sequence[IdentitySettings] = tuple(KEYS.values()), **settings: Any) -> set[str]:
    """Whom incidents name."""
    return {body["attribution"]["named"] for body in told(lines, identities, **settings)} - {""}


def test_who_did_it_is_named() -> None:
    """What all attempts below imitate: two sources, logins heard, and his own among them."""
    assert named([*THEIRS, *killed(), *cancelled()]) == {"u099"}


RUNUSER = SITE._system(40, "login-001", "runuser", "pam_unix(runuser-l:session): session opened for user u099(uid=5099) by u098(uid=0)")
SECONDS = build.ms(-HOUR) / 1000
LEFT = IdentitySettings(id="u099", uid=COLLEAGUE, login="u099", valid_to=SECONDS)
ATTEMPTS: dict[str, list[Line]] = {
    "one log alone, the kernel's": [*THEIRS, *killed()],
    "one log alone, the controller's": [*THEIRS, *cancelled()],
    "su": [*THEIRS, *SITE.become(50, "u098", "u099"), *killed(OTHER, uid=COLLEAGUE), *cancelled(COLLEAGUE, *scancel(OTHER))],
    "sudo -u": [*THEIRS, run_as("/usr/bin/bash", 50), *killed(OTHER, uid=COLLEAGUE), *cancelled(COLLEAGUE, run_as("/usr/bin/scancel 8"))],
    "root becomes the user": [*ONLY_U098, *SITE.become(50, "root", "u099"), *killed(), *cancelled(COLLEAGUE, *scancel(UNSET))],
    "a session in the account that a bastion gives to another": [*THEIRS, at_teleport("u098@example.org"), *killed(), *cancelled()],
    "or to one whom the map does not know": [*THEIRS, at_teleport("somebody@example.org"), *killed(), *cancelled()],
    "or another bastion": [*THEIRS, at_jumpserver("u098"), *killed(), *cancelled()],
    "runuser": [*THEIRS, RUNUSER, *killed(), *cancelled()],
    "a timer that somebody left in the account, before its owner comes": [
        *SITE.login(8 * HOUR, "u099", "own-of-u099", "10.20.1.9"), *killed(), *cancelled(),
    ],
    "a timer that somebody left in the account": [*ONLY_U098, *killed(), *cancelled(COLLEAGUE, *scancel(COLLEAGUE))],
    "a daemon's process under the uid": [*ONLY_U098, *killed(login=False), *cancelled(COLLEAGUE, *scancel(UNSET))],
    "a key of the other's in the account": [*SITE.login(-100, "u099", "own-of-u098"), *killed(), *cancelled()],
    "a key that nobody knows in the account": [*SITE.login(-100, "u099", "nobodys"), *killed(), *cancelled()],
    "a key that was copied, used from abroad while its owner works": [
        *SITE.login(-4_000, "u099", "own-of-u099", "10.20.1.9"), *SITE.login(20, "u099", "own-of-u099", "10.20.1.9"),
        *SITE.login(40, "u099", "own-of-u099", "198.51.100.23"), *killed(), *cancelled(),
    ],
    "audit records and system log of one host, by its root": [
        *THEIRS, *killed(), *SITE.sudo(60, "/usr/bin/nvidia-smi -pl 100", "u099", audited=COLLEAGUE),
    ],
    "audit records of one host, and a line of the system log that he became the owner's user": [
        *THEIRS, *killed(), *SITE.become(HOUR - 600, "u099", "u012"), *cancelled(5012),
    ],
    "audit records of two hosts, handed in by one": [
        *THEIRS, *killed(), *[line._replace(host=build.HOST) for line in SITE.kill(HOUR, host="gpu-002")],
    ],
    "bytes in a file that belongs to him": [
        *THEIRS, *SITE.start(0, "60", submit=-60), *SITE.save(10, job="60"), *SITE.write(50, OTHER, of=COLLEAGUE), *SITE.end(90, "60"),
        *SITE.start(200, "61", submit=140), *SITE.load(210, job="61"), *SITE.end(400, "61", "FAILED", 200, submit=140),
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", ATTEMPTS.values(), ids=ATTEMPTS)
def test_he_is_not_named_for_what_another_did(lines: list[Line]) -> None:
    """Whoever else may be: the records point at u099, and something in them, or missing, says that it need not have been him."""
    assert "u099" not in named(lines)


HABIT = SITE.login(-12 * 86_400, "u099", "own-of-u099", "10.20.1.9", days=12)
LATER = "a timer that somebody left in the account"  # between logins of the owner's it looks like him


@pytest.mark.parametrize(
    "lines",
    [lines for name, lines in ATTEMPTS.items() if not name.startswith(LATER)],
    ids=[name for name in ATTEMPTS if not name.startswith(LATER)],
)
def test_nor_though_he_had_logged_in_each_day_before(lines: list[Line]) -> None:
    """As most people do: that he was there some days before says nothing of who used his account."""
    assert "u099" not in named([*HABIT, *lines])


def by_password(lines: Iterable[Line]) -> list[Line]:
    """The same logins without a key."""
    return [line._replace(text=line.text.partition(" ssh2")[0].replace("publickey", "password") + " ssh2") for line in lines]


COPIED = SITE.login(20, "u099", "own-of-u099", "198.51.100.23")
U098_AT_HOME = SITE.login(-12 * 86_400, "u098", "own-of-u098", "198.51.100.23", days=13)
SESSIONS: dict[str, list[Line]] = {
    "by a copied key, from an address new to the account": COPIED,
    "by a copied key, from where a colleague works": [*U098_AT_HOME, *COPIED],
    "by a copied key, while the owner is at his desk": [*SITE.login(-2 * HOUR, "u099", "own-of-u099", "10.20.1.9"), *COPIED],
    "by password, where he uses keys": by_password(SITE.login(20, "u099", address="10.20.1.9")),
    "by a key that nobody knows": SITE.login(20, "u099", "nobodys", "10.20.1.9"),
    "in which root becomes him": [*SITE.login(0, "u099", "own-of-u099", "10.20.1.9"), *SITE.become(50, "root", "u099")],
    "in which root becomes him, as once before": [*SITE.become(-20 * 86_400, "root", "u099"), *SITE.become(50, "root", "u099")],
    "by a key that nobody knows, two days before": SITE.login(-2 * 86_400 + 20, "u099", "nobodys", "10.20.1.9"),
}


@pytest.mark.parametrize("lines", SESSIONS.values(), ids=SESSIONS)
def test_a_session_unlike_his_names_nobody(lines: list[Line]) -> None:
    """The acts may have been done in it, in an account that its owner enters each day from his desk by his key."""
    assert named([*HABIT, *lines, *killed(), *cancelled()]) == set()


FROM_MANY = [line for at in range(17) for line in SITE.login(20 + at, "u099", "own-of-u099", f"198.51.100.{at + 1}")]
FROM_HIS_DESK = SITE.login(20, "u099", "own-of-u099", "10.20.1.8")
U098_AT_HIS_DESK = SITE.login(-12 * 86_400, "u098", "own-of-u098", "10.20.1.8", days=13)
SELDOM: dict[str, list[Line]] = {
    "by password, and no other login is known": by_password(SITE.login(20, "u099", address="10.20.1.9")),
    "by password, and somebody had tried that once before": [
        *HABIT, *by_password([*SITE.login(-9 * 86_400, "u099", address="10.20.1.9"), *SITE.login(20, "u099", address="10.20.1.9")]),
    ],
    "from more addresses than are told": [*HABIT, *FROM_MANY],
    "from a colleague's desk, and little is known of both": [*THEIRS, *FROM_HIS_DESK],
    "from a colleague's desk, where he had been once": [
        *HABIT, *SITE.login(-9 * 86_400, "u099", "own-of-u099", "10.20.1.8"), *U098_AT_HIS_DESK, *FROM_HIS_DESK,
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", SELDOM.values(), ids=SELDOM)
def test_nor_does_one_in_an_account_of_which_little_is_known(lines: list[Line]) -> None:
    """Or of which somebody saw to it that much is."""
    assert named([*lines, *killed(), *cancelled()]) == set()


NOBODYS_KEYS: dict[str, list[Line]] = {
    "by another's ticket, from where he works": [
        *[by_ticket("u099", -day * 86_400) for day in range(1, 13)], by_ticket("u098"), *ONLY_U098,
    ],
    "by a colleague's key, which had opened it twice": [
        *HABIT, *SITE.login(-12 * 86_400, "u098", "own-of-u098", "10.20.1.8", days=13),
        *[line for day in (-11, -10, 0) for line in SITE.login(day * 86_400 + 20, "u099", "own-of-u098", "10.20.1.9")],
    ],
}  # fmt: skip


@pytest.mark.parametrize("lines", NOBODYS_KEYS.values(), ids=NOBODYS_KEYS)
def test_nor_where_the_map_knows_no_keys(lines: list[Line]) -> None:
    """Whose a key or a ticket is, its other uses tell."""
    assert named([*lines, *killed(), *cancelled()], NO_KEYS) == set()


def by_certificate(day: int) -> Line:
    """As older releases of sshd write it: no key, and another number each day."""
    text = f"Accepted publickey for u099 from 10.20.1.9 port 50022 ssh2: RSA-CERT ID u099 (serial {day + 70}) CA RSA SHA256:ca"
    return SITE._system(day * 86_400 - 60, "login-001", "sshd", text)


HIS: dict[str, list[Line]] = {
    "ticket": [by_ticket("u099", -day * 86_400) for day in range(13)],
    "certificate": [by_certificate(-day) for day in range(13)],
    "session at the bastion": [*HABIT, *THEIRS, at_teleport("u099@example.org")],
    "session, which a colleague watches": [*HABIT, *THEIRS, at_teleport("u098@example.org", event="session.join")],
}


@pytest.mark.parametrize("lines", HIS.values(), ids=HIS)
def test_his_own_names_him(lines: list[Line]) -> None:
    """As every day."""
    people = [each.model_copy(update={"names": {"bastion": (f"{each.id}@example.org",)}}) for each in KEYS.values()]
    assert named([*lines, *ONLY_U098, *killed(), *cancelled()], people) == {"u099"}


def test_a_name_at_the_bastion_that_is_anothers_login() -> None:
    """There u098 is called as u099 is on the hosts: whose it is the map says."""
    people = [KEYS["u099"], KEYS["u098"].model_copy(update={"names": {"bastion": ("u099",)}})]
    assert named([*HABIT, *THEIRS, at_teleport("u099"), *killed(), *cancelled()], people) == set()


ELSEWHERE = [line for at in range(-4_200, HOUR + 8_000, 300) for line in SITE.hum(at, SOURCES, ("gpu-002",))]
EDITED = [
    *SITE.start(-60, "6"), *SITE.start(0), *SITE.imported(10, "a", job="6"), *SITE.write(40, COLLEAGUE, path="/env/torch/nn.py"),
    *SITE.imported(90, "b"), *SITE.end(80, "6", start=-60), *SITE.end(100),
]  # fmt: skip
CAPPED = "/usr/bin/nvidia-smi -pl 200"
ENVIRONMENT = ({"path": "/env", "owner": "u070", "kind": "environment"},)


def slowed(*lines: Line) -> list[Line]:
    """A job on a node that becomes slow, and what is told of why."""
    return [
        *SITE.start(0, "2", nodes="gpu-002"), *SITE.steps(100, "2", host="gpu-002"), *lines,
        *SITE.steps(HOUR + 100, "2", took=3_000, first=50, host="gpu-002"), *SITE.end(9_000, "2", nodes="gpu-002"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("beside", "expected"),
    [
        ((), set[str]()),
        (SITE.sudo_in_audit(HOUR, CAPPED, host="gpu-002"), {"u099"}),
        (SITE.sudo_in_audit(HOUR, CAPPED, by=OTHER, host="gpu-002"), set[str]()),
        (SITE.sudo_in_audit(HOUR, "/usr/bin/nvidia-smi -q", host="gpu-002"), set[str]()),
        (SITE.sudo_in_audit(HOUR, CAPPED, host="gpu-002", done=False), set[str]()),
        (SITE.sudo_in_audit(HOUR - 300, CAPPED, host="gpu-002"), set[str]()),
        (SITE.sudo_in_audit(HOUR, CAPPED, host="gpu-002", login=False), set[str]()),
    ],
    ids=[
        "nothing",
        "that he ran it",
        "that another did",
        "that he ran another",
        "that it was refused",
        "that he ran it before",
        "no login",
    ],
)
def test_a_line_of_sudo_that_anybody_writes_names_nobody(beside: Sequence[Line], expected: set[str]) -> None:
    """u099 edited a file without leave, which one source tells.  A second would be sudo's line on a node that became slow: with `beside`,
    what the kernel's audit of that node tells."""
    line = SITE.sudo(HOUR, CAPPED, "u099", host="gpu-002")
    assert named([*HABIT, *THEIRS, *ELSEWHERE, *EDITED, *slowed(*line, *beside)], artefact_roots=ENVIRONMENT) == expected


def by_logger(tag: str, lines: Iterable[Line], stream: str = "access") -> list[Line]:
    """The same texts by `logger -t`, in the file of the system log."""
    return [
        SITE._system(line.at, line.host, tag, line.text)._replace(stream=stream, source="syslog", file="/var/log/messages")
        for line in lines
    ]


def by_rsyslog(tag: str, lines: Iterable[Line], **known: str) -> list[Line]:
    """Likewise as an object of rsyslog's; without annotation it does not know who wrote to its socket."""
    said = {"facility": "user", **known}
    return [
        Line(line.at, "access", line.host, "", "", orjson.dumps(
            {"@timestamp": f"{iso(line.at)}Z", "host": line.host, "program": tag, **said, "message": line.text}
        ).decode())
        for line in lines
    ]  # fmt: skip


def behind_a_line_end(lines: Iterable[Line], file: str = "/var/log/messages") -> list[Line]:
    """The same texts in a message after a line end, as syslog-ng writes that to its file: a line without a prefix."""
    return [line._replace(stream="access", source="syslog", file=file) for line in lines]


def by_filebeat(lines: Iterable[Line], file: str = "/var/log/auth.log") -> list[Line]:
    """Likewise as an object of a shipper's."""
    return [
        Line(line.at, "access", line.host, "", "", orjson.dumps(
            {"@timestamp": f"{iso(line.at)}Z", "log": {"offset": int(line.at * 1000) % 100_000, "file": {"path": file}},
             "message": line.text, "host": {"name": line.host}}
        ).decode())
        for line in lines
    ]  # fmt: skip


AUDITED = SITE.sudo_in_audit(HOUR, CAPPED, host="gpu-002")
RAN = [Line(HOUR, "access", "gpu-002", "", "", f"    u099 : TTY=pts/0 ; PWD=/home/u099 ; USER=root ; COMMAND={CAPPED}")]
COMMAND = {"id": "c1", "user": "u099@example.org", "asset": "gpu-002(10.0.0.7)", "account": "root", "input": CAPPED, "session": "s1",
           "remote_addr": "10.20.1.9", "timestamp": build.ms(HOUR) // 1000}  # fmt: skip
BY_BASTION = [Line(HOUR, "access", "gpu-002", "", "", f"session_command_log - {orjson.dumps(COMMAND).decode()}")]
DELETED = SITE.pbs(HOUR + 98, "D", CANCELLED, "requestor=u099@login-001")
OF_PBS = [*SITE.pbs_ran(HOUR, CANCELLED), *SITE.pbs_ran(HOUR, CANCELLED, HOUR + 100, 271)]
ORDER = [Line(HOUR + 98, "scheduler", "login-001", "", "", f"_slurm_rpc_kill_job: REQUEST_KILL_JOB JobId={CANCELLED} uid {COLLEAGUE}")]
ENDED = [
    *SITE.start(HOUR, CANCELLED), *SITE.step_cancelled(HOUR + 99, CANCELLED), *SITE.end(HOUR + 100, CANCELLED, "CANCELLED", HOUR),
]  # fmt: skip
SUDO = by_logger("sudo", RAN)
JOB_KILLED = [line for line in killed() if line.stream != "access"]
CLAIMED: dict[str, tuple[list[Line], str]] = {  # and the program in whose name
    **{f"a command in the audit, as {tag}": ([*EDITED, *slowed(*SUDO, *by_logger(tag, AUDITED))], tag)
       for tag in ("audit", "auditd", "audispd", "audisp-syslog", "audisp-remote")},
    "a command and a kill in the audit, and he did nothing": (
        [*JOB_KILLED, *by_logger("audispd", SITE.kill(97)), *slowed(*SUDO, *by_logger("audispd", AUDITED))], "audispd",
    ),
    "by rsyslog, which does not know who wrote": (
        [*EDITED, *slowed(*by_rsyslog("sudo", RAN), *by_rsyslog("audispd", AUDITED))], "audispd",
    ),
    "a command in the audit, without a prefix": ([*EDITED, *slowed(*SUDO, *behind_a_line_end(AUDITED))], "-"),
    "that and a kill, by Filebeat": (
        [*JOB_KILLED, *by_filebeat(SITE.kill(97)), *slowed(*SUDO, *by_filebeat(AUDITED))], "-",
    ),
    "a cancel in the controller's name": ([*killed(), *ENDED, *by_logger("slurmctld", ORDER, "scheduler")], "slurmctld"),
    "a delete in the name of PBS": ([*killed(), *OF_PBS, *by_logger("pbs", DELETED, "scheduler")], "pbs"),
    "a command at the bastion": ([*cancelled(), *slowed(*by_logger("jumpserver", BY_BASTION))], "jumpserver"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "program"), CLAIMED.values(), ids=CLAIMED)
def test_what_anybody_writes_in_a_daemons_name_names_nobody(lines: list[Line], program: str) -> None:
    """With `logger -t`, or a line end.  Where the site says that its log daemon lets nobody but root do that, it is that daemon's word."""
    story = [*HABIT, *THEIRS, *ELSEWHERE, *lines]
    assert named(story, artefact_roots=ENVIRONMENT) == set()
    trusting = IngestSettings(trusted_syslog_programs=(program,))
    assert named(story, artefact_roots=ENVIRONMENT, ingest=trusting) == {"u099"}


@pytest.mark.parametrize("source", ["auditd", "slurmctld"])
@pytest.mark.parametrize("lines", ATTEMPTS.values(), ids=ATTEMPTS)
def test_nor_where_what_speaks_for_him_comes_so(lines: list[Line], source: str) -> None:
    """At a site whose audit or controller writes to the system log alone."""
    told = [line for line in lines if line.source == source]
    tag, stream = ("audispd", "access") if source == "auditd" else (source, "scheduler")
    assert "u099" not in named([*(line for line in lines if line.source != source), *by_logger(tag, told, stream)])


def test_what_the_log_daemon_knows_to_be_roots_names_whoever_did_it() -> None:
    """As `imuxsock` says with its annotation, and journald by itself."""
    lines = [*EDITED, *slowed(*by_rsyslog("sudo", RAN, _UID="0"), *by_rsyslog("audispd", AUDITED, _UID="0"))]
    assert named([*HABIT, *THEIRS, *ELSEWHERE, *lines], artefact_roots=ENVIRONMENT) == {"u099"}


GATEWAY = [line for who in ("u012", "u098", "u099") for line in SITE.login(30, who, f"own-of-{who}", "10.20.1.1")]
OWN: dict[str, list[Line]] = {
    "from his desk": HABIT,
    "through a gateway, as others": [*THEIRS, *GATEWAY],
    "from a room that he shares with a colleague": [*HABIT, *SITE.login(-12 * 86_400, "u098", "own-of-u098", "10.20.1.9", days=12)],
}


@pytest.mark.parametrize("lines", OWN.values(), ids=OWN)
def test_his_own_sessions_name_him(lines: list[Line]) -> None:
    """What all these imitate."""
    assert named([*lines, *killed(), *cancelled()]) == {"u099"}


@pytest.mark.parametrize(
    ("identities", "expected"),
    [
        ((LEFT, KEYS["u098"]), set[str]()),
        ((LEFT, IdentitySettings(id="u200", uid=COLLEAGUE, login="u200", valid_from=SECONDS)), {"u200"}),
        (
            (LEFT.model_copy(update={"login": "u099"}), IdentitySettings(id="u300", uid=COLLEAGUE, login="u099", valid_from=SECONDS)),
            {"u300"},
        ),
    ],
    ids=["nobody has the uid now", "the uid was given to another", "so was the login"],
)
def test_who_had_left_is_not_named_for_who_came(identities: tuple[IdentitySettings, ...], expected: set[str]) -> None:
    """By the map as it was valid at the time of the acts; acts before belong to who was there before."""
    lines = [*SITE.login(-100, "u200", "new"), *SITE.login(-100, "u099", "another", "10.20.1.9"), *killed(), *cancelled()]
    assert named(lines, identities) == expected


@pytest.mark.parametrize(("cluster", "expected"), [("main", {"u099"}), ("west", {"w77"}), ("north", set[str]())])
def test_a_uid_is_whose_it_is_in_the_cluster(cluster: str, expected: set[str]) -> None:
    """Two clusters number their people apart: what w77 does in the one is not u099's, who has that uid in the other."""
    people = (
        KEYS["u099"].model_copy(update={"clusters": ("main",)}),
        IdentitySettings(id="w77", uid=COLLEAGUE, login="w77", names={"key": ("SHA256:own-of-w77",)}, clusters=("west",)),
        KEYS["u098"],
    )
    lines = [*THEIRS, *SITE.login(-300, "w77", "own-of-w77", "10.20.1.7"), *killed(), *cancelled()]
    sources = [{"name": topic, "topic": f"logs.{topic}", "cluster": cluster} for topic in ("access", "scheduler", "training")]
    found = told(lines, people, sources=sources)
    assert {body["cluster"] for body in found} == {cluster}
    assert {body["attribution"]["named"] for body in found} - {""} == expected


def test_an_account_that_several_people_use_is_judged_and_not_named() -> None:
    """A service's acts are explained by what it is; these are not, and whose they were no record tells."""
    shared = KEYS["u099"].model_copy(update={"role": Role.SHARED})
    assert named([*THEIRS, *killed(), *cancelled()], (shared, KEYS["u098"])) == set()


def test_who_is_impersonated_at_the_api_is_not_named() -> None:
    """Two jobs are deleted by u098, who calls himself u099 there: the API server says both, and the first acted."""
    people = [KEYS[who].model_copy(update={"names": {"kubernetes": (f"{who}@example.org",)}}) for who in KEYS]
    owner = IdentitySettings(id="u012", uid=5012, login="u012", team="red", names={"kubernetes": ("u012@example.org",)})
    lines = [*THEIRS]
    for at, name in ((0, "one"), (HOUR, "two")):
        lines += SITE.api(at, "u012@example.org", "create", name, code=201)
        (deleted,) = SITE.api(at + 500, "u098@example.org", "delete", name)
        lines.append(
            deleted._replace(
                text=orjson.dumps({**orjson.loads(deleted.text), "impersonatedUser": {"username": "u099@example.org"}}).decode()
            )
        )
    assert "u099" not in named(lines, (*people, owner))


ROOTS = ({"path": "/env", "owner": "u070", "kind": "environment"},)
NN = "/env/torch/nn.py"
DAY = 86_400


def ran(at: float, job: str, sha: str, state: str = "COMPLETED") -> list[Line]:
    """A job of u012's that imported these bytes."""
    return [*SITE.start(at, job), *SITE.imported(at + 10, sha, job=job), *SITE.end(at + 600, job, state, start=at)]


FINE = ran(-8 * DAY, "5", "a")
FAILED = [line for day in range(1, 6) for line in ran(-day * DAY, str(60 + day), "d", "FAILED")]
DEBUGGED = [  # u099 edits it to find out why, job 7 loads his edit and hangs, and he cancels that
    *SITE.write(40, COLLEAGUE, path=NN), *SITE.start(80, "7"), *SITE.imported(90, "b", job="7"),
    *SITE.cancel(300, "7", COLLEAGUE), *SITE.step_cancelled(301, "7"), *SITE.end(302, "7", "CANCELLED", 80),
]  # fmt: skip
DEBUGGED_TWICE = [  # and a run of his own between
    *SITE.write(-100, COLLEAGUE, path=NN), *SITE.start(-80, "70", owner=COLLEAGUE), *SITE.imported(-70, "c", job="70"),
    *SITE.end(-50, "70", start=-80, owner=COLLEAGUE), *DEBUGGED,
]  # fmt: skip
WEEK = [*HUM, *(line for at in range(-9 * DAY, -4_200, 1_200) for line in SITE.hum(at, SOURCES, (build.HOST, "login-001")))]
SILENT_WEEK = [line for line in WEEK if not (line.source == "auditd" and -7 * DAY <= line.at < -300)]
BASE = [*HABIT, *THEIRS, *FINE]


@pytest.mark.parametrize("debugged", [DEBUGGED, DEBUGGED_TWICE], ids=["at once", "with a run of his own"])
@pytest.mark.parametrize("hum", [SILENT_WEEK, WEEK], ids=["auditd was silent", "auditd was heard"])
def test_who_debugs_what_an_unrecorded_hand_altered_is_not_named(hum: list[Line], debugged: list[Line]) -> None:
    """Both his acts are true; five runs had failed before the first of them by bytes that nobody is on record as having written."""
    (said,) = told([*BASE, *FAILED, *debugged], hum=hum, artefact_roots=ROOTS)
    assert said["attribution"]["named"] == ""
    assert "had been altered before by somebody of whom no record tells" in said["attribution"]["withheld"]
    (limit,) = [line for line in said["limits"] if NN in line]
    assert "no record says by whom" in limit
    assert ("auditd was not heard on 3 days between" in limit) is (hum is SILENT_WEEK)


SHARD, DATA = "/data/web/shard-3.npz", ({"path": "/data", "owner": "u070", "kind": "dataset"},)


def read(at: float, job: str, sha: str) -> list[Line]:
    """A job of u012's that read the shard with these bytes."""
    return [*SITE.start(at, job), *SITE.load(at + 10, sha, job=job, path=SHARD), *SITE.end(at + 600, job, "FAILED", start=at)]


REPAIRED = [*read(-2 * DAY, "6", "a"), *SITE.write(-600, COLLEAGUE, path=SHARD, of=WRITER), *read(0, "7", "b")]
UNSEEN_SHARD = [*read(-2 * DAY, "6", "a"), *read(-DAY, "61", "d"), *SITE.write(-600, COLLEAGUE, path=SHARD, of=WRITER), *read(0, "7", "b")]


def test_what_a_job_read_is_no_second_word_on_who_wrote() -> None:
    """One source, the kernel's audit, says who."""
    (said,) = told([*HABIT, *THEIRS, *REPAIRED], artefact_roots=DATA)
    assert said["attribution"]["named"] == ""
    assert "only one independent source: kernel audit" in said["attribution"]["withheld"]


@pytest.mark.parametrize(("lines", "expected"), [(REPAIRED, {"u099"}), (UNSEEN_SHARD, set[str]())], ids=["seen", "unseen"])
def test_nor_who_repairs_what_it_altered_of_a_dataset(lines: list[Line], expected: set[str]) -> None:
    """He cancelled the run, too, so that two sources tell of him; whoever altered the shard before nobody knows."""
    cancels = [*SITE.cancel(300, "7", COLLEAGUE), *SITE.step_cancelled(301, "7")]
    ended = [line for line in lines if line not in SITE.end(600, "7", "FAILED", start=0)]
    story = [*HABIT, *THEIRS, *ended, *cancels, *SITE.end(302, "7", "CANCELLED", 0)]
    assert named(story, artefact_roots=DATA) == expected


def hashed(at: float, sha: str) -> Line:
    """What a watcher that hashes files tells of u099's write of the module."""
    audit = {"login_user": {"id": str(COLLEAGUE), "name": "u099"}, "user": {"id": str(COLLEAGUE), "name": "u099"}}
    syscheck = {"path": NN, "mode": "whodata", "event": "modified", "changed_attributes": ["sha256"], "sha256_before": "a" * 64,
                "sha256_after": sha * 64, "audit": {**audit, "process": {"id": "901", "name": "/usr/bin/cp"}}}  # fmt: skip
    said = {"timestamp": f"{iso(at)}.000+0000", "rule": {"id": "550", "level": 7}, "agent": {"id": "006", "name": "login-001"},
            "manager": {"name": "wz"}, "id": f"1772480441.{at}", "decoder": {"name": "syscheck_integrity_changed"},
            "location": "syscheck", "syscheck": syscheck}  # fmt: skip
    return Line(at, "access", "login-001", "wazuh", "/var/ossec/logs/alerts/alerts.json", orjson.dumps(said).decode())


@pytest.mark.parametrize(("sha", "expected"), [("b", {"u099"}), ("c", set[str]())], ids=["these bytes", "others"])
def test_nor_whose_bytes_are_not_those_that_were_loaded(sha: str, expected: set[str]) -> None:
    """A watcher hashed what his write left: other bytes were loaded, so another hand came behind it."""
    assert named([*HABIT, *THEIRS, *EDITED, hashed(41, sha), *cancelled()], artefact_roots=ROOTS) == expected


def test_who_removed_a_checkpoint_is_told_by_the_record_that_tells_it() -> None:
    """And by it alone: no second source."""
    folder = "/ckpt/a/iter_0000"
    story = [
        *SITE.start(0, "60", submit=-60), *SITE.save(100, "a", job="60", path=f"{folder}100.pt"),
        *SITE.save(200, "c", job="60", path=f"{folder}200.pt"), *SITE.end(900, "60"), *SITE.remove(1000, path=f"{folder}200.pt"),
        *SITE.start(2000, "61", submit=1940), *SITE.load(2010, "a", job="61", path=f"{folder}100.pt"),
        *SITE.steps(2020, "61", first=101, count=3), *SITE.end(2900, "61", start=2000, submit=1940),
    ]  # fmt: skip
    root = ({"path": "/ckpt", "owner": "u012"},)
    (said,) = told([*HABIT, *THEIRS, *story], artefact_roots=root)
    assert "only one independent source: kernel audit" in said["attribution"]["withheld"]
    (act,) = [row for row in said["attribution"]["hypotheses"][0]["weighed"] if row["kind"] == "act"]
    assert act["cites"]
    assert named([*HABIT, *THEIRS, *story, *cancelled()], artefact_roots=root) == {"u099"}


RELEASED = SITE.write(-6 * DAY, WRITER, path=NN)
RECORDED: dict[str, list[Line]] = {
    "nothing had changed": [*FINE, *ran(-DAY, "61", "a"), *DEBUGGED],
    "a release by the maintainer": [*FINE, *RELEASED, *ran(-5 * DAY, "61", "d"), *DEBUGGED],
    "and what he repaired himself": [*FINE, *FAILED, *SITE.write(-HOUR, WRITER, path=NN), *DEBUGGED],
    "first seen as it was": [*ran(-DAY, "61", "d"), *DEBUGGED],
    "another copy on another node": [*FINE, *ran(-3 * DAY, "61", "d"), *ran(-2 * DAY, "62", "a"), *ran(-DAY, "63", "d"), *DEBUGGED],
    "his own bytes, loaded between two writes": [*FINE, *SITE.write(-300, COLLEAGUE, path=NN), *ran(-200, "61", "d"), *DEBUGGED],
}  # fmt: skip


@pytest.mark.parametrize("lines", RECORDED.values(), ids=RECORDED)
def test_nothing_unrecorded_before_his_act_names_him(lines: list[Line]) -> None:
    """Of all that the file held before a record tells whence it came."""
    assert named([*HABIT, *THEIRS, *lines], hum=WEEK, artefact_roots=ROOTS) == {"u099"}


def test_what_he_did_elsewhere_on_two_sources_names_him_all_the_same() -> None:
    """Else who alters a file unseen first is never named, whatever he does beside it."""
    beside = [line._replace(text=line.text.replace('"jobid":7,', '"jobid":9,')) for line in killed(at=2 * HOUR)]
    lines = [*BASE, *FAILED, *DEBUGGED, *cancelled()]
    assert named([*lines, *beside], hum=WEEK, artefact_roots=ROOTS) == {"u099"}
    assert named(lines, hum=WEEK, artefact_roots=ROOTS) == set()
