"""A circuit breaker for each endpoint of a venue: who answers badly is left alone for a while.

After FAILURES failures in a row, slow answers among them, an endpoint is open: nothing goes to it
for a pause that doubles with each failed probe. Then one request goes through as a probe, and its
answer closes the endpoint or opens it again. Requests that protect (exits, cancels, look-ups of
what is in doubt) are never shut out; while it is open they are spread out, so that no storm follows
an outage.
"""

from dataclasses import dataclass

FAILURES = 5
SLOW_S = 3.0
PAUSE_S = 1.0
PAUSE_MOST_S = 30.0
PROTECTIVE_GAP_S = 0.5


@dataclass(slots=True)
class Breaker:
    """One endpoint. Times are of a monotonic clock, in seconds."""

    failures: int = 0  # in a row, up to now
    _pause_s: float = 0.0
    _open_until: float = 0.0
    _probing: bool = False
    _protective_at: float = 0.0

    def wait_s(self, now: float, *, protective: bool) -> float:
        """Return how long a request must wait, 0 if it goes now.

        The caller then calls `ended`, or `untried` if it did not go after all.
        """
        if not self._pause_s:
            return 0.0
        if protective:
            wait_s = max(0.0, self._protective_at - now)
            if not wait_s:
                self._protective_at = now + PROTECTIVE_GAP_S
            return wait_s
        if now < self._open_until:
            return self._open_until - now
        if self._probing:
            return PAUSE_S
        self._probing = True
        return 0.0

    def untried(self) -> None:
        """Let another request be the probe."""
        self._probing = False

    def ended(self, now: float, *, failed: bool, took_s: float) -> None:
        """Note how a request ended; one that took SLOW_S has failed for this purpose."""
        self._probing = False
        if not failed and took_s < SLOW_S:
            self.failures, self._pause_s = 0, 0.0
            return
        self.failures += 1
        if self.failures >= FAILURES:
            self._pause_s = min(max(PAUSE_S, 2 * self._pause_s), PAUSE_MOST_S)
            self._open_until = now + self._pause_s
