/** Where the repository says which image of a service runs. */
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

/**
 * Finds a service's entry among the kustomizations under gitops.
 * @param revision `HEAD` for the worktree's commit, or another
 * @throws Failure where there is none, or more than one
 */
export async function deployedImage(
  { git }: Pick<Base, "git">,
  service: string,
  revision = "HEAD",
): Promise<DeployedImage> {
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
  const [only, ...others] = found;
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

/** The files that change when a service gets another tag: its kustomization, and examples that name its image. */
export async function withTag(
  base: Base,
  { file, index, name }: DeployedImage,
  tag: string,
): Promise<Map<string, string>> {
  const files = new Map([[file, replaceYamlScalar(file, base.read(file), ["images", index, "newTag"], tag)]]);
  const examples =
    (await base.git.try("grep", "-l", "--fixed-strings", `${name}:`, "HEAD", "--", "docs/examples/")) ?? "";
  for (const line of examples.split("\n").filter((path) => /\.ya?ml$/.test(path))) {
    const example = line.slice("HEAD:".length);
    files.set(example, base.read(example).replaceAll(mentionOf(name), `$1${tag}`));
  }
  for (const [path, text] of files) if (text === base.read(path)) files.delete(path);
  return files;
}

const mentionOf = (name: string): RegExp =>
  new RegExp(`(${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}:)[\\w.-]+`, "g");
