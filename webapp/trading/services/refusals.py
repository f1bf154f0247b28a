"""Why a service does not do what it is asked to; the API answers each with a status of its own."""


class KeyReused(Exception):
    """The Idempotency-Key was used before for another request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Idempotency-Key {key} was used for another request")


class NotNow(Exception):
    """What is asked for does not fit the present state; the message says why."""
