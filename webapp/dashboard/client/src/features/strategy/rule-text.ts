import { rule as ruleSchema, type Rule } from '../../shared/api/model';
import { sizeText, wordsOf } from '../../shared/format';

/** A rule in words; one that the page has no words for is shown as it is stored. */
export function ruleText(stored: Record<string, unknown>): string {
  const { success, data } = ruleSchema.safeParse(stored);
  return success ? inWords(data) : JSON.stringify(stored);
}

function inWords(rule: Rule): string {
  const stop = rule.stop_ticks === null ? 'no stop' : `stop ${rule.stop_ticks} ticks`;
  return [
    `${wordsOf(rule.direction)} over ${rule.window} ${rule.encoding}`,
    ...rule.gates.map(gateText),
    `${sizeText(rule.units)} units`,
    stop,
    `${rule.horizon_bars} bars`,
  ].join(', ');
}

function gateText(gate: Rule['gates'][number]): string {
  const metric = wordsOf(gate.metric);
  if ('percentile' in gate) {
    const [low, high] = gate.percentile;
    return `${metric} percentile ${high >= 100 ? `≥ ${low}` : `${low} to ${high}`}`;
  }
  const [low, high] = gate.value;
  return low === high ? `${metric} ${low}` : `${metric} ${low} to ${high}`;
}
