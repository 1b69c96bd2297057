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
const pages = {
  portal: ["page.html", "src/main.ts"],
  console: ["console.html", "src/console/main.tsx"],
  reference: ["reference.html", "src/reference.ts"],
};

/** Write a file as it is and packed; the size that travels, in bytes. */
function written(name, contents) {
  const brotli = brotliCompressSync(contents, {
    params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
  });
  writeFileSync(target + name, contents);
  writeFileSync(`${target}${name}.br`, brotli);
  writeFileSync(`${target}${name}.gz`, gzipSync(contents, { level: 9 }));
  return brotli.length;
}

/** The files that a file needs before it runs, with itself. */
function needed(file, outputs, found = new Set()) {
  if (found.has(file)) return found;
  found.add(file);
  for (const each of outputs[file].imports)
    if (each.kind === "import-statement") needed(each.path, outputs, found);
  return found;
}

rmSync(target, { recursive: true, force: true });
mkdirSync(target);
for (const [name, [file, source]] of Object.entries(pages)) {
  const { outputFiles, metafile } = await build({
    entryPoints: { [name]: here + source },
    absWorkingDir: here,
    jsx: "automatic",
    jsxImportSource: "preact",
    bundle: true,
    splitting: true, // what is imported by `import()` travels when it is wanted
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "inline",
    entryNames: "[name]-[hash]",
    chunkNames: "part-[hash]",
    outdir: target,
    metafile: true,
    write: false,
  });
  const outputs = Object.fromEntries(
    Object.entries(metafile.outputs).map(([path, output]) => [
      basename(path),
      {
        ...output,
        imports: output.imports.map((each) => ({ ...each, path: basename(each.path) })),
      },
    ]),
  );
  const sizes = {};
  let page = readFileSync(here + file, "utf8");
  let style = "";
  for (const { path, contents } of outputFiles) {
    const output = basename(path);
    if (output.endsWith(".css")) {
      // One style for the whole page: its parts have none of their own.
      if (!output.startsWith(`${name}-`)) throw new Error(`${output}: import it in ${source}`);
      const hash = createHash("sha256").update(contents).digest("hex").slice(0, 12);
      style = `${name}-${hash}.css`;
      sizes[style] = written(style, contents);
    } else sizes[output] = written(output, contents);
  }
  const script = Object.keys(outputs).find((each) => outputs[each].entryPoint === source);
  const first = [...needed(script, outputs)];
  const tag = page.match(new RegExp(`( *)<script type="module" src="(.*)${name}\\.js"></script>`));
  const preloads = first
    .filter((each) => each !== script)
    .map((each) => `${tag[1]}<link rel="modulepreload" href="${tag[2]}${each}">\n`);
  page = page.replace(tag[0], preloads.join("") + tag[0]);
  page = page.replaceAll(`${name}.js`, script).replaceAll(`${name}.css`, style);
  writeFileSync(target + file, page);
  const sum = (names) => names.reduce((total, each) => total + (sizes[each] ?? 0), 0);
  const kb = (bytes) => (bytes / 1000).toFixed(1);
  const atFirst = Buffer.byteLength(page) + sum([...first, style]);
  const all = Buffer.byteLength(page) + sum(Object.keys(sizes));
  console.log(`${file}: ${kb(atFirst)} KB compressed at first, ${kb(all)} KB in all`);
}
