"""What a measured process is told: one JSON file, read by `pipeline.bench.child`."""

from typing import Any

import msgspec

from pipeline.settings import Settings

READY = "trainwatch-bench: ready"  # the process says so when it has connected and is about to read


class Task(msgspec.Struct, frozen=True):
    """One run of one consumer."""

    job: str  # ingest | full | mix | join | hosts
    peer: str
    settings: dict[str, Any]  # as of `dumped`
    topics: tuple[str, ...]  # inputs
    pairs: str = ""  # output topic of a join
    options: dict[str, Any] = {}

    def site(self) -> Settings:
        """The settings, without a look at the environment."""
        return Settings.model_validate(self.settings)


def dumped(settings: Settings) -> dict[str, Any]:
    """Settings as JSON with the password, which a dump hides."""
    content = settings.model_dump(mode="json")
    content["clickhouse"]["password"] = settings.clickhouse.password.get_secret_value()
    return content


def ready() -> None:
    """Tell whoever measures that this process is about to read."""
    print(READY, flush=True)  # noqa: T201  that is how
