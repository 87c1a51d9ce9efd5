/** Everything that a cluster gets: what deploy.sh applies to begin with, and what every Application renders. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { load } from "js-yaml";
import { build } from "../build.ts";
import { concurrently } from "../concurrency.ts";
import { configurationOf, layoutOf, placeOf } from "../configuration.ts";
import { argocd, kustomize, pinnedVersion } from "../modules.ts";
import { groupOf, isMapping, type KubernetesObject, type Manifest, parseObjects } from "../object.ts";
import { checkout, type Repository } from "../repository.ts";
import {
  failureOf,
  onlyRepository,
  type Rendered,
  renderSource,
  type Surroundings,
  sourcesOf,
} from "./application.ts";
import { renderArgocd } from "./argocd.ts";
import { type Cache, digest } from "./cache.ts";
import { holdsChart } from "./chart.ts";
import { inputsOf } from "./inputs.ts";
import { ownCode } from "./own-code.ts";
import { isKustomization, kustomizationIn, kustomizationOf, reachedFiles } from "./references.ts";

/** The name that stands for an Application in objects that deploy.sh applies itself. */
export const bootstrap = "bootstrap";

/** An Application with the results of its sources. */
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
  isExternal?: boolean;
  omitted?: string[];
  /** A key of everything that the manifests were rendered from. */
  key: string;
  /** True if every file that it was rendered from is known, so that an unchanged key means unchanged manifests. */
  isFollowed: boolean;
  /** Files that take part in the rendering. */
  files: string[];
}

/** The cluster names of a repository: the directories of its layout's clusters; none where it has no layout. */
export function clusterNames(repository: Repository): string[] {
  const { layout } = configurationOf(repository);
  if (!layout) return [];
  const names = [...repository.keys()]
    .filter((path) => path.startsWith(`${layout.clusters}/`))
    .map((path) => path.slice(layout.clusters.length + 1).split("/"))
    .flatMap(([name = "", file = "", ...below]) =>
      below.length === 0 && isKustomization(file) ? [name] : [],
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
  if (pending.length === 0) pending = [rootApplication(repository, cluster)];
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
    .filter(({ object }) => object.metadata.name !== undefined)
    .map((manifest) => ({ manifest, parent: name }));
}

// A repository without a root of its own begins at its cluster's directory.
function rootApplication(repository: Repository, cluster: string): { manifest: Manifest; parent: undefined } {
  const path = `${layoutOf(repository).clusters}/${cluster}`;
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

/** Renders one Application of a cluster. The cache keeps it under a name of its own. */
export async function renderApplication(
  root: string,
  repository: Repository,
  place: string,
  cache: Cache,
  { manifest, parent }: { manifest: Manifest; parent: string | undefined },
  surroundings = onlyRepository,
): Promise<Application> {
  return new Renderer(root, repository, place, cache, () => {}, surroundings).application(manifest, parent);
}

let version: string | undefined;

/** Names everything about a rendering that is not in the repository: kustomize, this code and the libraries it uses. */
export function rendererVersion(): string {
  version ??= digest(
    pinnedVersion(checkout, kustomize),
    ownCode(dirname(dirname(fileURLToPath(import.meta.url)))),
    build ?? readFileSync(join(checkout, "package-lock.json"), "utf8"),
  );
  return version;
}

class Renderer {
  readonly #root: string;
  readonly #repository: Repository;
  readonly #cache: Cache;
  readonly #version: string;
  readonly #cluster: string;

  readonly #onRender: () => void;

  readonly #surroundings: Surroundings;

  constructor(
    root: string,
    repository: Repository,
    cluster: string,
    cache: Cache,
    onRender: () => void,
    surroundings = onlyRepository,
  ) {
    this.#surroundings = surroundings;
    this.#cluster = cluster;
    this.#onRender = onRender;
    this.#root = root;
    this.#repository = repository;
    this.#cache = cache;
    this.#version = rendererVersion();
  }

  async bootstrap(): Promise<Application> {
    const cluster = this.#cluster;
    const layout = layoutOf(this.#repository);
    const install = placeOf(layout.install, cluster);
    const rootDirectory = placeOf(layout.root, cluster);
    const given = layout.rendered.filter((place) => `${place}/`.startsWith(`${layout.given}/`));
    const files = [...this.#repository.keys()].filter(
      (path) =>
        path === layout.versions || [...given, layout.clusters].some((place) => path.startsWith(`${place}/`)),
    );
    const installs = existsSync(join(this.#root, install));
    const extra = installs
      ? `${pinnedVersion(this.#root, argocd)} ${this.#repository.get(layout.versions)}`
      : "";
    const inputs = inputsOf(this.#root, [install, rootDirectory]);
    const parts = await this.#cached(`bootstrap ${cluster}`, inputs, extra, async (): Promise<Rendered> => {
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
        rootApplication(this.#repository, cluster).manifest.object,
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
    const below = paths.filter((path) => !kustomizationIn(this.#repository, path));
    for (const path of this.#repository.keys()) {
      if (below.some((directory) => path.startsWith(`${directory}/`))) reached.add(path);
    }
    const files = [...reached];
    // What Helm reads is known to Helm alone: a chart is rendered anew each time.
    const isChart = sources.some((source) => source.chart !== undefined && process.env.HELM_CHARTS);
    const inputs =
      isChart || paths.some((path) => holdsChart(this.#root, path)) ? undefined : inputsOf(this.#root, paths);
    const settings = JSON.stringify([sources, manifest.object.spec?.destination]);
    const rendered = await this.#cached(
      `application ${this.#cluster} ${name}`,
      inputs,
      settings,
      async () => {
        const parts: Rendered[] = [];
        for (const source of sources)
          parts.push(
            await renderSource(this.#root, source, manifest.object, manifest.file, this.#surroundings),
          );
        const { error, errorAt } = parts.find((part) => part.error) ?? {};
        const { skipped, isExternal } = parts.find((part) => part.skipped) ?? {};
        const omitted = parts.flatMap((part) => part.omitted ?? []);
        return {
          manifests: parts.flatMap((part) => part.manifests),
          ...(error && { error }),
          ...(errorAt && { errorAt }),
          ...(skipped && { skipped }),
          ...(isExternal && { isExternal }),
          ...(omitted.length > 0 && { omitted }),
        };
      },
    );
    return this.#result(name, manifest, parent, rendered, files);
  }

  #result(
    name: string,
    manifest: Manifest | undefined,
    parent: string | undefined,
    { key, isFollowed, ...rendered }: Cached,
    files: string[],
  ): Application {
    const manifests = rendered.manifests.map((part) => ({ ...part, application: name }));
    return { ...rendered, name, manifest, parent, manifests, key, isFollowed, files };
  }

  // A rendering that failed is tried again each time: what it lacked may lie outside of the repository.
  async #cached(
    entry: string,
    inputs: string[] | undefined,
    settings: string,
    render: () => Promise<Rendered>,
  ): Promise<Cached> {
    if (!inputs) {
      this.#onRender();
      const rendered = await render();
      return { ...rendered, key: digest(this.#version, JSON.stringify(rendered)), isFollowed: false };
    }
    const key = digest(this.#version, settings, ...inputs);
    const known = this.#cache.get<Rendered>(entry, key);
    if (known) return { ...known, key, isFollowed: true };
    this.#onRender();
    const rendered = await render();
    if (!rendered.error && !rendered.skipped) this.#cache.set(entry, key, rendered);
    return { ...rendered, key, isFollowed: true };
  }
}

type Cached = Rendered & { key: string; isFollowed: boolean };

/**
 * Reads a mapping from a YAML file of a repository, or undefined if the file is missing or holds anything else.
 * What the fields hold is the caller's to check: nothing has compared them with a schema.
 */
export function readYaml<T>(repository: Pick<Repository, "get">, file: string): T | undefined {
  try {
    const content = load(repository.get(file) ?? "");
    return isMapping(content) ? (content as T) : undefined;
  } catch {
    return undefined;
  }
}
