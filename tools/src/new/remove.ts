/** Removes a service: its files and its line in the list of Applications, with trailers that confirm the deletions. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { Git } from "../../../lib/git/git.ts";
import { describeObject } from "../../../lib/object.ts";
import { quoted } from "../../../lib/quoted.ts";
import { Cache } from "../../../lib/render/cache.ts";
import { cacheDirectory, readRepository } from "../../../lib/repository.ts";
import { compare, deletesTrailer, renderClusters } from "../diff.ts";
import { type Plan, type Published, publish } from "../git/publish.ts";
import { isOwn } from "../release/own.ts";
import type { Target } from "../release/release.ts";
import { unlisted } from "./listed.ts";
import { isGenerated, isOwnPath } from "./names.ts";
import { rootEntry, rootFile } from "./service.ts";

/**
 * Commits the removal of a service, with a trailer `Deletes:` for each object that is deleted from a cluster.
 * @throws Failure if there is no such service, or some of its files are not committed
 */
export async function removeService(name: string, options: Target): Promise<Published> {
  const { root } = options;
  await refuseUncommitted(root, name);
  const plan: Plan = async ({ git, read, upstream }) => {
    const { directory } = git;
    const repository = await readRepository(directory);
    const isThere = isGenerated(repository, name);
    // The removal was committed before without a push, so only the push is left.
    if (!isThere && upstream && isGenerated(await committedRepository(root, name, upstream), name))
      return { done: `${name} is already removed` };
    if (!isThere)
      throw new Failure(
        `there is no service ${name} that was made by this command`,
        "git grep --name-only 'project: services' -- gitops/root",
      );
    const removed = [...repository.keys()].filter((path) => isOwnPath(path, name));
    const list = unlisted(rootFile, read(rootFile), rootEntry(name));
    const cache = new Cache(cacheDirectory);
    const before = await renderClusters(directory, cache);
    for (const path of removed) rmSync(join(directory, path));
    writeFileSync(join(directory, rootFile), list);
    const after = await renderClusters(directory, cache);
    const deleted = [...before].flatMap(([cluster, objects]) =>
      compare(cluster, objects, after.get(cluster) ?? []).deleted.map(describeObject),
    );
    return {
      files: new Map([[rootFile, list]]),
      removed,
      subject: `feat(${name}): remove the service`,
      trailers: { [deletesTrailer]: [...new Set(deleted)].sort() },
    };
  };
  const published = await publish({ ...options, plan, isOwn });
  if (published.outcome === "committed" || published.outcome === "pushed") await removeIgnored(root, name);
  return published;
}

async function refuseUncommitted(root: string, name: string): Promise<void> {
  const options = ["--porcelain", "-z", "--no-renames", "--untracked-files=all"];
  const printed = await new Git(root).run("status", ...options);
  const changed = printed
    .split("\0")
    .filter(Boolean)
    .filter((line) => isOwnPath(line.slice(3), name) || line.slice(3) === rootFile);
  const [first] = changed.filter((line) => line.slice(3) !== rootFile);
  if (!first && changed.length === 0) return;
  if (first && !isGenerated(await committedRepository(root, name), name)) {
    const paths = [...new Set(changed.map((line) => line.slice(3)).map((path) => ownRoot(path, name)))];
    const created = paths.filter((path) => path !== rootFile).map(quoted);
    throw new Failure(
      `the service ${name} is not committed yet: there is nothing to remove from Git`,
      `rm -r ${created.join(" ")} && git restore ${rootFile}`,
    );
  }
  throw new Failure(
    `${changed
      .map((line) => line.slice(3))
      .slice(0, 3)
      .join(", ")} ${changed.length === 1 ? "is" : "are"} not committed and would be lost`,
    `git stash push --include-untracked -- ${changed.map((line) => quoted(line.slice(3))).join(" ")}`,
  );
}

async function committedRepository(
  root: string,
  name: string,
  commit = "HEAD",
): Promise<Map<string, string>> {
  const path = `gitops/root/${rootEntry(name)}`;
  const text = await new Git(root).textAt(commit, path).catch(() => "");
  return new Map([[path, text]]);
}

// This is the directory that belongs entirely to the service, or else the file.
const ownRoot = (path: string, name: string): string =>
  [`services/${name}`, `gitops/apps/${name}`].find((directory) => path.startsWith(`${directory}/`)) ?? path;

// Installed packages and build results are of no use when the sources are gone.
async function removeIgnored(root: string, name: string): Promise<void> {
  const directory = `services/${name}`;
  const left = await new Git(root).run(
    "ls-files",
    "--cached",
    "--others",
    "--exclude-standard",
    "--",
    directory,
  );
  if (left === "") rmSync(join(root, directory), { recursive: true, force: true });
}
