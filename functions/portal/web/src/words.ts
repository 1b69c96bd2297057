// What the page says in sentences.

import {
  type Crossing,
  type Denials,
  type Forecast,
  now,
  type Portal,
  type SeatRequest,
  type UsageLimit,
  type Use,
} from "./api";
import { quoted, vendorName } from "./dom";
import { capital, count, counted, date, dateOf, day } from "./format";

/** Why nothing can be used; empty where it can. */
function notInForce(portal: Portal): string {
  const { status, validFrom, validUntil } = portal;
  if (status === "suspended")
    return `This license is suspended. Nothing can be used until ${vendorName()} reactivates it.`;
  if (status === "expired")
    return `This license ended${validUntil ? ` on ${day(validUntil)}` : ""}. Nothing can be used any more.`;
  if (status === "not_yet_valid")
    return `This license begins${validFrom ? ` on ${day(validFrom)}` : " later"}. Nothing can be used before.`;
  return status === "deleted" ? `This license was ended by ${vendorName()}.` : "";
}

/** From when to when the license is valid. */
export function termOf({ validFrom, validUntil }: Portal): string {
  const from = validFrom ? `Valid since ${day(validFrom)}` : "Valid";
  return validUntil ? `${from}, until ${day(validUntil)}.` : `${from}, without an end date.`;
}

const DAY_MS = 86_400_000;
const RECENT_DAYS = 7;

/** The last day on which somebody was turned away, and how many days ago that is. */
function lastDenied(denials: Denials | null) {
  const last = denials?.days.at(-1);
  if (!last) return null;
  const ago = Math.round((Date.parse(dateOf(now())) - Date.parse(last.date)) / DAY_MS);
  return { ...last, ago };
}

/** What matters most of the last 30 days; empty where nobody was turned away. */
export function headlineOf(denials: Denials | null): string {
  const last = lastDenied(denials);
  if (!last || last.people === null) return "";
  const when = ["today", "yesterday"][last.ago] ?? `on ${date(last.date)}`;
  return `${counted(last.people, "person was", "people were")} turned away ${when}.`;
}

/** The most usage limits that the headline names. */
const NAMED = 2;
/** From this share of what was bought, use is worth looking at. */
const NEAR = 0.8;

/** How urgent use is: 4 nothing is left, 3 over what was bought, 2 all of it, 1 near it, 0 not. */
export function troubleOf({ used, purchased, hardCap, available }: Use): number {
  if (!used) return 0;
  if (available === 0 && hardCap !== null) return 4;
  if (used > purchased) return 3;
  if (used === purchased) return 2;
  return used >= NEAR * purchased ? 1 : 0;
}

/** Usage limits by how urgent they are, then by the share of what was bought that is used. */
export function byTrouble(limits: UsageLimit[]): UsageLimit[] {
  const share = ({ used, purchased }: Use) => used / Math.max(1, purchased);
  return [...limits].sort(
    (a, b) => troubleOf(b.usage) - troubleOf(a.usage) || share(b.usage) - share(a.usage),
  );
}

/** How it stands, in a sentence or two: the seats, and usage limits that are reached. */
export function stateOf(portal: Portal): string {
  const reason = notInForce(portal);
  if (reason) return reason;
  const limits = byTrouble(portal.usage).filter(({ usage }) => troubleOf(usage) >= 2);
  const reached = limits.slice(0, NAMED).map(({ key, usage }) => limitSentence(key, usage));
  const more = limits.length - reached.length;
  if (more > 0)
    reached.push(
      `${counted(more, "more usage limit is", "more usage limits are")} reached, below.`,
    );
  if (portal.seats) return [seatsSentence(portal.seats), ...reached].join(" ");
  return reached.length ? reached.join(" ") : "Everything is within your license.";
}

function limitSentence(key: string, use: Use): string {
  if (use.available === 0 && use.hardCap !== null)
    return `${key}: all ${count(use.hardCap)} are used. Further requests are refused.`;
  if (use.overdraftUsed)
    return `${key}: ${count(use.used)} used, ${count(use.overdraftUsed)} over the ${count(use.purchased)} you bought.`;
  return `${key}: all ${count(use.purchased)} that you bought are used.`;
}

function seatsSentence(seats: Use): string {
  const { used, purchased, hardCap } = seats;
  if (hardCap !== null && used >= hardCap && hardCap > purchased)
    return `All ${counted(hardCap, "seat is", "seats are")} in use, ${count(seats.overdraftUsed)} more than the ${count(purchased)} you bought. Nobody else can get one.`;
  if (used > purchased)
    return `${counted(used, "seat is", "seats are")} in use: ${count(used - purchased)} more than the ${count(purchased)} you bought.`;
  if (used === purchased && hardCap === purchased)
    return `All ${counted(purchased, "seat is", "seats are")} in use. Nobody else can get one.`;
  if (used === purchased)
    return `All ${counted(purchased, "seat", "seats")} you bought ${purchased === 1 ? "is" : "are"} in use.`;
  return `${count(used)} of ${counted(purchased, "seat is", "seats are")} in use.`;
}

/** What is still free, in a sentence; empty where nothing more is to be said. */
export function roomOf(portal: Portal): string {
  const seats = portal.seats;
  if (!seats || portal.status !== "active") return "";
  const { used, purchased, hardCap } = seats;
  if (hardCap === null)
    return used < purchased
      ? `${counted(purchased - used, "seat is", "seats are")} free. There is no upper limit: extra seats are granted as overdraft.`
      : "There is no upper limit: extra seats are granted as overdraft.";
  const free = Math.max(0, purchased - used);
  const over = Math.max(0, hardCap - Math.max(used, purchased));
  if (!free && !over) return "";
  const overdraft = over ? counted(over, "overdraft seat", "overdraft seats") : "";
  if (!free)
    return `${overdraft} ${over === 1 ? "is" : "are"} left. They work like any other seat, and your vendor sees that you use them.`;
  return `${counted(free, "seat is", "seats are")} free${overdraft ? `, plus ${overdraft}` : ""}.`;
}

const NOT_ACTIVE: Record<string, string> = {
  suspended: "Suspended",
  expired: "Ended",
  not_yet_valid: "Not yet valid",
  deleted: "Ended",
};

/** What to say of use that is worth it, by `troubleOf`. */
const STANDS: Record<number, [kind: string, text: string]> = {
  4: ["full", "full"],
  3: ["over", "in overdraft"],
  2: ["over", "at the limit"],
};

/** Where use stands, in a word or two: of seats and usage limits, the worst of the last days. */
export function badgeOf(portal: Portal, denials: Denials | null): [kind: string, text: string] {
  if (portal.status !== "active") return ["stopped", NOT_ACTIVE[portal.status] ?? "Not in force"];
  const worst = byTrouble(portal.usage)[0];
  const ofSeats = portal.seats ? troubleOf(portal.seats) : 0;
  const ofLimit = worst ? troubleOf(worst.usage) : 0;
  const stands = STANDS[Math.max(ofSeats, ofLimit)];
  if (stands) {
    const [kind, text] = stands;
    // What it is about, unless there are seats alone.
    const name = worst && ofLimit > ofSeats ? worst.key : "Seats";
    return [kind, worst ? `${name}: ${text}` : capital(text)];
  }
  const last = lastDenied(denials);
  if (last && last.ago <= RECENT_DAYS) return ["full", "People turned away"];
  return ["within", "Within your license"];
}

/** How many were turned away. */
export function deniedOf({ people, attempts, isComplete }: Denials): string {
  if (!attempts) return "Nobody has been turned away in the last 30 days.";
  const least = isComplete ? "" : "at least ";
  return `In the last 30 days, ${least}${counted(people, "person was", "people were")} turned away (${counted(attempts, "attempt", "attempts")}).`;
}

const BECAME: Record<SeatRequest["status"], string> = {
  open: "not answered yet",
  answered: "answered",
  declined: "declined",
};

/** A request for more seats, and what became of it. */
export function requestOf(request: SeatRequest): (string | Node)[] {
  const who = request.requester ? quoted(request.requester) : "Somebody";
  const asked = `${counted(request.seats, "more seat", "more seats")} on ${day(request.requestedAt)}`;
  return [
    who,
    ` requested ${asked}: ${BECAME[request.status]}`,
    ...(request.note ? [". ", quoted(request.note)] : ["."]),
  ];
}

/** When a usage limit begins anew. */
export function periodOf(schedule: string, end: string | null): string {
  if (schedule === "never") return "total, never resets";
  if (end) return `resets ${day(end)}`;
  return schedule === "monthly" ? "this month" : "since the last renewal";
}

function crossingOf(crossing: Crossing, name: string, within: string, isNow: boolean): string {
  const what = `${name} (${count(crossing.limit)})`;
  if (crossing.status === "met")
    return isNow ? `${what} is reached.` : `${what} was reached in the last seven days.`;
  if (!crossing.date) {
    const fastest = crossing.earliest
      ? `; at the fastest pace of late, around ${date(crossing.earliest)}`
      : "";
    return `${what} is not expected to be reached ${within}${fastest}.`;
  }
  const low = crossing.earliest ? date(crossing.earliest) : "soon";
  const high = crossing.latest ? date(crossing.latest) : "perhaps never";
  return `${what} will be reached around ${date(crossing.date)} (between ${low} and ${high}).`;
}

/** A forecast in sentences: what is expected, then what it follows from. */
export function forecastOf(
  forecast: Forecast,
  periodEnd: string | null,
): { sentences: string[]; basis: string } {
  if (forecast.status === "insufficient_data")
    return { sentences: ["Not enough data yet."], basis: forecast.basis };
  const isCount = forecast.usageKey !== null;
  const pace = (value: number | null) => count(Number((value ?? 0).toFixed(1)));
  const between = `(${pace(forecast.perWeekLow)} to ${pace(forecast.perWeekHigh)})`;
  const growth = isCount
    ? `About ${pace(forecast.perWeek)} a week ${between}.`
    : `The weekly peak changes by about ${pace(forecast.perWeek)} a week ${between}.`;
  const within = periodEnd ? `before ${day(periodEnd)}` : "within a year";
  const crossings = [
    forecast.purchased && crossingOf(forecast.purchased, "What you bought", within, isCount),
    forecast.hardCap && crossingOf(forecast.hardCap, "The maximum", within, isCount),
  ].filter((each): each is string => Boolean(each));
  return { sentences: [...crossings, growth], basis: forecast.basis };
}
