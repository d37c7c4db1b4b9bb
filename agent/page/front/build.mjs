// Builds the page into ../built. Run `npm ci && npm run build`, and check in what it writes.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const licence = readFileSync("node_modules/uplot/LICENSE", "utf8");
const banner = { js: `/*! Contains uPlot (https://github.com/leeoniya/uPlot).\n${licence}*/` };

rmSync("../built", { recursive: true, force: true });
mkdirSync("../built");
await build({
  entryPoints: readdirSync("src").filter((name) => /^(app|stream|shelf)\.ts$/.test(name)).map((name) => `src/${name}`),
  bundle: true,
  minify: true,
  target: "es2022",
  format: "iife",
  charset: "utf8",
  legalComments: "none",
  banner,
  outdir: "../built",
});
await build({
  entryPoints: readdirSync("src").filter((name) => /^(app|stream)\.css$/.test(name)).map((name) => `src/${name}`),
  bundle: true,
  minify: true,
  outdir: "../built",
});
// As they are, so that a person can read and change them.
for (const name of readdirSync("src").filter((name) => /\.(html|svg)$/.test(name) || name === "theme.css")) {
  writeFileSync(`../built/${name}`, readFileSync(`src/${name}`));
}

// A test compares these sums with the sources: a source that was changed and not built is noticed.
const sources = ["build.mjs", "package-lock.json", "tsconfig.json", ...readdirSync("src").map((name) => `src/${name}`)];
const sum = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");
const sums = Object.fromEntries(sources.sort().map((path) => [path, sum(path)]));
writeFileSync("../built/sources.json", `${JSON.stringify(sums, null, 1)}\n`);
