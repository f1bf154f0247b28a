// @vitest-environment happy-dom
import { act } from 'react';
import { expect, test } from 'vitest';

import { find, render } from '../../../tests/render';
import { Tabs } from './tabs';

const tabs = (
  <Tabs
    label="Letters"
    tabs={[
      { name: 'a', label: 'A', content: () => 'first' },
      { name: 'b', label: 'B', content: () => 'second' },
    ]}
  />
);

function press(place: HTMLElement, key: string): void {
  act(() => {
    find(place, '[aria-selected="true"]').dispatchEvent(
      new KeyboardEvent('keydown', { key, bubbles: true }),
    );
  });
}

test('arrows move through the tabs and around their end', async () => {
  const place = await render(tabs);
  const shown = () => find(place, '[role="tabpanel"]').textContent;
  expect(shown()).toBe('first');
  press(place, 'ArrowRight');
  expect(shown()).toBe('second');
  expect(document.activeElement?.textContent).toBe('B');
  press(place, 'ArrowRight');
  expect(shown()).toBe('first');
  press(place, 'ArrowLeft');
  expect(shown()).toBe('second');
});

test('only the chosen tab is in the order of the tab key', async () => {
  const place = await render(tabs);
  const order = [...place.querySelectorAll('[role="tab"]')].map((tab) =>
    tab.getAttribute('tabindex'),
  );
  expect(order).toEqual(['0', '-1']);
});
