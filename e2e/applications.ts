/** What Argo CD says of its Applications, and when all of it is in place. */
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../lib/failure.ts";
import { deployment, namespace, pods } from "./app.ts";
import { Clone } from "./clone.ts";
import { get, list } from "./kubectl.ts";

/** What of an Application the tests look at. */
export interface Application {
  metadata: { name: string };
  status: {
    sync: { status: string; revision: string };
    health: { status: string };
    conditions?: { type: string; message: string }[];
    history?: { id: number; revision: string }[];
    operationState?: { phase: string; message: string; startedAt: string; finishedAt?: string };
  };
}

/** One Application. */
export const application = (name: string): Promise<Application> =>
  get("application", name, "--namespace", "argocd");

/** All Applications. */
export const applications = (): Promise<Application[]> => list("applications", "--namespace", "argocd");

/** Waits until every Application is Synced to a commit and Healthy, and the app's pods are all of one template. */
export async function converged(commit: string, seconds = 180): Promise<void> {
  await until(`commit ${commit.slice(0, 12)}`, seconds, async () => {
    for (const { metadata, status } of await applications()) {
      if (status.sync.revision !== commit) return `${metadata.name} is at ${status.sync.revision}`;
      if (status.sync.status !== "Synced") return `${metadata.name} is ${status.sync.status}`;
      if (status.health.status !== "Healthy") return `${metadata.name} is ${status.health.status}`;
      // One that found everything as it should be has never synced.
      const phase = status.operationState?.phase ?? "Succeeded";
      if (phase !== "Succeeded") return `the last sync of ${metadata.name} is ${phase}`;
    }
    return rollout();
  });
}

/** What has synced, and the objects that a sync would change. */
async function synced(): Promise<object> {
  const kinds = "deployments,services,configmaps,serviceaccounts";
  return {
    syncs: (await applications()).map(({ metadata, status }) => [
      metadata.name,
      status.history?.map(({ id }) => id),
      status.operationState?.startedAt,
      status.operationState?.finishedAt,
    ]),
    objects: (await list(kinds, "--namespace", namespace)).map(({ kind, metadata }) => [
      kind,
      metadata.name,
      metadata.uid,
      metadata.generation ?? metadata.resourceVersion,
    ]),
  };
}

/** What has synced now, and after longer than the 30 s between two comparisons. */
export async function syncedMeanwhile(): Promise<{ before: object; after: object }> {
  const before = await synced();
  await sleep(35_000);
  return { before, after: await synced() };
}

/** Why the app's Deployment has not 3 ready replicas of its present template and no others. */
export async function rollout(): Promise<string | undefined> {
  const { metadata, spec, status } = await deployment();
  if (spec.replicas !== 3) return `${spec.replicas} replicas are wanted`;
  if (status.observedGeneration !== metadata.generation) return "the Deployment is not observed";
  const { replicas, readyReplicas, updatedReplicas } = status;
  if (replicas !== 3 || readyReplicas !== 3 || updatedReplicas !== 3)
    return `${replicas} replicas, ${readyReplicas} ready, ${updatedReplicas} updated`;
  const count = (await pods()).length;
  return count === 3 ? undefined : `${count} pods`;
}

/** A clone of the platform's repository, once the platform runs it. */
export async function cloneOfConverged(): Promise<Clone> {
  const clone = await Clone.make();
  await converged(clone.found);
  return clone;
}

/** Ends a clone: the platform runs again what was found. */
export async function endClone(clone: Clone): Promise<void> {
  try {
    const commit = await clone.putBack();
    if (commit !== undefined) await converged(commit);
  } finally {
    clone.remove();
  }
}
