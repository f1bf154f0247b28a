/** Draw a component into a document, with the API answered by the test. Needs happy-dom. */
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { act, type ReactNode } from 'react';
import { createRoot, type Root } from 'react-dom/client';
import { afterEach, vi } from 'vitest';

vi.stubGlobal('IS_REACT_ACT_ENVIRONMENT', true);

let root: Root | undefined;

afterEach(() => {
  act(() => root?.unmount());
  root = undefined;
  document.body.replaceChildren();
});

export async function render(content: ReactNode, client = newClient()): Promise<HTMLElement> {
  const place = document.createElement('div');
  document.body.append(place);
  root = createRoot(place);
  act(() => root?.render(<QueryClientProvider client={client}>{content}</QueryClientProvider>));
  await act(settle);
  return place;
}

function newClient(): QueryClient {
  const networkMode = 'always';
  return new QueryClient({
    defaultOptions: { queries: { retry: false, networkMode }, mutations: { networkMode } },
  });
}

/** Let what is due happen: an answer, the cache's word of it, and what follows from that. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setTimeout(resolve, 0));
}

export function find(place: HTMLElement, selector: string): HTMLElement {
  const found = place.querySelector(selector);
  if (!(found instanceof HTMLElement)) throw new Error(`nothing matches ${selector}`);
  return found;
}

export function buttonNamed(place: HTMLElement, name: string): HTMLElement {
  const found = [...place.querySelectorAll('button')].find(
    (button) => (button.getAttribute('aria-label') ?? button.textContent) === name,
  );
  if (found === undefined) throw new Error(`there is no button ${name}`);
  return found;
}

export async function click(element: HTMLElement): Promise<void> {
  act(() => {
    element.click();
  });
  await act(settle);
}

/** Choose an option, or type over what a field holds, as a person does. */
export async function enter(element: HTMLElement, value: string): Promise<void> {
  // React watches the property of the element itself; the prototype's goes around it.
  const kind = element instanceof HTMLSelectElement ? HTMLSelectElement : HTMLInputElement;
  act(() => {
    Reflect.set(kind.prototype, 'value', value, element);
    const event = element instanceof HTMLSelectElement ? 'change' : 'input';
    element.dispatchEvent(new Event(event, { bubbles: true }));
  });
  await act(settle);
}

export type Call = { path: string; method: string; body: unknown; headers: Headers };

/** Answer every request with what `answer` says; returns the list of requests as it grows. */
export function serve(answer: (call: Call) => { status?: number; body: unknown }): Call[] {
  const calls: Call[] = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    const call = {
      path,
      method: init.method ?? 'GET',
      body: typeof init.body === 'string' ? parsed(init.body) : undefined,
      headers: new Headers(init.headers),
    };
    calls.push(call);
    const { status = 200, body } = answer(call);
    return Promise.resolve(Response.json(body, { status }));
  });
  return calls;
}

function parsed(text: string): unknown {
  return JSON.parse(text);
}
