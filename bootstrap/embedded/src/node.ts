/** A node: a network and a mount namespace with their own file system, container runtime, kubelet and kube-proxy. */

import { chmodSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Failure } from "../../../lib/failure.ts";
import { run, succeeds } from "../../../lib/process.ts";
import { pki, writeKubeconfig } from "./certificates.ts";
import { createCgroup } from "./cgroups.ts";
import { writeIfChanged } from "./files.ts";
import {
  clusterDomain,
  dnsAddress,
  keptImageDays,
  mirroredRegistries,
  type Node,
  nodes,
  pinnedVersions,
  podCIDR,
  project,
  registryAddress,
  serviceCIDR,
  state,
  stateDirectory,
} from "./layout.ts";
import { inspectMachine, type Machine, upstreamResolvers } from "./machine.ts";
import { namespaceName } from "./network.ts";
import type { Program } from "./supervisor.ts";

const files = (node: Node, ...parts: string[]): string => state("nodes", node.name, ...parts);

/** The file that keeps a node's mount namespace alive. */
export const mountNamespace = (node: Node): string => state("namespaces", node.name);

/** Command prefix that enters a node. */
export const enter = (node: Node): string[] => [
  "nsenter",
  `--net=/run/netns/${namespaceName(node)}`,
  `--mount=${mountNamespace(node)}`,
];

/** Directories of which every node has its own; it also has its own `/run`, in memory. */
export const ownDirectories = ["var", "opt", "srv", "mnt", "tmp"];

/** Text of containerd's configuration (format version 2, containerd 1.6). */
export function containerdConfig(machine: Machine, pauseVersion: string): string {
  return `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:${pauseVersion}"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE, runc fails when it lowers oom_score_adj.
  restrict_oom_score_adj = ${!machine.canLowerOomScore}

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/opt/cni/net.d"

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "${state("registries")}"
`;
}

/** The kubelet's configuration object. */
export function kubeletConfig(node: Node, machine: Machine): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    address: node.address,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: pki("ca", "crt") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: pki(`kubelet-${node.name}-server`, "crt"),
    tlsPrivateKeyFile: pki(`kubelet-${node.name}-server`, "key"),
    containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock",
    cgroupDriver: "cgroupfs",
    cgroupRoot: `/${project}/${node.name}`,
    ...(machine.cgroups === "v1" ? { failCgroupV1: false } : {}),
    enforceNodeAllocatable: [],
    clusterDNS: [dnsAddress],
    clusterDomain,
    resolvConf: state("resolv.conf"),
    failSwapOn: false,
    oomScoreAdj: machine.canLowerOomScore ? -999 : 0,
    // Other files on the machine's disk must not evict pods or their images. Images are removed by age instead.
    imageGCHighThresholdPercent: 100,
    imageMaximumGCAge: `${keptImageDays * 24}h`,
    evictionHard: {
      "memory.available": "100Mi",
      "nodefs.available": "1%",
      "imagefs.available": "1%",
      "nodefs.inodesFree": "1%",
    },
    containerLogMaxSize: "20Mi",
    containerLogMaxFiles: 3,
    shutdownGracePeriod: "0s",
    // This is how soon a pod sees a changed ConfigMap. The default is one minute.
    syncFrequency: "10s",
  };
}

/** kube-proxy's configuration object. */
export function kubeProxyConfig(node: Node): object {
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "iptables",
    clusterCIDR: podCIDR,
    hostnameOverride: node.name,
    clientConnection: { kubeconfig: state("kubeconfig", "kube-proxy.yaml") },
    healthzBindAddress: `${node.address}:10256`,
    metricsBindAddress: "127.0.0.1:10249",
    // From inside a network namespace, the machine's conntrack table cannot be changed.
    conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    oomScoreAdj: 0,
  };
}

interface CniConfig {
  cniVersion: string;
  name: string;
  plugins: ({ type: string } & Record<string, unknown>)[];
}

/** Pod network of a node. Each pod has a routed veth, so that Service traffic always passes the node's own iptables. */
export function cniConfig(node: Node): CniConfig {
  return {
    cniVersion: "0.4.0",
    name: project,
    plugins: [
      {
        type: "ptp",
        ipMasq: false,
        mtu: 1500,
        ipam: { type: "host-local", ranges: [[{ subnet: node.podCIDR }]], routes: [{ dst: "0.0.0.0/0" }] },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  };
}

/**
 * Writes the pod network's configuration, and keeps plugins that others have appended, such as the mesh's. Pods that start
 * without the mesh's plugin get no redirection and never become ready.
 */
export function writeCniConfig(path: string, own: CniConfig): void {
  const found = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as CniConfig) : undefined;
  const types = own.plugins.map(({ type }) => type);
  const chained = found?.plugins.filter(({ type }) => !types.includes(type)) ?? [];
  const wanted = { ...own, plugins: [...own.plugins, ...chained] };
  if (!isDeepStrictEqual(found, wanted)) writeIfChanged(path, JSON.stringify(wanted, null, 2));
}

/**
 * The mirror settings of one registry. The mirror is also the `server`, to which containerd falls back. Otherwise it would
 * ask the real registry for an image that the mirror lacks, and get one from whoever owns the name there.
 */
export const registryHosts = (name: string): string => {
  const mirror = `http://${registryAddress}/v2/${name}`;
  return `server = "${mirror}"
capabilities = ["pull", "resolve"]
override_path = true

[host."${mirror}"]
  capabilities = ["pull", "resolve"]
  override_path = true
`;
};

const readyMark = "/run/logging-platform-node";

/** A shell script that turns a fresh mount namespace into a node's. It runs once inside it. */
export function mountScript(node: Node): string {
  const own = files(node);
  const covered = ownDirectories.some((directory) => stateDirectory.startsWith(`/${directory}/`));
  return [
    "set -eu",
    ...ownDirectories.map((d) => `mkdir -p ${own}/${d} /${d}`),
    `chmod 1777 ${own}/tmp`,
    `mkdir -p ${own}/var/lib/kubelet ${own}/var/log/pods ${own}/var/log/containers ${own}/var/tmp`,
    `ln -sfn /run ${own}/var/run`,
    // The state directory stays visible below the node's own directories.
    ...(covered
      ? [`mkdir -p ${own}${stateDirectory}`, `mount --bind ${stateDirectory} ${own}${stateDirectory}`]
      : []),
    ...ownDirectories.map((d) => `mount --rbind ${own}/${d} /${d}`),
    "mount -t tmpfs -o mode=755 tmpfs /run",
    "mkdir -p /run/netns /run/lock",
    "mount --bind /var/lib/kubelet /var/lib/kubelet",
    "mount --make-rshared /var/lib/kubelet",
    // This comes last, so that a namespace that is only half made does not pass for a node's.
    `touch ${readyMark}`,
  ].join("\n");
}

async function ensureMountNamespace(node: Node): Promise<void> {
  const directory = state("namespaces");
  mkdirSync(directory, { recursive: true });
  if (!(await succeeds("mountpoint", ["-q", directory])))
    await run("mount", ["--bind", directory, directory]);
  // The kernel refuses to pin a mount namespace on a shared mount.
  await run("mount", ["--make-private", directory]);
  const pin = mountNamespace(node);
  if (!existsSync(pin)) writeFileSync(pin, "");
  if (await succeeds("nsenter", [`--mount=${pin}`, "test", "-e", readyMark])) return;
  await succeeds("umount", [pin]);
  await run("unshare", [`--mount=${pin}`, "--propagation", "private", "sh", "-c", mountScript(node)]);
}

/** Creates a node's namespaces, cgroups, file system and configuration, or those of them that are missing. */
export async function ensureNode(node: Node): Promise<void> {
  const machine = inspectMachine();
  createCgroup(node.name);
  const resolvers = upstreamResolvers(
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
      .filter((f) => existsSync(f))
      .map((f) => readFileSync(f, "utf8")),
  );
  if (resolvers.length === 0) {
    throw new Failure(
      "the machine's resolv.conf names no server that a pod can reach",
      "cat /etc/resolv.conf",
    );
  }
  writeIfChanged(state("resolv.conf"), resolvers.map((server) => `nameserver ${server}\n`).join(""));
  for (const name of mirroredRegistries)
    writeIfChanged(state("registries", name, "hosts.toml"), registryHosts(name));
  const etc = (name: string): string => state("config", node.name, name);
  writeIfChanged(etc("containerd.toml"), containerdConfig(machine, pinnedVersions().pause ?? ""));
  writeIfChanged(etc("kubelet.yaml"), JSON.stringify(kubeletConfig(node, machine), null, 2));
  writeIfChanged(etc("kube-proxy.yaml"), JSON.stringify(kubeProxyConfig(node), null, 2));
  writeCniConfig(files(node, "opt/cni/net.d/10-pods.conflist"), cniConfig(node));
  // Every user may write to the volumes, so only root may enter the directory above. An older version left it open.
  const volumes = files(node, "opt/local-path-provisioner");
  mkdirSync(volumes, { recursive: true });
  chmodSync(volumes, 0o700);
  for (const plugin of readdirSync("/usr/lib/cni")) {
    const target = files(node, "opt/cni/bin", plugin);
    if (!existsSync(target)) cpSync(join("/usr/lib/cni", plugin), target);
  }
  writeNodeKubeconfigs(node);
  await ensureMountNamespace(node);
}

/** Writes the kubeconfigs of a node's components. */
export function writeNodeKubeconfigs(node: Node): void {
  for (const user of [`kubelet-${node.name}`, "kube-proxy", "kube-router"]) writeKubeconfig(user);
}

/** Makes the nodes pull an image again that was rebuilt under a tag that they may already have. */
export async function forgetImage(reference: string): Promise<void> {
  for (const node of nodes) {
    if (existsSync(mountNamespace(node))) {
      await succeeds(enter(node)[0] ?? "", [
        ...enter(node).slice(1),
        "ctr",
        "-n",
        "k8s.io",
        "images",
        "rm",
        reference,
      ]);
    }
  }
}

/** The name of the program that enforces NetworkPolicies on a node. It exits and restarts until its permissions exist. */
export const policyProgram = (node: Node): string => `${node.name}-kube-router`;

/** The programs of a node, for the supervisor. */
export function nodePrograms(node: Node): Program[] {
  const etc = (name: string): string => state("config", node.name, name);
  const bin = (name: string): string => state("bin", name);
  return [
    {
      name: `${node.name}-containerd`,
      command: [...enter(node), "containerd", "--config", etc("containerd.toml")],
      inputs: [etc("containerd.toml")],
    },
    {
      name: `${node.name}-kubelet`,
      command: [
        ...[
          ...enter(node),
          bin("kubelet"),
          "--config",
          etc("kubelet.yaml"),
          "--kubeconfig",
          state("kubeconfig", `kubelet-${node.name}.yaml`),
        ],
        ...["--hostname-override", node.name, "--node-ip", node.address],
      ],
      inputs: [
        bin("kubelet"),
        etc("kubelet.yaml"),
        state("kubeconfig", `kubelet-${node.name}.yaml`),
        pki(`kubelet-${node.name}-server`, "crt"),
      ],
    },
    {
      name: `${node.name}-kube-proxy`,
      command: [...enter(node), bin("kube-proxy"), "--config", etc("kube-proxy.yaml")],
      inputs: [bin("kube-proxy"), etc("kube-proxy.yaml"), state("kubeconfig", "kube-proxy.yaml")],
    },
    {
      name: policyProgram(node),
      // It only enforces policies: network.ts makes the routes, and kube-proxy handles Services.
      command: [
        ...[...enter(node), bin("kube-router"), "--run-firewall=true", "--run-router=false"],
        ...["--run-service-proxy=false", "--run-loadbalancer=false", "--metrics-port=0", "--health-port=0"],
        ...[`--service-cluster-ip-range=${serviceCIDR}`, `--hostname-override=${node.name}`],
        `--kubeconfig=${state("kubeconfig", "kube-router.yaml")}`,
      ],
      inputs: [bin("kube-router"), state("kubeconfig", "kube-router.yaml")],
    },
  ];
}
