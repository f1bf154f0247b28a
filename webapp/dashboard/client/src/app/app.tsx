import { useQuery } from '@tanstack/react-query';
import { useEffect, useState } from 'react';

import { AccountPanel } from '../features/account/account-panel';
import { ChartPanel } from '../features/chart/chart-panel';
import { Menu } from '../features/menu/menu';
import { OrderDrawer } from '../features/orders/order-drawer';
import { OrderPage } from '../features/orders/order-page';
import { FillsTable, OrdersTable } from '../features/orders/orders-table';
import { PositionsPanel } from '../features/positions/positions-panel';
import { ProcessesPanel } from '../features/processes/process-bar';
import { AccountLine, ConnectionMark, QuoteLine } from '../features/quote/quote-line';
import { ReconciliationPage } from '../features/reconciliation/reconciliation-page';
import { ReplayBar } from '../features/replay/replay-bar';
import { ResearchPage } from '../features/research/research-page';
import { SecondFactorPage } from '../features/second-factor/second-factor-page';
import { SignalsTable } from '../features/signals/signals-table';
import { StrategyPanel } from '../features/strategy/strategy-panel';
import { TicketPanel } from '../features/ticket/ticket-panel';
import { TradingStateControl } from '../features/trading-state/trading-state';
import type { Status } from '../shared/api/model';
import { statusQuery } from '../shared/api/queries';
import { Link, useRoute } from '../shared/route';
import { Answer, StaleMark } from '../shared/ui/panel';
import { Tabs } from '../shared/ui/tabs';
import { Notices } from './notices';
import { useStream } from './use-stream';

type AppProps = { user: string; staff: boolean };

/** The page's own addresses, and what they are called. */
const PAGES = [
  ['', 'Desk'],
  ['research', 'Research'],
  ['reconciliation', 'Books'],
] as const;

/** What a narrow screen shows one at a time; a wide one shows all of it. */
const VIEWS = [
  ['chart', 'Chart'],
  ['trade', 'Trade'],
  ['activity', 'Activity'],
  ['account', 'Account'],
  ['system', 'System'],
] as const;

export function App({ user, staff }: AppProps) {
  const status = useQuery(statusQuery);
  const instrument = status.data?.feed?.instrument ?? null;
  useStream(instrument);
  const [page, id] = useRoute();
  useEffect(() => {
    document.title = `${nameOf(page, id)} · SEP`;
  }, [page, id]);
  return (
    <>
      <header className="top">
        <h1>
          <img src="/static/sep/icon.svg" alt="" width="22" height="22" /> SEP
        </h1>
        <nav className="pages" aria-label="Pages">
          {PAGES.map(([name, label]) => (
            <Link key={name} to={`/${name}`} current={(page ?? '') === name}>
              {label}
            </Link>
          ))}
        </nav>
        {instrument === null ? null : <QuoteLine instrument={instrument} />}
        <AccountLine />
        <span className="top-space" />
        {status.data === undefined ? null : (
          <>
            <TradingStateControl {...status.data} />
            <AccountChip kind={status.data.account?.kind ?? null} />
          </>
        )}
        <ConnectionMark />
        <Menu user={user} staff={staff} />
      </header>
      <Answer query={status} what="status">
        {(data) => {
          if (page === 'research') return <ResearchPage status={data} />;
          if (page === 'reconciliation') return <ReconciliationPage />;
          if (page === 'second-factor') return <SecondFactorPage />;
          if (page === 'orders') return <OrderPage key={id} id={Number(id)} />;
          return <Views status={data} />;
        }}
      </Answer>
      <Notices />
    </>
  );
}

/** Accounts that trade no real money; what is not one of them is taken to trade it. */
const PRACTICE = new Set(['paper', 'oanda-local', 'oanda-practice', 'ccxt-sandbox']);

function AccountChip({ kind }: { kind: string | null }) {
  if (kind === null) return <span className="chip paper">NO ACCOUNT</span>;
  const practice = PRACTICE.has(kind);
  return (
    <span
      className={practice ? 'chip paper' : 'chip live'}
      title={practice ? 'No real money is traded here.' : 'Real money is traded here.'}
    >
      {kind.toUpperCase()}
      {practice ? null : <span className="hidden">, real money</span>}
    </span>
  );
}

function nameOf(page: string | undefined, id: string | undefined): string {
  if (page === 'orders') return `Order ${id ?? ''}`;
  if (page === 'second-factor') return 'Second factor';
  return PAGES.find(([name]) => name === (page ?? ''))?.[1] ?? 'Desk';
}

function Views({ status }: { status: Status }) {
  const [shown, setShown] = useState<string>('chart');
  const [order, setOrder] = useState<number | null>(null);
  const { feed } = status;
  return (
    <>
      <main className="views" data-shown={shown}>
        {feed === null ? (
          <p className="state" data-view="chart">
            No feed is set up. Run <code>manage.py load_sample</code>.
          </p>
        ) : (
          <div className="market" data-view="chart">
            <ChartPanel instrument={feed.instrument} granularity={feed.granularity} />
            {feed.name === 'replay' ? <ReplayBar feed={feed} /> : null}
          </div>
        )}
        {/* Before the activity, whose rows are many, on the way of the tab key. */}
        <div className="side">
          <AccountPanel />
          <StrategyPanel status={status} />
          <PositionsPanel />
          {feed === null ? null : <TicketPanel instrument={feed.instrument} />}
        </div>
        <section className="panel activity" data-view="activity" aria-label="Activity">
          <Tabs
            label="Activity"
            tabs={[
              { name: 'orders', label: 'Orders', content: () => <OrdersTable onOpen={setOrder} /> },
              { name: 'fills', label: 'Fills', content: () => <FillsTable onOpen={setOrder} /> },
              {
                name: 'signals',
                label: 'Signals',
                content: () => <SignalsTable onOpenOrder={setOrder} />,
              },
            ]}
          >
            <StaleMark />
          </Tabs>
        </section>
        <ProcessesPanel />
      </main>
      <nav className="view-choice" aria-label="Views">
        {VIEWS.map(([name, label]) => (
          <button
            key={name}
            type="button"
            aria-current={shown === name ? 'page' : undefined}
            onClick={() => {
              setShown(name);
            }}
          >
            {label}
          </button>
        ))}
      </nav>
      {order === null ? null : (
        <OrderDrawer
          key={order}
          id={order}
          onClose={() => {
            setOrder(null);
          }}
        />
      )}
    </>
  );
}
