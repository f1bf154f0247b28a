import { useQuery } from '@tanstack/react-query';

import type { ProcessHealth } from '../../shared/api/model';
import { healthQuery } from '../../shared/api/queries';
import { ageText } from '../../shared/format';
import { Answer, Panel } from '../../shared/ui/panel';
import './processes.css';

const WORDS: Record<ProcessHealth['status'], string> = {
  up: 'up',
  late: 'late',
  down: 'down',
};

type Row = Pick<ProcessHealth, 'name' | 'status'> & { note: string; detail: string };

/** Every process and store that SEP needs, and how each one is. */
export function ProcessesPanel() {
  const health = useQuery(healthQuery);
  return (
    <Panel title="Processes" view="system">
      <Answer query={health} what="health">
        {({ processes, database, valkey, version }) => (
          <>
            {health.isError ? (
              <p role="alert" className="state">
                The last look failed: {health.error.message}
              </p>
            ) : null}
            <ul className="processes">
              {[
                ...processes.map((process): Row => ({
                  ...process,
                  note: process.age_s === null ? 'never seen' : ageText(process.age_s),
                  detail: process.pid === null ? '' : `process ${process.pid}`,
                })),
                storeRow('database', database),
                storeRow('valkey', valkey),
              ].map((row) => (
                <li key={row.name} data-status={row.status} title={row.detail}>
                  <span className="dot" aria-hidden="true" />
                  {row.name} <b>{WORDS[row.status]}</b> <small>{row.note}</small>
                </li>
              ))}
              <li className="version">
                <small>SEP {version}</small>
              </li>
            </ul>
          </>
        )}
      </Answer>
    </Panel>
  );
}

type Store = { status: 'up' | 'down'; kind: string; latency_ms: number | null };

function storeRow(name: string, { status, kind, latency_ms }: Store): Row {
  const note = latency_ms === null ? 'no answer' : `${latency_ms.toFixed(1)} ms`;
  return { name, status, note, detail: kind };
}
