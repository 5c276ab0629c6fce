"""The file of finished periods: one JSON line each, kept so that a long run can be stopped and gone on with.

A line names its plan.  Lines of other plans, say of another size or with other acts, stand in the same file and are never mixed in, and a
line that was cut off by a kill does not count: its period is done again.
"""

from pathlib import Path

import msgspec

from pipeline.errors import ConfigError
from pipeline.score.seed import SeedScore
from pipeline.simulate.plan import Plan

ADVICE = "Name another file with --results."


def finished(path: Path | None, plan: Plan) -> list[SeedScore]:
    """What was noted of this plan, of any seed.  Raises ConfigError for a file that cannot be gone on with."""
    if path is None:
        return []
    try:
        with path.open("ab"):  # before hours are spent on what could not be noted
            lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", advice=ADVICE) from error
    found: list[SeedScore] = []
    for line in filter(None, lines):
        try:
            found.append(msgspec.json.decode(line, type=SeedScore))
        except msgspec.ValidationError as error:  # it is JSON, and none of ours
            raise ConfigError(f"{path} holds something else than results: {error}", advice=ADVICE) from error
        except msgspec.DecodeError:
            continue
    return [*{each.seed: each for each in found if each.plan == plan.name}.values()]


def note(path: Path, found: SeedScore) -> None:
    """Append, on a line of its own also after one that was cut off."""
    with path.open("a+b") as file:
        file.seek(max(0, file.tell() - 1))
        cut_off = file.read(1) not in (b"", b"\n")
        file.write((b"\n" if cut_off else b"") + msgspec.json.encode(found) + b"\n")
