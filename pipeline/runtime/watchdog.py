"""Signs of life of the event loop in; a worker that hangs, ended with the place where it hangs, out.

    loop      beat   beat   beat   ── stuck in a step ──────────────────
    thread    tick   tick   tick   tick   tick   ...   limit: traceback of all threads, exit 3

A worker that hangs keeps its partitions, since heartbeats come from another thread; so nobody else takes over, and no supervisor sees
anything wrong.  Crash-only: it says where it hangs and goes, and nothing uncommitted is lost.  Besides the beat it asks `hangs`, which
knows whether offsets and checkpoints move; that excuses a sink or broker that is away, because starting again does not bring it back.

Time is counted in ticks, each worth two at most, so that a process that was frozen, or a machine that slept, is not taken for a hang
when it wakes up.  What holds the interpreter itself (a regular expression, a C function) stops our thread too: for that a timer of
`faulthandler`, which needs no interpreter, is wound up by the thread, and ends the process with a traceback and exit code 1.  It does not
know about freezing: who was frozen for twice the limit, and lost his session long ago, is ended when he wakes up.

Holds: an exit is not stopped by what hangs, not even by a log that nobody reads.
"""

import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

EXIT_STUCK = 3
TICK_SECONDS = 1.0
TICKS_WORTH_MAX = 2.0
LAST_WORDS_SECONDS = 10.0  # for the traceback; then the kernel ends us


class Watchdog:
    """One per worker process.  `beat` is called in the event loop; all else in threads of its own."""

    def __init__(self, limit_seconds: float, log: logging.Logger, *, tick_seconds: float = TICK_SECONDS) -> None:
        self._limit, self._log, self._tick = limit_seconds, log, tick_seconds
        self._awake = 0.0
        self._beaten = 0.0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self.hangs: Callable[[float], str] = lambda limit: ""  # noqa: ARG005  why there is no progress for so long, or nothing

    def awake(self) -> float:
        """Seconds for which this process has run: the clock of all ages, which does not count being frozen."""
        return self._awake

    def beat(self) -> None:
        """The loop has turned."""
        self._beaten = self._awake

    def blocked_seconds(self) -> float:
        """Since the loop last turned."""
        return max(0.0, self._awake - self._beaten)

    def start(self) -> None:
        """Watch from now on."""
        self._wind_up()
        self._thread.start()

    def _wind_up(self) -> None:
        # Twice the limit: when our thread can run, it is quicker and says more.
        faulthandler.dump_traceback_later(2 * self._limit, exit=True)

    def close(self) -> None:
        """The worker has ended in order."""
        self._closed.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._closed.wait(self._tick):
            self._wind_up()
            now = time.monotonic()
            self._awake += min(now - last, TICKS_WORTH_MAX * self._tick)
            last = now
            if self.blocked_seconds() >= self._limit:
                self._end(f"the event loop has not turned for {self.blocked_seconds():.0f} s")
            elif why := self.hangs(self._limit):
                self._end(why)
        faulthandler.cancel_dump_traceback_later()

    def _end(self, why: str) -> None:
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS_SECONDS)  # its default is the end, and writing may block for ever
        faulthandler.dump_traceback(sys.stderr, all_threads=True)
        self._log.critical("stuck: %s; ending at once (exit %d). What was not committed is repeated at the next start", why, EXIT_STUCK)
        logging.shutdown()
        os._exit(EXIT_STUCK)
