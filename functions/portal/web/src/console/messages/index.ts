// The messages in the language of the page.

import { language } from "../../language";
import { speak as speakOfUse } from "../../messages";
import { en, type Messages } from "./en";

/** What the console says. It is English until `speak` is done. */
export const t: Messages = { ...en };

/** Fetch the sentences of the page's language. Where they cannot be had, it stays English. */
export async function speak(): Promise<void> {
  if (language !== "de") return;
  try {
    const [{ de }] = await Promise.all([import("./de"), speakOfUse()]);
    Object.assign(t, de);
  } catch {}
}
