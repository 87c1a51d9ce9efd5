/** What Argo CD says about its Applications. */

/** The annotation that asks Argo CD to compare an Application at once. */
export const refreshAnnotation = "argocd.argoproj.io/refresh";

export interface Application {
  metadata: { name: string; annotations?: Record<string, string> };
  spec: { destination?: { namespace?: string } };
  status?: {
    /** Several sources have a revision each, in `revisions`. */
    sync?: { status?: string; revision?: string; revisions?: string[] };
    health?: { status?: string; message?: string };
    operationState?: { phase?: string; message?: string; syncResult?: { revision?: string } };
    conditions?: { type: string; message: string }[];
    resources?: {
      kind: string;
      namespace?: string;
      name: string;
      status?: string;
      health?: { status?: string; message?: string };
    }[];
  };
}

/**
 * Why an Application does not run a commit, in one phrase, or undefined when it is Synced to it and Healthy.
 * @param commit full hash, or undefined for any
 */
export function applicationTrouble({ metadata, status }: Application, commit?: string): string | undefined {
  const name = `Application ${metadata.name}`;
  const error = status?.conditions?.find((condition) => /Error$/.test(condition.type));
  if (error) return `${name}: ${error.type}: ${firstLine(error.message)}`;
  const operation = status?.operationState;
  // A failed sync is history once a later commit equals what runs: no new sync follows that would replace it.
  const failed = operation?.phase === "Failed" || operation?.phase === "Error";
  if (failed && status?.sync?.status !== "Synced") {
    return `${name}: sync ${operation?.phase}: ${firstLine(operation?.message ?? "no message")}`;
  }
  const { revision, revisions = [] } = status?.sync ?? {};
  if (commit && revision !== commit && !revisions.includes(commit)) {
    const at = revision?.slice(0, 12) || revisions.map((one) => one.slice(0, 12)).join(" and ");
    return `${name} is at ${at || "no revision"}, not at ${commit.slice(0, 12)}`;
  }
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
 */
export function lagsBehind({ metadata, status }: Application, commit: string): boolean {
  const { revision, revisions = revision ? [revision] : [] } = status?.sync ?? {};
  if (metadata.annotations?.[refreshAnnotation] !== undefined) return false;
  return revisions.length > 0 && !revisions.includes(commit);
}

const firstLine = (text: string): string => (text.split("\n")[0] ?? "").slice(0, 300);
