// Who holds a seat, and who was turned away.

import { type Denials, type HeldSeat, now, type Portal } from "./api";
import { download } from "./csv";
import { csvButton, fill, h, isolated, quoted } from "./dom";
import { count, counted, date, folded, moment, zoneName } from "./format";

const name = (seatName: string | null, seatId: string | null) =>
  seatName
    ? [quoted(seatName), seatId ? h("small", {}, quoted(seatId)) : null]
    : [quoted(seatId ?? "(erased)")];

const head = (...titles: string[]) =>
  h("thead", {}, h("tr", {}, ...titles.map((title) => h("th", { scope: "col" }, title))));

// So long a name may take to follow from the stream, at the worst; then the person was erased.
const NAME_MS = 120_000;

/** Whether the name of a seat just taken has not come yet. */
export function isNameless(seat: HeldSeat): boolean {
  return seat.seatId === null && now() - Date.parse(seat.activatedAt) < NAME_MS;
}

/** The seats held, searchable; an admin may release one. */
export class Holders {
  readonly element: HTMLElement;
  private seats: HeldSeat[] | null = null;
  private portal: Portal | null = null;
  private shown = "";
  private readonly body = h("div", { class: "scroll" }, h("p", { class: "empty" }, "Loading …"));
  private readonly found = h("p", { class: "soft", role: "status" });
  private readonly search = h("input", {
    type: "search",
    id: "search",
    placeholder: "Search by name, id or device",
    "aria-label": "Search who holds a seat",
    autocomplete: "off",
    maxlength: 256,
    oninput: () => this.draw(),
  });

  constructor(private readonly onRelease: (seat: HeldSeat) => void) {
    this.element = h(
      "section",
      { class: "card wide", id: "holders", "aria-labelledby": "holders-title" },
      h("h2", { id: "holders-title" }, "Who holds a seat"),
      h(
        "div",
        { class: "tools" },
        this.search,
        csvButton(() => this.save()),
      ),
      this.found,
      this.body,
    );
    this.body.tabIndex = 0;
    this.body.setAttribute("role", "region");
    this.body.setAttribute("aria-label", "Seats held");
  }

  show(seats: HeldSeat[], portal: Portal): void {
    const isSame = JSON.stringify(seats) === this.shown;
    this.portal = portal;
    if (isSame) return; // whoever reads it, or is about to press a button, is left alone
    this.shown = JSON.stringify(seats);
    this.seats = seats.sort((a, b) => b.activatedAt.localeCompare(a.activatedAt));
    this.draw();
  }

  private matching(): HeldSeat[] {
    const wanted = folded(this.search.value.trim());
    return (this.seats ?? []).filter((seat) =>
      [seat.seatId, seat.seatName, ...Object.values(seat.attributes)].some((text) =>
        folded(text ?? "").includes(wanted),
      ),
    );
  }

  private draw(): void {
    if (!this.seats) return;
    const shown = this.matching();
    const all = this.seats.length;
    this.found.textContent = !all
      ? ""
      : shown.length === all
        ? `${counted(all, "seat is", "seats are")} held.`
        : `${count(shown.length)} of ${counted(all, "seat", "seats")} match.`;
    if (!shown.length) {
      fill(this.body, h("p", { class: "empty" }, all ? "Nobody matches." : "Nobody holds a seat."));
      return;
    }
    const isAdmin = this.portal?.role === "admin";
    const focused = document.activeElement?.closest<HTMLElement>("[data-activation]")?.dataset;
    fill(
      this.body,
      h(
        "table",
        // On a phone its parts are no table to the browser any more: the roles stay.
        { role: "table" },
        head("Who", "Since", "Last seen", "Kind", ...(isAdmin ? ["Release"] : [])),
        h("tbody", { role: "rowgroup" }, ...shown.map((seat) => this.row(seat, isAdmin))),
      ),
    );
    if (focused?.activation)
      this.body
        .querySelector<HTMLElement>(`[data-activation="${focused.activation}"] button`)
        ?.focus();
  }

  private row(seat: HeldSeat, isAdmin: boolean): HTMLElement {
    const device = seat.attributes.device;
    const button = h(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Release the seat of ${isolated(seat.seatName ?? seat.seatId ?? "this holder")}`,
        onclick: () => this.onRelease(seat),
      },
      "Release",
    );
    return h(
      "tr",
      { role: "row", "data-activation": seat.activationId },
      h(
        "th",
        { role: "rowheader", scope: "row", class: "who" },
        ...(isNameless(seat) ? ["…"] : name(seat.seatName, seat.seatId)),
        device ? h("small", {}, "on ", quoted(device)) : null,
      ),
      h("td", { role: "cell", "data-label": "Since" }, moment(seat.activatedAt)),
      h("td", { role: "cell", "data-label": "Last seen" }, moment(seat.lastSeenAt)),
      h(
        "td",
        { role: "cell" },
        h(
          "span",
          { class: seat.isOverdraftSeat ? "tag over" : "tag" },
          seat.isOverdraftSeat ? "overdraft" : "purchased",
        ),
      ),
      isAdmin ? h("td", { role: "cell", class: "action" }, button) : null,
    );
  }

  private save(): void {
    download("seats.csv", [
      [
        "seatId",
        "seatName",
        "device",
        "activatedAt",
        "lastSeenAt",
        "leaseExpiry",
        "isOverdraftSeat",
      ],
      ...this.matching().map((seat) => [
        seat.seatId,
        seat.seatName,
        seat.attributes.device ?? null,
        seat.activatedAt,
        seat.lastSeenAt,
        seat.leaseExpiry,
        String(seat.isOverdraftSeat),
      ]),
    ]);
  }
}

/** Who was turned away, by day and by person. */
export class TurnedAway {
  readonly element: HTMLElement;
  private denials: Denials | null = null;
  private readonly body = h("div", {}, h("p", { class: "empty" }, "Loading …"));

  constructor() {
    this.element = h(
      "section",
      { class: "card", id: "denials", "aria-labelledby": "denials-title" },
      h("h2", { id: "denials-title" }, "Turned away"),
      h(
        "div",
        { class: "tools" },
        csvButton(() => this.saveDays(), "CSV by day"),
        csvButton(() => this.save(), "CSV by person"),
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
      fill(
        this.body,
        h("p", { class: "empty" }, `Nobody was turned away since ${moment(denials.from)}.`),
      );
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
        h("th", { scope: "row", class: "who" }, ...name(each.seatName, each.seatId)),
        h("td", { class: "n" }, count(each.attempts)),
        h("td", {}, moment(each.lastAt)),
      ),
    );
    const box = (label: string, table: HTMLElement) =>
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, table);
    const isCut = !denials.isComplete || denials.people > denials.persons.length;
    fill(
      this.body,
      h(
        "p",
        { class: "soft" },
        `${denials.isComplete ? "" : "At least "}${counted(denials.people, "person", "people")}, ${counted(denials.attempts, "attempt", "attempts")} since ${moment(denials.from)} (${zoneName()}).`,
      ),
      h("h3", {}, "By day"),
      box(
        "Turned away by day",
        h("table", {}, head("Day", "People", "Attempts", ""), h("tbody", {}, ...days.reverse())),
      ),
      h("h3", {}, "By person"),
      box(
        "Turned away by person",
        h("table", {}, head("Who", "Attempts", "Last"), h("tbody", {}, ...people)),
      ),
      isCut
        ? h(
            "p",
            { class: "soft" },
            `Not everybody is shown: of those who were denied last, the ${count(denials.persons.length)} who tried most often.`,
          )
        : null,
    );
  }

  private saveDays(): void {
    if (!this.denials) return;
    const rows = this.denials.days.map((each) => [each.date, each.people, each.attempts]);
    download("turned-away-by-day.csv", [["date", "people", "attempts"], ...rows]);
  }

  private save(): void {
    if (!this.denials) return;
    download("turned-away.csv", [
      ["seatId", "seatName", "attempts", "firstAt", "lastAt"],
      ...this.denials.persons.map((each) => [
        each.seatId,
        each.seatName,
        each.attempts,
        each.firstAt,
        each.lastAt,
      ]),
    ]);
  }
}
