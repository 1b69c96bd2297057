// The portal: reads the token of the link, shows what it opens, and keeps it up to date.

import "uplot/dist/uPlot.min.css";
import "./colors.css";
import "./graph.css";
import "../style.css";
import {
  type Denials,
  Failure,
  type Forecast,
  type Portal,
  readDenials,
  readForecast,
  readGraph,
  readPortal,
  readRequests,
  type SeatRequest,
  token,
  type UsageLimit,
  type Use,
} from "./api";
import { changesSection } from "./changes";
import { Charges } from "./charges";
import { applyAccent } from "./color";
import { download, nameFilesAfter } from "./csv";
import { askForCap, askForMore, askRelease } from "./dialogs";
import { csvButton, fill, h, isolated, quoted, vendorName } from "./dom";
import { count, localTime, moment, setZone, zoneName } from "./format";
import { UseGraph } from "./graph";
import { locale } from "./language";
import { speak, t } from "./messages";
import { Holders, TurnedAway } from "./people";
import {
  badgeOf,
  byTrouble,
  capOf,
  clockOf,
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
// So long after the last touch of a pointer or a key the page is idle, and then waits so long between
// two requests.
const IDLE_AFTER_MS = 120_000;
const IDLE_MS = 20_000;
const FORECAST_MS = 15 * 60_000;
// With more usage limits than these, they can be searched.
const LIMITS_SEARCHED = 8;
// So many usage limits are in sight, and all that need attention; the others are folded.
const LIMITS_OPEN = 6;
const REQUESTS_SHOWN = 5;

const main = document.getElementById("main") as HTMLElement;
const footer = document.getElementById("footer") as HTMLElement;
const { vendor = "", accent = "" } = document.documentElement.dataset;

/** The horizontal picture of used, purchased, overdraft and cap. */
function meter(use: Use, name: string): HTMLElement {
  const full = Math.max(use.hardCap ?? Math.max(use.used, use.purchased) * 1.2, use.used, 1);
  const share = (value: number) => String(Math.min(1, value / full));
  const within = Math.min(use.used, use.purchased);
  const element = h(
    "div",
    {
      class: "meter",
      role: "img",
      "aria-label": t.meter(name, use.used, use.purchased, use.hardCap),
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

function figures(use: Use, used: string, customerCap: number | null): HTMLElement {
  const figure = (name: string, value: string, kind = "") =>
    h("div", { class: kind }, h("dt", {}, name), h("dd", {}, value));
  return h(
    "dl",
    { class: "figures" },
    figure(used, count(use.used), "used"),
    figure(t.purchased, count(use.purchased)),
    figure(t.overdraft, count(use.overdraftUsed), use.overdraftUsed ? "over" : ""),
    figure(t.hardCap, use.hardCap === null ? t.none : count(use.hardCap)),
    customerCap === null ? null : figure(t.ownCapFigure, count(customerCap)),
  );
}

/** Whether more may be requested here: of a license that is over, or not begun, nothing is. */
const mayRequest = ({ status }: Portal) => status === "active" || status === "suspended";

/** A usage limit: its period, its meter, its figures, what was refused, its forecast. */
function limitBlock(
  limit: UsageLimit,
  onAsk: (() => void) | null,
  onCap: (() => void) | null,
): HTMLElement {
  return h(
    "div",
    { class: "limit", "data-key": limit.key },
    h("h3", {}, limit.key, h("small", {}, ` ${periodOf(limit.resetSchedule, limit.periodEnd)}`)),
    meter(limit.usage, limit.key),
    figures(limit.usage, t.used, limit.customerCap),
    limit.customerCap !== null && h("p", { class: "soft" }, capOf(limit.customerCap)),
    limit.overdraft && h("p", { class: "soft" }, clockOf(limit.overdraft, true)),
    h("p", { "data-denied": limit.key, hidden: true }),
    h("p", { class: "soft", "data-forecast": limit.key }),
    onAsk &&
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": t.requestUsage(limit.key),
          "data-ask": limit.key,
          onclick: onAsk,
        },
        t.requestMore,
      ),
    onCap &&
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": t.setCapOf(limit.key),
          "data-cap": limit.key,
          onclick: onCap,
        },
        t.setCap,
      ),
  );
}

function usageRows(limits: UsageLimit[]): (string | number | null)[][] {
  const rows = limits.map(({ key, usage, periodStart, periodEnd }) => [
    key,
    usage.used,
    usage.purchased,
    usage.hardCap,
    usage.overdraftUsed,
    localTime(periodStart),
    periodEnd && localTime(periodEnd),
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
    "aria-label": t.state,
  });
  private readonly usage = h("section", { class: "card wide", "aria-labelledby": "usage-title" });
  private readonly forecast = h(
    "section",
    { class: "card", id: "forecast", "aria-labelledby": "forecast-title" },
    h("h2", { id: "forecast-title" }, t.forecast),
    h("p", { class: "soft" }, t.loading),
  );
  private readonly holders: Holders;
  private readonly turnedAway: TurnedAway;
  private readonly graph: UseGraph;
  private readonly charges: Charges | null;
  private readonly stale = h("p", { class: "problem wide", role: "status", hidden: true });
  private denials: Denials | null = null;
  private requests: SeatRequest[] = [];
  private showsAllRequests = false;
  private drawnState = "";
  private timers: number[] = [];
  private isStopped = false;
  private hasDenied = true;
  private hasMoved = true;
  readonly shape: string;
  private refreshed = 0;
  private forecastAt = 0;

  constructor(private portal: Portal) {
    this.shape = Page.shapeOf(portal);
    this.turnedAway = new TurnedAway(portal.hidesNames);
    this.holders = new Holders(
      portal,
      (seat) =>
        askRelease(this.portal, seat, () => {
          this.hasMoved = true;
          this.catchUp();
          wake(); // the figures above follow at once, too
        }),
      fail,
    );
    nameFilesAfter(portal.customer, portal.product);
    const meters = [...(portal.seats ? [null] : []), ...portal.usage.map((limit) => limit.key)];
    this.graph = new UseGraph(meters, readGraph, fail);
    this.charges = portal.showsCharges ? new Charges(portal, fail) : null;
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
        this.charges?.element,
        portal.seats ? this.forecast : null,
        portal.seats ? this.turnedAway.element : null,
        portal.seats ? this.holders.element : null,
        changesSection(portal, fail),
      ),
    );
    const product = isolated(portal.product);
    document.title = vendor ? `${product} · ${isolated(vendor)}` : product;
    fill(footer, h("p", {}, t.footer(zoneName(), moment(portal.expiresAt))));
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
      portal.showsCharges,
      limits,
    ]);
  }

  /** Nothing more is read. */
  stop(): void {
    this.isStopped = true;
    for (const timer of this.timers) clearTimeout(timer);
  }

  /** Show a newer state. Unless `isQuiet`, whatever follows from it is read again. */
  update(portal: Portal, isQuiet: boolean): void {
    const hasChanged = portal.version !== this.portal.version;
    // The last part of the version is what was denied today, the second what the seats' page is at.
    const [before, after] = [this.portal.version.split("."), portal.version.split(".")];
    this.hasDenied ||= before[3] !== after[3];
    this.hasMoved ||= before[1] !== after[1];
    this.portal = portal;
    this.stale.hidden = true;
    this.show(portal);
    if (isQuiet) return;
    if (hasChanged) this.catchUp();
    else if (Date.now() - this.refreshed > REFRESH_MS) void this.refresh(true);
    else if (this.hasMoved) void this.refresh();
  }

  /** Say that what is shown may be old. */
  isStale(): void {
    this.stale.textContent = t.stale(moment(this.portal.asOf));
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
      portal.overdraft,
      portal.customerCap,
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
      seats ? meter(seats, t.seats) : null,
      seats ? figures(seats, t.inUse, portal.customerCap) : null,
      h("p", { class: "soft", id: "room" }, roomOf(portal)),
      h("p", { class: "soft", id: "term" }, termOf(portal)),
      this.denials ? h("p", { id: "denied" }, deniedOf(this.denials)) : null,
      seats && mayRequest(portal)
        ? h(
            "button",
            {
              type: "button",
              class: "main",
              id: "ask",
              onclick: () =>
                askForMore(this.portal, null, () => void this.readRequests().catch(fail)),
            },
            t.requestSeats,
          )
        : null,
      seats && mayRequest(portal) && portal.role === "admin"
        ? h(
            "button",
            {
              type: "button",
              class: "quiet",
              id: "cap",
              onclick: () => askForCap(this.portal, null, () => this.readState()),
            },
            t.setCap,
          )
        : null,
      ...this.requestList(),
    );
    if (wasAsking) document.getElementById("ask")?.focus();
    if (portal.usage.length) this.showUsage(portal.usage);
  }

  /** Read how it stands at once, after something was changed here. */
  private readState(): void {
    void readPortal().then((portal) => this.update(portal, false), fail);
  }

  /** The requests: open ones first, some in sight, a button for the others. */
  private requestList(): HTMLElement[] {
    const isOpen = ({ status }: SeatRequest) => Number(status === "open");
    const isDeleted = this.portal.status === "deleted";
    // Nobody answers a request any more once the license was ended.
    const those = this.requests.filter((each) => !(isDeleted && isOpen(each)));
    const sorted = those.sort((a, b) => isOpen(b) - isOpen(a));
    if (!sorted.length) return [];
    const shown = this.showsAllRequests ? sorted : sorted.slice(0, REQUESTS_SHOWN);
    const all = () => {
      this.showsAllRequests = true;
      this.drawnState = "";
      this.show(this.portal);
    };
    return [
      h(
        "ul",
        { id: "requests", class: "soft", "aria-label": t.requestsLabel },
        ...shown.map((each) => h("li", {}, ...requestOf(each))),
      ),
      ...(shown.length < sorted.length
        ? [h("button", { type: "button", class: "quiet", onclick: all }, t.showAll(sorted.length))]
        : []),
    ];
  }

  private showUsage(limits: UsageLimit[]): void {
    const sorted = byTrouble(limits);
    const urgent = sorted.filter(({ usage }) => troubleOf(usage) > 0).length;
    const open = Math.max(LIMITS_OPEN, urgent);
    // One that would be folded alone is shown.
    const folded = sorted.length - open > 1 ? sorted.slice(open) : [];
    const asking = document.activeElement?.getAttribute("data-ask");
    const block = (limit: UsageLimit) =>
      limitBlock(
        limit,
        !mayRequest(this.portal)
          ? null
          : () => askForMore(this.portal, limit, () => void this.readRequests().catch(fail)),
        !mayRequest(this.portal) || this.portal.role !== "admin"
          ? null
          : () => askForCap(this.portal, limit, () => this.readState()),
      );
    const isSearching = document.activeElement === this.limitSearch;
    const wasOpen = this.usage.querySelector<HTMLDetailsElement>("details")?.open ?? false;
    fill(
      this.usage,
      h("h2", { id: "usage-title" }, t.usageLimits),
      h(
        "div",
        { class: "tools" },
        limits.length > LIMITS_SEARCHED ? this.limitSearch : null,
        csvButton(() => download("usage", usageRows(limits))),
      ),
      ...sorted.slice(0, sorted.length - folded.length).map(block),
      folded.length
        ? h(
            "details",
            {
              class: "folded",
              open: wasOpen,
              ontoggle: () => void this.readLimitForecasts().catch(fail),
            },
            h("summary", {}, t.moreLimits(folded.length)),
            ...folded.map(block),
          )
        : null,
      this.noLimit,
    );
    if (isSearching) this.limitSearch.focus();
    this.filterLimits();
    if (asking)
      this.usage.querySelector<HTMLElement>(`[data-ask="${CSS.escape(asking)}"]`)?.focus();
    this.showUsageForecasts();
  }

  // Whether only the search has opened what is folded.
  private isOpenToSearch = false;
  private readonly limitSearch = h("input", {
    type: "search",
    id: "limit-search",
    placeholder: t.searchLimits,
    "aria-label": t.searchLimits,
    oninput: () => this.filterLimits(),
  });
  private readonly noLimit = h("p", { class: "empty", hidden: true, role: "status" }, t.noLimit);

  /** Show the usage limits whose key has the text that is searched for. */
  private filterLimits(): void {
    const text = this.limitSearch.value.trim().toLowerCase();
    let found = 0;
    for (const each of this.usage.querySelectorAll<HTMLElement>(".limit[data-key]")) {
      each.hidden = !each.dataset.key?.toLowerCase().includes(text);
      if (!each.hidden) found++;
    }
    this.noLimit.hidden = found > 0;
    const folded = this.usage.querySelector<HTMLDetailsElement>("details");
    if (!folded) return;
    const summary = folded.querySelector("summary");
    if (summary) summary.hidden = text !== "";
    if (text && !folded.open) this.isOpenToSearch = true;
    if (text || this.isOpenToSearch) folded.open = text !== "";
    if (!text) this.isOpenToSearch = false;
  }

  private readonly denialsOf = new Map<string, Denials>();
  private readonly forecasts = new Map<string, Forecast>();

  private reading: Promise<void> | null = null;

  /** Read the forecasts and denials of the limits in sight that are not known yet; once at a time. */
  private readLimitForecasts(): Promise<void> {
    this.reading ??= this.readMissing().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  private async readMissing(): Promise<void> {
    const isOpen = this.usage.querySelector<HTMLDetailsElement>("details")?.open ?? false;
    const inSight = [...this.usage.querySelectorAll<HTMLElement>("[data-forecast]")].filter(
      (place) => isOpen || !place.closest("details"),
    );
    for (const place of inSight) {
      const key = place.dataset.forecast ?? "";
      if (!this.forecasts.has(key)) this.forecasts.set(key, await readForecast(key));
      if (!this.denialsOf.has(key)) this.denialsOf.set(key, await readDenials(key));
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
    for (const place of this.usage.querySelectorAll<HTMLElement>("[data-denied]")) {
      const denials = this.denialsOf.get(place.dataset.denied ?? "");
      place.hidden = !denials?.attempts;
      if (denials)
        place.textContent = t.requestsDenied(
          denials.people,
          denials.attempts,
          denials.quantity ?? 0,
        );
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
    if (this.hasDenied && this.portal.usage.length) this.denialsOf.clear();
    await this.refreshPeople(isDue);
    if (Date.now() - this.forecastAt > FORECAST_MS) {
      this.forecastAt = Date.now();
      await this.readForecasts();
    } else await this.readLimitForecasts().catch(fail);
  }

  /** Read who was turned away and who holds a seat, where that may have changed. */
  private async refreshPeople(isDue: boolean): Promise<void> {
    const wanted: Promise<void>[] = [];
    if (isDue) wanted.push(this.readRequests());
    if (!this.portal.seats) this.hasMoved = this.hasDenied = false;
    else if (isDue || this.hasDenied) {
      this.hasDenied = false;
      wanted.push(this.readTurnedAway());
    }
    if (this.portal.seats && (isDue || this.hasMoved)) {
      this.hasMoved = false;
      wanted.push(this.readHolders());
    }
    for (const result of await Promise.allSettled(wanted)) {
      if (result.status === "fulfilled") continue;
      this.hasDenied = true;
      this.hasMoved = true;
      fail(result.reason);
    }
  }

  private async readTurnedAway(): Promise<void> {
    this.denials = await readDenials();
    this.turnedAway.show(this.denials);
    this.show(this.portal);
  }

  private async readHolders(): Promise<void> {
    const isIncomplete = await this.holders.read(this.portal);
    this.hasMoved ||= isIncomplete;
  }

  /** What is read while nobody does anything here: one thing at a time. */
  async readOne(number: number): Promise<void> {
    const readers = [() => this.graph.load(), () => this.readRequests()];
    if (this.portal.seats)
      readers.push(
        () => this.readTurnedAway(),
        () => this.readHolders(),
      );
    await readers[number % readers.length]?.();
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
          h("h2", { id: "forecast-title" }, t.forecast),
          ...sentences.map((sentence, n) => h("p", { class: n ? "" : "strong" }, sentence)),
          h("p", { class: "soft" }, basis),
        );
      }
      this.forecasts.clear();
      this.denialsOf.clear();
      await this.charges?.read();
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

const newLink = t.newLink(vendorName());

/** What a failure means for the page. */
function fail(error: unknown): void {
  if (isOver) return;
  const failure = error instanceof Failure ? error : null;
  if (failure?.kind === "link-expired") end(t.linkExpired, newLink);
  else if (failure?.kind === "unauthorized") end(t.linkUnknown, t.linkRevoked(newLink));
  else if (failure?.kind === "not-found") end(t.gone, newLink);
  else {
    wait = Math.min(Math.max(wait * 2, (failure?.retryAfter ?? 0) * 1000), LONGEST_WAIT_MS);
    if (page) page.isStale();
    else fill(main, h("p", { class: "lead", role: "status" }, t.unreachable));
    if (!failure) console.error(error);
  }
}

async function look(isQuiet: boolean): Promise<void> {
  try {
    const portal = await readPortal();
    if (isOver) return;
    wait = POLL_MS;
    setZone(portal.timeZone);
    if (page?.shape === Page.shapeOf(portal)) page.update(portal, isQuiet);
    else {
      page?.stop();
      page = new Page(portal);
    }
  } catch (error) {
    fail(error);
  }
}

let touched = Date.now();
const isIdle = () => Date.now() - touched > IDLE_AFTER_MS;
let wake = () => {};

/** Somebody does something here: what they see is brought up to date at once. */
function touch(): void {
  const wasIdle = isIdle();
  touched = Date.now();
  if (wasIdle) wake();
}

/** While nobody does anything: one request at a time, three a minute. */
async function lookIdly(step: number): Promise<void> {
  if (!page || step % 2 === 0) return look(true);
  try {
    await page.readOne((step - 1) / 2);
  } catch (error) {
    fail(error);
  }
}

/** Look, wait, look again; not while nobody sees it. */
async function watch(): Promise<void> {
  for (let step = 0; !isOver; step++) {
    const wasIdle = isIdle();
    if (!document.hidden) await (wasIdle ? lookIdly(step) : look(false));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(done, isIdle() ? Math.max(wait, IDLE_MS) : wait);
      function done(): void {
        clearTimeout(timer);
        document.removeEventListener("visibilitychange", done);
        resolve();
      }
      wake = done;
      document.addEventListener("visibilitychange", done);
    });
  }
}

for (const kind of ["pointermove", "pointerdown", "keydown", "scroll", "focus"])
  addEventListener(kind, touch, { capture: true, passive: true });
applyAccent(accent);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => applyAccent(accent));
addEventListener("hashchange", () => location.reload());
await speak();
document.documentElement.lang = locale;
document.title = t.license;
if (location.pathname.endsWith("/embed")) {
  document.body.classList.add("embedded");
  // The page around the frame may give it the height that it needs. Nobody else learns from this.
  new ResizeObserver(() => {
    const height = Math.ceil(document.documentElement.getBoundingClientRect().height);
    parent.postMessage({ type: "overdraft:height", height }, "*");
  }).observe(document.documentElement);
}
if (token()) void watch();
else end(t.noLink, t.aboutLink);
