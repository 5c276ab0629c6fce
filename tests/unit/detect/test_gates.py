"""When a person is named, and when a hit is an alert."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from pipeline.detect import gates
from pipeline.model.finding import NO_LOGIN, ONLY_LOGGED, SELF_NAMED, Checked, Evidence, Explanation
from pipeline.model.identity import Identity
from pipeline.model.source import Source

NOT_BY_LOGIN = "what others tell was done with no login behind it"
PERSON = Identity(id="u099", uid=5099)


def cited(*sources: Source) -> list[Evidence]:
    return [Evidence("cause", f"e{number}", "00", source, 0, "") for number, source in enumerate(sources)]


NAMED: list[tuple[Sequence[Source], str]] = [
    ([Source.AUDITD, Source.JOBCOMP], ""),
    ([Source.TRAINING, Source.SLURMCTLD], ""),
    ([Source.AUDITD, Source.PROBE], ""),
    ([Source.AUDITD, Source.KERNEL], ""),
    ([Source.SSHD, Source.AUDITD], ""),
    ([], "no independent source tells who acted"),
    ([Source.AUDITD], "only one independent source: kernel audit"),
    ([Source.SLURMCTLD, Source.JOBCOMP, Source.SACCT], "only one independent source: scheduler"),
    ([Source.AUDITD, Source.TRAINING], "no source that the person could not write"),
    ([Source.PROBE, Source.TRAINING], "no source that the person could not write"),
]


@pytest.mark.parametrize(("sources", "withheld"), NAMED)
def test_a_name_needs_two_independent_sources_one_of_them_out_of_reach(sources: Sequence[Source], withheld: str) -> None:
    """Families that one daemon writes are one; what a user can write is none alone."""
    assert gates.name_or_reason(PERSON, cited(*sources)) == ("" if withheld else "u099", withheld)


def test_what_was_done_without_a_login_is_no_word_on_who_did_it() -> None:
    """A daemon, a timer, a job or whoever is root used the account; that the scheduler tells of the effect is no word on it either."""
    kernels, schedulers = cited(Source.AUDITD, Source.SLURMCTLD)
    kernels = replace(kernels, summary=f"signal 9{NO_LOGIN}")
    assert gates.name_or_reason(PERSON, [kernels, schedulers]) == ("", "only one independent source: scheduler; " + NOT_BY_LOGIN)
    name, withheld = gates.name_or_reason(PERSON, [kernels, replace(schedulers, role="effect")])
    assert (name, withheld.startswith("no login is behind what was done: ")) == ("", True)
    assert gates.name_or_reason(PERSON, [kernels, schedulers, *cited(Source.SSHD)]) == ("u099", "")


def test_a_line_that_anybody_writes_is_no_word_on_who_did_it() -> None:
    """Sudo's in the system log, which the kernel's audit does not confirm; beside others who say it, it is no further one."""
    line, kernels, schedulers = cited(Source.SSHD, Source.AUDITD, Source.SLURMCTLD)
    line = replace(line, summary=f"tc on gpu-012{ONLY_LOGGED}")
    assert gates.name_or_reason(PERSON, [line, kernels]) == ("", "only one independent source: kernel audit")
    assert gates.name_or_reason(PERSON, [line, kernels, schedulers]) == ("u099", "")
    name, withheld = gates.name_or_reason(PERSON, [line, replace(kernels, role="effect"), replace(schedulers, role="effect")])
    assert (name, withheld) == ("", "only a line of the system log, as anybody writes it, tells the cause")


def test_a_store_that_believes_any_name_is_no_word_on_who_did_it() -> None:
    """HDFS without Kerberos: a client is whom it says it is."""
    store, kernels, schedulers = cited(Source.HDFS_AUDIT, Source.AUDITD, Source.SLURMCTLD)
    store = replace(store, summary=f"deleted by a user of the store{SELF_NAMED}")
    assert gates.name_or_reason(PERSON, [store, kernels]) == ("", "only one independent source: kernel audit")
    assert gates.name_or_reason(PERSON, [store, kernels, schedulers]) == ("u099", "")
    effects = [replace(each, role="effect") for each in (kernels, schedulers)]
    assert gates.name_or_reason(PERSON, [store, *effects]) == ("", "only a store that believes any name tells the cause")


@pytest.mark.parametrize("role", ["root", "daemon"])
def test_the_systems_own_accounts_are_never_named(role: str) -> None:
    """Root is not a person."""
    name, withheld = gates.name_or_reason(Identity(id=role, uid=0, role=role), cited(Source.AUDITD, Source.JOBCOMP))
    assert (name, withheld) == ("", "the system's own account acted; no login is attached to it")


def test_nobody_is_nobody() -> None:
    """Without a record of who acted there is no name."""
    assert gates.name_or_reason(None, cited(Source.AUDITD, Source.JOBCOMP)) == ("", "no record says who acted")


@pytest.mark.parametrize("source", list(Source))
def test_every_family_belongs_to_a_group(source: Source) -> None:
    """A family without group would count for nothing."""
    assert source in gates.GROUPS


def test_an_alert_needs_every_required_explanation_excluded() -> None:
    """What is open is named; what is not required does not matter."""
    checklist = [Explanation("a", Checked.EXCLUDED), Explanation("b", Checked.NOT_CHECKED), Explanation("c", Checked.NOT_CHECKED)]
    assert gates.alert_or_reason(checklist, ["a"]) == (True, "")
    assert gates.alert_or_reason(checklist, ["a", "b"]) == (False, "not checked: b")
    assert gates.alert_or_reason(checklist, ["c", "b"]) == (False, "not checked: b, c")
