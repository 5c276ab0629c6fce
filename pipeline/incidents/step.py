"""Stage incidents: being written."""
from collections.abc import Sequence

from pipeline.model.facts import Fact
from pipeline.model.outcome import Outcome
from pipeline.settings import Settings
from pipeline.stream.cases import Cases
from pipeline.stream.watermark import Watermarks


class IncidentsState:
    """Nothing yet."""

    def __init__(self, cases: Cases) -> None:
        self.cases = cases
        self.at = b""


def build_state(settings: Settings, cases: Cases) -> IncidentsState:  # noqa: ARG001
    """State of one partition."""
    return IncidentsState(cases)


def step(state: IncidentsState, batch: Sequence[Fact], now: Watermarks) -> tuple[IncidentsState, list[Outcome]]:  # noqa: ARG001
    """Nothing yet."""
    return state, []
