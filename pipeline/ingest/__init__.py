"""Stage: records to events, rows and facts."""
