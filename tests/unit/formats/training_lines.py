"""What the tests of the training formats share: a line in Shanghai's winter, and the one event that a format makes of it."""

from zoneinfo import ZoneInfo

from pipeline.formats.line import Line, Payload, Reading
from pipeline.model.events import Parsed
from pipeline.model.source import Source

AT = 1_772_451_641_000  # 2026-03-02T19:40:41 in Shanghai
READING = Reading(zone=ZoneInfo("Asia/Shanghai"), reference_time=AT + 5_000)


def the_event(format_: Payload, text: str, reading: Reading = READING, file: str = "") -> Parsed:
    """The one event of a line that the format claims."""
    payload = text.encode()
    assert format_.claims(payload)
    (event,) = format_.parse(Line(payload=payload, file=file), reading)
    assert event.source is Source.TRAINING
    return event
