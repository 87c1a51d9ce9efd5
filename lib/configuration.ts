/** What `gitops.yaml` at a repository's root says: which rules hold there, and what its layout has beyond Argo CD's own objects. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { distance } from "fastest-levenshtein";
import { loadAll } from "js-yaml";
import { Failure } from "./failure.ts";
import { isMapping } from "./object.ts";

/** The name of the file, at the root of a repository. */
export const configurationFile = "gitops.yaml";

/** The sets of rules: what Argo CD and the API server refuse, or the conventions of a platform besides. */
export const presets = ["argocd", "platform"] as const;
export type Preset = (typeof presets)[number];

/** A cluster that Argo CD knows, for cluster generators: its Secret is rarely in Git. */
export interface KnownCluster {
  name: string;
  server: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

/** Where things are in a repository whose clusters are directories; `{cluster}` and `{environment}` stand for names. */
export interface Layout {
  /** Each directory below it with a kustomization is a cluster. */
  clusters: string;
  /** The ConfigMap with `data.repository` and `data.branch` that a cluster follows. */
  source: string;
  /** A kustomization that is applied before Argo CD runs: AppProjects and the root Application. */
  root: string;
  /** A kustomization of Argo CD itself, for a cluster whose Argo CD does not manage itself. */
  install: string;
  /** Where AppProjects stand, for advice. */
  projects: string;
  /** The directories whose every file must be used. */
  rendered: string[];
  /** A directory with Namespaces and IstioOperators that something else than Argo CD applies. */
  given: string;
  /** The Application by which Argo CD manages itself. */
  selfManagement: string;
  /** A mapping from names to versions, each of which may stand there only. */
  versions: string;
  /** The directories where versions are looked for. */
  versioned: string[];
  /** The directories where nothing is looked for that may stand in one place only. */
  unversioned: string[];
  /** Each directory below it with a Dockerfile is a service. */
  services: string;
  /** Manifests that name images of services and that nothing applies. */
  examples: string;
  /** The settings with the share of delayed requests: of the default environment, and of the others. */
  fault: { base: string; overlay: string };
  /** The directory of IstioOperators; a file NAME.yaml there is a cluster's own. */
  istio: string;
}

export interface Configuration {
  preset: Preset;
  /** Further URLs under which Applications name this repository. */
  repository: string[];
  /** Paths that are not looked at; a directory ends in a slash. */
  ignore: string[];
  clusters: KnownCluster[];
  /** Rules that are on or off, whatever the preset says. */
  rules: Record<string, { on: boolean; reason: string }>;
  layout?: Layout;
}

type Shape =
  | "text"
  | "texts"
  | "flag"
  | "labels"
  | readonly string[]
  | { each: Fields }
  | { any: Fields }
  | Fields;
interface Fields {
  [field: string]: Shape;
}

const fields = {
  preset: presets,
  repository: "texts",
  ignore: "texts",
  clusters: { each: { name: "text", server: "text", labels: "labels", annotations: "labels" } },
  rules: { any: { on: "flag", reason: "text" } },
  layout: {
    clusters: "text",
    source: "text",
    root: "text",
    install: "text",
    projects: "text",
    rendered: "texts",
    given: "text",
    selfManagement: "text",
    versions: "text",
    versioned: "texts",
    unversioned: "texts",
    services: "text",
    examples: "text",
    fault: { base: "text", overlay: "text" },
    istio: "text",
  },
} satisfies Fields;

/** The fields that may be missing where what they are in is there. */
const optional = new Set(["", "clusters[].labels", "clusters[].annotations"]);

/** `gitops.yaml` says something that nobody could act on. */
export class WrongConfiguration extends Failure {}

/**
 * Reads the text of a `gitops.yaml`; none at all means what an empty one does.
 * @throws WrongConfiguration where it is no YAML, or has an unknown, a missing or a wrong field
 */
export function parseConfiguration(text: string | undefined): Configuration {
  let content: unknown;
  try {
    content = loadAll(text ?? "")[0] ?? {};
  } catch (error) {
    throw wrong((error as Error).message.split("\n")[0] ?? "no YAML", "correct it");
  }
  check(content, fields, "");
  const given = content as Partial<Configuration>;
  return {
    preset: "argocd",
    repository: [],
    ignore: [],
    rules: {},
    ...given,
    clusters: (given.clusters ?? []).map((cluster) => ({ ...{ labels: {}, annotations: {} }, ...cluster })),
  } as Configuration;
}

const parsed = new Map<string | undefined, Configuration>();

/** The configuration of a repository that was read. @throws WrongConfiguration */
export function configurationOf(repository: { get(path: string): string | undefined }): Configuration {
  const text = repository.get(configurationFile);
  const known = parsed.get(text) ?? parseConfiguration(text);
  parsed.set(text, known);
  return known;
}

/** The configuration of a repository on disk. @throws WrongConfiguration */
export function configurationAt(root: string): Configuration {
  return configurationOf({ get: (path) => readOrNothing(join(root, path)) });
}

/** The layout of a repository on disk, for what knows only those that have one. @throws Failure where it has none */
export function layoutAt(root: string): Layout {
  return demanded(configurationAt(root).layout, root);
}

/** The layout of a repository that was read. @throws Failure where it has none */
export function layoutOf(repository: { get(path: string): string | undefined }): Layout {
  return demanded(configurationOf(repository).layout, "the repository");
}

function demanded(layout: Layout | undefined, where: string): Layout {
  if (layout) return layout;
  throw new Failure(
    `${configurationFile} of ${where} has no layout, which says where clusters and services are`,
    "add it: docs/gitops-tool.md lists its fields; validate and diff need none",
  );
}

function readOrNothing(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

function wrong(what: string, fix: string): WrongConfiguration {
  return new WrongConfiguration(`${configurationFile}: ${what}`, fix);
}

function check(value: unknown, shape: Shape, at: string): void {
  const name = at || "the file";
  if (isChoice(shape)) {
    if (!shape.includes(value as string))
      throw wrong(`${name} is ${JSON.stringify(value)}`, `write one of ${shape.join(", ")}`);
  } else if (shape === "text") {
    if (typeof value !== "string" || value === "") throw wrong(`${name} is no text`, `write a text`);
  } else if (shape === "flag") {
    if (typeof value !== "boolean") throw wrong(`${name} is no boolean`, "write true or false");
  } else if (shape === "texts") {
    if (!Array.isArray(value) || !value.every((entry) => typeof entry === "string" && entry !== ""))
      throw wrong(`${name} is no list of texts`, "write one text a line, each after a dash");
  } else if (isList(shape) ? !Array.isArray(value) : !isMapping(value)) {
    throw wrong(
      `${name} is no ${isList(shape) ? "list" : "mapping"}`,
      "docs/gitops-tool.md lists the fields",
    );
  } else checkParts(value, shape, at);
}

function checkParts(value: unknown, shape: Exclude<Shape, readonly string[]>, at: string): void {
  if (shape === "labels") {
    for (const [key, text] of Object.entries(value as object)) check(text, "text", `${at}.${key}`);
  } else if (isList(shape)) {
    for (const entry of value as unknown[]) check(entry, shape.each, `${at}[]`);
  } else if (typeof shape === "object" && "any" in shape) {
    for (const [key, entry] of Object.entries(value as object))
      check(entry, (shape as { any: Fields }).any, `${at}.${key}`);
  } else checkFields(value as Record<string, unknown>, shape as Fields, at);
}

function checkFields(value: Record<string, unknown>, shape: Fields, at: string): void {
  const name = (field: string): string => (at ? `${at}.${field}` : field);
  for (const [field, content] of Object.entries(value)) {
    const known = shape[field];
    if (known === undefined)
      throw wrong(`there is no field ${name(field)}`, nearest(field, Object.keys(shape)));
    check(content, known, name(field));
  }
  if (optional.has(at)) return;
  for (const field of Object.keys(shape))
    if (!(field in value) && !optional.has(name(field)))
      throw wrong(`${name(field)} is missing`, `add ${field}`);
}

const isChoice = (shape: Shape): shape is readonly string[] => Array.isArray(shape);
const isList = (shape: Shape): shape is { each: Fields } => typeof shape === "object" && "each" in shape;

/** What to write instead of a name that is none: the one most like it, or all of them. */
export function nearest(name: string, known: string[]): string {
  const [best] = known
    .map((candidate) => ({ candidate, far: distance(candidate.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  return best && best.far <= Math.max(2, name.length / 3)
    ? `write ${best.candidate}`
    : `write one of ${known.join(", ")}`;
}

/** The directory that a service's image is built from. @throws Failure where the repository has no layout */
export const serviceDirectory = (root: string, service: string): string =>
  `${layoutAt(root).services}/${service}`;

/** A path of a layout for one name: `{cluster}` and `{environment}` are replaced. */
export const placeOf = (pattern: string, name: string): string =>
  pattern.replaceAll(/\{(cluster|environment)\}/g, name);
