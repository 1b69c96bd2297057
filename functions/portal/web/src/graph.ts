// The graph of use: against both limits as they were at the time, with denials.

import uPlot from "uplot";
import { type Graph, type Limits, now, readGraph } from "./api";
import { download } from "./csv";
import { csvButton, fill, h } from "./dom";
import { brief, count, counted, moment, range, styled, utcDay, zoneName } from "./format";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LENGTHS: Record<Graph["interval"], number> = { PT15M: HOUR / 4, PT1H: HOUR, P1D: DAY };
const RANGES: [name: string, length: number][] = [
  ["24 hours", DAY],
  ["7 days", 7 * DAY],
  ["30 days", 30 * DAY],
  ["12 months", 365 * DAY],
];
const SHORTEST = 2 * HOUR;
const LONGEST = 400 * DAY;

/** What is drawn: columns over `x`, seconds; each value holds until the next `x`. */
export interface Drawn {
  x: number[];
  used: (number | null)[];
  purchased: (number | null)[];
  hardCap: (number | null)[];
  isOver: boolean[];
}

function limitsAt(limits: Limits[], at: number): Limits | null {
  let found: Limits | null = null;
  for (const each of limits) if (Date.parse(each.from) <= at) found = each;
  return found;
}

/** Use by interval, and limits by the moment at which they changed. */
export function drawnOf(graph: Graph): Drawn {
  const length = LENGTHS[graph.interval];
  const start = Date.parse(graph.from);
  const end = Math.min(Date.parse(graph.to), Math.max(Date.parse(graph.asOf), start));
  const first = graph.limits[0] ? Date.parse(graph.limits[0].from) : end;
  const sections = new Map(graph.sections.map((each) => [Date.parse(each.from), each]));
  const starts = graph.highest.map((_, n) => start + n * length).filter((at) => at < end);
  const changes = graph.limits.map((each) => Date.parse(each.from));
  const within = (at: number) => at >= start && at < end;
  const moments = [
    ...new Set([...starts, ...[...changes, ...sections.keys()].filter(within), end]),
  ].sort((a, b) => a - b);
  const drawn: Drawn = { x: [], used: [], purchased: [], hardCap: [], isOver: [] };
  for (const at of moments) {
    const n = Math.min(Math.floor((at - start) / length), starts.length - 1);
    const section = sections.get(at - (at % LENGTHS.PT15M));
    const limits = limitsAt(graph.limits, at);
    drawn.x.push(at / 1000);
    // Before the first limits there was nothing that could be used.
    drawn.used.push(at < first ? null : (section?.highest ?? graph.highest[n] ?? null));
    drawn.purchased.push(limits?.purchased ?? null);
    drawn.hardCap.push(limits?.hardCap ?? null);
    const seconds = section ? section.overdraftSeconds : graph.overdraftSeconds[n];
    drawn.isOver.push(isSteady(graph, n) || (seconds ?? 0) > 0);
  }
  return drawn;
}

/** Whether limits stayed as they were within an interval: then what is above them is overdraft. */
function isSteady(graph: Graph, n: number): boolean {
  const length = LENGTHS[graph.interval];
  const start = Date.parse(graph.from) + n * length;
  return !graph.limits.some((each) => {
    const at = Date.parse(each.from);
    return at > start && at < start + length;
  });
}

const color = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The graph with its buttons, its readout, and the same as a table. */
export class UseGraph {
  readonly element: HTMLElement;
  private plot: uPlot | null = null;
  private graph: Graph | null = null;
  private usageKey: string | null;
  private length = DAY;
  private until: number | null = null; // null: now, and it moves on
  private asked = 0;
  private readonly frame = h("div", { class: "plot", id: "plot" });
  private readonly readout = h("p", { class: "readout", id: "readout" });
  private readonly problem = h("p", { class: "problem", role: "alert", hidden: true });
  private readonly rangeButtons: HTMLButtonElement[];
  private readonly table = h("div", { class: "scroll" });
  private readonly tableBox: HTMLDetailsElement;

  constructor(
    meters: (string | null)[],
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.usageKey = meters[0] ?? null;
    this.rangeButtons = RANGES.map(([name, length]) =>
      h("button", { type: "button", onclick: () => this.show(length, null) }, name),
    );
    const step = (text: string, title: string, act: () => void) =>
      h("button", { type: "button", "aria-label": title, title, onclick: act }, text);
    const select = h(
      "select",
      {
        id: "meter",
        "aria-label": "What the graph shows",
        onchange: () => this.pick(select.value),
      },
      ...meters.map((key) => h("option", { value: key ?? "" }, key ?? "Seats")),
    );
    this.tableBox = h(
      "details",
      { class: "as-table", ontoggle: () => this.fillTable() },
      h("summary", {}, "As a table"),
      this.table,
    );
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "img");
    this.frame.addEventListener("keydown", (event) => this.onKey(event));
    this.element = h(
      "section",
      { class: "card wide", "aria-labelledby": "graph-title" },
      h("h2", { id: "graph-title" }, "Use over time"),
      h(
        "div",
        { class: "tools" },
        meters.length > 1 ? select : null,
        h("div", { class: "group", role: "group", "aria-label": "Range" }, ...this.rangeButtons),
        h(
          "div",
          { class: "group", role: "group", "aria-label": "Move and zoom" },
          step("‹", "Earlier", () => this.move(-0.5)),
          step("›", "Later", () => this.move(0.5)),
          step("+", "Zoom in", () => this.zoom(0.5)),
          step("−", "Zoom out", () => this.zoom(2)),
        ),
        csvButton(() => this.save()),
      ),
      this.problem,
      this.frame,
      this.readout,
      legend(),
      this.tableBox,
    );
    new ResizeObserver(() => this.resize()).observe(this.frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      // The accent is made for the new background first.
      setTimeout(() => this.draw(), 0);
    });
    this.mark();
  }

  /** Show another stretch of time: its length in milliseconds, and its end (null: now). */
  show(length: number, until: number | null): Promise<void> {
    this.length = Math.min(Math.max(length, SHORTEST), LONGEST);
    this.until = until !== null && until < now() ? until : null;
    this.mark();
    return this.load();
  }

  private pick(key: string): void {
    this.usageKey = key || null;
    void this.load();
  }

  private end(): number {
    return this.until ?? now();
  }

  private move(share: number): void {
    void this.show(this.length, this.end() + this.length * share);
  }

  private zoom(factor: number): void {
    const length = Math.min(Math.max(this.length * factor, SHORTEST), LONGEST);
    // What ends now goes on doing so.
    const middle = this.end() - this.length / 2;
    void this.show(length, this.until === null ? null : middle + length / 2);
  }

  private mark(): void {
    this.rangeButtons.forEach((button, n) => {
      const isShown = this.until === null && RANGES[n]?.[1] === this.length;
      button.setAttribute("aria-pressed", String(isShown));
    });
  }

  /** Read what is shown anew. */
  async load(): Promise<void> {
    const number = ++this.asked;
    const end = this.end();
    this.frame.setAttribute("aria-busy", "true");
    try {
      const graph = await readGraph(this.usageKey, end - this.length, end + 1000);
      if (number !== this.asked) return; // something else was asked for meanwhile
      this.graph = graph;
      this.problem.hidden = true;
      this.draw();
      if (this.tableBox.open) this.fillTable();
    } catch (error) {
      if (number !== this.asked) return;
      this.problem.textContent = "The graph could not be read; it is tried again.";
      this.problem.hidden = false;
      this.onFailure(error);
    } finally {
      if (number === this.asked) this.frame.removeAttribute("aria-busy");
    }
  }

  private draw(): void {
    const graph = this.graph;
    if (!graph) return;
    const cursor = this.plot?.cursor;
    this.plot?.destroy();
    this.plot = null;
    const drawn = drawnOf(graph);
    const summary = summaryOf(graph);
    this.frame.setAttribute("aria-label", `Graph. ${summary}`);
    if (drawn.used.every((value) => value === null)) {
      fill(this.frame, h("p", { class: "empty" }, "Nothing is known of this time."));
      this.readout.textContent = "";
      return;
    }
    fill(this.frame);
    this.plot = new uPlot(
      this.options(graph, drawn),
      [drawn.x, drawn.used, drawn.purchased, drawn.hardCap],
      this.frame,
    );
    // What is drawn can be read back, by whoever checks it.
    Object.assign(this.frame, { drawn, plot: this.plot });
    this.readout.textContent = summary;
    // Whoever points at something, or has walked there by keys, stays there.
    if (cursor && (cursor.left ?? -1) >= 0)
      this.plot.setCursor({ left: cursor.left ?? 0, top: cursor.top ?? 0 });
  }

  private options(graph: Graph, drawn: Drawn): uPlot.Options {
    const stepped = uPlot.paths.stepped?.({ align: 1 });
    const line = (label: string, stroke: string, more: Partial<uPlot.Series>): uPlot.Series => ({
      label,
      stroke,
      ...(stepped ? { paths: stepped } : {}),
      points: { show: false },
      ...more,
    });
    const text = color("--soft");
    const grid = { stroke: color("--line"), width: 1 };
    const size = 0.75 * Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
    const font = `${size}px ${getComputedStyle(this.frame).fontFamily}`;
    const top = Math.max(
      1,
      ...[...drawn.used, ...drawn.purchased, ...drawn.hardCap].map((value) => value ?? 0),
    );
    const isByDay = graph.interval === "P1D";
    const from = Date.parse(graph.from) / 1000;
    const to = Date.parse(graph.to) / 1000;
    return {
      width: this.frame.clientWidth || 600,
      height: plotHeight(),
      padding: [22, 26, 0, 0],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zoneName()),
      legend: { show: false },
      cursor: { drag: { x: true, y: false, dist: 8 }, points: { show: false } },
      select: { show: true, left: 0, top: 0, width: 0, height: 0 },
      scales: {
        x: { time: true, range: [from, to] },
        y: { range: [0, top * 1.06] },
      },
      axes: [
        {
          stroke: text,
          grid: { show: false },
          ticks: grid,
          space: 5.4 * size,
          size: Math.round(4.2 * size),
          font,
          values: (_, splits) => labels(splits, to - from),
        },
        {
          stroke: text,
          grid,
          ticks: { show: false },
          space: 2.4 * size,
          size: (_, values) => Math.ceil(widest(values ?? [], font)) + 12,
          font,
          incrs: STEPS,
          values: (plot, splits) => numbers(splits, font, plot.width / 4),
        },
      ],
      series: [
        {},
        line("In use", color("--accent"), { width: 2, fill: color("--use-fill") }),
        line("Purchased", color("--purchased"), { width: 1.5, dash: [6, 4] }),
        line("Hard cap", color("--cap"), { width: 1.5, dash: [2, 3] }),
      ],
      hooks: {
        drawAxes: [(plot) => drawOverdraft(plot, drawn)],
        draw: [(plot) => drawDenials(plot, graph)],
        setCursor: [(plot) => this.read(plot, graph, isByDay)],
        setSelect: [
          (plot) => {
            if (plot.select.width < 8) return;
            const begin = plot.posToVal(plot.select.left, "x") * 1000;
            const until = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
            void this.show(until - begin, until);
          },
        ],
      },
    };
  }

  private resize(): void {
    const width = this.frame.clientWidth;
    if (this.plot && width && width !== this.plot.width)
      this.plot.setSize({ width, height: plotHeight() });
  }

  /** The interval under the pointer, in words. */
  private read(plot: uPlot, graph: Graph, isByDay: boolean): void {
    const left = plot.cursor.left ?? -1;
    if (left < 0) {
      this.readout.textContent = summaryOf(graph);
      return;
    }
    const at = plot.posToVal(left, "x") * 1000;
    this.readout.textContent = readoutOf(graph, at, isByDay);
  }

  private onKey(event: KeyboardEvent): void {
    const plot = this.plot;
    const graph = this.graph;
    if (!plot || !graph) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) {
      const length = LENGTHS[graph.interval] / 1000;
      const last = (plot.cursor.left ?? -1) < 0 ? graph.highest.length : Number.NaN;
      const from = Date.parse(graph.from) / 1000;
      const n = Number.isNaN(last)
        ? Math.floor((plot.posToVal(plot.cursor.left ?? 0, "x") - from) / length)
        : last;
      const wanted = Math.min(Math.max(n + step, 0), graph.highest.length - 1);
      const left = plot.valToPos(from + (wanted + 0.5) * length, "x");
      plot.setCursor({ left, top: plot.bbox.height / 4 });
      this.readout.setAttribute("aria-live", "polite");
    } else if (event.key === "+" || event.key === "=") this.zoom(0.5);
    else if (event.key === "-") this.zoom(2);
    else if (event.key === "Escape") plot.setCursor({ left: -10, top: -10 });
    else return;
    event.preventDefault();
  }

  private rows(): (string | number | null)[][] {
    const graph = this.graph;
    if (!graph) return [];
    const length = LENGTHS[graph.interval];
    const start = Date.parse(graph.from);
    const asOf = Date.parse(graph.asOf);
    const rows: (string | number | null)[][] = [];
    graph.highest.forEach((highest, n) => {
      const from = start + n * length;
      if (highest === null || from >= asOf) return;
      const limits = limitsAt(graph.limits, Math.min(from + length, asOf) - 1);
      const [attempts, people] = deniedBetween(graph, from, from + length);
      rows.push([
        new Date(from).toISOString(),
        graph.lowest[n] ?? null,
        highest,
        graph.closing[n] ?? null,
        limits?.purchased ?? null,
        limits?.hardCap ?? null,
        attempts,
        people,
      ]);
    });
    return rows;
  }

  private save(): void {
    const graph = this.graph;
    if (!graph) return;
    const head = [
      "from",
      "lowest",
      "highest",
      "closing",
      "purchased",
      "hardCap",
      ...deniedNames(graph).map((name) =>
        name.replace(/ (.)/g, (_, letter) => letter.toUpperCase()),
      ),
    ];
    const about = `${graph.usageKey ?? "seats"}-${graph.from.slice(0, 10)}-${graph.to.slice(0, 10)}`;
    download(`use-${about}.csv`, [head, ...this.rows()]);
  }

  private fillTable(): void {
    if (!this.tableBox.open) return;
    const cells = (row: (string | number | null)[]) =>
      row.map((value, n) =>
        n
          ? h("td", { class: "n" }, value === null ? "–" : count(Number(value)))
          : h(
              "th",
              { scope: "row" },
              this.graph?.interval === "P1D" ? utcDay(String(value)) : moment(String(value)),
            ),
      );
    fill(
      this.table,
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ...[
              "From",
              "Lowest",
              "Highest",
              "At the end",
              "Purchased",
              "Hard cap",
              ...(this.graph ? deniedNames(this.graph) : []),
            ].map((name, n) => h("th", { scope: "col", class: n ? "n" : "" }, name)),
          ),
        ),
        h(
          "tbody",
          {},
          ...this.rows()
            .reverse()
            .map((row) => h("tr", {}, ...cells(row))),
        ),
      ),
    );
    this.table.tabIndex = 0;
    this.table.setAttribute("role", "region");
    this.table.setAttribute("aria-label", "Use over time as a table");
  }
}

// Between the lines of the axis of numbers: 1, 2, 5, 10, ... 10^16.
const STEPS = Array.from({ length: 17 }, (_, p) => [1, 2, 5].map((n) => n * 10 ** p)).flat();

/** Labels of the axis of numbers: whole, or brief where that would take more than `room` pixels. */
function numbers(splits: number[], font: string, room: number): string[] {
  const whole = splits.map((value) => count(value));
  return widest(whole, font) > room ? splits.map((value) => brief(value)) : whole;
}

const ruler = document.createElement("canvas").getContext("2d");

/** How many pixels the longest of some texts takes. */
function widest(texts: readonly string[], font: string): number {
  if (!ruler) return 12 * Math.max(0, ...texts.map((text) => text.length));
  ruler.font = font;
  return Math.max(0, ...texts.map((text) => ruler.measureText(text).width));
}

const plotHeight = () => (innerWidth < 600 ? 240 : 320);

/** Labels of the time axis: hours within days, else days, else months. */
function labels(splits: number[], seconds: number): string[] {
  let before = "";
  return splits.map((split) => {
    const day = styled(split * 1000, { month: "short", day: "numeric" });
    if (seconds > 300 * 86_400) return styled(split * 1000, { month: "short", year: "2-digit" });
    const isNew = day !== before;
    before = day;
    if (seconds > 3 * 86_400 && isNew) return day;
    const time = styled(split * 1000, { hour: "2-digit", minute: "2-digit" });
    return isNew && seconds <= 3 * 86_400 ? `${time}\n${day}` : time;
  });
}

/** Shade what was used above what was purchased. */
function drawOverdraft(plot: uPlot, drawn: Drawn): void {
  const { ctx } = plot;
  ctx.save();
  ctx.fillStyle = color("--over-fill");
  for (let n = 0; n + 1 < drawn.x.length; n++) {
    const used = drawn.used[n] ?? 0;
    const purchased = drawn.purchased[n];
    if (purchased === null || purchased === undefined || used <= purchased || !drawn.isOver[n])
      continue;
    const left = Math.round(plot.valToPos(drawn.x[n] ?? 0, "x", true));
    const right = Math.round(plot.valToPos(drawn.x[n + 1] ?? 0, "x", true));
    const top = plot.valToPos(used, "y", true);
    const bottom = plot.valToPos(purchased, "y", true);
    ctx.fillRect(left, top, Math.max(1, right - left), bottom - top);
  }
  ctx.restore();
}

/** Mark denials above the graph: the more attempts, the larger the mark. */
function drawDenials(plot: uPlot, graph: Graph): void {
  const { ctx } = plot;
  ctx.save();
  ctx.fillStyle = color("--denied");
  for (const each of graph.denials) {
    const middle = (Date.parse(each.from) + Date.parse(each.to)) / 2000;
    const x = plot.valToPos(Math.min(middle, Date.parse(graph.to) / 1000), "x", true);
    if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
    const size = devicePixelRatio * Math.min(9, 4 + Math.log2(1 + each.attempts));
    const y = plot.bbox.top - 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x - size, y - size * 1.6);
    ctx.lineTo(x + size, y - size * 1.6);
    ctx.closePath();
    ctx.fill();
  }
  ctx.restore();
}

/** What the columns of denials are called: they are counted by the hour at the finest. */
function deniedNames(graph: Graph): [string, string] {
  const who = graph.usageKey === null ? "people" : "requests";
  const when = graph.interval === "PT15M" ? " in the hour" : "";
  return [`attempts denied${when}`, `${who} denied${when}`];
}

function deniedBetween(graph: Graph, from: number, to: number): [number | null, number | null] {
  if (from % HOUR) return [null, null]; // told with the first quarter-hour
  const until = Math.max(to, from + HOUR);
  const marks = graph.denials.filter(
    (each) => Date.parse(each.from) >= from && Date.parse(each.from) < until,
  );
  const attempts = marks.reduce((sum, each) => sum + each.attempts, 0);
  return [attempts, marks.length === 1 ? (marks[0]?.people ?? null) : marks.length ? null : 0];
}

/** What the graph says of one moment. */
function readoutOf(graph: Graph, at: number, isByDay: boolean): string {
  const length = LENGTHS[graph.interval];
  const start = Date.parse(graph.from);
  const n = Math.floor((at - start) / length);
  const from = start + n * length;
  const to = Math.min(from + length, Date.parse(graph.asOf));
  const when = range(from, Math.max(from, to), isByDay);
  const highest = graph.highest[n];
  if (highest === null || highest === undefined) return `${when}: nothing is known of it`;
  const lowest = graph.lowest[n];
  const limits = limitsAt(graph.limits, Math.max(from, to - 1));
  const use = lowest === highest ? count(highest) : `${count(lowest ?? 0)} to ${count(highest)}`;
  const told = [`${when}: ${use} in use`];
  if (limits) {
    told.push(`${count(limits.purchased)} purchased`);
    told.push(limits.hardCap === null ? "no hard cap" : `hard cap ${count(limits.hardCap)}`);
  }
  const mark = graph.denials.find(
    (each) => Date.parse(each.from) <= at && at < Date.parse(each.to),
  );
  if (mark) {
    const who =
      mark.people === null
        ? ""
        : graph.usageKey === null
          ? ` of ${counted(mark.people, "person", "people")}`
          : ` of ${counted(mark.people, "request", "requests")}`;
    const within = isByDay ? "" : " within the hour";
    told.push(`${counted(mark.attempts, "attempt", "attempts")}${who} denied${within}`);
  }
  return told.join(", ");
}

/** What the graph says as a whole. */
function summaryOf(graph: Graph): string {
  const known = graph.highest.filter((value): value is number => value !== null);
  if (!known.length) return "Nothing is known of this time.";
  const denied = graph.denials.reduce((sum, each) => sum + each.attempts, 0);
  const turned = denied
    ? `${counted(denied, "attempt was", "attempts were")} denied`
    : "nobody was denied";
  return `${range(Date.parse(graph.from), Math.min(Date.parse(graph.to), Date.parse(graph.asOf)), false)}: at most ${count(Math.max(...known))} in use, ${turned}.`;
}

function legend(): HTMLElement {
  const entry = (kind: string, name: string) =>
    h("li", {}, h("span", { class: `key ${kind}`, "aria-hidden": "true" }), name);
  return h(
    "ul",
    { class: "legend" },
    entry("use", "In use"),
    entry("over", "Overdraft"),
    entry("purchased", "Purchased"),
    entry("cap", "Hard cap"),
    entry("denied", "Turned away"),
  );
}
