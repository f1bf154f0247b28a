import type { UseQueryResult } from '@tanstack/react-query';
import { useId, type ReactNode } from 'react';

import { ApiError } from '../api/http';
import { ageText } from '../format';
import { useStaleAge } from '../stream/connection-store';

type PanelProps = {
  title: string;
  /** Which view shows the panel on a narrow screen. */
  view: string;
  actions?: ReactNode;
  children: ReactNode;
};

export function Panel({ title, view, actions, children }: PanelProps) {
  const id = useId();
  return (
    <section className="panel" data-view={view} aria-labelledby={id}>
      <header className="panel-head">
        <h2 id={id}>{title}</h2>
        <StaleMark />
        {actions}
      </header>
      {children}
    </section>
  );
}

/** Says that what is shown may be old, and how old. Nothing while the page is live. */
export function StaleMark() {
  const age_s = useStaleAge();
  if (age_s === null) return null;
  return <span className="stale-mark">stale, {ageText(age_s)}</span>;
}

type AnswerProps<Data> = {
  query: UseQueryResult<Data>;
  /** What is being read, as in "The orders could not be read". */
  what: string;
  /** What to say when there is nothing, or null when there is something. */
  empty?: (data: Data) => ReactNode;
  children: (data: Data) => ReactNode;
};

/** Whether there is no such thing, so that asking again cannot help. */
function isMissing(error: Error): boolean {
  return error instanceof ApiError && error.status === 404;
}

/** Draws the states of a query: loading, error, empty and data. Stale is the panel's to say. */
export function Answer<Data>({ query, what, empty, children }: AnswerProps<Data>) {
  if (query.data !== undefined) {
    const nothing = empty?.(query.data) ?? null;
    return nothing === null ? children(query.data) : <p className="state">{nothing}</p>;
  }
  if (query.isError) {
    return (
      <div className="state" role="alert">
        <p>
          The {what} could not be read. {query.error.message}
        </p>
        {isMissing(query.error) ? null : (
          <button type="button" onClick={() => void query.refetch()}>
            Try again
          </button>
        )}
      </div>
    );
  }
  return (
    <p className="state loading" role="status">
      Reading the {what}
    </p>
  );
}
