"""An incident with its findings, lines and journal in; one self-contained HTML page, or the same as JSON, out.

It reads as a careful examiner would write: what was seen, what follows, what does not.  The page needs no network and runs no script,
prints, is read by screen readers, and follows light and dark.  Whatever comes from records is escaped (report_text.py).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import orjson

from pipeline import __version__
from pipeline.incidents.campaigns import LINKS
from pipeline.incidents.likelihoods import ASSUMPTION, BORROWED_GAP_MIN
from pipeline.incidents.loss_inputs import said_of_inputs
from pipeline.incidents.report_graph import drawn, graph_of, rows_of
from pipeline.incidents.report_labels import UNWEIGHED, Dismissed, apart, dismissed, newest_labels
from pipeline.incidents.report_repeats import act_of, repeats_of
from pipeline.incidents.report_summary import limits_of, summary
from pipeline.incidents.report_text import ATTEMPT, called, figures, listed, moment, ratio, safe, table
from pipeline.incidents.telling import told
from pipeline.loss.prices import READINGS
from pipeline.model.events import UNKNOWN_HOST
from pipeline.model.finding import Finding, Status
from pipeline.model.incident import WITNESSES_MAX, Attribution, Hypothesis, Incident, Moment, Range, label_of
from pipeline.model.source import in_words
from pipeline.model.words import many

PLACES = {UNKNOWN_HOST: "a host of which no record tells", "": "no record that counts"}
KINDS = {
    "did": "The holder of the account did it",
    "borrowed": "Somebody else did it with this account or key",
    "nobody": "Nobody did it: machine, scheduler, mistake",
    "other": "Somebody of whom no record tells",
}
STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#f2f4f7;--line:#b6bec9;--mark:#8a3b00;--link:#0b57a4}
@media(prefers-color-scheme:dark){:root{--ink:#e7eaee;--paper:#14181d;--soft:#1f252c;--line:#4a545f;--mark:#ffb37a;--link:#8ec1ff}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:76rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem}h2{font-size:1.25rem;border-bottom:1px solid var(--line);margin-top:2rem}a{color:var(--link)}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{border:1px solid var(--line);padding:.25rem .5rem;text-align:left;vertical-align:top;max-width:24rem}
th{background:var(--soft);overflow-wrap:break-word}td{overflow-wrap:anywhere;min-width:5rem}.n{white-space:nowrap}
.said{background:var(--soft);border-left:4px solid var(--mark);padding:.5rem 1rem}code{font-size:.85rem;overflow-wrap:anywhere}
svg{width:100%;height:auto}svg rect{fill:var(--soft);stroke:var(--line)}svg path{fill:none;stroke:var(--mark)}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .head{font-weight:700}
svg .once{stroke-dasharray:5 4}svg marker path{fill:var(--mark)}
@media print{:root{--ink:#000;--paper:#fff;--soft:#eee;--line:#777;--mark:#000;--link:#000}.wide{overflow:visible}
tr,svg{break-inside:avoid}body{max-width:none}table{font-size:.7rem}td{min-width:0}}
"""
SECTIONS = (
    ("short", "In short"),
    ("seen", "What was seen"), ("follows", "What follows"), ("not", "What does not follow"), ("who", "Candidates and hypotheses"),
    ("graph", "Who touched what"), ("time", "Timeline"), ("benign", "Benign explanations"), ("scope", "Scope"), ("loss", "Loss"),
    ("evidence", "Evidence index"), ("limits", "Limits of knowledge"), ("journal", "Journal"),
)  # fmt: skip
THOUSAND = 1000.0
OPEN = "open"  # the state of which nobody has said anything
ENTRY_MAX = 20_000  # characters of one entry, or of a list: a reply stands here as it was given, to its end, and so does each job


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal."""

    at: int  # UTC ms
    operator: str
    action: str  # status | assign | note | reply | label: of one of its findings, whose id begins the value
    value: str
    text: str


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """When and with what a report was made: whoever makes it says so, and the same report says the same again."""

    at: int  # UTC ms
    settings: str  # digest of the settings of whoever made it; empty: he had not the site's key, without which there is none
    identities: str  # likewise of the identity map, with which names were told or withheld


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says."""

    incident: Incident
    revision: int
    findings: tuple[Finding, ...]  # as published: without whom they suspect
    lines: dict[str, str]  # event id -> the line as received; see `lines_of`
    journal: tuple[Entry, ...]
    software: str = __version__
    settings: str = ""  # digest of the settings under which it was judged
    judged_by: str = ""  # software
    clocks: dict[str, int] = {}  # host -> by how many ms its clock was ahead, at least
    made: Made | None = None
    formerly: tuple[tuple[str, int], ...] = ()  # incidents that had some of these findings before, and how many entries stand there

    @property
    def state(self) -> str:
        """How far work on it has come, as somebody says."""
        return newest(self.journal, "status") or OPEN

    @property
    def assignee(self) -> str:
        """Who works on it; empty: nobody."""
        return newest(self.journal, "assign")

    @property
    def limits(self) -> list[str]:
        """What is not known."""
        return limits_of(self.incident, self.clocks)

    @property
    def summary(self) -> list[str]:
        """In short."""
        replied = dict.fromkeys(each.value.strip() for each in self.journal if each.action == "reply")
        return summary(self.incident, self.dismissed, [*replied])

    @property
    def dismissed(self) -> Dismissed:
        """What people labelled false or benign."""
        return dismissed(self.incident, self.journal)


def lines_of(timeline: Sequence[Moment], found: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Event id -> the line that is cited; where several of one event are, the first that is there, and each under `id sha256`, too.

    `found`: event id and sha256 -> line, as far as it is still there.
    """
    cited: dict[str, dict[str, str]] = {}
    for each in timeline:
        cited.setdefault(each.event_id, {})[each.sha256] = found.get((each.event_id, each.sha256), "")
    lines = {event_id: next(filter(None, some.values()), "") for event_id, some in cited.items()}
    several = {f"{event_id} {sha256}": line for event_id, some in cited.items() if len(some) > 1 for sha256, line in some.items()}
    return {name: line for name, line in lines.items() if line} | several


def _line(report: Report, each: Moment) -> str:
    return report.lines.get(f"{each.event_id} {each.sha256}", report.lines.get(each.event_id, ""))


def candidate_of(incident: Incident, who: str, key: bytes, pseudonym: Callable[[str], str] = str) -> str:
    """As the incident calls this candidate, so that a reply tells no name that is withheld; empty: whoever replied is none.

    `pseudonym`: what the site calls this person.
    """
    known = {each.who for each in incident.attribution.hypotheses}
    ids = (who, pseudonym(who)) if who else ()
    return next((name for each in ids for name in (each, label_of(incident.cluster, each, key)) if name in known), "")


def as_json(report: Report) -> bytes:
    """The same for machines."""
    said, about = report.incident.attribution, _subjects(report)
    gates = {each.finding: each.gate for each in report.incident.members}
    said_first = {
        "state": report.state, "assignee": report.assignee, "limits": report.limits, "summary": report.summary,
        "dismissed": report.dismissed.as_dict(),
    }  # fmt: skip
    body = {"id": report.incident.id, **msgspec.to_builtins(report), **said_first}
    for finding, value in zip(report.findings, body["findings"], strict=True):
        del value["suspect"]
        if finding.subject.kind == "identity":
            value["subject"][2] = about[finding.id].partition("/")[2]
        value["id"] = finding.id
        value["actor"], value["actor_withheld"] = told(finding.actor, finding.actor_withheld, [(said.named, said.withheld)])
        if finding.gate:  # the site's own words, in which somebody may be named
            value["gate"] = gates.get(finding.id, "")
            value["actor_withheld"] = value["actor_withheld"].replace(finding.gate, value["gate"])
    return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS, default=str)


def _subjects(report: Report) -> dict[str, str]:
    """What each finding is about, as its incident tells it: an account under a label where its holder is a candidate who is not named."""
    told = {each.finding: each.subject for each in report.incident.members}
    return {each.id: told.get(each.id, "identity:" if each.subject.kind == "identity" else each.about) for each in report.findings}


def page(report: Report) -> str:
    """The page."""
    incident = report.incident
    parts = {
        "short": f"<p>{safe(' '.join(report.summary), ENTRY_MAX)}</p>",
        "seen": _seen(report), "follows": _follows(incident, report.dismissed), "not": _does_not_follow(incident, report.journal),
        "who": _who(incident.attribution), "graph": _graph(report), "time": _timeline(report), "benign": _benign(report),
        "scope": _scope(incident), "loss": _loss(report), "evidence": _evidence(report),
        "limits": listed([safe(line) for line in report.limits]), "journal": _journal(report),
    }  # fmt: skip
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title in SECTIONS)
    body = "".join(
        f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{title}</h2>{parts[name]}</section>' for name, title in SECTIONS
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f'<meta name="referrer" content="no-referrer"><title>Incident {safe(incident.id)}</title><style>{STYLE}</style></head><body>'
        f'<a class="skip" href="#main">To the report</a><header><h1>Incident {safe(incident.id[:12])}: {safe(incident.title)}</h1>'
        f"<p>Cluster {safe(incident.cluster)}, {safe(incident.severity)}, {safe(incident.status)}, revision {report.revision}; "
        f"{moment(incident.first)} to {moment(incident.last)}. Id <code>{safe(incident.id)}</code>.</p>"
        f"<p>{_provenance(report)}</p></header>"
        f'<nav aria-label="Sections"><ol>{links}</ol></nav><main id="main">{body}</main>'
        f"<footer><p>trainwatch {safe(report.software)}. Times are UTC.</p></footer></body></html>\n"
    )


def _provenance(report: Report) -> str:
    """Who works on it, by what it was judged, and by what this report was made."""
    said = f"State: {safe(report.state)}. Assigned to: {safe(report.assignee or 'nobody')}."
    if report.judged_by:
        said += f" Judged by trainwatch {safe(report.judged_by)} under settings <code>{safe(report.settings)}</code>."
    if made := report.made:
        said += f" Report made {moment(made.at)} by trainwatch {safe(report.software)}, identity map <code>{safe(made.identities)}</code>"
        other = f"has other settings: <code>{safe(made.settings)}</code>" if made.settings else "had not the site's key"
        said += f"; whoever made this report {other}." if made.settings != report.settings else "."
    return said


# --- what is said -----------------------------------------------------------------------------------------------------------------


def _seen(report: Report) -> str:
    incident, by_id = report.incident, {each.id: each for each in report.findings}
    scope = incident.scope
    counts = incident.detectors or tuple((each.detector, 1, int(each.alert)) for each in incident.members)
    findings, alerts = sum(count for _, count, _ in counts), sum(alerts for _, _, alerts in counts)
    rows = []
    for member, others in repeats_of(incident.members, report.findings):
        gate, links = "above" if member.alert else f"below: {safe(member.gate)}", safe(", ".join(member.links))
        rows.append((moment(member.effect_time), _word(member.detector), safe(called(member.subject)), safe(member.summary), gate, links))
        if others:
            more = f"<strong>{len(others)} more of the same {act_of(member, by_id)}</strong>: below the gate as it is"
            last = max(each.effect_time for each in others)
            rows.append((f"to {moment(last)}", _word(member.detector), _alike([each.subject for each in others]), more, gate, links))
    cited = incident.records or len(incident.timeline)
    return (
        f"<p>{many(findings, 'finding')}, {alerts} above the gate, on {many(scope.affected or len(scope.attempts), 'attempt')} of "
        f"{many(scope.affected_users or len(scope.users), 'owner')}. Citations of records: {cited}.</p>"
        + _told(incident, findings)
        + table("Findings", ("Effect", "Detector", "About", "What", "Gate", "Tied by"), rows)
        + _ties(incident)
    )


def _word(text: str) -> str:
    """Escaped, on one line."""
    return f'<span class="n">{safe(text)}</span>'


def _alike(subjects: Sequence[str]) -> str:
    """What several are about, as people say it: `jobs 102, 103`."""
    names = [called(each) for each in subjects]
    jobs = [each.removeprefix("job ") for each in names if each.startswith("job ")]
    return safe(f"jobs {', '.join(jobs)}" if len(jobs) == len(names) else ", ".join(names), ENTRY_MAX)


def _ties(incident: Incident) -> str:
    """The column “Tied by” in words."""
    used = {link for member in incident.members for link in member.links}
    words = "; ".join(f"{link}: {said}" for link, said in LINKS.items() if link in used)
    return f"<p>Tied by: {safe(words)}.</p>" if words else ""


def _told(incident: Incident, findings: int) -> str:
    """What of a large campaign stands in the report."""
    if findings == len(incident.members):
        return ""
    rows = [(_word(detector), str(count), str(alerts)) for detector, count, alerts in incident.detectors]
    return (
        f"<p>{many(len(incident.members), 'finding')} and {many(len(incident.timeline), 'record')} stand here: "
        "the first of every kind, then the second "
        "of every kind, and so on, and the last of all. All were weighed, and all are counted here.</p>"
        + table("All findings, by detector", ("Detector", "Findings", "Above the gate"), rows)
    )


def _follows(incident: Incident, cleared: Dismissed) -> str:
    said = incident.attribution
    acquitted = cleared.whole
    items = ["The findings are looked at as one case, because they share what the column “Tied by” names; one hand need not have done all."]
    if acquitted:
        items.append(f"By the word of those who looked, nothing against anybody: {safe(cleared, ENTRY_MAX)}.")
    leading = "By records alone, without these labels, the leading hypothesis is" if acquitted else "The leading hypothesis is"
    labelled = f" But {safe(cleared, ENTRY_MAX)}; {UNWEIGHED}." if cleared.any and not acquitted else ""
    if said.named:
        items.append(
            f"{leading} that the holder of account <strong>{safe(said.named)}</strong> did it; "
            f"the nearest other is {_called(said.second)}.{labelled}"
        )
    else:
        items.append(f"{leading} {_called(said.leader)}; the nearest other is {_called(said.second)}. No name is given.{labelled}")
    if said.gap_low is not None and said.gap_high is not None:
        items.append(
            f"What was seen is {ratio(said.gap_low)} to {ratio(said.gap_high)} times as likely under the leading hypothesis "
            "as under the nearest other, by ratios of which most are assumptions."
        )
    if incident.traced:
        loads = many(sum(each.loads for each in incident.traced), "time")
        more = f" by the {len(incident.traced)} that are listed" if incident.artefacts > len(incident.traced) else ""
        items.append(
            f"Suspect artefacts: {max(incident.artefacts, len(incident.traced))}, loaded {loads}{more} behind a suspect write: "
            "whether results differ by it, loading alone does not show."
        )
    return f'<div class="said">{listed(items)}</div>'


def _does_not_follow(incident: Incident, journal: tuple[Entry, ...]) -> str:
    said = incident.attribution
    items = ["That anybody is guilty. The ratios compare how well hypotheses explain the records; what was believed before is not in them."]
    if said.named:
        items.append(
            "That the holder of the account sat at the keys: a copied key that is used as he uses it, or beside few logins of his, leaves "
            "no trace in logins, nor does what somebody left in the account to run later."
        )
        items += [_replied(each, said.named) for each in journal if each.action == "reply"] or [
            "That there is nothing to say against it: no reply of whoever is named is on record."
        ]
    else:
        items.append(f"Who did it. Naming is withheld: {safe(said.withheld)}.")
        items.append("That an account which stands in a line as received was in its holder's hands, or that the line is true by itself.")
    if any(each.action == "reply" for each in journal):
        items.append(
            "That anybody of whom a reply speaks had a part in it. It is the word of whoever gave it, and no record; none is weighed."
        )
    items += _found_harmless(incident, journal)
    items.append("That nothing else happened. What no source recorded stands nowhere here.")
    if incident.scope.unexplained:
        items.append(f"That {many(incident.scope.unexplained, 'attempt')} whose end no record explains came to harm, or came to none.")
    if incident.status is not Status.FINAL:
        items.append("That this is the last word: records of the time may still come.")
    return f'<div class="said">{listed(items)}</div>'


def _found_harmless(incident: Incident, journal: tuple[Entry, ...]) -> Iterator[str]:
    """Findings that people labelled false or benign, by the newest word of others than the named on each: the pipeline counts them on."""
    _, others = apart(incident, journal)
    for finding, each in newest_labels(others).items():
        word = each.value.removeprefix(finding).strip()
        if word != "true":
            what = next(
                (f"{member.detector}, {called(member.subject)}" for member in incident.members if member.finding.startswith(finding)), ""
            )
            said = f"{safe(each.operator)} labelled it {safe(word)} ({moment(each.at)})"
            note = f": “{safe(each.text, ENTRY_MAX)}”" if each.text else ""
            yield f"That finding {safe(finding)} ({safe(what)}) was interference. {said}{note}"


def _replied(reply: Entry, named: str) -> str:
    """Counsel replies under another name: whom somebody speaks for nothing here tells, so each reply stands beside the name."""
    whose = "" if reply.value.strip() == named else ", for whoever is named or for another"
    return f"That it is undisputed. {safe(reply.value)} replied ({moment(reply.at)}){whose}: “{safe(reply.text, ENTRY_MAX)}”"


def _who(said: Attribution) -> str:
    rows = [(safe(KINDS[each.kind]), safe(each.who or "-"), ratio(each.low), ratio(each.high), _weighed(each)) for each in said.hypotheses]
    return (
        f"<p>Candidates: {said.candidates}. To name one, the gap to any other must be a factor of {ratio(said.gap_needed)} at least, and a "
        f"factor of {ratio(BORROWED_GAP_MIN)} to the account in others' hands, among other conditions; presence counts for nothing. "
        "Ratios of several kinds of evidence are multiplied as if none depended on another: the products put hypotheses in order, and are "
        "no odds that anybody did it.</p>"
        + table("Hypotheses, ratios against “somebody of whom no record tells”", ("Hypothesis", "Who", "Low", "High", "Evidence"), rows)
        + _witnesses(said)
        + "<h3>What would clear the leading candidate</h3>"
        + (listed([safe(each) for each in said.clears]) if said.clears else "<p>Nobody leads who could be cleared.</p>")
        + "<h3>Which missing source would decide</h3>"
        + (
            listed([f"{safe(each.source)}: {safe(each.why)}" for each in said.decides])
            if said.decides
            else "<p>None that is known to be missing would tell these hypotheses apart. What could not be judged at all stands under "
            "“Scope”.</p>"
        )
        + '<p>Words with an underscore are benign explanations; <a href="#benign">what each says</a> stands below.</p>'
    )


def _witnesses(said: Attribution) -> str:
    """Acts of which one host, or one log, alone tells who did them."""
    if not said.alone:
        return ""
    count = sum(each.findings for each in said.alone)
    alone = f"{'at least ' if len(said.alone) == WITNESSES_MAX else ''}{count}"
    places = [
        f"{safe(PLACES.get(each.place, each.place))}: {many(each.findings, 'finding')} ({', '.join(map(_word, each.detectors))})"
        for each in said.alone
    ]
    share = f"{alone} of {many(said.alerts, 'finding')}"
    return (
        f"<h3>Who says who did it</h3><p>In {share} of acts by the leading candidate one place alone tells who did it. Whoever is root "
        "there could have written that; an incident of such a finding alone would name nobody:</p>"
    ) + listed(places)


def _plain(value: float) -> str:
    """10,000 rather than 1e+04."""
    return f"{value:,.0f}" if value >= THOUSAND else f"{value:.3g}"


def _weighed(each: Hypothesis) -> str:
    return listed(
        [
            f"{safe(row.statement)}: {_plain(row.low)} to {_plain(row.high)} "
            + ("(<em>assumption</em>)" if row.source == ASSUMPTION else f"({safe(row.source)})")
            + (f", by records such as {_ids(row.cites)}" if row.cites else "")
            for row in each.weighed
        ]
    )


def _graph(report: Report) -> str:
    graph = graph_of(report.incident, report.findings)
    return drawn(graph) + table("Who touched what: accounts, whoever used them", ("Who or what", "did", "Whom or what"), rows_of(graph))


def _timeline(report: Report) -> str:
    rows = [
        (
            moment(each.event_time),
            safe(each.source),
            safe(each.role),
            safe(each.summary),
            f"<code>{safe(_line(report, each))}</code>",
        )
        for each in report.incident.timeline
    ]
    words = in_words(each.source for each in report.incident.timeline)
    note = f"<p>{safe(words[0].upper() + words[1:])}.</p>" if words else ""
    if not report.incident.attribution.named:
        note += (
            "<p>Lines stand here as they were received, so that a candidate whose name is withheld can be read in them. That a line tells "
            "of an account is no finding that its holder did anything.</p>"
        )
    return note + table("Cited records over all sources", ("Time", "Source", "Role", "What", "Line as received"), rows)


def _benign(report: Report) -> str:
    from pipeline.detect.detector import explanations_in_words  # noqa: PLC0415  the detectors are many modules, and help is to be quick

    words = explanations_in_words()
    rows = [(safe(name), safe(words.get(name, "-")), str(excluded), str(left)) for name, excluded, left in report.incident.checklist]
    about, alike = _subjects(report), dict[tuple[str, ...], list[str]]()
    for finding in report.findings:
        for item in finding.checklist:
            key = (finding.detector, item.name, item.answer, item.note or ", ".join(item.missing), item.by)
            alike.setdefault(key, []).append(called(about[finding.id]))
    details = [
        (
            _word(detector), safe(subjects[0] if len(subjects) == 1 else f"{len(subjects)}: {', '.join(subjects)}", ENTRY_MAX),
            safe(name), safe(answer.replace("_", " ")), safe(why), f"<code>{safe(by)}</code>",
        )
        for (detector, name, answer, why, by), subjects in alike.items()
    ]  # fmt: skip
    return table("Over all findings", ("Explanation", "What it says", "Excluded", "Not checked"), rows) + table(
        "In each finding", ("Detector", "About", "Explanation", "Answer", "Why", "Record"), details
    )


def _scope(incident: Incident) -> str:
    scope = incident.scope
    rows = [
        ("Attempts touched, by findings above or below their gate", str(scope.affected or len(scope.attempts)), _jobs(scope.attempts)),
        ("Their owners", str(scope.affected_users or len(scope.users)), safe(", ".join(scope.users))),
        ("Their projects", str(scope.affected_projects or len(scope.projects)), safe(", ".join(scope.projects))),
        ("GPUs of the largest", str(scope.gpus_max), ""),
        ("Attempts of findings of which nothing came: refused, or put back before they loaded it", str(scope.spared), ""),
        ("Loaded suspect artefacts without a finding of their own", str(scope.exposed), ""),
        ("Went on from what those had saved", str(scope.derived), ""),
        ("Different GPUs that all these held, at most", str(max(scope.gpus, scope.gpus_max)), ""),
        ("Ended in the window", str(scope.examined), ""),
        ("Of these examined, and found unaffected", str(scope.unaffected), ""),
        (
            "Owners all of whose attempts are unaffected",
            str(scope.fine_users or len(scope.unaffected_users)),
            safe(", ".join(scope.unaffected_users)),
        ),
        (
            "Projects all of whose attempts are unaffected",
            str(scope.fine_projects or len(scope.unaffected_projects)),
            safe(", ".join(scope.unaffected_projects)),
        ),
        ("GPUs of nodes on which none but unaffected attempts ended", str(scope.fine_gpus), ""),
        ("Ended without explanation", str(scope.unexplained), ""),
    ]
    alike: dict[tuple[str, int, tuple[str, ...]], list[str]] = {}
    for gap in scope.unjudged:
        alike.setdefault((gap.what, gap.amount, gap.examples), []).append(gap.source)
    unjudged = [
        (safe(sources[0] + (f" and {len(sources) - 1} more" if len(sources) > 1 else "")), safe(what), str(amount), _jobs(examples))
        for (what, amount, examples), sources in alike.items()
    ]
    traced = [(safe(each.path), moment(each.since), str(each.loads), _jobs(each.loaded_by)) for each in incident.traced]
    derived = [
        (
            safe(each.path or f"whatever {each.attempt} saved"), moment(each.saved), _jobs(each.saved_by or (each.attempt,)),
            _jobs((each.after,)), str(each.loads), _jobs(each.loaded_by),
        )
        for each in incident.derived
    ]  # fmt: skip
    return (
        table("What was touched and what was not", ("", "Count", "Which"), rows)
        + table(
            "Cannot be judged, since telemetry is missing", ("Source", "Of", "Count", "Examples"), unjudged, empty="nothing is known to be."
        )
        + table("Suspect artefacts traced forward", ("Artefact", "Since", "Loads", "By"), traced)
        + table(
            "Checkpoints saved after that, traced forward",
            ("Checkpoint", "Last saved", "Saved by", "After", "Loads", "By"),
            derived,
            empty="nothing known.",
        )
    )


def _loss(report: Report) -> str:
    loss = report.incident.loss
    totals = [
        ("Direct: GPU-hours", *_unbroken(loss.direct_gpu_hours)),
        (f"Direct: {safe(loss.currency or 'money (no prices are set)')}", *_unbroken(loss.direct_money)),
        (f"Indirect: {safe(loss.currency or 'money')}", *_unbroken(loss.indirect_money)),
    ]
    rows = [
        (
            str(number), safe(line.ledger), safe(line.kind), safe(called(line.attempt.name) if line.attempt else "-"),
            *_unbroken(line.gpu_hours), *_unbroken(line.money), safe(line.note),
        )
        for number, line in enumerate(loss.lines, 1)
    ]  # fmt: skip
    made = [
        (str(number), safe(line.method), "<br>".join(map(safe, (line.formula, *said_of_inputs(line)))), _ids(line.evidence))
        for number, line in enumerate(loss.lines, 1)
    ]
    amounts = (f"{what}, {each}" for what in ("GPU-hours", loss.currency or "money") for each in READINGS)
    return (
        "<p>What was lost if the findings hold: low, what records show beside a finding above its gate; middle, what such a finding makes "
        "likely; high adds what one open thing leaves possible. No GPU-hour is counted twice in a reading: lines of one attempt and kind "
        "are of different GPUs or hours. Each reading is counted by itself, so hours of one line may stand in another line of the next. "
        "Another incident may claim the same hours. "
        f"At most {loss.gpus} different GPUs were concerned.</p>"
        + table("Totals, direct and indirect kept apart", ("", "Low", "Middle", "High"), totals)
        + (
            ""
            if any(line.ledger == "indirect" for line in loss.lines)
            else "<p>Nobody has stated what people's time, or what delay, it cost (loss.staff).</p>"
        )
        + table("Lines", ("Line", "Ledger", "Kind", "Attempt", *amounts, "Note"), rows, empty="no loss could be worked out.")
        + (table("How each line comes about", ("Line", "Method", "Formula and inputs", "Evidence"), made) if made else "")
        + "<h3>What was left out, and what makes a range wide</h3>"
        + listed([safe(each) for each in loss.unknown])
    )


def _unbroken(amount: Range) -> Iterator[str]:
    """Half a figure in the next line reads as another one."""
    return (f'<span class="n">{each}</span>' for each in figures(amount))


def _ids(ids: tuple[str, ...]) -> str:
    return " ".join(f"<code>{safe(each)}</code>" for each in ids)


def _evidence(report: Report) -> str:
    rows = [
        (
            f"<code>{safe(each.event_id)}</code>",
            safe(each.source),
            safe(each.role),
            f"<code>{safe(each.sha256)}</code>",
            str(each.cited_by or len(each.findings)),
        )
        for each in report.incident.timeline
    ]
    return table("Cited records, in each of their roles", ("Event", "Source", "Role", "sha256 of the line", "Findings"), rows) + table(
        "Records on which more than findings rests; a bundle holds them, too", ("As what", "Events"), _beside(report)
    )


def _beside(report: Report) -> list[tuple[str, str]]:
    """By what they are for, those that stand in no row of the timeline."""
    timed = {each.event_id for each in report.incident.timeline} | {""}
    kinds: dict[str, set[str]] = {
        "amounts of loss": {name for line in report.incident.loss.lines if line.ledger == "direct" for name in line.evidence},
        "checkpoints saved after something suspect was loaded": {each.event_id for each in report.incident.derived},
        "explanations that were excluded, or left open": {item.by for finding in report.findings for item in finding.checklist},
    }
    return [(safe(kind), _ids(tuple(sorted(ids - timed)))) for kind, ids in kinds.items() if ids - timed]


def _journal(report: Report) -> str:
    rows = [
        (moment(each.at), safe(each.operator), safe(each.action), safe(each.value), safe(each.text, ENTRY_MAX)) for each in report.journal
    ]
    note = (
        "<p>Texts are as people gave them, but that a candidate who is not named stands in them under a label. "
        "No other name in them is a finding.</p>"
    )
    return (
        (note if rows else "")
        + table("Who did what with this incident", ("Time", "Operator", "What", "Value", "Text"), rows, empty="nothing yet.")
        + "".join(f"<p>{safe(line)}</p>" for line in elsewhere(report))
    )


def _jobs(names: Sequence[str]) -> str:
    """Attempts as people say them, each job once, so that a cell has room for all; anything else stays as it is."""
    if not all(map(ATTEMPT.fullmatch, names)):
        return safe(", ".join(names), ENTRY_MAX)
    jobs = dict.fromkeys(called(each).removeprefix("job ") for each in names)
    return safe(f"job{'s' * (len(jobs) > 1)} {', '.join(jobs)}" if jobs else "", ENTRY_MAX)


def unnamed(title: str) -> str:
    """A hypothesis in a word or two, for a table: `person-0d2367c8, unnamed`."""
    kind, _, who = title.partition("/")
    words = {"did": "unnamed", "borrowed": "account in others' hands"}.get(kind, "")
    return ", ".join(filter(None, (who or kind, words if who else "")))


def _called(title: str) -> str:
    kind, _, who = title.partition("/")
    words = KINDS.get(kind, kind)
    return f"“{safe(words[0].lower() + words[1:])}”" + (f" ({safe(who)})" if who else "")


def elsewhere(report: Report) -> list[str]:
    """Where people noted what concerned these findings while another incident had them: who is withheld there is not known here."""
    return [
        f"Incident {name[:12]} had some of these findings before: {many(count, 'entry', 'entries')} of its journal "
        f"stand{'s' * (count == 1)} there (trainwatch incident show {name[:12]})."
        for name, count in report.formerly
    ]


def newest(journal: tuple[Entry, ...], action: str) -> str:
    """The last value of an action, or ""."""
    found = [each for each in journal if each.action == action]
    return max(found, key=lambda each: each.at).value if found else ""
