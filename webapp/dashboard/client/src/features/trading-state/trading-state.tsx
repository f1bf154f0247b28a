import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { closeEverything, setTradingState } from '../../shared/api/commands';
import {
  tradingStateName,
  type ScopeName,
  type Status,
  type TradingStateName,
} from '../../shared/api/model';
import {
  closingsQuery,
  secondFactorQuery,
  statusQuery,
} from '../../shared/api/queries';
import { fieldText } from '../../shared/failure-text';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';
import { closingText, isLooser, leftText } from './severity';
import './trading-state.css';

const MEANINGS: Record<TradingStateName, string> = {
  ACTIVE: 'Signals are traded within the limits.',
  REDUCING: 'Positions may shrink, none may grow or open.',
  HALTED: 'No order is sent. What waits is cancelled, positions and their stops stay.',
};

const NAMES = tradingStateName.options;

const SCOPES: [ScopeName, string][] = [
  ['GLOBAL', 'Everything'],
  ['ACCOUNT', 'This account'],
  ['STRATEGY', 'The strategy'],
];

type Shown = Pick<Status, 'trading' | 'strategy'>;

export function TradingStateControl({ trading, strategy }: Shown) {
  return (
    <DialogButton
      className="trading-state"
      data-state={trading.state}
      title={trading.reason === '' ? MEANINGS[trading.state] : trading.reason}
      label={
        <>
          <span className="hidden">Trading is </span>
          {trading.state}
        </>
      }
    >
      {(close) => <StateDialog trading={trading} strategy={strategy} onClose={close} />}
    </DialogButton>
  );
}

/** The reason of who gave none: to stop must not wait for words. To start again needs them. */
const UNSAID = 'From the dashboard';

function StateDialog({ trading, strategy, onClose }: Shown & { onClose: () => void }) {
  const client = useQueryClient();
  const [scope, setScope] = useState<ScopeName>(() => scopeThatHolds(trading));
  // By its id: in another tab another one may have been switched on since.
  const named = scope === 'STRATEGY' && strategy !== null ? { strategy: strategy.id } : {};
  const now = stateOf(trading, scope);
  const [state, setState] = useState(() => otherOf(now));
  const [reason, setReason] = useState('');
  const [proof, setProof] = useState('');
  // With the halt flag up every scope may be ACTIVE: only making everything ACTIVE takes it down.
  const rearms = isLooser(state, now) || (scope === 'GLOBAL' && isLooser(state, trading.state));
  const changed = () => client.invalidateQueries({ queryKey: statusQuery.queryKey });
  const change = useMutation({
    mutationFn: () =>
      setTradingState({
        ...named,
        scope,
        state,
        reason: reason.trim() === '' ? UNSAID : reason,
        proof: rearms ? proof : '',
      }),
    onSuccess: async () => {
      await changed();
      onClose();
    },
  });
  const close = useMutation({
    mutationFn: () => closeEverything({ ...named, scope, reason }),
    onSuccess: async () => {
      await changed();
      await client.invalidateQueries({ queryKey: closingsQuery.queryKey });
    },
  });
  const failure = change.error ?? close.error;
  return (
    <Dialog title="Trading state" onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate();
        }}
      >
        <p>
          Now <b>{trading.state.toLowerCase()}</b>
          {trading.reason === '' ? '.' : `: ${trading.reason}`}
        </p>
        <label>
          Of what
          <select
            value={scope}
            onChange={(event) => {
              const chosen = SCOPES.find(([name]) => name === event.target.value);
              if (chosen === undefined) return;
              setScope(chosen[0]);
              setState(otherOf(stateOf(trading, chosen[0])));
            }}
          >
            {SCOPES.map(([name, label]) => (
              <option key={name} value={name}>
                {name === 'STRATEGY' && strategy !== null ? strategy.name : label}:{' '}
                {stateOf(trading, name).toLowerCase()}
              </option>
            ))}
          </select>
        </label>
        <fieldset className="choices">
          <legend className="hidden">Change to</legend>
          {NAMES.map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="state"
                checked={state === name}
                onChange={() => {
                  setState(name);
                }}
              />
              <span className="trading-state" data-state={name}>
                {name}
              </span>
              <small>{MEANINGS[name]}</small>
            </label>
          ))}
        </fieldset>
        <label>
          Reason
          <input
            value={reason}
            maxLength={300}
            required={rearms}
            placeholder={rearms ? 'Why, for the record' : UNSAID}
            onChange={(event) => {
              setReason(event.target.value);
            }}
          />
        </label>
        {rearms ? <Proof value={proof} onChange={setProof} /> : null}
        {failure === null ? null : <p role="alert">{fieldText(failure, 'proof')}</p>}
        <UntilFlat asked={close.isSuccess} />
        <footer>
          <button
            type="button"
            className="danger"
            disabled={close.isPending || reason.trim() === ''}
            title="Cancels every order and closes every position of what is chosen above"
            onClick={() => {
              close.mutate();
            }}
          >
            Close everything
          </button>
          <button type="button" onClick={onClose}>
            Leave as it is
          </button>
          <button type="submit" className="primary" disabled={change.isPending}>
            Set {state.toLowerCase()}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

function Proof({ value, onChange }: { value: string; onChange: (proof: string) => void }) {
  const { data } = useQuery(secondFactorQuery);
  const code = data?.enrolled === true;
  return (
    <label>
      {code
        ? 'Code of your second factor, or a recovery code'
        : 'Your password, as you have no second factor'}
      <input
        type={code ? 'text' : 'password'}
        autoComplete={code ? 'one-time-code' : 'current-password'}
        required
        value={value}
        onChange={(event) => {
          onChange(event.target.value);
        }}
      />
    </label>
  );
}

/** What is left to close and why, until nothing is; one that has not ended is told unasked. */
function UntilFlat({ asked }: { asked: boolean }) {
  const { data } = useQuery(closingsQuery);
  const [last] = data?.closings ?? [];
  if (last === undefined || !(asked || last.ended_at === null)) return null;
  return (
    <div role="status">
      <p>{closingText(last)}</p>
      <ul>
        {last.left.map((one) => (
          <li key={`${one.what} ${one.name}`}>{leftText(one)}</li>
        ))}
      </ul>
    </div>
  );
}

/** The scope whose state is the one that counts now; the account while all are active. */
function scopeThatHolds(trading: Status['trading']): ScopeName {
  if (trading.state === 'ACTIVE') return 'ACCOUNT';
  return SCOPES.find(([name]) => stateOf(trading, name) === trading.state)?.[0] ?? 'GLOBAL';
}

/** What a person who opens the dialog most likely wants. */
function otherOf(now: TradingStateName): TradingStateName {
  return now === 'ACTIVE' ? 'HALTED' : 'ACTIVE';
}

function stateOf(trading: Status['trading'], scope: ScopeName): TradingStateName {
  const scopes = { GLOBAL: trading.global, ACCOUNT: trading.account, STRATEGY: trading.strategy };
  // A state that is missing counts as the strictest, as the risk gate counts it.
  return scopes[scope]?.state ?? 'HALTED';
}
