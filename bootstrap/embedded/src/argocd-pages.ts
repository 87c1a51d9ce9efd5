/** Argo CD's own pages: built from the sources in its Go module with a component library of ours, for its server to embed. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { quoted } from "../../../lib/quoted.ts";
import { repository } from "./layout.ts";

/** What the pages are built with, beside Argo CD's Dockerfile. */
export const pagesDirectory = join(repository, "bootstrap/embedded/images/argocd/ui");

/** What of the library's snapshot on npm is taken as it is, under another name, or with a word changed. */
interface Snapshot {
  copied: string[];
  renamed: Record<string, string>;
  changed: Record<string, [string, string][]>;
}

/**
 * Lays out everything that the pages are built from: their sources, what is ours, and its packages.
 * @param source the directory of Argo CD's module
 * @param directory an empty one
 * @param options `tests` for the packages that the pages' own tests and types need
 */
export async function layOutPages(
  source: string,
  directory: string,
  options: { tests?: boolean } = {},
): Promise<void> {
  const ofModule = options.tests ? ["src", "__mocks__", "jest.config.js", "jest.setup.js"] : ["src"];
  for (const part of ofModule) cpSync(join(source, "ui", part), join(directory, part), { recursive: true });
  cpSync(pagesDirectory, directory, { recursive: true });
  progress("fetching the packages of Argo CD's pages");
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-global", "--legacy-peer-deps"];
  const needed = options.tests ? ["--include=dev"] : ["--omit=dev"];
  await run("npm", ["ci", ...flags, ...needed, "--include=optional"], { cwd: directory, quiet: true });
  completeLibrary(join(directory, "node_modules/argo-ui-snapshot/src"), join(directory, "argo-ui/src"));
}

/** Adds to our library what of the snapshot still works; a file of ours is never written over. */
function completeLibrary(snapshot: string, library: string): void {
  const { copied, renamed, changed } = JSON.parse(
    readFileSync(join(pagesDirectory, "snapshot.json"), "utf8"),
  ) as Snapshot;
  for (const [from, to] of [...copied.map((path) => [path, path]), ...Object.entries(renamed)] as const) {
    const target = join(library, to ?? "");
    if (existsSync(target) && !copied.includes(dirname(to ?? "")))
      throw new Failure(
        `argo-ui has a ${to} of its own, and takes the snapshot's (next: take it out of snapshot.json)`,
      );
    mkdirSync(dirname(target), { recursive: true });
    cpSync(join(snapshot, from ?? ""), target, { recursive: true });
  }
  for (const [path, replacements] of Object.entries(changed)) {
    const file = join(library, path);
    let text = readFileSync(file, "utf8");
    for (const [before, after] of replacements) {
      if (!text.includes(before)) throw new Failure(`${path} of argo-ui's snapshot does not say: ${before}`);
      text = text.replace(before, after);
    }
    writeFileSync(file, text);
  }
}

/** Builds the pages into a copy of Argo CD's module, from where its server embeds them. */
export async function addPages(module: string, version: string): Promise<void> {
  const directory = `${module}-pages`;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await layOutPages(module, directory);
  progress("building Argo CD's pages");
  const webpack = join(directory, "node_modules/webpack-cli/bin/cli.js");
  await run(process.execPath, [webpack, "--config", "webpack.config.cjs", "--mode", "production"], {
    cwd: directory,
    env: { ARGO_VERSION: version },
    quiet: true,
  });
  const built = join(directory, "dist/app");
  if (!existsSync(join(built, "index.html")))
    throw new Failure(`webpack left no index.html in ${built}`, `ls ${quoted(built)}`);
  // What stands there are links into Go's cache: written over, the cache would change.
  rmSync(join(module, "ui/dist/app"), { recursive: true, force: true });
  cpSync(built, join(module, "ui/dist/app"), { recursive: true });
  rmSync(directory, { recursive: true, force: true });
}
