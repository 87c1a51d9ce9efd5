/** Overlays that no cluster uses yet: an environment has to be right before the first cluster takes it. */
import { posix } from "node:path";
import { configurationOf } from "../configuration.ts";
import type { Repository } from "../repository.ts";
import { sourcesOf } from "./application.ts";
import type { Cache } from "./cache.ts";
import { type Application, readYaml, renderApplication } from "./cluster.ts";
import { kustomizationOf } from "./references.ts";

/** The overlays of a repository, as paths from its root; a component is part of others and renders nothing by itself. */
export function overlaysIn(repository: Repository): string[] {
  const rendered = configurationOf(repository).layout?.rendered ?? [];
  return [...repository.keys()]
    .filter((path) => /\/overlays\/[^/]+\/kustomization\.yaml$/.test(path))
    .filter((path) => rendered.some((place) => path.startsWith(`${place}/`)))
    .filter((path) => readYaml<{ kind?: string }>(repository, path)?.kind !== "Component")
    .map((path) => posix.dirname(path))
    .sort();
}

/**
 * The overlays that no cluster reaches.
 * @param used files that take part in rendering the clusters
 */
export function unusedOverlays(repository: Repository, used: ReadonlySet<string>): string[] {
  return overlaysIn(repository).filter((overlay) => !used.has(kustomizationOf(overlay)));
}

/**
 * A cluster's Applications with those that have an unused overlay of a name rendered from that one instead.
 * @returns undefined if none of them has one
 */
export async function withOverlays(
  root: string,
  {
    cluster,
    repository,
    applications,
  }: { cluster: string; repository: Repository; applications: Application[] },
  name: string,
  overlays: string[],
  cache: Cache,
): Promise<Application[] | undefined> {
  let found = false;
  const result: Application[] = [];
  for (const application of applications) {
    const { manifest, parent } = application;
    const path = manifest && sourcesOf(manifest.object)[0]?.path;
    const overlay = path?.includes("/overlays/") ? posix.join(posix.dirname(path), name) : undefined;
    if (!manifest || !overlay || !overlays.includes(overlay) || !repository.has(kustomizationOf(overlay))) {
      result.push(application);
      continue;
    }
    found = true;
    const object = structuredClone(manifest.object);
    const [source] = sourcesOf(object);
    if (source) source.path = overlay;
    const moved = { manifest: { ...manifest, object }, parent };
    result.push(await renderApplication(root, repository, `${cluster} as ${name}`, cache, moved));
  }
  return found ? result : undefined;
}
