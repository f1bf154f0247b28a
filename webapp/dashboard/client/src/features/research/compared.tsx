import { useQuery } from '@tanstack/react-query';

import { comparedQuery, type Run } from '../../shared/api/research';
import { Link } from '../../shared/route';
import { Answer, Panel } from '../../shared/ui/panel';
import { RunMark } from './run-marks';
import { dataText, figureText, KINDS, shortId } from './wording';

/** Two to four runs side by side: what each found, figure by figure. */
export function Compared({ ids }: { ids: string[] }) {
  return (
    <>
      <p className="research-path">
        <Link to="/research">← All runs</Link>
      </p>
      <Panel title="Side by side" view="research">
        <Answer query={useQuery(comparedQuery(ids))} what="runs">
          {({ runs, figures }) => (
            <div className="table-scroll">
              <table className="rows compared">
                <thead>
                  <tr>
                    <th scope="col">
                      <span className="hidden">Figure</span>
                    </th>
                    {runs.map((run) => (
                      <th key={run.id} scope="col" className="number">
                        <Link to={`/research/${run.id}`}>{run.name}</Link>
                        <small>
                          {KINDS[run.kind]}, {dataText(run)}
                        </small>
                        <RunMark run={run} />
                      </th>
                    ))}
                  </tr>
                </thead>
                <tbody>
                  {differences(runs).map(([name, texts]) => (
                    <tr key={name}>
                      <th scope="row">{name}</th>
                      {texts.map((text, place) => (
                        <td key={ids[place]} className="number">
                          {text}
                        </td>
                      ))}
                    </tr>
                  ))}
                  {figures.map(({ name, unit, values }) => (
                    <tr key={name}>
                      <th scope="row">{name}</th>
                      {values.map((value, place) => (
                        <td key={ids[place]} className="number">
                          {figureText({ value, unit })}
                        </td>
                      ))}
                    </tr>
                  ))}
                </tbody>
              </table>
            </div>
          )}
        </Answer>
      </Panel>
    </>
  );
}

/** What runs were asked in different ways: their names alone do not say it. */
function differences(runs: Run[]): [string, string[]][] {
  const facts: [string, (run: Run) => string][] = [
    ['data hash', (run) => shortId(run.data_sha256)],
    ['prices', (run) => run.data.price_side],
    ['seed', (run) => String(run.seed)],
    ['strategy', (run) => run.strategy?.name ?? 'none'],
    ['code', (run) => run.code_version],
  ];
  return facts
    .map(([name, text]): [string, string[]] => [name, runs.map(text)])
    .filter(([, texts]) => new Set(texts).size > 1);
}
