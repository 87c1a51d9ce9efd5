import { readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "js-yaml";
import { Failure } from "./failure.ts";
import { Git } from "./git/git.ts";

/** The text files of a repository, by path from its root. */
export type Repository = ReadonlyMap<string, string>;

/** The checkout this code belongs to. */
export const checkout = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** What commands keep from one run to the next; losing it costs time and nothing else. */
export const cacheDirectory = join(checkout, "node_modules/.cache/gitops");

/** The services of a repository: directories of services/ that an image is built from. */
export function serviceNames(repository: Repository): string[] {
  return [...repository.keys()].flatMap((path) => /^services\/([^/]+)\/Dockerfile$/.exec(path)?.[1] ?? []);
}

/** Reads a checkout's `versions.yaml`: the pins that no go.mod and no lock file holds. */
export function pinnedVersions(root: string): Record<string, string> {
  const parsed = load(readFileSync(join(root, "versions.yaml"), "utf8")) as Record<string, unknown>;
  return Object.fromEntries(Object.entries(parsed).map(([name, version]) => [name, String(version)]));
}

/** What to say of a repository that has no cluster: "0 findings" would be a verdict about something that nobody read. */
export function nothingToRead(directory: string): UnreadableRepository {
  return new UnreadableRepository(
    `${directory} has no cluster that this tool could read: there is no gitops/clusters/NAME/kustomization.yaml`,
    "add one, or name the root of a repository that has it; docs/gitops-tool.md describes the layout",
  );
}

/** A repository of another layout, or none at all. */
export class UnreadableRepository extends Failure {}

/** Reads every file that is tracked or could be: ignored files and those deleted from the working tree are left out. */
export async function readRepository(directory: string): Promise<Repository> {
  const listed = await new Git(directory).run("ls-files", "-z", "--cached", "--others", "--exclude-standard");
  const paths = [...new Set(listed.split("\0"))].filter(
    // A link to a directory and a submodule are listed like files.
    (path) => path !== "" && statSync(join(directory, path), { throwIfNoEntry: false })?.isFile(),
  );
  return new Map(paths.map((path) => [path, readFileSync(join(directory, path), "utf8")]));
}
