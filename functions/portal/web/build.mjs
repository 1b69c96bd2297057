// Builds the pages into ../static: scripts and styles are named by their content and packed twice,
// since the function serves them as they are.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const target = `${here}../static/`;
// The page of each script.
const pages = { portal: "page.html", console: "console.html", reference: "reference.html" };
const { outputFiles } = await build({
  entryPoints: {
    portal: `${here}src/main.ts`,
    console: `${here}src/console/main.tsx`,
    reference: `${here}src/reference.ts`,
  },
  jsx: "automatic",
  jsxImportSource: "preact",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "inline",
  outdir: target,
  write: false,
});

rmSync(target, { recursive: true, force: true });
mkdirSync(target);
for (const [script, file] of Object.entries(pages)) {
  let page = readFileSync(here + file, "utf8");
  let packed = Buffer.byteLength(page);
  for (const output of outputFiles) {
    const [name, kind] = basename(output.path).split(".");
    if (name !== script) continue;
    const hash = createHash("sha256").update(output.contents).digest("hex").slice(0, 12);
    const named = `${name}-${hash}.${kind}`;
    const brotli = brotliCompressSync(output.contents, {
      params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
    });
    writeFileSync(target + named, output.contents);
    writeFileSync(`${target}${named}.br`, brotli);
    writeFileSync(`${target}${named}.gz`, gzipSync(output.contents, { level: 9 }));
    page = page.replaceAll(`${name}.${kind}`, named);
    packed += brotli.length;
  }
  writeFileSync(target + file, page);
  console.log(`${file}: ${(packed / 1000).toFixed(1)} KB compressed`);
}
