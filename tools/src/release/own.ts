/** Recognizes the commits that the tool itself makes, as opposed to those of people. */
import { layoutAt, placeOf } from "../../../lib/configuration.ts";
import { defaultEnvironment, environmentTrailer } from "../../../lib/environment.ts";
import { Failure } from "../../../lib/failure.ts";
import { type Git, GitFailure } from "../../../lib/git/git.ts";
import { parseImage } from "../../../lib/images/names.ts";
import { imageTrailer } from "../git/deployments.ts";
import { replaceSetting } from "../git/scalar.ts";
import { readTrailers, trailerMap } from "../git/trailers.ts";
import { deployedImage, withTag } from "./deployment.ts";

/** The trailer that names the commit of the sources from which an image was built. */
export const sourceTrailer = "Source-Commit";

/** The trailer of a commit that sets the share of delayed requests, in percent. */
export const faultTrailer = "Delay-Percent";

/** The setting with that share. */
export const faultKey = "DELAY_PERCENT";

/** The file with the share of POST /log, in percent, that is delayed in an environment. */
export function faultFile(root: string, environment: string): string {
  const { base, overlay } = layoutAt(root).fault;
  return environment === defaultEnvironment ? base : placeOf(overlay, environment);
}

/**
 * True for a commit that contains exactly what the tool writes for its trailers, so that it can be made again. A commit that
 * a person made or amended is theirs, whatever its message says.
 */
export async function isOwn(git: Git, commit: string): Promise<boolean> {
  if ((await git.resolve(`${commit}^`)) === undefined) return false;
  const expected = await expectedFiles(git, commit);
  if (expected === undefined || expected.size === 0) return false;
  const printed = await git.run("diff-tree", "--no-commit-id", "--raw", "--no-renames", "-r", "-z", commit);
  // Records and paths alternate. A merge prints nothing.
  const fields = printed.split("\0").filter(Boolean);
  if (fields.length !== expected.size * 2) return false;
  for (let at = 0; at < fields.length; at += 2) {
    const [record = "", path = ""] = fields.slice(at, at + 2);
    const [, before, after] = /^:(\d+) (\d+) .* M$/.exec(record) ?? [];
    if (before === undefined || before !== after) return false;
    if (expected.get(path) !== (await git.textAt(commit, path))) return false;
  }
  return true;
}

/** The files that the tool would have written for a commit's trailers; undefined if the commit is not the tool's. */
async function expectedFiles(git: Git, commit: string): Promise<Map<string, string> | undefined> {
  const trailers = trailerMap(await readTrailers(git, commit));
  const value = (name: string): string | undefined => trailers.get(name.toLowerCase());
  const environment = value(environmentTrailer) || defaultEnvironment;
  const [image, percent] = [value(imageTrailer), value(faultTrailer)];
  const parent = `${commit}^`;
  try {
    if (image !== undefined) {
      const { name, tag } = parseImage(image);
      const service = name.split("/").pop() ?? "";
      const deployed = await deployedImage({ git }, service, { environment, revision: parent });
      return tag && deployed.name === name ? await withTag(git, deployed, tag, parent) : undefined;
    }
    if (percent === undefined) return undefined;
    const file = faultFile(git.directory, environment);
    return new Map([[file, replaceSetting(file, await git.textAt(parent, file), faultKey, percent)]]);
  } catch (error) {
    // The parent has no such image or setting.
    if (error instanceof Failure && !(error instanceof GitFailure)) return undefined;
    throw error;
  }
}
