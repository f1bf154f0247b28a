import { useQuery } from '@tanstack/react-query';
import { useState, type ChangeEvent } from 'react';

import { ApiError } from '../../shared/api/http';
import type { Status } from '../../shared/api/model';
import { dataSetsQuery, runKind, startRun } from '../../shared/api/research';
import { useAskOnce } from '../../shared/api/use-ask-once';
import { instrumentText } from '../../shared/format';
import { go } from '../../shared/route';
import { Panel } from '../../shared/ui/panel';
import { askOf, asksEntry, CANDLES, faultOf, START, STORED, type Question } from './question';
import { KINDS } from './wording';

/** Ask the lab. Whoever asks the same again is given the answer that is there. */
export function StartForm({ status }: { status: Status }) {
  const [question, setQuestion] = useState(START);
  const start = useAskOnce(startRun, {
    onSuccess: ({ id }) => {
      go(`/research/${id}`);
    },
  });
  const change = (part: Partial<Question>) => {
    setQuestion({ ...question, ...part });
    start.reset();
  };
  const field = (name: keyof Question) => ({
    value: question[name],
    onChange: ({
      target,
    }: ChangeEvent<HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement>) => {
      change({ [name]: target.value });
    },
  });
  const { kind, source, family } = question;
  const fault = faultOf(question);
  const instrument = status.feed?.instrument;
  const sets = useQuery(dataSetsQuery).data ?? [];

  return (
    <Panel title="Ask the lab" view="research">
      <form
        className="research-form"
        onSubmit={(event) => {
          event.preventDefault();
          start.mutate(askOf(question));
        }}
      >
        <div className="choice" role="group" aria-label="Kind of run">
          {runKind.options.map((each) => (
            <button
              key={each}
              type="button"
              aria-pressed={kind === each}
              onClick={() => {
                change({ kind: each });
              }}
            >
              {KINDS[each]}
            </button>
          ))}
        </div>
        <p className="soft">{MEANING[kind]}</p>
        <label>
          Data
          <select {...field('source')}>
            <option value="sample">Sample: EUR/USD, hours of 2017</option>
            {instrument === undefined ? null : (
              <option value={CANDLES + instrument}>
                Stored candles: {instrumentText(instrument)} H1
              </option>
            )}
            {sets.map(({ name, granularity, synthetic }) => (
              <option key={name} value={STORED + name}>
                Data set: {name}, {granularity}
                {synthetic ? ', SYNTHETIC' : ''}
              </option>
            ))}
          </select>
        </label>
        {source.startsWith(CANDLES) ? (
          <div className="pair">
            <label>
              From
              <input type="date" {...field('from')} />
            </label>
            <label>
              To
              <input type="date" {...field('to')} />
            </label>
          </div>
        ) : null}
        {kind === 'evidence' ? (
          <label>
            Rules
            <select {...field('family')}>
              <option value="default">The 145 that SEP starts with</option>
              <option value="own">My own, as JSON</option>
              <option value="grid">Every rule of a grid</option>
            </select>
          </label>
        ) : null}
        {kind === 'evidence' && family === 'own' ? (
          <textarea rows={11} spellCheck={false} aria-label="Rules as JSON" {...field('rules')} />
        ) : null}
        {kind === 'backtest' ? (
          <textarea rows={11} spellCheck={false} aria-label="Rule as JSON" {...field('rule')} />
        ) : null}
        {kind === 'sweep' || (kind === 'evidence' && family === 'grid') ? (
          <textarea rows={13} spellCheck={false} aria-label="Grid as JSON" {...field('grid')} />
        ) : null}
        <label>
          Enter only within
          <input
            spellCheck={false}
            placeholder="always, or mon-fri 08:00-17:00 Europe/London"
            {...field('session')}
          />
        </label>
        {asksEntry(question) ? (
          <label>
            Enter at
            <select {...field('entry')}>
              <option value="open">the open of the next bar</option>
              <option value="close">the close of the next bar, a whole bar later</option>
            </select>
          </label>
        ) : null}
        <div className="pair">
          <label>
            Spread, pips
            <input inputMode="decimal" placeholder="as assumed" {...field('spread_pips')} />
          </label>
          {kind === 'evidence' ? (
            <>
              <label>
                Coin worlds
                <input inputMode="numeric" required {...field('surrogates')} />
              </label>
              <label>
                Seed
                <input inputMode="numeric" required {...field('seed')} />
              </label>
            </>
          ) : null}
        </div>
        {fault === null ? null : <p className="warn">{fault}</p>}
        <Refusal error={start.error} />
        <footer>
          <button type="submit" className="primary" disabled={fault !== null || start.isPending}>
            {start.isPending ? 'Asking' : `Start ${KINDS[kind].toLowerCase()}`}
          </button>
        </footer>
      </form>
    </Panel>
  );
}

const MEANING = {
  evidence:
    'Is there an edge after costs? Causality, coin worlds, selection and a verdict made by rule.',
  backtest: 'What one rule would have earned. It proves nothing by itself.',
  sweep: 'What every rule of a grid would have earned. Each of them counts as tried.',
};

/** The server's words, each at the field that it is about. */
function Refusal({ error }: { error: Error | null }) {
  if (error === null) return null;
  const fields = error instanceof ApiError ? Object.entries(error.fields) : [];
  return (
    <div role="alert">
      {fields.length === 0 ? error.message : null}
      {fields.map(([name, messages]) => (
        <p key={name}>
          <b>{name}</b>: {Array.isArray(messages) ? messages.join(' ') : String(messages)}
        </p>
      ))}
    </div>
  );
}
