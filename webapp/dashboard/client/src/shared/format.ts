/** How figures look. Decimal text goes to the formatter as text: no binary rounding on the way. */
import type { DecimalText } from './api/model';

const LOCALE = 'en-GB';
/** What stands where a number is missing. */
export const MISSING = '–';

const formatters = new Map<string, Intl.NumberFormat>();

function formatter(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = JSON.stringify(options);
  const known = formatters.get(key) ?? new Intl.NumberFormat(LOCALE, options);
  formatters.set(key, known);
  return known;
}

function isNumeric(text: string): text is `${number}` {
  return /^-?\d+(\.\d+)?(E[+-]?\d+)?$/i.test(text);
}

function decimal(text: string | null, options: Intl.NumberFormatOptions): string {
  return text !== null && isNumeric(text) ? formatter(options).format(text) : MISSING;
}

/** "EUR_USD" is "EUR/USD". */
export function instrumentText(name: string): string {
  return name.replace('_', '/');
}

/** How many decimals a price was sent with: the instrument's own precision at least. */
export function decimalsOf(price: DecimalText | null): number {
  return price?.split('.')[1]?.length ?? 0;
}

/** "1.084250000" with 5 decimals is "1.08425". */
export function priceText(price: DecimalText | null, decimals: number): string {
  return decimal(price, {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
    useGrouping: false,
  });
}

/** "100012.3456" is "100,012.35". */
export function moneyText(amount: DecimalText | null): string {
  return decimal(amount, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

/** Like money, with a sign that is always there except at zero. */
export function changeText(amount: DecimalText | null): string {
  return decimal(amount, {
    minimumFractionDigits: 2,
    maximumFractionDigits: 2,
    signDisplay: 'exceptZero',
  });
}

/** "-1000" is "1,000": for where the side is written beside it. */
export function sizeText(units: DecimalText | null): string {
  return decimal(units, { maximumFractionDigits: 2, signDisplay: 'never' });
}

/** -1, 0 or 1: for colour and words, read from the text itself. */
export function signOf(amount: DecimalText | null): -1 | 0 | 1 {
  if (amount === null || /^-?[0.]+(E.*)?$/i.test(amount)) return 0;
  return amount.startsWith('-') ? -1 : 1;
}

export function sideText(units: DecimalText): 'Buy' | 'Sell' {
  return signOf(units) < 0 ? 'Sell' : 'Buy';
}

export function metricText(value: number | null | undefined): string {
  return value === null || value === undefined ? MISSING : value.toFixed(3);
}

export function percentileText(value: number | null | undefined): string {
  return value === null || value === undefined ? MISSING : `${value.toFixed(1)} %`;
}

export function shareText(share: number | null): string {
  return share === null ? 'not yet' : `${(share * 100).toFixed(1)} %`;
}

const wallFormat = new Intl.DateTimeFormat(LOCALE, {
  timeZone: 'UTC',
  day: '2-digit',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
});
const marketShortFormat = new Intl.DateTimeFormat(LOCALE, {
  timeZone: 'UTC',
  day: '2-digit',
  month: 'short',
  hour: '2-digit',
  minute: '2-digit',
});
const marketFormat = new Intl.DateTimeFormat(LOCALE, {
  timeZone: 'UTC',
  day: '2-digit',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
});

/** Wall time of something recent: "13 Jun, 21:04:07 UTC". */
export function wallTimeText(instant: string): string {
  return `${wallTimeShort(instant)} UTC`;
}

/** Wall time where the zone is plain from what stands around: "13 Jun, 21:04:07". */
export function wallTimeShort(instant: string): string {
  return wallFormat.format(new Date(instant));
}

/** Time with its year and zone: "13 Jun 2017, 09:00 UTC". */
export function marketTimeText(instant: string | null): string {
  return instant === null ? MISSING : `${marketFormat.format(new Date(instant))} UTC`;
}

/** Time of the market where year and zone are plain from what stands around: "13 Jun, 09:00". */
export function marketTimeShort(instant: string | null): string {
  return instant === null ? MISSING : marketShortFormat.format(new Date(instant));
}

/** Figures within the server's words: "90000000, allowed is at most 10000" gets its commas. */
export function figuresText(text: string): string {
  return text.replace(/(?<![\w.:-])-?\d{4,}(\.\d+)?(?![\w:-]|\.\d)/g, (figure) =>
    decimal(figure, { maximumFractionDigits: 10 }),
  );
}

/** How long ago, in one unit: "now", "12 s", "3 min", "2 h", "4 d". */
export function ageText(age_s: number | null): string {
  if (age_s === null) return MISSING;
  if (age_s < 1) return 'now';
  if (age_s < 60) return `${Math.floor(age_s).toString()} s`;
  if (age_s < 3600) return `${Math.floor(age_s / 60).toString()} min`;
  if (age_s < 86_400) return `${Math.floor(age_s / 3600).toString()} h`;
  return `${Math.floor(age_s / 86_400).toString()} d`;
}

/** "PENDING_CANCEL" is "pending cancel". */
export function wordsOf(name: string): string {
  return name.toLowerCase().replaceAll('_', ' ');
}

/** "STOP_LOSS" is "Stop loss": words that begin a line or stand alone. */
export function headingOf(name: string): string {
  return wordsOf(name).replace(/^./, (letter) => letter.toUpperCase());
}
