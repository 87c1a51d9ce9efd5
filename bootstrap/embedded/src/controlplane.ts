/** The control plane's programs. They run on the host and listen on loopback and the bridge only. */
import { mkdirSync } from "node:fs";
import { until } from "../../../lib/failure.ts";
import { tailCommand } from "../../../lib/process.ts";
import { kubectl } from "../../src/kubectl.ts";
import { admissionFile, writeAdmission } from "./admission.ts";
import { encryptionFile, ensureEncryptionKey } from "./at-rest.ts";
import { auditFlags, auditPolicyFile, writeAuditPolicy } from "./audit.ts";
import { ensureCertificates, pki, writeKubeconfig } from "./certificates.ts";
import { apiServerURL, bridge, clusterDomain, podCIDR, serviceCIDR, state } from "./layout.ts";
import type { Program } from "./supervisor.ts";

const issuer = `https://kubernetes.default.svc.${clusterDomain}`;

const flags = (settings: Record<string, string>): string[] =>
  Object.entries(settings).map(([name, value]) => `--${name}=${value}`);

/** Writes certificates, kubeconfigs and all other files that the components read. Returns the renewed certificates. */
export async function prepareControlPlane(): Promise<string[]> {
  const renewed = await ensureCertificates();
  for (const user of ["admin", "controller-manager", "scheduler"]) writeKubeconfig(user);
  ensureEncryptionKey();
  writeAuditPolicy();
  writeAdmission();
  mkdirSync(state("etcd"), { recursive: true, mode: 0o700 });
  return renewed;
}

/** The programs of the control plane, for the supervisor. */
export function controlPlanePrograms(): Program[] {
  const bin = (name: string): string => state("bin", name);
  const kubeconfig = (user: string): string => state("kubeconfig", `${user}.yaml`);
  const etcdURL = "https://127.0.0.1:2379";
  const peerURL = "https://127.0.0.1:2380";
  return [
    {
      name: "etcd",
      command: [
        bin("etcd"),
        ...flags({
          name: "embedded",
          "data-dir": state("etcd"),
          "listen-client-urls": etcdURL,
          "advertise-client-urls": etcdURL,
          "listen-peer-urls": peerURL,
          "initial-advertise-peer-urls": peerURL,
          "initial-cluster": `embedded=${peerURL}`,
          "peer-cert-file": pki("etcd-server", "crt"),
          "peer-key-file": pki("etcd-server", "key"),
          "peer-client-cert-auth": "true",
          "peer-trusted-ca-file": pki("etcd-ca", "crt"),
          "cert-file": pki("etcd-server", "crt"),
          "key-file": pki("etcd-server", "key"),
          "client-cert-auth": "true",
          "trusted-ca-file": pki("etcd-ca", "crt"),
          "auto-compaction-retention": "1",
          "quota-backend-bytes": String(4 * 1024 ** 3),
        }),
      ],
      inputs: [bin("etcd"), pki("etcd-server", "crt")],
    },
    {
      name: "kube-apiserver",
      command: [
        bin("kube-apiserver"),
        ...flags({
          "bind-address": bridge.address,
          "advertise-address": bridge.address,
          "secure-port": new URL(apiServerURL).port,
          "etcd-servers": etcdURL,
          "etcd-cafile": pki("etcd-ca", "crt"),
          "etcd-certfile": pki("apiserver-etcd-client", "crt"),
          "etcd-keyfile": pki("apiserver-etcd-client", "key"),
          "service-cluster-ip-range": serviceCIDR,
          "tls-cert-file": pki("apiserver", "crt"),
          "tls-private-key-file": pki("apiserver", "key"),
          "client-ca-file": pki("ca", "crt"),
          "service-account-issuer": issuer,
          "service-account-key-file": state("pki", "service-account.pub"),
          "service-account-signing-key-file": pki("service-account", "key"),
          "authorization-mode": "Node,RBAC",
          "enable-admission-plugins": "NodeRestriction",
          "allow-privileged": "true",
          "kubelet-client-certificate": pki("apiserver-kubelet-client", "crt"),
          "kubelet-client-key": pki("apiserver-kubelet-client", "key"),
          "kubelet-certificate-authority": pki("ca", "crt"),
          // No DNS server knows the nodes' names. Without this, logs and exec would look them up there.
          "kubelet-preferred-address-types": "InternalIP",
          // The host has routes to pods but not to Services, so webhooks are called at their endpoints.
          "enable-aggregator-routing": "true",
          "encryption-provider-config": encryptionFile(),
          "admission-control-config-file": admissionFile(),
          ...auditFlags(),
          profiling: "false",
        }),
      ],
      inputs: [
        bin("kube-apiserver"),
        encryptionFile(),
        auditPolicyFile(),
        admissionFile(),
        pki("apiserver", "crt"),
        pki("apiserver-kubelet-client", "crt"),
        pki("apiserver-etcd-client", "crt"),
      ],
      // It drains connections for up to a minute and keeps its port meanwhile.
      stopSeconds: 75,
    },
    {
      name: "kube-controller-manager",
      command: [
        bin("kube-controller-manager"),
        ...flags({
          "bind-address": "127.0.0.1",
          kubeconfig: kubeconfig("controller-manager"),
          "cluster-cidr": podCIDR,
          "allocate-node-cidrs": "false",
          "root-ca-file": pki("ca", "crt"),
          "service-account-private-key-file": pki("service-account", "key"),
          "use-service-account-credentials": "true",
          "cluster-signing-cert-file": pki("ca", "crt"),
          "cluster-signing-key-file": pki("ca", "key"),
          "leader-elect": "false",
          profiling: "false",
        }),
      ],
      inputs: [bin("kube-controller-manager"), kubeconfig("controller-manager")],
    },
    {
      name: "kube-scheduler",
      command: [
        bin("kube-scheduler"),
        ...flags({
          "bind-address": "127.0.0.1",
          kubeconfig: kubeconfig("scheduler"),
          "leader-elect": "false",
          profiling: "false",
        }),
      ],
      inputs: [bin("kube-scheduler"), kubeconfig("scheduler")],
    },
  ];
}

/** Waits until the API server says it is ready. */
export const waitForApiServer = (): Promise<void> =>
  until(
    "API server",
    120,
    async () => ((await kubectl(["get", "--raw", "/readyz"])).trim() === "ok" ? undefined : "not ready"),
    tailCommand(state("log", "kube-apiserver.log")),
  );

/**
 * Waits until the named nodes are Ready.
 * @param since reports of a node before this time do not count: they are stale if its components were killed since
 */
export const waitForNodes = (names: string[], since: Date): Promise<void> =>
  until(
    "nodes",
    180,
    async () => {
      const list = JSON.parse(await kubectl(["get", "nodes", "-o", "json"])) as {
        items: {
          metadata: { name: string };
          status: {
            conditions?: { type: string; status: string; message: string; lastHeartbeatTime: string }[];
          };
        }[];
      };
      for (const name of names) {
        const node = list.items.find((item) => item.metadata.name === name);
        if (!node) return `Node ${name} has not registered`;
        const ready = node.status.conditions?.find((c) => c.type === "Ready");
        if (ready && Date.parse(ready.lastHeartbeatTime) < since.getTime())
          return `Node ${name} has not reported yet`;
        if (ready?.status !== "True")
          return `Node ${name} is not Ready: ${ready?.message ?? "no condition yet"}`;
      }
      return undefined;
    },
    tailCommand(state("log", "node1-kubelet.log")),
  );
