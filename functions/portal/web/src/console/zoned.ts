// Times of one entitlement are shown in its own time zone; all others in the reader's.

import { setZone } from "../format";

export { count, date, day, moment } from "../format";

/** A moment in the form of a field of date and time, in the reader's own time. */
export function fieldTime(at: string | number): string {
  const time = new Date(at);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** Its day, in the form of a field of dates; empty without a moment. */
export const fieldDay = (at: string | null | undefined): string =>
  at ? fieldTime(at).slice(0, 10) : "";

export const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** Show times in the zone of an entitlement. */
export const applyZone = (zone: string | null | undefined): void => setZone(zone ?? ownZone);
