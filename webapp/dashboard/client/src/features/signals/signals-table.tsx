import { useQuery } from '@tanstack/react-query';

import { signalsQuery } from '../../shared/api/queries';
import {
  decimalsOf,
  marketTimeShort,
  metricText,
  MISSING,
  percentileText,
  priceText,
} from '../../shared/format';
import { Heads } from '../../shared/ui/heads';
import { Answer } from '../../shared/ui/panel';

export function SignalsTable({ onOpenOrder }: { onOpenOrder: (id: number) => void }) {
  return (
    <Answer
      query={useQuery(signalsQuery)}
      what="signals"
      empty={(rows) => (rows.length === 0 ? 'No signal yet: the rule holds.' : null)}
    >
      {(rows) => (
        <div className="table-scroll">
          <table className="rows">
            <Heads
              names={[
                'Market time, UTC',
                'Signal',
                { number: 'Price' },
                { number: 'Coherence' },
                { number: 'Entropy' },
                'Why',
                'Order',
              ]}
            />
            <tbody>
              {rows.map((signal) => (
                <tr key={signal.id}>
                  <td className="soft">{marketTimeShort(signal.time)}</td>
                  <td>
                    <span className={signal.direction === 'BUY' ? 'up' : 'down'}>
                      {signal.direction === 'BUY' ? '▲ Buy' : '▼ Sell'}
                    </span>{' '}
                    <small className="warn">{signal.verdict}</small>
                  </td>
                  <td className="number">{priceText(signal.price, decimalsOf(signal.price))}</td>
                  <td className="number">
                    {metricText(signal.metrics.coherence)}
                    <small>{percentileText(signal.percentiles.coherence)}</small>
                  </td>
                  <td className="number">
                    {metricText(signal.metrics.entropy)}
                    <small>{percentileText(signal.percentiles.entropy)}</small>
                  </td>
                  <td className="soft">
                    <span className="clip" title={signal.reason}>
                      {signal.reason}
                    </span>
                  </td>
                  <td>
                    <OrderLink id={signal.order_id} onOpen={onOpenOrder} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Answer>
  );
}

function OrderLink({ id, onOpen }: { id: number | null; onOpen: (id: number) => void }) {
  if (id === null) return MISSING;
  return (
    <button
      type="button"
      className="link"
      onClick={() => {
        onOpen(id);
      }}
    >
      order {id}
    </button>
  );
}
