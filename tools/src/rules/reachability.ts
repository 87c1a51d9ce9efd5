import { posix } from "node:path";
import { configurationOf } from "../../../lib/configuration.ts";
import { kustomizationIn, reachedFiles } from "../../../lib/render/references.ts";
import type { Repository } from "../../../lib/repository.ts";
import type { Problem, Rule } from "./rule.ts";

export const unlistedFile: Rule = {
  id: "unlisted-file",
  readsNoObjects: true,
  isOfClusters: true,
  summary: "A cluster uses every file in the rendered directories",
  explanation: `A manifest that no kustomization lists looks like part of the platform but is not. The rule follows the kustomizations that the layout
  in gitops.yaml names (root, install and clusters) and the sources of all Applications, and from there everything that
  each kustomization lists. Overlays count as used, because another cluster may use them. Markdown is exempt, and so are the directories of
  charts and of plain manifests, which are read as a whole.`,
  check: ({ input }) => {
    const { repository } = input;
    const { layout } = configurationOf(repository);
    if (!layout) return [];
    const starts = [layout.clusters, ...[layout.root, layout.install].map((place) => posix.dirname(place))];
    const directories = [...repository.keys()]
      .filter((path) => posix.basename(path) === "kustomization.yaml")
      .map((path) => posix.dirname(path))
      .filter(
        (path) =>
          (starts.includes(posix.dirname(path)) && path !== layout.projects) ||
          (posix.basename(posix.dirname(path)) === "overlays" && isBelow(path, layout.rendered)),
      );
    const reached = reachedFiles(repository, directories);
    for (const { files } of input.applications) for (const file of files) reached.add(file);
    for (const file of input.used ?? []) reached.add(file);
    return unlisted(repository, reached, layout.rendered);
  },
};

const isBelow = (path: string, places: string[]): boolean =>
  places.some((place) => path.startsWith(`${place}/`));

function unlisted(repository: Repository, reached: Set<string>, rendered: string[]): Problem[] {
  const stray = [...repository.keys()].filter(
    (path) => isBelow(path, rendered) && !path.endsWith(".md") && !reached.has(path),
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
