/** What the API said against a request. */
import { figuresText, headingOf } from './format';

type Failure = Error & { fields?: Record<string, unknown> };

/** What was said of one field, or of the request as a whole. */
export function fieldText(failure: Failure, field: string): string {
  const said = failure.fields?.[field];
  return Array.isArray(said) ? said.join(' ') : failure.message;
}

/** What was said of each field, after its name on the page; else of the request as a whole. */
export function failureText(failure: Failure, labels: Record<string, string> = {}): string {
  const fields = Object.entries(failure.fields ?? {});
  if (fields.length === 0) return failure.message;
  return fields
    .map(([name, said]) => {
      const label = labels[name] ?? headingOf(name);
      const text = Array.isArray(said) ? said.join(' ') : String(said);
      return `${label}: ${figuresText(text)}.`.replace(/\.\.$/, '.');
    })
    .join(' ');
}
