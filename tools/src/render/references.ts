/** Which files a kustomization is made of. */
import { posix } from "node:path";
import { load } from "js-yaml";
import type { Repository } from "../repository.ts";

interface Generator {
  files?: string[];
  envs?: string[];
  env?: string;
}

interface Kustomization {
  resources?: string[];
  bases?: string[];
  components?: string[];
  crds?: string[];
  configurations?: string[];
  generators?: string[];
  transformers?: string[];
  validators?: string[];
  patches?: { path?: string }[];
  patchesStrategicMerge?: string[];
  replacements?: { path?: string }[];
  openapi?: { path?: string };
  configMapGenerator?: Generator[];
  secretGenerator?: Generator[];
}

const kustomizationFile = "kustomization.yaml";

/** The file that makes a directory a kustomization. */
export const kustomizationOf = (directory: string): string => posix.join(directory, kustomizationFile);

/**
 * The files that rendering a directory reads, in the order in which they are reached: kustomizations and what they list.
 * A file that is no YAML leads nowhere; kustomize says what is wrong with it.
 * @param directories paths from the repository's root
 */
export function reachedFiles(repository: Pick<Repository, "get">, directories: string[]): Set<string> {
  const reached = new Set<string>();
  const pending = directories.map(kustomizationOf).reverse();
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    const text = repository.get(file);
    if (text === undefined || reached.has(file)) continue;
    reached.add(file);
    if (posix.basename(file) === kustomizationFile) pending.push(...referencesOf(file, text).reverse());
  }
  return reached;
}

// An entry may be a file or a directory; what does not exist is kustomize's to complain about.
function referencesOf(file: string, text: string): string[] {
  let content: Kustomization;
  try {
    content = (load(text) ?? {}) as Kustomization;
  } catch {
    return [];
  }
  const generators = [...(content.configMapGenerator ?? []), ...(content.secretGenerator ?? [])];
  const withPath = [...(content.patches ?? []), ...(content.replacements ?? []), content.openapi ?? {}];
  const entries = [
    ...(content.resources ?? []),
    ...(content.bases ?? []),
    ...(content.components ?? []),
    ...(content.crds ?? []),
    ...(content.configurations ?? []),
    ...(content.generators ?? []),
    ...(content.transformers ?? []),
    ...(content.validators ?? []),
    ...(content.patchesStrategicMerge ?? []),
    ...withPath.flatMap(({ path }) => path ?? []),
    ...generators.flatMap(({ files, envs, env }) => [
      ...(files ?? []),
      ...(envs ?? []),
      ...(env ? [env] : []),
    ]),
  ];
  return entries
    .map((entry) => posix.join(posix.dirname(file), String(entry).replace(/^[\w.-]+=/, "")))
    .flatMap((path) => [path, kustomizationOf(path)]);
}
