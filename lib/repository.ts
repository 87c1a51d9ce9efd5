import { readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "js-yaml";
import { build } from "./build.ts";
import { configurationOf } from "./configuration.ts";
import { Failure } from "./failure.ts";
import { Git } from "./git/git.ts";

/** The text files of a repository, by path from its root. */
export type Repository = ReadonlyMap<string, string>;

/** The checkout this code belongs to. */
export const checkout = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Where commands keep results from one run to the next; losing them only costs time. */
export const cacheDirectory =
  build === undefined
    ? join(checkout, "node_modules/.cache/gitops")
    : join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "gitops");

/** The services of a repository: directories of its layout's services that an image is built from. */
export function serviceNames(repository: Repository): string[] {
  const place = configurationOf(repository).layout?.services;
  if (place === undefined) return [];
  return [...repository.keys()]
    .filter((path) => path.startsWith(`${place}/`))
    .flatMap((path) => /^([^/]+)\/Dockerfile$/.exec(path.slice(place.length + 1))?.[1] ?? []);
}

/** Reads a checkout's `versions.yaml`: the pins that no go.mod and no lock file holds. */
export function pinnedVersions(root: string): Record<string, string> {
  const parsed = load(readFileSync(join(root, "versions.yaml"), "utf8")) as Record<string, unknown>;
  return Object.fromEntries(Object.entries(parsed).map(([name, version]) => [name, String(version)]));
}

/** The error for a repository with nothing to look at: "0 findings" would be a verdict on something that nobody read. */
export function nothingToRead(directory: string): UnreadableRepository {
  return new UnreadableRepository(
    `${directory} has nothing that Argo CD would render: no Application, ApplicationSet or AppProject, and no cluster of a layout`,
    "name the root of a repository that has one; docs/gitops-tool.md says where they are looked for",
  );
}

/** The repository has another layout, or there is none at all. */
export class UnreadableRepository extends Failure {}

/** The paths of all files that Git tracks or would track, also of those deleted from the working tree. */
export async function listFiles(directory: string): Promise<string[]> {
  const listed = await new Git(directory).run("ls-files", "-z", "--cached", "--others", "--exclude-standard");
  return [...new Set(listed.split("\0"))].filter(Boolean);
}

/**
 * Reads every file that is tracked or could be: ignored files and those deleted from the working tree are left out.
 * @param files what `listFiles` says, where that is known
 */
export async function readRepository(directory: string, files?: string[]): Promise<Repository> {
  const read = (files ?? (await listFiles(directory))).flatMap((path): [string, string][] => {
    const text = textOf(join(directory, path));
    return text === undefined ? [] : [[path, text]];
  });
  return new Map(read);
}

/** A file above this size is not a manifest: it is known to exist, but counts as empty. */
const mostBytes = 16 * 1024 * 1024;

// A link to a directory and a submodule are listed like files; a link may lead to itself, a file may be somebody else's.
function textOf(file: string): string | undefined {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) return undefined;
    return stat.size > mostBytes ? "" : readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
