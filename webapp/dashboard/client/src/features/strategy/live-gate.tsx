import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import {
  liveGateQuery,
  makeOverride,
  withdrawOverrides,
  type LiveGate,
} from '../../shared/api/research';
import { failureText } from '../../shared/failure-text';
import { marketTimeText } from '../../shared/format';
import { Dialog } from '../../shared/ui/dialog';
import { DialogButton } from '../../shared/ui/dialog-button';
import { Answer } from '../../shared/ui/panel';

type Strategy = { id: number; name: string };

/** May the strategy trade real money, and what has a person said instead of its verdict? */
export function LiveGateButton({ strategy }: { strategy: Strategy }) {
  return (
    <DialogButton label="Live gate">
      {(close) => <LiveGateDialog strategy={strategy} onClose={close} />}
    </DialogButton>
  );
}

function LiveGateDialog({ strategy, onClose }: { strategy: Strategy; onClose: () => void }) {
  const gate = useQuery(liveGateQuery(strategy.id));
  return (
    <Dialog title={`Live gate of ${strategy.name}`} onClose={onClose}>
      <Answer query={gate} what="live gate">
        {(found) => <Gate gate={found} strategy={strategy} />}
      </Answer>
    </Dialog>
  );
}

function Gate({ gate, strategy }: { gate: LiveGate; strategy: Strategy }) {
  return (
    <>
      <p className="live-gate">
        <span className={gate.allowed ? 'chip good' : 'chip bad'}>
          {gate.allowed ? 'may open positions' : 'opens nothing'}
        </span>{' '}
        {gate.reason}
      </p>
      <p className="soft">{gate.verdict_text}</p>
      <Overrides gate={gate} />
      {gate.allowed ? null : <OverrideForm strategy={strategy} />}
      {gate.in_force === null ? null : <WithdrawButton strategy={strategy.id} />}
    </>
  );
}

/** Every override there ever was, newest first: who, when, why, and how it ended. */
function Overrides({ gate }: { gate: LiveGate }) {
  if (gate.overrides.length === 0) {
    return <p className="state">Nobody has overridden its verdict.</p>;
  }
  return (
    <ol className="overrides">
      {gate.overrides.map((override) => (
        <li key={override.id}>
          <q>{override.reason}</q>
          <small>
            {override.made_by}, {marketTimeText(override.created_at)}; {endOf(gate, override)}
          </small>
        </li>
      ))}
    </ol>
  );
}

function endOf(gate: LiveGate, override: LiveGate['overrides'][number]): string {
  if (override.id === gate.in_force) return 'in force';
  if (override.withdrawn_at === null) return 'ended with a change of the strategy';
  return `withdrawn by ${override.withdrawn_by}, ${marketTimeText(override.withdrawn_at)}`;
}

function OverrideForm({ strategy }: { strategy: Strategy }) {
  const [reason, setReason] = useState('');
  const [confirmation, setConfirmation] = useState('');
  const client = useQueryClient();
  const make = useMutation({
    mutationFn: () => makeOverride(strategy.id, { reason, confirmation }),
    onSuccess: () => client.invalidateQueries({ queryKey: liveGateQuery(strategy.id).queryKey }),
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        make.mutate();
      }}
    >
      <p>
        Let it trade its live account without a passing verdict, until it is changed or this is
        withdrawn.
      </p>
      <label>
        Reason, kept in the audit log
        <input
          value={reason}
          maxLength={300}
          required
          onChange={(event) => {
            setReason(event.target.value);
          }}
        />
      </label>
      <label>
        The strategy&apos;s name: {strategy.name}
        <input
          value={confirmation}
          required
          autoComplete="off"
          onChange={(event) => {
            setConfirmation(event.target.value);
          }}
        />
      </label>
      {make.error === null ? null : <p role="alert">{failureText(make.error)}</p>}
      <footer>
        <button
          type="submit"
          className="danger solid"
          disabled={make.isPending || reason.trim() === '' || confirmation !== strategy.name}
        >
          Override the verdict
        </button>
      </footer>
    </form>
  );
}

function WithdrawButton({ strategy }: { strategy: number }) {
  const client = useQueryClient();
  const withdraw = useMutation({
    mutationFn: () => withdrawOverrides(strategy),
    onSuccess: (gate) => {
      client.setQueryData(liveGateQuery(strategy).queryKey, gate);
    },
  });
  return (
    <>
      {withdraw.error === null ? null : <p role="alert">{withdraw.error.message}</p>}
      <footer>
        <button
          type="button"
          disabled={withdraw.isPending}
          onClick={() => {
            withdraw.mutate();
          }}
        >
          Withdraw the override
        </button>
      </footer>
    </>
  );
}
