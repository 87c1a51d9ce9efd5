/** What `gitops.yaml` at a repository's root says: which rules apply, and where things are besides Argo CD's objects. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv, type DefinedError } from "ajv";
import { distance } from "fastest-levenshtein";
import { loadAll } from "js-yaml";
import { Failure } from "./failure.ts";
import schema from "./gitops.schema.json" with { type: "json" };

/** The name of the file, at the root of a repository. */
export const configurationFile = "gitops.yaml";

/** The sets of rules: what Argo CD and the API server refuse, or that and the conventions of a platform. */
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
  /** A directory with Namespaces and IstioOperators that something other than Argo CD applies. */
  given: string;
  /** The Application by which Argo CD manages itself. */
  selfManagement: string;
  /** A mapping from names to versions. A version may stand nowhere else. */
  versions: string;
  /** The directories where versions are looked for. */
  versioned: string[];
  /** The directories that are exempt from that search. */
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
  /** Paths to ignore; a directory ends in a slash. */
  ignore: string[];
  clusters: KnownCluster[];
  /** Rules that are on or off, whatever the preset says. */
  rules: Record<string, { on: boolean; reason: string }>;
  layout?: Layout;
}

/** `gitops.yaml` is not valid. */
export class WrongConfiguration extends Failure {}

/**
 * Reads the text of a `gitops.yaml`; a missing file means the same as an empty one.
 * @throws WrongConfiguration if it is not YAML, or has an unknown, a missing or a wrong field
 */
export function parseConfiguration(text: string | undefined): Configuration {
  let content: unknown;
  try {
    content = loadAll(text ?? "")[0] ?? {};
  } catch (error) {
    throw wrong((error as Error).message.split("\n")[0] ?? "no YAML", "correct it");
  }
  check(content);
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

/** The layout of a repository on disk, for code that needs one. @throws Failure if it has none */
export function layoutAt(root: string): Layout {
  return demanded(configurationAt(root).layout, root);
}

/** The layout of a repository that was read. @throws Failure if it has none */
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

// Ajv names every mistake, but one is shown: an unknown field first, as others may follow from it, a missing one last.
const urgency = ["additionalProperties", "required"];
const validate = new Ajv({ allErrors: true, verbose: true }).compile(schema);

function check(content: unknown): void {
  if (validate(content)) return;
  const errors = validate.errors ?? [];
  const [unknown, missing] = urgency.map((keyword) => errors.find((error) => error.keyword === keyword));
  const error = unknown ?? errors.find(({ keyword }) => keyword !== "required") ?? missing;
  if (error) throw refusalOf(error as DefinedError, content);
}

/** What is wrong with a field, in words, and what to write instead. */
function refusalOf(error: DefinedError, content: unknown): WrongConfiguration {
  const { keyword, params, parentSchema, data } = error;
  const at = nameOf(error.instancePath, content);
  const name = at || "the file";
  const member = (field: string): string => (at ? `${at}.${field}` : field);
  switch (keyword) {
    case "additionalProperties":
      return wrong(
        `there is no field ${member(params.additionalProperty)}`,
        nearest(params.additionalProperty, Object.keys(parentSchema?.properties ?? {})),
      );
    case "required":
      return wrong(`${member(params.missingProperty)} is missing`, `add ${params.missingProperty}`);
    case "enum":
      return wrong(`${name} is ${JSON.stringify(data)}`, `write one of ${params.allowedValues.join(", ")}`);
  }
  const isInTexts = parentSchema === schema.definitions.text && at.endsWith("[]");
  if (isInTexts || parentSchema === schema.definitions.texts)
    return wrong(
      `${at.replace(/\[\]$/, "")} is no list of texts`,
      "write one text a line, each after a dash",
    );
  const type = String(parentSchema?.type);
  if (type === "string") return wrong(`${name} is no text`, "write a text");
  if (type === "boolean") return wrong(`${name} is no boolean`, "write true or false");
  return wrong(
    `${name} is no ${type === "array" ? "list" : "mapping"}`,
    "docs/gitops-tool.md lists the fields",
  );
}

/** A field's name by its JSON pointer, such as `clusters[].labels.stage`: one entry of a list stands for all of them. */
function nameOf(pointer: string, content: unknown): string {
  let name = "";
  let value = content;
  for (const step of pointer.split("/").slice(1)) {
    const field = step.replaceAll("~1", "/").replaceAll("~0", "~");
    name = Array.isArray(value) ? `${name}[]` : name ? `${name}.${field}` : field;
    value = (value as Record<string, unknown>)[field];
  }
  return name;
}

/** What to write instead of an unknown name: the most similar one, or all of them. */
export function nearest(name: string, known: string[]): string {
  const [best] = known
    .map((candidate) => ({ candidate, far: distance(candidate.toLowerCase(), name.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  return best && best.far <= Math.max(2, name.length / 3)
    ? `write ${best.candidate}`
    : `write one of ${known.join(", ")}`;
}

/** The directory that a service's image is built from. @throws Failure if the repository has no layout */
export const serviceDirectory = (root: string, service: string): string =>
  `${layoutAt(root).services}/${service}`;

/** A path of a layout for one name: `{cluster}` and `{environment}` are replaced. */
export const placeOf = (pattern: string, name: string): string =>
  pattern.replaceAll(/\{(cluster|environment)\}/g, name);
