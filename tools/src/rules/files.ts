import { leavesRepository } from "../git/files.ts";
import type { Problem, Rule } from "./rule.ts";

export const linkInside: Rule = {
  id: "link-inside",
  readsNoObjects: true,
  isOfArgocd: true,
  isOfFiles: true,
  isOfClusters: true,
  summary: "Symbolic links stay inside the repository",
  isLocal: true,
  explanation: `Argo CD refuses a whole repository, with every Application in it, if any symbolic link has an absolute target or leads out of the
  repository. The rule follows every link that Git tracks or could track, step by step as Argo CD does.`,
  check: ({ input }) =>
    (input.links ?? []).filter(leavesRepository).map(
      ({ path, target }): Problem => ({
        at: { file: path, line: 1, column: 1 },
        message: `the link to ${target} leaves the repository: Argo CD refuses the whole repository`,
        fix: "link to a file in the repository, or remove the link",
      }),
    ),
};

export const fileTracked: Rule = {
  id: "file-tracked",
  readsNoObjects: true,
  isOfArgocd: true,
  isOfFiles: true,
  summary: "Git tracks every file that is rendered",
  isLocal: true,
  explanation: `A file that .gitignore hides is rendered here, but Argo CD does not have it: the working tree looks clean, and the sync fails or deploys
  something else. The rule checks the files that kustomizations name in any field, and the manifests of plain directories.`,
  check: (graph) =>
    (graph.input.ignored ?? []).map(
      ({ file, by }): Problem => ({
        at: graph.positionOfText(by, file.slice(file.lastIndexOf("/") + 1)),
        message: `${by} reads ${file}, which Git ignores: Argo CD will not find it`,
        fix: `git add --force ${file}, or correct .gitignore`,
      }),
    ),
};
