/** Builds Argo CD's own pages from the sources in its Go module and our component library. Its server embeds them. */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { quoted } from "../../../lib/quoted.ts";
import { repository } from "./layout.ts";

/** The directory, next to Argo CD's Dockerfile, with what the pages are built with. */
export const pagesDirectory = join(repository, "bootstrap/embedded/images/argocd/ui");

/** Files of the library's snapshot on npm: copied unchanged, copied under another name, or with text replaced. */
interface Snapshot {
  copied: string[];
  renamed: Record<string, string>;
  changed: Record<string, [string, string][]>;
}

/**
 * Copies everything that the pages are built from into one directory: their sources, our files, and npm packages.
 * @param source the directory of Argo CD's module
 * @param directory the empty directory to fill
 * @param options `tests` adds the packages that the pages' own tests and types need
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

/** Adds those files of the snapshot that still work to our library. It never overwrites a file of ours. */
function completeLibrary(snapshot: string, library: string): void {
  const { copied, renamed, changed } = JSON.parse(
    readFileSync(join(pagesDirectory, "snapshot.json"), "utf8"),
  ) as Snapshot;
  for (const [from, to] of [...copied.map((path) => [path, path]), ...Object.entries(renamed)] as const) {
    const target = join(library, to ?? "");
    if (existsSync(target) && !copied.includes(dirname(to ?? "")))
      throw new Failure(
        `argo-ui has its own ${to}, but takes the snapshot's (next: remove it from snapshot.json)`,
      );
    mkdirSync(dirname(target), { recursive: true });
    cpSync(join(snapshot, from ?? ""), target, { recursive: true });
  }
  for (const [path, replacements] of Object.entries(changed)) {
    const file = join(library, path);
    let text = readFileSync(file, "utf8");
    for (const [before, after] of replacements) {
      if (!text.includes(before))
        throw new Failure(`${path} of argo-ui's snapshot does not contain: ${before}`);
      text = text.replace(before, after);
    }
    writeFileSync(file, text);
  }
}

/** Builds the pages into a copy of Argo CD's module, from which its server embeds them. */
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
  // The files are hard links into Go's cache: writing to them would change the cache.
  rmSync(join(module, "ui/dist/app"), { recursive: true, force: true });
  cpSync(built, join(module, "ui/dist/app"), { recursive: true });
  rmSync(directory, { recursive: true, force: true });
}
