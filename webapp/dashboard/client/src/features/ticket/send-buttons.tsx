import { useQuery } from '@tanstack/react-query';

import { marketQuery } from '../../shared/api/queries';
import { decimalsOf, priceText } from '../../shared/format';
import type { Entry } from './intent';

type SendButtonsProps = {
  instrument: string;
  entry: Entry;
  disabled: boolean;
  onSend: (side: 'buy' | 'sell') => void;
};

/**
 * Sell at the left and buy at the right, an order at the market with the price that is paid now.
 * What closes a trade takes its side from it, so it has one button.
 */
export function SendButtons({ instrument, entry, disabled, onSend }: SendButtonsProps) {
  const quote = useQuery(marketQuery(instrument)).data?.quote ?? null;
  if (entry.trade_id !== '') {
    return (
      <button
        type="button"
        className="ticket-send trade"
        disabled={disabled}
        onClick={() => {
          onSend('sell');
        }}
      >
        Place
      </button>
    );
  }
  return (['sell', 'buy'] as const).map((side) => {
    const price = (side === 'buy' ? quote?.ask : quote?.bid) ?? null;
    return (
      <button
        key={side}
        type="button"
        className={`ticket-send ${side}`}
        disabled={disabled}
        onClick={() => {
          onSend(side);
        }}
      >
        {side === 'buy' ? 'Buy' : 'Sell'}
        {entry.type !== 'MARKET' || price === null ? null : (
          // Not a part of the button's name, which would be read out with every quote.
          <span aria-hidden="true">{priceText(price, decimalsOf(price))}</span>
        )}
      </button>
    );
  });
}
