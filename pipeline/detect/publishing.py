"""Findings and verdicts in; what changed since they were last published out, remembered as facts of the case.

Every stage that judges publishes through here.  What was last said under an id is itself a fact of the case (`Emitted`), so only changes
are published, and after a crash the same bodies come again under the same ids and revisions:

    judged: a, b      emitted: a, c       ->  a changed? update : nothing      b  create      c  retract

A retraction says why: records that came later, another version of the detector, or other settings.  That stands in the transport block,
since a finding taken back equals one never raised.  A verdict is taken back where its attempt is none by now: a later record said when it
was submitted or started, and it is another.

Incidents are told each finding's last word, with whom it suspects, also below the gate: it belongs to the case file.

Holds: a value whose canonical body was published last is not published again; a retraction is published once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from pipeline import __version__
from pipeline.detect import ocsf
from pipeline.detect.detector import registry
from pipeline.model.facts import VOID, Fact, incidents_case
from pipeline.model.finding import Finding, Retraction, Status, Transport, Verdict, canonical_digest, subject_of
from pipeline.model.ids import rank
from pipeline.model.incident import Found, encode_in_case
from pipeline.model.instants import DAY_MS, HOUR_MS
from pipeline.model.outcome import Publish, Tell
from pipeline.model.source import PER_HOST, SLOW, Source
from pipeline.model.told import Attempt, Emitted, emitted_name, encode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

LATER = "records that came later do not support it"


class _Ended(NamedTuple):
    """Of a verdict, what it was on: so much is told again when it is taken back."""

    attempt: Attempt
    owner: str
    owner_uid: int | None
    state: str
    end: int
    gpus: int | None
    closes_at: int


_decode = msgspec.msgpack.Decoder(Finding | _Ended).decode
_encode = msgspec.msgpack.Encoder().encode


class Publisher:
    """Publishes for the cases of one partition under one settings digest."""

    def __init__(self, cases: Cases, digest: str) -> None:
        self._cases, self._digest = cases, digest

    def settle(
        self,
        case: bytes,
        emitted: dict[str, Emitted],
        judged: Sequence[Finding | Verdict],
        now: Watermarks,
        again: Callable[[int], None],
        delays: Sequence[int] = (0,),
        kept_from: int = 0,
    ) -> Iterator[Publish | Tell]:
        """All that a case says now, against what it said before; `emitted` is brought up to date.

        Values whose window the joint watermark has passed are final; for the others `again` is told when to look, with each delay in ms.
        What closed before `kept_from` stands as it was said, since retention has taken what it rested on.
        """
        found: dict[str, Finding | Verdict] = {}
        for value in judged:
            joint = now.joint(_cluster(value))
            found[value.id] = msgspec.structs.replace(value, status=Status.FINAL) if joint >= value.closes_at else value
            for delay in delays:
                if joint < value.closes_at + delay:
                    again(value.closes_at + delay)
        for value in found.values():
            yield from self._publish(case, emitted, value, now)
        for subject in sorted(emitted.keys() - found.keys()):
            yield from self._retract(case, emitted, subject, now, kept_from)

    def shorten(self, case: bytes, emitted: dict[str, Emitted], before: int) -> None:
        """Of findings that closed before a time remember only that they were said, and how often: nothing takes them back any more.

        A later one under the same id, on what came since, goes on counting from there.
        """
        for last in list(emitted.values()):
            value = _decode(last.body) if last.body else None
            if isinstance(value, Finding) and value.closes_at < before:
                self._cases.drop(case, emitted_name(last.subject))
                self._remember(case, emitted, msgspec.structs.replace(last, body=b""))

    def _publish(self, case: bytes, emitted: dict[str, Emitted], value: Finding | Verdict, now: Watermarks) -> Iterator[Publish | Tell]:
        digest, last = canonical_digest(value), emitted.get(value.id)
        body = _encode(value if isinstance(value, Finding) else _ended(value))
        if last is not None and last.digest == digest and last.body == body:
            return
        revision = last.revision + 1 if last else 1
        self._remember(case, emitted, Emitted(value.id, revision, digest, body, settings=self._digest))
        if isinstance(value, Finding):
            yield _told(value, revision, encode_in_case(Found(value)))
        if last is not None and last.digest == digest:
            return  # only who is suspected has changed, which is in no body; or an earlier release did not keep what a verdict was on
        yield self._finding(value, revision, now) if isinstance(value, Finding) else self._verdict(value, revision, now)

    def _retract(self, case: bytes, emitted: dict[str, Emitted], subject: str, now: Watermarks, kept_from: int) -> Iterator[Publish | Tell]:
        """A finding that the facts no longer support, or a verdict on an attempt that is none by now or has not ended."""
        last = emitted[subject]
        if last.retracted or not last.body:
            return
        value = _decode(last.body)
        if not isinstance(value, Finding):
            none = _no_verdict(value)
            revision = last.revision + 1
            said = Emitted(subject, revision, canonical_digest(none), last.body, retracted=True, settings=self._digest)
            self._remember(case, emitted, said)
            yield self._verdict(none, revision, now)
            return
        if value.closes_at < kept_from:
            return
        if not value.subject.name and value.attempt is not None:  # said by a release whose findings were about jobs only
            value = msgspec.structs.replace(value, subject=subject_of(value.attempt))
        value = msgspec.structs.replace(value, status=Status.RETRACTED)
        revision, why = last.revision + 1, self._why(value, last.settings)
        said = Emitted(subject, revision, canonical_digest(value), last.body, retracted=True, settings=self._digest)
        self._remember(case, emitted, said)
        yield _told(value, revision, VOID)
        yield self._finding(value, revision, now, why)

    def _why(self, value: Finding, settings: str) -> str:
        """A finding is taken back: of what has changed since it was said, what is known."""
        version = next((each.meta.version for each in registry() if each.meta.id == value.detector), 0)
        changed = []
        if version != value.detector_version:
            changed.append(
                f"version {version} of {value.detector} does not find it" if version else f"there is no {value.detector} any more"
            )
        if settings not in ("", self._digest):  # what earlier releases said does not tell
            changed.append(f"the settings are others than {settings}, under which it was said")
        return "; ".join(changed) or LATER

    def _finding(self, value: Finding, revision: int, now: Watermarks, why: str = "") -> Publish:
        transport = self._transport(value.subject.cluster, revision, now, value.sources, value.detector_version, value.effect_time)
        if why:
            transport = Retraction(**msgspec.structs.asdict(transport), reason=why)
        body = ocsf.detection_finding(value, transport, value.effect_time)
        return Publish("findings", value.about.encode(), f"{value.id}/{revision}", body)

    def _verdict(self, value: Verdict, revision: int, now: Watermarks) -> Publish:
        transport = self._transport(value.attempt.cluster, revision, now)
        return Publish("verdicts", value.attempt.name.encode(), f"{value.id}/{revision}", ocsf.verdict_value(value, transport))

    def _remember(self, case: bytes, emitted: dict[str, Emitted], value: Emitted) -> None:
        self._cases.merge(Fact(case, emitted_name(value.subject), rank(value.revision), encode_told(value)))
        emitted[value.subject] = value

    def _transport(
        self, cluster: str, revision: int, now: Watermarks, needs: Sequence[Source] = (), version: int = 0, at: int = 0
    ) -> Transport:
        marks = {source.value: max(pair) for (of, source), pair in sorted(now.marks().items()) if of == cluster}
        silent = tuple(source.value for source in needs if _is_silent(cluster, source, at, now))
        return Transport(
            revision=revision, detector_version=version, watermarks=marks, silent=silent, settings=self._digest, software=__version__
        )


def _is_silent(cluster: str, source: Source, at: int, now: Watermarks) -> bool:
    """Was nothing heard of the family about this time: of what hosts log all the time within an hour, else within a day?

    Of accounting, which comes hours late and of every job, within two days; of others that come late it is asked whether they ever were.
    """
    if not now.known(cluster, source):
        return True
    if source in SLOW and source is not Source.SACCT:
        return False
    near = 2 * DAY_MS if source is Source.SACCT else HOUR_MS if source in PER_HOST else DAY_MS
    return not now.heard_within(cluster, source, at - near, at + near)


def _ended(verdict: Verdict) -> _Ended:
    return _Ended(*(getattr(verdict, name) for name in _Ended._fields))


def _no_verdict(ended: _Ended) -> Verdict:
    """What is said of an attempt on which there is nothing to say."""
    return Verdict(
        **ended._asdict(), verdict="unexplained", cause="no_record", by=None, findings=(), checklist=(), nodes=(),
        status=Status.RETRACTED,
    )  # fmt: skip


def last_said(emitted: Mapping[str, Emitted]) -> tuple[tuple[str, str], ...]:
    """(id, digest of the last canonical body) of everything said: what a tombstone keeps."""
    return tuple(sorted((each.subject, each.digest) for each in emitted.values()))


def _told(value: Finding, revision: int, body: bytes) -> Tell:
    """All findings of a cluster meet in one case: only there it shows which belong together."""
    return Tell("incidents", Fact(incidents_case(value.subject.cluster), value.id, rank(revision), body), last_word=True)


def _cluster(value: Finding | Verdict) -> str:
    return value.subject.cluster if isinstance(value, Finding) else value.attempt.cluster
