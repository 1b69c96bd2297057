// Elements from values. Text is always text: nothing that came from a table becomes markup.

import { t } from "./messages";

type Child = Node | string | number | null | undefined | false;
type Props = Record<string, string | number | boolean | ((event: Event) => void) | undefined>;

/** An element; properties that begin with `on` are listeners, `true` is an empty attribute. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value));
  }
  fill(element, ...children);
  return element;
}

/** Replace what is in an element. */
export function fill(element: Element, ...children: Child[]): void {
  const shown = children.filter(
    (child) => child !== null && child !== undefined && child !== false,
  ) as (Node | string | number)[];
  element.replaceChildren(
    ...shown.map((child) => (typeof child === "number" ? String(child) : child)),
  );
}

/** Somebody's own words: their direction of writing must not reach what is around them. */
export function quoted(text: string): HTMLElement {
  return h("bdi", { class: "quoted" }, withoutControls(text));
}

/** The same, within a sentence that is no markup: a title, a label. */
export function isolated(text: string): string {
  const shown = withoutControls(text);
  return /[^\x20-\x7e]/.test(shown) ? `\u2068${shown}\u2069` : shown;
}

/** A text without the characters that turn the direction of what follows them. */
const withoutControls = (text: string) => text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "");

/** The vendor, as a sentence names them. */
export const vendorName = () => document.documentElement.dataset.vendor || t.vendor;

/** Say something to a screen reader, without moving anybody. */
export function announce(text: string): void {
  let region = document.getElementById("announcer");
  if (!region) {
    region = h("div", { id: "announcer", class: "hidden", role: "status" });
    document.body.append(region);
  }
  region.textContent = text;
}

/** A button that hands over a table. */
export function csvButton(save: () => void, name = t.csv): HTMLButtonElement {
  return h("button", { type: "button", class: "quiet", onclick: save }, name);
}
