"""Who: leading, second best, named or withheld; above all whom it must not name."""

import msgspec
import pytest

from pipeline.detect.rules.p15_slow_campaign import ALPHA, BETA
from pipeline.incidents.likelihoods import KINDS, SPAN_MIN
from pipeline.incidents.logins import FOREIGN
from pipeline.model.finding import ONLY_LOGGED, SEVERAL, UNPROVEN, Checked, Explanation, Finding
from pipeline.model.incident import Attribution, Witness, label_of
from pipeline.model.source import Source
from tests.unit.incidents.campaign import CLUSTER, DAY, T0, borrowed, cancel, finding, kill, on, record, slowed, tamper, weigh

X, Y = label_of(CLUSTER, "u099"), label_of(CLUSTER, "u098")
STORY = [kill(0, "1", "u099"), cancel(10, "2", "u099"), tamper(20, "3", "u099"), kill(30, "4", "u099", owner="u013")]


def test_the_right_one_is_named_on_two_sources() -> None:
    """The kernel tells of kills and writes, the controller of orders; logins were heard and nothing looks borrowed."""
    said = weigh(STORY)
    assert (said.named, said.withheld, said.leader, said.second) == ("u099", "", "did/u099", "borrowed/u099")
    assert said.gap_low is not None
    assert said.gap_low >= 0.5
    assert said.clears
    cites = {row.kind: set(row.cites) for row in said.hypotheses[0].weighed}
    sources = {item.event_id: item.source for each in STORY for item in each.evidence}
    assert {sources[event_id] for event_id in cites["second_source"]} == {"auditd", "slurmctld"}


def test_who_became_the_user_of_an_account_is_not_named_by_it() -> None:
    """That somebody entered it says nothing of who killed: his own act on one source stays on one."""
    entered = on("login-001", msgspec.structs.replace(borrowed(1, "u012"), effect="entered_by_other", suspect="u099"))
    alone, beside = weigh([entered]), weigh([kill(0, "1", "u099"), entered, kill(2, "2", "u099")])
    assert (alone.named, alone.leader) == ("", f"did/{X}")
    assert (beside.named, beside.leader) == ("", f"did/{X}")
    assert "only one independent source: kernel audit" in beside.withheld
    assert not {"second_source", "days"} & {row.kind for each in beside.hypotheses for row in each.weighed}
    assert weigh([*STORY, entered]).named == "u099"


def test_what_an_unrecorded_hand_had_altered_before_names_nobody_for_what_rests_on_it() -> None:
    """Neither with the run that had loaded it, nor with what came of the same write; with what he did elsewhere he is named."""
    unseen = (Explanation("altered_before", Checked.NOT_CHECKED),)
    edited = tamper(0, "1", "u099", written="edit", checklist=unseen, actor="", actor_withheld="altered before")
    rests = [edited, cancel(0, "1", "u099"), tamper(9, "9", "u099", "/ckpt/b.pt", written="edit")]
    said = weigh(rests)
    assert (said.named, said.leader) == ("", f"did/{X}")
    assert "what this account altered had been altered before by somebody of whom no record tells" in said.withheld
    assert {"altered_before"} < {row.kind for row in said.hypotheses[0].weighed}
    assert weigh([*rests, kill(5, "5", "u099")]).named == ""
    beside = weigh([*rests, kill(5, "5", "u099"), cancel(6, "6", "u099")])
    assert beside.named == "u099"
    assert not any(row.kind == "altered_before" for each in beside.hypotheses for row in each.weighed)


def test_of_which_acts_one_place_alone_tells_who_did_them() -> None:
    """A name is for the whole of an incident: what root of one host could have added to it is said beside it."""
    forged = [on("gpu-013", kill(day, str(day), "u099")) for day in (30, 31)]
    said = weigh([kill(0, "1", "u099"), cancel(10, "2", "u099"), *forged])
    assert said.named == "u099"
    assert (said.alerts, said.alone[0]) == (4, Witness("gpu-013", 2, ("p01_foreign_kill",)))
    assert sum(each.findings for each in said.alone) == 4
    assert weigh([kill(0, "1", "")]).alone == ()


def test_a_line_that_anybody_writes_adds_nothing_to_a_name_and_takes_nothing() -> None:
    """Else whoever did it would write one more of himself.  That no record which counts tells of that act is said."""
    line = on("gpu-013", slowed(1, "gpu-013", "u099"), ONLY_LOGGED)
    said = weigh([*STORY, line])
    assert said.named == "u099"
    assert Witness("", 1, ("p14_node_degraded",)) in said.alone
    lone = weigh([kill(0, "1", "u099"), line])
    assert lone.named == ""
    assert "auditd" in {each.source for each in lone.decides}


def test_several_accounts_at_one_effect_are_not_said_to_be_none() -> None:
    """Records name people; whose act it was they do not tell."""
    said = weigh([kill(0, "1", "", actor_withheld=SEVERAL)])
    assert said.withheld == "no record says who acted; of one effect at least it was several accounts"


@pytest.mark.parametrize("elsewhere", [slowed(1, "gpu-013", "u099"), on("login-01", slowed(1, "gpu-012", "u099"))])
def test_logs_of_two_hosts_are_two_origins(elsewhere: Finding) -> None:
    """Nobody is root on both, as far as is known: the acts that each tells of are held against one person."""
    assert weigh([kill(0, "1", "u099"), elsewhere, kill(2, "2", "u099")]).named == "u099"


def test_without_the_decisive_source_the_name_is_withheld() -> None:
    """The same story, the controller's word gone: the right candidate leads, and the source is asked for."""
    told = [each for each in STORY if each.detector != "p03_foreign_cancel"]
    said = weigh(told, silent={Source.SLURMCTLD})
    assert (said.named, said.leader) == ("", f"did/{X}")
    assert "only one independent source" in said.withheld
    assert {each.source for each in said.decides} == {"slurmctld"}
    assert [each.source for each in weigh(told).decides] == ["a source that is not read here"], "it was heard, and says nothing of it"
    assert "u099" not in str(said)


def test_a_line_of_sudo_would_be_a_second_word_where_sshd_was_not_heard() -> None:
    """It stands in sshd's log: without that nobody says that no source which is read here would tell."""
    told = [each for each in STORY if each.detector != "p03_foreign_cancel"]
    said = {(each.source, each.why) for each in weigh(told, silent={Source.SSHD}).decides}
    assert ("sshd", "a second word on who acted") in said
    assert "a source that is not read here" not in {source for source, _ in said}


FRAMED: list[tuple[str, Attribution, str]] = [
    (
        "somebody logged in unlike him",
        weigh(STORY, unlike=[(T0 // DAY, FOREIGN)]),
        "entered by a key that is none of its owner's: whose session",
    ),
    ("a key of his was used by another", weigh(STORY, signals=[borrowed(1, "u099")]), "was borrowed"),
    ("the account is shared", weigh(STORY, services=["u099"]), "several people"),
    ("the account is shared in secret: it came from two places", weigh(STORY, signals=[borrowed(9, "u099")]), "was borrowed"),
    ("logins were not recorded", weigh(STORY, heard=False), "logins were not recorded"),
    ("a timer, or root, acted under the account: nobody had logged in", weigh(STORY, entered=()), "none of this account in the week"),
    ("nobody had logged in for weeks when the last act was done", weigh(STORY, entered=range(10)), "none of this account in the week"),
    ("presence alone, no record of an act", weigh([kill(day, str(day), "") for day in range(5)]), "no record says who acted"),
    ("one source, forged: the kernel's", weigh([kill(day, str(day), "u099") for day in range(9)]), "only one independent source"),
    ("one source, forged: the controller's", weigh([cancel(day, str(day), "u099") for day in range(9)]), "only one independent source"),
    (
        "presence at every harm, and reading of diagnoses",
        weigh([*(kill(day, str(day), "") for day in range(5)), finding("p16_reads_diagnoses", 6, "9", "u099", named=False)]),
        "no finding names",
    ),
    (
        "one source, and a refused request that may be a slip",
        weigh([kill(0, "1", "u099"), msgspec.structs.replace(cancel(1, "2", "u099", named=False), effect="cancel_refused", alert=True)]),
        "only one independent source",
    ),
    (
        "two logs of one host, forged by whoever is root there",
        weigh([kill(0, "1", "u099"), slowed(1, "gpu-012", "u099"), kill(2, "2", "u099")]),
        "all evidence of who acted comes from gpu-012 itself",
    ),
    (
        "two logs of hosts that nobody names",
        weigh([on("", kill(0, "1", "u099")), on("?", slowed(1, "gpu-013", "u099"))]),
        "nobody says of which hosts",
    ),
    (
        "a second host's log that nobody authenticated",
        weigh([kill(0, "1", "u099"), slowed(1, "gpu-012", "u099"), on("gpu-013", kill(2, "2", "u099"), UNPROVEN)]),
        "all evidence of who acted comes from gpu-012 itself",
    ),
    ("below the gate", weigh([cancel(day, str(day), "u099", named=False) for day in range(9)]), "no finding names"),
    ("the identity map does not know it", weigh([kill(0, "1", "uid:5"), cancel(1, "2", "uid:5")]), "identity map"),
    (
        "two candidates with records of acts",
        weigh([*STORY, kill(1, "7", "u098"), cancel(2, "8", "u098")]),
        "the gap to another candidate",
    ),
]


@pytest.mark.parametrize(("name", "said", "why"), FRAMED, ids=[row[0] for row in FRAMED])
def test_nobody_is_named_on_this(name: str, said: Attribution, why: str) -> None:
    """Framed by a borrowed key, a shared account, presence, one forged log; the reason is said, and no name stands anywhere."""
    assert said.named == ""
    assert why in said.withheld
    assert not {"u099", "u098", "uid:5"} & {each.who for each in said.hypotheses}
    assert "u099" not in said.leader


@pytest.mark.parametrize(("detector", "nobody"), [("p04_environment_tamper", "recorded_act"), ("p09_injected_delay", "compared")])
def test_a_comparison_may_err(detector: str, nobody: str) -> None:
    """What is found by comparing weighs against chance by its stated error, not as an act that was seen to have its effect."""
    said = weigh([msgspec.structs.replace(tamper(0, "1", "u099"), detector=detector)])
    kinds = {each.kind: {row.kind for row in each.weighed} for each in said.hypotheses}
    assert nobody in kinds["nobody"]
    assert ("act" in kinds["did"]) == (nobody == "recorded_act")


def test_a_colleague_who_debugged_the_damage_is_not_named() -> None:
    """He rewrote what another had altered, later, under an open explanation: he is a candidate, and far behind."""
    debugged = tamper(21, "5", "u098", named=False, owner="u013")
    said = weigh([*STORY, debugged])
    assert said.named == "u099"
    his = next(each for each in said.hypotheses if each.kind == "did" and each.who == Y)
    assert {each.kind for each in his.weighed} == {"act_below_gate", "came_after"}
    assert said.gap_needed > 1


def test_a_colleague_who_debugged_is_not_named_in_the_incident_of_his_own_acts() -> None:
    """What he rewrote is a campaign of its own: that another had altered it before stands beside, leads, and is named there alone."""
    mine = [tamper(40, "5", "u098"), cancel(41, "6", "u098"), kill(42, "7", "u098", owner="u013")]
    alone, beside = weigh(mine), weigh(mine, rivals=[tamper(20, "3", "u099")])
    assert (alone.named, alone.candidates) == ("u098", 1)
    assert (beside.named, beside.candidates) == ("", 2)
    assert not {"u098", "u099"} & {each.who for each in beside.hypotheses}


def test_a_colleague_who_debugged_is_not_named_when_he_is_all_there_is() -> None:
    """The first hand left a finding that one source alone shows; the colleague's later writes are on two."""
    first = tamper(0, "1", "u099")
    later = [
        tamper(day, str(day), "u098", evidence=(*tamper(day, str(day), "u098").evidence, record("cause", f"c{day}", 1, "slurmctld")))
        for day in (5, 6, 7)
    ]
    said = weigh([first, *later])
    assert said.named == ""
    assert "u098" not in str(said)


def test_a_refused_try_of_anybody_is_no_harm_behind_which_all_came() -> None:
    """Somebody mistyped a number before the acts began: that clears nobody of them."""
    mistyped = msgspec.structs.replace(cancel(-1, "9", "u098", named=False), effect="cancel_refused", alert=True)
    said = weigh([*STORY, mistyped])
    assert said.named == "u099"
    assert not any(row.kind == "came_after" for each in said.hypotheses for row in each.weighed)


def test_a_log_forged_against_a_colleague_names_nobody_but_who_acted() -> None:
    """Nine orders in one log point at a colleague; the kernel and the controller know of another hand: the colleague leads nowhere."""
    forged = [cancel(day, f"f{day}", "u098", owner="u013") for day in range(9)]
    said = weigh([*STORY, *forged])
    assert said.named in ("", "u099")
    assert said.leader in ("did/u099", f"did/{X}")
    assert "u098" not in str(said)


def test_logins_decide_between_the_holder_and_the_account() -> None:
    """What both share is left out of the gap."""
    heard, unheard = weigh(STORY), weigh(STORY, heard=False)
    assert heard.gap_low is not None
    assert unheard.gap_low is not None
    assert heard.gap_low > unheard.gap_low
    assert "sshd" in {each.source for each in unheard.decides}


def test_more_candidates_need_a_wider_gap() -> None:
    """Looking at many, one of them will look bad."""
    assert weigh([*STORY, kill(31, "9", "u070", named=False)]).gap_needed > weigh(STORY).gap_needed


def test_order_does_not_matter() -> None:
    """The same campaign, the same words."""
    assert weigh(STORY) == weigh(STORY[::-1])


def test_nobody_leads_where_nothing_was_recorded() -> None:
    """Neither act nor suspect: that jobs end badly needs no person."""
    silent: list[Finding] = [kill(0, "1", "", named=False, evidence=())]
    assert weigh(silent).leader in ("nobody", "other")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: str(kind.name))
def test_an_assumption_spans_a_factor_of_ten(kind: object) -> None:
    """And a published ratio names where."""
    row = KINDS[str(getattr(kind, "name", ""))]
    assert 0 < row.low <= row.high
    assert row.high / row.low >= SPAN_MIN * 0.999 if row.assumed else len(row.source) > 20


def test_the_error_of_the_sequential_test_is_the_one_that_its_detector_keeps() -> None:
    """Else a writer would be held ten times as suspect as the test allows."""
    row = KINDS["sequential"]
    assert row.low == pytest.approx(ALPHA / (1 - BETA))
    assert f"{ALPHA:.0e}".replace("e-0", "e-") in row.source


def test_a_sign_that_is_still_open_does_not_lead() -> None:
    """Logins that look borrowed, and may be harmless: the holder leads, and the name is withheld all the same."""
    signs = [msgspec.structs.replace(borrowed(0.5, "u099"), alert=False, gate="not checked: usual_network")]
    open_sign, clear = weigh(STORY, signals=signs), weigh(STORY, signals=[borrowed(0.5, "u099")])
    assert (open_sign.named, open_sign.leader.partition("/")[0]) == ("", "did")
    assert "was borrowed" in open_sign.withheld
    assert clear.leader.partition("/")[0] == "borrowed"


def test_who_used_the_account_at_another_time_need_not_have_done_this() -> None:
    """Days after every act, or more than a week before: its holder leads, and is not named; whose owner has left, comes back to none."""
    after = [borrowed(32, "u099")]
    gone = [msgspec.structs.replace(borrowed(-9, "u099"), effect="access_after_end")]
    for signals in (after, [borrowed(-9, "u099")]):
        apart = weigh(STORY, signals=signals)
        assert (apart.leader, apart.named) == (f"did/{X}", "")
        assert "was borrowed" in apart.withheld
    for signals in ([borrowed(30.5, "u099")], [borrowed(24, "u099")], gone):
        assert weigh(STORY, signals=signals).leader == f"borrowed/{X}"
    assert "unheard" in {row.kind for each in weigh(STORY, signals=after, heard=False).hypotheses for row in each.weighed}
    slip = msgspec.structs.replace(cancel(0, "1", "u099", named=False), alert=False, gate="not checked: mistyped_number")
    assert weigh([slip], signals=after).leader == f"borrowed/{X}"  # where nothing else counts it is about the others' use


def test_of_many_acts_in_one_finding_each_counts() -> None:
    """A finding of rounds begins with the first; others had the account when a later one was written."""
    rounds = [record(role, f"{role}-{day}", T0 + day * DAY) for day in (0, 20, 40) for role in ("read", "written")]
    followed = finding("p16_reads_diagnoses", 0, "9", "u099", evidence=tuple(rounds))
    said = [weigh([followed], signals=[borrowed(day, "u099")]).leader for day in (20, 30)]
    assert said == [f"borrowed/{X}", f"did/{X}"]


def test_logins_are_asked_of_every_act_of_a_finding() -> None:
    """One finding of two acts, the second when nobody had logged in for a week: a timer may have done it."""
    twice = kill(0, "1", "u099", evidence=(record("cause", "one", T0), record("cause", "other", T0 + 20 * DAY)))
    assert weigh([twice, cancel(1, "2", "u099")], entered=range(21)).named == "u099"
    later = weigh([twice, cancel(1, "2", "u099")], entered=range(12))
    assert (later.named, "none of this account in the week" in later.withheld) == ("", True)
