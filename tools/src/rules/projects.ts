import {
  describeObject,
  type FieldPath,
  groupOf,
  type KubernetesObject,
  type Manifest,
} from "../../../lib/object.ts";
import { sourcesOf } from "../../../lib/render/application.ts";
import { bootstrap } from "../../../lib/render/cluster.ts";
import type { Problem, Rule } from "./rule.ts";

interface Entry {
  group: string;
  kind: string;
  name?: string;
}

interface Destination {
  server?: string;
  name?: string;
  namespace?: string;
}

interface ProjectSpec {
  sourceRepos?: string[];
  destinations?: Destination[];
  clusterResourceWhitelist?: Entry[];
  clusterResourceBlacklist?: Entry[];
  namespaceResourceWhitelist?: Entry[];
  namespaceResourceBlacklist?: Entry[];
}

export const projectAllows: Rule = {
  id: "project-allows",
  isOfArgocd: true,
  isOfClusters: true,
  summary: "The AppProject allows every kind, destination and source of its Applications",
  explanation: `Argo CD refuses a whole sync because of one object that the Application's project does not allow. The rule checks the Application's own
  repository and destination, and for every rendered object its kind (clusterResourceWhitelist or namespaceResourceWhitelist, which accept
  globs) and its namespace. A project without a namespaceResourceWhitelist allows all namespaced kinds. If the repository has a layout, the
  project of an Application must exist; otherwise it may be in another repository and is not checked.`,
  check: (graph) => {
    const projects = [...graph.ofKind("AppProject"), ...(graph.input.projects ?? [])];
    if (projects.length === 0) return [];
    return graph.input.applications.flatMap((application) => {
      const { manifest, name, manifests } = application;
      if (!manifest || name === bootstrap) return [];
      const project = graph.projectOf(application);
      if (!project) {
        // The project is in another repository, or Argo CD makes it itself.
        if (!graph.layout) return [];
        const message = `Application ${name}: there is no AppProject ${manifest.object.spec?.project}`;
        return [
          {
            manifest,
            path: ["spec", "project"],
            message,
            fix: `${graph.layout ? `add it to ${graph.layout.projects}` : "add it"}, or correct the name`,
          },
        ];
      }
      const refuse = (of: Manifest, path: FieldPath, what: string, fix: string): Problem => ({
        manifest: of,
        path,
        message: `${what}: AppProject ${project.object.metadata.name} does not allow it`,
        fix,
      });
      return [
        ...ownProblems(project.object, manifest.object).map(({ path, fix }) =>
          refuse(manifest, path, `Application ${name}`, fix),
        ),
        ...manifests
          .filter(({ object }) => !graph.input.scopeless?.has(object))
          .flatMap((rendered) =>
            objectProblems(project.object, manifest.object, rendered.object).map((fix) =>
              refuse(rendered, ["kind"], describeObject(rendered.object), fix),
            ),
          ),
      ];
    });
  },
};

function ownProblems(
  project: KubernetesObject,
  application: KubernetesObject,
): { path: FieldPath; fix: string }[] {
  const spec = project.spec as ProjectSpec;
  const problems: { path: FieldPath; fix: string }[] = sourcesOf(application)
    .filter(({ repoURL }) => repoURL && !allowsRepository(spec.sourceRepos ?? [], repoURL))
    .map(({ repoURL }) => ({
      path: ["spec", "source", "repoURL"],
      fix: `add ${repoURL} to its sourceRepos`,
    }));
  const destination = (application.spec.destination ?? {}) as Destination;
  const allowed = allowsDestination(spec.destinations ?? [], destination);
  if (!allowed) {
    const fix = `add server ${destination.server ?? destination.name} with namespace ${destination.namespace} to its destinations`;
    problems.push({ path: ["spec", "destination", "namespace"], fix });
  }
  return problems;
}

const inCluster = { name: "in-cluster", server: "https://kubernetes.default.svc" };

// A pattern that begins with an exclamation mark denies its matches, whatever the other patterns allow.
function allowsRepository(patterns: string[], url: string): boolean {
  const matches = (pattern: string): boolean => pattern === "*" || urlGlob(normal(pattern), normal(url));
  const isDenied = patterns.some((pattern) => pattern.startsWith("!") && matches(pattern.slice(1)));
  return !isDenied && patterns.some(matches);
}

// Argo CD compares URLs like this: without `.git`, in lower case, and with `git@host:path` as a URL.
const normal = (url: string): string =>
  url
    .trim()
    .toLowerCase()
    .replace(/^(?!ssh:\/\/)((?:[^/@:]+@)?[^/@:]+):(?!\/\/)/, "$1/")
    .replace(/^ssh:\/\//, "")
    .replace(/\.git$/, "");

// In a URL, one asterisk does not match a slash, but two do.
function urlGlob(pattern: string, text: string): boolean {
  const parts = pattern.split(/(\*+)/).map((part) => {
    if (part.startsWith("*")) return part.length > 1 ? ".*" : "[^/]*";
    return part.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
  });
  return new RegExp(`^${parts.join("")}$`).test(text);
}

function allowsDestination(entries: Destination[], { server, name, namespace = "" }: Destination): boolean {
  // Argo CD's own cluster has a known name and server. For others only one of them may be given; a Secret has the other.
  const own = server === inCluster.server || name === inCluster.name;
  const known = own ? inCluster : { server, name };
  const fits = (entry: Destination): boolean => {
    const where = entry.server
      ? known.server === undefined || glob(entry.server, known.server)
      : known.name === undefined || glob(entry.name ?? "*", known.name);
    return where && (namespace === "" || globOrDenied(entry.namespace ?? "", namespace));
  };
  const isDenied = entries.some(
    ({ namespace: pattern = "", server: only = "" }) =>
      (pattern.startsWith("!") && glob(pattern.slice(1), namespace)) ||
      (only.startsWith("!") && known.server !== undefined && glob(only.slice(1), known.server)),
  );
  return !isDenied && entries.some(fits);
}

const globOrDenied = (pattern: string, text: string): boolean =>
  pattern.startsWith("!") ? !glob(pattern.slice(1), text) : glob(pattern, text);

function objectProblems(
  project: KubernetesObject,
  application: KubernetesObject,
  object: KubernetesObject,
): string[] {
  const spec = project.spec as ProjectSpec;
  const { name, namespace } = object.metadata;
  const entry = { group: groupOf(object), kind: object.kind };
  const scope = namespace === undefined ? "clusterResource" : "namespaceResource";
  const listed = (list: Entry[] | undefined): boolean =>
    (list ?? []).some(
      ({ group, kind, name: only }) =>
        glob(group, entry.group) && glob(kind, entry.kind) && glob(only ?? "*", name),
    );
  const problems: string[] = [];
  const open = scope === "namespaceResource" && spec.namespaceResourceWhitelist === undefined;
  if (listed(spec[`${scope}Blacklist`]))
    problems.push(`remove group "${entry.group}", kind ${entry.kind} from its ${scope}Blacklist`);
  else if (!open && !listed(spec[`${scope}Whitelist`])) {
    problems.push(
      `add group "${entry.group}", kind ${entry.kind}${scope === "clusterResource" ? `, name ${name}` : ""} to its ${scope}Whitelist`,
    );
  }
  const reachable = (spec.destinations ?? []).some(({ namespace: pattern }) =>
    glob(pattern ?? "", namespace ?? ""),
  );
  const destination = application.spec.destination?.namespace;
  if (namespace !== undefined && namespace !== destination && !reachable)
    problems.push(`add namespace ${namespace} to its destinations`);
  return problems;
}

export function glob(pattern: string, text: string): boolean {
  if (!pattern.includes("*")) return pattern === text;
  const parts = pattern.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(text);
}
