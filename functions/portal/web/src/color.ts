// The vendor's accent colour, made readable on whatever is behind it.

type Rgb = [number, number, number];

function parse(text: string): Rgb {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  return hex ? ([1, 2, 3].map((n) => Number.parseInt(hex[n] ?? "0", 16)) as Rgb) : [43, 108, 176];
}

/** Relative luminance, as WCAG 2 defines it. */
function luminance(color: Rgb): number {
  const [r, g, b] = color.map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: Rgb, b: Rgb): number {
  const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}

const mix = (from: Rgb, to: Rgb, share: number) =>
  from.map((part, n) => Math.round(part + ((to[n] ?? 0) - part) * share)) as Rgb;
const css = (color: Rgb) => `rgb(${color.join(" ")})`;

/** Set `--accent`, with a contrast of 3 to 1 at the least to the page, and what is written on it. */
export function applyAccent(text: string): void {
  const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
  const [page, far]: [Rgb, Rgb] = isDark
    ? [
        [23, 27, 33],
        [255, 255, 255],
      ]
    : [
        [255, 255, 255],
        [0, 0, 0],
      ];
  let accent = parse(text);
  for (let step = 0; step < 20 && contrast(accent, page) < 3.2; step++)
    accent = mix(accent, far, 0.1);
  const ink: Rgb = contrast(accent, [255, 255, 255]) >= 4.5 ? [255, 255, 255] : [0, 0, 0];
  const style = document.documentElement.style;
  style.setProperty("--accent", css(accent));
  style.setProperty("--use-fill", `rgb(${accent.join(" ")} / 14%)`);
  style.setProperty("--on-accent", css(ink));
}
