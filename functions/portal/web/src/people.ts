// Who holds a seat, and who was turned away.

import {
  type Denials,
  type HeldSeat,
  type Portal,
  readSeatPage,
  readSeats,
  type SeatPage,
} from "./api";
import { now } from "./clock";
import { download } from "./csv";
import { csvButton, fill, h, isolated, quoted } from "./dom";
import { count, date, folded, localTime, moment, zoneName } from "./format";
import { t } from "./messages";

const name = (seatName: string | null, seatId: string | null) =>
  seatName
    ? [quoted(seatName), seatId ? h("small", {}, quoted(seatId)) : null]
    : [quoted(seatId ?? t.erased)];

const head = (...titles: string[]) =>
  h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title))));

// So long a name may take to follow from the stream, at the worst; then the person was erased.
const NAME_MS = 120_000;

/** Whether the name of a seat just taken has not come yet. */
export function isNameless(seat: HeldSeat): boolean {
  return seat.seatId === null && now() - Date.parse(seat.activatedAt) < NAME_MS;
}

/** From so many seats on, the service searches and divides them into pages. */
const MANY = 300;
const PAGE = 50;
/** So many rows are in sight at first; a button shows the others. */
const IN_SIGHT = 25;
/** So long nobody types before the service is asked. */
const TYPING_MS = 400;

/** The seats held, searchable; an admin may release one. */
export class Holders {
  readonly element: HTMLElement;
  private seats: HeldSeat[] | null = null;
  private portal: Portal;
  private shown = "";
  private asked = 0;
  // Of many seats: where each page begins that was read, which one is shown, and what was read.
  private starts: (string | null)[] = [null];
  private pageNumber = 0;
  private page: SeatPage | null = null;
  private typing = 0;
  private showsAll = false;
  private readonly body = h("div", { class: "scroll" }, h("p", { class: "empty" }, t.loading));
  private readonly found = h("p", { class: "soft", role: "status" });
  private readonly search = h("input", {
    type: "search",
    id: "search",
    "aria-label": t.searchLabel,
    autocomplete: "off",
    maxlength: 256,
    oninput: () => this.onSearch(),
  });
  private readonly previous = h(
    "button",
    { type: "button", onclick: () => void this.turn(-1) },
    t.previous,
  );
  private readonly next = h("button", { type: "button", onclick: () => void this.turn(1) }, t.next);
  private readonly pages = h("div", { class: "tools", hidden: true }, this.previous, this.next);
  private readonly csv = csvButton(() => void this.save());

  constructor(
    portal: Portal,
    private readonly onRelease: (seat: HeldSeat) => void,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.portal = portal;
    this.element = h(
      "section",
      { class: "card wide", id: "holders", "aria-labelledby": "holders-title" },
      h("h2", { id: "holders-title" }, t.holders),
      h("div", { class: "tools" }, portal.hidesNames ? null : this.search, this.csv),
      portal.hidesNames ? h("p", { class: "soft" }, t.namesHidden) : null,
      this.found,
      this.body,
      this.pages,
    );
    this.body.tabIndex = 0;
    this.body.setAttribute("role", "region");
    this.body.setAttribute("aria-label", t.seatsHeld);
  }

  private get areMany(): boolean {
    return (this.portal.seats?.used ?? 0) > MANY;
  }

  /** Read who holds a seat; whether a name has not come yet. Of many, the page that is shown. */
  async read(portal: Portal): Promise<boolean> {
    this.portal = portal;
    const number = ++this.asked;
    const areMany = this.areMany;
    this.search.placeholder = areMany ? t.searchMany : t.search;
    const page = areMany
      ? await readSeatPage(PAGE, this.starts[this.pageNumber] ?? null, this.wanted())
      : null;
    const seats = page?.items ?? (await readSeats());
    // A slow answer must not bring back who has gone meanwhile.
    if (number !== this.asked) return false;
    this.page = page;
    this.show(seats);
    return seats.some(isNameless);
  }

  private wanted(): string {
    return this.portal.hidesNames ? "" : this.search.value.trim();
  }

  private onSearch(): void {
    if (!this.areMany) {
      this.draw();
      return;
    }
    clearTimeout(this.typing);
    this.typing = window.setTimeout(() => {
      this.starts = [null];
      this.pageNumber = 0;
      void this.readAgain();
    }, TYPING_MS);
  }

  private async turn(step: number): Promise<void> {
    const wanted = this.pageNumber + step;
    if (wanted < 0) return;
    if (step > 0) this.starts[wanted] = this.page?.nextPageToken ?? null;
    this.pageNumber = wanted;
    await this.readAgain();
    this.body.scrollTop = 0;
  }

  private async readAgain(): Promise<void> {
    try {
      await this.read(this.portal);
    } catch (error) {
      this.onFailure(error);
    }
  }

  private show(seats: HeldSeat[]): void {
    const key = JSON.stringify([seats, this.pageNumber, this.page?.nextPageToken === null]);
    if (key === this.shown) return; // whoever reads it, or is about to press a button, is left alone
    this.shown = key;
    this.seats = this.page
      ? seats
      : seats.sort((a, b) => b.activatedAt.localeCompare(a.activatedAt));
    this.draw();
  }

  private matching(): HeldSeat[] {
    if (this.page) return this.seats ?? [];
    const wanted = folded(this.wanted());
    return (this.seats ?? []).filter(
      (seat) =>
        !wanted ||
        [seat.seatId, seat.seatName, ...Object.values(seat.attributes)].some((text) =>
          folded(text ?? "").includes(wanted),
        ),
    );
  }

  /** How many are shown, of how many. */
  private countOf(shown: number): string {
    const all = this.seats?.length ?? 0;
    if (this.page) {
      if (this.wanted()) return t.foundPage(shown);
      const first = this.pageNumber * PAGE;
      return shown ? t.heldPage(first + 1, first + shown, this.portal.seats?.used ?? shown) : "";
    }
    if (!all) return "";
    return shown === all ? t.held(all) : t.match(shown, all);
  }

  private draw(): void {
    if (!this.seats) return;
    const shown = this.matching();
    this.found.textContent = this.countOf(shown.length);
    this.pages.hidden = !this.page || (!this.pageNumber && this.page.nextPageToken === null);
    this.previous.disabled = this.pageNumber === 0;
    this.next.disabled = !this.page?.nextPageToken;
    if (!shown.length) {
      const text = this.seats.length || this.wanted() ? t.nobodyMatches : t.nobodyHolds;
      fill(this.body, h("p", { class: "empty" }, text));
      return;
    }
    const inSight = this.showsAll || this.page ? shown : shown.slice(0, IN_SIGHT);
    const isAdmin = this.portal.role === "admin";
    const focused = document.activeElement?.closest<HTMLElement>("[data-activation]")?.dataset;
    fill(
      this.body,
      h(
        "table",
        // On a phone its parts are no table to the browser any more: the roles stay.
        { role: "table" },
        head(t.who, t.since, t.lastSeen, t.kind, ...(isAdmin ? [t.release] : [])),
        h("tbody", { role: "rowgroup" }, ...inSight.map((seat) => this.row(seat, isAdmin))),
      ),
      inSight.length < shown.length
        ? h(
            "button",
            {
              type: "button",
              class: "quiet",
              onclick: () => {
                this.showsAll = true;
                this.draw();
              },
            },
            t.showAll(shown.length),
          )
        : null,
    );
    if (focused?.activation)
      this.body
        .querySelector<HTMLElement>(`[data-activation="${focused.activation}"] button`)
        ?.focus();
  }

  private who(seat: HeldSeat): (Node | string | null)[] {
    if (this.portal.hidesNames) return [t.hidden(seat.seatKey)];
    return isNameless(seat) ? ["…"] : name(seat.seatName, seat.seatId);
  }

  private row(seat: HeldSeat, isAdmin: boolean): HTMLElement {
    const device = seat.attributes.device;
    const button = h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": t.releaseOf(isolated(seat.seatName ?? seat.seatId ?? t.thisHolder)),
        onclick: () => this.onRelease(seat),
      },
      t.release,
    );
    return h(
      "tr",
      { role: "row", "data-activation": seat.activationId },
      h(
        "th",
        { role: "rowheader", scope: "row", class: "who" },
        ...this.who(seat),
        device ? h("small", {}, t.on, quoted(device)) : null,
      ),
      h("td", { role: "cell", "data-label": t.since }, moment(seat.activatedAt)),
      h("td", { role: "cell", "data-label": t.lastSeen }, moment(seat.lastSeenAt)),
      h(
        "td",
        { role: "cell" },
        h(
          "span",
          { class: seat.isOverdraftSeat ? "tag over" : "tag" },
          seat.isOverdraftSeat ? t.isOverdraft : t.isPurchased,
        ),
        seat.isBorrowed && seat.leaseExpiry
          ? h("small", {}, t.borrowedUntil, moment(seat.leaseExpiry))
          : null,
      ),
      isAdmin ? h("td", { role: "cell", class: "action" }, button) : null,
    );
  }

  /** Of many seats, every page is read first, unless some are searched for. */
  private async save(): Promise<void> {
    let seats = this.matching();
    if (this.page && !this.wanted()) {
      this.csv.disabled = true;
      try {
        seats = await readSeats((number) => {
          this.csv.textContent = t.readingRows(number);
        });
      } catch (error) {
        this.onFailure(error);
        return;
      } finally {
        this.csv.disabled = false;
        this.csv.textContent = t.csv;
      }
    }
    const time = (at: string | null) => (at === null ? null : localTime(at));
    download("seats", [
      [
        "seatId",
        "seatName",
        "device",
        "activatedAt",
        "lastSeenAt",
        "leaseExpiry",
        "isOverdraftSeat",
        "isBorrowed",
        "seatKey",
      ],
      ...seats.map((seat) => [
        seat.seatId,
        seat.seatName,
        seat.attributes.device ?? null,
        time(seat.activatedAt),
        time(seat.lastSeenAt),
        time(seat.leaseExpiry),
        String(seat.isOverdraftSeat),
        String(seat.isBorrowed),
        seat.seatKey,
      ]),
    ]);
  }
}

/** So many rows are in sight; a button shows the others. */
const ROWS = 10;

/** A table of which the first rows are in sight, and the button that shows the others. */
function rowsOf(label: string, titles: HTMLElement, rows: HTMLElement[]): HTMLElement[] {
  const table = h("table", { "aria-label": label }, titles, h("tbody", {}, ...rows));
  const others = rows.slice(ROWS);
  if (others.length < 2) return [table];
  for (const each of others) each.hidden = true;
  const button = h(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        for (const each of others) each.hidden = false;
        button.remove();
      },
    },
    t.showAll(rows.length),
  );
  return [table, button];
}

/** Who was turned away, by day and by person. */
export class TurnedAway {
  readonly element: HTMLElement;
  private denials: Denials | null = null;
  private readonly body = h("div", {}, h("p", { class: "empty" }, t.loading));

  constructor(private readonly hidesNames: boolean) {
    this.element = h(
      "section",
      { class: "card", id: "denials", "aria-labelledby": "denials-title" },
      h("h2", { id: "denials-title" }, t.turnedAway),
      h(
        "div",
        { class: "tools" },
        csvButton(() => this.saveDays(), t.csvByDay),
        csvButton(() => this.save(), t.csvByPerson),
      ),
      this.body,
    );
  }

  show(denials: Denials): void {
    const before = this.denials;
    this.denials = denials;
    if (before && JSON.stringify({ ...before, to: "" }) === JSON.stringify({ ...denials, to: "" }))
      return;
    if (!denials.attempts) {
      fill(this.body, h("p", { class: "empty" }, t.nobodyDenied));
      return;
    }
    const most = Math.max(...denials.days.map((each) => each.attempts));
    const days = denials.days.map((each) => {
      const bar = h("span", { class: "bar", "aria-hidden": "true" });
      bar.style.setProperty("--share", String(each.attempts / most));
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, date(each.date)),
        h("td", { class: "n" }, each.people === null ? "–" : count(each.people)),
        h("td", { class: "n" }, count(each.attempts)),
        h("td", { class: "bars" }, bar),
      );
    });
    const people = denials.persons.map((each) =>
      h(
        "tr",
        {},
        h(
          "th",
          { scope: "row", class: "who" },
          ...(this.hidesNames ? [t.hidden(each.seatKey)] : name(each.seatName, each.seatId)),
          h("small", {}, t.lastAt(moment(each.lastAt))),
        ),
        h("td", { class: "n" }, count(each.attempts)),
      ),
    );
    const isCut = !denials.isComplete || denials.people > denials.persons.length;
    fill(
      this.body,
      h(
        "p",
        { class: "soft" },
        t.deniedSince(
          denials.people,
          denials.attempts,
          moment(denials.from),
          zoneName(),
          denials.isComplete,
        ),
      ),
      h("h3", {}, t.byDay),
      ...rowsOf(t.byDayLabel, head(t.day, t.people, t.attempts, ""), days.reverse()),
      h("h3", {}, t.byPerson),
      ...rowsOf(t.byPersonLabel, head(t.who, t.attempts), people),
      isCut ? h("p", { class: "soft" }, t.notEverybody(denials.persons.length)) : null,
    );
  }

  private saveDays(): void {
    if (!this.denials) return;
    const rows = this.denials.days.map((each) => [each.date, each.people, each.attempts]);
    download("turned-away-by-day", [["date", "people", "attempts"], ...rows]);
  }

  private save(): void {
    if (!this.denials) return;
    download("turned-away", [
      ["seatId", "seatName", "attempts", "firstAt", "lastAt", "seatKey"],
      ...this.denials.persons.map((each) => [
        each.seatId,
        each.seatName,
        each.attempts,
        localTime(each.firstAt),
        localTime(each.lastAt),
        each.seatKey,
      ]),
    ]);
  }
}
