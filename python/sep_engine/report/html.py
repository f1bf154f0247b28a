"""Pieces of a page: text is escaped, figures are inline SVG, the style comes along."""

import html
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5b6675; --line: #d5dae1; --page: #fff;
  --note: #fff6dd; }
@media (prefers-color-scheme: dark) { :root { --ink: #e3e8ef; --dim: #98a3b3; --line: #333d4b;
  --page: #12171e; --note: #3a3117; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .25rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.note { background: var(--note); border-radius: 6px; padding: .6rem .9rem; }
.dim { color: var(--dim); } code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; padding: .7rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; margin: .8rem 0; }
td, th { border-bottom: 1px solid var(--line); padding: .25rem .9rem .25rem 0; text-align: left;
  vertical-align: top; } td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; } .pairs td { overflow-wrap: anywhere; }
.grid td:first-child { min-width: 9rem; }
figure { margin: 1rem 0; background: #fff; border-radius: 6px; overflow-x: auto; }
svg { width: 100%; min-width: 44rem; height: auto; display: block; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole HTML document; `parts` are HTML already, `title` is text."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Return `text` safe between tags and in attributes."""
    return html.escape(str(text))


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def note(text: str) -> str:
    """Return a paragraph that stands out: what the reader must know first."""
    return f'<p class="note">{escape(text)}</p>'


def paragraph(text: str) -> str:
    return f'<p class="dim">{escape(text)}</p>'


def preformatted(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def table(rows: Sequence[tuple[str, object]]) -> str:
    """Return names and values side by side."""
    cells = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
    )
    return f'<div class="scroll"><table class="pairs">\n{cells}\n</table></div>'


def grid(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table with a header row; cells that hold numbers only stand on the right."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="grid">\n<tr>{head}</tr>\n{body}\n</table></div>'


def _cell(value: object) -> str:
    text = str(value)
    kind = ' class="number"' if re.fullmatch(r"[<>=≥ \d.,+\-\[\]%]+", text) else ""
    return f"<td{kind}>{escape(text)}</td>"


def figure_svg(figure: "Figure", *, label: str) -> str:
    """Return the figure as inline SVG, the same bytes for the same figure."""
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": label, "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", f'<svg role="img" aria-label="{escape(label)}"')
    return f"<figure>{svg}</figure>"
