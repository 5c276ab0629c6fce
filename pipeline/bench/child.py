"""A process to be measured: `python -m pipeline.bench.child TASK.json`.  One consumer, which runs until it is ended."""

import sys
from importlib import import_module
from pathlib import Path

import msgspec

from pipeline.bench.task import Task

CONSUMERS = {
    ("ingest", "trainwatch"): "pipeline.bench.ours:bare",
    ("ingest", "confluent"): "pipeline.bench.bare_peers:confluent",
    ("ingest", "aiokafka"): "pipeline.bench.bare_peers:by_hand",
    ("ingest", "bytewax"): "pipeline.bench.bare_peers:bytewax",
    ("ingest", "quix"): "pipeline.bench.bare_peers:quix",
    ("ingest", "stock"): "pipeline.bench.bare_peers:stock",
    ("full", "trainwatch"): "pipeline.bench.ours:stages",
    ("full", "stock"): "pipeline.bench.stock:stages",
    ("mix", "trainwatch"): "pipeline.bench.ours:stages",
    ("mix", "stock"): "pipeline.bench.stock:stages",
    ("join", "trainwatch"): "pipeline.bench.ours:join",
    ("join", "confluent"): "pipeline.bench.join_peers:confluent",
    ("join", "aiokafka"): "pipeline.bench.join_peers:by_hand",
    ("join", "bytewax"): "pipeline.bench.join_peers:bytewax",
    ("join", "quix"): "pipeline.bench.join_peers:quix",
    ("join", "stock"): "pipeline.bench.join_peers:stock",
    ("hosts", "trainwatch"): "pipeline.bench.ours:hosts",
    ("hosts", "stock"): "pipeline.bench.stock:hosts",
}


def main(path: str) -> None:
    """Run the consumer that the task names."""
    task = msgspec.json.decode(Path(path).read_bytes(), type=Task)
    module, _, function = CONSUMERS[task.job, task.peer].partition(":")
    getattr(import_module(module), function)(task)


if __name__ == "__main__":
    main(sys.argv[1])
