/** Everything that a cluster gets: what deploy.sh applies to begin with, and what every Application renders. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "js-yaml";
import { groupOf, type KubernetesObject, type Manifest, parseObjects } from "../object.ts";
import { checkout, type Repository } from "../repository.ts";
import { failureOf, type Rendered, renderSource, sourcesOf } from "./application.ts";
import { installDirectory, renderArgocd } from "./argocd.ts";
import { type Cache, digest } from "./cache.ts";
import { argocd, kustomize, pinnedVersion } from "./go.ts";
import { kustomizationOf, reachedFiles } from "./references.ts";

/** The name under which objects are filed that deploy.sh applies itself. */
export const bootstrap = "bootstrap";

/** The Application through which Argo CD manages itself, where it does; deploy.sh applies the same before it. */
export const selfManagement = "argocd";

/** An Application with what became of its sources. */
export interface Application {
  name: string;
  /** Undefined for the stage before Argo CD. */
  manifest: Manifest | undefined;
  /** The Application that creates this one. */
  parent: string | undefined;
  manifests: Manifest[];
  error?: string;
  errorAt?: Rendered["errorAt"];
  skipped?: string;
  /** Names everything the manifests were rendered from. */
  key: string;
  /** Files that take part in the rendering. */
  files: string[];
}

/** The cluster names of a repository: the directories of gitops/clusters. */
export function clusterNames(repository: Repository): string[] {
  const names = [...repository.keys()].flatMap(
    (path) => /^gitops\/clusters\/([^/]+)\/kustomization\.yaml$/.exec(path)?.[1] ?? [],
  );
  return [...new Set(names)].sort();
}

/**
 * Renders all Applications of a cluster, beginning at its root; those that Applications create are rendered in turn.
 * @param onRender called when something is rendered that the cache does not hold
 */
export async function renderCluster(
  root: string,
  repository: Repository,
  cluster: string,
  cache: Cache,
  onRender: () => void = () => {},
): Promise<Application[]> {
  const renderer = new Renderer(root, repository, cluster, cache, onRender);
  const start = await renderer.bootstrap();
  const result = [start];
  const seen = new Set<string>();
  let pending: { manifest: Manifest; parent: string | undefined }[] = applicationsAmong(start);
  if (pending.length === 0) pending = [rootApplication(cluster)];
  while (pending.length > 0) {
    const fresh = pending.filter(({ manifest }) => !seen.has(manifest.object.metadata.name));
    for (const { manifest } of fresh) seen.add(manifest.object.metadata.name);
    const rendered = await concurrently(fresh, ({ manifest, parent }) =>
      renderer.application(manifest, parent),
    );
    result.push(...rendered);
    pending = rendered.flatMap(applicationsAmong);
  }
  return result;
}

function applicationsAmong({ manifests, name }: Application): { manifest: Manifest; parent: string }[] {
  return manifests
    .filter(({ object }) => object.kind === "Application" && groupOf(object) === "argoproj.io")
    .map((manifest) => ({ manifest, parent: name }));
}

// A repository without bootstrap/argocd/root begins at its cluster's directory.
function rootApplication(cluster: string): { manifest: Manifest; parent: undefined } {
  const path = `gitops/clusters/${cluster}`;
  const object: KubernetesObject = {
    apiVersion: "argoproj.io/v1alpha1",
    kind: "Application",
    metadata: { name: "root", namespace: "argocd" },
    spec: { source: { path }, destination: { namespace: "argocd" } },
  };
  return {
    manifest: { object, application: bootstrap, file: kustomizationOf(path), foreign: true },
    parent: undefined,
  };
}

/** Renders one Application of a cluster, kept apart from the cluster's own under a name. */
export async function renderApplication(
  root: string,
  repository: Repository,
  place: string,
  cache: Cache,
  { manifest, parent }: { manifest: Manifest; parent: string | undefined },
): Promise<Application> {
  return new Renderer(root, repository, place, cache, () => {}).application(manifest, parent);
}

class Renderer {
  readonly #root: string;
  readonly #repository: Repository;
  readonly #cache: Cache;
  readonly #version: string;
  readonly #cluster: string;

  readonly #onRender: () => void;

  constructor(root: string, repository: Repository, cluster: string, cache: Cache, onRender: () => void) {
    this.#cluster = cluster;
    this.#onRender = onRender;
    this.#root = root;
    this.#repository = repository;
    this.#cache = cache;
    this.#version = digest(
      pinnedVersion(checkout, kustomize),
      ownCode(dirname(fileURLToPath(import.meta.url))),
    );
  }

  async bootstrap(): Promise<Application> {
    const cluster = this.#cluster;
    const install = installDirectory(cluster);
    const rootDirectory = `bootstrap/argocd/root/${cluster}`;
    const files = [...this.#repository.keys()].filter(
      (path) =>
        path.startsWith("bootstrap/argocd/") ||
        path.startsWith("gitops/platform/argocd/") ||
        path === "versions.yaml" ||
        path.startsWith("gitops/clusters/"),
    );
    const installs = existsSync(join(this.#root, install));
    const extra = installs ? pinnedVersion(this.#root, argocd) : "";
    const parts = await this.#cached(`bootstrap ${cluster}`, files, extra, async (): Promise<Rendered> => {
      const manifests: Rendered["manifests"] = [];
      if (installs) {
        try {
          for (const object of parseObjects(await renderArgocd(this.#root, cluster))) {
            manifests.push({ object, file: kustomizationOf(install), foreign: true });
          }
        } catch (error) {
          return { manifests, ...failureOf(this.#root, install, error) };
        }
      }
      if (!existsSync(join(this.#root, rootDirectory))) return { manifests };
      const rendered = await renderSource(
        this.#root,
        { path: rootDirectory },
        rootApplication(cluster).manifest.object,
      );
      return { ...rendered, manifests: [...manifests, ...rendered.manifests] };
    });
    return this.#result(bootstrap, undefined, undefined, parts, files);
  }

  async application(manifest: Manifest, parent: string | undefined): Promise<Application> {
    const { name } = manifest.object.metadata;
    const sources = sourcesOf(manifest.object);
    const paths = sources.flatMap(({ path }) => path ?? []);
    // Charts and plain directories have no list of files: all below them count.
    const reached = reachedFiles(this.#repository, paths);
    const below = paths.filter((path) => !this.#repository.has(kustomizationOf(path)));
    for (const path of this.#repository.keys()) {
      if (below.some((directory) => path.startsWith(`${directory}/`))) reached.add(path);
    }
    const files = [...reached];
    const inputs = JSON.stringify([sources, manifest.object.spec?.destination, process.env.HELM_CHARTS]);
    const rendered = await this.#cached(`application ${this.#cluster} ${name}`, files, inputs, async () => {
      const parts: Rendered[] = [];
      for (const source of sources) parts.push(await renderSource(this.#root, source, manifest.object));
      const { error, errorAt } = parts.find((part) => part.error) ?? {};
      const { skipped } = parts.find((part) => part.skipped) ?? {};
      return {
        manifests: parts.flatMap((part) => part.manifests),
        ...(error && { error }),
        ...(errorAt && { errorAt }),
        ...(skipped && { skipped }),
      };
    });
    return this.#result(name, manifest, parent, rendered, files);
  }

  #result(
    name: string,
    manifest: Manifest | undefined,
    parent: string | undefined,
    { key, ...rendered }: Rendered & { key: string },
    files: string[],
  ): Application {
    const manifests = rendered.manifests.map((part) => ({ ...part, application: name }));
    return { ...rendered, name, manifest, parent, manifests, key, files };
  }

  // A rendering that failed is tried again each time: what it lacked may lie outside of the repository.
  async #cached(
    entry: string,
    files: string[],
    inputs: string,
    render: () => Promise<Rendered>,
  ): Promise<Rendered & { key: string }> {
    const contents = files.flatMap((file) => [file, this.#repository.get(file) ?? ""]);
    const key = digest(this.#version, inputs, ...contents);
    const known = this.#cache.get<Rendered>(entry, key);
    if (known) return { ...known, key };
    this.#onRender();
    const rendered = await render();
    if (!rendered.error && !rendered.skipped) this.#cache.set(entry, key, rendered);
    return { ...rendered, key };
  }
}

/** Texts of this code's files: what an older version of it found says nothing about what this one does. */
export function ownCode(directory: string): string {
  return (readdirSync(directory, { recursive: true }) as string[])
    .filter((file) => file.endsWith(".ts"))
    .sort()
    .map((file) => readFileSync(join(directory, file), "utf8"))
    .join("\n");
}

/** Runs a task for each item, as many at a time as there are processors; results keep the items' order. */
export async function concurrently<T, R>(items: T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++)
      results[index] = await task(items[index] as T);
  };
  await Promise.all(Array.from({ length: Math.min(items.length, availableParallelism() + 1) }, work));
  return results;
}

/** Reads a YAML file of a repository, or undefined where it is missing or no YAML. */
export function readYaml<T>(repository: Repository, file: string): T | undefined {
  try {
    return load(repository.get(file) ?? "") as T | undefined;
  } catch {
    return undefined;
  }
}
