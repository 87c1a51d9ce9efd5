import {
  type Application,
  applicationTrouble,
  platformApplications,
  platformSource,
  runningRevision,
} from "./applications.ts";
import { get } from "./kubectl.ts";
import { type Pod, podTrouble } from "./pods.ts";

interface Node {
  metadata: { name: string };
  status: { conditions: { type: string; status: string; message?: string }[] };
}

/**
 * What the cluster runs, for people: nodes, Applications with their commit, and every pod that is not ready.
 * @returns lines to print, and whether the platform is well; other people's Applications and their pods are only shown
 */
export async function status(): Promise<{ lines: string[]; well: boolean }> {
  const [nodes, applications, pods] = await Promise.all([
    get<{ items: Node[] }>(["nodes"]),
    get<{ items: Application[] }>(["applications.argoproj.io", "-n", "argocd"]),
    get<{ items: Pod[] }>(["pods", "-A"]),
  ]);
  const lines: string[] = [];
  let well = applications.items.length > 0;
  const platform = platformSource(applications.items);
  const ours = new Set(platformApplications(applications.items));
  const theirs = othersNamespaces(applications.items, ours);
  for (const { metadata, status } of nodes.items) {
    const ready = status.conditions.find((condition) => condition.type === "Ready");
    well &&= ready?.status === "True";
    lines.push(
      `node         ${metadata.name.padEnd(24)} ${ready?.status === "True" ? "Ready" : `not Ready: ${ready?.message}`}`,
    );
  }
  for (const application of applications.items) {
    const trouble = applicationTrouble(application);
    if (ours.has(application)) well &&= trouble === undefined;
    const state = trouble ?? `Synced Healthy ${runningRevision(application, platform)}`.trimEnd();
    const whose = ours.has(application) ? "" : " (not the platform's)";
    lines.push(`application  ${application.metadata.name.padEnd(24)} ${state}${whose}`);
  }
  for (const pod of pods.items) {
    const trouble = podTrouble(pod);
    if (!trouble) continue;
    const foreign = theirs.has(pod.metadata.namespace);
    well &&= foreign;
    lines.push(`pod          ${trouble}${foreign ? " (not the platform's)" : ""}`);
  }
  lines.push(`pods         ${pods.items.length} in all`);
  return { lines, well };
}

/** The namespaces that only other people's Applications deploy to. */
function othersNamespaces(all: Application[], ours: Set<Application>): Set<string> {
  const namespaces = (applications: Application[]): string[] =>
    applications.flatMap(({ spec }) => spec.destination?.namespace ?? []);
  const own = new Set(namespaces([...ours]));
  const others = namespaces(all.filter((application) => !ours.has(application)));
  // The namespaces of Argo CD and Istio are the platform's, even if others deploy there too.
  return new Set(others.filter((name) => !own.has(name) && !/^(argocd|istio-system|kube-.*)$/.test(name)));
}
