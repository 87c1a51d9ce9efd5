/** What the generators of an ApplicationSet give its template, as Argo CD's controller makes it. */
import { posix } from "node:path";
import { loadAll } from "js-yaml";
import type { KnownCluster } from "../configuration.ts";
import { isMapping } from "../object.ts";
import type { Repository } from "../repository.ts";
import { type Parameters, renderTexts } from "./templates.ts";

/** What generators look at. */
export interface World {
  repository: Repository;
  isOurs: (url: string | undefined) => boolean;
  /** The clusters that Argo CD knows, as far as that stands in the repository. */
  clusters: KnownCluster[];
}

/** A generator that cannot be evaluated here: it needs another repository, an API, or clusters that nobody named. */
export class NotAtHand extends Error {}

type Generator = Record<string, unknown>;

/** The names of generators that ask an API, which is not available. */
const remote = ["scmProvider", "pullRequest", "plugin", "clusterDecisionResource", "oci"];

/**
 * The sets of parameters of one generator, with what its `template` says besides.
 * @param given parameters that stand in the generator's own texts, those of the one before it in a matrix
 * @throws NotAtHand; Error if it is not a generator
 */
export async function parametersOf(
  generator: Generator,
  isGo: boolean,
  world: World,
  given: Parameters | undefined = undefined,
): Promise<Parameters[]> {
  const [own = generator] = given
    ? await renderTexts([generator], [given], isGo).then(([one]) => one ?? [])
    : [];
  const kind = remote.find((name) => name in own);
  if (kind) throw new NotAtHand(`the generator ${kind} asks an API`);
  const sets = await made(own, isGo, world);
  const selector = own.selector;
  return isMapping(selector) ? sets.filter((set) => selects(selector, flattened(set))) : sets;
}

async function made(generator: Generator, isGo: boolean, world: World): Promise<Parameters[]> {
  const { list, git, clusters, matrix, merge } = generator;
  if (isMapping(list)) return listed(list, isGo);
  if (isMapping(git)) return fromGit(git, isGo, world);
  if (clusters !== undefined) return fromClusters(isMapping(clusters) ? clusters : {}, isGo, world);
  if (isMapping(matrix)) return product(matrix, isGo, world);
  if (isMapping(merge)) return joined(merge, isGo, world);
  throw new Error(`no generator is known under ${Object.keys(generator).join(", ") || "no name"}`);
}

const mappings = (value: unknown): Record<string, unknown>[] =>
  Array.isArray(value) ? value.filter(isMapping) : [];

function listed({ elements, elementsYaml }: Record<string, unknown>, isGo: boolean): Parameters[] {
  const more = typeof elementsYaml === "string" && elementsYaml !== "" ? loadAll(elementsYaml)[0] : [];
  return [...mappings(elements).map((element) => (isGo ? element : flattened(element))), ...mappings(more)];
}

async function fromGit(git: Record<string, unknown>, isGo: boolean, world: World): Promise<Parameters[]> {
  const { repoURL, directories, files, pathParamPrefix, values } = git;
  if (typeof repoURL === "string" && !world.isOurs(repoURL))
    throw new NotAtHand(`the git generator looks at ${repoURL}`);
  const prefix = typeof pathParamPrefix === "string" ? pathParamPrefix : "";
  const found = Array.isArray(files)
    ? filesOf(world.repository, mappings(files), isGo, prefix)
    : directoriesOf(world.repository, mappings(directories)).map((path) =>
        pathParameters(path, "", isGo, prefix),
      );
  return withValues(found, values, isGo);
}

/** The directories that patterns name: an asterisk does not match a slash, and an excluding pattern leaves directories out. */
function directoriesOf(repository: Repository, patterns: Record<string, unknown>[]): string[] {
  const [excluded, wanted] = [true, false].map((isExcluding) =>
    patterns
      .filter(({ exclude }) => (exclude === true) === isExcluding)
      .map(({ path }) => withinName(String(path))),
  );
  return directoriesIn(repository).filter(
    (path) =>
      wanted?.some((pattern) => pattern.test(path)) && !excluded?.some((pattern) => pattern.test(path)),
  );
}

const known = new WeakMap<Repository, string[]>();

/** Every directory of a repository that holds a file, in order; hidden ones are left out, as Argo CD does. */
function directoriesIn(repository: Repository): string[] {
  const remembered = known.get(repository);
  if (remembered) return remembered;
  const directories = new Set<string>();
  for (const file of repository.keys())
    for (let path = posix.dirname(file); path !== "." && !directories.has(path); path = posix.dirname(path))
      directories.add(path);
  const visible = [...directories].filter((path) => !/(^|\/)\./.test(path)).sort();
  known.set(repository, visible);
  return visible;
}

// This matches as Go's path.Match does.
function withinName(pattern: string): RegExp {
  const normal = posix.normalize(pattern).replace(/\/$/, "");
  return new RegExp(
    `^${normal
      .replace(/[.+^${}()|\\]/g, "\\$&")
      .replaceAll("*", "[^/]*")
      .replaceAll("?", "[^/]")}$`,
  );
}

// This matches as Git's own patterns of paths do: an asterisk matches slashes, and a directory means what is in it.
function acrossNames(pattern: string): RegExp {
  const normal = posix.normalize(pattern).replace(/\/$/, "");
  const expression = normal
    .replace(/[.+^${}()|\\]/g, "\\$&")
    .replaceAll(/\*+/g, ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${expression}(/.*)?$`);
}

function filesOf(
  repository: Repository,
  patterns: Record<string, unknown>[],
  isGo: boolean,
  prefix: string,
): Parameters[] {
  const [excluded, wanted] = [true, false].map((isExcluding) =>
    patterns
      .filter(({ exclude }) => (exclude === true) === isExcluding)
      .map(({ path }) => acrossNames(String(path))),
  );
  return [...repository.keys()]
    .filter((path) => wanted?.some((pattern) => pattern.test(path)) && !excluded?.some((it) => it.test(path)))
    .sort()
    .flatMap((path) =>
      contentsOf(path, repository.get(path) ?? "").map((content) => ({
        ...(isGo ? content : flattened(content)),
        ...pathParameters(posix.dirname(path), posix.basename(path), isGo, prefix),
      })),
    );
}

function contentsOf(path: string, text: string): Record<string, unknown>[] {
  let documents: unknown[];
  try {
    documents = loadAll(text);
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message.split("\n")[0]}`);
  }
  const [content = {}] = documents.filter((document) => document != null);
  return Array.isArray(content) ? mappings(content) : isMapping(content) ? [content] : [];
}

const nameOf = (text: string): string =>
  text
    .toLowerCase()
    .replaceAll(/[^-a-z0-9.]/g, "-")
    .slice(0, 253)
    .replace(/^[-.]+|[-.]+$/g, "");

function pathParameters(path: string, filename: string, isGo: boolean, prefix: string): Parameters {
  const segments = path.split("/");
  const basename = segments.at(-1) ?? "";
  const named = {
    basename,
    basenameNormalized: nameOf(basename),
    ...(filename && { filename, filenameNormalized: nameOf(filename) }),
  };
  if (isGo) {
    const go = { path: { path, ...named, segments } };
    return prefix ? { [prefix]: go } : go;
  }
  const start = prefix ? `${prefix}.path` : "path";
  return {
    [start]: path,
    ...Object.fromEntries(Object.entries(named).map(([key, value]) => [`${start}.${key}`, value])),
    ...Object.fromEntries(segments.map((segment, index) => [`${start}[${index}]`, segment])),
  };
}

/** The address by which Argo CD reaches the cluster that it runs in. */
export const inCluster = { name: "in-cluster", server: "https://kubernetes.default.svc" };

async function fromClusters(
  { selector, values, flatList }: Record<string, unknown>,
  isGo: boolean,
  { clusters }: World,
): Promise<Parameters[]> {
  const asks = isMapping(selector) && Object.keys(selector).some((key) => mappingsOrLabels(selector[key]));
  const found = clusters.filter(({ labels }) => !asks || selects(selector, labels));
  if (found.length === 0 && asks)
    throw new NotAtHand(
      "the clusters generator asks for clusters that nobody named: add them to clusters of gitops.yaml",
    );
  const own = asks || clusters.some(({ server }) => server === inCluster.server);
  const all = own ? found : [...found, { ...inCluster, labels: {}, annotations: {} }];
  const sets = all.map(({ name, server, labels, annotations }): Parameters => {
    const common = { name, nameNormalized: nameOf(name), server, project: "" };
    if (isGo) return { ...common, metadata: { labels, annotations } };
    const flat = (kind: string, entries: Record<string, string>): Parameters =>
      Object.fromEntries(Object.entries(entries).map(([key, value]) => [`metadata.${kind}.${key}`, value]));
    return { ...common, ...flat("labels", labels), ...flat("annotations", annotations) };
  });
  const valued = await withValues(sets, values, isGo);
  return flatList === true ? [{ clusters: valued }] : valued;
}

const mappingsOrLabels = (value: unknown): boolean =>
  (Array.isArray(value) && value.length > 0) || (isMapping(value) && Object.keys(value).length > 0);

async function withValues(sets: Parameters[], values: unknown, isGo: boolean): Promise<Parameters[]> {
  if (!isMapping(values)) return sets;
  const rendered = await renderTexts(values, sets, isGo);
  return sets.map((set, index) => {
    const own = rendered[index] ?? {};
    if (isGo) return { ...set, values: own };
    return {
      ...set,
      ...Object.fromEntries(Object.entries(own).map(([key, value]) => [`values.${key}`, value])),
    };
  });
}

/** Combines each set of the first generator with each of the second, whose texts may use the first's parameters. */
async function product(
  { generators }: Record<string, unknown>,
  isGo: boolean,
  world: World,
): Promise<Parameters[]> {
  const [first, second] = mappings(generators);
  if (!first || !second) throw new Error("a matrix has two generators");
  const result: Parameters[] = [];
  for (const one of await parametersOf(first, isGo, world))
    for (const other of await parametersOf(second, isGo, world, one)) result.push(deep(one, other));
  return result;
}

/** The sets of the first generator, completed by those of the others with the same keys. */
async function joined(
  { generators, mergeKeys }: Record<string, unknown>,
  isGo: boolean,
  world: World,
): Promise<Parameters[]> {
  const keys = (Array.isArray(mergeKeys) ? mergeKeys : []).map(String);
  const identity = (set: Parameters): string => JSON.stringify(keys.map((key) => flattened(set)[key]));
  const [base, ...others] = mappings(generators);
  if (!base) throw new Error("a merge has no generators");
  const sets = new Map((await parametersOf(base, isGo, world)).map((set) => [identity(set), set]));
  for (const generator of others)
    for (const set of await parametersOf(generator, isGo, world)) {
      const found = sets.get(identity(set));
      if (found) sets.set(identity(set), deep(found, set));
    }
  return [...sets.values()];
}

function deep(one: Record<string, unknown>, other: Record<string, unknown>): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other)) {
    const before = merged[key];
    merged[key] = isMapping(before) && isMapping(value) ? deep(before, value) : value;
  }
  return merged;
}

/** Nested mappings as a flat one, whose names have dots in them and whose values are texts. */
function flattened(value: Record<string, unknown>, prefix = ""): Record<string, string> {
  const flat: Record<string, string> = {};
  for (const [key, content] of Object.entries(value)) {
    const name = prefix ? `${prefix}.${key}` : key;
    if (isMapping(content)) Object.assign(flat, flattened(content, name));
    else if (Array.isArray(content))
      content.forEach((element, index) => {
        if (isMapping(element)) Object.assign(flat, flattened(element, `${name}.${index}`));
        else flat[`${name}.${index}`] = String(element);
      });
    else flat[name] = String(content ?? "");
  }
  return flat;
}

function selects(selector: Record<string, unknown>, labels: Record<string, string>): boolean {
  const wanted = isMapping(selector.matchLabels) ? selector.matchLabels : {};
  const isEqual = Object.entries(wanted).every(([key, value]) => labels[key] === String(value));
  return isEqual && mappings(selector.matchExpressions).every((expression) => fits(expression, labels));
}

function fits({ key, operator, values }: Record<string, unknown>, labels: Record<string, string>): boolean {
  const value = labels[String(key)];
  const listed = (Array.isArray(values) ? values : []).map(String);
  if (operator === "Exists") return value !== undefined;
  if (operator === "DoesNotExist") return value === undefined;
  const isIn = value !== undefined && listed.includes(value);
  return operator === "NotIn" ? !isIn : isIn;
}
