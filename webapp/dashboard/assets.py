"""Which built files the page loads, read from the manifest that Vite writes."""

import json
from dataclasses import dataclass
from pathlib import Path

BUILT = Path(__file__).parent / "static" / "dashboard"
ENTRY = "src/app/main.tsx"


class NotBuiltError(RuntimeError):
    """The client has not been built, or its manifest lacks the page's entry."""


@dataclass(frozen=True, slots=True)
class Assets:
    """Paths below STATIC_URL of the page's script and style sheets."""

    script: str
    styles: tuple[str, ...]


def read_assets(built: Path = BUILT) -> Assets:
    """Return the built page's files.

    Raises:
        NotBuiltError: there is no manifest below `built`, or it does not name the entry.
    """
    try:
        manifest = json.loads((built / ".vite" / "manifest.json").read_text())
        entry = manifest[ENTRY]
    except (OSError, ValueError, KeyError) as error:
        raise NotBuiltError("the dashboard is not built: run `make client`") from error
    return Assets(
        script=f"dashboard/{entry['file']}",
        styles=tuple(f"dashboard/{path}" for path in entry.get("css", ())),
    )
