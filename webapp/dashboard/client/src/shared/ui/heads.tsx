type Head = string | { number: string } | { hidden: string };

/** The head of a table. The name of numbers stands to the right; a hidden one is only read out. */
export function Heads({ names }: { names: readonly Head[] }) {
  return (
    <thead>
      <tr>{names.map(headOf)}</tr>
    </thead>
  );
}

function headOf(head: Head) {
  if (typeof head === 'string') {
    return (
      <th key={head} scope="col">
        {head}
      </th>
    );
  }
  if ('number' in head) {
    return (
      <th key={head.number} scope="col" className="number">
        {head.number}
      </th>
    );
  }
  return (
    <th key={head.hidden} scope="col">
      <span className="hidden">{head.hidden}</span>
    </th>
  );
}
