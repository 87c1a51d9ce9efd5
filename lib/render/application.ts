/** What one Application makes of its sources, as Argo CD's repo-server does it. */
import { existsSync, realpathSync, statSync } from "node:fs";
import { join, posix } from "node:path";
import { isMapping, type KubernetesObject, type Manifest } from "../object.ts";
import { holdsChart, renderChart } from "./chart.ts";
import { itemsOf, renderDirectory } from "./directory.ts";
import { elsewhere } from "./inputs.ts";
import { renderManifests } from "./kustomize.ts";
import { kustomizationsOf } from "./references.ts";
import { RemoteMismatch, withLocalRemotes } from "./remote.ts";

/** The part of `spec.source` that is understood here. */
export interface ApplicationSource {
  repoURL?: string;
  path?: string;
  chart?: string;
  ref?: string;
  targetRevision?: string;
  kustomize?: { images?: string[]; [field: string]: unknown };
  directory?: { recurse?: boolean; include?: string; exclude?: string };
  plugin?: object;
  helm?: {
    releaseName?: string;
    values?: string;
    valuesObject?: object;
    valueFiles?: string[];
    ignoreMissingValueFiles?: boolean;
    parameters?: { name: string; value: string; forceString?: boolean }[];
    fileParameters?: { name: string; path: string }[];
    namespace?: string;
    kubeVersion?: string;
    apiVersions?: string[];
    skipCrds?: boolean;
    skipTests?: boolean;
    skipSchemaValidation?: boolean;
  };
}

/** The surroundings in which an Application is rendered. */
export interface Surroundings {
  /** True for a URL that means this repository; other repositories are not available. */
  isOurs: (url: string | undefined) => boolean;
  /** True if what kustomize would fetch is left out instead. */
  isOffline: boolean;
}

/** For a repository that holds all sources of its Applications. */
export const onlyRepository: Surroundings = { isOurs: () => true, isOffline: false };

/** The result of rendering a source: manifests, or why there are none. */
export interface Rendered {
  manifests: Omit<Manifest, "application">[];
  /** The source cannot be rendered; Argo CD would say so too. */
  error?: string;
  /** The file with the error, and the line or the text in it, as far as that is known. */
  errorAt?: { file: string; line?: number; text?: string };
  /** Why a source is not available here, as with a chart of a remote repository. */
  skipped?: string;
  /** The source is in another repository. */
  isExternal?: boolean;
  /** Parts of it that were not looked at, such as encrypted files. */
  omitted?: string[];
}

/** The sources of an Application, whether it has one or several. One of a wrong shape is left out; the schema reports it. */
export function sourcesOf({ spec }: KubernetesObject): ApplicationSource[] {
  const sources: unknown[] = Array.isArray(spec?.sources)
    ? spec.sources
    : [spec?.source ?? drySourceOf(spec)];
  return sources.filter(isSource);
}

// What Argo CD renders, before it writes that to the branch from which it is applied.
const drySourceOf = (spec: unknown): unknown =>
  isMapping(spec) && isMapping(spec.sourceHydrator) ? spec.sourceHydrator.drySource : undefined;

function isSource(value: unknown): value is ApplicationSource {
  if (!isMapping(value)) return false;
  const { kustomize, directory, helm, ...texts } = value;
  const named = ["repoURL", "path", "chart", "ref", "targetRevision"].map((field) => texts[field]);
  return named.every(isTextOrNothing) && [kustomize, directory].every(isMappingOrNothing) && isHelm(helm);
}

function isHelm(value: unknown): boolean {
  if (value === undefined) return true;
  if (!isMapping(value)) return false;
  const { valueFiles = [], parameters = [], fileParameters = [], values, releaseName } = value;
  return (
    [values, releaseName].every(isTextOrNothing) &&
    Array.isArray(valueFiles) &&
    valueFiles.every((file) => typeof file === "string") &&
    [parameters, fileParameters].every((list) => Array.isArray(list) && list.every(isMapping))
  );
}

const isTextOrNothing = (value: unknown): boolean => value === undefined || typeof value === "string";
const isMappingOrNothing = (value: unknown): boolean => value === undefined || isMapping(value);

// Fields of `source.kustomize` that a kustomization has under the same name and with the same meaning.
const sameInKustomization = new Set([
  "namePrefix",
  "nameSuffix",
  "namespace",
  "patches",
  "components",
  "commonAnnotations",
  "labels",
  "replicas",
]);

// Fields that say how Argo CD runs kustomize, and do not affect the result.
const ofTheRun = new Set([
  "version",
  "forceCommonLabels",
  "forceCommonAnnotations",
  "kubeVersion",
  "apiVersions",
  "ignoreMissingComponents",
  "commonAnnotationsEnvsubst",
]);

function inKustomization(given: Record<string, unknown>): Record<string, unknown> {
  const { commonLabels, labelWithoutSelector, labelIncludeTemplates, ...rest } = given;
  const labels = isMapping(commonLabels) && {
    labels: [
      {
        pairs: commonLabels,
        includeSelectors: labelWithoutSelector !== true,
        ...(labelWithoutSelector === true && { includeTemplates: labelIncludeTemplates === true }),
      },
    ],
  };
  const kept = Object.entries(rest).filter(([field]) => !ofTheRun.has(field));
  return { ...Object.fromEntries(kept), ...labels };
}

/**
 * Renders one source of an Application from the checkout that it is a path in.
 * @param home the Application's own file, for what a chart of a remote repository makes
 */
export async function renderSource(
  root: string,
  source: ApplicationSource,
  application: KubernetesObject,
  home = "",
  surroundings = onlyRepository,
): Promise<Rendered> {
  if (source.ref && !source.path && !source.chart) return { manifests: [] };
  if (source.chart) return renderChart(root, source, application, home, surroundings);
  const path = source.path ?? ".";
  const open = [source.repoURL ?? "", path].find((text) => isOpen(text));
  if (open !== undefined && surroundings.isOffline)
    return { manifests: [], skipped: `${open}: a value is still open there` };
  if (!surroundings.isOurs(source.repoURL))
    return { manifests: [], skipped: `${path} of ${source.repoURL}`, isExternal: true };
  if (source.plugin) return { manifests: [], skipped: `${path}: a plugin of Argo CD renders it` };
  const directory = join(root, path);
  if (!existsSync(directory) || !statSync(directory).isDirectory())
    return isOther(source.targetRevision) && surroundings.isOffline
      ? { manifests: [], skipped: `${path} of ${source.targetRevision}, which is not checked out` }
      : { manifests: [], error: `there is no directory ${path}` };
  const isPlain = source.directory !== undefined && Object.keys(source.directory).length > 0;
  if (isPlain) return renderDirectory(root, path, source, surroundings.isOffline);
  if (holdsChart(root, path)) return renderChart(root, source, application, home, surroundings);
  if (!kustomizationsOf(directory).some((file) => existsSync(file)))
    return renderDirectory(root, path, source, surroundings.isOffline);
  return renderKustomization(root, path, source, surroundings);
}

/** True for a text with a placeholder that something other than Argo CD fills in. */
export const isOpen = (text: string): boolean => /\{\{|\$\{|<[A-Z][A-Z0-9_-]*>/.test(text);

// True for a tag or a commit. The usual names of branches are taken for the one that is checked out.
const isOther = (revision = "HEAD"): boolean => !/^(HEAD|main|master|trunk|dev|develop|)$/.test(revision);

async function renderKustomization(
  root: string,
  path: string,
  source: ApplicationSource,
  { isOffline }: Surroundings,
): Promise<Rendered> {
  const remote = isOffline ? elsewhere(root, path) : undefined;
  if (remote !== undefined) return { manifests: [], skipped: remote };
  const { images, ...given } = source.kustomize ?? {};
  const same = inKustomization(given);
  if (images !== undefined && !(Array.isArray(images) && images.every((image) => typeof image === "string")))
    return { manifests: [], error: "source.kustomize.images is no list of texts" };
  const unknown = Object.keys(same).filter((field) => !sameInKustomization.has(field));
  if (unknown.length > 0) {
    return {
      manifests: [],
      error: `source.kustomize.${unknown[0]} is not rendered here: say it in ${path}/kustomization.yaml`,
    };
  }
  try {
    const additions = { ...same, ...(images && { images: images.map(imageEntry) }) };
    const rendered = await withLocalRemotes(root, path, (place, there) =>
      renderManifests(place, there, additions),
    );
    return {
      manifests: rendered.flatMap(({ object, ...rest }) =>
        itemsOf(object).map((item) => ({ object: item, ...rest })),
      ),
    };
  } catch (error) {
    return { manifests: [], ...failureOf(root, path, error) };
  }
}

/** One of `source.kustomize.images`, which Argo CD writes `[NAME=]NAME[:TAG|@DIGEST]`, as a kustomization has it. */
export function imageEntry(text: string): Record<string, string> {
  const [name, replacement = name] = text.includes("=")
    ? text.split("=", 2)
    : [text.replace(/[:@][^/]*$/, ""), text];
  const [, newName = "", tag, digest] = /^(.+?)(?::([^/@]+))?(?:@(.+))?$/.exec(replacement ?? "") ?? [];
  // An asterisk keeps the tag that is there.
  return { name: name ?? "", newName, ...(tag && tag !== "*" && { newTag: tag }), ...(digest && { digest }) };
}

/** Kustomize's error for a kustomization that it cannot build, without the path of directories that led there. */
export function failureOf(root: string, path: string, error: unknown): Pick<Rendered, "error" | "errorAt"> {
  if (error instanceof RemoteMismatch)
    return { error: error.message, errorAt: { file: error.file, text: error.url } };
  const line = reasonOf(error);
  const inner = line.split(/recursed accumulation of path '/).pop() ?? line;
  const directory = inner === line ? undefined : /^([^']+)'/.exec(inner)?.[1];
  const place = directory ? posix.relative(realpathSync(root), directory) : path;
  const said = (directory ? inner.slice(directory.length + 3) : line).replace(
    /^accumulating resources: /,
    "",
  );
  const broken =
    /^accumulating resources from '([^']+)': (?:\w+: )?(?:yaml: line (\d+): )?(.*?)(?: in File: .*)?$/.exec(
      said,
    );
  if (broken?.[1]) {
    const file = posix.join(place, broken[1]);
    return { error: `${file}: ${broken[3]}`, errorAt: { file, line: Number(broken[2] ?? 1) } };
  }
  const gone = /^accumulation err='accumulating resources from '([^']+)'/.exec(said)?.[1];
  const invalid = /(invalid Kustomization|json|yaml): (.*)$/.exec(said);
  const file = posix.join(place, "kustomization.yaml");
  if (gone && invalid && existsSync(join(root, place, gone, "kustomization.yaml"))) {
    const inner = posix.join(place, gone, "kustomization.yaml");
    return { error: `${inner}: ${invalid[2]}`, errorAt: { file: inner } };
  }
  if (gone) return { error: `${posix.join(place, gone)} cannot be read`, errorAt: { file, text: gone } };
  return { error: said.slice(0, 400), errorAt: { file } };
}

/** The line of an error that says what is wrong, without what a program prints around it. */
export function reasonOf(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  const lines = (stderr || message).trim().split("\n");
  return (lines.find((text) => text.startsWith("Error: ")) ?? lines[0] ?? "").replace(/^Error: /, "");
}
