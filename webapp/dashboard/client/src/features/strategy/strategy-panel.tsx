import { useMutation } from '@tanstack/react-query';

import { idempotencyKey } from '../../shared/api/commands';
import { rule as ruleSchema, type Rule, type Status } from '../../shared/api/model';
import { startRun } from '../../shared/api/research';
import { sizeText, wordsOf } from '../../shared/format';
import { notify } from '../../shared/notices';
import { go, Link } from '../../shared/route';
import { Panel } from '../../shared/ui/panel';
import { LiveGateButton } from './live-gate';
import './strategy.css';

/** What trades by itself, and what is known about its worth. */
export function StrategyPanel({ status }: { status: Status }) {
  const { strategy, assumed_spread } = status;
  return (
    <Panel
      title="Strategy"
      view="account"
      actions={
        strategy === null ? null : (
          <>
            <LiveGateButton strategy={strategy} />
            <JudgeButton strategy={strategy.id} />
          </>
        )
      }
    >
      {strategy === null ? (
        <p className="state">No strategy is set up.</p>
      ) : (
        <div className="strategy">
          <p>
            <b>{strategy.name}</b>{' '}
            <span className={strategy.verdict === 'passed' ? 'chip good' : 'chip doubt'}>
              {strategy.verdict}
            </span>
            {strategy.enabled ? null : <span className="chip bad">off</span>}
          </p>
          <p className="soft">
            {ruleText(strategy.rule)}
            {strategy.session === '' ? null : `, enters only within ${strategy.session}`}
          </p>
        </div>
      )}
      <p className="verdict">
        {strategy === null || strategy.verdict_run === '' ? (
          strategy?.verdict_text
        ) : (
          <Link to={`/research/${strategy.verdict_run}`}>{strategy.verdict_text}</Link>
        )}{' '}
        {assumed_spread?.text}
      </p>
    </Panel>
  );
}

/** Ask the lab about the rule on every stored candle, and show how far the answer is. */
function JudgeButton({ strategy }: { strategy: number }) {
  const judge = useMutation({
    // Candles come with every bar, so each press may be another question; the same one is one run.
    mutationFn: () => startRun({ kind: 'evidence', body: { strategy } }, idempotencyKey()),
    onSuccess: ({ id }) => {
      go(`/research/${id}`);
    },
    onError: (error) => {
      notify('error', `The rule could not be judged. ${error.message}`);
    },
  });
  return (
    <button
      type="button"
      disabled={judge.isPending}
      onClick={() => {
        judge.mutate();
      }}
    >
      Judge this rule
    </button>
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
