// Questions before something is done: releasing a seat, asking for more.

import {
  Failure,
  type HeldSeat,
  type Portal,
  releaseSeat,
  requestMore,
  setCap,
  type UsageLimit,
  type Use,
} from "./api";
import { announce, fill, h, quoted, vendorName } from "./dom";
import { capital } from "./format";
import { t } from "./messages";

const MARGIN = 16; // pixels

type Text = (string | Node)[];

function open(
  title: string,
  content: HTMLElement[],
  send: () => Promise<Text>,
  wordsOf = (failure: Failure): string => failure.message,
): void {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const cancel = h(
    "button",
    { type: "button", class: "quiet", onclick: () => dialog.close() },
    t.cancel,
  );
  const confirm = h("button", { type: "submit", class: "main" }, title);
  const actions = h("div", { class: "actions" }, cancel, confirm);
  const form = h(
    "form",
    {
      method: "dialog",
      onsubmit: async (event) => {
        event.preventDefault();
        confirm.disabled = true;
        problem.hidden = true;
        try {
          const done = h("p", {}, ...(await send()));
          announce(done.textContent ?? "");
          fill(
            form,
            h("h2", { id: "dialog-title" }, title),
            done,
            h("div", { class: "actions" }, close()),
          );
          form.querySelector("button")?.focus();
        } catch (error) {
          problem.textContent = error instanceof Failure ? wordsOf(error) : t.failed;
          problem.hidden = false;
          confirm.disabled = false;
        }
      },
    },
    h("h2", { id: "dialog-title" }, title),
    ...content,
    problem,
    actions,
  );
  const close = () =>
    h("button", { type: "button", class: "main", onclick: () => dialog.close() }, t.close);
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => closed() }, form);
  const opener = document.activeElement;
  const closed = () => {
    dialog.remove();
    const next = successorOf(opener);
    if (next instanceof HTMLElement) next.focus();
  };
  document.body.append(dialog);
  dialog.showModal();
  if (document.body.classList.contains("embedded")) placeInSight(dialog);
}

/** What opened a dialog, or what has been drawn in its place meanwhile. */
function successorOf(opener: Element | null): Element | null {
  if (!opener || opener.isConnected) return opener;
  const key = opener.getAttribute("data-ask");
  if (key !== null) return document.querySelector(`[data-ask="${CSS.escape(key)}"]`);
  // The seat that was released is gone for good.
  return document.getElementById(opener.id || "search");
}

/** In a frame as long as its page: put a dialog where the frame is in sight. */
function placeInSight(dialog: HTMLElement): void {
  const observer = new IntersectionObserver(([seen]) => {
    observer.disconnect();
    if (!seen?.isIntersecting) return;
    const { top, height } = seen.intersectionRect;
    const free = Math.max(0, height - dialog.offsetHeight);
    dialog.style.marginBlock = `${Math.max(MARGIN, top + Math.max(MARGIN, free / 2))}px auto`;
  });
  observer.observe(document.documentElement);
}

/** Ask, then release a seat. */
export function askRelease(portal: Portal, seat: HeldSeat, onDone: () => void): void {
  const who = seat.seatName ?? seat.seatId ?? t.thisHolder;
  const [before, after] = t.releaseQuestion;
  open(
    t.releaseSeat,
    [h("p", {}, before, quoted(who), after), h("p", { class: "soft" }, t.releaseAbout)],
    async () => {
      await releaseSeat(portal.entitlementId, seat.activationId);
      onDone();
      return [t.released];
    },
  );
}

/** Who is notified of a request, before and after it is sent. */
function reachOf(portal: Portal): { before: Text; after: Text } {
  const vendor = vendorName();
  if (portal.requestsReach === "nobody") {
    const where = portal.supportEmail ? quoted(portal.supportEmail) : vendor;
    const said = ([text, end]: [string, string]): Text => [text, where, end];
    return { before: said(t.nobodyNotified), after: said(t.nobodyWasNotified) };
  }
  const name = portal.requestsReach === "account_owner" ? portal.accountOwner : null;
  const who = name ? quoted(name) : vendor;
  const [before, ofOwner, ofVendor] = t.willNotify;
  return {
    before: [before, who, name ? ofOwner : ofVendor],
    after: [name ? quoted(name) : capital(vendor), t.notified],
  };
}

/** How much more to propose: what is in overdraft, or a tenth of what was purchased. */
function proposed({ overdraftUsed, purchased }: Use, most: number): number {
  return Math.min(most, Math.max(1, overdraftUsed, Math.ceil(purchased / 10)));
}

const MOST_SEATS = 100_000;
const MOST_QUANTITY = 1e12;

/** Request more seats from the vendor, or more of a usage limit. */
export function askForMore(portal: Portal, limit: UsageLimit | null, onDone: () => void): void {
  const use = limit?.usage ?? portal.seats;
  if (!use) return;
  const most = limit ? MOST_QUANTITY : MOST_SEATS;
  const amount = h("input", {
    type: "number",
    id: "more-seats",
    min: 1,
    max: most,
    step: 1,
    value: proposed(use, most),
    required: true,
    inputmode: "numeric",
  });
  const requester = h("input", { id: "more-requester", maxlength: 200, autocomplete: "name" });
  const message = h("textarea", { id: "more-message", maxlength: 1000, rows: 4 });
  // The same question sent twice, after an answer that was lost, is one question.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const nonce = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  open(
    limit ? t.requestUsage(limit.key) : t.requestSeats,
    [
      h("p", {}, ...reachOf(portal).before),
      h("label", { for: "more-seats" }, t.howManyMore),
      amount,
      h("label", { for: "more-requester" }, t.requester),
      requester,
      h("label", { for: "more-message" }, t.message),
      message,
    ],
    async () => {
      const text = message.value.replaceAll("\r\n", "\n").replaceAll("\t", " ").trim();
      const name = requester.value.trim();
      const number = amount.valueAsNumber;
      const body = {
        ...(limit ? { usageKey: limit.key, quantity: number } : { seats: number }),
        ...(text ? { message: text } : {}),
        ...(name ? { requester: name } : {}),
      };
      // Another wording is another question.
      const key = `${nonce}-${number}-${text.length}-${hash(name + text)}`;
      await requestMore(portal.entitlementId, body, key);
      onDone();
      return reachOf(portal).after;
    },
    (failure) => (failure.kind === "throttled" ? t.requestedTooOften : failure.message),
  );
}

/** Set the customer's own cap of the seats, or of a usage limit. */
export function askForCap(portal: Portal, limit: UsageLimit | null, onDone: () => void): void {
  const use = limit?.usage ?? portal.seats;
  if (!use) return;
  const now = limit ? limit.customerCap : portal.customerCap;
  const amount = h("input", {
    type: "number",
    id: "own-cap",
    min: 0,
    max: use.hardCap ?? (limit ? MOST_QUANTITY : MOST_SEATS),
    step: 1,
    value: now ?? "",
    inputmode: "numeric",
  });
  open(
    limit ? t.setCapOf(limit.key) : t.setCap,
    [
      h("p", {}, t.capAbout(use.hardCap, limit !== null)),
      h("label", { for: "own-cap" }, t.capNumber),
      amount,
    ],
    async () => {
      const cap = amount.value === "" ? null : amount.valueAsNumber;
      await setCap(portal.entitlementId, limit?.key ?? null, cap);
      onDone();
      return [t.capSet(cap)];
    },
    (failure) => (failure.kind === "throttled" ? t.capTooOften : failure.message),
  );
}

function hash(text: string): string {
  let value = 0;
  for (const letter of text) value = (Math.imul(value, 31) + (letter.codePointAt(0) ?? 0)) | 0;
  return (value >>> 0).toString(16);
}
