"""Section `evidence`: whether what was read is sealed, and who else is told."""

from pathlib import Path

from pydantic import Field

from pipeline.settings.part import Part


class EvidenceSettings(Part):
    """Sealing of what was read: roots, chains, signatures."""

    key_file: Path | None = Field(None, description="private key that `trainwatch evidence keygen` made; empty: nothing is sealed")
    witness: str = Field(
        "",
        pattern=r"^(|print|file:.+|kafka:[^/]+/[A-Za-z0-9._-]+)$",
        description="where signed heads are told too: print (the worker's output), file:PATH, kafka:HOST:PORT,.../TOPIC of another cluster",
    )
    witness_seconds: float = Field(60.0, ge=0, le=86_400, description="the newest head of each partition is told this often")
