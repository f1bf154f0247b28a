import type { Status } from '../../shared/api/model';
import { startRun } from '../../shared/api/research';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { notify } from '../../shared/notices';
import { go, Link } from '../../shared/route';
import { Panel } from '../../shared/ui/panel';
import { HoursButton } from './hours';
import { LiveGateButton } from './live-gate';
import { isClass, ruleText } from './rule-text';
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
            <HoursButton strategy={strategy} />
            <LiveGateButton strategy={strategy} />
            {isClass(strategy.rule) ? null : <JudgeButton strategy={strategy.id} />}
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
          {isClass(strategy.rule) ? (
            <p className="soft">
              Its own code decides, and none of the metrics below the chart. It is judged by{' '}
              <code>sep verdict --strategy</code>, not here.
            </p>
          ) : null}
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
  const judge = useAskOnce(startRun, {
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
        judge.mutate({ kind: 'evidence', body: { strategy } });
      }}
    >
      Judge this rule
    </button>
  );
}
