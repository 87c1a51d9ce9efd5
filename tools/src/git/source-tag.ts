import { execa } from "execa";
import { defaultEnvironment, environmentTrailer } from "../environment.ts";
import type { ServiceTag } from "../graph.ts";
import { run } from "../process.ts";
import { type Repository, serviceNames } from "../repository.ts";

/** The trailer of a commit that puts an earlier image back, with the tag that it replaces. */
export const rolledBackTrailer = "Rolled-Back";

/** The tag of a service's image: the first 12 hex digits of its committed sources' tree, so that unchanged sources keep theirs. */
export async function sourceTag(checkout: string, directory: string): Promise<string> {
  const object = `HEAD:${directory}`;
  const { stdout, failed } = await execa("git", ["rev-parse", "--verify", "--quiet", object], {
    cwd: checkout,
    reject: false,
  });
  if (failed)
    throw new Error(
      `${directory} is in no commit yet: commit it, its tag is that of git rev-parse ${object}`,
    );
  return stdout.slice(0, 12);
}

/** Unpacks a directory as it is committed: what is built from it is what its tag is the hash of. */
export async function unpackCommitted(checkout: string, directory: string, target: string): Promise<void> {
  await run("sh", ["-c", `git -C "$0" archive "HEAD:${directory}" | tar -x -C "$1"`, checkout, target]);
}

/** The tags of every service of a repository that has a Dockerfile; one without commits has none. */
export async function serviceTags(root: string, repository: Repository): Promise<Map<string, ServiceTag>> {
  const tags = new Map<string, ServiceTag>();
  const { stdout: shallow } = await execa("git", ["rev-parse", "--is-shallow-repository"], {
    cwd: root,
    reject: false,
  });
  for (const service of serviceNames(repository)) {
    const directory = `services/${service}`;
    const expected = await sourceTag(root, directory).catch(() => undefined);
    const committed =
      shallow === "false" ? new Set((await committedTags(root, directory)).keys()) : undefined;
    tags.set(service, { expected, rolledBack: await lastRolledBack(root, service), committed });
  }
  return tags;
}

/** The tag that the newest deployment of a service in an environment rolled back from; undefined where it is no rollback. */
export async function lastRolledBack(
  root: string,
  service: string,
  environment = defaultEnvironment,
): Promise<string | undefined> {
  const trailer = (name: string): string => `%(trailers:key=${name},valueonly,separator=)`;
  const format = `${trailer(environmentTrailer)} ${trailer(rolledBackTrailer)}`;
  const { stdout } = await execa("git", ["log", `--grep=^deploy(${service}): `, `--format=${format}`], {
    cwd: root,
    reject: false,
  });
  const deployments = stdout.split("\n").map((line) => line.split(" "));
  const last = deployments.find(([name]) => (name || defaultEnvironment) === environment);
  return last?.[1] || undefined;
}

/**
 * The tag of every commit that changed a service's sources, newest first, with that commit.
 * A tag that came back later is that of the newer commit. In a shallow clone the list ends where its history does.
 */
export async function committedTags(root: string, directory: string): Promise<Map<string, string>> {
  const { stdout: log } = await execa(
    "git",
    ["log", "--full-history", "--format=%H %P", "HEAD", "--", directory],
    { cwd: root, reject: false },
  );
  const found = log
    .split("\n")
    .filter(Boolean)
    .map((line) => line.split(" "));
  // A merge is the commit of sources that no other commit has: those that both sides changed.
  const isMerge = (hashes: string[]): boolean => hashes.length > 2;
  const commits = [
    ...found.filter((hashes) => !isMerge(hashes)),
    ...found.filter((hashes) => isMerge(hashes)),
  ].map(([commit]) => commit ?? "");
  const { stdout: trees } = await execa("git", ["cat-file", "--batch-check=%(objectname)"], {
    cwd: root,
    input: commits.map((commit) => `${commit}:${directory}\n`).join(""),
    reject: false,
  });
  const tags = new Map<string, string>();
  trees.split("\n").forEach((tree, index) => {
    const tag = tree.slice(0, 12);
    // Of a commit that removed them git says `missing`.
    if (/^[0-9a-f]{40,64}$/.test(tree) && !tags.has(tag)) tags.set(tag, commits[index] ?? "");
  });
  return tags;
}
