"""The command `trainwatch`: a word in, one function of one module out.

COMMANDS maps each word to `module:function` and imports the module only when the word is used, because Faust, Kafka and
pydantic together take a second to import and `trainwatch --version` or `status` needs none of them.  To add a command, write a
click command in its own module of this folder and add one line to the table.

A command reads its settings through `Options.settings`, so that `--help` works while the settings are broken.  Commands raise
errors of `pipeline/errors.py`; they are printed here, and only here, as the message and what to do about it.

Exit codes: 0 done; 1 a TrainwatchError; 2 wrong usage or wrong settings; others as the command documents.
"""

from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline import __version__
from pipeline.errors import ConfigError, TrainwatchError

if TYPE_CHECKING:
    from pipeline.settings import Settings

COMMANDS: Mapping[str, str] = {
    "up": "pipeline.cli.servers:up",
    "down": "pipeline.cli.servers:down",
    "status": "pipeline.cli.servers:status",
    "migrate": "pipeline.cli.migrate:migrate",
    "verify": "pipeline.cli.verify:verify",
    "evidence": "pipeline.cli.evidence:evidence",
    "topics": "pipeline.cli.topics:topics",
    "worker": "pipeline.cli.worker:worker",
    "replay": "pipeline.cli.replay:replay",
    "bootstrap": "pipeline.cli.bootstrap:bootstrap",
    "analyse": "pipeline.cli.analyse:analyse",
    "backtest": "pipeline.cli.backtest:backtest",
    "rules": "pipeline.cli.rules:rules",
    "job": "pipeline.cli.job:job",
    "finding": "pipeline.cli.finding:finding",
    "label": "pipeline.cli.label:label",
    "notify": "pipeline.cli.notify:notify",
    "dashboard": "pipeline.cli.dashboard:dashboard",
    "incident": "pipeline.cli.incident:incident",
    "settings": "pipeline.cli.settings:settings",
    "sniff": "pipeline.cli.sniff:sniff",
    "demo": "pipeline.cli.demo:demo",
    "simulate": "pipeline.cli.simulate:simulate",
    "score": "pipeline.cli.score:score",
    "bench": "pipeline.cli.bench:bench",
    "dlq": "pipeline.cli.dlq:dlq",
    "probe": "pipeline.cli.probe:probe",
}


class Options:
    """What stands before the word: where the settings are.  Handed to commands by `@click.pass_obj`."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    @cached_property
    def settings(self) -> "Settings":
        """The settings, read on first use.  Raises ConfigError."""
        from pipeline import settings  # noqa: PLC0415  pydantic takes 0.2 s, which --help and --version need not pay

        return settings.load(self.path)


class Commands(click.Group):
    """A group whose members are looked up in the table and imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  a signature of click
        return [*COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  same
        target = COMMANDS.get(cmd_name)
        if target is None:
            return None
        module, function = target.split(":")
        command = getattr(import_module(module), function)
        if not isinstance(command, click.Command):
            message = f"{target} is not a click command"
            raise TypeError(message)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrainwatchError as error:
            complain(error)
            ctx.exit(2 if isinstance(error, ConfigError) else 1)


def complain(error: TrainwatchError) -> None:
    """The error and the advice, on standard error."""
    click.echo(f"error: {error}", err=True)
    if error.advice:
        click.echo(f"  what to do: {error.advice}", err=True)


def say(line: str) -> None:
    """Progress for people, on standard error, so that standard output stays what a script asked for."""
    click.echo(line, err=True)


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--settings", "path", type=click.Path(path_type=Path, dir_okay=False), help="Settings file; default ./trainwatch.yaml.")
@click.version_option(__version__, prog_name="trainwatch")
@click.pass_context
def main(ctx: click.Context, path: Path | None) -> None:
    """Find interference with training jobs in the logs of a shared cluster."""
    ctx.obj = Options(path)
