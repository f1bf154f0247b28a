/** What the API said of one field of a request, or of the request as a whole. */
export function fieldText(failure: Error & { fields?: Record<string, unknown> }, field: string) {
  const said = failure.fields?.[field];
  return Array.isArray(said) ? said.join(' ') : failure.message;
}
