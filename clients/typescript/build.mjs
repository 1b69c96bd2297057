// Builds the package into `dist`, as ES modules and as CommonJS; `--check` only checks its types.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";

const DESCRIPTION = "../../openapi.json";
const TYPES = "src/generated/api.ts";

function run(name, ...given) {
  execFileSync(`node_modules/.bin/${name}`, given, { stdio: ["ignore", "inherit", "inherit"] });
}

/** The types of the API, from its description, if that has changed. */
function makeTypes() {
  if (existsSync(TYPES) && statSync(TYPES).mtimeMs > statSync(DESCRIPTION).mtimeMs) return;
  execFileSync("node_modules/.bin/openapi-typescript", [DESCRIPTION, "-o", TYPES], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

makeTypes();
if (process.argv.includes("--check")) {
  run("tsc", "--noEmit");
} else {
  const { version } = JSON.parse(readFileSync("package.json", "utf8"));
  if (!readFileSync("src/version.ts", "utf8").includes(`"${version}"`)) {
    throw new Error("src/version.ts and package.json have different versions");
  }
  rmSync("dist", { recursive: true, force: true });
  for (const [folder, type, options] of [
    ["esm", "module", []],
    ["cjs", "commonjs", ["--module", "node16", "--moduleResolution", "node16"]],
  ]) {
    run("tsc", "--outDir", `dist/${folder}`, ...options);
    mkdirSync(`dist/${folder}`, { recursive: true });
    writeFileSync(`dist/${folder}/package.json`, `{ "type": "${type}" }\n`);
  }
}
