/** Finds the place in the repository that says which image of a service runs. */
import { layoutAt } from "../../../lib/configuration.ts";
import { defaultEnvironment, environmentOf } from "../../../lib/environment.ts";
import { Failure } from "../../../lib/failure.ts";
import type { Git } from "../../../lib/git/git.ts";
import { imagesEntries } from "../../../lib/images/names.ts";
import { quoted } from "../../../lib/quoted.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import { isKustomization } from "../../../lib/render/references.ts";
import { replaceYamlScalar } from "../git/scalar.ts";

/** The `images` entry of a kustomization that sets a service's tag. */
export interface DeployedImage {
  file: string;
  index: number;
  /** Name without the tag. */
  name: string;
  tag: string;
}

/** The environment and the commit in which to look for an image. */
export interface Where {
  /** A directory of overlays; `local` by default. */
  environment?: string | undefined;
  /** The commit; `HEAD` by default, which is the worktree's. */
  revision?: string;
}

/**
 * Finds a service's entry in the rendered kustomizations: in an overlay of the environment or, for the default environment,
 * in a base.
 * @throws Failure if there is none, or more than one
 */
export async function deployedImage(
  { git }: { git: Git },
  service: string,
  { environment = defaultEnvironment, revision = "HEAD" }: Where = {},
): Promise<DeployedImage> {
  const entries = await imageEntries(git, service, revision);
  const [below = "."] = layoutAt(git.directory).rendered;
  const own = entries.filter(({ file }) => environmentOf(file) === environment);
  const shared = entries.filter(({ file }) => environmentOf(file) === undefined);
  const found = own.length === 0 && environment === defaultEnvironment ? shared : own;
  const [only, ...others] = found;
  if (!only && environment !== defaultEnvironment) {
    const known = entries.flatMap(({ file }) => environmentOf(file) ?? []);
    throw new Failure(
      `no overlay ${environment} under ${below} has an images entry for ${service}`,
      `name one of ${[...new Set([defaultEnvironment, ...known])].join(", ")}`,
    );
  }
  if (!only)
    throw new Failure(
      `no kustomization under ${below} has an images entry for ${service}`,
      `git grep --line-number newTag: ${revision} -- ${below}`,
    );
  if (others.length > 0) {
    throw new Failure(
      `the tag of ${service} is set in ${found.map(({ file }) => file).join(" and ")}`,
      `git grep --line-number newTag: ${revision} -- ${found.map(({ file }) => quoted(file)).join(" ")} (leave one)`,
    );
  }
  return only;
}

async function imageEntries(git: Git, service: string, revision: string): Promise<DeployedImage[]> {
  const { rendered } = layoutAt(git.directory);
  const below = await git.files(revision, ...rendered.map((place) => `${place}/`));
  const files = below.filter(({ path }) => isKustomization(path));
  const texts = await git.texts(files.map(({ object }) => object));
  return files.flatMap(({ path: file }, at) => {
    const text = texts[at] ?? "";
    if (!text.includes("newTag")) return [];
    const entries = imagesEntries(readYaml<{ images?: unknown }>(new Map([[file, text]]), file));
    return entries.flatMap(({ index, name, newName = name, newTag }) =>
      newName.endsWith(`/${service}`) && newTag !== undefined
        ? [{ file, index, name: newName, tag: String(newTag) }]
        : [],
    );
  });
}

/**
 * The files that change when a service gets another tag: its kustomization, and the examples that name its image. The
 * examples show what the default environment runs.
 * @param revision the commit to which the change is applied
 */
export async function withTag(
  git: Git,
  { file, index, name }: DeployedImage,
  tag: string,
  revision = "HEAD",
): Promise<Map<string, string>> {
  const shown = (environmentOf(file) ?? defaultEnvironment) === defaultEnvironment;
  const places = [file, ...(shown ? [`${layoutAt(git.directory).examples}/`] : [])];
  const files = (await git.files(revision, ...places))
    .filter(({ path }) => /\.ya?ml$/.test(path) || path === file)
    // The file that decides is listed first.
    .sort((a, b) => Number(b.path === file) - Number(a.path === file));
  const texts = await git.texts(files.map(({ object }) => object));
  const changed = files.flatMap(({ path }, at): [string, string][] => {
    const text = texts[at] ?? "";
    const after =
      path === file
        ? replaceYamlScalar(file, text, ["images", index, "newTag"], tag)
        : text.replaceAll(mentionOf(name), `$1${tag}`);
    return after === text ? [] : [[path, after]];
  });
  return new Map(changed);
}

const mentionOf = (name: string): RegExp =>
  new RegExp(`(${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}:)[\\w.-]+`, "g");
