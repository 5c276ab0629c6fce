"""`trainwatch rules [ID]`: what is judged, from the detectors' own metadata, for those who read findings and not code."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import orjson

from pipeline.cli import Options, examples, say_json
from pipeline.cli.asking import complete_detector, detector_ids
from pipeline.cli.console import build_table, safe, stdout

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.detect.detector import Meta
    from pipeline.settings import Settings

LINE_MAX = 1000


@click.command(epilog=examples("rules", "rules p09", "rules p03_foreign_cancel --json | jq .blind_spots"))
@click.argument("rule_id", metavar="[ID]", required=False, default="", shell_complete=complete_detector)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output: an array, or with ID one object.")
@click.pass_obj
def rules(options: Options, rule_id: str, *, as_json: bool) -> None:
    """List the detectors, or say all about one: what it needs, which harmless explanations it checks, and what it cannot see.

    Exit 0: shown; 2: there is no such detector.
    """
    from pipeline.detect.detector import registry  # noqa: PLC0415  keeps --help quick

    settings = options.settings
    described = [described_as(each.meta, settings) for each in registry()]
    if rule_id:
        chosen = detector_ids([rule_id])
        described = [each for each in described if each["id"] in chosen]
    if as_json:
        say_json(orjson.dumps(described[0] if rule_id else described, option=orjson.OPT_INDENT_2))
    elif rule_id:
        show_one(stdout(), described[0])
    else:
        show_all(stdout(), described)


def described_as(meta: "Meta", settings: "Settings") -> dict[str, Any]:
    """What the metadata say, with the window as it is set."""
    from pipeline.detect.detector import explanations_in_words  # noqa: PLC0415  keeps --help quick
    from pipeline.detect.doubts import DOUBTS  # noqa: PLC0415  keeps --help quick
    from pipeline.runtime.comparing import window_seconds  # noqa: PLC0415  same

    explanations = [explain.__name__ for explain in meta.benign]
    return {
        "id": meta.id,
        "version": meta.version,
        "title": meta.title,
        "subject": meta.subject,
        "severity": meta.severity.value,
        "needs": [source.value for source in meta.needs],
        "window_setting": meta.window_seconds,
        "window_seconds": window_seconds(settings, meta.window_seconds) if meta.window_seconds else None,
        "explanations": explanations,
        "in_words": {name: text for name, text in explanations_in_words().items() if name in explanations},
        "doubts": [name for name in explanations if name in DOUBTS],
        "required": list(meta.required),
        "blind_spots": list(meta.blind_spots),
        "attack": list(meta.attack),
        "runbook": meta.runbook,
    }


def show_all(console: "Console", described: list[dict[str, Any]]) -> None:
    """One row each."""
    table = build_table("Detectors", "id", "what", "subject", "severity", "needs", "window", "an alert needs excluded")
    for each in described:
        cells = each["id"], each["title"], each["subject"], each["severity"], ", ".join(each["needs"])
        table.add_row(*map(safe, cells), _window(each), safe(", ".join(each["required"]) or "-"))
    console.print(table)
    console.print("`trainwatch rules ID` says what one of them cannot see, and what to look at first")


def show_one(console: "Console", each: Mapping[str, Any]) -> None:
    """Everything about one."""
    console.print(f"[bold]{safe(each['id'])}[/bold], version {each['version']}: {safe(each['title'], LINE_MAX)}", soft_wrap=True)
    lines = {
        "judges": f"{each['subject']}; {each['severity']}; ATT&CK {', '.join(each['attack']) or '-'}",
        "needs": ", ".join(each["needs"]),
        "doubts": f"{', '.join(each['doubts'])}: no record could prove them, and they clear nobody" if each["doubts"] else "-",
        "required": f"{', '.join(each['required']) or '-'} must be excluded before a hit is an alert",
    }
    for name, text in lines.items():
        console.print(f"  {name:<13} {safe(text, LINE_MAX)}", soft_wrap=True)
    for name in each["explanations"]:
        console.print(f"  {'explanation':<13} {safe(name)}: {safe(each['in_words'][name], LINE_MAX)}", soft_wrap=True)
    named = f" ({each['window_setting']})" if each["window_setting"] else ""
    console.print(f"  {'window':<13} {_window(each)}{safe(named)}", soft_wrap=True)
    for spot in each["blind_spots"]:
        console.print(f"  {'cannot see':<13} {safe(spot, LINE_MAX)}", soft_wrap=True)
    console.print(f"  {'look first':<13} {safe(each['runbook'], LINE_MAX)}", soft_wrap=True)


def _window(each: Mapping[str, Any]) -> str:
    """In the largest unit that divides it."""
    if each["window_seconds"] is None:
        return "none"
    seconds = int(each["window_seconds"])
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
