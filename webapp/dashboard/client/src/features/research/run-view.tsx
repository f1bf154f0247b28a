import { useMutation, useQuery } from '@tanstack/react-query';

import { cancelRun, deleteRun, runQuery, type RunDetail } from '../../shared/api/research';
import { marketTimeText } from '../../shared/format';
import { notify } from '../../shared/notices';
import { go, Link } from '../../shared/route';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';
import { Answer, Panel } from '../../shared/ui/panel';
import { RunMark } from './run-marks';
import { dataText, figureText, KINDS, OPEN, shortId } from './wording';

export function RunView({ id }: { id: string }) {
  return (
    <>
      <p className="research-path">
        <Link to="/research">← All runs</Link>
      </p>
      <Panel title="Run" view="research">
        <Answer query={useQuery(runQuery(id))} what="run">
          {(run) => <Found run={run} />}
        </Answer>
      </Panel>
    </>
  );
}

function Found({ run }: { run: RunDetail }) {
  const cancel = useMutation({
    mutationFn: () => cancelRun(run.id),
    onError: (error) => {
      notify('error', `The run could not be cancelled. ${error.message}`);
    },
  });
  const { shards } = run;
  return (
    <article className="run">
      <h3>{run.name}</h3>
      <p className="run-standing">
        <RunMark run={run} />
        {run.result_text === '' ? null : <b>{run.result_text}</b>}
      </p>
      {run.error === '' ? null : <p className="refusal">{run.error}</p>}
      {OPEN[run.state] ? (
        <p className="soft" role="status">
          {shards.done} of {shards.total} pieces done, {shards.running} under way
          {shards.tried_again > 0 ? `, ${shards.tried_again} taken again` : ''}.
        </p>
      ) : null}
      <footer className="run-actions">
        {run.state === 'DONE' ? (
          <>
            <a
              className="button"
              href={`/api/runs/${run.id}/page`}
              target="_blank"
              rel="noreferrer"
            >
              Open the page
            </a>
            <a className="button" href={`/api/runs/${run.id}/document`} download>
              Download the JSON
            </a>
          </>
        ) : null}
        {OPEN[run.state] ? (
          <button
            type="button"
            disabled={cancel.isPending}
            onClick={() => {
              cancel.mutate();
            }}
          >
            Cancel
          </button>
        ) : null}
        <DialogButton className="danger" label="Delete">
          {(close) => <DeleteDialog run={run} onClose={close} />}
        </DialogButton>
      </footer>
      {run.figures.length === 0 ? null : (
        <dl className="run-figures">
          {run.figures.map((figure) => (
            <div key={figure.name}>
              <dt>{figure.name}</dt>
              <dd>{figureText(figure)}</dd>
            </div>
          ))}
        </dl>
      )}
      {run.sections.length === 0 ? null : (
        <dl className="run-sections">
          {run.sections.map(({ name, text }) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{text}</dd>
            </div>
          ))}
        </dl>
      )}
      <h4>Where it is from</h4>
      <dl className="run-sections">
        {originOf(run).map(([name, text]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <details>
        <summary>What was asked</summary>
        <pre>{JSON.stringify(run.configuration, null, 2)}</pre>
      </details>
    </article>
  );
}

/** What is known of a run's origin, by name. */
function originOf(run: RunDetail): string[][] {
  const { from, to, price_side, source } = run.data;
  const rows: [string, string | null][] = [
    ['kind', KINDS[run.kind]],
    ['data', `${dataText(run)} of ${price_side} prices`],
    ['source', source ?? null],
    ['from', from === undefined ? null : marketTimeText(from)],
    ['to', to === undefined ? null : marketTimeText(to)],
    ['data hash', run.data_sha256],
    ['code', run.code_version],
    ['seed', String(run.seed)],
    ['strategy', run.strategy?.name ?? null],
    ['asked by', `${run.requested_by ?? 'unknown'}, ${marketTimeText(run.created_at)}`],
    ['run', shortId(run.id)],
  ];
  return rows.flatMap(([name, text]) => (text === null ? [] : [[name, text]]));
}

function DeleteDialog({ run, onClose }: { run: RunDetail; onClose: () => void }) {
  const remove = useMutation({
    mutationFn: () => deleteRun(run.id),
    onSuccess: () => {
      onClose();
      go('/research');
    },
  });
  return (
    <Dialog title="Delete this run?" onClose={onClose}>
      <p>Its figures and its page go. What it tried stays in the ledger, and counts.</p>
      {remove.error === null ? null : <p role="alert">{remove.error.message}</p>}
      <footer>
        <button type="button" onClick={onClose}>
          Keep
        </button>
        <button
          type="button"
          className="danger solid"
          disabled={remove.isPending}
          onClick={() => {
            remove.mutate();
          }}
        >
          Delete
        </button>
      </footer>
    </Dialog>
  );
}
