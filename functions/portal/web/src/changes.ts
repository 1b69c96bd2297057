// What changed: limits and dates of the license, and who released whose seat.

import { type Change, readChanges, token, type Values } from "./api";
import { fill, h, quoted, vendorName } from "./dom";
import { capital, count, day, moment } from "./format";

/** A number as one reads it, and what there is no number of. */
function shown(value: unknown): string {
  if (typeof value === "number") return count(value);
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return day(value);
  return value === null || value === undefined ? "none" : String(value);
}

type Overdraft = { type: string; value?: number };
type Limit = { key: string; limit: number; overdraftLimit: Overdraft };

function overdraft(value: unknown): string {
  const { type, value: number } = (value ?? { type: "none" }) as Overdraft;
  if (type === "unlimited") return "unlimited";
  return number === undefined ? "none" : `${count(number)}${type === "percentage" ? " %" : ""}`;
}

/** Members of the license: what they are called, and how a value is said. */
const MEMBERS: Record<string, [name: string, say: (value: unknown) => string]> = {
  seatCount: ["seats bought", shown],
  overdraftSeatLimit: ["overdraft seats", overdraft],
  validFrom: ["start", shown],
  validUntil: ["end", shown],
  leasePeriod: ["time until an idle seat is free again", shown],
  timeZone: ["time zone", shown],
  status: ["status", shown],
};
// What is said of a new license.
const OF_NEW = ["seatCount", "overdraftSeatLimit"];

/** How usage limits changed, each that came, went or is another. */
function limitsOf({ before, after }: Values): string[] {
  const [old, now] = [before, after].map(
    (each) => new Map(((each ?? []) as Limit[]).map((limit) => [limit.key, limit])),
  ) as [Map<string, Limit>, Map<string, Limit>];
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((key) => {
    const [from, to] = [old.get(key), now.get(key)];
    if (!to) return [`${key}: removed`];
    if (!from) return [`${key}: ${count(to.limit)}`];
    const parts = [];
    if (from.limit !== to.limit) parts.push(`${count(from.limit)} → ${count(to.limit)}`);
    const [was, is] = [overdraft(from.overdraftLimit), overdraft(to.overdraftLimit)];
    if (was !== is) parts.push(`overdraft ${was} → ${is}`);
    return parts.length ? [`${key}: ${parts.join(", ")}`] : [];
  });
}

/** The members of a change in words; of a new license only what it has. */
function membersOf(change: Change): string {
  const isNew = change.type === "entitlement.created";
  const parts = Object.entries(change.changes).flatMap(([name, values]) => {
    if (name === "usageLimits") return limitsOf(values);
    const member = MEMBERS[name];
    if (!member || (isNew && !OF_NEW.includes(name))) return [];
    const [label, say] = member;
    const to = say(values.after);
    return [isNew ? `${label} ${to}` : `${label} ${say(values.before)} → ${to}`];
  });
  return parts.join("; ");
}

/** Who did it. The vendor's people are not named. */
function whoOf(change: Change): string {
  if (change.actor === null) return capital(vendorName());
  const isOurs = token().startsWith(`${change.actor}.`);
  return isOurs ? "Somebody with this link" : "Somebody with another link";
}

const VERBS: Record<string, string> = {
  "entitlement.created": "set up the license",
  "entitlement.updated": "changed the license",
  "entitlement.deleted": "ended the license",
  "person.erased": "erased a person's data",
  "portal_link.created": "created a portal link",
  "portal_link.revoked": "revoked a portal link",
  "seat_request.created": "requested more seats",
  "seat_request.updated": "answered a request for more seats",
};

/** A change in a sentence. */
function sentenceOf(change: Change): (string | Node)[] {
  const who = whoOf(change);
  if (change.type === "seat.released")
    return [
      `${who} released the seat of `,
      change.subjectName ? quoted(change.subjectName) : "a person whose data was erased",
      ".",
    ];
  if (change.type === "usage.corrected") {
    const { before, after } = change.changes.used ?? { before: null, after: null };
    return [`${who} corrected ${change.subjectId}: ${shown(before)} → ${shown(after)}.`];
  }
  const more = change.type.startsWith("entitlement.") ? membersOf(change) : "";
  return [`${who} ${VERBS[change.type] ?? change.type}${more ? `: ${more}` : ""}.`];
}

/** The section, which reads the changes when it is opened. */
export function changesSection(entitlementId: string, fail: (error: unknown) => void): HTMLElement {
  const list = h("ul", { class: "changes" });
  const read = async (event: Event) => {
    if (!(event.target as HTMLDetailsElement).open) return;
    try {
      const changes = await readChanges(entitlementId);
      const lines = changes.map((change) =>
        h("li", {}, h("span", { class: "soft" }, `${moment(change.at)} `), ...sentenceOf(change)),
      );
      fill(list, ...(lines.length ? lines : [h("li", {}, "Nothing in the last 90 days.")]));
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
      h("summary", {}, h("h2", {}, "What changed")),
      list,
    ),
  );
}
