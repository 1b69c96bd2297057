// The language of the page: one for sentences, numbers and dates.

/** The languages that the page has sentences in. */
const SPOKEN = ["en", "de"] as const;
export type Language = (typeof SPOKEN)[number];

/** A language tag as far as this browser can write in it. Some browsers have none, or one that is no
 *  language tag, such as `C` or `en-US@posix`. */
function isUsable(tag: string): boolean {
  try {
    return Intl.NumberFormat.supportedLocalesOf(tag).length > 0;
  } catch {
    return false;
  }
}

const baseOf = (tag: string) => SPOKEN.find((each) => tag.toLowerCase().split("-")[0] === each);

/** The language that a link asks for by `?lang=`, else the first of the reader's that we have. */
function chosen(): string {
  const asked = new URLSearchParams(location.search).get("lang");
  const wanted = [...(asked ? [asked] : []), ...(navigator.languages ?? [])];
  return wanted.find((tag) => baseOf(tag) && isUsable(tag)) ?? "en";
}

/** The tag that numbers and dates are written in, such as `de-AT`. */
export const locale = chosen();
/** The language that sentences are written in. */
export const language: Language = baseOf(locale) ?? "en";
