/** Compiles the pinned Go tools into the cache, once for each content of their module. */
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import {
  goEnvironment,
  type Module,
  moduleDirectory,
  moduleFile,
  moduleNamed,
  moduleSource,
  modules,
  type Patch,
  pinnedVersion,
} from "../../../lib/modules.ts";
import { log, run, succeeds } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { addPages, pagesDirectory } from "./argocd-pages.ts";
import { markUsed, removeUnusedBuilds } from "./build-cache.ts";
import { compiler } from "./compiler.ts";
import { cache, repository, state } from "./layout.ts";

/** Additions to a module: `add` changes a copy of its sources, and depends on the files in `directory`. */
const additions: Record<
  string,
  { directory: string; add: (copy: string, version: string) => Promise<void> }
> = {
  argocd: { directory: pagesDirectory, add: addPages },
};

const directory = (name: string): string => moduleDirectory(repository, moduleNamed(name));

/** The version that a module's go.mod pins for its tool, such as `v1.2.3`. */
export function moduleVersion(name: string): string {
  const module = moduleNamed(name);
  if (!module.path)
    throw new Failure(`${moduleFile(module)} requires no module that gives ${name} its version`);
  return pinnedVersion(repository, { ...module, path: module.path });
}

function flags(module: Module): string[] {
  const stamp = module.ldflags?.(moduleVersion(module.name)) ?? "";
  const tags = module.tags ? ["-tags", module.tags.join(",")] : [];
  return ["-trimpath", ...tags, "-ldflags", `-s -w ${stamp}`.trim()];
}

/** Identifies the result of a build by the module's files and the flags. */
export function moduleKey(name: string): string {
  const { patch } = moduleNamed(name);
  const hash = createHash("sha256").update(JSON.stringify(flags(moduleNamed(name))));
  if (patch) hash.update(JSON.stringify(patch));
  // Tests are not part of any binary.
  for (const file of filesBelow(directory(name)).filter((file) => !file.endsWith("_test.go")))
    hash.update(`\0${file}\0`).update(readFileSync(join(directory(name), file)));
  const added = additions[name]?.directory;
  for (const file of added === undefined ? [] : filesBelow(added))
    hash.update(`\0${file}\0`).update(readFileSync(join(added ?? "", file)));
  return hash.digest("hex").slice(0, 16);
}

/** The sorted files below a directory, without npm packages that somebody may have installed there. */
const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(relative(directory, entry.parentPath), entry.name))
    .filter((file) => !file.split("/").includes("node_modules"))
    .sort();

/** The directory with a module's binaries after it was built. */
export const binaries = (name: string): string => cache("bin", `${name}-${moduleKey(name)}`);

/** True if the module's binaries are in the cache. */
export const isBuilt = (name: string): boolean => existsSync(binaries(name));

const environment = (): Record<string, string> => ({ ...goEnvironment(), GOGC: process.env.GOGC ?? "400" });

/**
 * Replaces the patch's expression in the text of a file.
 * @throws Failure if the text does not contain it exactly once, for example in another version
 */
export function patchText(text: string, { module, file, before, after }: Patch): string {
  const parts = text.split(before);
  if (parts.length !== 2)
    throw new Failure(
      `${file} of ${module} has "${before}" ${parts.length - 1} times, expected once`,
      "fix the patch in lib/modules.ts",
    );
  return parts.join(after);
}

/** A change to a module's sources before they are compiled. It is applied to a copy of them. */
interface Change {
  path: string;
  apply: (copy: string) => Promise<void>;
}

function changeOf({ name, path, patch }: Module): Change | undefined {
  const add = additions[name]?.add;
  if (add && path) return { path, apply: (copy) => add(copy, moduleVersion(name)) };
  return patch && { path: patch.module, apply: async (copy) => applyPatch(copy, name, patch) };
}

function applyPatch(copy: string, name: string, patch: Patch): void {
  const file = join(copy, patch.file);
  const text = patchText(readFileSync(file, "utf8"), patch);
  // The file is a hard link into Go's cache: writing to it would change the cache.
  rmSync(file);
  writeFileSync(file, text);
  cpSync(join(directory(name), patch.adds), join(dirname(file), patch.adds.replace(/\.in$/, "")));
}

/**
 * Copies the sources that must change, changes the copy, and returns the flag that makes Go compile the copy. Neither an
 * overlay nor a symbolic link works: Go refuses overlays for files in its cache, and does not embed links.
 */
async function changed(module: Module): Promise<string[]> {
  const change = changeOf(module);
  if (!change) return [];
  const { name } = module;
  const { path, apply } = change;
  const copy = cache("sources", name);
  rmSync(copy, { recursive: true, force: true });
  mkdirSync(cache("sources"), { recursive: true });
  const source = await moduleSource(repository, { name, path });
  // Hard links take no space and no time, but they do not work across file systems.
  if (!(await succeeds("cp", ["--archive", "--link", source, copy]))) {
    rmSync(copy, { recursive: true, force: true });
    cpSync(source, copy, { recursive: true });
  }
  await apply(copy);
  const pinned = readFileSync(join(directory(name), "go.mod"), "utf8");
  writeFileSync(`${copy}.mod`, `${pinned}\nreplace ${path} => ${copy}\n`);
  cpSync(join(directory(name), "go.sum"), `${copy}.sum`);
  return ["-modfile", `${copy}.mod`];
}

async function build(module: Module): Promise<void> {
  const target = binaries(module.name);
  const scratch = `${target}.partial`;
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const packages = module.main ? "." : "tool";
  const started = Date.now();
  const status = cache("bin", `${module.name}.progress`);
  const say = (text: string): void => {
    writeFileSync(status, text);
    progress(text);
  };
  say(`fetching ${module.name}`);
  const modfile = await changed(module);
  const options = { cwd: directory(module.name), env: environment() };
  const total = new Set(
    (
      await run("go", ["list", "-deps", ...modfile, ...flags(module).slice(0, -2), packages], {
        ...options,
        quiet: true,
      })
    ).split("\n"),
  ).size;
  let compiled = 0;
  const onLine = (line: string): void => {
    if (!/^[\w.-]+(\/[\w.~-]+)*$/.test(line)) return;
    compiled++;
    say(`compiling ${module.name} ${Math.min(compiled, total)}/${total}`);
  };
  await run("go", ["build", "-v", ...modfile, ...flags(module), "-o", `${scratch}/`, packages], {
    ...options,
    onLine,
    quiet: true,
  });
  for (const [from, to] of Object.entries(module.rename ?? {}))
    renameSync(join(scratch, from), join(scratch, to));
  renameSync(scratch, target);
  rmSync(cache("sources", module.name), { recursive: true, force: true });
  rmSync(status, { force: true });
  removeUnusedBuilds(cache("bin"), module.name);
  log(`built ${module.name} in ${Math.round((Date.now() - started) / 1000)} s`);
}

/** Builds one module in this process if it is not in the cache. The caller holds the build lock. */
export async function buildModule(name: string): Promise<void> {
  if (!isBuilt(name)) await build(moduleNamed(name));
}

/**
 * Waits until the modules are built. The process that holds the lock file builds them, and the others wait.
 * @throws Failure with the compiler's last lines
 */
export async function ensureBuilt(names: string[]): Promise<void> {
  mkdirSync(cache("bin"), { recursive: true });
  for (const name of names) {
    if (isBuilt(name)) {
      markUsed(binaries(name));
      continue;
    }
    const watch = setInterval(() => {
      const status = cache("bin", `${name}.progress`);
      const working = modules.find((m) => existsSync(cache("bin", `${m.name}.progress`)));
      if (existsSync(status)) progress(readFileSync(status, "utf8"));
      else if (working)
        progress(`waiting for ${name}: ${readFileSync(cache("bin", `${working.name}.progress`), "utf8")}`);
    }, 1000);
    try {
      // flock(1) releases the lock when its holder dies, so a killed build never blocks the next one.
      await run("flock", [cache("bin", "build.lock"), process.execPath, ...compiler(name)], { quiet: true });
    } finally {
      clearInterval(watch);
    }
  }
}

/** Puts the modules' binaries into the state directory, from which they run. Builds them first if needed. */
export async function installBinaries(names: string[]): Promise<void> {
  await ensureBuilt(names);
  mkdirSync(state("bin"), { recursive: true });
  for (const name of names) {
    for (const binary of readdirSync(binaries(name))) {
      const target = state("bin", binary);
      const fresh = `${target}.new`;
      rmSync(fresh, { force: true });
      try {
        linkSync(join(binaries(name), binary), fresh);
      } catch {
        cpSync(join(binaries(name), binary), fresh);
      }
      renameSync(fresh, target);
    }
  }
}
