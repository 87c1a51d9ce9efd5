import { type Application, applicationTrouble } from "./applications.ts";
import { get } from "./kubectl.ts";
import { type Pod, podTrouble } from "./pods.ts";

interface Node {
  metadata: { name: string };
  status: { conditions: { type: string; status: string; message?: string }[] };
}

/**
 * What the cluster runs, for people: nodes, Applications with their commit, and every pod that is not ready.
 * @returns lines to print, and whether all is well
 */
export async function status(): Promise<{ lines: string[]; well: boolean }> {
  const [nodes, applications, pods] = await Promise.all([
    get<{ items: Node[] }>(["nodes"]),
    get<{ items: Application[] }>(["applications.argoproj.io", "-n", "argocd"]),
    get<{ items: Pod[] }>(["pods", "-A"]),
  ]);
  const lines: string[] = [];
  let well = applications.items.length > 0;
  for (const { metadata, status } of nodes.items) {
    const ready = status.conditions.find((condition) => condition.type === "Ready");
    well &&= ready?.status === "True";
    lines.push(
      `node         ${metadata.name.padEnd(24)} ${ready?.status === "True" ? "Ready" : `not Ready: ${ready?.message}`}`,
    );
  }
  for (const application of applications.items) {
    const trouble = applicationTrouble(application);
    well &&= trouble === undefined;
    const revision = application.status?.sync?.revision?.slice(0, 12) ?? "";
    lines.push(
      `application  ${application.metadata.name.padEnd(24)} ${trouble ?? `Synced Healthy ${revision}`}`,
    );
  }
  for (const trouble of pods.items.map(podTrouble)) {
    if (trouble) {
      well = false;
      lines.push(`pod          ${trouble}`);
    }
  }
  lines.push(`pods         ${pods.items.length} in all`);
  return { lines, well };
}
