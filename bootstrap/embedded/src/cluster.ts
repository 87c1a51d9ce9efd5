/** Brings the whole cluster up: says what runs, and in which order it starts. */

import { note, progress } from "../../../lib/progress.ts";
import { applyAddon } from "./addons.ts";
import { encryptSecrets } from "./at-rest.ts";
import { ensureEtcdData } from "./backup.ts";
import { controlPlanePrograms, prepareControlPlane, waitForApiServer, waitForNodes } from "./controlplane.ts";
import { endpoints, nodes } from "./layout.ts";
import { loadBalancerProgram } from "./loadbalancer.ts";
import { installBinaries } from "./modules.ts";
import { ensureNetwork } from "./network.ts";
import { ensureNode, nodePrograms, policyProgram } from "./node.ts";
import { registryPrograms } from "./registry.ts";
import { publishCertificateEnds } from "./renewal.ts";
import { programStates, supervise, supervisorRuns, waitForPrograms } from "./supervisor.ts";
import { upkeepProgram } from "./upkeep-program.ts";

/** Starts the control plane, the nodes and the load balancer, or those parts of them that are missing. */
export async function startCluster(httpPort: number): Promise<void> {
  await installBinaries(["etcd", "kubernetes", "kube-router"]);
  progress("network and certificates");
  await ensureNetwork();
  const renewed = await prepareControlPlane();
  if (renewed.length > 0) note(`issued certificates: ${renewed.join(" ")}`);
  await ensureEtcdData();
  for (const node of nodes) await ensureNode(node);
  publishCertificateEnds();
  const programs = [
    ...(await registryPrograms()),
    ...controlPlanePrograms(),
    ...nodes.flatMap(nodePrograms),
    loadBalancerProgram(endpoints(httpPort)),
    await upkeepProgram(),
  ];
  progress("starting components");
  const before = (await supervisorRuns()) ? await programStates() : {};
  // Heartbeats have a resolution of one second.
  const started = new Date(Math.floor(Date.now() / 1000) * 1000);
  const since = nodes.every((node) => before[`${node.name}-kubelet`] === "RUNNING") ? new Date(0) : started;
  await supervise(programs);
  const policies = nodes.map(policyProgram);
  await waitForPrograms(programs.map(({ name }) => name).filter((name) => !policies.includes(name)));
  progress("waiting for the API server");
  await waitForApiServer();
  await encryptSecrets();
  await applyAddon("kube-router");
  await waitForPrograms(policies, 120);
  progress("waiting for the nodes");
  await waitForNodes(
    nodes.map((node) => node.name),
    since,
  );
}
