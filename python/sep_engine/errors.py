"""The exceptions of SEP, all of them.

SepError
├── ArgumentError (ValueError)   an argument breaks a stated rule; the message names both
├── DataError (ValueError)       market data that cannot be used; names file, row and reason
├── RuleError (ValueError)       a strategy rule that is not valid; names the path in its JSON
├── BackendError (RuntimeError)  a backend that was asked for by name cannot run here
└── IllegalTransition            an order state change that the table of states does not allow
"""


class SepError(Exception):
    """The root: catch this to catch everything that SEP raises on purpose."""


class ArgumentError(SepError, ValueError):
    """An argument breaks a stated rule."""


class DataError(SepError, ValueError):
    """Market data that cannot be used as asked."""


class RuleError(SepError, ValueError):
    """A strategy rule that is not valid."""


class BackendError(SepError, RuntimeError):
    """A backend that was asked for by name cannot run here."""


class IllegalTransition(SepError):
    """An order state change that the table of order states does not allow."""
