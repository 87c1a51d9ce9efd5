/** Releases a service, rolls it back, and sets the share of delayed requests. Each is a commit of one scalar. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { serviceDirectory } from "../../../lib/configuration.ts";
import { defaultEnvironment, environmentOption, environmentTrailers } from "../../../lib/environment.ts";
import { Failure } from "../../../lib/failure.ts";
import { pullCommand } from "../../../lib/git/followed.ts";
import { Git } from "../../../lib/git/git.ts";
import { sourceTag } from "../../../lib/git/source-tag.ts";
import {
  askRegistry,
  ensureImage,
  type Registry,
  registryOption,
  requireImage,
} from "../../../lib/images/build.ts";
import { note } from "../../../lib/progress.ts";
import { quoted } from "../../../lib/quoted.ts";
import { imageTrailer, lastRolledBack, rolledBackTrailer } from "../git/deployments.ts";
import { type Base, type Plan, type Published, type PublishOptions, publish } from "../git/publish.ts";
import { replaceSetting } from "../git/scalar.ts";
import { deployedImage, withTag } from "./deployment.ts";
import { faultFile, faultKey, faultTrailer, isOwn, sourceTrailer } from "./own.ts";

/** Says where commits go, and whether they are made at all. */
export interface Target
  extends Pick<PublishOptions, "root" | "remote" | "branch" | "push" | "check" | "dryRun"> {
  /** The environment whose scalar is changed: a directory of overlays; `local` by default. */
  environment?: string;
}

export interface ReleaseOptions extends Target {
  service: string;
  registry: Registry;
  /** Also releases sources that were rolled back. */
  force?: boolean;
}

/**
 * Builds a service's committed sources, pushes the image, and commits its tag as `deploy(<service>): <tag>`.
 * @throws Failure if sources are not committed, a rollback or a newer release forbids it, or a step fails
 */
export async function release(options: ReleaseOptions): Promise<Published> {
  const { root, service, registry, environment = defaultEnvironment } = options;
  const directory = serviceDirectory(root, service);
  if (!existsSync(join(root, directory, "Dockerfile")))
    throw new Failure(`${directory} has no Dockerfile`, "ls services");
  await refuseUncommitted(root, [directory]);
  const plan: Plan = async (base) => {
    const tag = await sourceTag(base.git.directory, directory);
    const deployed = await deployedImage(base, service, { environment });
    await refuseShallow(base, options);
    const newer = await supersededBy(base, options, directory, environment);
    if (newer) return { superseded: newer };
    const image = `${deployed.name}:${tag}`;
    const files = await withTag(base.git, deployed, tag);
    if (!options.force && files.size > 0) await refuseRolledBack(base, service, tag, environment);
    const source = await newestCommit(base.git, directory);
    await refuseDowngrade(base, options, directory, source);
    if (!options.dryRun) await ensureImage(image, join(base.git.directory, directory), registry, directory);
    else await tellBuild(directory, image, registry);
    if (files.size === 0) return { done: `${service} is already at ${tag}` };
    return {
      files,
      subject: `deploy(${service}): ${tag}`,
      trailers: { [imageTrailer]: image, [sourceTrailer]: source, ...environmentTrailers(environment) },
    };
  };
  return publish({ ...options, plan, isOwn });
}

async function tellBuild(directory: string, image: string, registry: Registry): Promise<void> {
  const answer = await askRegistry(image, registry);
  if (answer.state === "there") return;
  const unsure = answer.state === "unsaid" ? `, unless it is there: ${answer.why}` : "";
  note(`would build ${directory} and push ${image}${unsure}`);
}

// The history says which commit made the sources, what was rolled back and what is newer. Part of it would mislead.
async function refuseShallow({ git }: Base, { service, remote }: ReleaseOptions): Promise<void> {
  if (!(await git.isShallow())) return;
  throw new Failure(
    `this clone is shallow: it lacks the commits that say whether the sources of ${service} were rolled back`,
    `git fetch --unshallow ${remote}`,
  );
}

const newestCommit = (git: Git, directory: string): Promise<string> =>
  git.run("rev-list", "-1", "HEAD", "--", directory);

export interface RollbackOptions extends Target {
  service: string;
  registry: Registry;
  /** The tag to restore; by default the one before the present one. */
  to?: string;
}

/** Restores an earlier image of a service: the previous one, or a tag that was deployed at some time. */
export async function rollback(options: RollbackOptions): Promise<Published> {
  const { service, to, registry, remote, environment = defaultEnvironment } = options;
  const plan: Plan = async (base) => {
    const deployed = await deployedImage(base, service, { environment });
    const earlier = await earlierTags(base.git, service, deployed.file, environment);
    const tag = to ?? earlier.find((candidate) => candidate !== deployed.tag);
    if ((!tag || !earlier.includes(tag)) && (await base.git.isShallow()))
      throw new Failure(
        `this clone is shallow: it lacks the commits that say whether ${service} was deployed with ${tag ? `tag ${tag}` : "another tag"}`,
        `git fetch --unshallow ${remote}`,
      );
    if (!tag)
      throw new Failure(
        `${service} was never deployed with another tag`,
        `git log -- ${quoted(deployed.file)}`,
      );
    if (!earlier.includes(tag)) {
      throw new Failure(
        `${service} was never deployed with tag ${tag}`,
        `the same command with --to ${earlier.find((candidate) => candidate !== deployed.tag) ?? deployed.tag}`,
      );
    }
    const files = await withTag(base.git, deployed, tag);
    if (files.size === 0) return { done: `${service} is already at ${tag}` };
    const others = earlier.filter((candidate) => candidate !== tag && candidate !== deployed.tag);
    await requireImage(`${deployed.name}:${tag}`, registry, {
      next: () => otherRollback(base.git, options, deployed.name, others),
      strict: false,
    });
    // A promoted environment is described by its tag only. The default environment has the tag of the sources.
    const current =
      environment === defaultEnvironment
        ? await sourceTag(base.git.directory, serviceDirectory(base.git.directory, service))
        : deployed.tag;
    // The sources stay unchanged, so the tag no longer matches them. The trailer says that this is intended.
    const trailers = {
      [imageTrailer]: `${deployed.name}:${tag}`,
      ...(current === tag ? {} : { [rolledBackTrailer]: current }),
      ...environmentTrailers(environment),
    };
    return { files, subject: `deploy(${service}): ${tag}`, trailers };
  };
  return publish({ ...options, plan, isOwn });
}

// The newest earlier tag whose image still exists. If there is none, the sources must be reverted.
async function otherRollback(
  git: Git,
  { service, registry, environment = defaultEnvironment }: RollbackOptions,
  name: string,
  tags: string[],
): Promise<string> {
  for (const tag of tags)
    if ((await askRegistry(`${name}:${tag}`, registry)).state === "there")
      return `the same command with --to ${tag}`;
  const sources = serviceDirectory(git.directory, service);
  const changed = await git.run("rev-list", "-1", "--no-merges", "HEAD", "--", sources);
  const again = `npm run release -- ${service}${environmentOption(environment)}${registryOption(registry)}`;
  return `git revert --no-edit ${changed.slice(0, 12)} && ${again}`;
}

/** Sets an environment's share of delayed requests, in percent. */
export async function setFault(percent: number, options: Target): Promise<Published> {
  const { environment = defaultEnvironment } = options;
  const file = faultFile(options.root, environment);
  const plan: Plan = async (base) => {
    if (!existsSync(join(base.git.directory, file)))
      throw new Failure(`there is no ${file}`, `commit one with the line ${faultKey}=10`);
    const text = base.read(file);
    const changed = replaceSetting(file, text, faultKey, String(percent));
    if (changed === text) return { done: `the share is already ${percent} %` };
    const place = environment === defaultEnvironment ? "" : ` in ${environment}`;
    return {
      files: new Map([[file, changed]]),
      subject: `fault(app): delay ${percent} % of POST /log${place}`,
      trailers: { [faultTrailer]: String(percent), ...environmentTrailers(environment) },
    };
  };
  return publish({ ...options, plan, isOwn });
}

async function refuseUncommitted(root: string, paths: string[]): Promise<void> {
  const options = ["--porcelain", "-z", "--no-renames", "--untracked-files=all"];
  const changes = await new Git(root).run("status", ...options, "--", ...paths);
  if (changes === "") return;
  const files = changes
    .split("\0")
    .filter(Boolean)
    .map((line) => line.slice(3));
  throw new Failure(
    `${files.slice(0, 3).join(", ")} ${files.length === 1 ? "is" : "are"} not committed: only committed sources are built`,
    `git add ${paths.map(quoted).join(" ")} && git commit -- ${paths.map(quoted).join(" ")}`,
  );
}

// This handles a HEAD that is behind the remote branch while the service is newer there.
async function supersededBy(
  { git, head, upstream }: Base,
  { service, remote, branch }: ReleaseOptions,
  directory: string,
  environment: string,
): Promise<string | undefined> {
  if (!upstream || head === upstream || !(await git.isAncestor(head, upstream))) return undefined;
  const trees = await Promise.all(
    [head, upstream].map((commit) => git.try("rev-parse", `${commit}:${directory}`)),
  );
  if (trees[0] === trees[1]) return undefined;
  const deployed = await deployedImage({ git }, service, { environment, revision: upstream });
  if (trees[1]?.startsWith(deployed.tag)) {
    return `${service} is superseded: ${deployed.tag} of a newer commit than HEAD is already deployed`;
  }
  throw new Failure(
    `${remote}/${branch} has newer sources of ${service} than this checkout`,
    pullCommand(remote, branch),
  );
}

async function refuseRolledBack(
  { git }: Base,
  service: string,
  tag: string,
  environment: string,
): Promise<void> {
  if ((await lastRolledBack(git.directory, service, environment)) === tag) {
    throw new Failure(
      `${tag} was rolled back, and the sources are the same since`,
      `commit a change of services/${service} first (or the same command with --force)`,
    );
  }
}

// The remote branch may run newer sources than HEAD without having HEAD's commits.
async function refuseDowngrade(
  { git, upstream }: Base,
  { service, remote, branch, environment = defaultEnvironment }: ReleaseOptions,
  directory: string,
  ours: string,
): Promise<void> {
  if (!upstream) return;
  const newer = await git.run("rev-list", `${ours}..${upstream}`, "--", directory);
  if (newer === "") return;
  const deployed = await deployedImage({ git }, service, { environment, revision: upstream }).catch(
    () => undefined,
  );
  const running = deployed?.tag;
  for (const commit of newer.split("\n").filter(Boolean)) {
    const tree = await git.try("rev-parse", `${commit}:${directory}`);
    if (running && tree?.startsWith(running) && (await git.isAncestor(ours, commit))) {
      throw new Failure(
        `${service} ${running} of the newer commit ${commit.slice(0, 12)} is deployed: this would be a downgrade`,
        `${pullCommand(remote, branch)} (or npm run rollback -- ${service}${environmentOption(environment)})`,
      );
    }
  }
}

// The newest tag comes first, and each occurs once.
async function earlierTags(git: Git, service: string, file: string, environment: string): Promise<string[]> {
  const commits = (await git.run("rev-list", "HEAD", "--", file)).split("\n").filter(Boolean);
  const tags = new Set<string>();
  for (const commit of commits) {
    const image = await deployedImage({ git }, service, { environment, revision: commit }).catch(
      () => undefined,
    );
    if (image) tags.add(image.tag);
  }
  return [...tags];
}
