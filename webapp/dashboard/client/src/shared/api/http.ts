/** Requests to the API: same origin, session cookie, answers parsed by a schema. */
import { z } from 'zod';

import { apiError } from './model';

const TIMEOUT_MS = 10_000;
const LOGGED_OUT = 'You are logged out. Log in again in another tab';

/** What the API, or the network, said instead of an answer. `status` 0: no answer came. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly fields: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = 'ApiError';
  }

  /** The session has ended, or the account may not do this. */
  get isRefusal(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

type Request = {
  method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  body?: unknown;
  headers?: Record<string, string>;
};

/**
 * Ask the API and parse its answer.
 *
 * @throws ApiError  no answer within 10 s, an error answer, or one that breaks the schema.
 */
export async function request<Schema extends z.ZodType>(
  path: string,
  schema: Schema,
  { method = 'GET', body, headers = {} }: Request = {},
): Promise<z.infer<Schema>> {
  const response = await send(path, method, body, headers);
  const answer: unknown = await response.json().catch(() => null);
  if (!response.ok) throw refusal(response, answer, method);
  const parsed = schema.safeParse(answer);
  if (parsed.success) return parsed.data;
  const at = parsed.error.issues[0];
  const where = at ? `${at.path.join('.')}: ${at.message}` : 'not JSON';
  throw new ApiError(response.status, 'unreadable', `${path} sent something unexpected (${where})`);
}

async function send(
  path: string,
  method: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Response> {
  try {
    return await fetch(path, {
      method,
      credentials: 'same-origin',
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        Accept: 'application/json',
        ...(method === 'GET' ? {} : { 'X-CSRFToken': csrfToken() }),
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    const late = error instanceof DOMException && error.name === 'TimeoutError';
    const text = late ? lateText(method) : 'The server could not be reached.';
    const again = 'Idempotency-Key' in headers ? ' Pressing again does not do it twice.' : '';
    throw new ApiError(0, late ? 'late' : 'unreachable', text + again);
  }
}

function lateText(method: string): string {
  const late = `No answer came within ${TIMEOUT_MS / 1000} s`;
  return method === 'GET' ? `${late}.` : `${late}; it may have been done all the same.`;
}

function refusal(response: Response, answer: unknown, method: string): ApiError {
  const parsed = apiError.safeParse(answer);
  if (!parsed.success) {
    return new ApiError(response.status, 'error', `The server answered ${response.status}.`);
  }
  const { code, message, fields } = parsed.data;
  if (response.status === 401) return new ApiError(401, code, loggedOutText(method));
  return new ApiError(response.status, code, message, fields ?? {});
}

function loggedOutText(method: string): string {
  return method === 'GET'
    ? `${LOGGED_OUT}: until then what is shown here grows old.`
    : `${LOGGED_OUT}, then press once more: what you typed stays here.`;
}

/** The token of now: logging in again, in another tab too, gives the browser another cookie. */
export function csrfToken(): string {
  const cookie = /(?:^|; )csrftoken=([^;]+)/.exec(document.cookie)?.[1];
  return cookie ?? document.getElementById('page')?.dataset.csrf ?? '';
}
