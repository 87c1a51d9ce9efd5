/** What one Application makes of its sources, as Argo CD's repo-server does it. */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { join, posix, resolve } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { isMapping, type KubernetesObject, type Manifest, parseObjects } from "../object.ts";
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
  directory?: { recurse?: boolean };
  helm?: {
    releaseName?: string;
    values?: string;
    valuesObject?: object;
    valueFiles?: string[];
    parameters?: { name: string; value: string }[];
  };
}

/** What a source came to: manifests, or why there are none. */
export interface Rendered {
  manifests: Omit<Manifest, "application">[];
  /** The source cannot be rendered; Argo CD would say so too. */
  error?: string;
  /** The file that is to blame, with the line or the text in it, where that is known. */
  errorAt?: { file: string; line?: number; text?: string };
  /** The source is not at hand here, such as a chart of a remote repository. */
  skipped?: string;
}

/** The sources of an Application, whether it has one or several; one of a wrong shape is none, and the schema says so. */
export function sourcesOf({ spec }: KubernetesObject): ApplicationSource[] {
  const sources: unknown[] = Array.isArray(spec?.sources) ? spec.sources : [spec?.source];
  return sources.filter(isSource);
}

function isSource(value: unknown): value is ApplicationSource {
  if (!isMapping(value)) return false;
  const { kustomize, directory, helm, ...texts } = value;
  const named = ["repoURL", "path", "chart", "ref", "targetRevision"].map((field) => texts[field]);
  return named.every(isTextOrNothing) && [kustomize, directory].every(isMappingOrNothing) && isHelm(helm);
}

function isHelm(value: unknown): boolean {
  if (value === undefined) return true;
  if (!isMapping(value)) return false;
  const { valueFiles = [], parameters = [], values, releaseName } = value;
  return (
    [values, releaseName].every(isTextOrNothing) &&
    Array.isArray(valueFiles) &&
    valueFiles.every((file) => typeof file === "string") &&
    Array.isArray(parameters) &&
    parameters.every(isMapping)
  );
}

const isTextOrNothing = (value: unknown): boolean => value === undefined || typeof value === "string";
const isMappingOrNothing = (value: unknown): boolean => value === undefined || isMapping(value);

// Fields of `source.kustomize` that a kustomization has under the same name and with the same meaning.
const sameInKustomization = new Set(["namePrefix", "nameSuffix", "namespace", "patches", "components"]);

/**
 * Renders one source of an Application from the checkout that it is a path in.
 * @param home the Application's own file, for what a chart of a remote repository makes
 */
export async function renderSource(
  root: string,
  source: ApplicationSource,
  application: KubernetesObject,
  home = "",
): Promise<Rendered> {
  if (source.ref && !source.path && !source.chart) return { manifests: [] };
  if (source.chart) return renderChart(root, chartArchive(root, source), source, application, home);
  const path = source.path ?? ".";
  const directory = join(root, path);
  if (!existsSync(directory) || !statSync(directory).isDirectory()) {
    return { manifests: [], error: `there is no directory ${path}` };
  }
  if (holdsChart(root, path)) return renderChart(root, directory, source, application, home);
  if (!kustomizationsOf(directory).some((file) => existsSync(file)))
    return renderDirectory(root, path, source);
  const { images, ...same } = source.kustomize ?? {};
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
    const manifests = await withLocalRemotes(root, path, (place, there) =>
      renderManifests(place, there, additions),
    );
    return { manifests };
  } catch (error) {
    return { manifests: [], ...failureOf(root, path, error) };
  }
}

/** True for a directory that Helm renders. */
export const holdsChart = (root: string, path: string): boolean => existsSync(join(root, path, "Chart.yaml"));

/** One of `source.kustomize.images`, which Argo CD writes `[NAME=]NAME[:TAG|@DIGEST]`, as a kustomization has it. */
export function imageEntry(text: string): Record<string, string> {
  const [name, replacement = name] = text.includes("=")
    ? text.split("=", 2)
    : [text.replace(/[:@][^/]*$/, ""), text];
  const [, newName = "", tag, digest] = /^(.+?)(?::([^/@]+))?(?:@(.+))?$/.exec(replacement ?? "") ?? [];
  // An asterisk keeps the tag that is there.
  return { name: name ?? "", newName, ...(tag && tag !== "*" && { newTag: tag }), ...(digest && { digest }) };
}

// Argo CD applies the YAML files of a directory that is no kustomization.
function renderDirectory(root: string, path: string, { directory }: ApplicationSource): Rendered {
  const files = readdirSync(join(root, path), { recursive: directory?.recurse === true, encoding: "utf8" });
  const manifests: Rendered["manifests"] = [];
  for (const name of files.filter((file) => /\.(ya?ml|json)$/.test(file)).sort()) {
    const file = posix.join(path, name);
    try {
      for (const object of parseObjects(readFileSync(join(root, file), "utf8"))) {
        manifests.push({ object, file, foreign: false });
      }
    } catch (error) {
      return { manifests: [], error: `${file}: ${reasonOf(error)}`, errorAt: { file } };
    }
  }
  return manifests.length > 0 ? { manifests } : { manifests, error: `${path} holds no manifest` };
}

// HELM_CHARTS names a directory of chart archives, for charts of remote repositories. npm runs its scripts in the
// package's directory, so a relative path is looked for where the person is, too.
function chartArchive(root: string, { chart, targetRevision }: ApplicationSource): string | undefined {
  const { HELM_CHARTS, INIT_CWD } = process.env;
  if (!HELM_CHARTS) return undefined;
  return [process.cwd(), INIT_CWD ?? root, root]
    .map((from) => resolve(from, HELM_CHARTS, `${chart}-${targetRevision}.tgz`))
    .find((archive) => existsSync(archive));
}

async function renderChart(
  root: string,
  chart: string | undefined,
  { chart: name, path, helm = {}, targetRevision }: ApplicationSource,
  application: KubernetesObject,
  home: string,
): Promise<Rendered> {
  const what = `Helm chart ${name ?? path}`;
  if (!chart)
    return {
      manifests: [],
      skipped: `${what} ${targetRevision}: put its archive into a directory and name that in HELM_CHARTS`,
    };
  const { namespace = "default" } = application.spec?.destination ?? {};
  let values: unknown;
  let objects: KubernetesObject[];
  const file = path ? posix.join(path, "Chart.yaml") : home;
  const errorAt = { file, ...(name && { text: `chart: ${name}` }) };
  try {
    values = helm.valuesObject ?? load(helm.values ?? "{}");
  } catch (error) {
    return { manifests: [], error: `helm.values: ${reasonOf(error)}`, errorAt };
  }
  const args = ["template", helm.releaseName ?? application.metadata.name, chart, "--namespace", namespace];
  // `$NAME/…` begins at the root of the source with that `ref`, which is this repository.
  for (const file of helm.valueFiles ?? [])
    args.push(
      "--values",
      file.startsWith("$") ? join(root, file.replace(/^\$[^/]+/, "")) : join(root, path ?? "", file),
    );
  for (const { name: key, value } of helm.parameters ?? []) args.push("--set", `${key}=${value}`);
  const { stdout, exitCode, stderr, code } = await execa(
    "helm",
    [...args, "--include-crds", "--values", "-"],
    {
      input: JSON.stringify(values),
      reject: false,
    },
  );
  if (code === "ENOENT") return { manifests: [], skipped: `${what}: helm is not installed` };
  if (exitCode !== 0)
    return { manifests: [], error: stderr.trim().split("\n").pop() || "helm failed", errorAt };
  try {
    objects = parseObjects(stdout);
  } catch (error) {
    return { manifests: [], error: `${what}: ${reasonOf(error)}`, errorAt };
  }
  return { manifests: objects.map((object) => ({ object, file, foreign: true })) };
}

/** What kustomize says of a kustomization that it cannot build, without the path of directories that led there. */
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

function reasonOf(error: unknown): string {
  const { stderr, message } = error as Error & { stderr?: string };
  const lines = (stderr || message).trim().split("\n");
  return (lines.find((text) => text.startsWith("Error: ")) ?? lines[0] ?? "").replace(/^Error: /, "");
}
