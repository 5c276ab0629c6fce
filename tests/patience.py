"""How long a test waits for what must come: far longer than a machine with ten times the work needs, since no result hangs on it."""

PATIENCE_SECONDS = 240.0
