import { leavesRepository } from "../git/files.ts";
import type { Problem, Rule } from "./rule.ts";

export const linkInside: Rule = {
  id: "link-inside",
  readsNoObjects: true,
  isOfArgocd: true,
  isOfFiles: true,
  isOfClusters: true,
  summary: "Links stay in the repository",
  isLocal: true,
  explanation: `Argo CD refuses a repository as a whole, with every Application in it, for one link whose target is absolute or leads out of the
repository, wherever the link lies. Looked at: every link that Git tracks or could track, step by step as Argo CD does.`,
  check: ({ input }) =>
    (input.links ?? []).filter(leavesRepository).map(
      ({ path, target }): Problem => ({
        at: { file: path, line: 1, column: 1 },
        message: `the link to ${target} leaves the repository: Argo CD refuses all of it`,
        fix: "link to a file of the repository, or remove the link",
      }),
    ),
};

export const fileTracked: Rule = {
  id: "file-tracked",
  readsNoObjects: true,
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Git has every file that is rendered",
  isLocal: true,
  explanation: `A file that .gitignore hides is rendered here and missing where Argo CD renders: the working tree looks clean, and the sync fails or deploys
something else. Looked at: what kustomizations name in any field, and the manifests of plain directories.`,
  check: (graph) =>
    (graph.input.ignored ?? []).map(
      ({ file, by }): Problem => ({
        at: graph.positionOfText(by, file.slice(file.lastIndexOf("/") + 1)),
        message: `${by} reads ${file}, which Git ignores: Argo CD will not find it`,
        fix: `git add --force ${file}, or correct .gitignore`,
      }),
    ),
};
