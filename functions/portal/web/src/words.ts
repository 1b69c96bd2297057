// What the page says in sentences.

import type { Crossing, Denials, Forecast, Portal, SeatRequest, Use } from "./api";
import { quoted } from "./dom";
import { count, counted, date, day } from "./format";

const NOT_IN_FORCE: Record<string, string> = {
  suspended: "This license is suspended: no seat can be taken until your vendor lifts that.",
  expired: "This license has ended: no seat can be taken any more.",
  not_yet_valid: "This license is not valid yet: no seat can be taken before it begins.",
  deleted: "This license has been ended by your vendor.",
};

/** How it stands, in a sentence or two: the seats, and usage limits that are reached. */
export function stateOf(portal: Portal): string {
  const told = NOT_IN_FORCE[portal.status];
  if (told) return told;
  const reached = portal.usage
    .filter(({ usage }) => usage.used > 0 && usage.used >= usage.purchased)
    .map(({ key, usage }) => limitSentence(key, usage));
  if (portal.seats) return [seatsSentence(portal.seats), ...reached].join(" ");
  return reached.length
    ? reached.join(" ")
    : "Everything that is counted is within what you bought.";
}

function limitSentence(key: string, use: Use): string {
  const name = `\u201c${key}\u201d`;
  if (use.available === 0 && use.hardCap !== null)
    return `All ${count(use.hardCap)} of ${name} are used: nothing more is let through.`;
  if (use.overdraftUsed)
    return `Of ${name}, ${count(use.used)} are used: ${count(use.overdraftUsed)} more than the ${count(use.purchased)} you bought.`;
  return `All ${count(use.purchased)} of ${name} that you bought are used.`;
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
      ? `${counted(purchased - used, "seat is", "seats are")} free; beyond that, as many as are needed are granted as overdraft.`
      : "As many as are needed are granted as overdraft.";
  const free = Math.max(0, purchased - used);
  const over = Math.max(0, hardCap - Math.max(used, purchased));
  if (!free && !over) return "";
  const overdraft = over ? `${counted(over, "seat", "seats")} of overdraft` : "";
  if (!free) return `${overdraft} ${over === 1 ? "is" : "are"} left.`;
  const rest = overdraft ? `, and ${overdraft} beyond what you bought` : "";
  return `${counted(free, "seat is", "seats are")} free${rest}.`;
}

/** Where use stands, in a word or two: of seats and usage limits, the worst. */
export function badgeOf(portal: Portal): [kind: string, text: string] {
  if (portal.status !== "active") return ["stopped", "Not in force"];
  const uses = [...(portal.seats ? [portal.seats] : []), ...portal.usage.map((each) => each.usage)];
  const some = (test: (use: Use) => boolean) => uses.some((use) => use.used > 0 && test(use));
  if (some((use) => use.available === 0 && use.hardCap !== null)) return ["full", "Full"];
  if (some((use) => use.used > use.purchased)) return ["over", "In overdraft"];
  if (some((use) => use.used === use.purchased)) return ["over", "At the limit"];
  return ["within", "Within what you bought"];
}

/** How many were turned away. */
export function deniedOf({ people, attempts, from, isComplete }: Denials): string {
  if (!attempts) return `Nobody was turned away since ${day(from)}.`;
  const least = isComplete ? "" : "At least ";
  return `${least}${counted(people, "person was", "people were")} turned away since ${day(from)}, ${counted(attempts, "time", "times")} in all.`;
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

const SCHEDULES: Record<string, string> = {
  monthly: "this month",
  on_renewal: "since the renewal",
  never: "in all",
};

/** When a usage limit begins anew. */
export function periodOf(schedule: string, end: string | null): string {
  return end ? `${SCHEDULES[schedule] ?? ""}, until ${day(end)}` : (SCHEDULES[schedule] ?? "");
}

function crossingOf(crossing: Crossing, name: string, within: string, isNow: boolean): string {
  const what = `${name} (${count(crossing.limit)})`;
  if (crossing.status === "met")
    return isNow ? `${what} is reached.` : `${what} is reached, or was within the last seven days.`;
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
): { told: string[]; basis: string } {
  if (forecast.status === "insufficient_data")
    return { told: ["Too early to tell."], basis: forecast.basis };
  const isCount = forecast.usageKey !== null;
  const pace = (value: number | null) => count(Number((value ?? 0).toFixed(1)));
  const between = `(between ${pace(forecast.perWeekLow)} and ${pace(forecast.perWeekHigh)})`;
  const growth = isCount
    ? `At ${pace(forecast.perWeek)} a week ${between}.`
    : `Peaks change by ${pace(forecast.perWeek)} a week ${between}.`;
  const within = periodEnd ? `before ${day(periodEnd)}` : "within a year";
  const crossings = [
    forecast.purchased && crossingOf(forecast.purchased, "What you bought", within, isCount),
    forecast.hardCap && crossingOf(forecast.hardCap, "The hard cap", within, isCount),
  ].filter((each): each is string => Boolean(each));
  return { told: [...crossings, growth], basis: forecast.basis };
}
