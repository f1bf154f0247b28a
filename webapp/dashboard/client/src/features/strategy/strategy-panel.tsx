import { rule as ruleSchema, type Rule, type Status } from '../../shared/api/model';
import { sizeText, wordsOf } from '../../shared/format';
import { Panel } from '../../shared/ui/panel';
import './strategy.css';

/** What trades by itself, and what is known about its worth. */
export function StrategyPanel({ status }: { status: Status }) {
  const { strategy, assumed_spread } = status;
  return (
    <Panel title="Strategy" view="account">
      {strategy === null ? (
        <p className="state">No strategy is set up.</p>
      ) : (
        <div className="strategy">
          <p>
            <b>{strategy.name}</b>
            {strategy.enabled ? null : <span className="chip bad">off</span>}
          </p>
          <p className="soft">{ruleText(strategy.rule)}</p>
        </div>
      )}
      <p className="verdict">
        {strategy?.verdict_text} {assumed_spread?.text}
      </p>
    </Panel>
  );
}

/** A rule in words; one that the page has no words for is shown as it is stored. */
function ruleText(stored: Record<string, unknown>): string {
  const { success, data } = ruleSchema.safeParse(stored);
  return success ? inWords(data) : JSON.stringify(stored);
}

function inWords(rule: Rule): string {
  const gates = rule.gates.map(
    ({ metric, percentile: [low, high] }) =>
      `${wordsOf(metric)} percentile ${high >= 100 ? `≥ ${low}` : `${low} to ${high}`}`,
  );
  const stop = rule.stop_ticks === null ? 'no stop' : `stop ${rule.stop_ticks} ticks`;
  return [
    `${wordsOf(rule.direction)} over ${rule.window} ${rule.encoding}`,
    ...gates,
    `${sizeText(rule.units)} units`,
    stop,
    `${rule.horizon_bars} bars`,
  ].join(', ');
}
