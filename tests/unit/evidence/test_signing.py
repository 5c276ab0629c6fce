"""Key files: who may read them, what a rotation leaves, and that broken ones are refused."""

import json
import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.evidence.signing import load_ring, load_signer, make_key, ring_file, rotate_key
from pipeline.evidence.verify import Ring, is_signed
from tests.unit.evidence.build import OLD, STRANGER, T0


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A first key."""
    path = tmp_path / "keys" / "evidence.key"
    make_key(path, T0)
    return path


def test_a_key_signs_and_its_ring_checks(key_file: Path) -> None:
    """What was made can be read, and only its owner can read it."""
    signer = load_signer(key_file)
    assert is_signed(signer.public, signer.sign(b"text"), b"text")
    assert not is_signed(signer.public, signer.sign(b"text"), b"other")
    assert Ring(load_ring(key_file)).problems == []
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_a_key_is_never_written_over(key_file: Path) -> None:
    """Signatures made with it could not be checked any more."""
    before = key_file.read_bytes()
    with pytest.raises(ConfigError, match="there is a key already"):
        make_key(key_file, T0)
    assert key_file.read_bytes() == before


def test_rotation_keeps_the_old_key_valid_for_what_it_signed(key_file: Path) -> None:
    """The new one is signed by it; both are in the ring; the old private one is set aside."""
    old = load_signer(key_file)
    new = rotate_key(key_file, T0 + 1000)
    ring = load_ring(key_file)
    assert [entry["id"] for entry in ring] == [old.key, new.key]
    assert ring[1]["by"] == old.key
    assert Ring(ring).fingerprints == [old.fingerprint, new.fingerprint]
    assert load_signer(key_file).key == new.key
    assert stat.S_IMODE((key_file.parent / f"evidence.key.{old.key}").stat().st_mode) == 0o600
    third = rotate_key(key_file, T0 + 2000)
    assert [entry["id"] for entry in load_ring(key_file)] == [old.key, new.key, third.key]


class Killed(BaseException):
    """As the process ends in the middle: nothing catches it."""


def break_off(monkeypatch: pytest.MonkeyPatch, step: int, failure: type[BaseException]) -> None:
    """From its call number `step` on the disk does nothing more."""
    calls = count()

    def breaking(call: Callable[..., None]) -> Callable[..., None]:
        def called(*given: object) -> None:
            if next(calls) >= step:
                raise failure("no room")
            call(*given)

        return called

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, breaking(getattr(os, name)))


@pytest.mark.parametrize("failure", [Killed, OSError], ids=["killed", "no room"])
@pytest.mark.parametrize("step", range(7), ids="call {}".format)  # three files written, two put in place; the folder after each of these
def test_a_rotation_that_breaks_off_loses_nothing(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, step: int, failure: type[BaseException]
) -> None:
    """Between any two steps the ring is whole and the old private key is there, and asking again gives a whole pair."""
    old = load_signer(key_file)
    with monkeypatch.context() as patched:
        break_off(patched, step, failure)
        with pytest.raises((Killed, ConfigError)) as raised:
            rotate_key(key_file, T0 + 1000)
    if isinstance(raised.value, ConfigError):
        assert all(str(path) in raised.value.advice for path in (key_file, ring_file(key_file)))
    assert load_ring(key_file)[0]["id"] == old.key
    assert old.pem() in [path.read_bytes() for path in key_file.parent.iterdir()]
    new = rotate_key(key_file, T0 + 2000)
    found = Ring(load_ring(key_file)).fingerprints
    assert load_signer(key_file).key == new.key != old.key
    assert (found[0], found[-1]) == (old.fingerprint, new.fingerprint)
    assert (key_file.parent / f"evidence.key.{old.key}").read_bytes() == old.pem()
    assert not list(key_file.parent.glob("*.new"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in key_file.parent.iterdir() if path != ring_file(key_file)} == {0o600}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.chmod(0o644), "others may read"),
        (lambda path: path.unlink(), "cannot read the signing key"),
        (lambda path: path.write_bytes(b"no key"), "cannot read the signing key"),
        (lambda path: path.write_bytes(STRANGER.pem()), "is not the last key"),
        (lambda path: ring_file(path).unlink(), "cannot read the public keys"),
        (lambda path: ring_file(path).write_text('{"keys": []}'), "is not the last key"),
        (lambda path: ring_file(path).write_text(json.dumps({"keys": [{**OLD.ring_entry(T0), "from": 5}]})), "is not signed by"),
    ],
    ids=["readable", "gone", "no key", "another key", "no ring", "an empty ring", "a changed ring"],
)
def test_a_worker_does_not_start_with_a_key_that_is_not_right(key_file: Path, spoil: object, message: str) -> None:
    """It would seal what nobody could check, or what anybody could have sealed."""
    assert callable(spoil)
    spoil(key_file)
    with pytest.raises(ConfigError, match=message):
        load_signer(key_file)


def test_an_error_says_nothing_of_the_key(key_file: Path) -> None:
    """Errors are logged."""
    secret = key_file.read_text().splitlines()[1]
    key_file.chmod(0o640)
    with pytest.raises(ConfigError) as raised:
        load_signer(key_file)
    assert secret not in f"{raised.value} {raised.value.advice}"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """As an error with advice."""
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot write"):
        make_key(tmp_path / "evidence.key", T0)
