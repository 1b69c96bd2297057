// CSV of what is shown, for a spreadsheet: with a byte order mark, and never a formula.

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

/** Hand a table to the reader as a file. */
export function download(name: string, rows: Cell[][]): void {
  const url = URL.createObjectURL(new Blob([toCsv(rows)], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
