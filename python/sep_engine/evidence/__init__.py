"""What a trading signal is worth: pure functions of arrays, and one report made of them.

market       the bars that evidence is taken from
statistics   intervals, tests and corrections for single figures
surrogates   seeded null worlds, and the p-value of a figure against them
selection    what choosing the best of many does: SPA, StepM, PBO
splits       walk-forward and combinatorial purged cross-validation
causality    the gate in front of every number: does anything look ahead?
simulation   many rules over many series at once, trade for trade as `sep_engine.backtest`
verdict      the published table of rules that turns figures into one line
lab          `evaluate`: all of the above for a family of rules on bars
power        calibration on nulls and the power curve

SciPy and arch come with the extra: `pip install 'sep-engine[evidence]'`. Nothing outside this
package needs them, and `import sep_engine` does not load them. Floats are used throughout: these
are estimates, and no order is ever sized from them.
"""
