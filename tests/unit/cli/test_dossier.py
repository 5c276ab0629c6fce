"""Dossiers of `trainwatch analyse --cases`; what is in them is shown by tests/scenario/test_campaign.py."""

from pathlib import Path

import pytest

from pipeline.cli.dossier import Told, write_all
from pipeline.errors import ConfigError
from pipeline.runtime.local import Results
from pipeline.settings import EvidenceSettings, Settings


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """With what to do, and no traceback behind an analysis that took an hour."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make") as refused:
        write_all(Settings(), Results(), [], tmp_path / "file" / "cases", Told())
    assert refused.value.advice


def test_a_key_that_the_settings_name_is_never_made(tmp_path: Path) -> None:
    """A typo there would be a second site key."""
    settings = Settings(evidence=EvidenceSettings(key_file=tmp_path / "site.key"))
    with pytest.raises(ConfigError, match="cannot read the signing key"):
        write_all(settings, Results(), [], tmp_path / "cases", Told())
    assert list(tmp_path.iterdir()) == []
