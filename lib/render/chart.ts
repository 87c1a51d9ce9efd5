/** Renders charts with Helm: those in the repository, or archives in the directory HELM_CHARTS. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, posix, resolve } from "node:path";
import { execa } from "execa";
import { loadAll } from "js-yaml";
import { globSync } from "tinyglobby";
import { helm } from "../modules.ts";
import { isMapping, type KubernetesObject, parseObjects } from "../object.ts";
import {
  type ApplicationSource,
  type Rendered,
  reasonOf,
  type Surroundings,
  sourcesOf,
} from "./application.ts";
import { compiledTool, installedVersion } from "./tool.ts";

/** True for a directory that Helm renders. */
export const holdsChart = (root: string, path: string): boolean => existsSync(join(root, path, "Chart.yaml"));

// HELM_CHARTS names a directory of chart archives, for charts of remote repositories. npm runs its scripts in the
// package's directory, so a relative path is looked for where the person is, too.
function chartArchive(root: string, { chart = "", targetRevision }: ApplicationSource): string | undefined {
  const { HELM_CHARTS, INIT_CWD } = process.env;
  if (!HELM_CHARTS) return undefined;
  return [process.cwd(), INIT_CWD ?? root, root]
    .map((from) => resolve(from, HELM_CHARTS, `${basename(chart)}-${targetRevision}.tgz`))
    .find((archive) => existsSync(archive));
}

let command: Promise<string | undefined> | undefined;

/** The Helm to run: the installed one, or the pinned one, which Go compiles; undefined if there is neither. */
export function helmCommand(): Promise<string | undefined> {
  command ??= installedVersion("helm", ["version", "--short"]).then((version) =>
    version !== undefined ? "helm" : compiledTool(helm).catch(() => undefined),
  );
  return command;
}

/**
 * Renders a chart as Argo CD's repo-server does.
 * @param home the Application's own file, for what a chart of a remote repository makes
 */
export async function renderChart(
  root: string,
  source: ApplicationSource,
  application: KubernetesObject,
  home: string,
  surroundings: Surroundings,
): Promise<Rendered> {
  const { path, targetRevision } = source;
  const name = source.chart || undefined;
  const chart = name === undefined ? join(root, path ?? ".") : chartArchive(root, source);
  const what = `Helm chart ${name ?? path}`;
  if (!chart)
    return skipped(
      `${what} ${targetRevision}: put its archive into a directory and name that in HELM_CHARTS`,
    );
  const file = name === undefined ? posix.join(path ?? ".", "Chart.yaml") : home;
  const errorAt = { file, ...(name !== undefined && { text: `chart: ${name}` }) };
  const values = valuesOf(source);
  if ("error" in values) return { manifests: [], error: values.error, errorAt };
  const files = valueFiles(root, source, application, surroundings);
  if (files.skipped !== undefined) return skipped(`${what}: ${files.skipped}`);
  if (files.error !== undefined) return { manifests: [], error: files.error, errorAt };
  const program = await helmCommand();
  if (program === undefined) return skipped(`${what}: helm is not installed, and Go cannot compile it`);
  const whole = name === undefined ? wholeChart(chart) : { directory: chart, remove: () => {} };
  if ("lacks" in whole) return skipped(`${what}: it depends on ${whole.lacks}, which is not at hand`);
  try {
    const args = [...settings(source, application), ...files.args];
    const { stdout, exitCode, stderr, code } = await execa(
      program,
      ["template", releaseOf(source, application), whole.directory, ...args, "--values", "-"],
      { input: JSON.stringify(values.values), reject: false, maxBuffer: 256 * 1024 * 1024 },
    );
    if (code === "ENOENT") return skipped(`${what}: helm is not installed`);
    if (exitCode !== 0) return { manifests: [], error: errorOf(stderr), errorAt };
    return { manifests: manifestsOf(stdout, name === undefined ? (path ?? ".") : undefined, file) };
  } catch (error) {
    // Helm has read what it prints: if only this parser refuses it, the mistake is not the chart's.
    if ((error as Error).name === "YAMLException")
      return skipped(`${what}: what Helm prints cannot be read here: ${reasonOf(error)}`);
    return { manifests: [], error: `${what}: ${reasonOf(error)}`, errorAt };
  } finally {
    whole.remove();
  }
}

const skipped = (reason: string): Rendered => ({ manifests: [], skipped: reason });

const errorOf = (stderr: string): string =>
  stderr
    .trim()
    .split("\n")
    .filter((line) => line.trim() !== "" && !/^(Use --debug|level=|WARNING)/.test(line.trim()))
    .pop()
    ?.slice(0, 400) || "helm failed";

function valuesOf({ helm = {} }: ApplicationSource): { values: unknown } | { error: string } {
  try {
    return { values: helm.valuesObject ?? loadAll(helm.values ?? "")[0] ?? {} };
  } catch (error) {
    return { error: `helm.values: ${reasonOf(error)}` };
  }
}

// A release's name may have 53 letters. Argo CD takes the Application's name all the same, and Helm reports the error.
const releaseOf = ({ helm = {} }: ApplicationSource, { metadata }: KubernetesObject): string =>
  helm.releaseName ?? metadata.name;

function settings({ helm = {} }: ApplicationSource, application: KubernetesObject): string[] {
  const { namespace = "default" } = application.spec?.destination ?? {};
  const escaped = (value: unknown): string => String(value ?? "").replace(/(?<!\\),/g, "\\,");
  const versions = (helm.apiVersions ?? []).flatMap((version) => ["--api-versions", version]);
  return [
    ...["--namespace", helm.namespace ?? namespace],
    ...(helm.skipCrds === true ? [] : ["--include-crds"]),
    ...(helm.skipSchemaValidation === true ? ["--skip-schema-validation"] : []),
    ...(helm.skipTests === true ? ["--skip-tests"] : []),
    ...(helm.kubeVersion ? ["--kube-version", helm.kubeVersion] : []),
    ...versions,
    ...(helm.parameters ?? []).flatMap(({ name, value, forceString }) => [
      forceString === true ? "--set-string" : "--set",
      `${name}=${escaped(value)}`,
    ]),
  ];
}

interface GivenFiles {
  args: string[];
  skipped?: string;
  error?: string;
}

/** What Helm is given by files: of values, in the order in which Argo CD names them, and of single texts. */
function valueFiles(
  root: string,
  source: ApplicationSource,
  application: KubernetesObject,
  surroundings: Surroundings,
): GivenFiles {
  const { valueFiles: named = [], fileParameters = [], ignoreMissingValueFiles } = source.helm ?? {};
  const all = [...named, ...fileParameters.map(({ path }) => String(path))];
  for (const file of all) {
    const reason = notAtHand(file, application, surroundings);
    if (reason !== undefined) return { args: [], skipped: reason };
  }
  const places = new Map(all.map((file) => [file, placeOf(root, source, file)]));
  const explicit = new Set([...places.values()].filter((place) => !isPattern(place)));
  const paths = new Set<string>();
  for (const file of named) {
    const place = places.get(file) ?? "";
    const matches = isPattern(place)
      ? globSync(place.slice(root.length + 1), { cwd: root, absolute: true, dot: true }).sort()
      : existsSync(place)
        ? [place]
        : [];
    if (matches.length === 0 && ignoreMissingValueFiles === true) continue;
    if (matches.length === 0) return { args: [], error: `there is no file of values ${file}` };
    // A file that is also listed by its own name keeps that place, even if a pattern matches it.
    for (const path of matches) if (!isPattern(place) || !explicit.has(path)) paths.add(path);
  }
  return {
    args: [
      ...[...paths].flatMap((path) => ["--values", path]),
      ...fileParameters.flatMap(({ name, path }) => ["--set-file", `${name}=${places.get(String(path))}`]),
    ],
  };
}

const isPattern = (path: string): boolean => /[*?[]/.test(path);

// `$NAME/…` begins at the root of the source with that `ref`.
const refIn = (file: string): string | undefined => /^\$([^/]+)/.exec(file)?.[1];

function notAtHand(
  file: string,
  application: KubernetesObject,
  { isOurs }: Surroundings,
): string | undefined {
  if (/^[a-z]+:\/\//.test(file)) return `the values of ${file} are elsewhere`;
  const ref = refIn(file);
  const referred = sourcesOf(application).find((source) => source.ref !== undefined && source.ref === ref);
  return referred && !isOurs(referred.repoURL)
    ? `the values of ${file} are in ${referred.repoURL}`
    : undefined;
}

function placeOf(root: string, { path = "" }: ApplicationSource, file: string): string {
  if (refIn(file) !== undefined) return join(root, file.replace(/^\$[^/]+/, ""));
  return file.startsWith("/") ? join(root, file) : join(root, path, file);
}

/**
 * A chart with the charts that it depends on: itself if they are in `charts/`, or a copy with those that it names by
 * `file://`. Charts from elsewhere are not available.
 */
function wholeChart(chart: string): { directory: string; remove: () => void } | { lacks: string } {
  const wanted = missingDependencies(chart);
  if (wanted.length === 0) return { directory: chart, remove: () => {} };
  const remote = wanted.find(({ place }) => place === undefined || !existsSync(join(place, "Chart.yaml")));
  if (remote) return { lacks: `${remote.name} of ${remote.repository || "nowhere"}` };
  const stage = mkdtempSync(join(tmpdir(), "chart-"));
  const remove = (): void => rmSync(stage, { recursive: true, force: true });
  const copy = join(stage, basename(chart));
  cpSync(chart, copy, { recursive: true, dereference: true });
  mkdirSync(join(copy, "charts"), { recursive: true });
  for (const { name, place } of wanted) {
    const whole = wholeChart(place ?? "");
    if ("lacks" in whole) {
      remove();
      return whole;
    }
    cpSync(whole.directory, join(copy, "charts", name), { recursive: true, dereference: true });
    whole.remove();
  }
  return { directory: copy, remove };
}

function missingDependencies(
  chart: string,
): { name: string; repository: string; place: string | undefined }[] {
  const there = new Set(
    existsSync(join(chart, "charts"))
      ? readdirSync(join(chart, "charts")).map((name) => name.replace(/-v?\d+\.\d.*\.tgz$/, ""))
      : [],
  );
  return ["Chart.yaml", "requirements.yaml"]
    .flatMap((file) => dependenciesIn(join(chart, file)))
    .filter(({ name }) => !there.has(name))
    .map(({ name, repository }) => ({
      name,
      repository,
      place: repository.startsWith("file://")
        ? resolve(chart, repository.slice("file://".length))
        : undefined,
    }));
}

function dependenciesIn(file: string): { name: string; repository: string }[] {
  try {
    const [content] = loadAll(readFileSync(file, "utf8"));
    const { dependencies } = isMapping(content) ? content : {};
    return (Array.isArray(dependencies) ? dependencies : [])
      .filter(isMapping)
      .map(({ name, repository }) => ({ name: String(name), repository: String(repository ?? "") }));
  } catch {
    // Helm says what is wrong with it.
    return [];
  }
}

/** The objects of what Helm prints; each names its template, of which the file is known for a chart of the repository. */
function manifestsOf(text: string, directory: string | undefined, file: string): Rendered["manifests"] {
  const manifests: Rendered["manifests"] = [];
  for (const part of text.split(/^---[ \t]*$/m)) {
    const [, template] = /^# Source: [^/\n]+\/(.*)$/m.exec(part) ?? [];
    const own = directory !== undefined && template !== undefined ? posix.join(directory, template) : file;
    for (const object of parseObjects(part)) manifests.push({ object, file: own, foreign: true });
  }
  return manifests;
}
