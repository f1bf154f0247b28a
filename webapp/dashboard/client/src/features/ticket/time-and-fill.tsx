import { positionFill } from '../../shared/api/model';
import { wordsOf } from '../../shared/format';
import { PROTECTIVE } from '../../shared/order-kinds';
import { TIME_WORDS } from '../../shared/order-words';
import { GoodUntil } from '../../shared/ui/good-until';
import type { FormProps } from './ticket-fields';

/** How long the order is good, and what a fill may do: seldom changed, so folded away. */
export function TimeAndFill({ entry, wrong, broker, onChange }: FormProps) {
  const terms = broker?.types.find(({ type }) => type === entry.type);
  return (
    <details className="ticket-more">
      <summary>
        {entry.time_in_force === '' ? 'Time and fill' : TIME_WORDS[entry.time_in_force]}
      </summary>
      <GoodUntil
        value={{ force: entry.time_in_force, until: entry.good_until }}
        forces={terms?.times_in_force ?? []}
        optional
        wrong={wrong}
        onChange={({ force, until }) => {
          onChange({ time_in_force: force, good_until: until });
        }}
      />
      {PROTECTIVE.has(entry.type) ? null : (
        <label>
          A fill may
          <select
            value={entry.position_fill}
            aria-invalid={'position_fill' in wrong}
            onChange={({ target }) => {
              onChange({ position_fill: positionFill.parse(target.value) });
            }}
          >
            {(broker?.position_fills ?? (['DEFAULT'] as const)).map((fill) => (
              <option key={fill} value={fill}>
                {fill === 'DEFAULT' ? 'reduce and open' : wordsOf(fill)}
              </option>
            ))}
          </select>
        </label>
      )}
    </details>
  );
}
