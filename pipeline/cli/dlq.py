"""`trainwatch dlq list | show | replay`: which records were refused and why, what stood in them, and back to where they came from.

Reading disturbs no worker, and nothing is sent before somebody has said yes.
"""

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from pipeline.cli import Options, Verbs, examples, say, say_json
from pipeline.cli.console import safe
from pipeline.cli.following import POLL_SECONDS
from pipeline.cli.letters import (
    REFUSED_SHOWN,
    SHOWN_CHARS,
    as_json_object,
    counted,
    plain,
    show_counts,
    show_letter,
    show_letters,
    show_plan,
)
from pipeline.cli.meter import meter
from pipeline.cli.output import private
from pipeline.cli.replay import with_broker
from pipeline.cli.times import Since
from pipeline.errors import ConfigError, ErrorCode, TransientError
from pipeline.model.words import many

if TYPE_CHECKING:
    from pipeline.runtime.dead_letter import Letter
    from pipeline.runtime.dead_letters import Letters, Place, Resent, Selection, Survey
    from pipeline.runtime.resend import Plan, Sent

NOT_ALL = 3
NOT_FOUND = 4
LIST_ROWS = 20
LIST_ROWS_MAX = 100_000

Command = TypeVar("Command", bound=Callable[..., Any])


class Position(click.ParamType):
    """`2:1204`, or `2:1204-1210`: partition and offset on the dead-letter topic."""

    name = "partition:offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "tuple[Place, ...]":
        if not isinstance(value, str):
            return tuple(value)
        found = re.fullmatch(r"(\d{1,6}):(\d{1,19})(?:-(\d{1,19}))?", value)
        if found is None:
            self.fail(f"{value!r} is no place on the topic; write 2:1204, or 2:1204-1210", param, ctx)
        first, last = int(found[2]), int(found[3] or found[2])
        if not first <= last < first + LIST_ROWS_MAX:
            self.fail(f"{value!r}: the last offset must not be below the first, and at most {LIST_ROWS_MAX} above", param, ctx)
        return tuple((int(found[1]), offset) for offset in range(first, last + 1))


class Span(click.ParamType):
    """`1204` or `1204-1210`: offsets of the topic that a record came from."""

    name = "offset[-offset]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if not isinstance(value, str):
            return int(value[0]), int(value[1])
        found = re.fullmatch(r"(\d{1,19})(?:-(\d{1,19}))?", value)
        if found is None or int(found[2] or found[1]) < int(found[1]):
            self.fail(f"{value!r}: write 1204, or 1204-1210", param, ctx)
        return int(found[1]), int(found[2] or found[1])


def selecting(command: Command) -> Command:
    """The options that choose letters."""
    for decorate in reversed((
        click.option("--code", "codes", multiple=True, type=click.Choice([code.value for code in ErrorCode]), metavar="CODE", help="Why it was refused, e.g. unknown_format; may be repeated."),  # noqa: E501
        click.option("--stage", "stages", multiple=True, help="Stage that refused it, e.g. ingest; may be repeated."),
        click.option("--topic", "topics", multiple=True, help="Topic that it came from; may be repeated."),
        click.option("--partition", type=click.IntRange(min=0), help="Partition that it came from."),
        click.option("--offset", "offsets", type=Span(), help="Its offset there, or first-last: what `trainwatch verify` names."),
        click.option("--since", type=Since(), help="Set aside since then: 30m, 2h, 7d, or a time with offset."),
    )):  # fmt: skip
        command = decorate(command)
    return command


def _selection(places: "Sequence[tuple[Place, ...]]" = (), **chosen: Any) -> "Selection":
    from pipeline.runtime.dead_letters import Selection  # noqa: PLC0415  keeps --help quick

    return Selection(
        places=frozenset(place for some in places for place in some),
        codes=frozenset(chosen.get("codes", ())),
        stages=frozenset(chosen.get("stages", ())),
        topics=frozenset(chosen.get("topics", ())),
        partition=chosen.get("partition"),
        offsets=chosen.get("offsets"),
        since=chosen.get("since"),
    )


@click.group(cls=Verbs)
def dlq() -> None:
    """Records that were refused, on the dead-letter topic: look at them, and send them again."""


@dlq.command(
    "list",
    epilog=examples("dlq list", "dlq list --code unknown_format --since 2h --unsent", "dlq list --summary --json", "dlq list --follow"),
)
@selecting
@click.option("--summary", is_flag=True, help="Only the counts.")
@click.option("--unsent", is_flag=True, help="Only letters that were not sent again yet.")
@click.option("--limit", type=click.IntRange(0, LIST_ROWS_MAX), default=LIST_ROWS, show_default=True, help="Letters shown, the newest.")
@click.option("--follow", is_flag=True, help="Go on, and print each letter as it is set aside; ends with Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output; with --follow one letter a line.")
@click.pass_obj
def list_(options: Options, /, *, summary: bool, unsent: bool, limit: int, follow: bool, as_json: bool, **chosen: Any) -> None:
    """Count dead letters by code and source, and show the newest.

    Exit 0: also when there are none; 1: the broker does not answer; 2: wrong usage or settings.
    """
    selection = _selection(**chosen)
    with _letters(options) as letters:
        found = _survey(letters, selection, keep=0 if summary else limit, unsent=unsent)
        if as_json and follow:
            _lines(found.letters[::-1], found.resent)
        elif as_json:
            shown = [as_json_object(each, found.resent) for each in found.letters]
            say_json(msgspec.json.encode({"topic": letters.topic, **counted(found), "letters": shown}))
        else:
            show_counts(letters.topic, found)
            if found.letters:
                show_letters(
                    f"The newest {len(found.letters)} of {sum(count.letters for count in found.counts)}", found.letters, found.resent
                )
        if follow:
            _follow(letters, selection, as_json=as_json)


def _follow(letters: "Letters", selection: "Selection", *, as_json: bool) -> None:
    """What comes, until Ctrl-C; a broker that is away is asked again."""
    with suppress(KeyboardInterrupt):
        while True:
            try:
                for come in letters.come():
                    if chosen := [letter for letter in come if selection.takes(letter)]:
                        _lines(chosen, {}) if as_json else show_letters("", chosen, {})
            except TransientError as error:
                say(f"{error}; asking again")
                time.sleep(POLL_SECONDS)


def _lines(letters: "Sequence[Letter]", resent: "dict[Place, Resent]") -> None:
    for each in letters:
        say_json(msgspec.json.encode(as_json_object(each, resent)))


@dlq.command(epilog=examples("dlq show 1:204", "dlq show 1:204 --raw record.bin"))
@click.argument("position", type=Position())
@click.option("--raw", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path), help="Write the bytes of the value to this file.")
@click.option("--full", is_flag=True, help=f"The whole value, not its first {SHOWN_CHARS} characters.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output; bytes as Base64.")
@click.pass_obj
def show(options: Options, position: "tuple[Place, ...]", *, raw: Path | None, full: bool, as_json: bool) -> None:
    """Show one letter: why it was refused, its headers and its value.

    POSITION is PARTITION:OFFSET on the dead-letter topic, as `list` shows it.  Bytes that are not printable text are escaped.

    Exit 0: shown; 1: the broker does not answer; 2: wrong usage or settings; 4: there is no such letter.
    """
    if len(position) != 1:
        raise click.UsageError("one letter at a time: write 2:1204")
    with _letters(options) as letters:
        letter = next(letters.at(position), None)
        resent = _survey(letters, _selection([position]), keep=0).resent if letter and not raw else {}
        topic = letters.topic
    if letter is None:
        say(f"no dead letter at {position[0][0]}:{position[0][1]} of {topic}: `trainwatch dlq list` shows which there are")
        raise SystemExit(NOT_FOUND)
    if raw is not None:
        _write_raw(raw, letter.value or b"")
    elif as_json:
        value = {"value": letter.value, "headers": [(name, content) for name, content in letter.headers], "key": letter.key}
        say_json(msgspec.json.encode({**as_json_object(letter, resent), **value}))
    else:
        show_letter(letter, resent.get(letter.place), None if full else SHOWN_CHARS)


@dlq.command(epilog=examples("dlq replay --code unknown_format --dry-run", "dlq replay 1:204-210 --yes"))
@click.argument("positions", nargs=-1, type=Position())
@selecting
@click.option("--all", "everything", is_flag=True, help="All letters; needed when nothing else chooses any.")
@click.option("--again", is_flag=True, help="Also letters that were sent again before.")
@click.option("--public", is_flag=True, help="Also values of public topics, whose consumers get them once more.")
@click.option("--parked", is_flag=True, help="Also those that were refused dead_letters.attempts_max times or more.")
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.option("--yes", is_flag=True, help="Send without asking.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
@click.pass_obj
def replay(
    options: Options,
    /,
    positions: "Sequence[tuple[Place, ...]]",
    *,
    everything: bool,
    again: bool,
    public: bool,
    parked: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Send dead letters back, unchanged, to the topics that they came from, once their cause is gone.

    POSITIONS are PARTITION:OFFSET or PARTITION:FIRST-LAST on the dead-letter topic; or choose by the options.  Shows what it would do and
    asks; without a terminal nothing is sent unless --yes is given.  What was sent is noted on the topic and left out the next time.

    Exit 0: all that was chosen is sent, or was before; 1: the broker does not answer; 2: wrong usage or settings; 3: some or all was
    not sent, and why is said; 4: nothing was chosen by these options.
    """
    if not positions and not everything and not any(chosen.values()) and chosen["partition"] is None:
        raise click.UsageError("choose letters by position or by options, or take --all")
    from pipeline.runtime import resend  # noqa: PLC0415  keeps --help quick
    from pipeline.topology import build_topology  # noqa: PLC0415

    settings = with_broker(options.settings)
    with _letters(options) as letters:
        selection = _selection(positions, **chosen)
        found = _survey(letters, selection, keep=sys.maxsize)
        if not found.letters:
            say(f"no dead letter on {letters.topic} is chosen by these options: `trainwatch dlq list` shows which there are")
            raise SystemExit(NOT_FOUND)
        lost = sorted(selection.places - {letter.place for letter in found.letters})
        targets = {topic: len(partitions) for topic, partitions in letters.counts().items() if partitions}
        topology = build_topology(settings)
        plan = resend.plan(
            sorted(found.letters, key=lambda each: each.place),
            found.resent,
            targets,
            topology,
            attempts_max=settings.dead_letters.attempts_max,
            again=again,
            public=public,
            parked=parked,
        )
        if not as_json:
            show_plan(plan, lost)
        sent = None
        if plan.send and not dry_run and (yes or _confirmed(len(plan.send))):
            with meter("sending") as line:
                tell = partial(line.count, "sending", "records", total=len(plan.send))
                sent = resend.send(settings.kafka, letters.topic, letters.at(plan.send), targets, tell)
    _report(plan, sent, lost, as_json=as_json, dry_run=dry_run)


def _confirmed(count: int) -> bool:
    return sys.stdin.isatty() and click.confirm(f"Send {many(count, 'record')}?", err=True)


def _report(plan: "Plan", sent: "Sent | None", lost: "Sequence[Place]", *, as_json: bool, dry_run: bool) -> None:
    """What was sent, and what to look at next; ends the command."""
    if as_json:
        not_found = [f"{at}:{of}" for at, of in lost]
        say_json(msgspec.json.encode({"dry_run": dry_run, "plan": plan, "sent": sent, "not_found": not_found}))
    elif sent is not None:
        for topic, count in sorted(sent.by_topic.items()):
            click.echo(f"{safe(topic)}  {many(count, 'record')} sent")
        for refused in sent.refused[:REFUSED_SHOWN]:
            say(f"{refused.partition}:{refused.offset} was not sent: {plain(refused.reason)}")
        say("what is refused again comes back with one attempt more: see `trainwatch dlq list --unsent` in a minute")
    elif plan.send:
        say("nothing was sent" if dry_run else "nothing was sent: --yes sends it, --dry-run only looks")
    incomplete = plan.refused or lost or (sent is not None and sent.refused) or (plan.send and sent is None and not dry_run)
    raise SystemExit(NOT_ALL if incomplete else 0)


# --- reading ------------------------------------------------------------------------------------------------------------------------------


@contextmanager
def _letters(options: Options) -> "Iterator[Letters]":
    from pipeline.runtime.dead_letters import Letters  # noqa: PLC0415  keeps --help quick

    with Letters(with_broker(options.settings).kafka) as letters:
        yield letters


def _survey(letters: "Letters", selection: "Selection", *, keep: int, unsent: bool = False) -> "Survey":
    from pipeline.runtime.dead_letters import survey  # noqa: PLC0415  keeps --help quick

    with meter("reading") as line:
        return survey(letters, selection, keep=keep, unsent=unsent, progress=partial(line.count, "reading", "letters"))


def _write_raw(path: Path, value: bytes) -> None:
    if str(path) == "-":
        if sys.stdout.isatty():
            raise click.UsageError("raw bytes may take over a terminal: name a file, or pipe them on")
        click.get_binary_stream("stdout").write(value)
        return
    try:
        with open(path, "xb", opener=private) as file:
            file.write(value)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already", advice="Name a new file.") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", advice="Name a file that can be written.") from error
    say(f"{many(len(value), 'byte')} in {path}")
