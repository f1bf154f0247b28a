import {
  classRule,
  rule as ruleSchema,
  type ClassRule,
  type Rule,
} from '../../shared/api/model';
import { sizeText, wordsOf } from '../../shared/format';

/** A rule in words; one that the page has no words for is shown as it is stored. */
export function ruleText(stored: Record<string, unknown>): string {
  const { success, data } = ruleSchema.safeParse(stored);
  if (success) return inWords(data);
  const found = classRule.safeParse(stored);
  return found.success ? classInWords(found.data) : JSON.stringify(stored);
}

/** Whether code of its own decides, and no rule. */
export function isClass(stored: Record<string, unknown>): boolean {
  return classRule.safeParse(stored).success;
}

function classInWords(rule: ClassRule): string {
  return [
    `class ${rule.strategy}`,
    `source ${rule.source_sha256.slice(0, 12)}`,
    `${sizeText(rule.units)} units`,
    rule.stop_ticks === null ? 'no stop of its own' : `stop ${rule.stop_ticks} ticks`,
    ...(rule.target_ticks === null ? [] : [`target ${rule.target_ticks} ticks`]),
    `${rule.horizon_bars} bars`,
  ].join(', ');
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
