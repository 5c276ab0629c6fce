"""Letters, counts and plans in; text for a terminal, or values for JSON, out.

What is shown of a letter was written by whoever wrote the log, perhaps to deceive whoever reads it: `safe` and `escaped` make it harmless.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from pipeline.cli import say
from pipeline.cli.console import build_table, moment, safe, stdout
from pipeline.errors import ErrorCode
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.runtime.dead_letter import Letter
    from pipeline.runtime.dead_letters import Place, Resent, Survey
    from pipeline.runtime.resend import Plan

PREVIEW_CHARS = 120
SHOWN_CHARS = 4000
REFUSED_SHOWN = 10
HINTS = {
    ErrorCode.UNKNOWN_FORMAT.value: "no format reads the line: pin one in `sources`, or leave the source out; then replay",
    ErrorCode.DECODE_ERROR.value: "the bytes are broken, or the format in `sources` is not theirs: correct it, then replay",
    ErrorCode.SCHEMA_MISMATCH.value: "a field is missing or of another type, say after an upgrade of the source: upgrade, then replay",
    ErrorCode.TIMESTAMP_OUT_OF_RANGE.value: "the host's clock or the zone in `sources` is wrong: correct it, then replay",
    ErrorCode.RECORD_TOO_LARGE.value: "longer than ingest.record_bytes_max: raise it, then replay; one that was cut: from its source",
    ErrorCode.TOMBSTONE.value: "a record without value: nothing to do",
    ErrorCode.EMPTY.value: "an empty line: nothing to do",
    ErrorCode.STEP_RAISED.value: "a fault of trainwatch: report it with the letter; replay after the upgrade that cures it",
    ErrorCode.INSERT_REFUSED.value: "ClickHouse refuses a value of it: report it with the letter; replay after the upgrade that cures it",
}


def escaped(data: bytes) -> str:
    """Bytes as text in which nothing acts on a terminal: what is not printable text is written out, lines stay lines."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode() for char in text)


def plain(text: str) -> str:
    """The same for one line."""
    return escaped(text.encode("utf-8", "backslashreplace")).replace("\n", "\\n")


def counted(found: "Survey") -> dict[str, Any]:
    letters, resent = sum(count.letters for count in found.counts), sum(count.resent for count in found.counts)
    return {"total": letters, "resent": resent, "strangers": found.strangers, "counts": found.counts}


def state_of(resent: "Resent | None") -> str:
    if resent is None:
        return ""
    return f"sent again {moment(resent.time)}" if resent.sure else f"perhaps sent again {moment(resent.time)}"


def as_json_object(letter: "Letter", resent: "dict[Place, Resent]") -> dict[str, Any]:
    shown = msgspec.to_builtins(letter)
    for name in ("key", "value", "headers"):
        shown.pop(name)
    mark = resent.get(letter.place)
    preview = escaped(letter.value[:PREVIEW_CHARS]) if letter.value is not None else None
    return {**shown, "preview": preview, "resent_at": mark.time if mark else None, "resent_for_sure": bool(mark and mark.sure)}


def show_counts(topic: str, found: "Survey") -> None:
    console = stdout()
    sums = counted(found)
    stranger = f"; {found.strangers} other records" if found.strangers else ""
    console.print(f"{safe(topic)}: {many(sums['total'], 'dead letter')}, {sums['resent']} of them sent again{stranger}")
    if not found.counts:
        return
    table = build_table("", "code", "stage", "from", "letters", "sent again", "attempts", "first", "last")
    for count in found.counts:
        numbers = str(count.letters), str(count.resent), str(count.attempts)
        table.add_row(safe(count.code), safe(count.stage), safe(count.topic), *numbers, moment(count.first), moment(count.last))
    console.print(table)
    for code in dict.fromkeys(count.code for count in found.counts):
        if code in HINTS:
            console.print(f"{safe(code)}: {safe(HINTS[code])}")


def show_letters(title: str, letters: "Sequence[Letter]", resent: "dict[Place, Resent]") -> None:
    """As a table; of letters that come later it has no title and no heading, as they go on from the one before."""
    table = build_table(title, "letter", "set aside", "code", "from", "tries", "reason", "value")
    table.show_header = bool(title)
    for letter in letters:
        source = f"{letter.topic}/{letter.source_partition} @ {letter.source_offset}"
        state = state_of(resent.get(letter.place))
        table.add_row(
            f"{letter.partition}:{letter.offset}",
            moment(letter.time),
            safe(letter.code),
            safe(source),
            str(letter.attempts),
            safe(f"{letter.reason}{f' ({state})' if state else ''}"),
            "(none)" if letter.value is None else safe(letter.value.decode("utf-8", "backslashreplace"), PREVIEW_CHARS),
        )
    stdout().print(table)


def show_letter(letter: "Letter", resent: "Resent | None", chars: int | None) -> None:
    value = b"" if letter.value is None else letter.value
    rows = {
        "letter": f"{letter.partition}:{letter.offset}",
        "code": letter.code,
        "reason": letter.reason,
        "what to do": HINTS.get(letter.code, ""),
        "stage": letter.stage,
        "from": f"{letter.topic}/{letter.source_partition} offset {letter.source_offset}, stamped {moment(letter.timestamp)}",
        "set aside": moment(letter.time),
        "first failed": moment(letter.first_failed_at),
        "attempts": str(letter.attempts),
        "release": letter.version,
        "sent again": state_of(resent) or "no",
        "key": "(none)" if letter.key is None else letter.key.decode("utf-8", "backslashreplace"),
    }
    for name, text in rows.items():
        if text:
            click.echo(f"{name:<14}{plain(text)}")
    for name, content in letter.headers:
        click.echo(f"{'header':<14}{plain(name)}: {plain((content or b'').decode('utf-8', 'backslashreplace'))}")
    if letter.headers_left_out:
        click.echo(f"{'header':<14}({letter.headers_left_out} more did not fit)")
    cut = f", cut from {letter.truncated}" if letter.truncated is not None else ""
    size = "none" if letter.value is None else f"{many(len(value), 'byte')}{cut}"
    click.echo(f"{'value':<14}{size}")
    text = escaped(value)
    for line in text[:chars].split("\n") if value else ():
        click.echo(f"  | {line}")
    if chars is not None and len(text) > chars:
        say(f"{len(text) - chars} more characters: --full shows them, --raw FILE writes the bytes")


def show_plan(plan: "Plan", lost: "Sequence[Place]") -> None:
    console = stdout()
    console.print(f"{many(len(plan.send), 'record')} to send")
    for topic, count in sorted(plan.by_topic.items()):
        console.print(f"  to {safe(topic)}  {count}")
    for code, count in sorted(plan.by_code.items()):
        console.print(f"  refused as {safe(code)}  {count}")
    left_out = {
        f"{plan.sent_before} sent again before (--again sends once more)": plan.sent_before,
        f"{many(plan.twice, 'second letter')} of the same record": plan.twice,
    }
    for text, count in left_out.items():
        if count:
            console.print(f"left out: {text}")
    for refused in plan.refused[:REFUSED_SHOWN]:
        console.print(f"cannot be sent: {refused.partition}:{refused.offset}: {safe(refused.reason)}")
    if len(plan.refused) > REFUSED_SHOWN:
        console.print(f"cannot be sent: {len(plan.refused) - REFUSED_SHOWN} more")
    for partition, offset in lost[:REFUSED_SHOWN]:
        console.print(f"not found: {partition}:{offset}")
    warnings = {
        f"{plan.again} sent before: what goes again becomes a second row, counted as a duplicate; findings stay as they are": plan.again,
        f"{plan.unsure} may have been sent by a replay that broke off; a second delivery changes no finding": plan.unsure,
        f"{plan.parked} parked: refused too often (dead_letters.attempts_max); cure the cause, then --parked sends it": plan.parked,
    }
    for text, count in warnings.items():
        if count:
            say(f"careful: {text}")
