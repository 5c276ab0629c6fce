"""Dossiers of `trainwatch analyse --cases`; what is in them is shown by tests/scenario/test_campaign.py."""

from pathlib import Path

import pytest

from pipeline.cli.dossier import prepare
from pipeline.errors import ConfigError
from pipeline.settings import EvidenceSettings, Settings


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """With what to do, before an analysis that takes an hour."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make") as refused:
        prepare(Settings(), tmp_path / "file" / "cases")
    assert refused.value.advice


def test_a_key_that_the_settings_name_is_never_made(tmp_path: Path) -> None:
    """A typo there would be a second site key."""
    settings = Settings(evidence=EvidenceSettings(key_file=tmp_path / "site.key"))
    with pytest.raises(ConfigError, match="cannot read the signing key"):
        prepare(settings, tmp_path / "cases")
    assert list(tmp_path.iterdir()) == []


def test_bundles_are_never_written_over(tmp_path: Path) -> None:
    """A second analysis into the same folder is refused before it begins; a key that it left there is used again."""
    key_file = prepare(Settings(), tmp_path)
    assert prepare(Settings(), tmp_path) == key_file
    (tmp_path / "an incident").mkdir()
    (tmp_path / "an incident" / "bundle.zip").touch()
    with pytest.raises(ConfigError, match="exists already"):
        prepare(Settings(), tmp_path)
