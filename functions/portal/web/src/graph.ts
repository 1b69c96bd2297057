// The graph of use: against both limits as they were at the time, with denials.

import uPlot from "uplot";
import type { Graph, Limits } from "./api";
import { now } from "./clock";
import { download } from "./csv";
import { csvButton, fill, h } from "./dom";
import { brief, count, dateOf, day, localTime, moment, range, styled, zoneName } from "./format";
import { t } from "./messages";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const QUARTER = HOUR / 4;
const RANGES = [DAY, 7 * DAY, 30 * DAY, 365 * DAY];
const SHORTEST = 2 * HOUR;
const LONGEST = 400 * DAY;

/** What is drawn: columns over `x`, seconds; each value holds until the next `x`. */
export interface Drawn {
  x: number[];
  used: (number | null)[];
  purchased: (number | null)[];
  hardCap: (number | null)[];
  isOver: boolean[];
  demand: (number | null)[];
}

function limitsAt(limits: Limits[], at: number): Limits | null {
  let found: Limits | null = null;
  for (const each of limits) if (Date.parse(each.from) <= at) found = each;
  return found;
}

/** The bounds of the intervals: where each begins, and where the last one ends. */
const boundsOf = (graph: Graph): number[] => [
  ...graph.starts.map((each) => Date.parse(each)),
  Date.parse(graph.to),
];

/** When there was something to use for the first time; later than any time: never. */
const firstLimits = ({ limits }: Graph) =>
  limits[0] ? Date.parse(limits[0].from) : Number.POSITIVE_INFINITY;

/** Which interval a moment is in. */
function intervalAt(bounds: number[], at: number): number {
  const after = bounds.findIndex((bound) => bound > at);
  return (after < 0 ? bounds.length : after) - 1;
}

/** Use by interval, and limits by the moment at which they changed. */
export function drawnOf(graph: Graph): Drawn {
  const bounds = boundsOf(graph);
  const start = bounds[0] ?? 0;
  const end = Math.min(Date.parse(graph.to), Math.max(Date.parse(graph.asOf), start));
  const first = graph.limits[0] ? Date.parse(graph.limits[0].from) : end;
  const sections = new Map(graph.sections.map((each) => [Date.parse(each.from), each]));
  const starts = bounds.slice(0, -1).filter((at) => at < end);
  const changes = graph.limits.map((each) => Date.parse(each.from));
  const within = (at: number) => at >= start && at < end;
  const moments = [
    ...new Set([...starts, ...[...changes, ...sections.keys()].filter(within), end]),
  ].sort((a, b) => a - b);
  const drawn: Drawn = { x: [], used: [], purchased: [], hardCap: [], isOver: [], demand: [] };
  for (const at of moments) {
    const n = Math.min(intervalAt(bounds, at), starts.length - 1);
    const section = sections.get(at - (at % QUARTER));
    const limits = limitsAt(graph.limits, at);
    drawn.x.push(at / 1000);
    // Before the first limits there was nothing that could be used.
    drawn.used.push(at < first ? null : (section?.highest ?? graph.highest[n] ?? null));
    drawn.demand.push(at < first ? null : (graph.demand[n] ?? null));
    drawn.purchased.push(limits?.purchased ?? null);
    drawn.hardCap.push(limits?.hardCap ?? null);
    const seconds = section ? section.overdraftSeconds : graph.overdraftSeconds[n];
    drawn.isOver.push(isSteady(graph, bounds, n) || (seconds ?? 0) > 0);
  }
  return drawn;
}

/** Whether limits stayed as they were within an interval: then what is above them is overdraft. */
function isSteady(graph: Graph, bounds: number[], n: number): boolean {
  const [start = 0, end = 0] = bounds.slice(n, n + 2);
  return !graph.limits.some((each) => {
    const at = Date.parse(each.from);
    return at > start && at < end;
  });
}

/** The highest of each seven days; limits keep the moments at which they changed. */
export function byWeek(days: Drawn): Drawn {
  const drawn: Drawn = { x: [], used: [], purchased: [], hardCap: [], isOver: [], demand: [] };
  const last = days.x.length - 1;
  let until = Number.NEGATIVE_INFINITY;
  days.x.forEach((at, n) => {
    const end = drawn.x.length - 1;
    const [used, demand] = [days.used[n] ?? null, days.demand[n] ?? null];
    const before = drawn.used[end] ?? null;
    const isSame =
      at < until &&
      n < last &&
      drawn.purchased[end] === days.purchased[n] &&
      drawn.hardCap[end] === days.hardCap[n] &&
      (before === null) === (used === null);
    if (!isSame) {
      drawn.x.push(at);
      // At its end there is nothing new: the line does not fall.
      drawn.used.push(n === last ? before : used);
      drawn.demand.push(demand);
      drawn.purchased.push(days.purchased[n] ?? null);
      drawn.hardCap.push(days.hardCap[n] ?? null);
      drawn.isOver.push(days.isOver[n] ?? false);
      until = at + (7 * DAY - HOUR) / 1000;
      return;
    }
    if ((used ?? 0) > (before ?? 0)) {
      drawn.used[end] = used;
      drawn.isOver[end] = days.isOver[n] ?? false;
    }
    if ((demand ?? 0) > (drawn.demand[end] ?? 0)) drawn.demand[end] = demand;
  });
  return drawn;
}

const color = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const stepButton = (text: string, title: string, act: () => void) =>
  h("button", { type: "button", "aria-label": title, title, onclick: act }, text);

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
  private readonly earlier = stepButton("‹", t.earlier, () => this.move(-0.5));
  private readonly later = stepButton("›", t.later, () => this.move(0.5));
  private readonly zoomIn = stepButton("+", t.zoomIn, () => this.zoom(0.5));
  private readonly zoomOut = stepButton("−", t.zoomOut, () => this.zoom(2));
  private readonly legend = h("ul", { class: "legend" });
  // What was shown before somebody zoomed by dragging.
  private readonly before: [length: number, until: number | null][] = [];
  private readonly table = h("div", { class: "scroll" });
  private readonly tableBox: HTMLDetailsElement;

  constructor(
    meters: (string | null)[],
    private readonly fetch: (usageKey: string | null, from: number, to: number) => Promise<Graph>,
    private readonly onFailure: (error: unknown) => void,
  ) {
    this.usageKey = meters[0] ?? null;
    this.rangeButtons = RANGES.map((length, n) =>
      h("button", { type: "button", onclick: () => this.show(length, null) }, t.ranges[n]),
    );
    const select = h(
      "select",
      {
        id: "meter",
        "aria-label": t.graphShows,
        onchange: () => this.pick(select.value),
      },
      ...meters.map((key) => h("option", { value: key ?? "" }, key ?? t.seats)),
    );
    this.tableBox = h(
      "details",
      { class: "as-table", ontoggle: () => this.fillTable() },
      h("summary", {}, t.asTable),
      this.table,
    );
    this.frame.tabIndex = 0;
    this.frame.setAttribute("role", "img");
    this.frame.addEventListener("keydown", (event) => this.onKey(event));
    this.frame.addEventListener("dblclick", () => this.back());
    this.element = h(
      "section",
      { class: "card wide", "aria-labelledby": "graph-title" },
      h("h2", { id: "graph-title" }, t.useOverTime),
      h(
        "div",
        { class: "tools" },
        meters.length > 1 ? select : null,
        h("div", { class: "group", role: "group", "aria-label": t.range }, ...this.rangeButtons),
        h(
          "div",
          { class: "group", role: "group", "aria-label": t.moveAndZoom },
          this.earlier,
          this.later,
          this.zoomIn,
          this.zoomOut,
        ),
        csvButton(() => this.save()),
      ),
      this.problem,
      this.frame,
      this.readout,
      this.legend,
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
      const isShown = this.until === null && RANGES[n] === this.length;
      button.setAttribute("aria-pressed", String(isShown));
    });
    this.later.disabled = this.until === null;
    this.zoomIn.disabled = this.length <= SHORTEST;
    this.zoomOut.disabled = this.length >= LONGEST;
  }

  /** What was shown before the last drag. */
  private back(): void {
    const before = this.before.pop();
    if (before) void this.show(...before);
  }

  /** Read what is shown anew. */
  async load(): Promise<void> {
    const number = ++this.asked;
    const end = this.end();
    this.frame.setAttribute("aria-busy", "true");
    try {
      const graph = await this.fetch(this.usageKey, end - this.length, end + 1000);
      if (number !== this.asked) return; // something else was asked for meanwhile
      this.graph = graph;
      this.problem.hidden = true;
      this.draw();
      if (this.tableBox.open) this.fillTable();
    } catch (error) {
      if (number !== this.asked) return;
      this.problem.textContent = t.graphFailed;
      this.problem.hidden = false;
      this.onFailure(error);
    } finally {
      if (number === this.asked) this.frame.removeAttribute("aria-busy");
    }
  }

  private get width(): number {
    return this.frame.clientWidth || 600;
  }

  private draw(): void {
    const graph = this.graph;
    if (!graph) return;
    const cursor = this.plot?.cursor;
    this.plot?.destroy();
    this.plot = null;
    const all = drawnOf(graph);
    // A day of less than two pixels is no line: then the highest of each week is drawn.
    const isCoarse = graph.interval === "P1D" && this.width < 2 * graph.highest.length;
    const drawn = isCoarse ? byWeek(all) : all;
    const summary = summaryOf(graph);
    // Before the first limits there is nothing to see.
    this.earlier.disabled = firstLimits(graph) > Date.parse(graph.from);
    fill(this.legend, ...legendOf(graph, isCoarse));
    this.frame.setAttribute("aria-label", t.graph(summary));
    if (drawn.used.every((value) => value === null)) {
      fill(this.frame, h("p", { class: "empty" }, t.nothingKnown));
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
      ...[...drawn.used, ...drawn.demand, ...drawn.purchased, ...drawn.hardCap].map(
        (value) => value ?? 0,
      ),
    );
    const isByDay = graph.interval === "P1D";
    const to = Date.parse(graph.to) / 1000;
    const from = beginOf(graph);
    return {
      width: this.width,
      height: plotHeight(),
      padding: [8, 40, 0, 0],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), zoneName()),
      legend: { show: false },
      cursor: { drag: { x: true, y: false, dist: 8 }, points: { show: false } },
      select: { show: true, left: 0, top: 0, width: 0, height: 0 },
      scales: {
        x: { time: true, range: [from, to] },
        // Above the graph there is room for the marks of denials.
        y: { range: [0, top * 1.14] },
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
        line(t.inUse, color("--accent"), { width: 2, fill: color("--use-fill") }),
        line(t.purchased, color("--purchased"), { width: 1.5, dash: [6, 4] }),
        line(t.hardCap, color("--cap"), { width: 1.5, dash: [2, 3] }),
      ],
      hooks: {
        drawAxes: [(plot) => drawOverdraft(plot, drawn), (plot) => drawDemand(plot, drawn)],
        draw: [(plot) => drawDenials(plot, graph)],
        setCursor: [(plot) => this.read(plot, graph, isByDay)],
        setSelect: [
          (plot) => {
            if (plot.select.width < 8) return;
            const begin = plot.posToVal(plot.select.left, "x") * 1000;
            const until = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
            this.before.push([this.length, this.until]);
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
      const bounds = boundsOf(graph);
      const isOff = (plot.cursor.left ?? -1) < 0;
      const n = isOff
        ? graph.highest.length
        : intervalAt(bounds, plot.posToVal(plot.cursor.left ?? 0, "x") * 1000);
      const wanted = Math.min(Math.max(n + step, 0), graph.highest.length - 1);
      const [from = 0, to = 0] = bounds.slice(wanted, wanted + 2);
      const left = plot.valToPos((from + to) / 2000, "x");
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
    const bounds = boundsOf(graph);
    const asOf = Date.parse(graph.asOf);
    const rows: (string | number | null)[][] = [];
    graph.highest.forEach((highest, n) => {
      const [from = 0, to = 0] = bounds.slice(n, n + 2);
      if (highest === null || from >= asOf) return;
      const limits = limitsAt(graph.limits, Math.min(to, asOf) - 1);
      const [attempts, people] = deniedBetween(graph, from, to);
      rows.push([
        localTime(from),
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
      ...deniedColumns(graph),
    ];
    const end = Math.min(Date.parse(graph.asOf), Date.parse(graph.to));
    const [from, to] = [Date.parse(graph.from), end].map(dateOf);
    download(`use-${graph.usageKey ?? "seats"}`, [head, ...this.rows()], `${from}-to-${to}`);
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
              this.graph?.interval === "P1D" ? day(String(value)) : moment(String(value)),
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
              t.columns.from,
              t.columns.lowest,
              t.columns.highest,
              t.columns.closing,
              t.purchased,
              t.hardCap,
              ...(this.graph ? deniedColumns(this.graph).map((name) => t.columns[name]) : []),
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
    this.table.setAttribute("aria-label", t.asTableLabel);
  }
}

/** Where the time axis begins, in seconds: not long before there was anything to use. */
function beginOf(graph: Graph): number {
  const [from, to] = [Date.parse(graph.from) / 1000, Date.parse(graph.to) / 1000];
  return Math.max(from, Math.min(firstLimits(graph) / 1000, to - (to - from) / 6));
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
    if (seconds > 300 * 86_400) return styled(split * 1000, { month: "short", year: "numeric" });
    const isNew = day !== before;
    before = day;
    if (seconds > 3 * 86_400 && isNew) return day;
    const time = styled(split * 1000, { hour: "numeric", minute: "2-digit" });
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

/** Hatch what was wanted and not given, above what was used. */
function drawDemand(plot: uPlot, drawn: Drawn): void {
  const { ctx } = plot;
  ctx.save();
  ctx.strokeStyle = color("--denied");
  ctx.lineWidth = devicePixelRatio;
  for (let n = 0; n + 1 < drawn.x.length; n++) {
    const [used, demand] = [drawn.used[n] ?? 0, drawn.demand[n] ?? 0];
    if (demand <= used) continue;
    const left = Math.round(plot.valToPos(drawn.x[n] ?? 0, "x", true));
    const right = Math.max(left + 2, Math.round(plot.valToPos(drawn.x[n + 1] ?? 0, "x", true)));
    const top = plot.valToPos(demand, "y", true);
    const bottom = plot.valToPos(used, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, right - left, bottom - top);
    ctx.globalAlpha = 0.85;
    ctx.stroke();
    ctx.clip();
    ctx.beginPath();
    const step = 5 * devicePixelRatio;
    for (let x = left - (bottom - top); x < right; x += step) {
      ctx.moveTo(x, bottom);
      ctx.lineTo(x + (bottom - top), top);
    }
    ctx.stroke();
    ctx.restore();
  }
  ctx.restore();
}

/** Mark denials at the top of the graph: the more attempts, the larger the mark. */
function drawDenials(plot: uPlot, graph: Graph): void {
  const { ctx } = plot;
  ctx.save();
  ctx.fillStyle = color("--denied");
  for (const each of graph.denials) {
    const middle = (Date.parse(each.from) + Date.parse(each.to)) / 2000;
    const x = plot.valToPos(Math.min(middle, Date.parse(graph.to) / 1000), "x", true);
    if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) continue;
    const size = devicePixelRatio * Math.min(9, 4 + Math.log2(1 + each.attempts));
    const y = plot.bbox.top + size * 1.6 + 2 * devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x - size, y - size * 1.6);
    ctx.lineTo(x + size, y - size * 1.6);
    ctx.closePath();
    ctx.fill();
  }
  ctx.restore();
}

/** The columns of denials: they are counted by the hour at the finest. */
function deniedColumns(graph: Graph): (keyof typeof t.columns)[] {
  const isFine = graph.interval === "PT15M";
  const who = graph.usageKey === null ? "people" : "requests";
  return isFine ? ["attemptsInHour", `${who}InHour`] : ["attempts", who];
}

function deniedBetween(graph: Graph, from: number, to: number): [number | null, number | null] {
  if (from % HOUR) return [null, null]; // counted with the first quarter-hour
  const until = Math.max(to, from + HOUR);
  const marks = graph.denials.filter(
    (each) => Date.parse(each.from) >= from && Date.parse(each.from) < until,
  );
  const attempts = marks.reduce((sum, each) => sum + each.attempts, 0);
  return [attempts, marks.length === 1 ? (marks[0]?.people ?? null) : marks.length ? null : 0];
}

/** What the graph says of one moment. */
function readoutOf(graph: Graph, at: number, isByDay: boolean): string {
  const bounds = boundsOf(graph);
  const n = intervalAt(bounds, at);
  const [from = 0, end = 0] = bounds.slice(n, n + 2);
  const to = Math.min(end, Date.parse(graph.asOf));
  const when = range(from, Math.max(from, to), isByDay);
  const highest = graph.highest[n];
  if (highest === null || highest === undefined) return t.momentUnknown(when);
  const isUsage = graph.usageKey !== null;
  const limits = limitsAt(graph.limits, Math.max(from, to - 1));
  const parts = [t.momentUse(when, graph.lowest[n] ?? 0, highest, isUsage)];
  if (limits) parts.push(t.momentPurchased(limits.purchased), t.momentCap(limits.hardCap));
  const mark = graph.denials.find(
    (each) => Date.parse(each.from) <= at && at < Date.parse(each.to),
  );
  if (mark) parts.push(t.momentDenied(mark.attempts, mark.people, isUsage, isByDay));
  return parts.join(", ");
}

/** What the graph says as a whole. */
function summaryOf(graph: Graph): string {
  const known = graph.highest.filter((value): value is number => value !== null);
  if (!known.length) return t.nothingKnown;
  const denied = graph.denials.reduce((sum, each) => sum + each.attempts, 0);
  const end = Math.min(Date.parse(graph.to), Date.parse(graph.asOf));
  const begin = Math.max(Date.parse(graph.from), firstLimits(graph));
  const when = range(Math.min(begin, end), end, false);
  return t.summary(when, Math.max(...known), denied, graph.usageKey !== null);
}

/** What the lines and fills mean, of those that are drawn. */
function legendOf(graph: Graph, isCoarse: boolean): HTMLElement[] {
  const entry = (kind: string, name: string) =>
    h("li", {}, h("span", { class: `key ${kind}`, "aria-hidden": "true" }), name);
  const isUsage = graph.usageKey !== null;
  const isWanted = graph.demand.some((value, n) => (value ?? 0) > (graph.highest[n] ?? 0));
  return [
    entry("use", `${isUsage ? t.used : t.inUse}${isCoarse ? t.highestOfWeek : ""}`),
    entry("over", t.overdraft),
    entry("purchased", t.purchased),
    ...(graph.limits.some((each) => each.hardCap !== null) ? [entry("cap", t.hardCap)] : []),
    ...(isWanted ? [entry("wanted", t.wanted)] : []),
    ...(graph.denials.length ? [entry("denied", t.turnedAwayKey)] : []),
  ];
}
