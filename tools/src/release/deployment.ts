/** Where the repository says which image of a service runs. */
import { defaultEnvironment, environmentOf } from "../environment.ts";
import { Failure } from "../failure.ts";
import type { Base } from "../git/publish.ts";
import { replaceYamlScalar } from "../git/scalar.ts";
import { readYaml } from "../render/cluster.ts";

/** The `images` entry of a kustomization that sets a service's tag. */
export interface DeployedImage {
  file: string;
  index: number;
  /** Name without tag. */
  name: string;
  tag: string;
}

interface Kustomization {
  images?: { name: string; newName?: string; newTag?: string }[];
}

/** Which environment's image is meant, and in which commit. */
export interface Where {
  /** A directory of overlays; `local` by default. */
  environment?: string | undefined;
  /** `HEAD` for the worktree's commit, or another. */
  revision?: string;
}

/**
 * Finds a service's entry among the kustomizations under gitops: in an overlay of the environment, or for the default one
 * in a base.
 * @throws Failure where there is none, or more than one
 */
export async function deployedImage(
  { git }: Pick<Base, "git">,
  service: string,
  { environment = defaultEnvironment, revision = "HEAD" }: Where = {},
): Promise<DeployedImage> {
  const entries = await imageEntries(git, service, revision);
  const own = entries.filter(({ file }) => environmentOf(file) === environment);
  const shared = entries.filter(({ file }) => environmentOf(file) === undefined);
  const found = own.length === 0 && environment === defaultEnvironment ? shared : own;
  const [only, ...others] = found;
  if (!only && environment !== defaultEnvironment) {
    const known = entries.flatMap(({ file }) => environmentOf(file) ?? []);
    throw new Failure(
      `no overlay ${environment} under gitops has an images entry for ${service}`,
      `name one of ${[...new Set([defaultEnvironment, ...known])].join(", ")}`,
    );
  }
  if (!only)
    throw new Failure(
      `no kustomization under gitops has an images entry for ${service}`,
      "git grep newTag: -- gitops",
    );
  if (others.length > 0) {
    throw new Failure(
      `the tag of ${service} stands in ${found.map(({ file }) => file).join(" and ")}`,
      "leave one images entry",
    );
  }
  return only;
}

async function imageEntries(git: Base["git"], service: string, revision: string): Promise<DeployedImage[]> {
  const listed = (await git.try("grep", "-l", "newTag:", revision, "--", "gitops/")) ?? "";
  const found: DeployedImage[] = [];
  for (const line of listed.split("\n").filter((path) => path.endsWith("/kustomization.yaml"))) {
    const file = line.slice(revision.length + 1);
    const text = await git.run("show", `${revision}:${file}`);
    const { images = [] } = readYaml<Kustomization>(new Map([[file, text]]), file) ?? {};
    images.forEach(({ name, newName = name, newTag }, index) => {
      if (newName.endsWith(`/${service}`) && newTag !== undefined)
        found.push({ file, index, name: newName, tag: String(newTag) });
    });
  }
  return found;
}

/**
 * The files that change when a service gets another tag: its kustomization, and examples that name its image. Those show
 * what the default environment runs.
 */
export async function withTag(
  base: Base,
  { file, index, name }: DeployedImage,
  tag: string,
): Promise<Map<string, string>> {
  const files = new Map([[file, replaceYamlScalar(file, base.read(file), ["images", index, "newTag"], tag)]]);
  const shown = (environmentOf(file) ?? defaultEnvironment) === defaultEnvironment;
  const examples = !shown
    ? ""
    : ((await base.git.try("grep", "-l", "--fixed-strings", `${name}:`, "HEAD", "--", "docs/examples/")) ??
      "");
  for (const line of examples.split("\n").filter((path) => /\.ya?ml$/.test(path))) {
    const example = line.slice("HEAD:".length);
    files.set(example, base.read(example).replaceAll(mentionOf(name), `$1${tag}`));
  }
  for (const [path, text] of files) if (text === base.read(path)) files.delete(path);
  return files;
}

const mentionOf = (name: string): RegExp =>
  new RegExp(`(${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}:)[\\w.-]+`, "g");
