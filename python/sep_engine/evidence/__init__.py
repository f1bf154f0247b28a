"""What a trading signal is worth: pure functions of arrays, and one report made of them.

lab          `evaluate`: everything that is asked of a family of rules on bars, one report
verdict      the published table of rules that turns figures into one line
causality    the gate in front of every number: does anything look ahead?
family       rules that are tried together, and what they decide on any bars
market       the bars that evidence is taken from
simulation   many rules over many series at once, trade for trade as `sep_engine.backtest`
pipeline     from trades to days, and the choice among rules
choice       that choice judged: SPA, StepM, Deflated Sharpe, PBO, walk-forward, paths
surrogates   seeded null worlds, and the p-value of a figure against them
selection    tests of the best of many
splits       walk-forward and combinatorial purged cross-validation
statistics   intervals, tests and corrections for single figures
settings     how much is computed
power        calibration on nulls, and the power curve

SciPy comes with the extra: `pip install 'sep-engine[evidence]'`. Nothing outside this package needs
it, and `import sep_engine` does not load it. arch and skfolio are the oracles of the tests. Floats
are used throughout: these are estimates, and no order is ever sized from them.
"""
