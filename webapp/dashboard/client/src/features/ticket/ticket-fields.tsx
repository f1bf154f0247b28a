import type { Broker, OrderType, Trade } from '../../shared/api/model';
import { orderType } from '../../shared/api/model';
import { headingOf, sideText, sizeText } from '../../shared/format';
import { PROTECTIVE } from '../../shared/order-kinds';
import { entryAs, hasPrice, type Entry } from './intent';

/** What every part of the ticket's form is given. */
export type FormProps = {
  entry: Entry;
  /** What the server said against a field, by its name. */
  wrong: Record<string, unknown>;
  broker: Broker | undefined;
  onChange: (fields: Partial<Entry>) => void;
};

type TicketFieldsProps = FormProps & {
  trades: readonly Trade[];
  /** The venue hangs orders of this type on a trade, not on the position. */
  onTrade: boolean;
};

/** The fields that a type of order has; a venue that has not said what it takes takes the usual. */
export function TicketFields({
  entry,
  wrong,
  broker,
  onChange,
  trades,
  onTrade,
}: TicketFieldsProps) {
  const { type } = entry;
  const protective = PROTECTIVE.has(type);
  const kinds = broker?.types.map((one) => one.type) ?? (['MARKET', 'LIMIT', 'STOP'] as const);
  const trailing = type === 'TRAILING_STOP_LOSS' || (!protective && trails(broker?.on_fill));
  const amount = (name: 'units' | 'price' | 'stop_loss' | 'take_profit' | 'trailing_distance') => ({
    inputMode: 'decimal' as const,
    autoComplete: 'off',
    'aria-invalid': name in wrong,
    value: entry[name],
    onChange: ({ target }: { target: HTMLInputElement }) => {
      onChange({ [name]: target.value });
    },
  });
  return (
    <>
      <label>
        Order
        <select
          value={type}
          aria-invalid={'type' in wrong}
          onChange={({ target }) => {
            onChange(entryAs(orderType.parse(target.value), entry));
          }}
        >
          {kinds.map((kind) => (
            <option key={kind} value={kind}>
              {headingOf(kind)}
            </option>
          ))}
        </select>
      </label>
      {entry.trade_id === '' ? (
        <label>
          Units
          <input {...amount('units')} />
        </label>
      ) : null}
      {protective && (onTrade || trades.length > 0) ? (
        <label>
          Of trade
          <select
            value={entry.trade_id}
            aria-invalid={'trade_id' in wrong}
            onChange={({ target }) => {
              onChange({ trade_id: target.value });
            }}
          >
            <option value="">{onTrade ? 'choose a trade' : 'the position'}</option>
            {trades.map((one) => (
              <option key={one.id} value={one.id}>
                {one.id}: {sideText(one.units)} {sizeText(one.units)}
              </option>
            ))}
          </select>
        </label>
      ) : null}
      {hasPrice(type) ? (
        <label>
          Price
          <input {...amount('price')} />
        </label>
      ) : null}
      {protective ? null : (
        <>
          <label>
            Stop loss
            <input placeholder="default" {...amount('stop_loss')} />
          </label>
          <label>
            Take profit
            <input placeholder="none" {...amount('take_profit')} />
          </label>
        </>
      )}
      {trailing ? (
        <label>
          {type === 'TRAILING_STOP_LOSS' ? 'Distance' : 'Trailing stop, distance'}
          <input placeholder="none" {...amount('trailing_distance')} />
        </label>
      ) : null}
    </>
  );
}

function trails(kinds: readonly OrderType[] | undefined): boolean {
  return kinds?.includes('TRAILING_STOP_LOSS') === true;
}
