// What the page says in English. Every other language has the same messages.

import { count, counted, plural } from "../format";

/** What a usage limit or the seats are at. */
interface Figures {
  used: number;
  purchased: number;
  hardCap: number | null;
  overdraftUsed: number;
}

const seatsAre = (number: number) => counted(number, "seat is", "seats are");
const people = (number: number) => counted(number, "person", "people");
const attempts = (number: number) => counted(number, "attempt", "attempts");
const requests = (number: number) => counted(number, "request", "requests");

export const en = {
  // --- The page --------------------------------------------------------------------------------
  loading: "Loading …",
  vendor: "your vendor",
  footer: (zone: string, until: string) => `All times in ${zone}. This link works until ${until}.`,
  stale: (moment: string) =>
    `The service cannot be reached just now. These are the figures of ${moment}. Retrying …`,
  unreachable: "The service cannot be reached just now. Retrying …",
  failed: "Something went wrong.",
  noAnswer: "The service could not be reached.",
  tooManyRequests: "Too many requests. Please try again later.",
  linkExpired: "This link has expired",
  linkUnknown: "This link does not work",
  linkRevoked: (newLink: string) => `It was revoked or not copied in full. ${newLink}`,
  newLink: (vendor: string) => `Ask ${vendor} for a new one.`,
  gone: "There is nothing here any more",
  noLink: "Open the link that you were sent",
  aboutLink: "This page shows how a license is used, to whoever has a link to it.",
  license: "License use",
  csv: "CSV",

  // --- How it stands ---------------------------------------------------------------------------
  state: "How it stands",
  seats: "Seats",
  inUse: "In use",
  used: "Used",
  purchased: "Purchased",
  overdraft: "Overdraft",
  hardCap: "Hard cap",
  none: "none",
  meter: (name: string, used: number, purchased: number, hardCap: number | null) =>
    `${name}: ${count(used)} used, ${count(purchased)} purchased, ${hardCap === null ? "no hard cap" : `hard cap ${count(hardCap)}`}`,
  deniedOn: (number: number, when: string) =>
    `${counted(number, "person was", "people were")} turned away ${when}.`,
  today: "today",
  yesterday: "yesterday",
  onDate: (date: string) => `on ${date}`,
  nobodyDenied: "Nobody has been turned away in the last 30 days.",
  denied: (number: number, tries: number, isComplete: boolean) =>
    `In the last 30 days, ${isComplete ? "" : "at least "}${counted(number, "person was", "people were")} turned away (${attempts(tries)}).`,
  allWithin: "Everything is within your license.",
  moreReached: (number: number) =>
    `${counted(number, "more usage limit is", "more usage limits are")} reached, below.`,
  limitFull: (key: string, cap: number) =>
    `${key}: all ${count(cap)} are used. Further requests are refused.`,
  limitOver: (key: string, { used, overdraftUsed, purchased }: Figures) =>
    `${key}: ${count(used)} used, ${count(overdraftUsed)} over the ${count(purchased)} you bought.`,
  limitReached: (key: string, purchased: number) =>
    `${key}: all ${count(purchased)} that you bought are used.`,
  seatsFull: (cap: number) =>
    `${plural(cap, "The only seat is", `All ${count(cap)} seats are`)} in use. Nobody else can get one.`,
  seatsFullOver: (cap: number, over: number, purchased: number) =>
    `All ${seatsAre(cap)} in use, ${count(over)} more than the ${count(purchased)} you bought. Nobody else can get one.`,
  seatsOver: (used: number, over: number, purchased: number) =>
    `${seatsAre(used)} in use: ${count(over)} more than the ${count(purchased)} you bought.`,
  seatsReached: (purchased: number) =>
    `${plural(purchased, "The only seat you bought is", `All ${count(purchased)} seats you bought are`)} in use.`,
  seatsWithin: (used: number, purchased: number) =>
    `${count(used)} of ${seatsAre(purchased)} in use.`,
  noUpperLimit: "There is no upper limit: extra seats are granted as overdraft.",
  free: (free: number, over: number) =>
    `${seatsAre(free)} free${over ? `, plus ${counted(over, "overdraft seat", "overdraft seats")}` : ""}.`,
  freeUnlimited: (free: number) =>
    `${seatsAre(free)} free. There is no upper limit: extra seats are granted as overdraft.`,
  overdraftLeft: (over: number) =>
    `${counted(over, "overdraft seat is", "overdraft seats are")} left. ${plural(over, "It works", "They work")} like any other seat, and your vendor sees that you use ${plural(over, "it", "them")}.`,
  seatsCapped: (used: number, cap: number) =>
    used > cap
      ? `${seatsAre(used)} in use, more than the cap of ${count(cap)} that your organization has set. Nobody else can get one.`
      : `${seatsAre(used)} in use: the cap that your organization has set. Nobody else can get one.`,
  capHolds: (cap: number) =>
    `Nobody else can get one: your organization has set a cap of ${count(cap)}.`,
  limitCapped: (key: string, cap: number) =>
    `${key}: the cap of ${count(cap)} that your organization has set is reached. Further requests are refused.`,
  ownCap: (cap: number) => `Your organization has set a cap of ${count(cap)}.`,
  ownCapFigure: "Own cap",
  setCap: "Set our own cap",
  setCapOf: (key: string) => `Set our own cap of ${key}`,
  capAbout: (hardCap: number | null, isLimit: boolean) =>
    `${isLimit ? "At your own cap, further requests are refused." : "At your own cap, nobody else gets a seat. Whoever holds a seat keeps it."}${hardCap === null ? "" : ` The cap can be at most ${count(hardCap)}.`} Your vendor sees it.`,
  capNumber: "Cap (empty: no cap of our own)",
  capSet: (cap: number | null) =>
    cap === null ? "There is no cap of your own now." : `The cap is ${count(cap)} now.`,
  capTooOften: "The cap was changed ten times within an hour. Please try again later.",
  overdraftUntil: (end: string) => `You may use more than you bought until ${end}.`,
  overdraftEnded: (end: string) =>
    `The time for using more than you bought ended on ${end}. Whoever has a seat keeps it; others get one when fewer are in use than you bought.`,
  limitOverdraftEnded: (end: string) =>
    `The time for using more than you bought ended on ${end}: requests for more are refused.`,
  overdraftAgain: (day: string) =>
    `If use stays within what you bought, more is possible again from ${day}.`,
  term: (from: string | null, until: string | null, tense: "was" | "is" | "will") => {
    if (tense === "will") return `Valid from ${from}${until ? ` to ${until}` : ""}.`;
    if (tense === "was") return `Was valid ${from ? `from ${from} ` : ""}until ${until}.`;
    return `${from ? `Valid since ${from}` : "Valid"}${until ? `, until ${until}` : ", without an end date"}.`;
  },
  suspended: (vendor: string) =>
    `This license is suspended. Nothing can be used until ${vendor} reactivates it.`,
  expired: (on: string | null) =>
    `This license ended${on ? ` on ${on}` : ""}. Nothing can be used any more.`,
  notYetValid: (on: string | null) =>
    `This license begins${on ? ` on ${on}` : " later"}. Nothing can be used before.`,
  deleted: (vendor: string) => `This license was ended by ${vendor}.`,
  badges: {
    suspended: "Suspended",
    expired: "Ended",
    not_yet_valid: "Not yet valid",
    deleted: "Ended",
    other: "Not in force",
    full: "Full",
    over: "In overdraft",
    reached: "At the limit",
    turnedAway: "People turned away",
    within: "Within your license",
  },
  badgeOf: (name: string, stands: string) => `${name}: ${stands.toLowerCase()}`,

  // --- Usage limits ----------------------------------------------------------------------------
  usageLimits: "Usage limits",
  searchLimits: "Search by key",
  noLimit: "No usage limit has this in its key.",
  moreLimits: (number: number) => `${count(number)} more, all well within what you bought`,
  neverResets: "total, never resets",
  resets: (day: string) => `resets ${day}`,
  thisMonth: "this month",
  sinceRenewal: "since the last renewal",
  requestsDenied: (number: number, tries: number, quantity: number) =>
    `In the last 30 days, ${number === 1 ? `1 request for ${count(quantity)} was` : `${count(number)} requests for ${count(quantity)} in all were`} refused (${attempts(tries)}).`,

  // --- The forecast ----------------------------------------------------------------------------
  forecast: "When will it run out?",
  notEnough: "Not enough data yet.",
  needs: (known: number, needed: number, unit: "weeks" | "days") =>
    `${count(known)} of ${count(needed)} whole ${unit} so far.`,
  basedOnWeeks: (known: number, withDenied: boolean) =>
    `Based on the peaks of the last ${counted(known, "week", "weeks")}${withDenied ? ", with the people who were turned away" : ""}.`,
  basedOnDays: (known: number, withDenied: boolean) =>
    `Based on what was used in the last ${counted(known, "day", "days")}${withDenied ? ", with what was refused" : ""}.`,
  weekly: (pace: string, low: string, high: string) => `About ${pace} a week (${low} to ${high}).`,
  weeklyPeak: (pace: string, low: string, high: string, sign: number) =>
    sign
      ? `The weekly peak ${sign > 0 ? "grows" : "falls"} by about ${pace} a week (${low} to ${high}).`
      : `The weekly peak does not change (${low} to ${high} a week).`,
  whatYouBought: (limit: number) => `What you bought (${count(limit)})`,
  theMaximum: (limit: number) => `The hard cap (${count(limit)})`,
  withinAYear: "within a year",
  before: (day: string) => `before ${day}`,
  isReached: (what: string) => `${what} is reached.`,
  wasReached: (what: string) => `${what} was reached in the last seven days.`,
  notExpected: (what: string, within: string, earliest: string | null) =>
    `${what} is not expected to be reached ${within}${earliest ? `; at the fastest pace of late, around ${earliest}` : ""}.`,
  expected: (what: string, date: string, low: string | null, high: string | null) =>
    `${what} will be reached around ${date} (between ${low ?? "soon"} and ${high ?? "perhaps never"}).`,

  // --- What overdraft costs --------------------------------------------------------------------
  charges: "What overdraft costs",
  chargesMonth: "Month",
  chargesOf: (name: string, amount: string, isOver: boolean) =>
    isOver ? `${name} costs ${amount}.` : `${name} costs ${amount} so far.`,
  chargesAhead: (name: string, amount: string, expected: string) =>
    `${name} costs ${amount} so far, and about ${expected} by its end if use goes on as now.`,
  noCharges: (name: string, isOver: boolean) =>
    isOver ? `${name} costs nothing.` : `${name} costs nothing so far.`,
  chargesFinal: "This month is over: the amounts are final.",
  chargesNotFinal: "The month is not over, or its history not complete: the amounts may change.",
  chargeExpected: (amount: string) => `About ${amount} by the end of the month.`,
  chargeMinimum: "This is the minimum of a month that costs anything.",
  chargeUse: (day: string, used: number, purchased: number) =>
    `${day}: ${count(used)} used, ${count(purchased)} bought`,
  chargeIncrease: (day: string, used: number, purchased: number, before: number) =>
    `${day}: ${count(used)} used in all, ${count(purchased)} bought; before this month ${count(before)}`,
  chargeFree: (free: number) => `${count(free)} free`,
  chargedBefore: (quantity: number) => `${count(quantity)} charged before`,
  moreSteps: (number: number) => counted(number, "more step", "more steps"),
  decisions: { billed: "billed", waived: "waived", disputed: "disputed" },

  // --- The graph -------------------------------------------------------------------------------
  useOverTime: "Use over time",
  graphShows: "What the graph shows",
  range: "Range",
  ranges: ["24 hours", "7 days", "30 days", "12 months"] as [string, string, string, string],
  moveAndZoom: "Move and zoom",
  earlier: "Earlier",
  later: "Later",
  zoomIn: "Zoom in",
  zoomOut: "Zoom out",
  asTable: "As a table",
  asTableLabel: "Use over time as a table",
  graphFailed: "The graph could not be read. Retrying …",
  graph: (summary: string) => `Graph. ${summary}`,
  nothingKnown: "No data for this period.",
  highestOfWeek: ", highest of each week",
  wanted: "Demand",
  turnedAwayKey: "Turned away",
  columns: {
    from: "From",
    lowest: "Lowest",
    highest: "Highest",
    closing: "At the end",
    attempts: "Attempts denied",
    attemptsInHour: "Attempts denied in the hour",
    people: "People denied",
    peopleInHour: "People denied in the hour",
    requests: "Requests denied",
    requestsInHour: "Requests denied in the hour",
  },
  momentUnknown: (when: string) => `${when}: no data`,
  momentUse: (when: string, low: number, high: number, isUsage: boolean) =>
    `${when}: ${low === high ? count(high) : `${count(low)} to ${count(high)}`} ${isUsage ? "used" : "in use"}`,
  momentPurchased: (number: number) => `${count(number)} purchased`,
  momentCap: (cap: number | null) => (cap === null ? "no hard cap" : `hard cap ${count(cap)}`),
  momentDenied: (tries: number, who: number | null, isUsage: boolean, isByDay: boolean) =>
    `${attempts(tries)}${who === null ? "" : ` of ${isUsage ? requests(who) : people(who)}`} denied${isByDay ? "" : " within the hour"}`,
  summary: (when: string, most: number, tries: number, isUsage: boolean) =>
    `${when}: ${most ? `up to ${count(most)}` : "none"} ${isUsage ? "used" : "in use"}, ${tries ? `${counted(tries, "attempt was", "attempts were")} denied` : "nobody was denied"}.`,

  // --- Who holds a seat ------------------------------------------------------------------------
  holders: "Who holds a seat",
  seatsHeld: "Seats held",
  search: "Search by name, id or device",
  searchMany: "Search by the beginning of an id",
  searchLabel: "Search who holds a seat",
  held: (number: number) => `${seatsAre(number)} held.`,
  heldPage: (first: number, last: number, all: number) =>
    `${count(first)} to ${count(last)} of about ${counted(all, "seat", "seats")}.`,
  foundPage: (number: number) => `${counted(number, "seat is", "seats are")} found.`,
  match: (shown: number, all: number) =>
    `${count(shown)} of ${counted(all, "seat", "seats")} match.`,
  nobodyMatches: "Nobody matches.",
  nobodyHolds: "Nobody holds a seat.",
  previous: "Previous",
  next: "Next",
  readingRows: (number: number) => `Reading … ${count(number)}`,
  who: "Who",
  since: "Since",
  lastSeen: "Last seen",
  kind: "Kind",
  release: "Release",
  releaseOf: (who: string) => `Release the seat of ${who}`,
  thisHolder: "this holder",
  on: "on ",
  isOverdraft: "overdraft",
  isPurchased: "purchased",
  borrowedUntil: "borrowed until ",
  erased: "(erased)",
  hidden: (key: string) => `Person ${key.slice(0, 4)}`,
  namesHidden: "This link shows no names.",

  // --- Turned away -----------------------------------------------------------------------------
  turnedAway: "Turned away",
  csvByDay: "CSV by day",
  csvByPerson: "CSV by person",
  deniedSince: (number: number, tries: number, since: string, zone: string, isComplete: boolean) =>
    `${isComplete ? "" : "At least "}${people(number)}, ${attempts(tries)} since ${since} (${zone}).`,
  byDay: "By day",
  byPerson: "By person",
  byDayLabel: "Turned away by day",
  byPersonLabel: "Turned away by person",
  day: "Day",
  people: "People",
  attempts: "Attempts",
  showAll: (number: number) => `Show all ${count(number)}`,
  lastAt: (when: string) => `last on ${when}`,
  notEverybody: (number: number) =>
    `Not everybody is shown: of those who were denied last, the ${count(number)} who tried most often.`,

  // --- Questions -------------------------------------------------------------------------------
  cancel: "Cancel",
  close: "Close",
  releaseSeat: "Release this seat",
  releaseQuestion: ["The seat of ", " becomes free for somebody else."] as [string, string],
  releaseAbout:
    "Their software loses the seat at its next check-in, and can take a free one again.",
  released: "The seat was released.",
  requestSeats: "Request more seats",
  requestUsage: (key: string) => `Request more ${key}`,
  requestMore: "Request more",
  requestsLabel: "Requests for more",
  nobodyNotified: [
    "Nobody is notified automatically. Your request is kept here; please also write to ",
    ".",
  ] as [string, string],
  nobodyWasNotified: ["Your request is stored, but nobody was notified. Please write to ", "."] as [
    string,
    string,
  ],
  willNotify: ["We'll notify ", ", your account manager.", "."] as [string, string, string],
  notified: " has been notified and will answer you.",
  howManyMore: "How many more?",
  requester: "Your name or e-mail (optional, colleagues see it)",
  message: "Message (optional)",
  requested: (what: string, day: string, status: "open" | "answered" | "declined") =>
    ` requested ${what} on ${day}: ${{ open: "not answered yet", answered: "answered", declined: "declined" }[status]}`,
  moreSeats: (number: number) => counted(number, "more seat", "more seats"),
  moreOf: (quantity: number, key: string) => `${count(quantity)} more ${key}`,
  somebody: "Somebody",

  // --- What changed ----------------------------------------------------------------------------
  changed: "What changed",
  nothingChanged: "Nothing in the last 90 days.",
  thisLink: "Somebody with this link",
  yourSide: "Your organization",
  otherLink: "Somebody with another link",
  releasedSeatOf: [" released the seat of ", "."] as [string, string],
  didRequest: (who: string, what: string) => `${who} requested ${what}.`,
  declinedRequest: "declined a request for more",
  requestedTooOften: "You have already sent 10 requests in the last 24 hours.",
  erasedPerson: "a person whose data was erased",
  aPerson: "a person",
  did: (who: string, what: string, more: string) => `${who} ${what}${more ? `: ${more}` : ""}.`,
  corrected: (key: string, from: string, to: string) => ` corrected ${key}: ${from} → ${to}.`,
  unlimited: "unlimited",
  removed: "removed",
  overdraftOf: (from: string, to: string) => `overdraft ${from} → ${to}`,
  members: {
    seatCount: "seats bought",
    overdraftSeatLimit: "overdraft seats",
    validFrom: "start",
    validUntil: "end",
    leasePeriod: "time until an idle seat is free again",
    customerCap: "own cap",
    overdraftLeasePeriod: "time until an idle overdraft seat is free again",
    timeZone: "time zone",
    status: "status",
  } as Record<string, string>,
  verbs: {
    "entitlement.created": "set up the license",
    "entitlement.updated": "changed the license",
    "entitlement.deleted": "ended the license",
    "person.erased": "erased a person's data",
    "portal_link.created": "created a portal link",
    "portal_link.revoked": "revoked a portal link",
    "seat_request.updated": "answered a request for more",
  } as Record<string, string>,
};

export type Messages = typeof en;
