"""Incidents in; what changed since they were last published out, remembered as facts of the case.

As with findings, only changes are published, and what is no longer there is taken back once.  An incident that was merged says into which:

    said: A, B      now: A with B's findings      ->  A updated, B closed, merged_into A

Of an incident the state keeps a stub, since a body may be large and a retraction needs no more.
"""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from pipeline import __version__
from pipeline.incidents.ocsf import incident_finding
from pipeline.model.facts import Fact
from pipeline.model.finding import Status, Transport
from pipeline.model.ids import digest, rank
from pipeline.model.incident import Attribution, Incident, Loss, Scope, canonical_incident
from pipeline.model.outcome import Publish
from pipeline.model.told import Emitted, encode_told
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks

EMITTED = "emitted/"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Incident).decode
_NOWHERE = Scope(
    attempts=(), users=(), projects=(), gpus_max=0, exposed=0, examined=0, unaffected=0, unaffected_users=(), unaffected_projects=(),
    unexplained=0, unjudged=(),
)  # fmt: skip
_NOBODY = Attribution(
    named="", withheld="the incident was taken back", leader="other", second="nobody", gap_low=None, gap_high=None, gap_needed=0.0,
    candidates=0, hypotheses=(), clears=(), decides=(),
)  # fmt: skip


class IncidentPublisher:
    """Publishes for the cases of one partition under one settings digest."""

    def __init__(self, cases: Cases, settings: str) -> None:
        self._cases, self._settings = cases, settings

    def settle(
        self, case: bytes, emitted: dict[str, Emitted], incidents: Sequence[Incident], homes: Mapping[str, str], now: Watermarks
    ) -> Iterator[Publish]:
        """Incidents that were built, against what was said before; `emitted` is brought up to date.

        `homes`: finding -> incident, of all findings: what was said and is nobody's home any more is taken back.
        """
        for each in incidents:
            body = digest(canonical_incident(each))
            last = emitted.get(each.id)
            if last is None or last.digest != body:
                yield self._say(case, emitted, each, body, now)
        for subject in sorted(emitted.keys() - set(homes.values())):
            last = emitted[subject]
            known = _decode(last.body)
            gone = msgspec.structs.replace(known, status=Status.RETRACTED, merged_into=homes.get(known.founder, ""))
            body = digest(canonical_incident(gone))
            if last.digest != body:
                yield self._say(case, emitted, gone, body, now)

    def _say(self, case: bytes, emitted: dict[str, Emitted], value: Incident, body: str, now: Watermarks) -> Publish:
        last = emitted.get(value.id)
        revision = last.revision + 1 if last else 1
        said = Emitted(value.id, revision, body, _encode(_stub(value)), retracted=value.status is Status.RETRACTED)
        self._cases.merge(Fact(case, f"{EMITTED}{value.id}", rank(revision), encode_told(said)))
        emitted[value.id] = said
        marks = {source.value: max(pair) for (of, source), pair in sorted(now.marks().items()) if of == value.cluster}
        transport = Transport(revision=revision, watermarks=marks, settings=self._settings, software=__version__)
        return Publish("incidents", value.id.encode(), f"{value.id}/{revision}", incident_finding(value, transport))


def _stub(value: Incident) -> Incident:
    """What a retraction says."""
    return msgspec.structs.replace(
        value, aliases=(), members=(), timeline=(), traced=(), scope=_NOWHERE, attribution=_NOBODY, checklist=(), limits=(), loss=Loss(),
        merged_into="", detectors=(), others=(), derived=(),
    )  # fmt: skip
