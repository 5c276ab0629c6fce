"""Key files of a site: made, rotated, read; texts in, signatures out.

    evidence.key             the private key, PEM, readable by its owner alone; copied to every machine that runs workers
    evidence.key.ring.json   the public keys, oldest first, each signed by the one before: for everybody

Rotation makes a new key, signs it with the old one, and keeps the old private key aside as `evidence.key.<id>`, to be destroyed once all
workers run with the new one:

    evidence.key.<id>, evidence.key.new and evidence.key.ring.json.new written ──► the ring replaced ──► the key replaced

Holds: at every moment both files are whole, and one that broke off is finished by being asked for again.  Nothing here is ever logged but
ids and fingerprints.
"""

import json
import os
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from pipeline.errors import ConfigError
from pipeline.evidence.verify import KEY_CONTEXT, Ring, canonical, fingerprint, key_id

RING_SUFFIX = ".ring.json"
NEW_SUFFIX = ".new"  # of a file that is to replace another


class Signer:
    """A private key and its name."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key = key_id(self.public)

    @property
    def fingerprint(self) -> str:
        """To be told to others."""
        return fingerprint(self.public)

    def sign(self, text: bytes) -> str:
        """Hex."""
        return self._private.sign(text).hex()

    def ring_entry(self, time: int, before: "Signer | None" = None) -> dict[str, Any]:
        """The public half, valid from `time` (UTC ms), signed by the key before or itself."""
        by = before or self
        entry: dict[str, Any] = {"id": self.key, "public": self.public.hex(), "from": time, "by": by.key}
        return {**entry, "signature": by.sign(KEY_CONTEXT + canonical(entry))}

    def pem(self) -> bytes:
        """The private key, to be written where nobody else reads."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def ring_file(key_file: Path) -> Path:
    """The public keys beside a private one."""
    return key_file.with_name(key_file.name + RING_SUFFIX)


def load_signer(key_file: Path) -> Signer:
    """Raises ConfigError when it cannot be read, others may read it, or it is not the last key of its ring."""
    signer = _private(key_file)
    entries = load_ring(key_file)
    if not entries or entries[-1].get("id") != signer.key:
        raise ConfigError(
            f"{key_file} is not the last key of {ring_file(key_file)}",
            advice="Copy both files together from where `trainwatch evidence keygen` made them; "
            "a `--rotate` that was interrupted there is completed by running it again.",
        )
    return signer


def load_ring(key_file: Path) -> list[dict[str, Any]]:
    """The public keys.  Raises ConfigError."""
    path = ring_file(key_file)
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_bytes())["keys"]
        problems = Ring(entries).problems
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot read the public keys {path}: {error}", advice="`trainwatch evidence keygen` makes them.") from error
    if problems:
        raise ConfigError(f"{path}: {problems[0]}", advice="Restore the file: signatures cannot be checked with this one.")
    return entries


def make_key(key_file: Path, time: int) -> Signer:
    """A first key.  Raises ConfigError when there is one: see `rotate_key`."""
    signer = Signer(Ed25519PrivateKey.generate())
    try:
        if key_file.exists() or ring_file(key_file).exists():
            raise ConfigError(f"{key_file}: there is a key already", advice="--rotate replaces it, and keeps its signatures valid.")
        key_file.parent.mkdir(parents=True, exist_ok=True)
        _write(key_file, signer.pem(), 0o600)
        _write(ring_file(key_file), _ring_text([signer.ring_entry(time)]), 0o644)
    except OSError as error:
        raise ConfigError(f"cannot write {key_file}: {error}", advice="Name a file in a folder of the workers' account.") from error
    return signer


def rotate_key(key_file: Path, time: int) -> Signer:
    """The next key in place of this one, signed by it; what an earlier try left unfinished is finished instead.  Raises ConfigError."""
    try:
        if (begun := _begun(key_file)) is not None:
            _replace(_new(key_file), key_file)
            return begun
        old, entries = load_signer(key_file), load_ring(key_file)
        made = Signer(Ed25519PrivateKey.generate())
        _write_anew(key_file.with_name(f"{key_file.name}.{old.key}"), old.pem(), 0o600)
        _write_anew(_new(key_file), made.pem(), 0o600)
        _write_anew(_new(ring_file(key_file)), _ring_text([*entries, made.ring_entry(time, old)]), 0o644)
        _replace(_new(ring_file(key_file)), ring_file(key_file))
        _replace(_new(key_file), key_file)
    except OSError as error:
        raise ConfigError(
            f"cannot replace {key_file} and {ring_file(key_file)}: {error}",
            advice=f"Run it again once {key_file.parent} can be written: until then {key_file} and {ring_file(key_file)} are whole, "
            f"and what was begun is in {_new(key_file).name}.",
        ) from error
    return made


def _begun(key_file: Path) -> Signer | None:
    """The next key, where its ring stands already and it alone was not put in its place."""
    if not _new(key_file).exists():
        return None
    names = [entry.get("id") for entry in load_ring(key_file)]
    if names[-1:] == [_private(key_file).key]:
        return None
    following = _private(_new(key_file))
    return following if names[-2:] == [_private(key_file).key, following.key] else None


def _new(path: Path) -> Path:
    return path.with_name(path.name + NEW_SUFFIX)


def _private(key_file: Path) -> Signer:
    from pipeline.settings import others_may  # noqa: PLC0415  pydantic takes a while, and who checks a bundle needs none

    try:
        if others_may(key_file.stat()):
            raise ConfigError(f"others may read {key_file}", advice=f"chmod 600 {key_file}; if somebody may have, rotate the key.")
        private = load_pem_private_key(key_file.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"cannot read the signing key {key_file}: {type(error).__name__}",
            advice="`trainwatch evidence keygen` makes one; evidence.key_file names it; empty: nothing is sealed.",
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{key_file} holds no Ed25519 key", advice="`trainwatch evidence keygen` makes one.")
    return Signer(private)


def _ring_text(entries: list[dict[str, Any]]) -> bytes:
    return json.dumps({"v": 1, "keys": entries}, indent=1).encode() + b"\n"


def _write(path: Path, content: bytes, mode: int) -> None:
    """Made with its mode, so that nobody reads it in between; never over an existing file."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _write_anew(path: Path, content: bytes, mode: int) -> None:
    """Over what a rotation that broke off left under this name."""
    path.unlink(missing_ok=True)
    _write(path, content, mode)


def _replace(made: Path, path: Path) -> None:
    """Under its name at once or not at all, and on the disk before what follows."""
    os.replace(made, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
