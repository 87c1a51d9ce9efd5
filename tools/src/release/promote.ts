/** Promotes an image: an environment gets the image that another one runs. Nothing is built. */
import { serviceDirectory } from "../../../lib/configuration.ts";
import { defaultEnvironment, environmentOption, environmentTrailers } from "../../../lib/environment.ts";
import { Failure } from "../../../lib/failure.ts";
import { type Registry, registryOption, requireImage } from "../../../lib/images/build.ts";
import { committedTags, imageTrailer, lastRolledBack } from "../git/deployments.ts";
import { type Base, type Plan, type Published, publish } from "../git/publish.ts";
import { deployedImage, withTag } from "./deployment.ts";
import { isOwn, sourceTrailer } from "./own.ts";
import type { Target } from "./release.ts";

export interface PromoteOptions extends Omit<Target, "environment"> {
  service: string;
  /** Directories of overlays. */
  from: string;
  to: string;
  /** The registry that must have the image. Without a mirror it is the image's own, which may be unreachable from here. */
  registry: Registry;
  /** Also promotes older sources, and a tag that was rolled back in the target environment. */
  force?: boolean;
}

/**
 * Commits the tag that another environment has, as `deploy(<service>): promote <tag> from <from> to <to>`.
 * @throws Failure if the registry lacks the image, or the target runs newer sources or has rolled the tag back
 */
export async function promote(options: PromoteOptions): Promise<Published> {
  const { service, from, to, registry, force } = options;
  if (from === to) throw new Failure(`${from} cannot be promoted to itself`);
  const plan: Plan = async (base) => {
    const { tag } = await deployedImage(base, service, { environment: from });
    const target = await deployedImage(base, service, { environment: to });
    if (target.tag === tag) return { done: `${service} is already at ${tag} in ${to}` };
    const tags = await committedTags(base.git.directory, serviceDirectory(base.git.directory, service));
    if (!force) {
      await refuseDowngrade(base, options, { present: target.tag, tag }, tags);
      await refuseRolledBack(base, options, tag);
    }
    const image = `${target.name}:${tag}`;
    await requireImage(image, registry, {
      next: () => `npm run release -- ${service}${environmentOption(from)}${registryOption(registry)}`,
      strict: registry.mirror !== undefined,
    });
    const source = tags.get(tag);
    return {
      files: await withTag(base.git, target, tag),
      subject: `deploy(${service}): promote ${tag} from ${from} to ${to}`,
      trailers: {
        [imageTrailer]: image,
        ...(source ? { [sourceTrailer]: source } : {}),
        "Promoted-From": from,
        ...environmentTrailers(to),
      },
    };
  };
  return publish({ ...options, plan, isOwn });
}

async function refuseDowngrade(
  { git }: Base,
  { service, from, to, remote }: PromoteOptions,
  { present, tag }: { present: string; tag: string },
  tags: Map<string, string>,
): Promise<void> {
  const [ours, theirs] = [tags.get(tag), tags.get(present)];
  if ((!ours || !theirs) && (await git.isShallow()))
    throw new Failure(
      `this clone is shallow: it lacks the commits that say which of ${tag} and ${present} is newer`,
      `git fetch --unshallow ${remote}`,
    );
  if (!ours || !theirs || !(await git.isAncestor(ours, theirs))) return;
  throw new Failure(
    `${to} runs ${service} ${present} of ${theirs.slice(0, 12)}, newer than ${tag} of ${from}: this would be a downgrade`,
    `npm run rollback -- ${service}${environmentOption(to)} (or the same command with --force)`,
  );
}

async function refuseRolledBack({ git }: Base, { service, to }: PromoteOptions, tag: string): Promise<void> {
  if ((await lastRolledBack(git.directory, service, to)) !== tag) return;
  const where = to === defaultEnvironment ? "" : ` in ${to}`;
  throw new Failure(
    `${tag} was rolled back${where}`,
    `commit a change of services/${service} and release it (or the same command with --force)`,
  );
}
