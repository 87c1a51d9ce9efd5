/** Promotion: an environment gets the image that another one runs. Nothing is built. */
import { defaultEnvironment, environmentTrailers } from "../environment.ts";
import { Failure } from "../failure.ts";
import { type Base, type Plan, type Published, publish } from "../git/publish.ts";
import { committedTags, lastRolledBack } from "../git/source-tag.ts";
import { deployedImage, withTag } from "./deployment.ts";
import { pushReference, type Registry, registryHas } from "./image.ts";
import type { Target } from "./release.ts";

export interface PromoteOptions extends Omit<Target, "environment"> {
  service: string;
  /** Directories of overlays. */
  from: string;
  to: string;
  /** Asked for the image where it names a mirror; otherwise the image's own registry is left alone. */
  registry: Registry;
  /** Promotes older sources, and what was rolled back in the target environment. */
  force?: boolean;
}

/**
 * Commits, as `deploy(<service>): promote <tag> from <from> to <to>`, the tag that another environment has.
 * @throws Failure where the registry lacks the image, or the target runs newer sources or has rolled the tag back
 */
export async function promote(options: PromoteOptions): Promise<Published> {
  const { service, from, to, registry, force } = options;
  if (from === to) throw new Failure(`${from} is promoted to another environment, not to itself`);
  const plan: Plan = async (base) => {
    const { tag } = await deployedImage(base, service, { environment: from });
    const target = await deployedImage(base, service, { environment: to });
    if (target.tag === tag) return { done: `${service} is at ${tag} in ${to} already` };
    const tags = await committedTags(base.git.directory, `services/${service}`);
    if (!force) {
      await refuseDowngrade(base, options, { present: target.tag, tag }, tags);
      await refuseRolledBack(base, options, tag);
    }
    const image = `${target.name}:${tag}`;
    if (registry.mirror && !(await registryHas(image, registry)))
      throw new Failure(
        `${pushReference(image, registry)} is not there, or its registry does not answer`,
        `npm run release -- ${service}`,
      );
    const source = tags.get(tag);
    return {
      files: await withTag(base, target, tag),
      subject: `deploy(${service}): promote ${tag} from ${from} to ${to}`,
      trailers: {
        Image: image,
        ...(source ? { "Source-Commit": source } : {}),
        "Promoted-From": from,
        ...environmentTrailers(to),
      },
    };
  };
  return publish({ ...options, plan });
}

async function refuseDowngrade(
  { git }: Base,
  { service, from, to }: PromoteOptions,
  { present, tag }: { present: string; tag: string },
  tags: Map<string, string>,
): Promise<void> {
  const [ours, theirs] = [tags.get(tag), tags.get(present)];
  if (!ours || !theirs || !(await git.isAncestor(ours, theirs))) return;
  throw new Failure(
    `${to} runs ${service} ${present} of ${theirs.slice(0, 12)}, newer than ${tag} of ${from}: this would be a downgrade`,
    `npm run rollback -- ${service} --environment ${to}, or --force`,
  );
}

async function refuseRolledBack({ git }: Base, { service, to }: PromoteOptions, tag: string): Promise<void> {
  if ((await lastRolledBack(git.directory, service, to)) !== tag) return;
  const where = to === defaultEnvironment ? "" : ` in ${to}`;
  throw new Failure(`${tag} was rolled back${where}`, `release another ${service}, or --force`);
}
