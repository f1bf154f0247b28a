import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import type { Reconciliation, ReconciliationDetail } from '../../shared/api/model';
import { reconciliationQuery, reconciliationsQuery } from '../../shared/api/queries';
import {
  figuresText,
  instrumentText,
  MISSING,
  wallTimeShort,
  wallTimeText,
  wordsOf,
} from '../../shared/format';
import { Link } from '../../shared/route';
import { Heads } from '../../shared/ui/heads';
import { Answer } from '../../shared/ui/panel';
import './reconciliation.css';

type Outcome = Reconciliation['outcome'];

const LOOKS: Record<Outcome, { words: string; tone: string }> = {
  AGREED: { words: 'agreed', tone: 'good' },
  CAUGHT_UP: { words: 'caught up', tone: 'good' },
  DIFFERED: { words: 'differed', tone: 'bad' },
  UNREACHED: { words: 'not reached', tone: 'doubt' },
};

const CAUSES: Record<string, string> = {
  start: 'at the start',
  minute: 'every minute',
  stream: 'stream opened',
};

/** What we think, what the broker says, where they differ, and what was done about it. */
export function ReconciliationPage() {
  const runs = useQuery(reconciliationsQuery);
  const [chosen, setChosen] = useState<number | null>(null);
  return (
    <main className="reconciliation">
      <Answer
        query={runs}
        what="comparisons"
        empty={(rows) =>
          rows.length === 0
            ? 'The books have not been compared yet; the trader does it when it starts.'
            : null
        }
      >
        {(rows) => {
          const shown = rows.find(({ id }) => id === chosen) ?? rows[0];
          return (
            <>
              {shown === undefined ? null : <Compared key={shown.id} run={shown} />}
              <Runs rows={rows} shown={shown?.id ?? null} onChoose={setChosen} />
            </>
          );
        }}
      </Answer>
    </main>
  );
}

function OutcomeChip({ outcome }: { outcome: Outcome }) {
  const { words, tone } = LOOKS[outcome];
  return <span className={`chip ${tone}`}>{words}</span>;
}

function Compared({ run }: { run: Reconciliation }) {
  return (
    <section className="panel" aria-label="Comparison">
      <header className="panel-head">
        <h2>Our books and the broker's</h2>
        <OutcomeChip outcome={run.outcome} />
        <time dateTime={run.started_at} className="soft">
          {wallTimeText(run.started_at)}
        </time>
      </header>
      <p className="compared-done">{doneText(run)}</p>
      <Answer
        query={useQuery(reconciliationQuery(run.id))}
        what="comparison"
        empty={({ rows }) =>
          rows.length === 0 ? 'The broker said nothing to compare with.' : null
        }
      >
        {({ rows }) => <Rows rows={rows} />}
      </Answer>
    </section>
  );
}

function doneText({ outcome, done, facts_read, adopted }: Reconciliation): string {
  const parts = [];
  if (facts_read > 0) parts.push(`${facts_read} transactions were read and applied.`);
  if (adopted > 0) parts.push(`${adopted} orders that were made beside us were adopted.`);
  if (outcome === 'DIFFERED' || outcome === 'UNREACHED') parts.push(`${done}.`);
  return parts.length === 0 ? 'Nothing was to be done.' : parts.join(' ');
}

function Rows({ rows }: { rows: ReconciliationDetail['rows'] }) {
  return (
    <div className="table-scroll">
      <table className="rows">
        <Heads
          names={[
            'What',
            { number: 'We think' },
            { number: 'The broker says' },
            { hidden: 'Whether they agree' },
          ]}
        />
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.what} ${row.key}`}>
              <th scope="row">
                {row.what === 'transaction' ? 'last transaction' : wordsOf(row.what)}{' '}
                <Key row={row} />
              </th>
              <td className="number">{valueText(row, row.local)}</td>
              <td className="number">{valueText(row, row.reported)}</td>
              <td className={row.same ? 'up' : 'down'}>{row.same ? 'same' : 'differs'}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Money and units get their commas; the number of a transaction is a name, and stays. */
function valueText(row: ReconciliationDetail['rows'][number], value: string | null): string {
  if (value === null) return MISSING;
  return row.what === 'transaction' ? value : figuresText(value);
}

function Key({ row }: { row: ReconciliationDetail['rows'][number] }) {
  if (row.what === 'position') return <b>{instrumentText(row.key)}</b>;
  if (row.order_id === null) return <span className="soft">{row.key}</span>;
  return (
    <>
      <Link to={`/orders/${row.order_id}`}>
        {row.order_id}, {wordsOf(row.name)}
      </Link>
      {row.origin === 'EXTERNAL' ? <span className="chip">made beside us</span> : null}
    </>
  );
}

type RunsProps = {
  rows: readonly Reconciliation[];
  shown: number | null;
  onChoose: (id: number) => void;
};

function Runs({ rows, shown, onChoose }: RunsProps) {
  return (
    <section className="panel" aria-label="Comparisons">
      <header className="panel-head">
        <h2>Comparisons</h2>
        <span className="soft">at the start, at each reconnect, every minute</span>
      </header>
      <div className="table-scroll">
        <table className="rows">
          <Heads names={['Time, UTC', 'Why', 'Outcome', 'Done']} />
          <tbody>
            {rows.map((run) => (
              <tr
                key={run.id}
                className="openable"
                aria-current={run.id === shown}
                onClick={() => {
                  onChoose(run.id);
                }}
              >
                <td>
                  <button
                    type="button"
                    className="link"
                    onClick={() => {
                      onChoose(run.id);
                    }}
                  >
                    {wallTimeShort(run.started_at)}
                  </button>
                </td>
                <td className="soft">{CAUSES[run.cause] ?? run.cause}</td>
                <td>
                  <OutcomeChip outcome={run.outcome} />
                </td>
                <td className="soft">{doneText(run)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
