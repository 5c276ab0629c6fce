"""Sections `embedded`, `worker`, `checkpoint` and `dead_letters`: the processes of this machine, and how often they make work durable."""

from pathlib import Path

from pydantic import Field

from pipeline.settings.part import Part

AUTO = "auto"  # worker.instance_id


class EmbeddedSettings(Part):
    """The servers that `trainwatch up` starts on this machine when no address is given."""

    directory: Path = Field(Path(".trainwatch"), description="data, logs and pid files of the embedded servers")
    kafka_port: int = Field(0, ge=0, le=65535, description="broker port; 0: a free one, kept over restarts")
    clickhouse_port: int = Field(0, ge=0, le=65535, description="native port; 0: a free one, kept over restarts")
    clickhouse_http_port: int = Field(0, ge=0, le=65535, description="HTTP port; 0: a free one, kept over restarts")
    disk_quota_mib: int = Field(20_480, ge=1024, description="`up` refuses when data exceed this; Kafka deletes old segments")
    kafka_heap_mib: int = Field(768, ge=256, description="Java heap of the broker")
    ready_timeout_seconds: float = Field(60.0, gt=0, le=600, description="longest wait for a server to answer")


class WorkerSettings(Part):
    """The process that runs the pipeline."""

    instance_id: str = Field(
        AUTO,
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=249,
        description="static membership: a name per worker, kept over restarts; auto: from host and slot; empty: dynamic",
    )
    max_fetch_bytes: int = Field(2_097_152, ge=65_536, description="fetch size per partition")
    health_host: str = Field("127.0.0.1", min_length=1, description="address that serves /healthz, /readyz and /metrics")
    health_port: int = Field(9470, ge=0, le=65_000, description="their port, plus the slot of the worker on its host; 0: off")
    unhealthy_seconds: float = Field(60.0, ge=1, le=3600, description="no progress for this long makes /healthz fail")
    stuck_seconds: float = Field(180.0, ge=2, le=86_400, description="a worker that hangs for this long ends itself")


class CheckpointSettings(Part):
    """How often work is made durable."""

    interval_seconds: float = Field(1.0, ge=0.05, le=60, description="time between checkpoints")
    rows_max: int = Field(200_000, ge=1000, le=900_000, description="buffered rows above which folding waits")
    shutdown_seconds: float = Field(
        20.0, ge=1, le=300, description="a worker that has not stopped by then ends itself; its supervisor waits for longer"
    )


class DeadLetterSettings(Part):
    """Records that were refused, on their way back."""

    attempts_max: int = Field(3, ge=1, le=1000, description="a record refused this often is parked: `dlq replay` leaves it where it is")
