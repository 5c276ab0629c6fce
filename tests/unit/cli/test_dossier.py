"""Dossiers of `trainwatch analyse --cases`; what is in them is shown by tests/scenario/test_campaign.py."""

from pathlib import Path

import msgspec
import orjson
import pytest

from pipeline.cli.dossier import bodies_of, prepare, unlisted_of
from pipeline.errors import ConfigError
from pipeline.evidence.from_files import Exhibits
from pipeline.incidents import building
from pipeline.incidents.building import Bounds
from pipeline.model.finding import Finding, Status, Subject, canonical
from pipeline.model.incident import Incident
from pipeline.runtime.local import Results
from pipeline.settings import EvidenceSettings, Settings
from tests.unit.incidents.campaign import kill
from tests.unit.incidents.test_bounds import built, campaign


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


def told(findings: list[Finding]) -> dict[str, dict[str, object]]:
    """As they were published."""
    return {each.id: orjson.loads(canonical(each)) for each in findings}


def test_a_large_incident_proves_what_it_does_not_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings of its time that no incident lists; not those of another incident, time or cluster, and not what was taken back."""
    monkeypatch.setattr(building, "Bounds", lambda: Bounds(members=7, others=11))
    findings = campaign(40)
    elsewhere = msgspec.structs.replace(kill(3, "9", "u044"), attempt=None, subject=Subject("host", "other", "gpu-001"))
    taken_back = msgspec.structs.replace(kill(3, "8", "u044"), status=Status.RETRACTED)
    another, results = kill(5, "7", "u055"), Results()
    body = built(findings)
    results.findings = told([*findings, elsewhere, taken_back, another, kill(99, "6", "u044")])
    results.incidents = {body["id"]: body, "second": {"members": [{"finding": another.id}], "others": []}}
    incident = msgspec.json.decode(orjson.dumps(body), type=Incident)
    proven = [each["id"] for each in bodies_of(incident, results, unlisted_of(results))]
    assert proven == sorted(each.id for each in findings)
    assert (incident.findings, len(incident.members) + len(incident.others)) == (40, 18)


def test_a_small_one_takes_nothing_from_others() -> None:
    """All of it is listed."""
    results, body = Results(), built(campaign(5))
    results.findings, results.incidents = told([*campaign(5), kill(1, "9", "u044")]), {body["id"]: body}
    incident = msgspec.json.decode(orjson.dumps(body), type=Incident)
    assert len(bodies_of(incident, results, unlisted_of(results))) == 5


def test_exhibits_of_nothing_are_none() -> None:
    """An event that was cited and of which no row is left proves nothing."""
    assert list(Exhibits((), (), ()).of({("unknown", "00" * 32)})) == []
