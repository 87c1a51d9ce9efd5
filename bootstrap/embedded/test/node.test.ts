import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { Machine } from "../src/machine.ts";

vi.stubEnv("STATE_DIR", "/var/lib/somewhere");
const { bridge, dnsAddress, mirroredRegistries, nodes, podCIDR, registryAddress } = await import(
  "../src/layout.ts"
);
const {
  cniConfig,
  containerdConfig,
  enter,
  kubeletConfig,
  kubeProxyConfig,
  nodePrograms,
  registryHosts,
  writeCniConfig,
} = await import("../src/node.ts");

const machines: [string, Machine][] = (["v1", "v2"] as const).flatMap((cgroups) =>
  [true, false].map((canLowerOomScore): [string, Machine] => [
    `cgroup ${cgroups} ${canLowerOomScore ? "with" : "without"} CAP_SYS_RESOURCE`,
    { cgroups, canLowerOomScore },
  ]),
);
const [first, second] = nodes;
if (!first || !second) throw new Error("two nodes are needed");

/** Parses TOML with Python, whose standard library has a parser. */
function toml(text: string) {
  const script = "import json, sys, tomllib; print(json.dumps(tomllib.loads(sys.stdin.read())))";
  return JSON.parse(execFileSync("python3", ["-c", script], { input: text, encoding: "utf8" }));
}

describe.each(machines)("on a machine that has %s", (_, machine) => {
  const kubelet = kubeletConfig(first, machine) as Record<string, unknown>;

  it("containerd leaves oom_score_adj alone where nobody may lower it", () => {
    const cri = toml(containerdConfig(machine, "9.9")).plugins["io.containerd.grpc.v1.cri"];
    expect(cri.restrict_oom_score_adj).toBe(!machine.canLowerOomScore);
  });

  it("containerd runs pods of the mirror, their network and cgroups as the kubelet expects them", () => {
    const config = toml(containerdConfig(machine, "9.9"));
    expect(config.version).toBe(2);
    expect(kubelet.containerRuntimeEndpoint).toBe(`unix://${config.grpc.address}`);
    const cri = config.plugins["io.containerd.grpc.v1.cri"];
    expect(cri).toMatchObject({
      sandbox_image: "registry.k8s.io/pause:9.9",
      disable_apparmor: true,
      registry: { config_path: "/var/lib/somewhere/registries" },
      cni: { bin_dir: "/opt/cni/bin", conf_dir: "/opt/cni/net.d" },
      containerd: {
        snapshotter: "overlayfs",
        default_runtime_name: "runc",
        runtimes: { runc: { runtime_type: "io.containerd.runc.v2", options: { SystemdCgroup: false } } },
      },
    });
    expect(kubelet.cgroupDriver).toBe("cgroupfs");
  });

  it("the kubelet starts on cgroup v1, and says nothing of it elsewhere", () => {
    expect("failCgroupV1" in kubelet).toBe(machine.cgroups === "v1");
    if (machine.cgroups === "v1") expect(kubelet.failCgroupV1).toBe(false);
  });

  it("the kubelet protects itself from the OOM killer only where it may", () => {
    expect(kubelet.oomScoreAdj).toBe(machine.canLowerOomScore ? -999 : 0);
  });
});

describe.each(nodes)("the node $name", (node) => {
  const machine: Machine = { cgroups: "v1", canLowerOomScore: false };

  it("lets nobody unknown talk to its kubelet", () => {
    expect(kubeletConfig(node, machine)).toMatchObject({
      authentication: {
        anonymous: { enabled: false },
        webhook: { enabled: true },
        x509: { clientCAFile: "/var/lib/somewhere/pki/ca.crt" },
      },
      authorization: { mode: "Webhook" },
    });
  });

  it("has a kubelet with its own address, certificate and cgroup", () => {
    expect(kubeletConfig(node, machine)).toMatchObject({
      kind: "KubeletConfiguration",
      address: node.address,
      tlsCertFile: `/var/lib/somewhere/pki/kubelet-${node.name}-server.crt`,
      tlsPrivateKeyFile: `/var/lib/somewhere/pki/kubelet-${node.name}-server.key`,
      cgroupRoot: `/logging-platform/${node.name}`,
      clusterDNS: [dnsAddress],
      resolvConf: "/var/lib/somewhere/resolv.conf",
      enforceNodeAllocatable: [],
    });
  });

  it("keeps images and pods when the machine's disk fills up", () => {
    expect(kubeletConfig(node, machine)).toMatchObject({
      imageGCHighThresholdPercent: 100,
      evictionHard: { "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%" },
    });
  });

  it("has a kube-proxy that leaves the machine's connection table alone", () => {
    expect(kubeProxyConfig(node)).toMatchObject({
      kind: "KubeProxyConfiguration",
      mode: "iptables",
      clusterCIDR: podCIDR,
      hostnameOverride: node.name,
      healthzBindAddress: `${node.address}:10256`,
      metricsBindAddress: "127.0.0.1:10249",
      conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: "0s", tcpCloseWaitTimeout: "0s" },
    });
  });

  it("gives pods addresses of its own range, a default route and host ports", () => {
    const { name, plugins } = cniConfig(node) as { name: string; plugins: Record<string, unknown>[] };
    expect(name).toBe("logging-platform");
    expect(plugins.map(({ type }) => type)).toEqual(["ptp", "portmap"]);
    expect(plugins[0]).toMatchObject({
      ipMasq: false,
      ipam: { type: "host-local", ranges: [[{ subnet: node.podCIDR }]], routes: [{ dst: "0.0.0.0/0" }] },
    });
    expect(plugins[1]).toMatchObject({ capabilities: { portMappings: true } });
  });

  it("runs its programs inside its own namespaces and restarts them when their configuration changes", () => {
    const programs = nodePrograms(node);
    expect(programs.map(({ name }) => name)).toEqual(
      ["containerd", "kubelet", "kube-proxy", "kube-router"].map((name) => `${node.name}-${name}`),
    );
    expect(enter(node)).toEqual([
      "nsenter",
      `--net=/run/netns/lp-${node.name}`,
      `--mount=/var/lib/somewhere/namespaces/${node.name}`,
    ]);
    for (const { command, inputs } of programs) {
      expect(command.slice(0, 3)).toEqual(enter(node));
      const config = command.find((word) => word.startsWith("--kubeconfig="))?.split("=")[1];
      expect(inputs).toContain(config ?? command[command.indexOf("--config") + 1]);
    }
    // The kubelet and the programs next to it get a renewed certificate by a restart.
    const inputs = programs.flatMap((program) => program.inputs);
    for (const file of [
      `kubeconfig/kubelet-${node.name}.yaml`,
      "kubeconfig/kube-proxy.yaml",
      "kubeconfig/kube-router.yaml",
    ])
      expect(inputs).toContain(`/var/lib/somewhere/${file}`);
    expect(inputs).toContain((kubeletConfig(node, machine) as { tlsCertFile: string }).tlsCertFile);
  });
});

it("keeps what the mesh has chained behind the pod network, and brings its own part up to date", () => {
  const directory = mkdtempSync(join(tmpdir(), "cni-"));
  const path = join(directory, "10-pods.conflist");
  const read = () => JSON.parse(readFileSync(path, "utf8"));
  try {
    writeCniConfig(path, cniConfig(first));
    expect(read()).toEqual(cniConfig(first));
    const mesh = { type: "istio-cni", log_level: "info" };
    const chained = { ...cniConfig(first), plugins: [...cniConfig(first).plugins, mesh] };
    const text = JSON.stringify(chained);
    writeFileSync(path, text);
    writeCniConfig(path, cniConfig(first));
    expect(readFileSync(path, "utf8"), "not a byte of it is written again").toBe(text);
    writeCniConfig(path, cniConfig(second));
    expect(read()).toEqual({ ...cniConfig(second), plugins: [...cniConfig(second).plugins, mesh] });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

it("shares nothing between nodes that each needs for itself", () => {
  const machine: Machine = { cgroups: "v2", canLowerOomScore: true };
  const [ours, theirs] = [kubeletConfig(first, machine), kubeletConfig(second, machine)] as Record<
    string,
    string
  >[];
  for (const key of ["address", "cgroupRoot", "tlsCertFile", "tlsPrivateKeyFile"])
    expect(ours?.[key]).not.toBe(theirs?.[key]);
  expect(cniConfig(first)).not.toEqual(cniConfig(second));
  expect(nodePrograms(first).flatMap(({ name }) => name)).not.toEqual(
    nodePrograms(second).flatMap(({ name }) => name),
  );
  expect(new Set([first, second].flatMap(enter)).size).toBe(5);
});

it.each(mirroredRegistries)("asks the mirror and nobody else for %s", (name) => {
  const mirror = `http://${registryAddress}/v2/${name}`;
  const asked = { capabilities: ["pull", "resolve"], override_path: true };
  expect(toml(registryHosts(name))).toEqual({ server: mirror, ...asked, host: { [mirror]: asked } });
  expect(registryAddress.startsWith(`${bridge.address}:`)).toBe(true);
});

describe("the script that makes a node's file system", () => {
  afterEach(() => {
    vi.stubEnv("STATE_DIR", "/var/lib/somewhere");
    vi.resetModules();
  });

  const script = async (stateDirectory: string): Promise<string> => {
    vi.stubEnv("STATE_DIR", stateDirectory);
    vi.resetModules();
    return (await import("../src/node.ts")).mountScript(first);
  };
  const mounts = (text: string): string[] => text.split("\n").filter((line) => line.startsWith("mount "));

  it("is a shell's, and stops at the first failure", async () => {
    const text = await script("/var/lib/somewhere");
    expect(text.split("\n")[0]).toBe("set -eu");
    expect(() => execFileSync("sh", ["-n"], { input: text })).not.toThrow();
  });

  it("gives the node its own directories and keeps the state directory in sight below them", async () => {
    const own = "/var/lib/somewhere/nodes/node1";
    expect(mounts(await script("/var/lib/somewhere"))).toEqual([
      `mount --bind /var/lib/somewhere ${own}/var/lib/somewhere`,
      ...["var", "opt", "srv", "mnt", "tmp"].map((name) => `mount --rbind ${own}/${name} /${name}`),
      "mount -t tmpfs -o mode=755 tmpfs /run",
      "mount --bind /var/lib/kubelet /var/lib/kubelet",
      "mount --make-rshared /var/lib/kubelet",
    ]);
  });

  it("makes every directory that it mounts on or from", async () => {
    const text = await script("/var/lib/somewhere");
    const madeBy = text.split("\n").filter((line) => line.startsWith("mkdir -p "));
    const made = new Set(madeBy.flatMap((line) => line.split(" ").slice(2)));
    const own = "/var/lib/somewhere/nodes/node1";
    for (const name of ["var", "opt", "srv", "mnt", "tmp"]) expect(made).toContain(`${own}/${name}`);
    for (const name of ["lib/kubelet", "log/pods", "log/containers", "lib/somewhere"])
      expect(made).toContain(`${own}/var/${name}`);
  });

  it("needs no such care where the state directory is in no directory of the node's own", async () => {
    const text = await script("/data/platform");
    expect(text).not.toContain("mount --bind /data");
    expect(text).toContain("mount --rbind /data/platform/nodes/node1/var /var");
  });
});
