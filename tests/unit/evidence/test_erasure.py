"""An erasure excuses one line, for one reason, by the site's own word."""

import msgspec
import pytest

from pipeline.evidence.erasure import NOTHING, Erasure, check_erasure
from pipeline.evidence.verify import CODES, Ring
from tests.unit.evidence import build
from tests.unit.evidence.build import NEW, OLD, RING, STRANGER, T0

LINE = "ab" * 32
SIGNED = Erasure(
    time=T0, account="ops@ctl-001", reason="request 17", topic="logs.access", incarnation="1f", partition=3, offset=17, line=0,
    event_id="e1", sha256=LINE,
).signed(OLD)  # fmt: skip


def codes(erasure: Erasure, said: str = LINE, computed: str = NOTHING) -> list[str]:
    """Of what is wrong."""
    return [problem.code for problem in check_erasure(erasure, Ring(RING), said, computed)]


def test_an_erased_line_is_excused() -> None:
    """Emptied; or not yet, where the erasure broke off."""
    assert codes(SIGNED) == []
    assert codes(SIGNED, computed=LINE) == []


def test_nothing_else_may_stand_in_its_place() -> None:
    """Other bytes, or the hash of another line."""
    assert codes(SIGNED, computed="cd" * 32) == ["line_changed"]
    assert codes(SIGNED, said="cd" * 32) == ["line_changed"]


@pytest.mark.parametrize(
    "field", [field.name for field in msgspec.structs.fields(Erasure) if field.name not in ("signing_key", "signature")]
)
def test_every_field_is_signed(field: str) -> None:
    """A reason, an account or a place that was changed afterwards."""
    value = getattr(SIGNED, field)
    other = msgspec.structs.replace(SIGNED, **{field: value + 1 if isinstance(value, int) else f"{value}0"})
    assert "erasure_wrong" in codes(other, said=other.sha256)


def bundle_codes(erasure: Erasure, event_id: str = "e1") -> set[str]:
    """Of a bundle from which a line is missing that is said to have been erased."""
    gone = {"event_id": event_id, "why": "it was erased: request 17", "erasure": msgspec.structs.asdict(erasure)}
    return build.codes(build.files_of(msgspec.structs.replace(build.case(), unavailable=[gone])))


def test_a_bundle_shows_who_signed_an_erasure() -> None:
    """Whoever checks it offline need not believe whoever exported it: not by another key, not without one, not of another event."""
    assert bundle_codes(SIGNED) == set()
    assert bundle_codes(SIGNED.signed(STRANGER)) == {"key_unknown"}
    assert bundle_codes(msgspec.structs.replace(SIGNED, signing_key="", signature="")) == {"key_unknown"}
    assert bundle_codes(msgspec.structs.replace(SIGNED, reason="request 18")) == {"erasure_wrong"}
    assert bundle_codes(SIGNED, "e2") == {"erasure_wrong"}


def test_only_the_sites_keys_sign() -> None:
    """A key that is not in the ring, none at all, or another key's signature."""
    assert codes(msgspec.structs.replace(SIGNED, signing_key="")) == ["key_unknown"]
    assert codes(msgspec.structs.replace(SIGNED, signing_key=NEW.key)) == ["erasure_wrong"]
    assert "erasure_wrong" in CODES
