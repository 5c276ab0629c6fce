"""`trainwatch probe -- python train.py`: becomes the command, with the probe in every Python process below it.

The probe is one file that needs nothing of trainwatch, so this only runs it.  It does not read the settings: the variables of the probe
are `TWPROBE_*`, since a job's environment is not the pipeline's.
"""

import os
import sys
from pathlib import Path

import click

import pipeline
from pipeline.cli import examples


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=examples("probe -- torchrun train.py", "probe --file                             # the one file to copy to where jobs run"),
)
@click.option("--file", "show", is_flag=True, help="Print where the probe's one file lies, to copy it to where jobs run, and exit.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def probe(*, show: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND with the probe in every Python process below it.

    Facts are JSON lines on standard error, or where TWPROBE_OUTPUT says. Exit: the command's; 126, 127: it cannot be run; 2: wrong usage.
    """
    file = Path(pipeline.__file__).parent / "probe" / "trainwatch_probe.py"
    if show:
        click.echo(str(file))
        return
    if not command:
        raise click.UsageError("Name a command: trainwatch probe -- python train.py")
    os.execv(sys.executable, [sys.executable, "-S", str(file), "--", *command])  # noqa: S606  the wrapper is a program of its own
