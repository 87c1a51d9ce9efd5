/** Reads a service's history from Git: the tags of its sources, its deployments and its rollbacks. */
import { serviceDirectory } from "../../../lib/configuration.ts";
import { defaultEnvironment, environmentTrailer } from "../../../lib/environment.ts";
import { Failure } from "../../../lib/failure.ts";
import { Git, GitFailure } from "../../../lib/git/git.ts";
import { futureTag, sourceTag } from "../../../lib/git/source-tag.ts";
import { parseImage } from "../../../lib/images/names.ts";
import { type Repository, serviceNames } from "../../../lib/repository.ts";
import type { ServiceTag } from "../graph.ts";
import { deployedImage } from "../release/deployment.ts";
import { type TrailedCommit, trailedCommits } from "./trailers.ts";

/** The trailer of a commit that gives a service another image. Its value is the image's full name. */
export const imageTrailer = "Image";

/** The trailer of a commit that restores an earlier image. Its value is the tag that is replaced. */
export const rolledBackTrailer = "Rolled-Back";

/** The tags of every service with a Dockerfile. A service that is not committed yet gets its future tag. */
export async function serviceTags(root: string, repository: Repository): Promise<Map<string, ServiceTag>> {
  const tags = new Map<string, ServiceTag>();
  const services = serviceNames(repository);
  if (services.length === 0) return tags;
  const git = new Git(root);
  // Fails where there is no commit yet.
  const answer = await git.try("rev-parse", "--is-shallow-repository", "HEAD^{commit}");
  const complete = answer?.startsWith("false\n") ?? false;
  // The messages of the whole history are read once for all services.
  let history: Promise<TrailedCommit[]> | undefined;
  const deployments = (): Promise<TrailedCommit[]> => {
    history ??= trailedCommits(git, "HEAD", imageTrailer);
    return history;
  };
  for (const service of services) {
    const directory = serviceDirectory(root, service);
    const found = await sourceTag(root, directory).catch(() => undefined);
    const uncommitted = found === undefined;
    const expected = found ?? (await futureTag(root, sourcesOf(repository, directory)));
    const committed = complete ? new Set((await tagsOf(git, directory, false)).keys()) : undefined;
    if (uncommitted) committed?.add(expected);
    const deployment = uncommitted ? undefined : await lastDeployment(git, service, await deployments());
    tags.set(service, { expected, uncommitted, rolledBack: deployment?.rolledBack, committed });
  }
  return tags;
}

const sourcesOf = (repository: Repository, directory: string): Map<string, string> =>
  new Map(
    [...repository].flatMap(([path, text]) =>
      path.startsWith(`${directory}/`) ? [[path.slice(directory.length + 1), text]] : [],
    ),
  );

/**
 * The tag from which the newest deployment of a service rolled back in an environment; undefined if it is not a rollback.
 * @throws Failure if a shallow clone lacks that deployment
 */
export async function lastRolledBack(
  root: string,
  service: string,
  environment = defaultEnvironment,
): Promise<string | undefined> {
  const git = new Git(root);
  const history = await trailedCommits(git, "HEAD", imageTrailer);
  const deployment = await lastDeployment(git, service, history, environment);
  if (!deployment && (await git.isShallow()))
    throw new Failure(
      `this clone is shallow: it lacks the commits that say whether ${service} was rolled back`,
      "git fetch --unshallow",
    );
  return deployment?.rolledBack;
}

/**
 * The newest commit that gave a service another image. Its trailers say so, and its files must agree, because somebody may
 * have copied the trailers. The subject does not matter.
 */
async function lastDeployment(
  git: Git,
  service: string,
  history: TrailedCommit[],
  environment = defaultEnvironment,
): Promise<{ rolledBack: string | undefined } | undefined> {
  for (const { commit, parent, groups } of history) {
    // If commits were squashed into one, the last of them decides.
    const told = [...groups].reverse().flatMap((trailers) => toldOf(trailers, service, environment));
    if (told.length === 0) continue;
    const tag = await tagIn(git, service, environment, commit);
    const isNew = !parent || (await tagIn(git, service, environment, parent)) !== tag;
    for (const [index, { rolledBack, ...now }] of told.entries()) {
      if (now.tag !== tag) continue;
      // A deployment that was squashed with its rollback changes no file. A message that has both is trusted.
      const tellsOfBoth = told.slice(index).some((earlier) => earlier.tag === rolledBack);
      if (isNew || (rolledBack !== undefined && tellsOfBoth)) return { rolledBack };
    }
  }
  return undefined;
}

/** What trailers say about a service in an environment: its new tag, and the tag from which it was rolled back. */
function toldOf(
  trailers: Map<string, string>,
  service: string,
  environment: string,
): { tag: string | undefined; rolledBack: string | undefined }[] {
  const image = parseImage(trailers.get(imageTrailer.toLowerCase()) ?? "");
  if (image.name.split("/").pop() !== service) return [];
  if ((trailers.get(environmentTrailer.toLowerCase()) || defaultEnvironment) !== environment) return [];
  return [{ tag: image.tag, rolledBack: trailers.get(rolledBackTrailer.toLowerCase()) || undefined }];
}

async function tagIn(
  git: Git,
  service: string,
  environment: string,
  revision: string,
): Promise<string | undefined> {
  try {
    return (await deployedImage({ git }, service, { environment, revision })).tag;
  } catch (error) {
    if (error instanceof Failure && !(error instanceof GitFailure)) return undefined;
    throw error;
  }
}

/**
 * The tag of every commit that changed a service's sources, newest first, with that commit. A tag that occurs twice belongs
 * to the newer commit. In a shallow clone the list ends where the history ends.
 */
export async function committedTags(root: string, directory: string): Promise<Map<string, string>> {
  const git = new Git(root);
  return tagsOf(git, directory, await git.isShallow());
}

async function tagsOf(git: Git, directory: string, isShallow: boolean): Promise<Map<string, string>> {
  const log = await git.run("log", "--full-history", "--format=%H %P", "HEAD", "--", directory);
  // The oldest commit in a shallow clone seems to have created all its files.
  const made = isShallow ? (hashes: string[]) => hashes.length > 1 : () => true;
  const found = log
    .split("\n")
    .filter(Boolean)
    .map((line) => line.trim().split(" "))
    .filter(made);
  // A merge counts only for sources that no other commit has, because both sides changed them.
  const isMerge = (hashes: string[]): boolean => hashes.length > 2;
  const commits = [
    ...found.filter((hashes) => !isMerge(hashes)),
    ...found.filter((hashes) => isMerge(hashes)),
  ].map(([commit]) => commit ?? "");
  const wanted = commits.map((commit) => `${commit}:${directory}\n`).join("");
  const trees = await git.feed(wanted, "cat-file", "--batch-check=%(objectname)");
  const tags = new Map<string, string>();
  trees.split("\n").forEach((tree, index) => {
    const tag = tree.slice(0, 12);
    // For a commit that removed the sources, Git prints `missing`.
    if (/^[0-9a-f]{40,64}$/.test(tree) && !tags.has(tag)) tags.set(tag, commits[index] ?? "");
  });
  return tags;
}
