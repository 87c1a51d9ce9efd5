import { posix } from "node:path";
import { kustomizationIn, reachedFiles } from "../../../lib/render/references.ts";
import type { Repository } from "../../../lib/repository.ts";
import type { Problem, Rule } from "./rule.ts";

export const unlistedFile: Rule = {
  id: "unlisted-file",
  isOfClusters: true,
  summary: "Every file under gitops and bootstrap/argocd is reached from a cluster",
  explanation: `A manifest that no kustomization lists looks like part of the platform and is not. Followed are the kustomizations of
bootstrap/argocd/install, bootstrap/argocd/root and gitops/clusters, the sources of all Applications, and from there what each
kustomization lists; overlays count as used, for another cluster may use them. Markdown is left out, and so are the directories of
charts and of plain manifests, which are read whole.`,
  check: ({ input }) => {
    const { repository } = input;
    const directories = [...repository.keys()].flatMap(
      (path) =>
        /^((?:gitops\/clusters\/|bootstrap\/argocd\/[^/]+\/(?!base\/)|gitops\/.*\/overlays\/)[^/]+)\/kustomization\.yaml$/.exec(
          path,
        )?.[1] ?? [],
    );
    const reached = reachedFiles(repository, directories);
    for (const { files } of input.applications) for (const file of files) reached.add(file);
    for (const file of input.used ?? []) reached.add(file);
    return unlisted(repository, reached);
  },
};

function unlisted(repository: Repository, reached: Set<string>): Problem[] {
  const stray = [...repository.keys()].filter(
    (path) => /^(gitops|bootstrap\/argocd)\//.test(path) && !path.endsWith(".md") && !reached.has(path),
  );
  return stray.map((path) => ({
    at: { file: path, line: 1, column: 1 },
    message: "no kustomization uses this file",
    fix: `list it in ${nearestKustomization(repository, path)} or remove it`,
  }));
}

function nearestKustomization(repository: Repository, path: string): string {
  for (let directory = posix.dirname(path); directory !== "."; directory = posix.dirname(directory)) {
    const file = kustomizationIn(repository, directory);
    if (file !== undefined && file !== path) return file;
  }
  return "a kustomization.yaml";
}
