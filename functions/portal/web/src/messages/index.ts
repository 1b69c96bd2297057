// The messages in the language of the page.

import { language } from "../language";
import { en, type Messages } from "./en";

/** What the page says. It is English until `speak` is done. */
export const t: Messages = { ...en };

/** Fetch the sentences of the page's language. Where they cannot be had, it stays English. */
export async function speak(): Promise<void> {
  try {
    if (language === "de") Object.assign(t, (await import("./de")).de);
  } catch {}
}
