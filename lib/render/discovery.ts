/**
 * Everything of Argo CD's in a repository whose layout nobody knows: its Applications, ApplicationSets and AppProjects are
 * found wherever they stand, and what they make is rendered, app-of-apps of any depth included.
 */
import { existsSync } from "node:fs";
import { basename, join, posix } from "node:path";
import { concurrently } from "../concurrency.ts";
import type { Configuration, KnownCluster } from "../configuration.ts";
import { sameRepository } from "../git/repository-url.ts";
import { asObject, groupOf, isMapping, type KubernetesObject, loadLast, type Manifest } from "../object.ts";
import type { Repository } from "../repository.ts";
import { renderSource, type Surroundings, sourcesOf } from "./application.ts";
import { generate } from "./applicationset.ts";
import type { Cache } from "./cache.ts";
import { type Application, bootstrap, renderApplication } from "./cluster.ts";
import { itemsOf } from "./directory.ts";
import { inCluster } from "./generators.ts";
import { elsewhere } from "./inputs.ts";
import { documentsOf, isKustomization, kustomizationIn, mappingOf, namesIn } from "./references.ts";

/** What one Argo CD makes on one cluster. */
export interface Destination {
  /** `in-cluster`, or a name or server; after the directory of its Argo CD if the repository has several. */
  name: string;
  applications: Application[];
}

export interface Discovery {
  destinations: Destination[];
  /** AppProjects of every Argo CD of the repository. */
  projects: Manifest[];
  /** Definitions of custom resources that stand in the repository, rendered or not. */
  definitions: KubernetesObject[];
  /** What could not be looked at, with the reason. */
  skipped: string[];
  /** URLs that were taken to mean this repository although no remote has them. */
  taken: string[];
}

/** Where Argo CD begins: objects that are applied by somebody or something outside of the repository. */
interface Start {
  /** A file, a kustomization's directory or a chart's. */
  place: string;
  manifests: Manifest[];
  nodes: Node[];
  /** Every object of Argo CD's that it leads to, by a name for its content. */
  seen: Map<string, KubernetesObject>;
  /** Templates of a chart that could make objects of Argo CD's and make none with the chart's own values. */
  idle: string[];
  /** True for a chart with further files of values: one of those is used when it is applied. */
  hasOtherValues: boolean;
}

/** An Application that is reached from a start. */
interface Node {
  application: Application;
  key: string;
}

const kinds = new Set(["Application", "ApplicationSet", "AppProject"]);
const isOfArgo = (object: KubernetesObject): boolean =>
  kinds.has(object.kind) && groupOf(object) === "argoproj.io";
const isArgo = (object: KubernetesObject): boolean =>
  isOfArgo(object) && typeof object.metadata.name === "string";
const named = /kind["']?\s*:\s*["']?(Application|ApplicationSet|AppProject)\b/;
const mentions = (text: string): boolean => text.includes("argoproj.io/") && named.test(text);

/**
 * Finds and renders everything of Argo CD's in a repository.
 * @param remotes the URLs of its remotes
 */
export async function discover(
  root: string,
  repository: Repository,
  configuration: Configuration,
  remotes: string[],
  cache: Cache,
): Promise<Discovery> {
  const looked = new Map([...repository].filter(([path]) => !isIgnored(configuration, path)));
  return new Search(root, looked, configuration, remotes, cache).run();
}

const isIgnored = ({ ignore }: Configuration, path: string): boolean =>
  ignore.some((place) => path === place || (place.endsWith("/") && path.startsWith(place)));

class Search {
  readonly #root: string;
  readonly #repository: Repository;
  readonly #configuration: Configuration;
  readonly #cache: Cache;
  readonly #own: OwnUrls;
  readonly #skipped = new Set<string>();
  /** Places that do not render by themselves, with the reason. */
  readonly #failed = new Map<string, string>();
  readonly #rendered = new Map<string, Promise<Application>>();
  readonly #generated = new Map<string, Promise<Manifest[]>>();
  #clusters: KnownCluster[] = [];

  constructor(
    root: string,
    repository: Repository,
    configuration: Configuration,
    remotes: string[],
    cache: Cache,
  ) {
    this.#root = root;
    this.#repository = repository;
    this.#configuration = configuration;
    this.#cache = cache;
    this.#own = new OwnUrls(root, [...remotes, ...configuration.repository]);
  }

  get #surroundings(): Surroundings {
    return { isOurs: (url) => this.#own.has(url), isOffline: true };
  }

  async run(): Promise<Discovery> {
    const files = [...this.#repository].filter(
      ([path, text]) => /\.(ya?ml|json)$/.test(path) && mentions(text),
    );
    const charts = new Map<string, string[]>();
    for (const [path] of files) {
      const chart = chartOf(this.#repository, path);
      if (chart !== undefined) charts.set(chart, [...(charts.get(chart) ?? []), path]);
    }
    const plain = files.filter(([path]) => isPlain(this.#repository, path));
    const above = kustomizationsAbove(this.#repository);
    this.#countPatched();
    const documents = new Map(
      plain.map(([path, text]) => [path, this.#wholeOf(path, this.#objectsOf(path, text), above)]),
    );
    this.#own.learn([...documents.values()].flat());
    this.#clusters = [...this.#configuration.clusters, ...clustersIn(this.#repository)];
    const starts = await this.#starts(documents, charts, above);
    await this.#follow(starts);
    const rendered = new Set(starts.flatMap(({ nodes }) => nodes.flatMap(placesOf)));
    for (const [place, reason] of this.#failed)
      if (!rendered.has(place))
        this.#skipped.add(`${place}, which no Application refers to, does not render by itself: ${reason}`);
    const begun = withoutCovered(starts);
    for (const path of begun.flatMap(({ idle }) => idle))
      this.#skipped.add(`${path}: makes nothing with the values of its chart`);
    return {
      destinations: instancesOf(begun).flatMap(({ name, starts: some }) => destinationsOf(name, some)),
      projects: begun.flatMap(({ manifests, nodes }) =>
        [...manifests, ...nodes.flatMap(({ application }) => application.manifests)].filter(
          ({ object }) => object.kind === "AppProject" && isArgo(object),
        ),
      ),
      definitions: definitionsIn(this.#repository),
      skipped: [...this.#skipped].sort(),
      taken: this.#own.taken(),
    };
  }

  #objectsOf(path: string, text: string): KubernetesObject[] {
    try {
      const { documents, repeated } = loadLast(text);
      const objects = documents.flatMap(objectIn);
      if (repeated !== undefined && objects.length > 0) this.#skipped.add(`${path}: ${repeated}`);
      return objects;
    } catch {
      this.#skipped.add(`${path}: no YAML that can be read`);
      return [];
    }
  }

  // What patches an Application may have it from a chart or from another repository.
  #countPatched(): void {
    for (const [path, text] of this.#repository) {
      if (!isKustomization(path) || !named.test(text)) continue;
      const reason = elsewhere(this.#root, posix.dirname(path));
      if (reason !== undefined) this.#skipped.add(reason);
    }
  }

  // A patch has its object's kind and name and lacks the rest; a kustomization names it.
  #wholeOf(path: string, objects: KubernetesObject[], above: Map<string, Set<string>>): KubernetesObject[] {
    return objects.filter((object) => {
      const lacks = lackOf(object);
      if (lacks !== undefined && !above.has(path))
        this.#skipped.add(
          `${path}: ${object.kind} ${object.metadata.name ?? "without a name"} has no ${lacks}`,
        );
      return lacks === undefined;
    });
  }

  /** The kustomizations, charts and files that nothing in the repository refers to and that lead to Argo CD's objects. */
  async #starts(
    documents: Map<string, KubernetesObject[]>,
    charts: Map<string, string[]>,
    above: Map<string, Set<string>>,
  ): Promise<Start[]> {
    const directories = new Set<string>();
    const files = new Set<string>();
    for (const [path, objects] of documents) {
      if (objects.length === 0) continue;
      const tops = topsOf(path, above, this.#repository);
      for (const top of tops) directories.add(top);
      if (tops.length === 0) files.add(path);
    }
    const rendered = await concurrently([...directories, ...charts.keys()], (place) =>
      this.#renderStart(place),
    );
    for (const [path] of documents)
      if (rendered.some((start) => start.failed && reaches(start.place, path, above, this.#repository)))
        files.add(path);
    const own = [...files].map((place) => ({
      place,
      manifests: (documents.get(place) ?? []).map((object) => ({
        object,
        application: bootstrap,
        file: place,
        foreign: false,
      })),
    }));
    return [...rendered.filter(({ failed }) => !failed), ...own]
      .filter(({ manifests }) => manifests.some(({ object }) => isArgo(object)))
      .map(({ place, manifests }) => {
        const made = new Set(manifests.map(({ file }) => file));
        const idle = (charts.get(place) ?? []).filter((path) => !made.has(path));
        const hasOtherValues = charts.has(place) && hasValuesBeside(this.#repository, place);
        return { place, manifests, nodes: [], seen: new Map(), idle, hasOtherValues };
      });
  }

  async #renderStart(place: string): Promise<{ place: string; manifests: Manifest[]; failed: boolean }> {
    const application: KubernetesObject = {
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Application",
      metadata: { name: posix.basename(place) },
      spec: { source: { path: place }, destination: {} },
    };
    const { manifests, error, skipped } = await renderSource(
      this.#root,
      { path: place },
      application,
      "",
      this.#surroundings,
    ).catch((failure: Error): { manifests: []; error: string; skipped?: string } => ({
      manifests: [],
      error: failure.message,
    }));
    const failed = error !== undefined || skipped !== undefined;
    if (skipped !== undefined) this.#skipped.add(skipped);
    else if (error !== undefined) this.#failed.set(place, error);
    return { place, manifests: manifests.map((part) => ({ ...part, application: bootstrap })), failed };
  }

  async #follow(starts: Start[]): Promise<void> {
    let pending = starts.flatMap((start) =>
      start.manifests.map((manifest) => ({ start, manifest, parent: undefined as string | undefined })),
    );
    while (pending.length > 0) {
      const fresh = pending.filter(({ start, manifest }) => {
        const key = keyOf(manifest);
        if (!isArgo(manifest.object) || start.seen.has(key)) return false;
        start.seen.set(key, manifest.object);
        return true;
      });
      // What a chart or an Application makes may name the repository otherwise than what stands in files.
      this.#own.learn(fresh.map(({ manifest }) => manifest.object));
      const made = await concurrently(fresh, async ({ start, manifest, parent }) => {
        if (manifest.object.kind === "ApplicationSet")
          return (await this.#generate(manifest)).map((child) => ({ start, manifest: child, parent }));
        if (manifest.object.kind !== "Application") return [];
        const rendered = { ...(await this.#render(manifest)), parent };
        const isGuess = start.hasOtherValues && parent === undefined;
        const application = isGuess ? asGuess(rendered, start.place) : rendered;
        start.nodes.push({ application, key: keyOf(manifest) });
        return application.manifests.map((child) => ({
          start,
          manifest: child,
          parent: application.name as string | undefined,
        }));
      });
      pending = made.flat();
    }
  }

  #render(manifest: Manifest): Promise<Application> {
    const key = keyOf(manifest);
    const known =
      this.#rendered.get(key) ??
      renderApplication(
        this.#root,
        this.#repository,
        manifest.file,
        this.#cache,
        { manifest, parent: undefined },
        this.#surroundings,
      ).catch(
        (error: Error): Application => ({
          name: manifest.object.metadata.name,
          manifest,
          parent: undefined,
          manifests: [],
          error: error.message.split("\n")[0] ?? "it cannot be rendered",
          key,
          isFollowed: false,
          files: [],
        }),
      );
    this.#rendered.set(key, known);
    return known;
  }

  #generate(manifest: Manifest): Promise<Manifest[]> {
    const key = keyOf(manifest);
    const known = this.#generated.get(key) ?? this.#generateAnew(manifest);
    this.#generated.set(key, known);
    return known;
  }

  async #generateAnew(manifest: Manifest): Promise<Manifest[]> {
    const name = `ApplicationSet ${manifest.object.metadata.name}`;
    const { applications, skipped, error } = await generate(manifest, {
      repository: this.#repository,
      isOurs: (url) => this.#own.has(url),
      clusters: this.#clusters,
    });
    for (const reason of skipped) this.#skipped.add(`${name}: ${reason}`);
    if (error !== undefined) this.#skipped.add(`${name}: its template cannot be rendered here: ${error}`);
    return applications;
  }
}

/** Which URLs mean the repository that is looked at. */
class OwnUrls {
  readonly #root: string;
  readonly #known: string[];
  readonly #names: Set<string>;
  readonly #learned = new Set<string>();
  readonly #taken = new Set<string>();

  constructor(root: string, known: string[]) {
    this.#root = root;
    this.#known = known;
    this.#names = new Set(known.map(lastName));
  }

  /** Takes a URL for this repository's if most of what Applications name in it is here. */
  learn(objects: KubernetesObject[]): void {
    const named = new Map<string, Set<string>>();
    for (const { repoURL, path = "" } of objects.flatMap(namedIn)) {
      const place = posix.normalize(path.replace(/\{\{.*|\*.*/s, "")).replace(/\/$/, "");
      if (!repoURL || place === "" || place === ".") continue;
      named.set(repoURL, (named.get(repoURL) ?? new Set()).add(place));
    }
    for (const [url, places] of named) {
      const there = [...places].filter((place) => existsSync(join(this.#root, place)));
      if (there.length * 2 > places.size) this.#learned.add(url);
    }
  }

  /** True for a URL that means this repository: a remote's, one with its name, or one that was learned. */
  has(url: string | undefined): boolean {
    if (url === undefined || url === "") return true;
    if (this.#known.some((known) => sameRepository(known, url))) return true;
    const isTaken = this.#learned.has(url) || (!url.startsWith("oci://") && this.#names.has(lastName(url)));
    if (isTaken) this.#taken.add(url);
    return isTaken;
  }

  taken(): string[] {
    return [...this.#taken].sort();
  }
}

const lastName = (url: string): string =>
  basename(url.replace(/\/+$/, ""))
    .replace(/\.git$/, "")
    .toLowerCase()
    .replace(/^.*:/, "");

/** The paths that an Application or an ApplicationSet names, with their repositories. */
function namedIn(object: KubernetesObject): { repoURL?: string; path?: string }[] {
  if (object.kind === "Application") return sourcesOf(object).filter(({ chart }) => chart === undefined);
  if (object.kind !== "ApplicationSet") return [];
  const { template, generators } = isMapping(object.spec) ? object.spec : {};
  const made = isMapping(template) ? sourcesOf({ ...object, spec: template.spec }) : [];
  const found: { repoURL?: string; path?: string }[] = made.filter(({ chart }) => chart === undefined);
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) for (const element of value) walk(element);
    else if (isMapping(value)) {
      const { repoURL, directories, files } = value;
      if (typeof repoURL === "string")
        for (const entry of [directories ?? [], files ?? []].flat())
          if (isMapping(entry) && typeof entry.path === "string") found.push({ repoURL, path: entry.path });
      for (const content of Object.values(value)) walk(content);
    }
  };
  walk(generators);
  return found;
}

const keyOf = ({ object, file }: Manifest): string =>
  `${file} ${object.kind} ${object.metadata.namespace ?? ""}/${object.metadata.name} ${JSON.stringify(object.spec)}`;

/** The objects of a document: a list has several, and what is no object none. */
function objectIn(document: unknown): KubernetesObject[] {
  try {
    return document == null ? [] : itemsOf(asObject(document)).filter(isOfArgo);
  } catch {
    return [];
  }
}

/** What an object of Argo CD's lacks that it cannot do without; undefined if it lacks nothing. */
function lackOf(object: KubernetesObject): string | undefined {
  const { kind, spec, metadata } = object;
  if (typeof metadata.name !== "string") return "metadata.name";
  if (!isMapping(spec)) return "spec";
  if (kind === "Application") return sourcesOf(object).length > 0 ? undefined : "source that can be read";
  if (kind === "AppProject") return undefined;
  return ["template", "generators"].find((field) => typeof spec[field] !== "object" || spec[field] === null);
}

/** The topmost chart that a template is a part of; undefined for other files. */
function chartOf(repository: Repository, path: string): string | undefined {
  let found: string | undefined;
  for (let place = posix.dirname(path); ; place = posix.dirname(place)) {
    if (repository.has(posix.join(place, "Chart.yaml")) && path.startsWith(prefix(place, "templates/")))
      found = place;
    if (found !== undefined && /(^|\/)charts$/.test(posix.dirname(place))) {
      const outer = posix.dirname(posix.dirname(place));
      if (repository.has(posix.join(outer, "Chart.yaml"))) found = outer;
    }
    if (place === ".") return found;
  }
}

const hasValuesBeside = (repository: Repository, chart: string): boolean =>
  [...repository.keys()].some(
    (path) => posix.dirname(path) === chart && /^values[-._](?!ya?ml$).+\.ya?ml$/.test(posix.basename(path)),
  );

/** An Application that fails with the chart's own values may be right with those that it is applied with. */
function asGuess({ error, errorAt: _, ...application }: Application, chart: string): Application {
  if (error === undefined) return application;
  return { ...application, skipped: `with the values that ${chart} has by itself: ${error}` };
}

const prefix = (place: string, below: string): string => (place === "." ? below : `${place}/${below}`);

// Below a chart's directories nothing is applied as it is.
function isPlain(repository: Repository, path: string): boolean {
  for (let place = posix.dirname(path); ; place = posix.dirname(place)) {
    const name = posix.basename(place);
    if (
      (name === "templates" || name === "charts" || name === "crds") &&
      repository.has(posix.join(posix.dirname(place), "Chart.yaml"))
    )
      return false;
    if (place === ".") return true;
  }
}

/** The kustomizations that name a file or a directory, by its path. */
function kustomizationsAbove(repository: Repository): Map<string, Set<string>> {
  const above = new Map<string, Set<string>>();
  for (const [path, text] of repository) {
    if (!isKustomization(path)) continue;
    const directory = posix.dirname(path);
    for (const name of namesIn(text)) {
      const named = posix.join(directory, name);
      if (named.startsWith("..") || named === directory) continue;
      const isThere = repository.has(named) || kustomizationIn(repository, named) !== undefined;
      if (isThere) above.set(named, (above.get(named) ?? new Set()).add(directory));
    }
  }
  return above;
}

/** The kustomizations that reach a file and that no other reaches; a component is none. */
function topsOf(path: string, above: Map<string, Set<string>>, repository: Repository): string[] {
  const tops = new Set<string>();
  const seen = new Set<string>();
  const pending = [...(above.get(path) ?? [])];
  for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
    if (seen.has(place)) continue;
    seen.add(place);
    const further = [...(above.get(place) ?? [])];
    const file = kustomizationIn(repository, place);
    const isComponent = file !== undefined && mappingOf(repository.get(file) ?? "").kind === "Component";
    if (further.length === 0 && !isComponent) tops.add(place);
    pending.push(...further);
  }
  return [...tops];
}

const reaches = (
  place: string,
  path: string,
  above: Map<string, Set<string>>,
  repository: Repository,
): boolean => topsOf(path, above, repository).includes(place);

const identityOf = ({ file, object }: Manifest): string => `${file} ${object.kind} ${object.metadata.name}`;

/**
 * Leaves out the starts whose every object another start makes, or whose directory an Application of another renders:
 * nobody applies those by hand.
 */
function withoutCovered(starts: Start[]): Start[] {
  const covered = new Set<string>();
  const places = new Set<string>();
  const kept: Start[] = [];
  const sorted = [...starts].sort((a, b) => b.nodes.length - a.nodes.length || (a.place < b.place ? -1 : 1));
  for (const start of sorted) {
    const own = start.manifests.filter(({ object }) => isArgo(object)).map(keyOf);
    if (places.has(start.place) || own.every((key) => covered.has(key))) continue;
    kept.push(start);
    for (const node of start.nodes) {
      for (const place of placesOf(node)) places.add(place);
      for (const manifest of node.application.manifests)
        if (isArgo(manifest.object)) covered.add(keyOf(manifest));
    }
  }
  return kept.sort((a, b) => (a.place < b.place ? -1 : 1));
}

/** The directories that an Application renders. */
function placesOf({ application }: Node): string[] {
  const { manifest, skipped, error } = application;
  if (!manifest || skipped || error) return [];
  return sourcesOf(manifest.object).flatMap(({ path }) =>
    path ? posix.normalize(path).replace(/\/$/, "") : [],
  );
}

interface Instance {
  name: string;
  starts: Start[];
}

/**
 * The Argo CDs of a repository: two Applications of one name cannot be in one, so that starts which have them belong to
 * several, told apart by the directories in which they differ.
 */
function instancesOf(starts: Start[], depth = 0, name = ""): Instance[] {
  if (starts.length < 2 || !hasConflict(starts)) return starts.length === 0 ? [] : [{ name, starts }];
  const parts = new Map<string, Start[]>();
  for (const start of starts) {
    const part = start.place
      .split("/")
      .slice(0, depth + 1)
      .join("/");
    parts.set(part, [...(parts.get(part) ?? []), start]);
  }
  const longest = Math.max(...starts.map(({ place }) => place.split("/").length));
  if (depth >= longest) return starts.map((start) => ({ name: start.place, starts: [start] }));
  return [...parts].flatMap(([part, some]) => instancesOf(some, depth + 1, part));
}

function hasConflict(starts: Start[]): boolean {
  const known = new Map<string, { key: string; start: Start }>();
  for (const start of starts)
    for (const [key, { kind, metadata }] of start.seen) {
      const identity = `${kind} ${metadata.namespace ?? "argocd"}/${metadata.name}`;
      const first = known.get(identity);
      if (first && first.start !== start && first.key !== key) return true;
      known.set(identity, { key, start });
    }
  return false;
}

function destinationsOf(instance: string, starts: Start[]): Destination[] {
  const byCluster = new Map<string, Application[]>();
  const of = (cluster: string): Application[] => {
    const list = byCluster.get(cluster) ?? [];
    byCluster.set(cluster, list);
    return list;
  };
  // What an Application makes that is reached from here is its own, whoever applied it first.
  const made = new Set(
    starts.flatMap(({ nodes }) => nodes.flatMap(({ application }) => application.manifests.map(identityOf))),
  );
  const begun = starts.flatMap(({ manifests }) =>
    manifests.filter((manifest) => !made.has(identityOf(manifest))),
  );
  of(inCluster.name).push({
    name: bootstrap,
    manifest: undefined,
    parent: undefined,
    manifests: begun,
    key: `starts ${JSON.stringify(begun)}`,
    isFollowed: false,
    files: starts.map(({ place }) => place),
  });
  const seen = new Set<string>();
  const names = new Set<string>([bootstrap]);
  for (const { nodes } of starts)
    for (const { application, key } of nodes) {
      if (seen.has(key)) continue;
      seen.add(key);
      const name = names.has(application.name)
        ? `${application.manifest?.object.metadata.namespace}/${application.name}`
        : application.name;
      names.add(name);
      const manifests = application.manifests.map((manifest) => ({ ...manifest, application: name }));
      of(clusterOf(application)).push({ ...application, name, manifests });
    }
  return [...byCluster].map(([cluster, applications]) => ({
    name: instance ? `${instance}: ${cluster}` : cluster,
    applications,
  }));
}

function clusterOf({ manifest }: Application): string {
  const { name, server } = manifest?.object.spec?.destination ?? {};
  if (typeof name === "string" && name !== "") return name;
  return typeof server === "string" && server !== "" && server !== inCluster.server ? server : inCluster.name;
}

/** The clusters whose Secrets stand in the repository. */
function clustersIn(repository: Repository): KnownCluster[] {
  const label = "argocd.argoproj.io/secret-type";
  return [...repository]
    .filter(([path, text]) => /\.ya?ml$/.test(path) && text.includes(label) && isPlain(repository, path))
    .flatMap(([, text]) => documentsOf(text))
    .filter(isMapping)
    .flatMap(({ kind, metadata, data, stringData }): KnownCluster[] => {
      const { labels, annotations } = isMapping(metadata) ? metadata : {};
      if (kind !== "Secret" || !isMapping(labels) || labels[label] !== "cluster") return [];
      const field = (name: string): string => {
        if (isMapping(stringData) && typeof stringData[name] === "string") return stringData[name];
        const encoded = isMapping(data) ? data[name] : undefined;
        return typeof encoded === "string" ? Buffer.from(encoded, "base64").toString("utf8") : "";
      };
      const [name, server] = [field("name"), field("server")];
      return name === ""
        ? []
        : [{ name, server, labels: textsOf(labels), annotations: textsOf(annotations) }];
    });
}

const textsOf = (value: unknown): Record<string, string> =>
  isMapping(value)
    ? Object.fromEntries(Object.entries(value).map(([key, content]) => [key, String(content)]))
    : {};

function definitionsIn(repository: Repository): KubernetesObject[] {
  return [...repository]
    .filter(([path, text]) => /\.ya?ml$/.test(path) && /^kind: *["']?CustomResourceDefinition\b/m.test(text))
    .flatMap(([, text]) => documentsOf(text))
    .filter(isMapping)
    .filter(
      ({ kind, metadata }) => kind === "CustomResourceDefinition" && isMapping(metadata),
    ) as KubernetesObject[];
}
