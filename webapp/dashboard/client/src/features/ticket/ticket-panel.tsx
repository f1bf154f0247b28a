import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { placeOrder, type OrderIntent } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import { useNewestOrder } from '../../shared/api/newest-order';
import { brokerQuery, instrumentsQuery, tradesQuery } from '../../shared/api/queries';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { instrumentText } from '../../shared/format';
import { Panel } from '../../shared/ui/panel';
import { faultOf, intentOf, START, type Entry } from './intent';
import { Outcome } from './outcome';
import { SendButtons } from './send-buttons';
import { TicketFields } from './ticket-fields';
import { TimeAndFill } from './time-and-fill';
import './ticket.css';

/** Place an order by hand. Whether it is sent is for the risk gate to say, and it is shown here. */
export function TicketPanel({ instrument: shown }: { instrument: string }) {
  const names = useQuery(instrumentsQuery).data ?? [];
  const [chosen, setChosen] = useState<string | null>(null);
  const instrument = chosen ?? shown;
  const broker = useQuery(brokerQuery).data;
  const held = useQuery({ ...tradesQuery, enabled: broker?.trades === true }).data ?? [];
  const trades = held.filter((trade) => trade.instrument === instrument);
  const [entry, setEntry] = useState(START);
  const place = useAskOnce((intent: OrderIntent, key) => placeOrder(intent, key));
  const change = (fields: Partial<Entry>) => {
    setEntry((now) => ({ ...now, ...fields }));
    place.reset();
  };
  const wrong = place.error instanceof ApiError ? place.error.fields : {};
  const terms = broker?.types.find(({ type }) => type === entry.type);
  const onTrade = terms?.needs_trade === true && broker?.trades === true;
  const fault = faultOf(entry, onTrade);
  const form = { entry, wrong, broker, onChange: change };

  return (
    <Panel title="Place an order" view="trade">
      <form
        className="ticket"
        onSubmit={(event) => {
          event.preventDefault();
        }}
      >
        {names.length < 2 ? null : (
          <label>
            Instrument
            <select
              value={instrument}
              aria-invalid={'instrument' in wrong}
              onChange={({ target }) => {
                setChosen(target.value);
                // Prices and the trade were the other one's.
                setEntry({ ...START, type: entry.type });
                place.reset();
              }}
            >
              {names.map((name) => (
                <option key={name} value={name}>
                  {instrumentText(name)}
                </option>
              ))}
            </select>
          </label>
        )}
        <TicketFields {...form} trades={trades} onTrade={onTrade} />
        <TimeAndFill {...form} />
        <SendButtons
          instrument={instrument}
          entry={entry}
          disabled={place.isPending || fault !== null}
          onSend={(side) => {
            place.mutate(intentOf(instrument, entry, side));
          }}
        />
      </form>
      <Outcome
        pending={place.isPending}
        fault={fault}
        order={useNewestOrder(place.data)}
        error={place.error}
      />
    </Panel>
  );
}
