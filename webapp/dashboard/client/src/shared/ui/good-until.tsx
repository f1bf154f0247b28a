import { timeInForce, type TimeInForce } from '../api/model';
import { TIME_WORDS } from '../order-words';

/** How long an order is good; `until` is minutes of market time in UTC, for GTD alone. */
export type Good = { force: TimeInForce | ''; until: string };

type GoodUntilProps = {
  value: Good;
  /** What the venue takes for orders of this type. */
  forces: readonly TimeInForce[];
  /** Whether it may be left to the server. */
  optional?: boolean;
  /** What the server said against a field, by its name. */
  wrong: Record<string, unknown>;
  onChange: (value: Good) => void;
};

export function GoodUntil({ value, forces, optional = false, wrong, onChange }: GoodUntilProps) {
  return (
    <>
      <label>
        Good
        <select
          value={value.force}
          aria-invalid={'time_in_force' in wrong}
          onChange={({ target }) => {
            const force = timeInForce.safeParse(target.value).data ?? '';
            onChange({ force, until: force === 'GTD' ? value.until : '' });
          }}
        >
          {optional ? <option value="">as is usual</option> : null}
          {forces.map((force) => (
            <option key={force} value={force}>
              {TIME_WORDS[force]}
            </option>
          ))}
        </select>
      </label>
      {value.force === 'GTD' ? (
        <label>
          Until, market time UTC
          <input
            type="datetime-local"
            aria-invalid={'good_until' in wrong}
            value={value.until}
            onChange={({ target }) => {
              onChange({ ...value, until: target.value });
            }}
          />
        </label>
      ) : null}
    </>
  );
}

/** The time that was typed, in UTC, as the server takes it. */
export function untilText(until: string): string {
  return `${until}:00Z`;
}
