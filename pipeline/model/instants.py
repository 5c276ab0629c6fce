"""Lengths of time in milliseconds, the unit of every event time; what is asked by the day is asked by days of UTC."""

SECOND_MS = 1000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
