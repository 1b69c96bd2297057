// The messages in the language of the page.

import { type Language, language } from "../../language";
import { de } from "./de";
import { en, type Messages } from "./en";

const ALL: Record<Language, Messages> = { en, de };

/** What the console says. */
export const t: Messages = ALL[language];
