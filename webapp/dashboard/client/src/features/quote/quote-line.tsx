import { useQuery } from '@tanstack/react-query';

import { marketQuery, performanceQuery } from '../../shared/api/queries';
import { ageText, decimalsOf, instrumentText, moneyText, priceText } from '../../shared/format';
import { useConnection, useStaleAge } from '../../shared/stream/connection-store';
import { Change } from '../../shared/ui/amount';
import { useNow } from '../../shared/ui/use-now';
import './quote.css';

/** Quotes older than this show their age in colour. */
const OLD_S = 15;

/** The newest bid and ask, and how long ago they came. */
export function QuoteLine({ instrument }: { instrument: string }) {
  const market = useQuery(marketQuery(instrument));
  const now = useNow();
  const quote = market.data?.quote ?? null;
  const age_s =
    quote === null
      ? null
      : Math.max(0, (now - market.dataUpdatedAt) / 1000) + (market.data?.age_s ?? 0);
  const decimals = decimalsOf(quote?.bid ?? null);
  return (
    <p className="quote">
      <b>{instrumentText(instrument)}</b>
      <span title="bid">{priceText(quote?.bid ?? null, decimals)}</span>
      <span className="quote-slash">/</span>
      <span title="ask">{priceText(quote?.ask ?? null, decimals)}</span>
      <small className={age_s !== null && age_s > OLD_S ? 'warn' : ''}>
        {age_s === null ? 'no quote' : ageText(age_s)}
      </small>
    </p>
  );
}

/** Equity and open result of the account, always in sight. */
export function AccountLine() {
  const { data } = useQuery(performanceQuery);
  if (data === undefined) return null;
  return (
    <p className="account-line">
      <span>
        <small>Equity</small> {moneyText(data.equity)} <small>{data.currency}</small>
      </span>
      <span className="account-open">
        <small>Open</small> <Change amount={data.open_pl} />
      </span>
    </p>
  );
}

/** Live, or how old what is shown has become. */
export function ConnectionMark() {
  const connection = useConnection();
  const stale_s = useStaleAge();
  const words = {
    live: 'Live',
    connecting: 'Connecting',
    reconnecting: `Reconnecting, ${ageText(stale_s)} old`,
    logged_out: 'Logged out',
  }[connection.state];
  return (
    <p className="connection" data-state={connection.state} role="status">
      <span className="dot" aria-hidden="true" />
      {connection.state === 'logged_out' ? <a href="/login">Logged out: log in again</a> : words}
    </p>
  );
}
