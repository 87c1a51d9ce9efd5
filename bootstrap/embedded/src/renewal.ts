/** Renews the certificates of a running platform, and tells Prometheus when they expire. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { ensureRepoServerTls, repoServerTlsEnd } from "../../../lib/cluster/repo-server-tls.ts";
import { kubectlQuietly } from "../../src/kubectl.ts";
import { controlPlanePrograms, prepareControlPlane } from "./controlplane.ts";
import { nodes, state } from "./layout.ts";
import { nodePrograms, writeNodeKubeconfigs } from "./node.ts";
import { superviseAlso } from "./supervisor.ts";

/** The directory, as a path on the machine, from which a node's exporter reads metrics that others write. */
export const metricsDirectory = (node: string): string => state("nodes", node, "var/lib/node-exporter");

/** Name of the metric; prometheusrule-control-plane.yaml alerts on it. */
const metric = "logging_platform_certificate_expiry_timestamp_seconds";

/**
 * Renews the cluster's own certificates that are due, and restarts the programs that use them one after the other.
 * Pods keep running meanwhile. The API server is unavailable for up to a minute and a half.
 * @returns the names of the certificates that were renewed
 */
export async function renewCertificates(): Promise<string[]> {
  const renewed = await prepareControlPlane();
  for (const node of nodes) writeNodeKubeconfigs(node);
  // This also restarts programs after a killed run that had renewed certificates only: their inputs have changed.
  await superviseAlso([...controlPlanePrograms(), ...nodes.flatMap(nodePrograms)]);
  publishCertificateEnds();
  return renewed;
}

/** Tells Prometheus, through the nodes' exporters, when the certificates in the state directory expire. */
export function publishCertificateEnds(): void {
  writeMetrics("platform", certificateEnds());
}

/** Renews Argo CD's internal certificate if it is due, and restarts its components. @returns what was restarted */
export async function renewRepoServerTls(): Promise<string[]> {
  const restarted = await ensureRepoServerTls(kubectlQuietly);
  const end = await repoServerTlsEnd(kubectlQuietly);
  if (end) writeMetrics("repo-server", { "argocd-repo-server": end });
  return restarted;
}

/** The time at which each certificate in the state directory expires, by name. */
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

/** Text in Prometheus' format that says when each certificate expires, in seconds of Unix time. */
export function metricsText(ends: Record<string, Date>): string {
  const samples = Object.entries(ends)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, end]) => `${metric}{name="${name}"} ${Math.floor(end.getTime() / 1000)}\n`);
  return `# HELP ${metric} When a certificate of the platform ends.\n# TYPE ${metric} gauge\n${samples.join("")}`;
}

// The metrics are written for every node, because one may be down.
function writeMetrics(name: string, ends: Record<string, Date>): void {
  for (const node of nodes) {
    const directory = metricsDirectory(node.name);
    mkdirSync(directory, { recursive: true });
    // The exporter runs as another user, and must never see a half-written file.
    const fresh = join(directory, `${name}.fresh`);
    writeFileSync(fresh, metricsText(ends), { mode: 0o644 });
    renameSync(fresh, join(directory, `${name}.prom`));
  }
}
