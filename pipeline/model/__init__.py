"""The types that rooms share: events, facts, attempts, findings, outcomes.  Frozen, without behaviour that needs another room."""
