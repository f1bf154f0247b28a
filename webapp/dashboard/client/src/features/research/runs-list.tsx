import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';

import { runsQuery, type Run } from '../../shared/api/research';
import { ageText } from '../../shared/format';
import { go, Link } from '../../shared/route';
import { Heads } from '../../shared/ui/heads';
import { Answer, Panel } from '../../shared/ui/panel';
import { useNow } from '../../shared/ui/use-now';
import { RunMark } from './run-marks';
import { dataText, KINDS } from './wording';

export function RunsList({ most }: { most: number }) {
  const runs = useQuery(runsQuery);
  const [chosen, setChosen] = useState<string[]>([]);
  return (
    <Panel
      title="Runs"
      view="research"
      actions={
        <button
          type="button"
          disabled={chosen.length < 2}
          title={`Choose two to ${most} runs`}
          onClick={() => {
            go(`/research/compare?ids=${chosen.join(',')}`);
          }}
        >
          Compare {chosen.length < 2 ? '' : chosen.length}
        </button>
      }
    >
      <Answer
        query={runs}
        what="runs"
        empty={(rows) =>
          rows.length === 0
            ? 'Nothing was asked of the lab yet. Ask whether a rule has an edge: most have none.'
            : null
        }
      >
        {(rows) => (
          <div className="table-scroll">
            <table className="rows runs">
              <Heads names={[{ hidden: 'Compare' }, 'What', 'Answer', 'Who, when']} />
              <tbody>
                {rows.map((run) => (
                  <RunRow
                    key={run.id}
                    run={run}
                    chosen={chosen.includes(run.id)}
                    full={chosen.length >= most}
                    onChoose={(on) => {
                      setChosen(
                        on ? [...chosen, run.id] : chosen.filter((id) => id !== run.id),
                      );
                    }}
                  />
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Answer>
    </Panel>
  );
}

type RunRowProps = { run: Run; chosen: boolean; full: boolean; onChoose: (on: boolean) => void };

function RunRow({ run, chosen, full, onChoose }: RunRowProps) {
  const age_s = (useNow() - Date.parse(run.created_at)) / 1000;
  return (
    <tr>
      <td>
        <input
          type="checkbox"
          aria-label={`Compare ${run.name}`}
          checked={chosen}
          disabled={run.state !== 'DONE' || (full && !chosen)}
          onChange={({ target }) => {
            onChoose(target.checked);
          }}
        />
      </td>
      <td>
        <Link to={`/research/${run.id}`}>{run.name}</Link>
        <small>
          {KINDS[run.kind]}, {dataText(run)}
        </small>
      </td>
      <td>
        <RunMark run={run} />
        <small className="wrap">{run.error === '' ? run.result_text : run.error}</small>
      </td>
      <td className="soft">
        {run.requested_by ?? 'unknown'}
        <small>{age_s < 1 ? 'now' : `${ageText(age_s)} ago`}</small>
      </td>
    </tr>
  );
}
