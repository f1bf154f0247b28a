import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useId, useState, type ReactNode } from 'react';

import {
  beginSecondFactor,
  confirmSecondFactor,
  endSecondFactor,
} from '../../shared/api/commands';
import type { SecondFactor, SecondFactorBegun } from '../../shared/api/model';
import { secondFactorQuery } from '../../shared/api/queries';
import { fieldText } from '../../shared/failure-text';
import { Answer } from '../../shared/ui/panel';
import './second-factor.css';

/** Make the second factor, keep its recovery codes, or take it away. */
export function SecondFactorPage() {
  const query = useQuery(secondFactorQuery);
  const [codes, setCodes] = useState<string[] | null>(null);
  return (
    <main className="second-factor">
      <h2>Second factor</h2>
      <p className="soft">
        Making trading looser again asks for a code that only your telephone shows. Without a second
        factor it asks for your password.
      </p>
      <Answer query={query} what="second factor">
        {(standing) => {
          if (codes !== null) {
            return (
              <RecoveryCodes
                codes={codes}
                onKept={() => {
                  setCodes(null);
                }}
              />
            );
          }
          return standing.enrolled ? <Enrolled standing={standing} /> : <Enrol onMade={setCodes} />;
        }}
      </Answer>
    </main>
  );
}

function Enrol({ onMade }: { onMade: (codes: string[]) => void }) {
  const [password, setPassword] = useState('');
  const begin = useMutation({ mutationFn: () => beginSecondFactor(password) });
  if (begin.data !== undefined) return <Confirm begun={begin.data} onMade={onMade} />;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        begin.mutate();
      }}
    >
      <Field
        label="Your password"
        error={begin.error === null ? '' : fieldText(begin.error, 'password')}
      >
        {(attributes) => (
          <input
            {...attributes}
            type="password"
            autoComplete="current-password"
            required
            value={password}
            onChange={(event) => {
              setPassword(event.target.value);
            }}
          />
        )}
      </Field>
      <button type="submit" className="primary" disabled={begin.isPending}>
        Make a second factor
      </button>
    </form>
  );
}

type ConfirmProps = { begun: SecondFactorBegun; onMade: (codes: string[]) => void };

function Confirm({ begun, onMade }: ConfirmProps) {
  const client = useQueryClient();
  const [code, setCode] = useState('');
  const confirm = useMutation({
    mutationFn: () => confirmSecondFactor(code),
    onSuccess: async ({ recovery_codes }) => {
      onMade(recovery_codes);
      await client.invalidateQueries({ queryKey: secondFactorQuery.queryKey });
    },
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        confirm.mutate();
      }}
    >
      <p>Read this with an app that makes codes, on a telephone that only you have.</p>
      <svg
        className="qr"
        viewBox={`0 0 ${String(begun.qr.size)} ${String(begun.qr.size)}`}
        role="img"
        aria-label="QR code of the second factor"
      >
        <path d={begun.qr.path} stroke="#000" />
      </svg>
      <p>
        Or open <a href={begun.uri}>its address</a> on the telephone itself, or type{' '}
        <code className="secret">{inFours(begun.secret)}</code>
      </p>
      <Field
        label="The code that it shows now"
        error={confirm.error === null ? '' : fieldText(confirm.error, 'code')}
      >
        {(attributes) => (
          <input
            {...attributes}
            inputMode="numeric"
            autoComplete="one-time-code"
            maxLength={6}
            required
            autoFocus
            value={code}
            onChange={(event) => {
              setCode(event.target.value);
            }}
          />
        )}
      </Field>
      <button type="submit" className="primary" disabled={confirm.isPending}>
        Confirm
      </button>
    </form>
  );
}

function RecoveryCodes({ codes, onKept }: { codes: string[]; onKept: () => void }) {
  return (
    <section aria-labelledby="recovery">
      <h3 id="recovery" tabIndex={-1} ref={focus}>
        Recovery codes
      </h3>
      <p>
        The second factor counts from now on. Keep these where you will find them without your
        telephone: each stands for a code once, and they are shown only now.
      </p>
      <ul className="recovery">
        {codes.map((code) => (
          <li key={code}>
            <code>{code}</code>
          </li>
        ))}
      </ul>
      <button type="button" className="primary" onClick={onKept}>
        I have kept them
      </button>
    </section>
  );
}

const LEFT: Record<number, string> = { 0: 'No recovery code is', 1: '1 recovery code is' };

function Enrolled({ standing }: { standing: SecondFactor }) {
  const client = useQueryClient();
  const [proof, setProof] = useState('');
  const end = useMutation({
    mutationFn: () => endSecondFactor(proof),
    onSuccess: () => client.invalidateQueries({ queryKey: secondFactorQuery.queryKey }),
  });
  const left = standing.recovery_codes_left;
  return (
    <>
      <p role="status">
        You have one. {LEFT[left] ?? `${String(left)} recovery codes are`} left. New ones come with
        a new second factor: take this one away and make another.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          end.mutate();
        }}
      >
        <Field
          label="Its code now, or a recovery code"
          error={end.error === null ? '' : fieldText(end.error, 'proof')}
        >
          {(attributes) => (
            <input
              {...attributes}
              autoComplete="one-time-code"
              maxLength={24}
              required
              value={proof}
              onChange={(event) => {
                setProof(event.target.value);
              }}
            />
          )}
        </Field>
        <button type="submit" className="danger" disabled={end.isPending}>
          Take it away
        </button>
      </form>
    </>
  );
}

type FieldAttributes = { id: string; 'aria-invalid': boolean; 'aria-describedby': string };

type FieldProps = {
  label: string;
  error: string;
  children: (attributes: FieldAttributes) => ReactNode;
};

function Field({ label, error, children }: FieldProps) {
  const id = useId();
  const said = `${id}-error`;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, 'aria-invalid': error !== '', 'aria-describedby': said })}
      <p id={said} role="alert">
        {error}
      </p>
    </div>
  );
}

function inFours(secret: string): string {
  return secret.match(/.{1,4}/g)?.join(' ') ?? secret;
}

function focus(element: HTMLElement | null): void {
  element?.focus();
}
