// Times of one entitlement are shown in its own time zone; all others in the reader's.

import { setZone } from "../format";

export { count, date, day, moment } from "../format";

export const ownZone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** Show times in the zone of an entitlement. */
export const applyZone = (zone: string | null | undefined): void => setZone(zone ?? ownZone);
