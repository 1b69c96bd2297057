// Questions before something is done: releasing a seat, asking for more.

import { Failure, type HeldSeat, type Portal, releaseSeat, requestSeats } from "./api";
import { announce, fill, h, quoted } from "./dom";

function open(title: string, content: HTMLElement[], send: () => Promise<string>): void {
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
          const done = await send();
          announce(done);
          fill(
            form,
            h("h2", { id: "dialog-title" }, title),
            h("p", {}, done),
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
        "Their software is told when it renews the seat, and may take one again if one is free.",
      ),
    ],
    async () => {
      await releaseSeat(portal.entitlementId, seat.activationId);
      onDone();
      return "The seat was released.";
    },
  );
}

/** Ask the vendor for more seats. */
export function askForMore(portal: Portal): void {
  const seats = h("input", {
    type: "number",
    id: "more-seats",
    min: 1,
    max: 100_000,
    step: 1,
    value: 10,
    required: true,
    inputmode: "numeric",
  });
  const message = h("textarea", { id: "more-message", maxlength: 1000, rows: 4 });
  // The same question sent twice, after an answer that was lost, is one question.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const nonce = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  const told = portal.accountOwner
    ? ["Your vendor will be told: ", quoted(portal.accountOwner), " looks after your license."]
    : ["Your vendor will be told."];
  open(
    "Ask for more seats",
    [
      h("p", {}, ...told),
      h("label", { for: "more-seats" }, "How many more?"),
      seats,
      h("label", { for: "more-message" }, "Anything to add? (optional)"),
      message,
    ],
    async () => {
      const text = message.value.replaceAll("\r\n", "\n").replaceAll("\t", " ").trim();
      const body = { seats: seats.valueAsNumber, ...(text ? { message: text } : {}) };
      // Another wording is another question.
      const key = `${nonce}-${body.seats}-${text.length}-${hash(text)}`;
      await requestSeats(portal.entitlementId, body, key);
      return "Your vendor has been told. They will answer you directly.";
    },
  );
}

function hash(text: string): string {
  let value = 0;
  for (const letter of text) value = (Math.imul(value, 31) + (letter.codePointAt(0) ?? 0)) | 0;
  return (value >>> 0).toString(16);
}
