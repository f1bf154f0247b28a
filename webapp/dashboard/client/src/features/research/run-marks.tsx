import type { Run } from '../../shared/api/research';
import { OPEN, progressText, STATES } from './wording';

/** What came of a run, or how far it is. No edge is an answer, and does not look like an error. */
export function RunMark({ run }: { run: Run }) {
  if (OPEN[run.state]) return <Progress run={run} />;
  if (run.state !== 'DONE') {
    const tone = run.state === 'FAILED' ? 'chip bad' : 'chip';
    return <span className={tone}>{STATES[run.state]}</span>;
  }
  if (run.edge === null) return <span className="chip doubt">unproven</span>;
  return <span className={run.edge ? 'chip good' : 'chip'}>{run.edge ? 'edge' : 'no edge'}</span>;
}

function Progress({ run }: { run: Run }) {
  return (
    <span className="run-progress">
      <progress max={1} value={run.progress} aria-label={`Progress of ${run.name}`} />
      {run.state === 'QUEUED' ? STATES.QUEUED : progressText(run.progress)}
    </span>
  );
}
