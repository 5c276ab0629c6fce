"""An address, headers and a body in; whether a webhook took it out.

Holds: redirects are never followed, since a signed body must go to nobody else; certificates are verified; without TLS only to this
machine, or where the target says so; an answer is read to a bound and no part of the address stands in a message, since it is a secret.
"""

import http.client
import ipaddress
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from pipeline.errors import ConfigError
from pipeline.settings import NotifySettings, TargetSettings

ANSWER_BYTES_MAX = 4096
ADVICE = "Set url_file, or TRAINWATCH_NOTIFY__URLS__<NAME>, to an https:// address."


class Address(NamedTuple):
    """A webhook, checked."""

    secure: bool
    host: str
    port: int
    path: str


class Answer(NamedTuple):
    """What came back."""

    taken: bool
    why: str = ""  # not
    retry_after_seconds: float = 0.0  # as the receiver asks


def address_of(target: TargetSettings, settings: NotifySettings) -> Address:
    """Raises ConfigError when the target has no address, or one that must not be used."""
    named_url = settings.urls.get(target.name)  # the environment wins, as everywhere
    url = (named_url.get_secret_value() if named_url else "") or _first_line(target.url_file) or target.url.get_secret_value()
    named = f"notify target {target.name}"
    if not url:
        raise ConfigError(f"{named} has no address", advice=ADVICE)
    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")  # as the resolver does, which would raise at each delivery
    except ValueError as error:
        raise ConfigError(f"{named}: its address is not a valid URL", advice=ADVICE) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"{named}: its address is not a valid URL", advice=ADVICE)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{named}: its address has a password in it", advice="Use secret_file: what is sent is signed with it.")
    secure = parts.scheme == "https"
    if not secure and not target.plain_http and not is_loopback(parts.hostname):
        raise ConfigError(
            f"{named}: http:// to another machine", advice="Use https://, or set plain_http: true where the network may read and change it."
        )
    return Address(secure, parts.hostname, port or (443 if secure else 80), _path(parts))


def key_of(target: TargetSettings, settings: NotifySettings) -> bytes:
    """The key of the signature; empty: nothing is signed.  Raises ConfigError."""
    if target.name in settings.secrets:
        return settings.secrets[target.name].get_secret_value().encode()
    return _first_line(target.secret_file).encode()


def post(address: Address, headers: Mapping[str, str], body: bytes, *, timeout_seconds: float) -> Answer:
    """One try.  Never raises for what the other side or the network does."""
    if address.secure:
        context = ssl.create_default_context()  # trusts what the system does; $SSL_CERT_FILE names a site's own authority
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=timeout_seconds, context=context)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=timeout_seconds)  # type: ignore[assignment]
    try:
        connection.request("POST", address.path, body=body, headers=dict(headers))
        response = connection.getresponse()
        response.read(ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        return Answer(False, f"no answer: {type(error).__name__}")
    finally:
        connection.close()
    if 200 <= response.status < 300:
        return Answer(True)
    if 300 <= response.status < 400:
        return Answer(False, f"answer {response.status}: redirects are not followed")
    return Answer(False, f"answer {response.status}", _seconds(response.getheader("Retry-After")))


def is_loopback(host: str) -> bool:
    """This machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 7 else 0.0


def _first_line(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return (path.read_text(encoding="utf-8").splitlines() or [""])[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}", advice="Name a readable file whose first line is the address or key.") from error
