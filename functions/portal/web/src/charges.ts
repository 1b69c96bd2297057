// What overdraft costs: month by month, with what each amount follows from.

import { type ChargeLine, type ChargePart, type Portal, readTrueUp, type TrueUp } from "./api";
import { now } from "./clock";
import { download } from "./csv";
import { csvButton, fill, h } from "./dom";
import { count, date, dateOf, money, month } from "./format";
import { t } from "./messages";

// So many months can be looked at; the evidence is stored for 13.
const MONTHS = 13;
// So many steps of a line are in sight; the others are folded.
const STEPS_OPEN = 3;

/** The present month and those before it, in which the license was valid: `YYYY-MM`. */
function monthsOf({ validFrom, validUntil }: Portal): string[] {
  const ended = validUntil === null ? now() : Math.min(now(), Date.parse(validUntil) - 1);
  const [first, last] = [validFrom ? dateOf(Date.parse(validFrom)) : "", dateOf(ended)];
  const found: string[] = [];
  let [year, number] = last.split("-").map(Number) as [number, number];
  for (let each = 0; each < MONTHS; each++) {
    const name = `${year}-${String(number).padStart(2, "0")}`;
    if (name < first.slice(0, 7)) break;
    found.push(name);
    [year, number] = number === 1 ? [year - 1, 12] : [year, number - 1];
  }
  return found;
}

/** A step in words: the day, what was used, and how the amount comes about. */
function stepOf(part: ChargePart, currency: string): string {
  const { level, opening } = part;
  const used = opening
    ? t.chargeIncrease(date(part.day), level.used, level.purchased, opening.used)
    : t.chargeUse(date(part.day), level.used, level.purchased);
  const less = [
    part.free ? t.chargeFree(part.free) : "",
    part.chargedBefore ? t.chargedBefore(part.chargedBefore) : "",
  ].filter(Boolean);
  const unit = money(part.unitAmount, currency);
  const isWhole = part.factor === "1";
  const factor = part.factor.includes(" ") ? `(${part.factor})` : part.factor;
  const times = [count(part.quantity), unit, ...(isWhole ? [] : [factor])].join("\u00a0×\u00a0");
  return `${used}${less.length ? `, ${less.join(", ")}` : ""}: ${times}`;
}

function lineBlock(line: ChargeLine, isFinal: boolean): HTMLElement {
  const steps = line.parts
    .filter((part) => part.quantity > 0)
    .map((part) => h("li", {}, stepOf(part, line.currency)));
  const amount = money(line.amount, line.currency);
  const decision = line.decision?.decision;
  const more = line.amount !== line.expectedAmount && !isFinal;
  return h(
    "div",
    { class: "limit", "data-line": line.lineId },
    h(
      "h3",
      {},
      `${line.usageKey ?? t.seats}: ${amount}`,
      decision ? h("small", {}, ` ${t.decisions[decision]}${reference(line)}`) : null,
    ),
    line.isMinimum && h("p", { class: "soft" }, t.chargeMinimum),
    more && h("p", { class: "soft" }, t.chargeExpected(money(line.expectedAmount, line.currency))),
    steps.length ? h("ul", { class: "steps" }, ...steps.slice(0, STEPS_OPEN)) : null,
    steps.length > STEPS_OPEN &&
      h(
        "details",
        {},
        h("summary", {}, t.moreSteps(steps.length - STEPS_OPEN)),
        h("ul", { class: "steps" }, ...steps.slice(STEPS_OPEN)),
      ),
  );
}

const reference = ({ decision }: ChargeLine) =>
  decision?.reference ? ` (${decision.reference})` : "";

/** The card: a month to choose, and what it costs. */
export class Charges {
  private readonly body = h("div", {}, h("p", { class: "soft" }, t.loading));
  private readonly choice: HTMLSelectElement;
  private shown: TrueUp | null = null;
  readonly element: HTMLElement;

  constructor(
    private readonly portal: Portal,
    private readonly fail: (error: unknown) => void,
  ) {
    this.choice = h(
      "select",
      { "aria-label": t.chargesMonth, onchange: () => void this.read() },
      ...monthsOf(portal).map((name) => h("option", { value: name }, month(name))),
    );
    this.element = h(
      "section",
      { class: "card wide", id: "charges", "aria-labelledby": "charges-title" },
      h("h2", { id: "charges-title" }, t.charges),
      h(
        "div",
        { class: "tools" },
        this.choice,
        csvButton(() => this.save()),
      ),
      this.body,
    );
  }

  /** Read the month that is chosen. */
  async read(): Promise<void> {
    const wanted = this.choice.value;
    if (!wanted) return;
    try {
      const found = await readTrueUp(this.portal.entitlementId, wanted);
      if (wanted === this.choice.value) this.show(found);
    } catch (error) {
      this.fail(error);
    }
  }

  private show(found: TrueUp): void {
    this.shown = found;
    const name = month(found.period.name);
    const isOver = Date.parse(found.period.to) <= now();
    const sums = found.totals.map(({ currency, amount, expectedAmount }) =>
      isOver || amount === expectedAmount
        ? t.chargesOf(name, money(amount, currency), isOver)
        : t.chargesAhead(name, money(amount, currency), money(expectedAmount, currency)),
    );
    const lines = found.lines.filter(
      (line) => Number(line.amount) || Number(line.expectedAmount) || line.decision,
    );
    fill(
      this.body,
      ...(lines.length ? sums : [t.noCharges(name, isOver)]).map((text) =>
        h("p", { class: "strong" }, text),
      ),
      ...lines.map((line) => lineBlock(line, found.isFinal)),
      h("p", { class: "soft" }, found.isFinal ? t.chargesFinal : t.chargesNotFinal),
    );
  }

  private save(): void {
    const { shown } = this;
    if (!shown) return;
    download(
      "charges",
      [
        ["line", "month", "of", "currency", "amount", "expectedAmount", "decision", "reference"],
        ...shown.lines.map((line) => [
          line.lineId,
          line.month,
          line.usageKey ?? "seats",
          line.currency,
          line.amount,
          line.expectedAmount,
          line.decision?.decision ?? null,
          line.decision?.reference ?? null,
        ]),
      ],
      shown.period.name,
    );
  }
}
