"""The command `trainwatch`: a word in, one function of one module out.

COMMANDS maps each word to `module:function` and the line that `--help` shows of it.  A module is imported only when its word is used,
because Faust, Kafka and pydantic together take a second to import, and `--help`, `--version` and the tabulator key need none of them.  To
add a command, write a click command in its own module of this folder and add one line to the table.

A command reads its settings through `Options.settings`, so that `--help` works while the settings are broken.  Commands raise
errors of `pipeline/errors.py`; they are printed here, and only here, as the message and what to do about it.

Exit codes: 0 done; 1 a TrainwatchError; 2 wrong usage or wrong settings; others as the command documents.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from errno import EDQUOT, ENOSPC
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import __version__
from pipeline.errors import ConfigError, TrainwatchError
from pipeline.runtime.garbage import collect_seldom

if TYPE_CHECKING:
    from pipeline.settings import Settings

COMMANDS: Mapping[str, tuple[str, str]] = {
    "up": ("servers:up", "Start Kafka and ClickHouse here, or check those of the settings."),
    "down": ("servers:down", "Stop the servers that `up` started; data stay."),
    "status": ("status:status", "Which servers run, how far each stage is, what was not stored."),
    "migrate": ("migrate:migrate", "Bring the tables in ClickHouse to this release, or back."),
    "verify": ("verify:verify", "Is any record lost or doubled? From Kafka and ClickHouse alone."),
    "evidence": ("evidence:evidence", "Sealed records: keys, signed heads, bundles, holds, custody."),
    "topics": ("topics:topics", "Make the topics that are missing, or list them."),
    "check": ("check:check", "Prove the settings against the live systems; says how to mend."),
    "state": ("state:state", "Save what workers remember; put it back in step with ClickHouse."),
    "plan": ("plan:plan", "How many workers, partitions, nodes and disks a rate takes."),
    "worker": ("worker:worker", "Run the pipeline until a signal."),
    "replay": ("replay:replay", "Send log files to the input topics, as shippers would."),
    "bootstrap": ("bootstrap:bootstrap", "Tell the pipeline of the jobs that run already."),
    "analyse": ("analyse:analyse", "Find interference in log files, without any server."),
    "backtest": ("backtest:backtest", "What would changed settings have raised or dropped?"),
    "rules": ("rules:rules", "The detectors: what each judges, needs, and cannot see."),
    "job": ("job:job", "Why a job ended, with the lines that prove it."),
    "finding": ("finding:finding", "Suspected interference: what was found, and what proves it."),
    "label": ("label:label", "Say whether a finding was true, false or benign."),
    "notify": ("notify:notify", "Tell webhooks of findings and incidents; acknowledge, snooze."),
    "dashboard": ("dashboard:dashboard", "A Grafana dashboard as one HTML page, without Grafana."),
    "incident": ("incident:incident", "Findings of one cause, who may have done it, what it touched."),
    "settings": ("settings:settings", "Every setting with its value, default and meaning."),
    "sniff": ("sniff:sniff", "What is this log, and which settings does it need?"),
    "demo": ("demo:demo", "Everything at once on this machine, over a simulated week."),
    "simulate": ("simulate:simulate", "Write the logs of a simulated cluster, with the truth."),
    "score": ("score:score", "How good the detectors are, on simulated clusters."),
    "bench": ("bench:bench", "Measure speed on real servers, side by side with peers."),
    "dlq": ("dlq:dlq", "Records that were refused: look at them, send them again."),
    "probe": ("probe:probe", "Run a training command with the probe in it."),
}


EXAMPLES = "\b\nExamples:\n"
SETTINGS = "--settings"
ENDING = (signal.SIGTERM, signal.SIGHUP)
ECHO_SECONDS = 1.0  # a shell hands on the SIGHUP that the terminal has sent already: it must not cut the unwinding short


class Options:
    """What stands before the word: where the settings are.  Handed to commands by `@click.pass_obj`."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    @cached_property
    def settings(self) -> "Settings":
        """The settings, read on first use.  Raises ConfigError."""
        from pipeline import settings  # noqa: PLC0415  pydantic takes 0.2 s, which --help and --version need not pay

        return settings.load(self.path)


class Deferred(click.Command):
    """A word of the table, whose module is imported when somebody uses it."""

    def __init__(self, word: str) -> None:
        self._target, line = COMMANDS[word]
        super().__init__(word, short_help=line)

    @property
    def command(self) -> click.Command:
        """The command itself."""
        module, function = self._target.split(":")
        found: click.Command = getattr(import_module(f"{__name__}.{module}"), function)
        return found

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        """That of the command itself, which click goes on with."""
        return self.command.make_context(info_name, args, parent, **extra)


class Commands(click.Group):
    """A group whose members are the words of the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  a signature of click
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  same
        return Deferred(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """That of the word; one that is nearly a word of the table is told which.  Raises UsageError."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], COMMANDS, n=3)
            error.message += f" Did you mean {' or '.join(near)}?" if near else ""
            raise

    def invoke(self, ctx: click.Context) -> Any:
        collect_seldom()
        try:
            with unwinding():
                return super().invoke(ctx)
        except TrainwatchError as error:
            complain(error)
            ctx.exit(2 if isinstance(error, ConfigError) else 1)
        except click.NoSuchOption as error:
            if error.option_name == SETTINGS:
                error.message += f". It stands before the command: trainwatch {SETTINGS} FILE {ctx.invoked_subcommand} ..."
            raise
        except OSError as error:
            if error.errno not in (ENOSPC, EDQUOT):
                raise
            raise click.ClickException(f"cannot write {error.filename or 'what was asked for'}: {error.strerror}") from error
        except UnicodeEncodeError as error:  # bytes of the command line stand as lone surrogates in its words
            raise click.UsageError(f"a word of the command is not UTF-8: {error.object[error.start : error.end]!r}") from error


class Verbs(click.Group):
    """A word with words of its own and nothing to do without: its help ends with the first example of each."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        firsts = [(each.epilog or "").removeprefix(EXAMPLES).splitlines()[:1] for each in self.commands.values()]
        self.epilog = EXAMPLES + "\n".join(line for lines in firsts for line in lines)
        super().format_epilog(ctx, formatter)


class _Ended(KeyboardInterrupt):
    """A signal asks the process to end.  As Ctrl-C, since an event loop keeps what else is raised in a task to that task."""


@contextmanager
def unwinding() -> Iterator[None]:
    """SIGTERM and SIGHUP within unwind as Ctrl-C does, so that servers a command started for itself end with it.

    The process still dies of the signal, as its parent expects.  Services handle SIGTERM themselves while they run.
    """
    received: list[int] = []
    last = float("-inf")

    def end(number: int, _frame: object) -> None:
        nonlocal last
        before, last = last, time.monotonic()
        received.append(number)
        if last - before > ECHO_SECONDS:
            raise _Ended

    may = threading.current_thread() is threading.main_thread()
    numbers = [number for number in ENDING if may and signal.getsignal(number) is signal.SIG_DFL]  # SIGHUP is ignored under nohup
    for number in numbers:
        signal.signal(number, end)
    try:
        with suppress(_Ended):
            yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        if received:
            with suppress(OSError):  # who read it may be gone
                sys.stdout.flush()
            signal.raise_signal(received[0])


def complain(error: TrainwatchError) -> None:
    """The error and the advice, on standard error."""
    say(f"error: {error}")
    if error.advice:
        say(f"  what to do: {error.advice}")


def say(line: str) -> None:
    """For people, on standard error, so that standard output stays what a script asked for; what logs and folders are named cannot act."""
    click.echo("".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in line), err=True)


def say_json(text: bytes) -> None:
    """For programs, on standard output; a terminal shows it too, so characters that act on one are escaped, as JSON has it."""
    click.echo("\n".join(line if line.isprintable() else "".join(map(_escaped, line)) for line in text.decode().split("\n")))


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    units = char.encode("utf-16-be")  # beyond 16 bits a pair
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def examples(*lines: str) -> str:
    """The end of a command's `--help`: what to type after `trainwatch`, with a comment where that is not plain."""
    return EXAMPLES + "".join(f"  trainwatch {line}\n" for line in lines)


FIRST_STEPS = examples(
    "demo                             # everything on this machine, over a simulated week",
    "finding list --alert --since 7d",
    "job explain 48344",
    "analyse slurmctld.log audit.log  # no servers",
)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=FIRST_STEPS)
@click.option(SETTINGS, "path", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; default ./trainwatch.yaml.")
@click.version_option(__version__, prog_name="trainwatch")
@click.pass_context
def main(ctx: click.Context, path: Path | None) -> None:
    """Find interference with training jobs in the logs of a shared cluster.

    Exit 0: done; 1: an error, which is told with what to do; 2: wrong usage or settings. The help of a command says what else it ends with.
    """
    ctx.obj = Options(path)
