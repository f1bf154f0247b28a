import { useId, useState, type KeyboardEvent, type ReactNode } from 'react';

type Tab = { name: string; label: string; content: () => ReactNode };

/** `children` stand at the end of the row of tabs. */
type TabsProps = { label: string; tabs: [Tab, ...Tab[]]; children?: ReactNode };

const STEPS: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1 };

/** Tabs by the ARIA pattern: arrows move, only the chosen tab is in the tab order. */
export function Tabs({ label, tabs, children }: TabsProps) {
  const id = useId();
  const [name, setName] = useState(tabs[0].name);
  const chosen = tabs.find((tab) => tab.name === name) ?? tabs[0];

  function move(event: KeyboardEvent<HTMLElement>) {
    const step = STEPS[event.key];
    if (step === undefined) return;
    const next = tabs.at((tabs.indexOf(chosen) + step) % tabs.length);
    if (next === undefined) return;
    setName(next.name);
    document.getElementById(`${id}-${next.name}`)?.focus();
  }

  return (
    <>
      <div className="tabs">
        <div role="tablist" aria-label={label} onKeyDown={move}>
          {tabs.map((tab) => (
            <button
              key={tab.name}
              type="button"
              role="tab"
              id={`${id}-${tab.name}`}
              aria-selected={tab === chosen}
              aria-controls={`${id}-content`}
              tabIndex={tab === chosen ? 0 : -1}
              onClick={() => {
                setName(tab.name);
              }}
            >
              {tab.label}
            </button>
          ))}
        </div>
        {children}
      </div>
      <div
        role="tabpanel"
        id={`${id}-content`}
        aria-labelledby={`${id}-${chosen.name}`}
        className="tab-content"
      >
        {chosen.content()}
      </div>
    </>
  );
}
