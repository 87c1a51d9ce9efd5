/** What Argo CD says about its Applications, and which of them are the platform's. */
import { sameRepository } from "../git/repository-url.ts";

/** The annotation that asks Argo CD to compare an Application at once. */
export const refreshAnnotation = "argocd.argoproj.io/refresh";

/** The name of the Application that makes the platform's others. */
export const rootName = "root";

/** What an Application is rendered from: a path of a repository, or a chart. */
export interface ApplicationSource {
  repoURL?: string;
  targetRevision?: string;
  chart?: string;
}

export interface Application {
  metadata: { name: string; annotations?: Record<string, string> };
  spec: {
    destination?: { namespace?: string };
    source?: ApplicationSource;
    /** If these are given, Argo CD ignores `source`. */
    sources?: ApplicationSource[];
  };
  status?: {
    /** Several sources have a revision each, in `revisions`. */
    sync?: { status?: string; revision?: string; revisions?: string[] };
    health?: { status?: string; message?: string };
    operationState?: { phase?: string; message?: string; syncResult?: { revision?: string } };
    conditions?: { type: string; message: string }[];
    resources?: {
      group?: string;
      kind: string;
      namespace?: string;
      name: string;
      status?: string;
      health?: { status?: string; message?: string };
    }[];
  };
}

const sourcesOf = ({ sources, source }: Application["spec"]): ApplicationSource[] =>
  sources?.length ? sources : source ? [source] : [];

/** What the platform's root reads: its repository and branch. Undefined if there is no root, or if it does not say. */
export function platformSource(applications: Application[]): ApplicationSource | undefined {
  const root = applications.find(({ metadata }) => metadata.name === rootName);
  return root && sourcesOf(root.spec).find(({ repoURL }) => repoURL);
}

/** True for a source that a commit of the platform's branch changes: not a chart, nor another repository or branch. */
function followsPlatform(source: ApplicationSource, platform: ApplicationSource): boolean {
  return (
    source.chart === undefined &&
    sameRepository(source.repoURL ?? "", platform.repoURL ?? "") &&
    sameBranch(source.targetRevision, platform.targetRevision)
  );
}

// No revision, like HEAD, means the repository's default branch. As far as is known, that is the platform's branch.
function sameBranch(one = "HEAD", other = "HEAD"): boolean {
  const [a, b] = [one, other].map((name) => (name || "HEAD").replace(/^refs\/heads\//, ""));
  return a === b || a === "HEAD" || b === "HEAD";
}

/**
 * The platform's Applications among those of a cluster: the root, what it makes, and whatever else follows its branch.
 * If no root says what the platform is, they are all of them.
 */
export function platformApplications(applications: Application[]): Application[] {
  const platform = platformSource(applications);
  if (!platform) return applications;
  const byName = new Map(applications.map((application) => [application.metadata.name, application]));
  const ours = new Set<string>();
  const add = (name: string): void => {
    const application = byName.get(name);
    if (!application || ours.has(name)) return;
    ours.add(name);
    for (const { group = "argoproj.io", kind, name: child } of application.status?.resources ?? [])
      if (group === "argoproj.io" && kind === "Application") add(child);
  };
  add(rootName);
  for (const { metadata, spec } of applications)
    if (sourcesOf(spec).some((source) => followsPlatform(source, platform))) add(metadata.name);
  return applications.filter(({ metadata }) => ours.has(metadata.name));
}

/**
 * The revisions that are to be the platform's commit: those of sources of the platform's repository and branch. Only
 * these are commits that can be compared; a chart has a version, and another repository has commits of its own.
 * @param platform what the root reads, or undefined if that is not known: then any source may be the platform's
 */
function comparable(application: Application, platform?: ApplicationSource): Comparable {
  const revisions = revisionsOf(application);
  const sources = sourcesOf(application.spec);
  if (!platform || sources.length === 0)
    return { applies: true, revisions, isAt: (commits) => revisions.some((one) => commits.has(one)) };
  // Argo CD keeps the revisions of several sources in the order of the sources.
  const indexes = sources.flatMap((source, index) => (followsPlatform(source, platform) ? [index] : []));
  const own = indexes.flatMap((index) => revisions[index] ?? []);
  return {
    applies: indexes.length > 0,
    revisions: own,
    isAt: (commits) => own.length === indexes.length && own.every((one) => commits.has(one)),
  };
}

interface Comparable {
  /** Whether a commit of the platform can be compared with this Application's. */
  applies: boolean;
  revisions: string[];
  /** Whether it runs one of these commits. */
  isAt: (commits: ReadonlySet<string>) => boolean;
}

/** The revisions that an Application was last compared with, in the order of its sources. */
function revisionsOf({ status }: Application): string[] {
  const { revision, revisions = revision ? [revision] : [] } = status?.sync ?? {};
  return revisions;
}

/** The commits of the platform's repository that an Application was last compared with; none if it reads none of it. */
export function platformRevisions(application: Application, platform?: ApplicationSource): string[] {
  const { applies, revisions } = comparable(application, platform);
  return applies ? revisions : [];
}

/** The commits of the platform's repository that an Application was last compared with, shortened, for people. */
export function runningRevision(application: Application, platform?: ApplicationSource): string {
  const { applies, revisions } = comparable(application, platform);
  return shortened(applies ? [...new Set(revisions)] : revisionsOf(application));
}

const shortened = (revisions: string[]): string => revisions.map((one) => one.slice(0, 12)).join(" and ");

/**
 * Why an Application does not run a commit, in one phrase, or undefined when it is Synced to it and Healthy.
 * @param commit full hash, or undefined for any
 * @param platform what the root reads; the commit is compared for sources of that repository and branch only
 * @param later commits that contain it and count as well
 */
export function applicationTrouble(
  application: Application,
  commit?: string,
  platform?: ApplicationSource,
  later: Iterable<string> = [],
): string | undefined {
  const { metadata, status } = application;
  const name = `Application ${metadata.name}`;
  const error = status?.conditions?.find((condition) => /Error$/.test(condition.type));
  if (error) return `${name}: ${error.type}: ${firstLine(error.message)}`;
  const operation = status?.operationState;
  // A failed sync is history once a later commit equals what runs: no new sync follows that would replace it.
  const failed = operation?.phase === "Failed" || operation?.phase === "Error";
  if (failed && status?.sync?.status !== "Synced") {
    return `${name}: sync ${operation?.phase}: ${firstLine(operation?.message ?? "no message")}`;
  }
  const { applies, revisions, isAt } = comparable(application, platform);
  if (commit && applies && !isAt(new Set([commit, ...later])))
    return `${name} is at ${shortened(revisions) || "no revision"}, not at ${commit.slice(0, 12)}`;
  if (status?.sync?.status !== "Synced") {
    const behind = status?.resources?.find((resource) => resource.status === "OutOfSync");
    return `${name} is ${status?.sync?.status ?? "not compared yet"}${behind ? `: ${behind.kind} ${behind.name}` : ""}`;
  }
  if (operation?.phase === "Running") return `${name} is syncing: ${firstLine(operation.message ?? "")}`;
  if (status.health?.status !== "Healthy") {
    const ill = status.resources?.find((r) => r.health?.status && r.health.status !== "Healthy");
    const detail = ill
      ? `: ${ill.kind} ${ill.namespace ?? ""}/${ill.name} is ${ill.health?.status} ${ill.health?.message ?? ""}`
      : "";
    return `${name} is ${status.health?.status ?? "of unknown health"}${detail}`.trim();
  }
  return undefined;
}

/**
 * Whether an Application was last compared with another commit, and nothing asks Argo CD to compare it again.
 * @param commit full hash
 * @param platform as for `applicationTrouble`
 * @param later likewise
 */
export function lagsBehind(
  application: Application,
  commit: string,
  platform?: ApplicationSource,
  later: Iterable<string> = [],
): boolean {
  if (application.metadata.annotations?.[refreshAnnotation] !== undefined) return false;
  const { applies, revisions, isAt } = comparable(application, platform);
  return applies && revisions.length > 0 && !isAt(new Set([commit, ...later]));
}

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").slice(0, 300);
