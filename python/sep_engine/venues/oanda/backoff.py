"""How long to wait before a stream is asked for again. Pure."""

from dataclasses import dataclass

from sep_engine.errors import ArgumentError


@dataclass(slots=True)
class Backoff:
    """Waits that double from `first_s` to `longest_s` while a stream keeps failing.

    A stream that lived for `healthy_s` begins at the first wait again: one that is cut after every
    few seconds is no better than one that cannot be opened.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    healthy_s: float = 60.0
    _failures: int = 0

    def next_s(self, *, lived_s: float, chance: float) -> float:
        """The next wait.

        Args:
            lived_s: how long the stream that has just ended was open, >= 0.
            chance: uniform in [0, 1); it spreads the wait by a quarter to either side, so that
                clients that were cut together do not come back together.
        """
        if lived_s < 0 or not 0 <= chance < 1:
            raise ArgumentError(f"lived_s >= 0 and chance in [0, 1), were {lived_s} and {chance}")
        if lived_s >= self.healthy_s:
            self._failures = 0
        wait_s = min(self.first_s * 2.0 ** min(self._failures, 30), self.longest_s)
        self._failures += 1
        return wait_s * (0.75 + chance / 2)
