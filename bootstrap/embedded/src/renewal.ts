/** Renewing certificates of a platform that runs, and telling Prometheus when they end. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { ensureRepoServerTls, repoServerTlsEnd } from "../../../lib/cluster/repo-server-tls.ts";
import { kubectlQuietly } from "../../src/kubectl.ts";
import { controlPlanePrograms, prepareControlPlane } from "./controlplane.ts";
import { nodes, state } from "./layout.ts";
import { nodePrograms, writeNodeKubeconfigs } from "./node.ts";
import { superviseAlso } from "./supervisor.ts";

/** Where a node's exporter reads metrics that others write, as the machine has it. */
export const metricsDirectory = (node: string): string => state("nodes", node, "var/lib/node-exporter");

/** Name of the metric; prometheusrule-control-plane.yaml alerts on it. */
const metric = "logging_platform_certificate_expiry_timestamp_seconds";

/**
 * Renews the cluster's own certificates that are due and restarts what uses them, one program after the other. What runs
 * in pods goes on meanwhile; the API server is away for up to a minute and a half.
 * @returns the names of the certificates that were renewed
 */
export async function renewCertificates(): Promise<string[]> {
  const renewed = await prepareControlPlane();
  for (const node of nodes) writeNodeKubeconfigs(node);
  // Also what was renewed by a run that was killed before it restarted anything: its inputs have changed all the same.
  await superviseAlso([...controlPlanePrograms(), ...nodes.flatMap(nodePrograms)]);
  publishCertificateEnds();
  return renewed;
}

/** Tells Prometheus, by the nodes' exporters, when the certificates of the state directory end. */
export function publishCertificateEnds(): void {
  writeMetrics("platform", certificateEnds());
}

/** Renews the certificate of Argo CD's parts where it is due, and restarts those. @returns what was restarted */
export async function renewRepoServerTls(): Promise<string[]> {
  const restarted = await ensureRepoServerTls(kubectlQuietly);
  const end = await repoServerTlsEnd(kubectlQuietly);
  if (end) writeMetrics("repo-server", { "argocd-repo-server": end });
  return restarted;
}

/** When each certificate of the state directory ends, by its name. */
export function certificateEnds(): Record<string, Date> {
  const directory = state("pki");
  if (!existsSync(directory)) return {};
  const files = readdirSync(directory).filter((file) => file.endsWith(".crt"));
  return Object.fromEntries(
    files.map((file) => [
      file.slice(0, -".crt".length),
      new x509.X509Certificate(readFileSync(join(directory, file), "utf8")).notAfter,
    ]),
  );
}

/** Text in Prometheus' format: when each certificate ends, in seconds of Unix time. */
export function metricsText(ends: Record<string, Date>): string {
  const samples = Object.entries(ends)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, end]) => `${metric}{name="${name}"} ${Math.floor(end.getTime() / 1000)}\n`);
  return `# HELP ${metric} When a certificate of the platform ends.\n# TYPE ${metric} gauge\n${samples.join("")}`;
}

// Every node has them: one may be away.
function writeMetrics(name: string, ends: Record<string, Date>): void {
  for (const node of nodes) {
    const directory = metricsDirectory(node.name);
    mkdirSync(directory, { recursive: true });
    // Read by a user of its own, and never half a file.
    const fresh = join(directory, `${name}.fresh`);
    writeFileSync(fresh, metricsText(ends), { mode: 0o644 });
    renameSync(fresh, join(directory, `${name}.prom`));
  }
}
