/** Remote resources of kustomizations, which are taken from the pinned Go module instead of the network. */
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { argocd, moduleDirectory, moduleSource, type PinnedModule, pinnedVersion } from "../modules.ts";
import { filesBelow } from "./inputs.ts";
import { isKustomization, reachedFiles } from "./references.ts";

/** A repository's files as a web server gives them out, and the module that holds the same files. */
interface Remote {
  prefix: string;
  module: PinnedModule;
}

const remotes: Remote[] = [{ prefix: "https://raw.githubusercontent.com/argoproj/argo-cd/", module: argocd }];

/** A remote resource whose version is not the one that its module is pinned to. */
export class RemoteMismatch extends Error {
  readonly file: string;
  readonly url: string;
  constructor(file: string, url: string, named: string, pinned: string, home: string) {
    super(
      `${file} takes ${basename(url)} at ${named}, but ${home} pins ${pinned}: write ${pinned} in ${file}, or raise the module`,
    );
    this.file = file;
    this.url = url;
  }
}

/** A remote resource's URL, taken apart; undefined for what does not come from a pinned module. */
export function parseRemote(
  url: string,
): { module: PinnedModule; version: string; path: string } | undefined {
  for (const { prefix, module } of remotes) {
    if (!url.startsWith(prefix)) continue;
    const [version = "", ...path] = url.slice(prefix.length).split("/");
    return { module, version, path: path.join("/") };
  }
  return undefined;
}

/** The URLs of pinned modules in a text. */
export function remotesIn(text: string): string[] {
  return remotes.flatMap(({ prefix }) =>
    text.split(prefix).flatMap((rest, index) => (index === 0 ? [] : `${prefix}${/^\S*/.exec(rest)?.[0]}`)),
  );
}

/**
 * Calls `use` with a directory that renders without the network: the given one if it needs no network, or a copy that is
 * removed afterwards.
 * @param directory a kustomization, from the root of the repository
 * @param additions files that the repository does not hold, by path
 * @throws RemoteMismatch if Git names another version than the module's go.mod
 */
export async function withLocalRemotes<T>(
  root: string,
  directory: string,
  use: (root: string, directory: string) => Promise<T>,
  additions: Record<string, string> = {},
): Promise<T> {
  const files = readReached(root, directory, additions);
  const isRemote = [...files].some(([, text]) => remotesIn(text).length > 0);
  if (!isRemote && Object.keys(additions).length === 0) return use(root, join(root, directory));
  const stage = mkdtempSync(join(tmpdir(), "remotes-"));
  try {
    // Fetched files lie outside of the copy, because they lie outside of the repository.
    const copy = join(stage, "repository");
    // Files are copied as bytes, and every file that may be read: a patch may stand in any field.
    for (const file of filesBelow(root, directory)) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      const original = join(root, file);
      if (lstatSync(original).isSymbolicLink()) symlinkSync(readlinkSync(original), join(copy, file));
      else if (!files.has(file)) copyFileSync(original, join(copy, file));
    }
    for (const [file, text] of files) {
      mkdirSync(dirname(join(copy, file)), { recursive: true });
      if (isKustomization(file) || additions[file] !== undefined)
        writeFileSync(join(copy, file), await localized(root, stage, file, text));
      else if (!existsSync(join(copy, file))) copyFileSync(join(root, file), join(copy, file));
    }
    return await use(copy, join(copy, directory));
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

function readReached(
  root: string,
  directory: string,
  additions: Record<string, string>,
): Map<string, string> {
  const read = (path: string): string | undefined => {
    if (additions[path] !== undefined) return additions[path];
    const file = join(root, path);
    // A directory is listed like a file; its kustomization is fetched separately.
    try {
      return readFileSync(file, "utf8");
    } catch {
      return undefined;
    }
  };
  const reached = reachedFiles({ get: read }, [directory]);
  return new Map([...reached].map((path) => [path, read(path) ?? ""]));
}

async function localized(root: string, stage: string, file: string, text: string): Promise<string> {
  if (!isKustomization(file)) return text;
  let result = text;
  for (const url of remotesIn(text)) {
    const remote = parseRemote(url);
    if (!remote) continue;
    const { module, version, path } = remote;
    const pinned = pinnedVersion(root, module);
    if (version !== pinned) {
      const home = relative(root, join(moduleDirectory(root, module), "go.mod"));
      throw new RemoteMismatch(file, url, version, pinned, home);
    }
    const place = join(stage, module.name, path.replaceAll("/", "-").replace(/\.ya?ml$/, ""));
    if (!existsSync(place)) {
      mkdirSync(place, { recursive: true });
      copyFileSync(join(await moduleSource(root, module), path), join(place, basename(path)));
      writeFileSync(join(place, "kustomization.yaml"), `resources:\n  - ${basename(path)}\n`);
    }
    result = result.replace(url, relative(join(stage, "repository", dirname(file)), place));
  }
  return result;
}
