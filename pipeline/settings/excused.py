"""Part of section `detect`: what the site puts up with, why, and until when.

    suppressions   a detector's alerts about one thing stay below the gate           allow-lists   values that count as harmless

An end is judged in the event time of what is found, so the same records under the same settings give the same findings whenever they are
read: what happened before `until` stays excused for ever, what happens from then on is not.

Holds: no suppression is without a reason, an end, and the one thing that it is about; no two say the same of one moment.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from pipeline.model.privacy import Pseudonyms
from pipeline.settings.part import Part, milliseconds

# Any letters but those that move the cursor or the direction of writing: it is shown wherever a finding is.
Reason = Annotated[str, Field(pattern=r"^\P{C}+$", max_length=200)]


class Excused(Part):
    """A reason and an end."""

    because: Reason = Field(description="why; whoever sees the finding reads it, so name nobody")
    until: datetime = Field(description="end, exclusive, with offset: of what happens from then on it says nothing")

    @model_validator(mode="after")
    def _aware(self) -> "Excused":
        if self.until.tzinfo is None:
            raise ValueError("until: write it with an offset, e.g. 2026-06-01T00:00:00Z")
        return self

    @property
    def until_ms(self) -> int:
        """UTC ms."""
        return milliseconds(self.until, 0)

    @property
    def until_text(self) -> str:
        """As people read it, in UTC."""
        return f"{self.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


class AllowedSettings(Excused):
    """An entry of an allow-list that ends."""

    value: str = Field(min_length=1, description="what is allowed")


Allowed = str | AllowedSettings


def allowed(entries: Iterable[Allowed], at_ms: int) -> Iterator[str]:
    """Those that hold at a moment of event time; a plain one always does."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        elif at_ms < entry.until_ms:
            yield entry.value


class SuppressionSettings(Excused):
    """Hits of one detector on one thing that raise no alert for a while.  Not those of a suspect: that would be a licence."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    detector: str = Field(min_length=1, description="id of the detector, as in `trainwatch rules`")
    cluster: str = Field("", description="cluster of its subject, path or owner; empty: every")
    subject: str = Field("", description="number of the job, host, account or cohort that findings are about: their subject_name")
    path: str = Field(
        "",
        pattern=r"^((/|(s3|git)://)[^/].*)?$",
        description="all files that findings are about, or a folder above; where they are about none, where the job ran",
    )
    owner: str = Field("", description="identity id of the job's owner")
    since: datetime | None = Field(None, alias="from", description="begin, with offset; empty: always")

    @model_validator(mode="after")
    def _is_about_something(self) -> "SuppressionSettings":
        if not any((self.subject, self.path, self.owner)):
            raise ValueError(f"suppression of {self.detector}: name subject, path or owner: without any it would switch the detector off")
        if self.since is not None and (self.since.tzinfo is None or self.since >= self.until):
            raise ValueError(f"suppression of {self.detector}: from needs an offset, and until must be later")
        return self

    @property
    def about(self) -> str:
        """What it holds back, in a line."""
        places = ("cluster", self.cluster), ("subject", self.subject), ("path", self.path), ("owner", self.owner)
        return " ".join([self.detector, *(f"{name}={value}" for name, value in places if value)])

    def renamed(self, pseudonyms: Pseudonyms) -> "SuppressionSettings":
        """Under other names."""
        texts = {name: pseudonyms.text(getattr(self, name)) for name in ("subject", "path", "because")}
        return self.model_copy(update={**texts, "owner": pseudonyms.name(self.owner)})

    @property
    def since_ms(self) -> int:
        """UTC ms."""
        return milliseconds(self.since, 0)


def no_two_at_once(suppressions: Iterable[SuppressionSettings]) -> None:
    """Of two reasons for one thing at one time nobody could say which holds."""
    known: dict[tuple[str, ...], list[SuppressionSettings]] = {}
    for each in suppressions:
        others = known.setdefault((each.detector, each.subject, each.path, each.owner), [])
        for other in others:
            meet = each.since_ms < other.until_ms and other.since_ms < each.until_ms
            if meet and (each.cluster == other.cluster or "" in (each.cluster, other.cluster)):
                raise ValueError(f"two suppressions of {each.about} hold at one time: delete one, or let it begin when the other ends")
        others.append(each)
