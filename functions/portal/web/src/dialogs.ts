// Questions before something is done: releasing a seat, asking for more.

import { Failure, type HeldSeat, type Portal, releaseSeat, requestSeats } from "./api";
import { announce, fill, h, quoted, vendorName } from "./dom";

type Text = (string | Node)[];

function open(title: string, content: HTMLElement[], send: () => Promise<Text>): void {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const cancel = h(
    "button",
    { type: "button", class: "quiet", onclick: () => dialog.close() },
    "Cancel",
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
          problem.textContent = error instanceof Failure ? error.message : "Something went wrong.";
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
    h("button", { type: "button", class: "main", onclick: () => dialog.close() }, "Close");
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => closed() }, form);
  const opener = document.activeElement;
  const closed = () => {
    dialog.remove();
    // What opened it may be gone by now, as the seat that was released.
    const next = opener?.isConnected ? opener : document.getElementById("search");
    if (next instanceof HTMLElement) next.focus();
  };
  document.body.append(dialog);
  dialog.showModal();
}

/** Ask, then release a seat. */
export function askRelease(portal: Portal, seat: HeldSeat, onDone: () => void): void {
  const who = seat.seatName ?? seat.seatId ?? "this holder";
  open(
    "Release this seat",
    [
      h("p", {}, "The seat of ", quoted(who), " becomes free for somebody else."),
      h(
        "p",
        { class: "soft" },
        "Their software loses the seat at its next check-in, and can take a free one again.",
      ),
    ],
    async () => {
      await releaseSeat(portal.entitlementId, seat.activationId);
      onDone();
      return ["The seat was released."];
    },
  );
}

/** Who is notified of a request, before and after it is sent. */
function reachOf(portal: Portal): { before: Text; after: Text } {
  const vendor = vendorName();
  if (portal.requestsReach === "nobody") {
    const where = portal.supportEmail ? quoted(portal.supportEmail) : vendor;
    return {
      before: [
        "Nobody is notified automatically. Your request is kept here; please also write to ",
        where,
        ".",
      ],
      after: ["Your request is stored, but nobody was notified. Please write to ", where, "."],
    };
  }
  const name = portal.requestsReach === "account_owner" ? portal.accountOwner : null;
  const who = name ? quoted(name) : vendor;
  return {
    before: ["We'll notify ", who, name ? ", your account manager." : "."],
    after: [who, " has been notified and will answer you."],
  };
}

/** How many more seats to propose: those in overdraft, or a tenth of what was purchased. */
function proposed(portal: Portal): number {
  const { overdraftUsed = 0, purchased = 0 } = portal.seats ?? {};
  return Math.min(100_000, Math.max(1, overdraftUsed, Math.ceil(purchased / 10)));
}

/** Request more seats from the vendor. */
export function askForMore(portal: Portal, onDone: () => void): void {
  const seats = h("input", {
    type: "number",
    id: "more-seats",
    min: 1,
    max: 100_000,
    step: 1,
    value: proposed(portal),
    required: true,
    inputmode: "numeric",
  });
  const requester = h("input", { id: "more-requester", maxlength: 200, autocomplete: "name" });
  const message = h("textarea", { id: "more-message", maxlength: 1000, rows: 4 });
  // The same question sent twice, after an answer that was lost, is one question.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const nonce = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  open(
    "Request more seats",
    [
      h("p", {}, ...reachOf(portal).before),
      h("label", { for: "more-seats" }, "How many more?"),
      seats,
      h("label", { for: "more-requester" }, "Your name or e-mail (optional, colleagues see it)"),
      requester,
      h("label", { for: "more-message" }, "Message (optional)"),
      message,
    ],
    async () => {
      const text = message.value.replaceAll("\r\n", "\n").replaceAll("\t", " ").trim();
      const name = requester.value.trim();
      const body = {
        seats: seats.valueAsNumber,
        ...(text ? { message: text } : {}),
        ...(name ? { requester: name } : {}),
      };
      // Another wording is another question.
      const key = `${nonce}-${body.seats}-${text.length}-${hash(name + text)}`;
      await requestSeats(portal.entitlementId, body, key);
      onDone();
      return reachOf(portal).after;
    },
  );
}

function hash(text: string): string {
  let value = 0;
  for (const letter of text) value = (Math.imul(value, 31) + (letter.codePointAt(0) ?? 0)) | 0;
  return (value >>> 0).toString(16);
}
