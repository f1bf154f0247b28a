import type { Status } from '../../shared/api/model';
import { useRoute, useSearch } from '../../shared/route';
import { Compared } from './compared';
import { RunView } from './run-view';
import { RunsList } from './runs-list';
import { StartForm } from './start-form';
import './research.css';

const COMPARED_MIN = 2;
const COMPARED_MAX = 4;

/** Everything below /research: the list of runs, one run, or some side by side. */
export function ResearchPage({ status }: { status: Status }) {
  const [, run] = useRoute();
  const ids = (useSearch().get('ids') ?? '').split(',').filter((id) => id !== '');
  return (
    <main className="research">
      {run === 'compare' && ids.length >= COMPARED_MIN && ids.length <= COMPARED_MAX ? (
        <Compared ids={ids} />
      ) : run === undefined || run === 'compare' ? (
        <div className="research-columns">
          <RunsList most={COMPARED_MAX} />
          <StartForm status={status} />
        </div>
      ) : (
        <RunView key={run} id={run} />
      )}
    </main>
  );
}
