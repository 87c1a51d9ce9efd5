/** Implements `validate`: it renders everything, checks every object with its schema, and applies every rule. */
import { dirname, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { concurrently } from "../../lib/concurrency.ts";
import { configurationOf, layoutOf, placeOf } from "../../lib/configuration.ts";
import { moduleFile, pinnedModules, pinnedVersion } from "../../lib/modules.ts";
import { asObject, isMapping, type KubernetesObject, type Manifest } from "../../lib/object.ts";
import { sourcesOf } from "../../lib/render/application.ts";
import { Cache, digest } from "../../lib/render/cache.ts";
import {
  type Application,
  clusterNames,
  readYaml,
  renderCluster,
  rendererVersion,
} from "../../lib/render/cluster.ts";
import { filesRead, inputsOf } from "../../lib/render/inputs.ts";
import { unusedOverlays, withOverlays } from "../../lib/render/overlays.ts";
import { ownCode } from "../../lib/render/own-code.ts";
import { documentsOf, isKustomization } from "../../lib/render/references.ts";
import {
  cacheDirectory,
  checkout,
  listFiles,
  type Repository,
  readRepository,
} from "../../lib/repository.ts";
import { validateDiscovered } from "./discovered.ts";
import { type Finding, sortFindings } from "./finding.ts";
import { serviceTags } from "./git/deployments.ts";
import { ignoredAmong, type Link, linksAmong } from "./git/files.ts";
import { Graph, type GraphInput } from "./graph.ts";
import { chosenRules, runRules } from "./rules/index.ts";
import type { Rule } from "./rules/rule.ts";
import { removeNulls } from "./schema/nulls.ts";
import { platformSchemasKey, platformValidator, readDefinition } from "./schema/sources.ts";
import type { Defect, Validator } from "./schema/validator.ts";

export interface ValidateOptions {
  /** Cache with the results of earlier runs; the checkout's own by default. */
  cache?: Cache;
}

/** What was examined and found. */
export interface Validation {
  findings: Finding[];
  clusters: string[];
  /** Overlays that no cluster has. Each was checked as if every cluster with its Application had it. */
  overlays: string[];
  applications: number;
  objects: number;
  /** What could not be examined here, such as charts in remote repositories. */
  skipped: string[];
  /** Numbers of objects of unknown kinds, which were not compared with a schema, by kind. */
  unchecked?: Record<string, number>;
  /** Applications whose sources are in other repositories. */
  external?: string[];
  /** URLs that were taken to mean this repository although no remote has them. */
  taken?: string[];
}

/**
 * Validates a repository: every cluster, and every Application that Argo CD would render.
 * @param root the repository's root
 * @throws if kustomize or the sources of the pinned modules are missing
 */
export async function validate(
  root: string,
  { cache = new Cache(cacheDirectory) }: ValidateOptions = {},
): Promise<Validation> {
  const files = await listFiles(root);
  const repository = await readRepository(root, files);
  const configuration = configurationOf(repository);
  const chosen = chosenRules(configuration);
  if (!configuration.layout)
    return validateDiscovered(root, repository, linksAmong(root, files), configuration, chosen, cache);
  const tags = await serviceTags(root, repository);
  const { rendered } = configuration.layout;
  const inputs = inputsOf(root, rendered);
  const links = linksAmong(root, files);
  const key = digest(
    JSON.stringify(links),
    ...[...repository].flat(),
    ...(inputs ?? []),
    JSON.stringify([...tags], (_, value) => (value instanceof Set ? [...value] : value)),
    rendererVersion(),
    ownCode(dirname(fileURLToPath(import.meta.url))),
    platformSchemasKey(checkout),
  );
  const known = inputs && cache.get<Validation>("validation", key);
  if (known) return known;
  const { result, isFollowed } = await validateAll(root, repository, tags, links, cache, chosen);
  // Results with findings are not cached, because the cause may be a tool or a chart that was not available.
  if (inputs && isFollowed && result.findings.length === 0) cache.set("validation", key, result);
  return result;
}

async function validateAll(
  root: string,
  repository: Repository,
  tags: GraphInput["tags"],
  links: Link[],
  cache: Cache,
  chosen: readonly Rule[],
): Promise<{ result: Validation; isFollowed: boolean }> {
  const result: Validation = {
    findings: [],
    clusters: clusterNames(repository),
    overlays: [],
    applications: 0,
    objects: 0,
    skipped: [],
  };
  // Clusters are loaded concurrently: while kustomize renders one, another is parsed and checked.
  const graphs = await concurrently(result.clusters, (cluster) =>
    loadGraph(root, repository, cluster, cache, tags),
  );
  const used = new Set(graphs.flatMap(({ input }) => input.applications.flatMap(({ files }) => files)));
  for (const graph of graphs) {
    graph.input.used = used;
    graph.input.links = links;
    result.findings.push(...runRules(graph, chosen));
    result.applications += graph.input.applications.length - 1;
    result.objects += graph.manifests.length;
    for (const { name, skipped } of graph.input.applications)
      if (skipped) result.skipped.push(`Application ${name}: ${skipped}`);
  }
  result.overlays = unusedOverlays(repository, used);
  const names = [...new Set(result.overlays.map((path) => posix.basename(path)))];
  const pairs = names.flatMap((name) => graphs.map((graph) => ({ name, graph })));
  const variants = await concurrently(pairs, ({ name, graph }) =>
    loadVariant(root, graph, name, result.overlays, cache),
  );
  for (const variant of variants) if (variant) result.findings.push(...runRules(variant, chosen));
  result.findings = sortFindings(result.findings);
  const looked = [...graphs, ...variants].flatMap((graph) => graph?.input.applications ?? []);
  const { rendered } = layoutOf(repository);
  return { result, isFollowed: looked.every((application) => isFollowedHere(application, rendered)) };
}

// Every byte in the rendered directories is part of the key, even in files that Git does not track.
function isFollowedHere({ manifest, isFollowed }: Application, rendered: string[]): boolean {
  const paths = manifest ? sourcesOf(manifest.object).flatMap(({ path }) => path ?? []) : [];
  return isFollowed && paths.every((path) => rendered.some((place) => `${path}/`.startsWith(`${place}/`)));
}

/** Renders one cluster and checks its objects against their schemas. */
export async function loadGraph(
  root: string,
  repository: Repository,
  cluster: string,
  cache: Cache,
  tags: GraphInput["tags"],
): Promise<Graph> {
  let loading: Promise<Validator> | undefined;
  // The schemas are loaded while kustomize runs, because newly rendered objects must be checked again.
  const applications = await renderCluster(root, repository, cluster, cache, () => {
    loading ??= platformValidator(checkout, cache);
  });
  const schemas = new Schemas(
    cache,
    cluster,
    applications,
    () => loading ?? platformValidator(checkout, cache),
  );
  const { sound, defects } = await soundOf(applications, async (application) => [
    ...(await schemas.check(application)),
    ...(await defectsInSources(application, repository, cache)),
  ]);
  return new Graph({
    cluster,
    repository,
    applications: sound,
    defects,
    ignored: await ignoredFiles(root, repository, cluster, applications),
    tags,
    pins: pinsOf(root, repository, cluster),
  });
}

/** A cluster's objects if its Applications used their overlays of another name; undefined if none has such an overlay. */
async function loadVariant(
  root: string,
  { input }: Graph,
  name: string,
  overlays: string[],
  cache: Cache,
): Promise<Graph | undefined> {
  const applications = await withOverlays(root, input, name, overlays, cache);
  if (!applications) return undefined;
  const schemas = new Schemas(cache, `${input.cluster} as ${name}`, applications, () =>
    platformValidator(checkout, cache),
  );
  const { sound, defects } = await soundOf(
    applications,
    async (application) => input.defects.get(application) ?? schemas.check(application),
  );
  const ignored = await ignoredFiles(root, input.repository, input.cluster, applications);
  return new Graph({ ...input, applications: sound, defects, ignored, variant: name });
}

/** Applications without the objects that lack the shape of their kind, and all defects. */
export async function soundOf(
  applications: Application[],
  check: (application: Application) => Promise<Defects>,
): Promise<{ sound: Application[]; defects: GraphInput["defects"] }> {
  const defects: GraphInput["defects"] = new Map();
  const sound: Application[] = [];
  for (const application of applications) {
    const found = await check(application);
    const shapeless = new Set(found.flatMap(({ manifest, defect }) => (defect.isShape ? manifest : [])));
    const manifests = application.manifests.filter((manifest) => !shapeless.has(manifest));
    const kept = shapeless.size === 0 ? application : { ...application, manifests };
    sound.push(kept);
    defects.set(kept, found);
  }
  return { sound, defects };
}

/**
 * Finds wrong types in the files of an Application that does not render. Kustomize's message names its own file and a field
 * of its transformer, so the mistake is searched in the sources. Missing fields are ignored, because a file may be a patch.
 */
export async function defectsInSources(
  { name, error, files }: Application,
  repository: Repository,
  cache: Cache,
): Promise<Defects> {
  if (error === undefined) return [];
  const validator = await platformValidator(checkout, cache);
  return files
    .filter((file) => /\.ya?ml$/.test(file) && !isKustomization(file))
    .flatMap((file) => documentsOf(repository.get(file) ?? "").map((document) => ({ file, document })))
    .filter(({ document }) => isMapping(document) && "kind" in document)
    .flatMap(({ file, document }): Defects => {
      const manifest = { object: document as KubernetesObject, file, application: name, foreign: false };
      return wrongTypes(document, validator).map((defect) => ({ manifest, defect }));
    });
}

function wrongTypes(document: unknown, validator: Validator): Defect[] {
  try {
    return validator.check(asObject(document)).filter(({ message }) => message === "wrong type");
  } catch (error) {
    const fix = "write apiVersion, kind and metadata.name as strings";
    return [{ path: [], message: (error as Error).message, fix, isShape: true }];
  }
}

export type Defects = { manifest: Manifest; defect: Defect }[];

/** Schema checks with cached results for each Application. The schemas are only loaded if an Application has changed. */
export class Schemas {
  readonly #cache: Cache;
  readonly #cluster: string;
  readonly #definitions: KubernetesObject[];
  readonly #key: string;
  readonly #platform: () => Promise<Validator>;
  #validator: Promise<Validator> | undefined;

  constructor(
    cache: Cache,
    cluster: string,
    applications: Application[],
    platform: () => Promise<Validator>,
    definitions: KubernetesObject[] = [],
  ) {
    this.#cache = cache;
    this.#cluster = cluster;
    this.#platform = platform;
    this.#definitions = [
      ...definitions,
      ...applications.flatMap(({ manifests }) =>
        manifests.flatMap(({ object }) => (object.kind === "CustomResourceDefinition" ? [object] : [])),
      ),
    ];
    this.#key = digest(platformSchemasKey(checkout), JSON.stringify(this.#definitions));
  }

  /** The validator with which objects are checked. */
  validator(): Promise<Validator> {
    this.#validator ??= this.#load();
    return this.#validator;
  }

  async check(application: Application): Promise<Defects> {
    for (const { object } of application.manifests)
      if (object.kind !== "CustomResourceDefinition") removeNulls(object);
    const entry = `schema ${this.#cluster} ${application.name}`;
    const key = digest(this.#key, application.key);
    type Checked = { defects: { index: number; defect: Defect }[]; clusterWide: number[] };
    let checked = this.#cache.get<Checked>(entry, key);
    if (!checked) {
      const validator = await this.validator();
      const objects = application.manifests.map(({ object }) => object);
      checked = {
        // A definition from a pinned module is not checked: its project publishes it like this, and a check takes a second.
        defects: application.manifests.flatMap(({ object, foreign }, index) =>
          foreign && object.kind === "CustomResourceDefinition"
            ? []
            : validator.check(object).map((defect) => ({ index, defect })),
        ),
        clusterWide: objects.flatMap((object, index) =>
          validator.isNamespaced(object) === false ? [index] : [],
        ),
      };
      this.#cache.set(entry, key, checked);
    }
    const clusterWide = new Set(checked.clusterWide);
    const named: unknown = application.manifest?.object.spec?.destination?.namespace;
    const namespace = typeof named === "string" ? named : undefined;
    application.manifests.forEach(({ object }, index) => {
      // As in Argo CD, an object without a namespace goes to that of the destination.
      if (clusterWide.has(index)) delete object.metadata?.namespace;
      else if (namespace && object.metadata) object.metadata.namespace ??= namespace;
    });
    return checked.defects.flatMap(({ index, defect }) => {
      const manifest = application.manifests[index];
      return manifest ? [{ manifest, defect }] : [];
    });
  }

  async #load(): Promise<Validator> {
    const validator = await this.#platform();
    return validator.extendedBy(this.#definitions.flatMap(readDefinition));
  }
}

/** Files that kustomizations or plain directories read from the working tree although Git ignores them. */
export async function ignoredFiles(
  root: string,
  repository: Repository,
  cluster: string,
  applications: Application[],
): Promise<{ file: string; by: string }[]> {
  const directories = [
    ...applications.flatMap(({ manifest }) =>
      manifest ? sourcesOf(manifest.object).flatMap(({ path }) => path ?? []) : [],
    ),
    ...startsOf(repository, cluster),
  ];
  const named = new Map<string, string>();
  for (const { file, by } of filesRead(root, directories)) if (!repository.has(file)) named.set(file, by);
  const ignored = await ignoredAmong(root, [...named.keys()]);
  return ignored.flatMap((file) => {
    const by = named.get(file);
    return by === undefined ? [] : [{ file, by }];
  });
}

function startsOf(repository: Repository, cluster: string): string[] {
  const { layout } = configurationOf(repository);
  return layout ? [layout.root, layout.install].map((place) => placeOf(place, cluster)) : [];
}

function pinsOf(root: string, repository: Repository, cluster: string): GraphInput["pins"] {
  const { source: place, versions } = layoutOf(repository);
  const home = placeOf(place, cluster);
  const { data } = readYaml<{ data?: unknown }>(repository, home) ?? {};
  const source = isMapping(data) ? data : {};
  const pins: GraphInput["pins"] = [];
  if (typeof source.repository === "string" && source.repository !== "")
    pins.push({ name: "the repository", value: source.repository, home });
  if (typeof source.branch === "string" && source.branch !== "")
    pins.push({ name: "the branch", value: `targetRevision: ${source.branch}`, home });
  for (const [name, value] of Object.entries(readYaml<Record<string, unknown>>(repository, versions) ?? {})) {
    // A word such as a distribution's name is also part of other words, so only numbers are searched for.
    if (/^\d+(\.\d+)+$/.test(String(value))) pins.push({ name, value: String(value), home: versions });
  }
  for (const module of pinnedModules) {
    const file = moduleFile(module);
    if (!repository.has(file)) continue;
    const version = pinnedVersion(root, module);
    for (const value of [version, version.slice(1)]) pins.push({ name: module.path, value, home: file });
  }
  return pins;
}
