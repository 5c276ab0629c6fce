"""Changelogs of Lustre: FIDs and names, extended fields or none, and names that imitate them."""

from zoneinfo import ZoneInfo

import pytest

from pipeline.errors import DecodeError, RejectedRecord, SchemaMismatch, UnknownFormat
from pipeline.formats.line import Line, Reading
from pipeline.formats.payloads import lustre_changelog
from pipeline.model.events import ObjectAccess, Parsed

READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=1_772_480_460_000)
T, P, S = "[0x200000402:0x2:0x0]", "[0x200000401:0x5:0x0]", "[0x200000401:0x3:0x0]"
UNLINK = f"135 06UNLNK 19:40:41.123456789 2026.03.02 0x1 t={T} j=python3.5012 ef=0xf u=5012:5000 nid=10.0.1.3@tcp p={P} step 100.pt"
RENAME = (
    f"16 08RENME 19:40:41.123456789 2026.03.02 0x0 t=[0:0x0:0x0] ef=0xf u=5012:5000 nid=10.0.1.3@tcp p={P} new.pt s={S} sp={T} a s=b.pt"
)


def parse(text: str) -> Parsed:
    """The event of a record."""
    assert lustre_changelog.FORMAT.claims(text.encode())
    (event,) = lustre_changelog.FORMAT.parse(Line(payload=text.encode()), READING)
    return event


ROWS = [
    (
        UNLINK,
        ObjectAccess(
            action="deleted", operation="UNLNK", path=f"{P}/step 100.pt", uid=5012, address="10.0.1.3", success=True,
            job_label="python3.5012",
        ),
    ),
    (
        RENAME,
        ObjectAccess(
            action="renamed", operation="RENME", path=f"{P}/new.pt", old_path=f"{T}/a s=b.pt", uid=5012, address="10.0.1.3", success=True
        ),
    ),
    (
        f"7 13TRUNC 19:40:41.1 2026.03.02 0xe t={T}",
        ObjectAccess(action="truncated", operation="TRUNC", path=T, success=True),
    ),
    (
        f"4 10OPEN  19:40:41.797 2026.03.02 0x24a t={T} ef=0xf u=0:0 nid=10.0.1.3@o2ib m=-w- p={P}",
        ObjectAccess(action="written", operation="OPEN", path=T, uid=0, address="10.0.1.3", success=True),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "body"), ROWS, ids=["unlink", "rename", "truncate", "open"])
def test_records(text: str, body: ObjectAccess) -> None:
    """What happened to which file; times are UTC whatever the zone of the settings."""
    event = parse(text)
    assert event.body == body
    assert event.event_time is not None
    assert event.event_time // 1000 == 1_772_480_441


def test_ids() -> None:
    """Numbers are unique within a metadata target only."""
    assert parse(UNLINK).own_id == "/135/20260302T19:40:41.123456789"
    event = parse(f"scratch-MDT0001 {UNLINK}")
    assert (event.own_id, event.unmapped["target"]) == ("scratch-MDT0001/135/20260302T19:40:41.123456789", "scratch-MDT0001")


def test_a_name_that_imitates_fields() -> None:
    """A user may call a file what he likes."""
    body = parse(UNLINK.replace("step 100.pt", f"x u=0:0 nid=10.9.9.9@tcp p={S} y")).body
    assert isinstance(body, ObjectAccess)
    assert (body.uid, body.address) == (5012, "10.0.1.3")
    assert body.path.startswith(f"{P}/x u=0:0")


LABELS = [
    ("x u=5013:50", 5012, "x u=5013:50"),
    ("x ef=0xf u=5013:50 nid=9@tcp", 5012, "x ef=0xf u=5013:50 nid=9@tcp"),
    ("a ef=0xf", 5012, "a ef=0xf"),
    (" ef=0x1 u=1:1", 5012, " ef=0x1 u=1:1"),
    (f"1 p={P[:9]}", 5012, f"1 p={P[:9]}"),
    ("1 p=[0x2:0x1:0x0] victim", None, "1 p=[0x2:0x1:0x0] victim"),
    ("1 u=9:9 p=[0x2:0x1:0x0] vic", None, "1 u=9:9 p=[0x2:0x1:0x0] vic"),
]


@pytest.mark.parametrize(("label", "uid", "kept"), LABELS)
def test_a_label_that_imitates_fields(label: str, uid: int | None, kept: str) -> None:
    """It may be a process' name: nothing in it becomes who, or from where; in doubt nobody is named."""
    event = parse(UNLINK.replace("python3.5012", label))
    assert isinstance(event.body, ObjectAccess)
    assert (event.body.uid, event.body.address, event.body.job_label) == (uid, "10.0.1.3" if uid else "", kept)
    assert event.body.path == f"{P}/step 100.pt"
    assert event.unmapped.get("ambiguous") == (None if uid else "label")


@pytest.mark.parametrize("label", ["", " j=a", " j=python3.5012"])
def test_without_extended_fields_a_name_is_nobody(label: str) -> None:
    """The mask of the site leaves them out: a file's name does not put them in."""
    body = parse(f"135 06UNLNK 19:40:41.1 2026.03.02 0x1 t={T}{label} p={P} ef=0xf u=0:0 nid=9@tcp p={P} x").body
    assert isinstance(body, ObjectAccess)
    assert (body.uid, body.address) == (None, "")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("135 06UNLNK 19:40:41.1 yesterday", UnknownFormat),
        (UNLINK.replace("19:40", "29:40"), DecodeError),
        (UNLINK.replace("u=5012", "u=99999999999"), SchemaMismatch),
    ],
)
def test_broken(text: str, error: type[RejectedRecord]) -> None:
    """What is wrong is said."""
    with pytest.raises(error):
        parse(text)
