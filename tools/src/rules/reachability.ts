import { posix } from "node:path";
import { load } from "js-yaml";
import type { Finding } from "../finding.ts";
import type { Repository } from "../repository.ts";

interface Generator {
  files?: string[];
  envs?: string[];
}

interface Kustomization {
  resources?: string[];
  components?: string[];
  patches?: { path?: string }[];
  replacements?: { path?: string }[];
  configMapGenerator?: Generator[];
  secretGenerator?: Generator[];
}

/**
 * Finds files that no kustomization uses.
 * @param folder the files in question, such as `gitops/`; Markdown is not among them
 * @param roots the directories that something outside renders
 */
export function unlistedFiles(repository: Repository, folder: string, roots: string[]): Finding[] {
  const reached = new Set<string>();
  const pending = roots.map((root) => posix.join(root, "kustomization.yaml"));
  for (let file = pending.pop(); file !== undefined; file = pending.pop()) {
    const text = repository.get(file);
    if (text === undefined || reached.has(file)) continue;
    reached.add(file);
    if (posix.basename(file) === "kustomization.yaml") pending.push(...referencesOf(file, text));
  }
  return [...repository.keys()]
    .filter((path) => path.startsWith(folder) && !path.endsWith(".md") && !reached.has(path))
    .map((path) => ({
      rule: "unlisted-file",
      where: path,
      message: `no kustomization uses this file: list it in ${posix.dirname(path)}/kustomization.yaml or remove it`,
    }));
}

// An entry may be a file or a directory; what does not exist is kustomize's to complain about.
function referencesOf(file: string, text: string): string[] {
  const content = load(text) as Kustomization;
  const generators = [...(content.configMapGenerator ?? []), ...(content.secretGenerator ?? [])];
  const entries = [
    ...(content.resources ?? []),
    ...(content.components ?? []),
    ...[...(content.patches ?? []), ...(content.replacements ?? [])].flatMap(({ path }) => path ?? []),
    ...generators.flatMap(({ files, envs }) => [...(files ?? []), ...(envs ?? [])]),
  ];
  return entries
    .map((entry) => posix.join(posix.dirname(file), entry.replace(/^[\w.-]+=/, "")))
    .flatMap((path) => [path, posix.join(path, "kustomization.yaml")]);
}
