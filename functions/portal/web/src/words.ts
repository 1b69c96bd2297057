// What the page says in sentences.

import type {
  Clock,
  Crossing,
  Denials,
  Forecast,
  Portal,
  SeatRequest,
  UsageLimit,
  Use,
} from "./api";
import { now } from "./clock";
import { quoted, vendorName } from "./dom";
import { capital, count, date, dateOf, day, moment } from "./format";
import { t } from "./messages";

const dayOrNull = (at: string | null) => (at ? day(at) : null);
const dateOrNull = (at: string | null) => (at ? date(at) : null);

/** Why nothing can be used; empty where it can. */
function notInForce(portal: Portal): string {
  const { status, validFrom, validUntil } = portal;
  if (status === "suspended") return t.suspended(vendorName());
  if (status === "expired") return t.expired(dayOrNull(validUntil));
  if (status === "not_yet_valid") return t.notYetValid(dayOrNull(validFrom));
  return status === "deleted" ? capital(t.deleted(vendorName())) : "";
}

/** From when to when the license is valid. */
export function termOf({ status, validFrom, validUntil }: Portal): string {
  if (status === "deleted") return "";
  const isAhead = validFrom !== null && Date.parse(validFrom) > now();
  const isOver = validUntil !== null && Date.parse(validUntil) <= now();
  const tense = isAhead ? "will" : isOver ? "was" : "is";
  return t.term(dayOrNull(validFrom), dayOrNull(validUntil), tense);
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
  const when = [t.today, t.yesterday][last.ago] ?? t.onDate(date(last.date));
  return t.deniedOn(last.people, when);
}

/** The most usage limits that the headline names. */
const NAMED = 2;
/** From this share of what was bought, use is worth looking at. */
const NEAR = 0.8;

/** How urgent use is: 4 nothing is left, 3 over what was bought, 2 all of it, 1 near it, 0 not. */
export function troubleOf({ used, purchased, available }: Use): number {
  if (!used) return 0;
  if (available === 0) return 4;
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
  const reached = limits.slice(0, NAMED).map(limitSentence);
  const more = limits.length - reached.length;
  if (more > 0) reached.push(t.moreReached(more));
  if (portal.seats) {
    // What is in trouble comes first.
    const worst = limits[0] ? troubleOf(limits[0].usage) : 0;
    const seats = seatsSentence(portal.seats, portal.customerCap);
    const isSeatsFirst = troubleOf(portal.seats) >= worst;
    return (isSeatsFirst ? [seats, ...reached] : [...reached, seats]).join(" ");
  }
  return reached.length ? reached.join(" ") : t.allWithin;
}

function limitSentence({ key, usage: use, customerCap }: UsageLimit): string {
  if (customerCap !== null && use.used >= customerCap) return t.limitCapped(key, customerCap);
  if (use.hardCap !== null && use.used >= use.hardCap) return t.limitFull(key, use.hardCap);
  return use.overdraftUsed ? t.limitOver(key, use) : t.limitReached(key, use.purchased);
}

function seatsSentence(seats: Use, customerCap: number | null): string {
  const { used, purchased, hardCap } = seats;
  if (customerCap !== null && used >= customerCap)
    return used > purchased
      ? `${t.seatsOver(used, used - purchased, purchased)} ${t.capHolds(customerCap)}`
      : t.seatsCapped(used, customerCap);
  if (hardCap !== null && used >= hardCap && hardCap > purchased)
    return t.seatsFullOver(hardCap, seats.overdraftUsed, purchased);
  if (used > purchased) return t.seatsOver(used, used - purchased, purchased);
  if (used === purchased && hardCap === purchased) return t.seatsFull(purchased);
  if (used === purchased) return t.seatsReached(purchased);
  return t.seatsWithin(used, purchased);
}

/** What is still free, in a sentence; empty where nothing more is to be said. */
export function roomOf(portal: Portal): string {
  const seats = portal.seats;
  if (!seats || portal.status !== "active") return "";
  const { overdraft, customerCap } = portal;
  const free = freeOf(seats, overdraft, customerCap);
  // Below what was bought, how long more may be used does not matter.
  const isBelow = customerCap !== null && customerCap <= seats.purchased;
  const clock = isBelow ? "" : clockOf(overdraft);
  return [free, capOf(customerCap), clock].filter(Boolean).join(" ");
}

function freeOf(seats: Use, clock: Clock | null, customerCap: number | null): string {
  const { used } = seats;
  const bound = customerCap ?? Number.POSITIVE_INFINITY;
  const purchased = Math.min(seats.purchased, bound);
  const free = Math.max(0, purchased - used);
  if (clock && hasEnded(clock)) return free ? t.free(free, 0) : "";
  const hardCap = customerCap === null ? seats.hardCap : Math.min(seats.hardCap ?? bound, bound);
  if (hardCap === null) return free ? t.freeUnlimited(free) : t.noUpperLimit;
  const over = Math.max(0, hardCap - Math.max(used, purchased));
  if (!free && !over) return "";
  return free ? t.free(free, over) : t.overdraftLeft(over);
}

/** The customer's own cap, in a sentence; empty where there is none. */
export const capOf = (cap: number | null): string => (cap === null ? "" : t.ownCap(cap));

const hasEnded = (clock: Clock): boolean => Date.parse(clock.endsAt) <= now();

/** How long more than purchased may be used, in a sentence; empty where no clock runs. */
export function clockOf(clock: Clock | null, isLimit = false): string {
  if (!clock) return "";
  const end = moment(clock.endsAt);
  if (!hasEnded(clock)) return t.overdraftUntil(end);
  const ended = isLimit ? t.limitOverdraftEnded(end) : t.overdraftEnded(end);
  return clock.recoversAt ? `${ended} ${t.overdraftAgain(moment(clock.recoversAt))}` : ended;
}

/** What to say of use that is worth it, by `troubleOf`. */
const STANDS: Record<number, [kind: string, text: string]> = {
  4: ["full", t.badges.full],
  3: ["over", t.badges.over],
  2: ["over", t.badges.reached],
};

/** Where use stands, in a word or two: of seats and usage limits, the worst of the last days. */
export function badgeOf(portal: Portal, denials: Denials | null): [kind: string, text: string] {
  const { status } = portal;
  if (status !== "active") return ["stopped", t.badges[status] ?? t.badges.other];
  const worst = byTrouble(portal.usage)[0];
  const ofSeats = portal.seats ? troubleOf(portal.seats) : 0;
  const ofLimit = worst ? troubleOf(worst.usage) : 0;
  const stands = STANDS[Math.max(ofSeats, ofLimit)];
  if (stands) {
    const [kind, text] = stands;
    // What it is about, unless there are seats alone.
    const name = worst && ofLimit > ofSeats ? worst.key : t.seats;
    return [kind, worst ? t.badgeOf(name, text) : text];
  }
  const last = lastDenied(denials);
  if (last && last.ago <= RECENT_DAYS) return ["full", t.badges.turnedAway];
  return ["within", t.badges.within];
}

/** How many were turned away. */
export const deniedOf = ({ people, attempts, isComplete }: Denials): string =>
  attempts ? t.denied(people, attempts, isComplete) : t.nobodyDenied;

/** What a request asks for: so many seats, or so much of a usage limit. */
export const wantedBy = (wanted: Pick<SeatRequest, "seats" | "usageKey" | "quantity">): string =>
  wanted.usageKey === null
    ? t.moreSeats(wanted.seats ?? 0)
    : t.moreOf(wanted.quantity ?? 0, wanted.usageKey);

/** A request for more, and what became of it. */
export function requestOf(request: SeatRequest): (string | Node)[] {
  const who = request.requester ? quoted(request.requester) : t.somebody;
  return [
    who,
    t.requested(wantedBy(request), day(request.requestedAt), request.status),
    ...(request.note ? [". ", quoted(request.note)] : ["."]),
  ];
}

/** When a usage limit begins anew. */
export function periodOf(schedule: string, end: string | null): string {
  if (schedule === "never") return t.neverResets;
  if (end) return t.resets(day(end));
  return schedule === "monthly" ? t.thisMonth : t.sinceRenewal;
}

function crossingOf(crossing: Crossing, what: string, within: string, isNow: boolean): string {
  if (crossing.status === "met") return isNow ? t.isReached(what) : t.wasReached(what);
  if (!crossing.date) return t.notExpected(what, within, dateOrNull(crossing.earliest));
  const [low, high] = [dateOrNull(crossing.earliest), dateOrNull(crossing.latest)];
  return t.expected(what, date(crossing.date), low, high);
}

/** A forecast in sentences: what is expected, then what it follows from. */
export function forecastOf(
  forecast: Forecast,
  periodEnd: string | null,
): { sentences: string[]; basis: string } {
  const { known, needed, unit } = forecast;
  if (forecast.status === "insufficient_data")
    return { sentences: [t.notEnough], basis: t.needs(known, needed, unit) };
  const isUsage = forecast.usageKey !== null;
  const pace = (value: number | null) => count(Number((value ?? 0).toFixed(1)));
  const paces = [forecast.perWeek, forecast.perWeekLow, forecast.perWeekHigh].map(pace);
  const [expected = "", low = "", high = ""] = paces;
  const within = periodEnd ? t.before(day(periodEnd)) : t.withinAYear;
  const { purchased, hardCap } = forecast;
  const crossings = [
    purchased && crossingOf(purchased, t.whatYouBought(purchased.limit), within, isUsage),
    hardCap && crossingOf(hardCap, t.theMaximum(hardCap.limit), within, isUsage),
  ].filter((each): each is string => Boolean(each));
  const growth = isUsage
    ? t.weekly(expected, low, high)
    : t.weeklyPeak(expected.replace(/^[-−]/, ""), low, high, Math.sign(forecast.perWeek ?? 0));
  const basis = unit === "weeks" ? t.basedOnWeeks : t.basedOnDays;
  return {
    sentences: [...crossings, growth],
    basis: basis(known, forecast.includesDenied),
  };
}
