"""`make bench-charts`: libraries that could draw the portal's graph, by size, speed and looks.

Each draws the same 10,000 points: use as steps, filled, and two limits. Sizes are of a bundle with
what that takes, minified; times are medians, told as ratios to uPlot in the same run.
"""

import shutil
import statistics
import subprocess
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tools import ROOT, build

FOLDER = ROOT / "benchmarks/charts"
CACHE = ROOT / ".cache/charts"
LOOKS = ROOT / ".local/charts"
LIBRARIES = ("uplot", "chartjs", "echarts")
POINTS = 10_000
ROUNDS = 9

DRAW = """([points, number]) => {
  const x = [], used = [], purchased = [], cap = [];
  for (let n = 0; n < points; n++) {
    x.push(1780000000 + n * 900);
    used.push(Math.round(60 + 50 * Math.sin(n / 30) + 9 * Math.sin(n * 12.9898)));
    purchased.push(n < points / 2 ? 90 : 100);
    cap.push(n < points / 2 ? 108 : 120);
  }
  const place = document.body.appendChild(document.createElement('div'));
  const began = performance.now();
  window.draw(place, x, used, purchased, cap);
  return new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => {
    const spent = performance.now() - began;
    if (number) place.remove();
    resolve(spent);
  })));
}"""


def bundle(name: str) -> Path:
    """What the page would load of one library."""
    target = CACHE / f"{name}.bundle.js"
    subprocess.run(
        [
            "node_modules/.bin/esbuild",
            f"{name}.js",
            "--bundle",
            "--minify",
            "--format=esm",
            f"--outfile={target}",
            "--log-level=error",
        ],
        cwd=CACHE,
        check=True,
    )
    return target


def packed(path: Path) -> int:
    """Bytes as brotli, as the portal's files are packed."""
    program = (
        "const z = require('zlib');"
        "console.log(z.brotliCompressSync(require('fs').readFileSync(process.argv[1])).length)"
    )
    told = subprocess.run(["node", "-e", program, str(path)], capture_output=True, check=True)
    return int(told.stdout)


def measure(page: Page, script: Path, name: str) -> float:
    """Milliseconds from the call until it is painted, the median; the first round is left out."""
    page.goto("about:blank")
    page.add_script_tag(path=script, type="module")
    if script.with_suffix(".css").exists():
        page.add_style_tag(path=script.with_suffix(".css"))
    page.wait_for_function("() => window.draw")
    spent = [page.evaluate(DRAW, [POINTS, number]) for number in range(ROUNDS + 1)]
    page.screenshot(path=LOOKS / f"{name}.png", clip={"x": 0, "y": 0, "width": 1016, "height": 340})
    middle: float = statistics.median(spent[1:])
    return middle


def main() -> None:
    """Bundle, draw, print."""
    CACHE.mkdir(parents=True, exist_ok=True)
    LOOKS.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():
        if path.is_file():
            shutil.copy(path, CACHE)
    subprocess.run(["npm", "ci", "--ignore-scripts", "--silent"], cwd=CACHE, check=True)
    rows: list[dict[str, Any]] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 400})
        for name in LIBRARIES:
            script = bundle(name)
            size = script.stat().st_size
            rows.append(
                {
                    "name": name,
                    "minified": size,
                    "brotli": packed(script),
                    "ms": measure(page, script, name),
                }
            )
        browser.close()
    first = rows[0]
    print(
        f"{POINTS:,} points in three stepped lines; the pictures are in {LOOKS.relative_to(ROOT)}"
    )
    print(
        f"{'library':<10}{'minified KB':>13}{'brotli KB':>11}{'size ratio':>12}{'time ratio':>12}"
    )
    for row in rows:
        print(
            f"{row['name']:<10}{row['minified'] / 1000:>13.1f}{row['brotli'] / 1000:>11.1f}"
            f"{row['brotli'] / first['brotli']:>12.2f}{row['ms'] / first['ms']:>12.2f}"
        )
    page_files = [path for path in build.STATIC.glob("*") if path.suffix in (".br", ".html")]
    print(
        f"the portal's whole page: {sum(p.stat().st_size for p in page_files) / 1000:.1f} KB brotli"
    )


if __name__ == "__main__":
    main()
