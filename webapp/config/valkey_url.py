"""The address of Valkey in the dialects of its four clients."""

from urllib.parse import urlsplit, urlunsplit

from django.core.exceptions import ImproperlyConfigured


def canonical(url: str) -> str:
    """Return `url` with the scheme that valkey-py and django-valkey read.

    Raises:
        ImproperlyConfigured: the scheme is none of valkey, valkeys, redis, rediss and unix.
    """
    parts = urlsplit(url)
    scheme = {"redis": "valkey", "rediss": "valkeys"}.get(parts.scheme, parts.scheme)
    if scheme not in ("valkey", "valkeys", "unix"):
        raise ImproperlyConfigured(
            f"VALKEY_URL must start with valkey://, valkeys:// or unix://, was {parts.scheme}://"
        )
    if scheme == "unix":
        return f"unix://{parts.path}"
    return urlunsplit((scheme, parts.netloc, "", "", ""))


def with_database(url: str, number: int) -> str:
    """Return the canonical `url` for one numbered database."""
    return f"{url}?db={number}" if url.startswith("unix:") else f"{url}/{number}"


def for_celery(url: str, number: int) -> str:
    """Return the canonical `url` as kombu reads it: it has no Valkey transport, only Redis'."""
    if url.startswith("unix://"):
        return f"redis+socket://{url.removeprefix('unix://')}?virtual_host={number}"
    parts = urlsplit(url)
    scheme = {"valkey": "redis", "valkeys": "rediss"}[parts.scheme]
    return urlunsplit((scheme, parts.netloc, f"/{number}", "", ""))
