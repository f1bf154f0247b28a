"""The page of a sweep: its best rules, which prove nothing, and the grid that they are of."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sep_engine.report.html import grid, heading, note, page, paragraph, preformatted, table


def sweep_page(
    title: str,
    *,
    text: str,
    facts: Sequence[tuple[str, object]],
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    grid_document: Mapping[str, Any],
    synthetic: bool,
) -> str:
    """Return the HTML page.

    Args:
        text: what was found, in a sentence or two.
        facts: names and values: data, costs, hours.
        header, rows: of the best rules, the best first.
        grid_document: of the grid, as JSON.
        synthetic: whether the prices were generated.
    """
    return page(
        f"SYNTHETIC: {title}" if synthetic else title,
        [
            note("Unproven: the best of many looks good by chance. Judge it as evidence."),
            paragraph(text),
            heading(f"The {len(rows)} best"),
            grid(header, rows),
            heading("What they were tried on"),
            table(facts),
            heading("Grid"),
            preformatted(json.dumps(grid_document, indent=2)),
        ],
    )
