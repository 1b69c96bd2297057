// Was die Seite auf Deutsch sagt.

import { count, counted, plural } from "../format";
import type { Messages } from "./en";

const seats = (number: number) => counted(number, "Platz", "Plätze");
const people = (number: number) => counted(number, "Person", "Personen");
const attempts = (number: number) => counted(number, "Versuch", "Versuche");
const requests = (number: number) => counted(number, "Anfrage", "Anfragen");
const isOr = (number: number) => plural(number, "ist", "sind");
const wasOr = (number: number) => plural(number, "wurde", "wurden");

export const de: Messages = {
  loading: "Wird geladen …",
  vendor: "Ihr Anbieter",
  footer: (zone, until) => `Alle Zeiten in ${zone}. Dieser Link gilt bis ${until}.`,
  stale: (moment) =>
    `Der Dienst ist gerade nicht erreichbar. Das ist der Stand von ${moment}. Neuer Versuch …`,
  unreachable: "Der Dienst ist gerade nicht erreichbar. Neuer Versuch …",
  failed: "Etwas ist schiefgegangen.",
  noAnswer: "Der Dienst war nicht erreichbar.",
  tooManyRequests: "Zu viele Anfragen. Bitte versuchen Sie es später noch einmal.",
  linkExpired: "Dieser Link ist abgelaufen",
  linkUnknown: "Dieser Link funktioniert nicht",
  linkRevoked: (newLink) => `Er wurde widerrufen oder nicht vollständig kopiert. ${newLink}`,
  newLink: (vendor) =>
    vendor === de.vendor
      ? "Bitten Sie Ihren Anbieter um einen neuen."
      : `Bitten Sie ${vendor} um einen neuen.`,
  gone: "Hier ist nichts mehr",
  noLink: "Öffnen Sie den Link, den Sie bekommen haben",
  aboutLink: "Diese Seite zeigt allen, die einen Link dazu haben, wie eine Lizenz genutzt wird.",
  license: "Lizenznutzung",
  csv: "CSV",

  state: "Aktueller Stand",
  seats: "Plätze",
  inUse: "Belegt",
  used: "Verbraucht",
  purchased: "Gekauft",
  overdraft: "Überziehung",
  hardCap: "Obergrenze",
  none: "keine",
  meter: (name, used, purchased, hardCap) =>
    `${name}: ${count(used)} genutzt, ${count(purchased)} gekauft, ${hardCap === null ? "keine Obergrenze" : `Obergrenze ${count(hardCap)}`}`,
  deniedOn: (number, when) => `${people(number)} ${wasOr(number)} ${when} abgewiesen.`,
  today: "heute",
  yesterday: "gestern",
  onDate: (date) => `am ${date}`,
  nobodyDenied: "In den letzten 30 Tagen wurde niemand abgewiesen.",
  denied: (number, tries, isComplete) =>
    `In den letzten 30 Tagen ${wasOr(number)} ${isComplete ? "" : "mindestens "}${people(number)} abgewiesen (${attempts(tries)}).`,
  allWithin: "Alles liegt im Rahmen Ihrer Lizenz.",
  moreReached: (number) =>
    `${counted(number, "weiteres Kontingent ist", "weitere Kontingente sind")} erreicht, siehe unten.`,
  limitFull: (key, cap) =>
    `${key}: Alle ${count(cap)} sind verbraucht. Weitere Anfragen werden abgelehnt.`,
  limitOver: (key, { used, overdraftUsed, purchased }) =>
    `${key}: ${count(used)} verbraucht, ${count(overdraftUsed)} mehr als die gekauften ${count(purchased)}.`,
  limitReached: (key, purchased) => `${key}: Alle gekauften ${count(purchased)} sind verbraucht.`,
  seatsFull: (cap) =>
    `${plural(cap, "Der einzige Platz ist", `Alle ${count(cap)} Plätze sind`)} belegt. Weitere Personen werden abgewiesen.`,
  seatsFullOver: (cap, over, purchased) =>
    `${plural(cap, "Der einzige Platz ist", `Alle ${count(cap)} Plätze sind`)} belegt, ${count(over)} mehr als die gekauften ${count(purchased)}. Weitere Personen werden abgewiesen.`,
  seatsOver: (used, over, purchased) =>
    `${seats(used)} ${isOr(used)} belegt: ${count(over)} mehr als die gekauften ${count(purchased)}.`,
  seatsReached: (purchased) =>
    `${plural(purchased, "Der gekaufte Platz ist", `Alle ${count(purchased)} gekauften Plätze sind`)} belegt.`,
  seatsWithin: (used, purchased) =>
    `${count(used)} von ${counted(purchased, "Platz", "Plätzen")} ${isOr(purchased === 1 ? 1 : used)} belegt.`,
  noUpperLimit: "Es gibt keine Obergrenze: Weitere Plätze werden als Überziehungsplätze vergeben.",
  free: (free, over) =>
    `${seats(free)} ${isOr(free)} frei${over ? `, dazu ${counted(over, "Überziehungsplatz", "Überziehungsplätze")}` : ""}.`,
  freeUnlimited: (free) =>
    `${seats(free)} ${isOr(free)} frei. Es gibt keine Obergrenze: Weitere Plätze werden als Überziehungsplätze vergeben.`,
  overdraftLeft: (over) =>
    `${counted(over, "Überziehungsplatz ist", "Überziehungsplätze sind")} noch frei. ${plural(over, "Er funktioniert", "Sie funktionieren")} wie jeder andere Platz, und Ihr Anbieter sieht, dass Sie ${plural(over, "ihn", "sie")} nutzen.`,
  seatsCapped: (used, cap) =>
    used > cap
      ? `${seats(used)} ${isOr(used)} belegt, mehr als die Grenze von ${count(cap)}, die Ihre Organisation gesetzt hat. Weitere Personen werden abgewiesen.`
      : `${seats(used)} ${isOr(used)} belegt: Das ist die Grenze, die Ihre Organisation gesetzt hat. Weitere Personen werden abgewiesen.`,
  capHolds: (cap) =>
    `Weitere Personen werden abgewiesen: Ihre Organisation hat eine Grenze von ${count(cap)} gesetzt.`,
  limitCapped: (key, cap) =>
    `${key}: Die Grenze von ${count(cap)}, die Ihre Organisation gesetzt hat, ist erreicht. Weitere Anfragen werden abgelehnt.`,
  ownCap: (cap) => `Ihre Organisation hat eine Grenze von ${count(cap)} gesetzt.`,
  ownCapFigure: "Eigene Grenze",
  setCap: "Eigene Grenze setzen",
  setCapOf: (key) => `Eigene Grenze setzen: ${key}`,
  capAbout: (hardCap, isLimit) =>
    `${isLimit ? "An Ihrer eigenen Grenze werden weitere Anfragen abgelehnt." : "An Ihrer eigenen Grenze bekommt niemand mehr einen Platz. Wer einen Platz hat, behält ihn."}${hardCap === null ? "" : ` Die Grenze kann höchstens ${count(hardCap)} sein.`} Ihr Anbieter sieht sie.`,
  capNumber: "Grenze (leer: keine eigene)",
  capSet: (cap) =>
    cap === null ? "Es gibt keine eigene Grenze mehr." : `Die Grenze ist jetzt ${count(cap)}.`,
  capTooOften:
    "Die Grenze wurde in einer Stunde zehnmal geändert. Bitte versuchen Sie es später noch einmal.",
  overdraftUntil: (end) => `Bis ${end} können Sie mehr nutzen, als Sie gekauft haben.`,
  overdraftEnded: (end) =>
    `Die Zeit, mehr zu nutzen, als Sie gekauft haben, endete am ${end}. Wer einen Platz hat, behält ihn; andere bekommen einen, sobald weniger belegt sind, als Sie gekauft haben.`,
  limitOverdraftEnded: (end) =>
    `Die Zeit, mehr zu nutzen, als Sie gekauft haben, endete am ${end}: Weitere Anfragen werden abgelehnt.`,
  overdraftAgain: (day) =>
    `Bleibt die Nutzung im Rahmen des Gekauften, ist ab ${day} wieder mehr möglich.`,
  term: (from, until, tense) => {
    if (tense === "will") return `Gültig ${until ? `vom ${from} bis ${until}` : `ab ${from}`}.`;
    if (tense === "was") return `War gültig ${from ? `vom ${from} ` : ""}bis ${until}.`;
    if (from && until) return `Gültig vom ${from} bis ${until}.`;
    return `${from ? `Gültig seit ${from}` : "Gültig"}${until ? ` bis ${until}` : ", ohne Enddatum"}.`;
  },
  suspended: (vendor) =>
    `Diese Lizenz ist ausgesetzt. Sie kann erst wieder genutzt werden, wenn ${vendor} sie freigibt.`,
  expired: (on) =>
    `Diese Lizenz ist${on ? ` am ${on}` : ""} abgelaufen. Sie kann nicht mehr genutzt werden.`,
  notYetValid: (on) =>
    `Diese Lizenz beginnt${on ? ` am ${on}` : " später"}. Vorher kann sie nicht genutzt werden.`,
  deleted: (vendor) => `${vendor} hat diese Lizenz beendet.`,
  badges: {
    suspended: "Ausgesetzt",
    expired: "Abgelaufen",
    not_yet_valid: "Noch nicht gültig",
    deleted: "Beendet",
    other: "Nicht in Kraft",
    full: "Voll",
    over: "In Überziehung",
    reached: "An der Grenze",
    turnedAway: "Personen abgewiesen",
    within: "Im Rahmen Ihrer Lizenz",
  },
  badgeOf: (name, stands) => `${name}: ${stands.charAt(0).toLowerCase()}${stands.slice(1)}`,

  usageLimits: "Kontingente",
  searchLimits: "Nach Schlüssel suchen",
  noLimit: "Kein Kontingent hat diesen Text im Schlüssel.",
  moreLimits: (number) => `${count(number)} weitere, alle deutlich unter der gekauften Menge`,
  neverResets: "Gesamtmenge, ohne Zurücksetzung",
  resets: (day) => `wird am ${day} zurückgesetzt`,
  thisMonth: "in diesem Monat",
  sinceRenewal: "seit der letzten Verlängerung",
  requestsDenied: (number, tries, quantity) =>
    `In den letzten 30 Tagen ${wasOr(number)} ${requests(number)} über ${number === 1 ? "" : "zusammen "}${count(quantity)} abgelehnt (${attempts(tries)}).`,

  charges: "Was Überziehung kostet",
  chargesMonth: "Monat",
  chargesOf: (name, amount, isOver) =>
    isOver ? `${name} kostet ${amount}.` : `${name} kostet bisher ${amount}.`,
  chargesAhead: (name, amount, expected) =>
    `${name} kostet bisher ${amount}, bis zum Ende etwa ${expected}, wenn es so weitergeht.`,
  noCharges: (name, isOver) =>
    isOver ? `${name} kostet nichts.` : `${name} kostet bisher nichts.`,
  chargesFinal: "Dieser Monat ist vorbei: Die Beträge sind endgültig.",
  chargesNotFinal:
    "Der Monat ist nicht vorbei oder sein Verlauf nicht vollständig: Die Beträge können sich ändern.",
  chargeExpected: (amount) => `Bis zum Ende des Monats etwa ${amount}.`,
  chargeMinimum: "Das ist der Mindestbetrag eines Monats, der etwas kostet.",
  chargeUse: (day, used, purchased) =>
    `${day}: ${count(used)} genutzt, ${count(purchased)} gekauft`,
  chargeIncrease: (day, used, purchased, before) =>
    `${day}: ${count(used)} insgesamt genutzt, ${count(purchased)} gekauft; vor diesem Monat ${count(before)}`,
  chargeFree: (free) => `${count(free)} frei`,
  chargedBefore: (quantity) => `${count(quantity)} schon berechnet`,
  moreSteps: (number) => counted(number, "weiterer Schritt", "weitere Schritte"),
  decisions: { billed: "berechnet", waived: "erlassen", disputed: "strittig" },

  forecast: "Wann wird es knapp?",
  notEnough: "Noch nicht genug Daten.",
  needs: (known, needed, unit) =>
    `Bisher ${count(known)} von ${count(needed)} ganzen ${unit === "weeks" ? "Wochen" : "Tagen"}.`,
  basedOnWeeks: (known, withDenied) =>
    `Auf Grundlage der Spitzen der letzten ${counted(known, "Woche", "Wochen")}${withDenied ? ", mit den abgewiesenen Personen" : ""}.`,
  basedOnDays: (known, withDenied) =>
    `Auf Grundlage des Verbrauchs der letzten ${counted(known, "Tags", "Tage")}${withDenied ? ", mit dem, was abgelehnt wurde" : ""}.`,
  weekly: (pace, low, high) => `Etwa ${pace} je Woche (${low} bis ${high}).`,
  weeklyPeak: (pace, low, high, sign) =>
    sign
      ? `Die Wochenspitze ${sign > 0 ? "steigt" : "fällt"} um etwa ${pace} je Woche (${low} bis ${high}).`
      : `Die Wochenspitze bleibt gleich (${low} bis ${high} je Woche).`,
  whatYouBought: (limit) => `Die gekaufte Menge (${count(limit)})`,
  theMaximum: (limit) => `Die Obergrenze (${count(limit)})`,
  withinAYear: "innerhalb eines Jahres",
  before: (day) => `vor dem ${day}`,
  isReached: (what) => `${what} ist erreicht.`,
  wasReached: (what) => `${what} wurde in den letzten sieben Tagen erreicht.`,
  notExpected: (what, within, earliest) =>
    `${what} wird voraussichtlich ${within} nicht erreicht${earliest ? `; bei der schnellsten Entwicklung der letzten Zeit etwa am ${earliest}` : ""}.`,
  expected: (what, date, low, high) =>
    `${what} wird etwa am ${date} erreicht (frühestens ${low ?? "bald"}, spätestens ${high ?? "vielleicht nie"}).`,

  useOverTime: "Nutzung im Lauf der Zeit",
  graphShows: "Was das Diagramm zeigt",
  range: "Zeitraum",
  ranges: ["24 Stunden", "7 Tage", "30 Tage", "12 Monate"],
  moveAndZoom: "Verschieben und vergrößern",
  earlier: "Früher",
  later: "Später",
  zoomIn: "Vergrößern",
  zoomOut: "Verkleinern",
  asTable: "Als Tabelle",
  asTableLabel: "Nutzung im Lauf der Zeit als Tabelle",
  graphFailed: "Das Diagramm konnte nicht gelesen werden. Neuer Versuch …",
  graph: (summary) => `Diagramm. ${summary}`,
  nothingKnown: "Für diesen Zeitraum gibt es keine Daten.",
  wanted: "Bedarf",
  highestOfWeek: ", Höchstwert je Woche",
  turnedAwayKey: "Abgewiesen",
  columns: {
    from: "Ab",
    lowest: "Kleinster Wert",
    highest: "Größter Wert",
    closing: "Am Ende",
    attempts: "Abgewiesene Versuche",
    attemptsInHour: "Abgewiesene Versuche in der Stunde",
    people: "Abgewiesene Personen",
    peopleInHour: "Abgewiesene Personen in der Stunde",
    requests: "Abgelehnte Anfragen",
    requestsInHour: "Abgelehnte Anfragen in der Stunde",
  },
  momentUnknown: (when) => `${when}: keine Daten`,
  momentUse: (when, low, high, isUsage) =>
    `${when}: ${low === high ? count(high) : `${count(low)} bis ${count(high)}`} ${isUsage ? "verbraucht" : "belegt"}`,
  momentPurchased: (number) => `${count(number)} gekauft`,
  momentCap: (cap) => (cap === null ? "keine Obergrenze" : `Obergrenze ${count(cap)}`),
  momentDenied: (tries, who, isUsage, isByDay) =>
    `${attempts(tries)}${who === null ? "" : ` von ${isUsage ? requests(who) : people(who)}`} ${isUsage ? "abgelehnt" : "abgewiesen"}${isByDay ? "" : " in dieser Stunde"}`,
  summary: (when, most, tries, isUsage) =>
    `${when}: Spitze ${count(most)} ${isUsage ? "verbraucht" : "belegt"}, ${tries ? `${attempts(tries)} abgewiesen` : "niemand abgewiesen"}.`,

  holders: "Belegte Plätze",
  seatsHeld: "Belegte Plätze",
  search: "Nach Name, Kennung oder Gerät suchen",
  searchMany: "Nach dem Anfang einer Kennung suchen",
  searchLabel: "Suchen, wer einen Platz hat",
  held: (number) => `${seats(number)} ${isOr(number)} belegt.`,
  heldPage: (first, last, all) =>
    `${count(first)} bis ${count(last)} von etwa ${counted(all, "Platz", "Plätzen")}.`,
  foundPage: (number) => `${seats(number)} gefunden.`,
  match: (shown, all) => `${count(shown)} von ${counted(all, "Platz", "Plätzen")} passen.`,
  nobodyMatches: "Niemand passt dazu.",
  nobodyHolds: "Niemand hat einen Platz.",
  previous: "Zurück",
  next: "Weiter",
  readingRows: (number) => `Wird gelesen … ${count(number)}`,
  who: "Wer",
  since: "Seit",
  lastSeen: "Zuletzt gesehen",
  kind: "Art",
  release: "Freigeben",
  releaseOf: (who) => `Den Platz von ${who} freigeben`,
  thisHolder: "dieser Person",
  on: "auf ",
  isOverdraft: "Überziehung",
  isPurchased: "gekauft",
  borrowedUntil: "ausgeliehen bis ",
  erased: "(gelöscht)",
  hidden: (key) => `Person ${key.slice(0, 4)}`,
  namesHidden: "Dieser Link zeigt keine Namen.",

  turnedAway: "Abgewiesen",
  csvByDay: "CSV je Tag",
  csvByPerson: "CSV je Person",
  deniedSince: (number, tries, since, zone, isComplete) =>
    `${isComplete ? "" : "Mindestens "}${people(number)}, ${attempts(tries)} seit ${since} (${zone}).`,
  byDay: "Nach Tag",
  byPerson: "Nach Person",
  byDayLabel: "Abgewiesen nach Tag",
  byPersonLabel: "Abgewiesen nach Person",
  day: "Tag",
  people: "Personen",
  attempts: "Versuche",
  showAll: (number) => `Alle ${count(number)} zeigen`,
  lastAt: (when) => `zuletzt ${when}`,
  notEverybody: (number) =>
    `Nicht alle werden gezeigt: von den zuletzt Abgewiesenen die ${count(number)}, die es am häufigsten versucht haben.`,

  cancel: "Abbrechen",
  close: "Schließen",
  releaseSeat: "Diesen Platz freigeben",
  releaseQuestion: ["Der Platz von ", " wird für jemand anderen frei."],
  releaseAbout:
    "Die Software dieser Person verliert den Platz, wenn sie sich das nächste Mal meldet, und kann wieder einen freien nehmen.",
  released: "Der Platz wurde freigegeben.",
  requestSeats: "Mehr Plätze anfragen",
  requestUsage: (key) => `Mehr anfragen: ${key}`,
  requestMore: "Mehr anfragen",
  requestsLabel: "Anfragen nach mehr",
  nobodyNotified: [
    "Niemand wird automatisch benachrichtigt. Ihre Anfrage bleibt hier gespeichert; bitte schreiben Sie auch hierhin: ",
    ".",
  ],
  nobodyWasNotified: [
    "Ihre Anfrage ist gespeichert, aber niemand wurde benachrichtigt. Bitte schreiben Sie hierhin: ",
    ".",
  ],
  willNotify: ["Benachrichtigt wird: ", ", zuständig für Ihre Lizenz.", "."],
  notified: " wurde benachrichtigt und wird Ihnen antworten.",
  howManyMore: "Wie viele mehr?",
  requester: "Ihr Name oder Ihre E-Mail-Adresse (optional, für Kollegen sichtbar)",
  message: "Nachricht (optional)",
  requested: (what, day, status) =>
    ` hat am ${day} ${what} angefragt: ${{ open: "noch nicht beantwortet", answered: "beantwortet", declined: "abgelehnt" }[status]}`,
  moreSeats: (number) => counted(number, "weiteren Platz", "weitere Plätze"),
  moreOf: (quantity, key) => `${count(quantity)} weitere ${key}`,
  somebody: "Jemand",

  changed: "Was sich geändert hat",
  nothingChanged: "Nichts in den letzten 90 Tagen.",
  thisLink: "Jemand mit diesem Link",
  yourSide: "Ihre Organisation",
  otherLink: "Jemand mit einem anderen Link",
  releasedSeatOf: [": Platz von ", " freigegeben."],
  didRequest: (who, what) => `${who}: ${what} angefragt.`,
  declinedRequest: "Anfrage abgelehnt",
  requestedTooOften: "Sie haben in den letzten 24 Stunden schon 10 Anfragen gesendet.",
  erasedPerson: "einer Person, deren Daten gelöscht wurden",
  aPerson: "einer Person",
  did: (who, what, more) => `${who}: ${what}${more ? ` (${more})` : ""}.`,
  corrected: (key, from, to) => `: ${key} berichtigt, ${from} → ${to}.`,
  unlimited: "unbegrenzt",
  removed: "entfernt",
  overdraftOf: (from, to) => `Überziehung ${from} → ${to}`,
  members: {
    seatCount: "gekaufte Plätze",
    overdraftSeatLimit: "Überziehungsplätze",
    validFrom: "Beginn",
    validUntil: "Ende",
    leasePeriod: "Zeit, bis ein ungenutzter Platz wieder frei ist",
    customerCap: "eigene Grenze",
    overdraftLeasePeriod: "Zeit, bis ein ungenutzter Überziehungsplatz wieder frei ist",
    timeZone: "Zeitzone",
    status: "Status",
  },
  verbs: {
    "entitlement.created": "Lizenz eingerichtet",
    "entitlement.updated": "Lizenz geändert",
    "entitlement.deleted": "Lizenz beendet",
    "person.erased": "Daten einer Person gelöscht",
    "portal_link.created": "Portal-Link erstellt",
    "portal_link.revoked": "Portal-Link widerrufen",
    "seat_request.updated": "Anfrage beantwortet",
  },
};
