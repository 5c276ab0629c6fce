"""`trainwatch rules`: what is judged, for people and for scripts."""

import orjson
import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.detect.detector import Meta, explanations_in_words, registry

METAS = [each.meta for each in registry()]


def asked(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["rules", *arguments])


def test_all_detectors_are_listed() -> None:
    """Each with its id, and what an alert needs."""
    result = asked()
    assert result.exit_code == 0
    for meta in METAS:
        assert meta.id in result.stdout


@pytest.mark.parametrize("meta", METAS, ids=lambda meta: meta.id)
def test_one_detector_in_full(meta: Meta) -> None:
    """Needs, explanations, blind spots and runbook, by id or by number; the window as it is set."""
    result = asked(meta.id)
    assert result.exit_code == 0
    assert asked(meta.id.partition("_")[0]).stdout == result.stdout
    page = result.stdout
    for part in (
        meta.title,
        meta.runbook,
        *meta.blind_spots,
        *(source.value for source in meta.needs),
        *meta.required,
        *(explanations_in_words()[explain.__name__] for explain in meta.benign),
        meta.window_seconds,
    ):
        assert part in page


def test_for_scripts() -> None:
    """An array of all, an object of one; the window has its value."""
    everything = orjson.loads(asked("--json").stdout)
    assert [each["id"] for each in everything] == [meta.id for meta in METAS]
    one = orjson.loads(asked("p03", "--json").stdout)
    assert one in everything
    assert (one["window_setting"], one["window_seconds"]) == ("detect.cancel_window_seconds", 120)
    assert {"owner_or_service"} <= set(one["explanations"])
    assert one["in_words"].keys() == set(one["explanations"])
    assert set(one["doubts"]) == {"node_drain", "over_before", "trial_run", "which_signal", "mistyped_number"} < set(one["explanations"])


def test_an_unknown_one() -> None:
    """Exit 2, with what is near."""
    result = asked("p03_foreign_cancle")
    assert result.exit_code == 2
    assert "p03_foreign_cancel" in result.stderr
