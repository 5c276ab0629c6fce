"""P18: recording on a host switched off by a person.

# three buckets of ten minutes before, an hour behind
#
#   auditd   heard  |act@6000| silent from 6600 to 9600
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pytest

from pipeline.detect.subjects import Held
from pipeline.model.events import Event, SignalSent
from pipeline.model.finding import ONLY_LOGGED, Checked, Explanation, Finding, Severity
from pipeline.model.source import Source
from tests import build
from tests.build import ADMIN, COLLEAGUE, OWNER
from tests.build_subjects import command, judge_host, kernel, recorded, site, sudo, sudo_in_audit, switched_off

ID = "p18_telemetry_tamper"


AT = 6000
GAP = {Source.AUDITD: (6600, 9600)}
ALL = dict.fromkeys((Source.AUDITD, Source.SSHD, Source.KERNEL), (6600, 20_000))


def signalled(at: float, daemon: str, by: int | None = COLLEAGUE) -> Event:
    """Root kills a daemon by its number; `by` None: nobody is logged in."""
    body = SignalSent(signal=9, target_pid=812, success=True, serial=7, uid=0, auid=by, target_uid=0, target_comm=daemon)
    return build.event(at, Source.AUDITD, body, host=build.HOST)


class Row(NamedTuple):
    """What befell the host."""

    name: str
    told: Sequence[Event | Held]
    gaps: Mapping[Source, tuple[float, float]] | None = None


FIRING = [
    Row("the audit system says that it is off", [switched_off(AT)]),
    Row("rules were removed", [recorded(AT, op="remove_rule", list="4")]),
    Row("a kind of record is left out from now on", [recorded(AT, op="add_rule", list="5")]),
    Row("so many a second, and no more", [recorded(AT, op="set", audit_rate_limit="1", old="0")]),
    Row("fewer a second than the site's rules allow", [recorded(AT, op="set", audit_rate_limit="1", old="500")]),
    Row("so few may wait, and the others are lost", [recorded(AT, op="set", audit_backlog_limit="1", old="8192")]),
    Row("auditd is frozen, and silence", [command(AT, "systemctl", "freeze", "auditd.service")], GAP),
    Row("auditctl -e0, in one word, and silence", [command(AT, "auditctl", "-e0")], GAP),
    Row("all rules, and off, in one word", [command(AT, "auditctl", "-De", "0")], GAP),
    Row("a log by another spelling of its path", [command(AT, "truncate", "-s", "0", "/var//log/../log/secure")]),
    Row("all logs by another", [command(AT, "rm", "-rf", "//var/log")]),
    Row("a rule that leaves somebody out, and silence", [command(AT, "auditctl", "-A", "never,exit", "-F", "auid=5099")], GAP),
    Row("lines are cut out of a log", [command(AT, "sed", "-i", "/u099/d", "/var/log/secure")]),
    Row("auditctl -e 0, and silence", [command(AT, "auditctl", "-e", "0")], GAP),
    Row("sudo systemctl stop auditd, and silence", [sudo(AT, "/usr/bin/systemctl stop auditd")], GAP),
    Row("the daemon was ended by a login", [recorded(AT, "DAEMON_END", op="terminate")]),
    Row("a log was cleared", [command(AT, "truncate", "-s", "0", "/var/log/secure")]),
    Row("a log was cleared behind a shell", [command(AT, "sh", "-c", "truncate -s 0 /var/log/secure")]),
    Row("all logs were removed", [command(AT, "rm", "-rf", "/var/log")]),
    Row("nothing was copied over a log", [command(AT, "cp", "/dev/null", "/var/log/audit/audit.log")]),
    Row("and by dd", [command(AT, "dd", "if=/dev/null", "of=/var/log/audit/audit.log")]),
    Row("or by the shell", [command(AT, "bash", "-c", ":> /var/log/audit/audit.log")]),
    Row("the daemon was killed by its number, and silence", [signalled(AT, "auditd")], GAP),
]
SILENT: list[Row] = [
    Row("a gap alone", [], GAP),
    Row("everything is heard, nobody acts", []),
    Row("the backlog overflows by itself", [kernel(AT, "audit: backlog limit exceeded")], GAP),
    Row("a rule is added", [recorded(AT, op="add_rule", list="4"), command(AT, "auditctl", "-a", "always,exit", "-S", "kill")]),
    Row("as many a second as there are", [recorded(AT, op="set", audit_rate_limit="0", old="100"), command(AT, "auditctl", "-r", "0")]),
    Row("as many a second as the site's rules allow", [recorded(AT, op="set", audit_rate_limit="500", old="500")]),
    Row("more may wait", [recorded(AT, op="set", audit_backlog_limit="8192", old="64"), command(AT, "auditctl", "-b", "8192")]),
    Row("lost records are told to nobody", [recorded(AT, op="set", audit_failure="0", old="1")]),
    Row(
        "the time is asked for", [command(AT, "date", "-Is"), command(AT, "date", "-d", "2026-03-02"), command(AT, "timedatectl", "status")]
    ),
    Row("the clock is brought to that of the others", [command(AT, "chronyc", "makestep"), command(AT, "timedatectl", "set-ntp", "true")]),
    Row("by_system: the system sets the clock", [command(AT, "date", "-s", "12:00", by=None)]),
    Row("a log is read", [command(AT, "sed", "-n", "1,9p", "/var/log/secure")]),
    Row("it is switched on", [recorded(AT, op="set", audit_enabled="1", old="0")]),
    Row("it was off already", [recorded(AT, op="set", audit_enabled="0", old="0")]),
    Row("the change failed", [recorded(AT, op="set", audit_enabled="0", old="1", res="0")]),
    Row("the status was asked for", [command(AT, "auditctl", "-s")]),
    Row("a disk is tidied up", [command(AT, "rm", "/var/log/nvidia-installer.log"), sudo(AT, "/usr/bin/mv /var/log/app/core.1 /scratch/")]),
    Row("a log of one's own", [command(AT, "rm", "-rf", "/scratch/u099/var/log/old")]),
    Row("a command that failed", [command(AT, "auditctl", "-e", "0", success=False)], GAP),
    Row("a log is copied", [command(AT, "cp", "/var/log/audit/audit.log", "/scratch/"), command(AT, "dd", "if=/var/log/secure", "of=/x")]),
    Row("a daemon of another kind was killed", [signalled(AT, "nginx")], GAP),
    Row("by_system: the system stops its daemon", [signalled(AT, "auditd", by=None)], GAP),
]
BOUNDARY = [
    Row("a log is rotated", [command(AT, "logrotate", "-f", "/etc/logrotate.conf", "/var/log/secure")]),
    Row("the last bucket is heard", [], {Source.AUDITD: (6600, 6601)}),
    Row("a program that is called like an act", [command(AT, "vi", "/etc/audit/rules.d/auditctl")]),
]
HARMLESS = [
    Row("by_system: the daemon ended without a login", [recorded(AT, "DAEMON_END", by=build.UNSET)], GAP),
    Row("by_system: an upgrade, which puts it back", [recorded(AT, "DAEMON_END", by=build.UNSET), recorded(AT + 30, "DAEMON_START")]),
    Row("by_system: a host that goes down", [recorded(AT, "DAEMON_END", by=build.UNSET), kernel(AT + 300, "Linux version 6.8.0")], ALL),
]
# Below the gate: whoever silenced the host by hand can do all of this.
DOUBTED = {
    "put_back, within three minutes": ("put_back", [switched_off(AT), recorded(AT + 180, op="set", audit_enabled="1")]),
    "put_back: an upgrade by hand": ("put_back", [recorded(AT, "DAEMON_END"), recorded(AT + 30, "DAEMON_START")]),
    "put_back: rules are loaded anew": ("put_back", [recorded(AT, op="remove_rule"), command(AT + 1, "augenrules", "--load")]),
    "put_back: as many may wait as before": (
        "put_back",
        [
            recorded(AT, op="set", audit_backlog_limit="64", old="8192"),
            recorded(AT + 30, op="set", audit_backlog_limit="8192", old="64"),
        ],
    ),
    "put_back: as many a second as there are": (
        "put_back",
        [recorded(AT, op="set", audit_rate_limit="1", old="0"), recorded(AT + 30, op="set", audit_rate_limit="0", old="1")],
    ),
    "put_back: the daemon runs again": (
        "put_back",
        [command(AT, "systemctl", "freeze", "auditd"), command(AT + 30, "systemctl", "thaw", "auditd")],
    ),
    "restarted: within a quarter of an hour": ("restarted", [switched_off(AT), recorded(AT + 900, "SYSTEM_BOOT", by=build.UNSET)]),
    "restarted: it went down five minutes before": ("restarted", [switched_off(AT), recorded(AT - 300, "SYSTEM_SHUTDOWN", by=build.UNSET)]),
    "restarted: it came up anew": ("restarted", [switched_off(AT), kernel(AT + 300, "Linux version 6.8.0")]),
}
# What only looks like an explanation.
NOT_DOUBTED = [
    Row("a kind of record is left out behind it", [switched_off(AT), recorded(AT + 1, op="add_rule", list="5")]),
    Row("another service is started behind it", [switched_off(AT), command(AT + 1, "systemctl", "start", "nginx")]),
    Row("a word beside it", [command(AT, "truncate", "-s", "0", "/var/log/secure", "logrotate")]),
]


def judge(row: Row) -> list[Finding]:
    return judge_host(ID, *row.told, gaps=row.gaps)


@pytest.mark.parametrize(("explanation", "told"), DOUBTED.values(), ids=DOUBTED)
def test_what_a_login_may_do_itself_is_a_doubt(explanation: str, told: list[Event]) -> None:
    """Recording was off for a while, whatever came behind it."""
    (finding,) = judge_host(ID, *told)
    assert (finding.alert, build.answer(finding, explanation).answer) == (False, Checked.NOT_CHECKED)


@pytest.mark.parametrize("row", [*FIRING, *NOT_DOUBTED], ids=lambda row: row.name)
def test_fires(row: Row) -> None:
    """A person's act with an effect is an alert."""
    (finding,) = judge(row)
    assert (finding.effect, finding.alert) == ("telemetry_silenced", True)
    assert set(build.answers(finding).values()) == {Checked.EXCLUDED}


@pytest.mark.parametrize("row", [*SILENT, *BOUNDARY, *HARMLESS], ids=lambda row: row.name)
def test_is_silent(row: Row) -> None:
    """No act of a person, or one that a record explains."""
    assert judge(row) == []


@pytest.mark.parametrize(("explanation", "late"), [("put_back", 180.1), ("restarted", 900.1)])
def test_a_moment_later_acquits_no_more(explanation: str, late: float) -> None:
    """Both windows have an edge."""
    again = recorded(AT + late, op="set", audit_enabled="1") if explanation == "put_back" else recorded(AT + late, "SYSTEM_BOOT")
    (finding,) = judge_host(ID, switched_off(AT), again)
    assert build.answer(finding, explanation).answer is Checked.EXCLUDED


def test_a_command_without_effect_stays_below_the_gate() -> None:
    """`still_heard`: the source spoke on; it may have failed, or been asked in vain."""
    (finding,) = judge_host(ID, command(AT, "auditctl", "-D"))
    assert (finding.alert, finding.effect) == (False, "telemetry_touched")
    assert build.answer(finding, "still_heard").answer is Checked.NOT_CHECKED


@pytest.mark.parametrize(
    ("beside", "alert"),
    [
        ([], False),
        ([command(AT + 1, "truncate", "-s", "0", "/var/log/secure")], True),
        ([command(AT + 1, "auditctl", "-D")], False),
    ],
)
def test_a_log_is_cleared_when_the_kernel_says_so(beside: list[Event], alert: bool) -> None:
    """Sudo writes down what it was asked for, and anybody can write such a line with `logger`: alone it proves nothing."""
    (finding,) = judge_host(ID, sudo(AT, "/usr/bin/truncate -s 0 /var/log/secure"), *beside)
    assert (finding.alert, finding.effect) == (alert, "telemetry_silenced" if alert else "telemetry_touched")


@pytest.mark.parametrize(
    "words",
    [
        ("date", "-s", "2026-03-01 00:00"),
        ("date", "-us", "-1 hour"),
        ("date", "-s@1772400000"),
        ("date", "--set=-1 hour"),
        ("date", "--s", "-1 hour"),
        ("date", "030200002026"),
        ("timedatectl", "set-time", "2026-03-01"),
        ("timedatectl", "set-ntp", "no"),
        ("chronyc", "settime", "12:00"),
        ("hwclock", "--hctosys"),
        ("sh", "-c", "date -s -1hour"),
    ],
    ids=" ".join,
)
def test_a_clock_that_somebody_sets_is_told_and_no_alert(words: tuple[str, ...]) -> None:
    """What is recorded there has another time from then on; or he repaired it."""
    for act in (command(AT, *words), sudo(AT, shlex.join(words))):
        (finding,) = judge_host(ID, act)
        assert (finding.effect, finding.alert, finding.severity) == ("telemetry_touched", False, Severity.MEDIUM)
        assert "clock" in finding.summary
        assert build.answer(finding, "still_heard").answer is Checked.NOT_CHECKED


@pytest.mark.parametrize("beside", [command(AT + 600, "date", "-s", "12:00", by=ADMIN), sudo(AT + 600, "auditctl -e 0", by="adm1")])
def test_what_another_asked_for_hides_nobody_who_is_proved(beside: Event) -> None:
    """The audit system says who switched it off; whoever sets the clock that day, or writes a line as sudo does, had no part in that."""
    (finding,) = judge_host(ID, switched_off(AT), beside)
    assert (finding.alert, finding.suspect, {each.event_id for each in finding.evidence}) == (True, "u099", {switched_off(AT).id})


def test_two_who_are_proved_hide_one_another() -> None:
    """Which of them silenced the host no record tells."""
    (finding,) = judge_host(ID, switched_off(AT), switched_off(AT + 600, ADMIN))
    assert (finding.alert, finding.suspect) == (True, "")


@pytest.mark.parametrize("act", [switched_off(AT), command(AT, "auditctl", "-e", "0")], ids=["recorded", "with a gap"])
def test_without_the_kernel_nobody_knows_of_an_overflow_or_a_start(act: Event) -> None:
    """Only its log would tell: not checked is another answer than no."""
    (finding,) = judge_host(ID, act, gaps=GAP, silent=[Source.KERNEL])
    assert (finding.alert, finding.effect) == (False, "telemetry_silenced")
    for name in ("overflow", "restarted"):
        assert build.answer(finding, name) == Explanation(name, Checked.NOT_CHECKED, missing=("kernel on gpu-001",))


def test_while_the_hour_behind_it_is_open_nothing_is_an_effect() -> None:
    """Absence is judged only when the source has passed."""
    (finding,) = judge_host(ID, command(AT, "auditctl", "-e", "0"), gaps=GAP, until=AT + 3599)
    assert not finding.alert


def test_cut_off_is_not_excluded_where_all_sources_fell_silent() -> None:
    """Then the network may have broken: below the gate."""
    (finding,) = judge_host(ID, command(AT, "auditctl", "-e", "0"), gaps=dict.fromkeys(ALL, (6600, 9700)))
    assert (finding.alert, build.answer(finding, "cut_off").answer) == (False, Checked.NOT_CHECKED)


def test_overflow_stays_below_the_gate() -> None:
    """The kernel lost records under load about that time."""
    (finding,) = judge_host(ID, command(AT, "auditctl", "-e", "0"), kernel(AT - 60, "audit: backlog limit exceeded"), gaps=GAP)
    assert (finding.alert, build.answer(finding, "overflow").answer) == (False, Checked.NOT_CHECKED)


def test_change_ticket_acquits() -> None:
    """For this host; one for another, or for that of another cluster, acquits nobody."""
    for host, cluster, acquits in (
        ("gpu-001", "", True),
        ("gpu-001", build.CLUSTER, True),
        ("gpu-002", "", False),
        ("gpu-001", "west", False),
    ):
        ticket = build.ticket(0, 9000, identities=("adm1",), hosts=(host,), cluster=cluster)
        assert (judge_host(ID, switched_off(AT, ADMIN), at=site(tickets=(ticket,))) == []) is acquits


def test_logs_of_the_host_alone_name_nobody() -> None:
    """Whoever is root there writes the kernel's audit and the system log alike: two forged lines would name anybody."""
    (alone,) = judge_host(ID, switched_off(AT))
    asked = "/usr/sbin/auditctl -e 0"
    (both,) = judge_host(ID, switched_off(AT), sudo(AT - 1, asked), sudo_in_audit(AT - 1, asked))
    assert (alone.actor, both.actor) == ("", "")
    assert both.suspect == "u099"
    assert both.actor_withheld == "no source that the person could not write"


def test_a_line_of_sudo_that_the_audit_does_not_confirm_says_so() -> None:
    """Anybody writes it, in anybody's name; confirmed is what the same person ran at that time, on a path or by its name."""
    asked = "/usr/sbin/auditctl -e 0"
    confirmed = (sudo_in_audit(AT - 1, asked), command(AT - 1, "auditctl", "-e", "0"), sudo_in_audit(AT - 40, asked))
    for beside in confirmed:
        (finding,) = judge_host(ID, switched_off(AT), sudo(AT - 1, asked), beside)
        assert not [item for item in finding.evidence if item.summary.endswith(ONLY_LOGGED)], beside
    others = (sudo_in_audit(AT - 1, asked, by=OWNER), sudo_in_audit(AT - 1, "/usr/sbin/auditctl -l"), sudo_in_audit(AT - 90, asked))
    for beside in (switched_off(AT), *others):
        (finding,) = judge_host(ID, switched_off(AT), sudo(AT - 1, asked), beside)
        assert {item.source for item in finding.evidence if item.summary.endswith(ONLY_LOGGED)} == {"sshd"}, beside
        assert finding.actor_withheld == "only one independent source: kernel audit"


def test_two_people_at_once_name_nobody() -> None:
    """Several acted; the evidence tells who."""
    (finding,) = judge_host(
        ID, switched_off(AT), sudo(AT - 1, "/usr/sbin/auditctl -e 0"), command(AT + 9, "auditctl", "-D", by=OWNER), gaps=GAP
    )
    assert finding.actor == ""
