"""A strategy of one's own: buy what closes above its twenty last highs."""

from sep_engine.signals.strategy import StrategyBar


class Breakout:
    horizon_bars = 4
    window = 20  # bars that a decision looks back on
    stop_ticks = 300

    def __init__(self) -> None:
        self.highs: list[float] = []

    def on_bar(self, bar: StrategyBar) -> int:
        above = len(self.highs) == self.window and bar.close > max(self.highs)
        self.highs = [*self.highs, bar.high][-self.window :]
        return 1 if above else 0
