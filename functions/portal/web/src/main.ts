// The portal: reads the token of the link, shows what it opens, and keeps it up to date.

import "uplot/dist/uPlot.min.css";
import "../style.css";
import {
  type Denials,
  Failure,
  type Forecast,
  type Portal,
  readDenials,
  readForecast,
  readPortal,
  readRequests,
  readSeats,
  type SeatRequest,
  token,
  type UsageLimit,
  type Use,
} from "./api";
import { changesSection } from "./changes";
import { applyAccent } from "./color";
import { download } from "./csv";
import { askForMore, askRelease } from "./dialogs";
import { csvButton, fill, h, isolated, quoted, vendorName } from "./dom";
import { count, moment, setZone, zoneName } from "./format";
import { UseGraph } from "./graph";
import { Holders, isNameless, TurnedAway } from "./people";
import {
  badgeOf,
  byTrouble,
  deniedOf,
  forecastOf,
  headlineOf,
  periodOf,
  requestOf,
  roomOf,
  stateOf,
  termOf,
  troubleOf,
} from "./words";

const POLL_MS = 4_000;
const LONGEST_WAIT_MS = 60_000;
// History follows from the stream, a moment after what it tells of.
const HISTORY_MS = [700, 2_500];
const REFRESH_MS = 60_000;
const FORECAST_MS = 15 * 60_000;
// So many usage limits are in sight, and all that need attention; the others are folded.
const LIMITS_OPEN = 6;

const main = document.getElementById("main") as HTMLElement;
const footer = document.getElementById("footer") as HTMLElement;
const { vendor = "", accent = "" } = document.documentElement.dataset;

/** The horizontal picture of used, purchased, overdraft and cap. */
function meter(use: Use, name: string): HTMLElement {
  const full = Math.max(use.hardCap ?? Math.max(use.used, use.purchased) * 1.2, use.used, 1);
  const share = (value: number) => String(Math.min(1, value / full));
  const within = Math.min(use.used, use.purchased);
  const cap = use.hardCap === null ? "no hard cap" : `hard cap ${count(use.hardCap)}`;
  const element = h(
    "div",
    {
      class: "meter",
      role: "img",
      "aria-label": `${name}: ${count(use.used)} used, ${count(use.purchased)} purchased, ${cap}`,
    },
    h("span", { class: "allowed" }),
    h("span", { class: "within" }),
    h("span", { class: "over" }),
    h("span", { class: "mark" }),
  );
  element.style.setProperty("--within", share(within));
  element.style.setProperty("--used", share(use.used));
  element.style.setProperty("--purchased", share(use.purchased));
  return element;
}

function figures(use: Use, used: string): HTMLElement {
  const figure = (name: string, value: string, kind = "") =>
    h("div", { class: kind }, h("dt", {}, name), h("dd", {}, value));
  return h(
    "dl",
    { class: "figures" },
    figure(used, count(use.used), "used"),
    figure("Purchased", count(use.purchased)),
    figure("Overdraft", count(use.overdraftUsed), use.overdraftUsed ? "over" : ""),
    figure("Hard cap", use.hardCap === null ? "none" : count(use.hardCap)),
  );
}

/** A usage limit: its period, its meter, its figures, its forecast. */
function limitBlock(limit: UsageLimit): HTMLElement {
  return h(
    "div",
    { class: "limit", "data-key": limit.key },
    h("h3", {}, limit.key, h("small", {}, ` ${periodOf(limit.resetSchedule, limit.periodEnd)}`)),
    meter(limit.usage, limit.key),
    figures(limit.usage, "Used"),
    h("p", { class: "soft", "data-forecast": limit.key }),
  );
}

function usageRows(limits: UsageLimit[]): (string | number | null)[][] {
  const rows = limits.map(({ key, usage, periodStart, periodEnd }) => [
    key,
    usage.used,
    usage.purchased,
    usage.hardCap,
    usage.overdraftUsed,
    periodStart,
    periodEnd,
  ]);
  return [
    ["key", "used", "purchased", "hardCap", "overdraftUsed", "periodStart", "periodEnd"],
    ...rows,
  ];
}

/** Everything that is shown once the link has opened. */
class Page {
  private readonly state = h("section", {
    class: "card wide state",
    "aria-label": "How it stands",
  });
  private readonly usage = h("section", { class: "card wide", "aria-labelledby": "usage-title" });
  private readonly forecast = h(
    "section",
    { class: "card", id: "forecast", "aria-labelledby": "forecast-title" },
    h("h2", { id: "forecast-title" }, "When will it run out?"),
    h("p", { class: "soft" }, "Loading …"),
  );
  private readonly holders: Holders;
  private readonly turnedAway = new TurnedAway();
  private readonly graph: UseGraph;
  private readonly stale = h("p", { class: "problem wide", role: "status", hidden: true });
  private denials: Denials | null = null;
  private requests: SeatRequest[] = [];
  private drawnState = "";
  private timers: number[] = [];
  private isStopped = false;
  private hasDenied = true;
  private asked = 0;
  private hasMoved = true;
  readonly shape: string;
  private refreshed = 0;
  private forecastAt = 0;

  constructor(private portal: Portal) {
    this.shape = Page.shapeOf(portal);
    this.holders = new Holders((seat) =>
      askRelease(this.portal, seat, () => {
        this.hasMoved = true;
        this.catchUp();
      }),
    );
    const meters = [...(portal.seats ? [null] : []), ...portal.usage.map((limit) => limit.key)];
    this.graph = new UseGraph(meters, fail);
    fill(
      main,
      h(
        "div",
        { class: "titles" },
        h("h1", {}, quoted(portal.product)),
        h(
          "p",
          { class: "soft" },
          quoted(portal.customer),
          portal.sku ? " · " : "",
          portal.sku ? quoted(portal.sku) : "",
        ),
      ),
      this.stale,
      h(
        "div",
        { class: "cards" },
        this.state,
        portal.usage.length ? this.usage : null,
        this.graph.element,
        portal.seats ? this.forecast : null,
        portal.seats ? this.turnedAway.element : null,
        portal.seats ? this.holders.element : null,
        changesSection(portal.entitlementId, fail),
      ),
    );
    const product = isolated(portal.product);
    document.title = vendor ? `${product} · ${isolated(vendor)}` : product;
    fill(
      footer,
      h("p", {}, `All times in ${zoneName()}. This link works until ${moment(portal.expiresAt)}.`),
    );
    this.show(portal);
    void this.graph.load();
    void this.refresh();
  }

  /** What the page is made of: when it is another, the page is made anew. */
  static shapeOf(portal: Portal): string {
    const { product, sku, customer, timeZone, role, accountOwner } = portal;
    const limits = portal.usage.map((limit) => limit.key);
    return JSON.stringify([
      product,
      sku,
      customer,
      timeZone,
      role,
      accountOwner,
      portal.seats === null,
      limits,
    ]);
  }

  /** Nothing more is read. */
  stop(): void {
    this.isStopped = true;
    for (const timer of this.timers) clearTimeout(timer);
  }

  /** Show a newer state; whatever follows from it is read again. */
  update(portal: Portal): void {
    const hasChanged = portal.version !== this.portal.version;
    // The last part of the version is what was denied today, the second what the seats' page is at.
    const [before, after] = [this.portal.version.split("."), portal.version.split(".")];
    this.hasDenied ||= before[3] !== after[3];
    this.hasMoved ||= before[1] !== after[1];
    this.portal = portal;
    this.stale.hidden = true;
    this.show(portal);
    if (hasChanged) this.catchUp();
    else if (Date.now() - this.refreshed > REFRESH_MS) void this.refresh(true);
    else if (this.hasMoved) void this.refresh();
  }

  /** Say that what is shown may be old. */
  isStale(): void {
    this.stale.textContent = `The service cannot be reached just now. These are the figures of ${moment(this.portal.asOf)}. Retrying …`;
    this.stale.hidden = false;
  }

  private show(portal: Portal): void {
    // Drawn only when it is another one: whoever reads or selects it is left alone.
    const key = JSON.stringify([
      portal.version,
      portal.status,
      portal.validFrom,
      portal.validUntil,
      portal.seats,
      portal.usage,
      this.denials && [this.denials.people, this.denials.attempts, this.denials.from],
      this.requests,
    ]);
    if (key === this.drawnState) return;
    this.drawnState = key;
    const wasAsking = document.activeElement?.id === "ask";
    const [kind, badge] = badgeOf(portal, this.denials);
    const headline = headlineOf(this.denials);
    const seats = portal.seats;
    fill(
      this.state,
      h("p", { class: `badge ${kind}` }, badge),
      headline ? h("p", { class: "lead", id: "headline" }, headline) : null,
      h("p", { class: headline ? "" : "lead", id: "state" }, stateOf(portal)),
      seats ? meter(seats, "Seats") : null,
      seats ? figures(seats, "In use") : null,
      h("p", { class: "soft", id: "room" }, roomOf(portal)),
      h("p", { class: "soft", id: "term" }, termOf(portal)),
      this.denials ? h("p", { id: "denied" }, deniedOf(this.denials)) : null,
      seats && portal.status !== "deleted"
        ? h(
            "button",
            {
              type: "button",
              class: "main",
              id: "ask",
              onclick: () => askForMore(this.portal, () => void this.readRequests()),
            },
            "Request more seats",
          )
        : null,
      this.requests.length
        ? h(
            "ul",
            { id: "requests", class: "soft", "aria-label": "Requests for more seats" },
            ...this.requests.map((each) => h("li", {}, ...requestOf(each))),
          )
        : null,
    );
    if (wasAsking) document.getElementById("ask")?.focus();
    if (portal.usage.length) this.showUsage(portal.usage);
  }

  private showUsage(limits: UsageLimit[]): void {
    const sorted = byTrouble(limits);
    const urgent = sorted.filter(({ usage }) => troubleOf(usage) > 0).length;
    const open = Math.max(LIMITS_OPEN, urgent);
    // One that would be folded alone is shown.
    const folded = sorted.length - open > 1 ? sorted.slice(open) : [];
    const wasOpen = this.usage.querySelector<HTMLDetailsElement>("details")?.open ?? false;
    fill(
      this.usage,
      h("h2", { id: "usage-title" }, "Usage limits"),
      h(
        "div",
        { class: "tools" },
        csvButton(() => download("usage.csv", usageRows(limits))),
      ),
      ...sorted.slice(0, sorted.length - folded.length).map(limitBlock),
      folded.length
        ? h(
            "details",
            {
              class: "folded",
              open: wasOpen,
              ontoggle: () => void this.readLimitForecasts().catch(fail),
            },
            h("summary", {}, `${count(folded.length)} more, all well within what you bought`),
            ...folded.map(limitBlock),
          )
        : null,
    );
    this.showUsageForecasts();
  }

  private readonly forecasts = new Map<string, Forecast>();

  /** Read the forecasts of the limits in sight that are not known yet. */
  private async readLimitForecasts(): Promise<void> {
    const isOpen = this.usage.querySelector<HTMLDetailsElement>("details")?.open ?? false;
    const inSight = [...this.usage.querySelectorAll<HTMLElement>("[data-forecast]")].filter(
      (place) => isOpen || !place.closest("details"),
    );
    for (const place of inSight) {
      const key = place.dataset.forecast ?? "";
      if (!this.forecasts.has(key)) this.forecasts.set(key, await readForecast(key));
    }
    this.showUsageForecasts();
  }

  private showUsageForecasts(): void {
    for (const place of this.usage.querySelectorAll<HTMLElement>("[data-forecast]")) {
      const forecast = this.forecasts.get(place.dataset.forecast ?? "");
      if (!forecast) continue;
      const end = this.portal.usage.find((limit) => limit.key === forecast.usageKey)?.periodEnd;
      const { sentences, basis } = forecastOf(forecast, end ?? null);
      place.textContent = [...sentences, basis].join(" ");
    }
  }

  /** What changed becomes history a moment later: read it then, and once more. */
  private catchUp(): void {
    for (const timer of this.timers) clearTimeout(timer);
    this.timers = HISTORY_MS.map((wait) => window.setTimeout(() => void this.refresh(true), wait));
  }

  private async refresh(withGraph = false): Promise<void> {
    if (this.isStopped) return;
    const isDue = Date.now() - this.refreshed > REFRESH_MS;
    if (isDue) this.refreshed = Date.now();
    if (withGraph) void this.graph.load();
    if (this.portal.seats) await this.refreshPeople(isDue);
    if (Date.now() - this.forecastAt > FORECAST_MS) {
      this.forecastAt = Date.now();
      await this.readForecasts();
    }
  }

  /** Read who was turned away and who holds a seat, where that may have changed. */
  private async refreshPeople(isDue: boolean): Promise<void> {
    const wanted: Promise<void>[] = [];
    if (isDue) wanted.push(this.readRequests());
    if (isDue || this.hasDenied) {
      this.hasDenied = false;
      wanted.push(
        readDenials().then((denials) => {
          this.denials = denials;
          this.turnedAway.show(denials);
          this.show(this.portal);
        }),
      );
    }
    if (isDue || this.hasMoved) {
      this.hasMoved = false;
      const number = ++this.asked;
      wanted.push(
        readSeats().then((seats) => {
          // A slow answer must not bring back who has gone meanwhile.
          if (number !== this.asked) return;
          this.holders.show(seats, this.portal);
          this.hasMoved ||= seats.some(isNameless);
        }),
      );
    }
    for (const result of await Promise.allSettled(wanted)) {
      if (result.status === "fulfilled") continue;
      this.hasDenied = true;
      this.hasMoved = true;
      fail(result.reason);
    }
  }

  private async readRequests(): Promise<void> {
    this.requests = await readRequests(this.portal.entitlementId);
    this.show(this.portal);
  }

  private async readForecasts(): Promise<void> {
    try {
      if (this.portal.seats) {
        const { sentences, basis } = forecastOf(await readForecast(null), null);
        fill(
          this.forecast,
          h("h2", { id: "forecast-title" }, "When will it run out?"),
          ...sentences.map((sentence, n) => h("p", { class: n ? "" : "strong" }, sentence)),
          h("p", { class: "soft" }, basis),
        );
      }
      this.forecasts.clear();
      await this.readLimitForecasts();
    } catch (error) {
      this.forecastAt = 0;
      fail(error);
    }
  }
}

let page: Page | null = null;
let wait = POLL_MS;
let isOver = false;

/** A state in which nothing more can be shown. */
function end(title: string, text: string): void {
  isOver = true;
  page?.stop();
  page = null;
  document.title = title;
  for (const dialog of document.querySelectorAll("dialog")) dialog.remove();
  fill(
    main,
    h(
      "section",
      { class: "card over-and-out", role: "alert" },
      h("h1", {}, title),
      h("p", {}, text),
    ),
  );
  fill(footer);
}

const newLink = `Ask ${vendorName()} for a new one.`;

/** What a failure means for the page. */
function fail(error: unknown): void {
  if (isOver) return;
  const failure = error instanceof Failure ? error : null;
  if (failure?.kind === "link-expired") end("This link has expired", newLink);
  else if (failure?.kind === "unauthorized")
    end("This link does not work", `It was revoked or not copied in full. ${newLink}`);
  else if (failure?.kind === "not-found") end("There is nothing here any more", newLink);
  else {
    wait = Math.min(Math.max(wait * 2, (failure?.retryAfter ?? 0) * 1000), LONGEST_WAIT_MS);
    if (page) page.isStale();
    else
      fill(
        main,
        h(
          "p",
          { class: "lead", role: "status" },
          "The service cannot be reached just now. Retrying …",
        ),
      );
    if (!failure) console.error(error);
  }
}

async function look(): Promise<void> {
  try {
    const portal = await readPortal();
    if (isOver) return;
    wait = POLL_MS;
    setZone(portal.timeZone);
    if (page?.shape === Page.shapeOf(portal)) page.update(portal);
    else {
      page?.stop();
      page = new Page(portal);
    }
  } catch (error) {
    fail(error);
  }
}

/** Look, wait, look again; not while nobody sees it. */
async function watch(): Promise<void> {
  while (!isOver) {
    if (!document.hidden) await look();
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, wait);
      function done(): void {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", done);
        resolve();
      }
      document.addEventListener("visibilitychange", done);
    });
  }
}

applyAccent(accent);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyAccent(accent));
addEventListener("hashchange", () => location.reload());
document.documentElement.lang = "en";
if (location.pathname.endsWith("/embed")) document.body.classList.add("embedded");
if (token()) void watch();
else
  end(
    "Open the link that you were sent",
    "This page shows how a license is used, to whoever has a link to it.",
  );
