"""Which addresses may be told, and where keys come from."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.runtime.webhook import Address, address_of, key_of
from pipeline.settings import NotifySettings, TargetSettings


def settings(url: str = "", **target: object) -> NotifySettings:
    return NotifySettings(targets=(TargetSettings(name="oncall", url=url, **target),))


def address(url: str, **target: object) -> Address:
    known = settings(url, **target)
    return address_of(known.targets[0], known)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://hooks.example/a/b?c=d", Address(True, "hooks.example", 443, "/a/b?c=d")),
        ("https://hooks.example:8443", Address(True, "hooks.example", 8443, "/")),
        ("http://127.0.0.1:9000/x", Address(False, "127.0.0.1", 9000, "/x")),
        ("http://[::1]/x", Address(False, "::1", 80, "/x")),
        ("http://localhost/x", Address(False, "localhost", 80, "/x")),
    ],
)
def test_addresses_that_are_used(url: str, expected: Address) -> None:
    """TLS, or this machine."""
    assert address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example/a", "ftp://hooks.example/", "file:///etc/passwd", "https://", "http://hooks.example/", "http://10.0.0.7/",
        "http://127.0.0.1.hooks.example/", "http://localhost.hooks.example/", "https://u:p@hooks.example/", "https://hooks.example:99999/",
        "https://hooks.example/a b", "https://hooks.example/\r\nHost: x", "https://hööks.example/",
        "https://hooks..example/a", f"https://{'a' * 64}.example/", "https://hooks\x01.example/", "https://hooks.example/\x7f",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    """And the message does not tell the address, which is a secret."""
    with pytest.raises(ConfigError) as refused:
        address(url)
    assert "oncall" in str(refused.value)
    assert url in ("", "https://") or url not in f"{refused.value} {refused.value.advice}"


def test_plain_http_to_others_is_a_setting() -> None:
    """Said per target."""
    assert address("http://10.0.0.7:8080/x", plain_http=True) == Address(False, "10.0.0.7", 8080, "/x")


def test_the_environment_wins_over_the_file_and_the_file_over_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets do not have to stand in trainwatch.yaml."""
    (tmp_path / "url").write_text("https://from-file.example/\nrest\n")
    (tmp_path / "key").write_text("key-of-file\n")
    known = settings("https://from-settings.example/", url_file=tmp_path / "url", secret_file=tmp_path / "key")
    assert address_of(known.targets[0], known).host == "from-file.example"
    assert key_of(known.targets[0], known) == b"key-of-file"
    over = known.model_copy(update={"urls": {"oncall": _secret("https://from-environment.example/")}, "secrets": {"oncall": _secret("k")}})
    assert address_of(over.targets[0], over).host == "from-environment.example"
    assert key_of(over.targets[0], over) == b"k"


def _secret(value: str) -> object:
    from pydantic import SecretStr  # noqa: PLC0415

    return SecretStr(value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Before anything is told."""
    known = settings(url_file=tmp_path / "missing")
    with pytest.raises(ConfigError, match="missing"):
        address_of(known.targets[0], known)


@pytest.mark.parametrize(
    "wrong",
    [
        {"targets": ({"name": "a"}, {"name": "a"})},
        {"targets": ({"name": "a"},), "urls": {"b": "https://x.example/"}},
        {"targets": ({"name": "A b"},)},
        {"targets": ({"name": "a", "after_minutes": {"grave": 1}},)},
    ],
)
def test_settings_that_contradict_themselves_are_refused(wrong: dict[str, object]) -> None:
    """A typo must not be a webhook that never rings."""
    with pytest.raises(ValueError, match=r"notify|share|pattern|after_minutes"):
        NotifySettings(**wrong)
