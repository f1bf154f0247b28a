"""How every plot of a report looks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAIN, LOSS, INK, DIM = "#1a7f5a", "#c0392b", "#27425f", "#8a94a3"


def axes_of(*, rows: int, columns: int = 1) -> "tuple[Figure, list[Axes]]":
    """Return a figure as wide as the page and its axes; rows share their x axis."""
    from matplotlib.figure import Figure

    width, height = 9.5, 2.1 * rows + 1.2
    figure = Figure(figsize=(width, height))
    # Fixed margins in inches: measuring every label for the best ones takes longer than drawing.
    figure.subplots_adjust(
        left=0.75 / width,
        right=1 - 0.15 / width,
        bottom=0.5 / height,
        top=1 - 0.3 / height,
        hspace=0.12,
        wspace=0.2,
    )
    every = figure.subplots(rows, columns, sharex="col", squeeze=False)
    return figure, list(every.ravel())


def finish(figure: "Figure", every: "list[Axes]", synthetic: bool) -> None:
    """Give all axes the common look; generated prices are stamped."""
    for axes in every:
        axes.grid(visible=True, color="#e4e8ed", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_fontsize(8)
        axes.yaxis.label.set_fontsize(8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    if synthetic:
        figure.text(0.5, 0.5, "SYNTHETIC", fontsize=48, color=LOSS, alpha=0.25, ha="center")


def legend(axes: "Axes") -> None:
    """Name what was drawn with a label, above the axes."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8, borderpad=0
    )


def days_of(days: Sequence[int]) -> NDArray[np.datetime64]:
    """Return days since 1970 as dates."""
    return np.array(days, dtype="datetime64[D]")
