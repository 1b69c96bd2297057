// CSV of what is shown, for a spreadsheet: with a byte order mark, and never a formula.

import { now } from "./clock";
import { dateOf, folded } from "./format";

type Cell = string | number | null;

// Also where marks that nobody sees stand before it, and in the form that takes full width.
const DANGEROUS = /^[\s\p{Cf}]*[=+\-@＝＋－＠\t\r]|[;,\t\r\n][\s\p{Cf}]*[=+\-@＝＋－＠]/u;

function cell(value: Cell): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const guarded = DANGEROUS.test(value)
    ? `'${value.replace(/([;,\t\r\n]\s*)([=+\-@])/g, "$1'$2")}`
    : value;
  return /[",;\t\r\n']/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

/** The text of a table. */
export function toCsv(rows: Cell[][]): string {
  return `\ufeff${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

let about = "";

/** Whose figures the files are of: their names begin with it. */
export function nameFilesAfter(...names: string[]): void {
  const words = names.map((name) =>
    folded(name)
      .replace(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-|-$/g, "")
      .slice(0, 40),
  );
  about = words.filter(Boolean).join("-");
}

/** Hand a table to the reader as a file, named by whose it is, what, and of when: by default today. */
export function download(name: string, rows: Cell[][], when = dateOf(now())): void {
  const url = URL.createObjectURL(new Blob([toCsv(rows)], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${[about, name, when].filter(Boolean).join("-")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
