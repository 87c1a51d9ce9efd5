import { existsSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { execa } from "execa";
import { dump, load } from "js-yaml";
import { kustomize, pinnedVersion } from "../modules.ts";
import { type KubernetesObject, type Manifest, parseObjects } from "../object.ts";
import { checkout } from "../repository.ts";
import { kustomizationsOf } from "./references.ts";
import { compiledTool, installedVersion } from "./tool.ts";

const originAnnotation = "config.kubernetes.io/origin";

/** Renders a kustomization with the pinned kustomize and returns its YAML. */
export async function renderYaml(directory: string): Promise<string> {
  kustomizeCommand ??= findKustomize();
  const { stdout } = await execa(await kustomizeCommand, ["build", resolve(directory)], {
    maxBuffer: 256 * 1024 * 1024,
  });
  return `${stdout}\n`;
}

/** Renders a kustomization with the pinned kustomize and returns its objects. */
export async function renderObjects(directory: string): Promise<KubernetesObject[]> {
  return parseObjects(await renderYaml(directory));
}

/**
 * Renders a kustomization and says of each object which file it comes from.
 * @param root the directory that files are named from
 * @param additions further fields of a kustomization, applied on top: what an Application's `source.kustomize` says
 */
export async function renderManifests(
  root: string,
  directory: string,
  additions: object = {},
): Promise<Omit<Manifest, "application">[]> {
  // Kustomize notes origins where a kustomization asks for it, so the directory is rendered from one that does.
  const wrapper = realpathSync(mkdtempSync(join(tmpdir(), "kustomization-")));
  try {
    const target = realpathSync(resolve(directory));
    const content = {
      apiVersion: "kustomize.config.k8s.io/v1beta1",
      kind: "Kustomization",
      ...additions,
      resources: [relative(wrapper, target)],
      buildMetadata: ["originAnnotations"],
    };
    writeFileSync(join(wrapper, "kustomization.yaml"), dump(content));
    const objects = parseObjects(await renderYaml(wrapper));
    return objects.map((object) =>
      located(object, wrapper, realpathSync(root), relative(realpathSync(root), target)),
    );
  } finally {
    rmSync(wrapper, { recursive: true, force: true });
  }
}

function located(
  object: KubernetesObject,
  wrapper: string,
  root: string,
  directory: string,
): Omit<Manifest, "application"> {
  const { annotations = {} } = object.metadata;
  const origin = load(annotations[originAnnotation] ?? "{}") as { path?: string; configuredIn?: string };
  delete annotations[originAnnotation];
  if (Object.keys(annotations).length === 0) delete object.metadata.annotations;
  const path = relative(root, resolve(wrapper, origin.path ?? origin.configuredIn ?? root));
  return path === "" || path.startsWith("..")
    ? { object, file: fileOf(root, directory), foreign: true }
    : { object, file: path, foreign: false };
}

function fileOf(root: string, directory: string): string {
  const names = kustomizationsOf(directory);
  return names.find((name) => existsSync(join(root, name))) ?? names[0] ?? directory;
}

let kustomizeCommand: Promise<string> | undefined;

// An installed one must have the pinned version, unless no other is available.
async function findKustomize(): Promise<string> {
  const installed = await installedVersion("kustomize", ["version"]);
  if (installed === pinnedVersion(checkout, kustomize)) return "kustomize";
  try {
    return await compiledTool(kustomize);
  } catch (error) {
    if (installed === undefined) throw error;
    return "kustomize";
  }
}
