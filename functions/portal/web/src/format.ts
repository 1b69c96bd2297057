// Numbers and dates in the page's language and the entitlement's time zone.

import { locale } from "./language";

let zone = "UTC";

/** Set the zone in which times are shown; one that this browser does not know becomes UTC. */
export function setZone(name: string): void {
  try {
    new Intl.DateTimeFormat(locale, { timeZone: name });
    zone = name;
  } catch {
    zone = "UTC";
  }
}

export const zoneName = () => zone;

type Style = Intl.DateTimeFormatOptions;
const made = new Map<string, Intl.DateTimeFormat>();

function formatter(style: Style): Intl.DateTimeFormat {
  const key = JSON.stringify([zone, style]);
  let found = made.get(key);
  if (!found) {
    found = new Intl.DateTimeFormat(locale, { timeZone: zone, ...style });
    made.set(key, found);
  }
  return found;
}

const DAY: Style = { year: "numeric", month: "short", day: "numeric" };
const MOMENT: Style = { ...DAY, hour: "numeric", minute: "2-digit" };

/** A moment, by date and time. */
export const moment = (at: string | number) => formatter(MOMENT).format(new Date(at));
/** A day, by date. */
export const day = (at: string | number) => formatter(DAY).format(new Date(at));
/** A moment in another style. */
export const styled = (at: number, style: Style) => formatter(style).format(new Date(at));

/** A calendar date that is in the entitlement's zone already, `YYYY-MM-DD`. */
export function date(text: string): string {
  return new Intl.DateTimeFormat(locale, { ...DAY, timeZone: "UTC" }).format(new Date(text));
}

/** The calendar date of a moment in the entitlement's zone, `YYYY-MM-DD`. */
export function dateOf(at: number): string {
  const parts = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn", {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
  }).formatToParts(at);
  const part = (type: string) => parts.find((each) => each.type === type)?.value ?? "";
  return `${part("year")}-${part("month")}-${part("day")}`;
}

/** A calendar month, `YYYY-MM`. */
export function month(text: string): string {
  const style: Style = { year: "numeric", month: "long", timeZone: "UTC" };
  return new Intl.DateTimeFormat(locale, style).format(new Date(`${text}-15`));
}

/** An amount of money, a decimal in a text, with the decimals that it has. */
export function money(amount: string, currency: string): string {
  const digits = amount.split(".")[1]?.length ?? 0;
  return new Intl.NumberFormat(locale, {
    style: "currency",
    currency,
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(Number(amount));
}

/** A stretch of time, without saying twice what both ends share. */
export function range(from: number, to: number, isByDay: boolean): string {
  return isByDay ? day(from) : formatter(MOMENT).formatRange(from, to);
}

/** A moment for a table that is read by a machine: the entitlement's local time, with its offset. */
export function localTime(at: string | number): string {
  const parts = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn-hc-h23", {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    timeZoneName: "longOffset",
  }).formatToParts(new Date(at));
  const part = (type: string) => parts.find((each) => each.type === type)?.value ?? "";
  const offset = part("timeZoneName").replace("GMT", "").slice(0, 6) || "+00:00";
  return `${part("year")}-${part("month")}-${part("day")}T${part("hour")}:${part("minute")}:${part("second")}${offset}`;
}

const number = new Intl.NumberFormat(locale);
/** A number. */
export const count = (value: number) => number.format(value);

const compact = new Intl.NumberFormat(locale, {
  notation: "compact",
  maximumSignificantDigits: 4,
});
/** A large number in few characters. */
export const brief = (value: number) => compact.format(value);

/** A text as it is compared when somebody searches: the same in every language of the browser. */
export function folded(text: string): string {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replaceAll("\u0131", "i");
}

const rules = new Intl.PluralRules(locale);
/** One of two forms, by the rules of the language for this number. */
export const plural = (value: number, one: string, many: string) =>
  rules.select(value) === "one" ? one : many;

/** A number with its noun: `1 person`, `2 people`. */
export const counted = (value: number, one: string, many: string) =>
  `${count(value)} ${plural(value, one, many)}`;

/** A text as a sentence begins. */
export const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1);
