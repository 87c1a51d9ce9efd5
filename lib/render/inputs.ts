/** Everything that a rendering may read, as it lies on the disk, including ignored files and the targets of links. */
import { createHash } from "node:crypto";
import { type Dirent, existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join, posix, relative } from "node:path";
import { moduleFile } from "../modules.ts";
import { isMapping } from "../object.ts";
import {
  documentsOf,
  isKustomization,
  kustomizationsOf,
  mappingOf,
  namesIn,
  reachedFiles,
} from "./references.ts";
import { parseRemote } from "./remote.ts";

/** Above this a directory is rendered anew rather than hashed: it holds more than manifests. */
const mostFiles = 20_000;

/**
 * Names the contents of every file that kustomize may read when it builds directories: all below them, all below each
 * directory that a kustomization there names in any field, and the ends of links.
 * @param directories paths from the root
 * @returns undefined if something cannot be followed: a remote base, a chart, a plugin that is a program
 */
export function inputsOf(root: string, directories: string[]): string[] | undefined {
  const walk = new Walk(realpathSync(root));
  for (const directory of directories) walk.directory(posix.normalize(directory));
  return walk.isWhole ? [...walk.files].sort(([a], [b]) => (a < b ? -1 : 1)).flat() : undefined;
}

/** The paths of the files that kustomize may read when it builds a directory, as far as they can be followed. */
export function filesBelow(root: string, directory: string): string[] {
  const walk = new Walk(realpathSync(root));
  walk.directory(posix.normalize(directory));
  return [...walk.files.keys()];
}

/**
 * The files in the working tree that directories are rendered from, each with the file that names it: what kustomizations
 * name, and the manifests of directories without one.
 */
export function filesRead(root: string, directories: string[]): { file: string; by: string }[] {
  const found: { file: string; by: string }[] = [];
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(join(root, path), "utf8");
    } catch {
      return undefined;
    }
  };
  for (const directory of new Set(directories)) {
    const own = kustomizationsOf(directory).find((path) => existsSync(join(root, path)));
    if (own === undefined) found.push(...plainManifests(root, directory));
    else
      for (const file of reachedFiles({ get: read }, [directory]))
        found.push({ file, by: nearest(root, file) ?? own });
  }
  return found;
}

function plainManifests(root: string, directory: string): { file: string; by: string }[] {
  const place = join(root, directory);
  if (!existsSync(place) || !statSync(place).isDirectory()) return [];
  return readdirSync(place)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .map((name) => posix.join(directory, name))
    .map((file) => ({ file, by: file }));
}

function nearest(root: string, file: string): string | undefined {
  for (let place = posix.dirname(file); ; place = posix.dirname(place)) {
    const found = kustomizationsOf(place).find((path) => path !== file && existsSync(join(root, path)));
    if (found !== undefined || place === "." || place.startsWith("..")) return found;
  }
}

class Walk {
  /** What each file held, by path. */
  readonly files = new Map<string, string>();
  /** False where something that is read could not be followed. */
  isWhole = true;
  readonly #root: string;
  readonly #directories = new Set<string>();

  /** @param root without links in its path */
  constructor(root: string) {
    this.#root = root;
  }

  directory(path: string): void {
    // Below one that was read already: its files are there.
    const place = this.#inside(path);
    if (place === undefined || this.#directories.has(place)) return;
    this.#directories.add(place);
    for (const entry of this.#entries(place)) {
      const child = posix.join(place, entry.name);
      if (entry.isSymbolicLink()) this.#link(child);
      else if (entry.isDirectory()) this.directory(child);
      else this.#file(child);
    }
  }

  #entries(place: string): Dirent[] {
    try {
      return readdirSync(join(this.#root, place), { withFileTypes: true }).filter(
        ({ name }) => name !== ".git",
      );
    } catch {
      return [];
    }
  }

  // Where a link leads is part of what is read: kustomize follows it.
  #link(path: string): void {
    const target = statSync(join(this.#root, path), { throwIfNoEntry: false });
    if (target?.isDirectory()) {
      this.files.set(path, `-> ${relative(this.#root, realpathSync(join(this.#root, path)))}`);
      this.directory(path);
    } else if (target) this.#file(path);
    else this.files.set(path, "-> nothing");
  }

  #file(path: string): void {
    if (this.files.size >= mostFiles) this.isWhole = false;
    if (this.files.has(path) || this.files.size >= mostFiles) return;
    let bytes: Buffer;
    try {
      bytes = readFileSync(join(this.#root, path));
    } catch {
      // A socket or a file of somebody else's: kustomize would fail on it, and a failure is not kept.
      this.files.set(path, "unreadable");
      return;
    }
    // These are bytes, not text: whatever is not UTF-8 would read alike.
    this.files.set(path, createHash("sha256").update(bytes).digest("base64"));
    if (isKustomization(path)) this.#kustomization(path, bytes.toString("utf8"));
  }

  #kustomization(path: string, text: string): void {
    if (runsProgram(text)) this.isWhole = false;
    for (const name of namesIn(text)) {
      if (isRemote(name)) this.isWhole = false;
      const isAbsolute = name.startsWith("/");
      const named = isAbsolute ? relative(this.#root, name) : posix.join(posix.dirname(path), name);
      // Kustomize refuses what is absolute and elsewhere: a mountPath in a patch is no reference.
      if (isAbsolute && isOutside(named)) continue;
      const stat = name.length < 4096 ? statOf(join(this.#root, named)) : undefined;
      if (stat?.isDirectory()) this.directory(named);
      else if (stat?.isFile() && this.#inside(posix.dirname(named)) !== undefined) this.#file(named);
    }
  }

  /** A directory without links in its path, from the root; undefined if it is none. Nothing outside of the root is followed. */
  #inside(path: string): string | undefined {
    const place = join(this.#root, path);
    if (!existsSync(place)) return undefined;
    const real = relative(this.#root, realpathSync(place));
    if (isOutside(real)) {
      this.isWhole = false;
      return undefined;
    }
    return real;
  }
}

const isOutside = (path: string): boolean => path === ".." || path.startsWith("../");

function statOf(path: string): ReturnType<typeof statSync> | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

// https://kubectl.docs.kubernetes.io/references/kustomize: what may be a repository elsewhere, in its many spellings.
function isRemote(name: string): boolean {
  if (parseRemote(name)) return false;
  return (
    name.includes("//") ||
    /^[\w.-]+@[\w.-]+:/.test(name) ||
    /^(git::|gh:|github\.com[/:]|gitlab\.com[/:]|bitbucket\.org[/:])/i.test(name) ||
    /[?&](ref|version|timeout|submodules)=/.test(name) ||
    /\.git(\/|$)/.test(name)
  );
}

/**
 * What a kustomization takes from outside of the repository, or has other programs make, by the first that is found;
 * undefined where kustomize alone can build it from what is here.
 */
export function elsewhere(root: string, directory: string): string | undefined {
  for (const { file } of filesRead(root, [directory])) {
    if (!isKustomization(file)) continue;
    const text = readFileSync(join(root, file), "utf8");
    const content = mappingOf(text);
    const listed = ["resources", "bases", "components", "crds", "generators", "transformers", "patches"]
      .flatMap((field) => content[field] ?? [])
      .flatMap((entry) => (typeof entry === "string" ? entry : isMapping(entry) ? (entry.path ?? []) : []));
    const remote = listed.find(
      (entry) => typeof entry === "string" && !entry.includes("\n") && isFetched(root, file, entry),
    );
    if (remote !== undefined) return `${file} takes ${remote}, which is elsewhere`;
    if (runsProgram(text)) return `${file} has Helm render charts`;
    for (const field of ["generators", "transformers"])
      for (const name of [content[field] ?? []].flat())
        if (typeof name === "string" && isPlugin(root, posix.join(posix.dirname(file), name), name))
          return `${file} has a ${field.slice(0, -1)} that is a program of its own`;
  }
  return undefined;
}

function isFetched(root: string, file: string, entry: string): boolean {
  if (existsSync(join(root, posix.dirname(file), entry))) return false;
  const remote = parseRemote(entry);
  if (remote) return !existsSync(join(root, moduleFile(remote.module)));
  return isRemote(entry);
}

// What is builtin is kustomize's own; anything else is a program that it would have to be allowed to run.
function isPlugin(root: string, path: string, name: string): boolean {
  const text = name.includes("\n") ? name : (textAt(join(root, path)) ?? "");
  return documentsOf(text).some(
    (document) =>
      isMapping(document) && document.apiVersion !== undefined && document.apiVersion !== "builtin",
  );
}

function textAt(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

// Helm, and functions in containers or executables: nobody can know beforehand what they read.
function runsProgram(text: string): boolean {
  const { helmCharts, helmChartInflationGenerator, helmGlobals } = mappingOf(text);
  return [helmCharts, helmChartInflationGenerator, helmGlobals].some((field) => field !== undefined);
}
