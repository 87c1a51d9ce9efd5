/**
 * Runs in its own network namespace, where the platform's addresses are free. It starts etcd and the API server with the
 * deployed flags, stores a Secret as an older version did, and restores a backup of etcd's data. Prints results as JSON.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { execa } from "execa";
import { until } from "../../../lib/failure.ts";
import { apply, kubectl } from "../../src/kubectl.ts";
import { encryptionFile, encryptSecrets } from "../src/at-rest.ts";
import { auditLog } from "../src/audit.ts";
import { ensureEtcdData } from "../src/backup.ts";
import { pki } from "../src/certificates.ts";
import { controlPlanePrograms, prepareControlPlane, waitForApiServer } from "../src/controlplane.ts";
import { bridge, nodes, repository, state } from "../src/layout.ts";
import { installBinaries } from "../src/modules.ts";
import { enter, nodePrograms, policyProgram, writeNodeKubeconfigs } from "../src/node.ts";

const first = nodes[0] ?? { name: "", address: "", podCIDR: "" };

process.env.KUBECONFIG = state("kubeconfig", "admin.yaml");
process.env.PATH = `${state("bin")}:${process.env.PATH}`;

for (const args of [
  ["link", "set", "lo", "up"],
  ["link", "add", bridge.name, "type", "bridge"],
  ["address", "add", `${bridge.address}/${bridge.prefix}`, "dev", bridge.name],
  ["link", "set", bridge.name, "up"],
])
  await execa("ip", args);
mkdirSync(state("log"), { recursive: true });
await installBinaries(["etcd", "kubernetes", "kube-router"]);
await prepareControlPlane();

const running = new Map<string, ChildProcess>();
function start(name: string): void {
  const program = [...controlPlanePrograms(), ...nodePrograms(first)].find((one) => one.name === name);
  // The prefix that enters a node is dropped, because there is no node.
  const words = program?.command.slice(name === policyProgram(first) ? enter(first).length : 0) ?? [];
  const [command = "", ...args] = words;
  const log = openSync(state("log", `${name}.log`), "a");
  running.set(name, spawn(command, args, { stdio: ["ignore", log, log] }));
}
async function stop(name: string): Promise<void> {
  const child = running.get(name);
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
const etcdctl = (...args: string[]) =>
  execa("etcdctl", [
    "--endpoints=https://127.0.0.1:2379",
    `--cacert=${pki("etcd-ca", "crt")}`,
    `--cert=${pki("apiserver-etcd-client", "crt")}`,
    `--key=${pki("apiserver-etcd-client", "key")}`,
    ...args,
  ]);
const stored = async (name: string): Promise<string> =>
  (await etcdctl("get", "--print-value-only", `/registry/secrets/default/${name}`)).stdout;
const secret = (name: string, text: string): string =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { namespace: "default", name },
    stringData: { text },
  });
const readBack = async (name: string): Promise<string> =>
  Buffer.from(
    await kubectl(["-n", "default", "get", "secret", name, "-o", "jsonpath={.data.text}"]),
    "base64",
  ).toString();
const refusal = async (namespace: string): Promise<string> => {
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "attacker", namespace },
    spec: {
      hostPID: true,
      automountServiceAccountToken: false,
      containers: [{ name: "x", image: "x", securityContext: { privileged: true } }],
    },
  };
  const { exitCode, stderr } = await execa("kubectl", ["create", "--dry-run=server", "-f", "-"], {
    input: JSON.stringify(pod),
    reject: false,
  });
  return exitCode === 0 ? "" : stderr;
};

const found: Record<string, unknown> = {};
try {
  start("etcd");
  // An older version stored Secrets like this: the first provider writes.
  const configuration = readFileSync(encryptionFile(), "utf8");
  const earlier = JSON.parse(configuration) as { resources: { providers: object[] }[] };
  earlier.resources[0]?.providers.reverse();
  writeFileSync(encryptionFile(), JSON.stringify(earlier));
  start("kube-apiserver");
  await waitForApiServer();
  await kubectl(["create", "namespace", "somebodys"]);
  await apply(secret("old", "of an earlier version"));
  found.earlier = await stored("old");
  await stop("kube-apiserver");

  writeFileSync(encryptionFile(), configuration);
  start("kube-apiserver");
  await waitForApiServer();
  found.readable = await readBack("old");
  await encryptSecrets();
  await apply(secret("new", "of this version"));
  found.migrated = await stored("old");
  found.new = await stored("new");
  found.stillReadable = await readBack("old");

  const namespaces = await execa("kubectl", [
    "kustomize",
    `${repository}/bootstrap/embedded/manifests/namespaces`,
  ]);
  // Usually a controller makes this ServiceAccount, but none runs here.
  await kubectl(["-n", "somebodys", "create", "serviceaccount", "default"]);
  found.unlabelled = await refusal("somebodys");
  await apply(namespaces.stdout);
  for (const name of ["default", "istio-system"])
    await kubectl(["-n", name, "create", "serviceaccount", "default"]);
  found.default = await refusal("default");
  found.labelled = await refusal("istio-system");
  await apply(
    (await execa("kubectl", ["kustomize", `${repository}/bootstrap/embedded/manifests/kube-router`])).stdout,
  );
  found.routers = (
    await execa("kubectl", ["auth", "can-i", "--list", "--as", "system:kube-router", "--no-headers"])
  ).stdout;

  // This is a node with a pod that a policy selects. kube-router writes rules even if nothing runs there.
  writeNodeKubeconfigs(first);
  await apply(
    JSON.stringify({
      apiVersion: "v1",
      kind: "List",
      items: [
        { apiVersion: "v1", kind: "Node", metadata: { name: first.name }, spec: { podCIDR: first.podCIDR } },
        {
          apiVersion: "v1",
          kind: "Pod",
          metadata: { name: "kept", namespace: "somebodys", labels: { app: "kept" } },
          spec: {
            nodeName: first.name,
            automountServiceAccountToken: false,
            containers: [{ name: "x", image: "x" }],
          },
        },
        {
          apiVersion: "networking.k8s.io/v1",
          kind: "NetworkPolicy",
          metadata: { name: "nobody", namespace: "somebodys" },
          spec: { podSelector: { matchLabels: { app: "kept" } }, policyTypes: ["Ingress"] },
        },
      ],
    }),
  );
  const patchStatus = (kind: string, name: string, status: object, ...where: string[]): Promise<string> =>
    kubectl([
      ...["patch", kind, name, ...where, "--subresource=status", "--type=merge"],
      ...["--patch", JSON.stringify({ status })],
    ]);
  await patchStatus("node", first.name, { addresses: [{ type: "InternalIP", address: first.address }] });
  const podIP = first.podCIDR.replace("0/24", "7");
  const host = { hostIP: first.address, hostIPs: [{ ip: first.address }] };
  const runs = { phase: "Running", podIP, podIPs: [{ ip: podIP }], ...host };
  await patchStatus("pod", "kept", runs, "--namespace", "somebodys");
  start(policyProgram(first));
  await until("rules of the pod", 90, async () => {
    const { stdout } = await execa("iptables", ["-S"]);
    found.rules = stdout;
    return /-A KUBE-POD-FW-\S+ .*-j REJECT/.test(stdout) ? undefined : stdout;
  });
  await stop(policyProgram(first));

  mkdirSync(state("restore"), { recursive: true });
  const uid = (): Promise<string> => kubectl(["get", "ns", "somebodys", "-o", "jsonpath={.metadata.uid}"]);
  found.uidBefore = await uid();
  await etcdctl("snapshot", "save", state("restore", "etcd.snapshot"));
  await kubectl(["-n", "default", "delete", "secret", "new"]);
  await stop("kube-apiserver");
  await stop("etcd");
  rmSync(state("etcd"), { recursive: true });
  await prepareControlPlane();
  await ensureEtcdData();
  // It must be done only once: after a killed run, doing it again would lose later changes.
  await ensureEtcdData();
  start("etcd");
  start("kube-apiserver");
  await waitForApiServer();
  found.restored = [await readBack("old"), await readBack("new")];
  found.uidAfter = await uid();
  await kubectl(["-n", "default", "delete", "secret", "new"]);
  found.audit = readFileSync(auditLog(), "utf8");
} catch (error) {
  found.error = String((error as Error).stack);
  for (const name of running.keys())
    appendFileSync(2, readFileSync(state("log", `${name}.log`), "utf8").slice(-3000));
} finally {
  for (const name of [policyProgram(first), "kube-apiserver", "etcd"]) await stop(name);
}
process.stdout.write(JSON.stringify(found));
