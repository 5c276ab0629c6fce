"""The report: one page that stands alone, says what follows and what does not, and lets no log author write into it."""

import re
from html.parser import HTMLParser

import msgspec
import orjson
import pytest

from pipeline.detect.detector import explanations_in_words
from pipeline.incidents.report import KINDS, SECTIONS, Entry, Made, Report, as_json, lines_of, page, unnamed
from pipeline.incidents.report_graph import Edge, Graph, drawn, graph_of, rows_of
from pipeline.incidents.report_summary import clocks_of
from pipeline.incidents.report_text import called, safe
from pipeline.model.events import UNKNOWN_HOST
from pipeline.model.finding import Status
from pipeline.model.incident import WITNESSES_MAX, Incident, Loss, Other, Range, Unjudged, Witness, canonical_incident
from tests import build
from tests.unit.incidents.campaign import attempt_of, borrowed, kill, record, removal, tamper
from tests.unit.incidents.reports import EVIL, hostile, report

VOID = {"meta", "br", "img", "link", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and keeps what they are."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("made", [report(), hostile()], ids=["usual", "hostile"])
def test_the_page_stands_alone(made: object) -> None:
    """It nests, loads nothing, runs nothing, and every section can be reached."""
    found = Page(page(made))  # type: ignore[arg-type]
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(found.tags)
    assert not [pair for pair in found.attributes if pair[0] in ("src", "srcset", "action", "style") or pair[0].startswith("on")]
    assert all(value.startswith("#") for name, value in found.attributes if name == "href")
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {name for name, _ in SECTIONS} <= set(ids)
    assert ("lang", "en") in found.attributes


def test_hostile_text_is_shown_and_does_nothing() -> None:
    """Markup is escaped; characters that turn or hide text are replaced."""
    text = page(hostile())
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not {"\u202e", "\x1b"} & set(text)


def test_it_says_what_was_seen_what_follows_and_what_does_not() -> None:
    """With the name where the gate is open, and that it proves no guilt."""
    text = Page(page(report())).text
    for words in (
        "u099 did it",
        "That anybody is guilty",
        "a copied key",
        "assumption",
        "I was on leave.",
        "Of these examined, and found unaffected",
        "no odds that anybody did it",
        "one hand need not have done all",
    ):
        assert words in text
    assert "Naming is withheld" not in text


def test_a_page_leads_to_the_journal_that_another_incident_keeps() -> None:
    """What was noted while that one had these findings."""
    text = Page(page(report(formerly=(("f0" * 16, 1),)))).text
    assert "Incident f0f0f0f0f0f0 had some of these findings before: 1 entry of its journal stands there" in text


def test_one_of_a_kind_is_one() -> None:
    """The report of a single finding, which most are, counts in words that agree."""
    assert (
        "1 finding, 1 above the gate, on 1 attempt of 1 owner. Citations of records: 2." in Page(page(report([kill(0, "1", "u099")]))).text
    )
    assert "That 1 attempt whose end no record explains came to harm" in Page(page(report())).text
    one = report([tamper(0, "1", "u099")])
    assert "Suspect artefacts: 1, loaded 1 time behind a suspect write" in Page(page(one)).text
    assert "1 candidate, 1 artefact, 1 job or other, 2 ties" in Page(page(one)).text


def test_whoever_is_named_is_heard() -> None:
    """The reply stands beside the name, and where there is none that is said; large factors are no numbers that anybody could stand for."""
    made = report()
    assert "That it is undisputed. u099 replied" in Page(page(made)).text
    unheard = Page(page(msgspec.structs.replace(made, journal=()))).text
    assert "no reply of whoever is named is on record" in unheard
    assert "over 10,000" in unheard
    assert not re.search(r"\d{1,3},\d{3},\d{3}", unheard)


def test_whom_a_reply_points_at_is_not_accused_by_it() -> None:
    """A denial that names a colleague stands as it was given, and is said to be no record."""
    assert "That anybody of whom a reply speaks had a part in it." in page(report())
    assert "of whom a reply speaks" not in page(report(journal=()))


def test_evidence_is_told_by_its_records() -> None:
    """Behind each kind of evidence for a hypothesis stand records; each is in the index, in its roles."""
    made = report()
    shown = page(made)
    index = shown[shown.index('id="evidence"') :]
    cited = {name for each in made.incident.attribution.hypotheses for row in each.weighed for name in row.cites}
    who = shown[shown.index('id="who"') : shown.index('id="graph"')]
    assert cited
    assert all(name in who and name in index for name in cited)
    assert {each.role for each in made.incident.timeline} <= set(re.findall(r"<td>(\w+)</td>", index))


def test_each_line_of_an_event_stands_by_itself() -> None:
    """A row of a job that runs comes again under one id: each that is cited is on the timeline, counted, and shown as it is."""
    first = record("effect", "row", build.T0, "sacct")
    later, lost = (msgspec.structs.replace(first, sha256=digit * 64) for digit in "12")
    alone = record("owner", "alone", build.T0, "sacct")
    members = [kill(0, "7", "u055", evidence=(first, alone)), kill(1, "8", "u055", evidence=(later, lost, alone))]
    made = report(members)
    moments = [each for each in made.incident.timeline if each.event_id == first.event_id]
    assert (len(moments), made.incident.records) == (3, len(made.incident.timeline))
    there = {(each.event_id, each.sha256): f"line {each.sha256}" for each in (first, later, alone)}
    lines = lines_of(made.incident.timeline, there)
    assert lines[alone.event_id] == f"line {alone.sha256}"
    assert lines[first.event_id] in there.values()
    shown = page(msgspec.structs.replace(made, lines=lines))
    assert [shown.count(f"<code>line {each.sha256}</code>") for each in (first, later, lost)] == [1, 1, 0]


def test_a_reply_under_another_name_is_not_called_none() -> None:
    """Whoever speaks for the named person may have replied: who that is nothing says, that there is no reply is untrue."""
    made = report()
    for who in (" u099", "counsel of u099"):
        spoken = tuple(msgspec.structs.replace(each, value=who) for each in made.journal)
        text = page(msgspec.structs.replace(made, journal=spoken)).partition('<section id="not"')[2].partition("</section>")[0]
        assert "no reply of whoever is named" not in text
        assert "I was on leave." in text


@pytest.mark.parametrize(
    ("replied", "said"),
    [
        ([], "No reply is on record."),
        (["u099"], "A reply of u099 is on record."),
        (["counsel <1>"], "A reply of counsel <1>, for whoever is named or for another, is on record."),
        (["counsel", "u099"], "Replies of counsel, u099 are on record."),
        (["a", "b", "c", "d"], "Replies of a, b, c and 1 more, for whoever is named or for another, are on record."),
    ],
)
def test_a_summary_says_of_whom_replies_are(replied: list[str], said: str) -> None:
    """Whoever reads one sentence must not take the reply of somebody else for that of whoever is named."""
    made = report()
    entries = tuple(msgspec.structs.replace(made.journal[0], value=who) for who in replied for _ in range(2))
    made = msgspec.structs.replace(made, journal=entries)
    assert made.summary[1].endswith(said)
    assert said in part(page(made), "short")


def test_what_people_found_harmless_does_not_follow() -> None:
    """The newest word on a finding counts; one that was called true again is disputed by nobody."""
    made = report()
    one, other = (each.finding[:12] for each in made.incident.members[:2])
    words = ((one, "true"), (one, "benign because admin_ticket"), (other, "false"), (other, "true"))
    said = [
        Entry(at=number, operator="u101@ops", action="label", value=" ".join(each), text="CHG-17 <b>") for number, each in enumerate(words)
    ]
    whole = page(msgspec.structs.replace(made, journal=(*made.journal, *said)))
    text = whole.partition('<section id="not"')[2].partition("</section>")[0]
    assert f"That finding {one} ({made.incident.members[0].detector}, " in text
    assert "was interference. u101@ops labelled it benign because admin_ticket" in text
    assert "“CHG-17 &lt;b&gt;”" in text
    assert other not in text
    assert f"{other} false" in whole


def labelled(made: Report, count: int, who: str = "u101@ops") -> Report:
    """The same, after somebody labelled the first `count` of its findings above the gate."""
    cleared = [each.finding for each in made.incident.members if each.alert][:count]
    words = [f"{each[:12]} false" for each in cleared]
    said = (Entry(at=build.T0 + number, operator=who, action="label", value=word, text="") for number, word in enumerate(words))
    return msgspec.structs.replace(made, journal=(*made.journal, *said))


@pytest.mark.parametrize(
    ("who", "own"), [("u099@gpu-012", True), ("u0991@gpu-012", False), ("root@vm for u099", True), ("root@vm for u01", False)]
)
def test_nobody_acquits_himself(who: str, own: bool) -> None:
    """Whoever is named may have the right to label: his word is told as his, and counts for nothing."""
    alerts = sum(each.alert for each in report().incident.members)
    made = labelled(report(), alerts, who)
    short, follows = part(page(made), "short"), part(page(made), "follows")
    for text in (short, follows):
        assert (f"But candidates themselves labelled {alerts} of 3 findings false or benign, which is not counted" in text) is own
        assert (f"(last {who}, " in text) is not own
    assert ("labelled it false" in part(page(made), "not")) is not own
    assert ("Nobody is accused" in short) is not own
    assert ("The account u099 is named: what was seen is" in short) is own
    assert ("nothing against anybody" in follows) is not own


def test_nor_does_whoever_is_not_named() -> None:
    """He stands under his label, which tells nobody who he is."""
    made = report([kill(0, "1", "u099", actor="", actor_withheld="only one independent source: kernel audit")])
    label = next(each.who for each in made.incident.attribution.hypotheses if each.kind == "did")
    assert (made.incident.attribution.named, "u099" in label) == ("", False)
    own = labelled(made, 1, f"{label}@ops-1").dismissed
    assert (own.findings, own.by_candidates, own.whole) == (0, 1, False)
    assert labelled(made, 1, "op@ops-1").dismissed.whole


@pytest.mark.parametrize("word", ["true", "false"])
def test_whoever_is_named_takes_no_word_of_others_back(word: str) -> None:
    """Others cleared all that is above the gate; neither his `false` on one nor his `true` makes them less sure."""
    alerts = sum(each.alert for each in report().incident.members)
    made = labelled(report(), alerts)
    value = f"{made.incident.members[0].finding[:12]} {word}"
    own = Entry(at=build.T0 + alerts, operator="u099@gpu-012", action="label", value=value, text="")
    cleared = msgspec.structs.replace(made, journal=(*made.journal, own)).dismissed
    assert cleared == made.dismissed._replace(by_candidates=int(word == "false"))
    assert cleared.whole


def test_whom_people_have_cleared_is_not_accused() -> None:
    """Once all that is above the gate is labelled false or benign, the name is no conclusion: said beside it, and first of all."""
    alerts = sum(each.alert for each in report().incident.members)
    made = labelled(report(), alerts)
    how = f"people labelled {alerts} of 3 findings false or benign, {alerts} of the {alerts} above the gate (last u101@ops, 2026-03-0"
    follows, short = part(page(made), "follows"), part(page(made), "short")
    assert how in follows
    assert how in short
    assert "The leading hypothesis is that" not in follows
    assert "By records alone, without these labels, the leading hypothesis is that the holder of account u099 did it" in follows
    assert "Nobody is accused" in short
    assert "That the account u099 is named is no conclusion any more: the attribution rests on records alone" in short
    assert "times as likely if its holder did it" not in short
    assert "A reply of u099 is on record." in short
    found = orjson.loads(as_json(made))
    assert how in found["summary"][1]
    assert found["dismissed"] == {
        "findings": alerts, "of": 3, "alerts": alerts, "of_alerts": alerts, "whole": True,
        "by": [{"operator": "u101@ops", "at": build.T0 + alerts - 1}], "by_candidates": 0,
    }  # fmt: skip


def test_what_people_cleared_of_a_large_campaign_is_counted_whole() -> None:
    """A finding that is told by its id alone counts, too; one that nobody looked at keeps the accusation."""
    made = labelled(report(), 3)
    *told, last = made.incident.members
    counts = (("p03_foreign_cancel", 3, 3),)
    other = Other(last.finding, 0, last.effect_time, last.alert)
    incident = msgspec.structs.replace(made.incident, members=tuple(told), others=(other,), findings=3, detectors=counts)
    cleared = msgspec.structs.replace(made, incident=incident).dismissed
    assert (cleared.findings, cleared.of, cleared.alerts, cleared.of_alerts, cleared.whole) == (3, 3, 3, 3, True)
    more = msgspec.structs.replace(incident, findings=4, detectors=(("p03_foreign_cancel", 4, 4),))
    assert not msgspec.structs.replace(made, incident=more).dismissed.whole


def test_beside_a_name_stands_what_people_have_cleared_of_it() -> None:
    """One of several: the name stands, and what was labelled and that nothing weighs it; without a label not a word."""
    made = labelled(report(), 1)
    for name in ("follows", "short"):
        said = part(page(made), name)
        assert "But people labelled 1 of 3 findings false or benign, 1 of the " in said
        assert "does not weigh labels" in said
        assert "label" not in part(page(report()), name)
    assert "The account u099 is named" in part(page(made), "short")
    assert orjson.loads(as_json(made))["dismissed"]["whole"] is False
    nobody = labelled(report([kill(0, "1", "u099")]), 1)
    assert "Nobody is named. Why: " in nobody.summary[1]
    assert "And people labelled 1 of 1 finding false or benign" in nobody.summary[1]


def test_a_reply_stands_to_its_end() -> None:
    """As long as the journal takes one, beside the name and in the journal: what clears somebody may be the last sentence."""
    made = report()
    reply = msgspec.structs.replace(made.journal[0], text="I was on leave. " * 1000 + "The ticket is 4711.")
    assert page(msgspec.structs.replace(made, journal=(reply,))).count("The ticket is 4711.") == 2


def test_what_a_name_needs_is_said_as_it_is() -> None:
    """Against the account in others' hands a smaller gap is enough, and that is no secret."""
    assert "at least, and a factor of 3.2 to the account in others' hands" in Page(page(report())).text


def test_without_a_name_it_says_why() -> None:
    """And the person stands nowhere on the page."""
    made = report([kill(0, "1", "u099", actor="", actor_withheld="only one independent source: kernel audit")])
    text = page(made)
    assert "Naming is withheld: " in text
    assert "a candidate whose name is withheld can be read in them" in text
    assert "can be read in them" not in page(report())
    assert "u099" not in text.replace("<td>u099</td><td>I was on leave.</td>", "")


def test_an_account_that_a_finding_is_about_is_no_way_to_a_withheld_name() -> None:
    """That the account was borrowed is why its holder is not named: neither the page nor its JSON says whose account it is."""
    made = report([kill(0, "1", "u099"), borrowed(0.1, "u099")], journal=())
    label = made.incident.members[1].subject.rpartition("/")[2]
    assert made.incident.attribution.named == ""
    for text in (page(made), as_json(made).decode()):
        assert "u099" not in text
        assert label in text


def test_nor_are_the_words_of_the_site() -> None:
    """Why it puts up with something is told in its own words, without whom they name."""
    gate = "suppressed until 2026-12-31: agreed with u099"
    made = report([kill(0, "1", "u099", actor="", alert=False, gate=gate, actor_withheld=f"below the gate: {gate}")], journal=())
    for text in (page(made), as_json(made).decode()):
        assert "agreed with person-" in text
        assert "u099" not in text


def test_where_nobody_leads_nothing_could_clear_him() -> None:
    """“None” would read as if no record could ever clear somebody."""
    made = report([kill(0, "1", "", named=False)])
    assert made.incident.attribution.clears == ()
    assert "0 candidates, 0 artefacts, 1 job or other, 1 tie" in Page(page(made)).text
    assert "Nobody leads who could be cleared." in page(made)


def test_json_is_the_same() -> None:
    """For machines, with ids, and without whom findings suspect."""
    made = report()
    body = orjson.loads(as_json(made))
    assert body["id"] == made.incident.id
    assert [each["id"] for each in body["findings"]] == [each.id for each in made.findings]
    assert "suspect" not in body["findings"][0]


def test_the_picture_leaves_out_and_says_so() -> None:
    """A large campaign stays readable."""
    made = report([kill(0, str(number), "u099") for number in range(30)])
    graph = graph_of(made.incident, made.findings)
    assert len(graph.attempts) == 30
    assert "Nodes left out of the picture: 18." in drawn(graph)


def test_what_was_done_at_once_passes_no_artefact_and_no_other_accounts_line() -> None:
    """A line that comes out of a box says that what is in it did it; one that two share says it of both."""
    graph = Graph(
        people=("u098", "u099"),
        artefacts=("/a", "/b", "/c"),
        attempts=("1", "2"),
        edges=(Edge("/a", "1", "loaded by"), *(Edge(who, "2", "killed") for who in ("u098", "u099")), Edge("u099", "/a", "wrote")),
    )
    picture = drawn(graph)
    boxes = [(int(y), int(y) + int(high)) for y, high in re.findall(r'<rect x="355" y="(\d+)" width="\d+" height="(\d+)"', picture)]
    gaps = [int(y) for y in re.findall(r'class="once"[^>]* \d+,(\d+) H', picture)]
    assert (len(boxes), len(gaps), len(set(gaps))) == (3, 2, 2)
    assert not any(top <= gap <= bottom for gap in gaps for top, bottom in boxes)
    assert "Dashed:" in picture
    assert "Dashed:" not in drawn(msgspec.structs.replace(graph, edges=graph.edges[:1]))


def test_a_large_campaign_is_counted_whole_and_shown_in_part() -> None:
    """Whoever reads it learns how many there are, and that not all of them are in it."""
    made = report([kill(number / 10, str(number), "u099") for number in range(230)])
    shown = page(made)
    assert "230 findings, 230 above the gate, on 230 attempts of 1 owner. Citations of records: 460." in shown
    assert "200 findings and 300 records stand here" in shown
    assert "All findings, by detector" in shown
    assert "Of 230 findings 200 are listed" in shown


def test_what_an_older_release_said_is_shown() -> None:
    """It counted nothing, since its lists were the whole."""
    made = report()
    body = orjson.loads(canonical_incident(made.incident))
    for name in ("findings", "detectors", "others", "records", "artefacts", "derived"):
        del body[name]
    body["scope"] = {name: value for name, value in body["scope"].items() if not name.startswith(("affected", "fine_", "derived"))}
    body["timeline"] = [{name: value for name, value in each.items() if name != "cited_by"} for each in body["timeline"]]
    older = msgspec.json.decode(orjson.dumps(body), type=Incident)
    shown = page(msgspec.structs.replace(made, incident=older))
    assert "3 findings, 3 above the gate, on 3 attempts" in shown
    assert "All findings, by detector" not in shown


def test_who_wrote_is_tied_to_what_was_loaded() -> None:
    """Candidate, artefact, job."""
    made = report()
    graph = graph_of(made.incident, made.findings)
    assert ("u099", "/ckpt/a.pt", "wrote") in {(edge.source, edge.target, edge.what) for edge in graph.edges}
    assert any(edge.source == "/ckpt/a.pt" and edge.what == "loaded by" for edge in graph.edges)


def test_who_killed_a_job_has_not_written_what_it_loaded() -> None:
    """Job 3 loaded what somebody had altered, and is killed: the picture has both acts; a removal is told as one."""
    made = report([tamper(0, "3", "", "/ckpt/a.pt"), kill(0, "3", "u099"), removal(1, "8", "u099", "/ckpt/run/")])
    graph = graph_of(made.incident, made.findings)
    told = {(edge.source, edge.target.partition("/")[2].partition("/")[0] or edge.target, edge.what) for edge in graph.edges}
    who = next(each.who for each in made.incident.members if each.who)
    assert {(each.source, each.target, each.what) for each in graph.edges if each.what in ("wrote", "removed from")} == {
        ("not known who", "/ckpt/a.pt", "wrote"), (who, "/ckpt/run/", "removed from"),
    }  # fmt: skip
    assert ("/ckpt/run/", "8", "missed by") in told
    assert "/ckpt/run/" not in {each.source for each in graph.edges if each.what == "loaded by"}
    assert (who, "3", "processes killed (p01_foreign_kill)") in told
    assert (who, "processes killed (p01_foreign_kill)", "job 3") in rows_of(graph)


def test_every_kind_of_hypothesis_has_words() -> None:
    """None is shown by its code."""
    assert {each.kind for each in report().incident.attribution.hypotheses} <= KINDS.keys()
    assert EVIL not in KINDS


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("did/person-0d2367c8", "person-0d2367c8, unnamed"),
        ("borrowed/person-0d2367c8", "person-0d2367c8, account in others' hands"),
        ("nobody", "nobody"),
        ("", ""),
    ],
)
def test_a_hypothesis_in_a_table_is_no_code(title: str, said: str) -> None:
    """Whoever is not named stands there under the name of the report."""
    assert unnamed(title) == said


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        ("main/48484/1772573665000/1772573667000", "job 48484"),
        ("identity:main/u024", "identity u024"),
        ("artefact:main//env/torch/x.py", "artefact /env/torch/x.py"),
        ("some/thing", "some/thing"),
    ],
)
def test_what_a_finding_is_about_reads_as_people_say_it(subject: str, said: str) -> None:
    assert called(subject) == said


def test_attempts_of_the_scope_are_told_to_the_last() -> None:
    """As people call jobs: in full they would be cut off in their cell."""
    made = report()
    names = tuple(attempt_of(str(48_000 + number), number).name for number in range(60))
    scope = msgspec.structs.replace(made.incident.scope, attempts=names, affected=60)
    text = page(msgspec.structs.replace(made, incident=msgspec.structs.replace(made.incident, scope=scope)))
    assert "jobs 48000, 48001, 48002" in text
    assert "48059</td>" in text


def test_a_gap_of_many_hosts_is_one_row() -> None:
    """Of whom the same is missing is told together."""
    made = report()
    gaps = tuple(Unjudged(f"auditd on gpu-{number:03}", "attempts", 1, (attempt_of("7", 1).name,)) for number in range(32))
    scope = msgspec.structs.replace(made.incident.scope, unjudged=(*gaps, Unjudged("auditd", "days", 2, ("2026-03-02",))))
    text = page(msgspec.structs.replace(made, incident=msgspec.structs.replace(made.incident, scope=scope)))
    assert "<td>auditd on gpu-000 and 31 more</td><td>attempts</td><td>1</td><td>job 7</td>" in text
    assert "<td>auditd</td><td>days</td><td>2</td><td>2026-03-02</td>" in text


def test_what_ties_findings_is_said_in_words() -> None:
    """Of what stands in the column, and no more."""
    text = page(report())
    assert "suspect+alert: the same suspect, both above the gate" in text
    assert "means+victim:" not in text


def part(text: str, name: str) -> str:
    """What a section says."""
    return Page(text.partition(f'<section id="{name}"')[2].partition("</section>")[0].partition(">")[2]).text


def test_the_head_says_whence_it_is() -> None:
    """State, assignee, settings and software by which it was judged; when and with which map the report was made, if the shell says."""
    words = ((1, "status", "contained"), (2, "assign", "op2"))
    entries = tuple(Entry(at=at, operator="op", action=what, value=said, text="") for at, what, said in words)
    made = report(settings="5e77", judged_by="0.0.9", journal=entries)
    head = Page(page(made)).text.partition("To the report")[2].partition("In short")[0]
    assert "State: contained. Assigned to: op2." in head
    assert "Judged by trainwatch 0.0.9 under settings 5e77." in head
    assert "Report made" not in head
    assert "State: open. Assigned to: nobody." in Page(page(report(journal=()))).text
    stamped = msgspec.structs.replace(made, made=Made(at=1_772_323_200_000, settings="5e77", identities="1d3a"))
    head = Page(page(stamped)).text.partition("To the report")[2].partition("In short")[0]
    assert f"Report made 2026-03-01 00:00:00Z by trainwatch {made.software}, identity map 1d3a." in head
    assert page(stamped) == page(stamped)
    said = orjson.loads(as_json(stamped))
    assert (said["state"], said["assignee"], said["settings"], said["judged_by"]) == ("contained", "op2", "5e77", "0.0.9")
    assert said["made"] == {"at": 1_772_323_200_000, "settings": "5e77", "identities": "1d3a"}
    other = msgspec.structs.replace(stamped, made=Made(at=0, settings="07e4", identities="1d3a"))
    assert "whoever made this report has other settings: 07e4" in Page(page(other)).text
    keyless = msgspec.structs.replace(stamped, made=Made(at=0, settings="", identities="1d3a"))
    assert "whoever made this report had not the site's key" in Page(page(keyless)).text


def test_one_paragraph_says_it_in_short() -> None:
    """What was seen, who is named or not and why, what it cost, what is not known; the same for machines."""
    loss = Loss(currency="CNY", direct_gpu_hours=Range(1.0, 2.0, 40.0), direct_money=Range(10.0, 20.0, 400.0))
    for findings, who in ((None, "The account u099 is named"), ([kill(0, "1", "u099")], "Nobody is named")):
        made = report(findings)
        limits = ("auditd was not heard on 2026-03-02: absence proves nothing there.",)
        made = msgspec.structs.replace(made, incident=msgspec.structs.replace(made.incident, loss=loss, limits=limits))
        said = orjson.loads(as_json(made))["summary"]
        assert " ".join(said) in part(page(made), "short")
        seen, named, cost, unknown = said
        assert "above the gate" in seen
        assert named.startswith(who)
        assert "u099" in named or findings
        assert "1.00 / 2.00 / 40.00 GPU-hours (low / middle / high), 10 / 20 / 400 CNY" in cost
        assert "what happened while auditd was not heard" in unknown
        assert ("how 1 attempt ended" in unknown) is (findings is None)
    assert "no finding of guilt" in orjson.loads(as_json(report()))["summary"][1]
    assert "A reply of u099 is on record." in orjson.loads(as_json(report()))["summary"][1]
    assert made.incident.attribution.withheld in named
    nothing = report([kill(0, "1", "u099")])
    assert "No loss of GPU-hours could be worked out" in orjson.loads(as_json(nothing))["summary"][2]
    known = msgspec.structs.replace(nothing, incident=msgspec.structs.replace(nothing.incident, limits=(), status=Status.FINAL))
    assert known.summary[3] == "Not known is whatever no source recorded."


def test_repeats_of_one_write_are_told_once() -> None:
    """Below the gate: the first in full, the others by their jobs; what is above it stands in full."""
    same = [tamper(0.1 * number, str(100 + number), "u099", written="w", named=False) for number in range(1, 26)]
    made = report([*same, tamper(4, "200", "u099", written="other", named=False), *(kill(day, str(day), "u099") for day in range(3))])
    text = part(page(made), "seen")
    assert "24 more of the same write" in text
    assert "jobs 102, 103, 104" in text
    assert text.count("p06_checkpoint_tamper") == 3
    assert text.count("p01_foreign_kill") == 3
    assert len(orjson.loads(as_json(made))["incident"]["members"]) == 29
    benign = part(page(made), "benign")
    assert benign.count("p06_checkpoint_tamper") == 1
    assert "26: job 101, job 102" in benign


def test_of_many_repeats_none_is_left_out() -> None:
    """Whose job is the hundred and fiftieth looks for it, too."""
    many = [str(48_000 + number) for number in range(150)]
    shown = page(report([tamper(0.01 * number, job, "u099", written="w", named=False) for number, job in enumerate(many)]))
    for section in ("seen", "benign", "scope"):
        assert [job for job in many if job not in part(shown, section)] == []


def test_how_far_clocks_are_off_is_a_limit() -> None:
    """A line from after its collection shows a clock that is ahead; nothing shows one that is behind."""
    clocks = clocks_of([("gpu-012", 5000, 1000), ("gpu-012", 9000, 2000), ("gpu-013", 1000, 1500), ("gpu-014", 9000, 0), ("", 9000, 1)])
    assert clocks == {"gpu-012": 7000}
    text = part(page(report(clocks=clocks)), "limits")
    assert "The clock of gpu-012 was ahead by 7 s at least" in text
    assert "Times are those of each host's own clock" in part(page(report()), "limits")
    assert any("gpu-012" in line for line in orjson.loads(as_json(report(clocks=clocks)))["limits"])


def test_what_stands_in_texts_of_people_is_said() -> None:
    """Names in them are nobody's finding."""
    assert "a candidate who is not named stands in them under a label" in part(page(report()), "journal")
    assert "under a label" not in part(page(report(journal=())), "journal")


def test_a_source_that_is_more_than_its_name_is_explained() -> None:
    """Lines of su stand under sshd, which names the whole access log of a host."""
    made = report()
    moments = tuple(msgspec.structs.replace(each, source="sshd") for each in made.incident.timeline)
    incident = msgspec.structs.replace(made.incident, timeline=moments)
    assert "Source sshd is the access log of a host" in part(page(msgspec.structs.replace(made, incident=incident)), "time")
    alone = tuple(msgspec.structs.replace(each, source="auditd") for each in moments)
    assert "access log" not in part(page(msgspec.structs.replace(made, incident=msgspec.structs.replace(incident, timeline=alone))), "time")


def test_names_of_explanations_are_said_in_words() -> None:
    """Whoever reads a case need not know what `owner_or_service` is short for."""
    made = page(report())
    assert "What it says" in made
    for name, _, _ in report().incident.checklist:
        assert safe(explanations_in_words()[name]) in made


def test_nobody_reads_an_empty_list_as_nothing_missing() -> None:
    """A silent week may decide nothing between these hypotheses, and yet hide what could not be judged."""
    made = report()
    attribution = msgspec.structs.replace(made.incident.attribution, decides=())
    shown = page(msgspec.structs.replace(made, incident=msgspec.structs.replace(made.incident, attribution=attribution)))
    assert "None that is known to be missing would tell these hypotheses apart" in shown


def test_of_how_many_acts_one_place_alone_tells_is_said() -> None:
    """By host, in words where no record tells of one, and of no more than are listed."""
    made = report()
    alone = (
        Witness("gpu-<1>", 2, ("p01_foreign_kill", "p14_node_degraded")),
        Witness(UNKNOWN_HOST, 1, ("p01_foreign_kill",)),
        Witness("", 1, ()),
    )
    many = tuple(Witness(f"gpu-{number:03}", 1, ("p01_foreign_kill",)) for number in range(WITNESSES_MAX))
    shown = []
    for each in (alone, many):
        attribution = msgspec.structs.replace(made.incident.attribution, alerts=30, alone=each)
        shown.append(page(msgspec.structs.replace(made, incident=msgspec.structs.replace(made.incident, attribution=attribution))))
    assert "In 4 of 30 findings of acts by the leading candidate one place alone tells who did it" in shown[0]
    assert 'gpu-&lt;1&gt;: 2 findings (<span class="n">p01_foreign_kill</span>, <span class="n">p14_node_degraded</span>)' in shown[0]
    assert "a host of which no record tells: 1 finding" in shown[0]
    assert "no record that counts: 1 finding" in shown[0]
    assert f"In at least {WITNESSES_MAX} of 30" in shown[1]
