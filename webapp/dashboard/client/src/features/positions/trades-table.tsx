import { useQuery } from '@tanstack/react-query';

import { closeTrade } from '../../shared/api/commands';
import type { Trade } from '../../shared/api/model';
import { brokerQuery, tradesQuery } from '../../shared/api/queries';
import { decimalsOf, instrumentText, priceText, signOf, sizeText } from '../../shared/format';
import { Change } from '../../shared/ui/amount';
import { Heads } from '../../shared/ui/heads';
import { Closes } from './closes';

/** The venue's trades, which add up to the positions; nothing where it keeps none apart. */
export function TradesTable() {
  const separate = useQuery(brokerQuery).data?.trades === true;
  const trades = useQuery({ ...tradesQuery, enabled: separate }).data ?? [];
  if (trades.length === 0) return null;
  return (
    <div className="table-scroll">
      <table className="rows tight">
        <Heads
          names={['Trade', { number: 'Entry' }, { number: 'Realised' }, { hidden: 'Close' }]}
        />
        <tbody>
          {trades.map((trade) => (
            <TradeRow key={trade.id} trade={trade} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function TradeRow({ trade }: { trade: Trade }) {
  const { id, instrument, units, opened_units, price, realised_pl } = trade;
  const long = signOf(units) > 0;
  return (
    <tr>
      <th scope="row">
        {id} {instrumentText(instrument)}
        <small className={long ? 'up' : 'down'}>
          {long ? 'long' : 'short'} {sizeText(units)}
          {units === opened_units ? '' : ` of ${sizeText(opened_units)}`}
        </small>
      </th>
      <td className="number">{priceText(price, decimalsOf(price))}</td>
      <td className="number">
        <Change amount={realised_pl} />
      </td>
      <Closes
        what={`trade ${id}`}
        held={units}
        close={(key, part) => closeTrade(id, key, part)}
      />
    </tr>
  );
}
