// What changed: limits and dates of the license, and who released whose seat.

import {
  type Change,
  type Portal,
  readChanges,
  readRequests,
  type SeatRequest,
  token,
  type Values,
} from "./api";
import { fill, h, quoted, vendorName } from "./dom";
import { capital, count, day, moment } from "./format";
import { t } from "./messages";
import { wantedBy } from "./words";

/** A number as one reads it, and what there is no number of. */
function shown(value: unknown): string {
  if (typeof value === "number") return count(value);
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return day(value);
  return value === null || value === undefined ? t.none : String(value);
}

type Overdraft = { type: string; value?: number; period?: string };
type Limit = { key: string; limit: number; overdraftLimit: Overdraft };

function overdraft(value: unknown): string {
  const { type, value: number, period } = (value ?? { type: "none" }) as Overdraft;
  if (type === "none") return t.none;
  const much = `${count(number ?? 0)}${type === "percentage" ? " %" : ""}`;
  return `${type === "unlimited" ? t.unlimited : much}${period ? ` (${period})` : ""}`;
}

/** Members of the license that are said otherwise than as they are. */
const SAID: Record<string, (value: unknown) => string> = { overdraftSeatLimit: overdraft };
// What is said of a new license.
const OF_NEW = ["seatCount", "overdraftSeatLimit"];

/** How usage limits changed, each that came, went or is another. */
function limitsOf({ before, after }: Values): string[] {
  const [old, now] = [before, after].map(
    (each) => new Map(((each ?? []) as Limit[]).map((limit) => [limit.key, limit])),
  ) as [Map<string, Limit>, Map<string, Limit>];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((key) => {
    const [from, to] = [old.get(key), now.get(key)];
    if (!to) return [`${key}: ${t.removed}`];
    if (!from) return [`${key}: ${count(to.limit)}`];
    const parts = [];
    if (from.limit !== to.limit) parts.push(`${count(from.limit)} → ${count(to.limit)}`);
    const [was, is] = [overdraft(from.overdraftLimit), overdraft(to.overdraftLimit)];
    if (was !== is) parts.push(t.overdraftOf(was, is));
    return parts.length ? [`${key}: ${parts.join(", ")}`] : [];
  });
}

/** The members of a change in words; of a new license only what it has. */
function membersOf(change: Change): string {
  const isNew = change.type === "entitlement.created";
  const parts = Object.entries(change.changes).flatMap(([name, values]) => {
    if (name === "usageLimits") return limitsOf(values);
    const label = t.members[name];
    if (!label || (isNew && !OF_NEW.includes(name))) return [];
    const say = SAID[name] ?? shown;
    const to = say(values.after);
    return [isNew ? `${label} ${to}` : `${label} ${say(values.before)} → ${to}`];
  });
  return parts.join("; ");
}

/** Who did it. The vendor's people are not named. */
function whoOf(change: Change): string {
  if (change.actor === null) return capital(vendorName());
  const isOurs = token().startsWith(`${change.actor}.`);
  return isOurs ? t.thisLink : t.otherLink;
}

/** A change in a sentence. */
function sentenceOf(
  change: Change,
  hidesNames: boolean,
  requests: SeatRequest[],
): (string | Node)[] {
  const who = whoOf(change);
  if (change.type === "seat.released")
    return [
      who,
      t.releasedSeatOf[0],
      change.subjectName ? quoted(change.subjectName) : hidesNames ? t.aPerson : t.erasedPerson,
      t.releasedSeatOf[1],
    ];
  if (change.type === "usage.corrected") {
    const { before, after } = change.changes.used ?? { before: null, after: null };
    return [who, t.corrected(change.subjectId ?? "", shown(before), shown(after))];
  }
  if (change.type === "seat_request.created") {
    const member = <T>(name: string) => (change.changes[name]?.after ?? null) as T | null;
    const what = wantedBy({
      seats: member<number>("seats"),
      usageKey: member<string>("usageKey"),
      quantity: member<number>("quantity"),
    });
    // Who asks through the product, with its API key, asks for the customer all the same.
    return [t.didRequest(change.actor === null ? t.yourSide : who, what)];
  }
  if (change.type === "seat_request.updated") {
    const request = requests.find((each) => each.requestId === change.subjectId);
    const isDeclined = change.changes.status?.after === "declined";
    const did = isDeclined ? t.declinedRequest : (t.verbs[change.type] ?? change.type);
    return [t.did(who, did, request ? wantedBy(request) : "")];
  }
  const more = change.type.startsWith("entitlement.") ? membersOf(change) : "";
  return [t.did(who, t.verbs[change.type] ?? change.type, more)];
}

/** The section, which reads the changes when it is opened. */
export function changesSection(
  { entitlementId, hidesNames }: Portal,
  fail: (error: unknown) => void,
): HTMLElement {
  const list = h("ul", { class: "changes" });
  const read = async (event: Event) => {
    if (!(event.target as HTMLDetailsElement).open) return;
    try {
      const [changes, requests] = await Promise.all([
        readChanges(entitlementId),
        readRequests(entitlementId),
      ]);
      const lines = changes.map((change) =>
        h(
          "li",
          {},
          h("span", { class: "soft" }, `${moment(change.at)} `),
          ...sentenceOf(change, hidesNames, requests),
        ),
      );
      fill(list, ...(lines.length ? lines : [h("li", {}, t.nothingChanged)]));
    } catch (error) {
      fail(error);
    }
  };
  return h(
    "section",
    { class: "card wide", id: "changes" },
    h(
      "details",
      { class: "folded", ontoggle: (event) => void read(event) },
      h("summary", {}, h("h2", {}, t.changed)),
      list,
    ),
  );
}
