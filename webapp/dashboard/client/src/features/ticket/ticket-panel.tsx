import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { placeOrder, type OrderIntent } from '../../shared/api/commands';
import { ApiError } from '../../shared/api/http';
import { useNewestOrder } from '../../shared/api/newest-order';
import { brokerQuery, tradesQuery } from '../../shared/api/queries';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { Panel } from '../../shared/ui/panel';
import { faultOf, intentOf, START, type Entry } from './intent';
import { Outcome } from './outcome';
import { SendButtons } from './send-buttons';
import { TicketFields } from './ticket-fields';
import { TimeAndFill } from './time-and-fill';
import './ticket.css';

/** Place an order by hand. Whether it is sent is for the risk gate to say, and it is shown here. */
export function TicketPanel({ instrument }: { instrument: string }) {
  const broker = useQuery(brokerQuery).data;
  const trades = useQuery({ ...tradesQuery, enabled: broker?.trades === true }).data ?? [];
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
