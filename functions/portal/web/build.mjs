// Builds the page into ../static: scripts and styles are named by their content and packed twice,
// since the function serves them as they are.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname;
const target = `${here}../static/`;
const result = await build({
  entryPoints: { portal: `${here}src/main.ts` },
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
let page = readFileSync(`${here}page.html`, "utf8");
let packed = Buffer.byteLength(page);
for (const file of result.outputFiles) {
  const kind = file.path.endsWith(".css") ? "css" : "js";
  const hash = createHash("sha256").update(file.contents).digest("hex").slice(0, 12);
  const name = `portal-${hash}.${kind}`;
  const brotli = brotliCompressSync(file.contents, {
    params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
  });
  writeFileSync(target + name, file.contents);
  writeFileSync(`${target}${name}.br`, brotli);
  writeFileSync(`${target}${name}.gz`, gzipSync(file.contents, { level: 9 }));
  page = page.replaceAll(`portal.${kind}`, name);
  packed += brotli.length;
}
writeFileSync(`${target}page.html`, page);
console.log(`the portal's page: ${(packed / 1000).toFixed(1)} KB compressed`);
