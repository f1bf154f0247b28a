import type { OrderDetail } from '../../shared/api/model';
import { figuresText, MISSING, wallTimeShort, wallTimeText, wordsOf } from '../../shared/format';
import { Heads } from '../../shared/ui/heads';
import { StateChip } from './order-state';

/** Why an order has no risk checks, where its origin says it. */
const UNCHECKED: Partial<Record<OrderDetail['origin'], string>> = {
  PROTECTIVE: 'None of its own: it protects what was opened, and was checked with that order.',
  EXTERNAL: 'None: it was made beside us, and is only kept in our books.',
};

/** What the risk gate compared, rule by rule. */
export function Checks({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>Risk checks</h3>
      {order.checks.length === 0 ? (
        <p className="soft">{UNCHECKED[order.origin] ?? 'The risk gate has not looked at it.'}</p>
      ) : (
        <table className="rows">
          <Heads
            names={['Rule', { number: 'Value' }, { number: 'Limit' }, { hidden: 'Outcome' }]}
          />
          <tbody>
            {order.checks.map(({ rule, value, limit, passed }) => (
              <tr key={rule}>
                <th scope="row">{wordsOf(rule)}</th>
                <td className="number">{value === null ? MISSING : figuresText(String(value))}</td>
                <td className="number">{limit === null ? MISSING : figuresText(String(limit))}</td>
                <td className={passed ? 'up' : 'down'}>{passed ? 'passed' : 'refused'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </>
  );
}

/** Every state that it was in, with its time and cause. */
export function Life({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>Life, UTC</h3>
      <ol className="life">
        {order.events.map(({ seq, time, state, cause }) => (
          <li key={seq}>
            <time dateTime={time} title={time}>
              {wallTimeShort(time)}
            </time>
            <StateChip state={state} />
            <span className="soft">{cause}</span>
          </li>
        ))}
      </ol>
    </>
  );
}

/** The broker's own words. */
export function Facts({ order }: { order: OrderDetail }) {
  return (
    <>
      <h3>What the broker said</h3>
      {order.facts.length === 0 ? <p className="soft">Nothing yet.</p> : null}
      {order.facts.map(({ transaction_id, kind, raw, applied_at }) => (
        <details key={transaction_id} className="fact">
          <summary>
            {transaction_id} {wordsOf(kind)}{' '}
            <time dateTime={applied_at}>applied {wallTimeText(applied_at)}</time>
          </summary>
          <pre>{JSON.stringify(raw, null, 2)}</pre>
        </details>
      ))}
    </>
  );
}
