import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "controlplane-"));
vi.stubEnv("STATE_DIR", join(directory, "state"));
vi.stubEnv("CACHE_DIR", join(directory, "cache"));
const { bridge, podCIDR, serviceCIDR, stateDirectory } = await import("../src/layout.ts");
const { controlPlanePrograms, prepareControlPlane } = await import("../src/controlplane.ts");

afterAll(() => rmSync(directory, { recursive: true }));

const programs = controlPlanePrograms();
const names = programs.map(({ name }) => name);
/** The flags of a program, by name. */
function flagsOf(name: string): Record<string, string> {
  const [, ...args] = programs.find((program) => program.name === name)?.command ?? [];
  return Object.fromEntries(args.map((arg) => /^--([\w-]+)=(.*)$/.exec(arg)?.slice(1) ?? [arg, ""]));
}

it("has its four components, each a program of the state directory given --name=value flags", () => {
  expect(names).toEqual(["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]);
  for (const { name, command, inputs } of programs) {
    expect(command[0]).toBe(join(stateDirectory, "bin", name));
    expect(inputs).toContain(command[0]);
    for (const flag of command.slice(1)) expect(flag).toMatch(/^--[a-z][\w-]*=./);
  }
});

describe("what is listened on", () => {
  const inside = ["127.0.0.1", bridge.address];

  it.each(names)("is loopback or the bridge for %s", (name) => {
    const told = Object.entries(flagsOf(name)).filter(([flag]) => flag === "advertise-address");
    const listening = Object.entries(flagsOf(name)).filter(([flag]) =>
      /^bind-address$|^listen-.*-urls$/.test(flag),
    );
    // A program without this flag listens on all addresses.
    expect(listening).not.toEqual([]);
    for (const [flag, value] of [...listening, ...told]) {
      const hosts = value.split(",").map((v) => (v.includes("://") ? new URL(v).hostname : v));
      for (const host of hosts)
        expect([flag, inside.includes(host) ? host : "elsewhere"]).toEqual([flag, host]);
    }
    expect(JSON.stringify(flagsOf(name))).not.toMatch(/0\.0\.0\.0(?!\/)|\[::\]/);
  });

  it("is loopback for both of etcd's ports, and for what it tells others", () => {
    const flags = flagsOf("etcd");
    for (const flag of ["listen-client-urls", "listen-peer-urls"] as const)
      expect(new URL(flags[flag] ?? "").hostname).toBe("127.0.0.1");
    expect(flags["advertise-client-urls"]).toBe(flags["listen-client-urls"]);
    expect(flags["initial-advertise-peer-urls"]).toBe(flags["listen-peer-urls"]);
  });
});

describe("etcd", () => {
  it("waits for the disk: no flag takes fsync away", () => {
    expect(Object.keys(flagsOf("etcd")).filter((flag) => /fsync|unsafe/.test(flag))).toEqual([]);
    expect(flagsOf("etcd")["data-dir"]).toBe(join(stateDirectory, "etcd"));
  });

  it("answers only clients with a certificate of its own authority", () => {
    const flags = flagsOf("etcd");
    expect(flags["listen-client-urls"]).toMatch(/^https:/);
    expect(flags["listen-peer-urls"]).toMatch(/^https:/);
    for (const flag of ["client-cert-auth", "peer-client-cert-auth"]) expect(flags[flag]).toBe("true");
    expect(flags["peer-trusted-ca-file"]).toBe(flags["trusted-ca-file"]);
    expect(flags["trusted-ca-file"]).toBe(join(stateDirectory, "pki", "etcd-ca.crt"));
    expect(flags["trusted-ca-file"]).not.toBe(flagsOf("kube-apiserver")["client-ca-file"]);
  });
});

describe("the API server", () => {
  const flags = flagsOf("kube-apiserver");

  it("authorizes nodes and roles, and nothing else", () => {
    expect(flags["authorization-mode"]).toBe("Node,RBAC");
    expect(flags["enable-admission-plugins"]?.split(",")).toContain("NodeRestriction");
    expect(Object.keys(flags)).not.toContain("token-auth-file");
  });

  it("checks the kubelets it calls, at their addresses", () => {
    expect(flags["kubelet-certificate-authority"]).toBe(join(stateDirectory, "pki", "ca.crt"));
    expect(flags["kubelet-preferred-address-types"]).toBe("InternalIP");
  });

  it("verifies service accounts with the key whose other half the controller manager signs with", () => {
    const signing = flagsOf("kube-controller-manager")["service-account-private-key-file"];
    expect(flags["service-account-signing-key-file"]).toBe(signing);
    expect(flags["service-account-key-file"]).toBe(signing?.replace(/\.key$/, ".pub"));
  });

  it("has time to drain before it is killed", () => {
    const stop = programs.find(({ name }) => name === "kube-apiserver")?.stopSeconds ?? 0;
    expect(stop).toBeGreaterThan(60);
  });
});

describe("what the API server keeps", () => {
  const flags = flagsOf("kube-apiserver");

  it("has Secrets encrypted with a key that root alone reads, and reads those of an earlier version", async () => {
    await prepareControlPlane();
    const file = flags["encryption-provider-config"] ?? "";
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { resources } = JSON.parse(readFileSync(file, "utf8")) as {
      resources: { resources: string[]; providers: Record<string, { keys?: { secret: string }[] }>[] }[];
    };
    const [first, second] = resources[0]?.providers ?? [];
    expect(resources[0]?.resources).toEqual(["secrets"]);
    expect(Buffer.from(first?.secretbox?.keys?.[0]?.secret ?? "", "base64")).toHaveLength(32);
    expect(second).toEqual({ identity: {} });
    const before = readFileSync(file, "utf8");
    await prepareControlPlane();
    expect(readFileSync(file, "utf8")).toBe(before);
  }, 120_000);

  it("is said in an audit log that root alone reads, takes at most 80 MiB, and holds nobody's content", async () => {
    await prepareControlPlane();
    expect(statSync(flags["audit-log-path"] ?? "").mode & 0o777).toBe(0o600);
    const files = 1 + Number(flags["audit-log-maxbackup"]);
    expect(files * Number(flags["audit-log-maxsize"])).toBe(80);
    const { rules } = JSON.parse(readFileSync(flags["audit-policy-file"] ?? "", "utf8")) as {
      rules: {
        level: string;
        resources?: { group: string; resources: string[] }[];
        verbs?: string[];
        userGroups?: string[];
      }[];
    };
    expect(new Set(rules.map(({ level }) => level))).toEqual(new Set(["None", "Metadata"]));
    // Reading a Secret is logged, because its rule comes before the one that excludes reading.
    const secrets = rules.findIndex(
      ({ level, resources }) =>
        level === "Metadata" && resources?.some(({ resources }) => resources.includes("secrets")),
    );
    const reading = rules.findIndex(({ verbs, userGroups }) => verbs?.includes("get") && !userGroups);
    expect([secrets >= 0, secrets < reading]).toEqual([true, true]);
    expect(rules.at(-1)).toEqual({ level: "Metadata" });
  }, 120_000);

  it("is no pod that has its node, in a namespace that says nothing", () => {
    const file = flags["admission-control-config-file"] ?? "";
    expect(JSON.parse(readFileSync(file, "utf8"))).toMatchObject({
      plugins: [{ name: "PodSecurity", configuration: { defaults: { enforce: "baseline" } } }],
    });
  });
});

it("gives Services and pods networks that do not meet", () => {
  expect(flagsOf("kube-apiserver")["service-cluster-ip-range"]).toBe(serviceCIDR);
  expect(flagsOf("kube-controller-manager")["cluster-cidr"]).toBe(podCIDR);
  const networks = [serviceCIDR, podCIDR, bridge.cidr].map((cidr) => cidr.split(".").slice(0, 2).join("."));
  expect(new Set(networks).size).toBe(3);
});

it("gives every controller an identity of its own", () => {
  expect(flagsOf("kube-controller-manager")["use-service-account-credentials"]).toBe("true");
});

describe("the files that the programs read", () => {
  beforeAll(prepareControlPlane, 120_000);
  const files = (name: string): string[] =>
    Object.values(flagsOf(name)).filter((value) => value.startsWith(`${stateDirectory}/`));

  it.each(names)("are all made for %s", (name) => {
    expect(files(name).filter((file) => !existsSync(file))).toEqual([]);
    expect(files(name)).not.toEqual([]);
  });

  it.each(names)("restart %s when they are renewed", (name) => {
    const { inputs = [] } = programs.find((program) => program.name === name) ?? {};
    const renewable = files(name).filter(
      (file) => /\/kubeconfig\//.test(file) || (/\.crt$/.test(file) && !/\/(etcd-)?ca\.crt$/.test(file)),
    );
    expect(renewable).not.toEqual([]);
    expect(inputs).toEqual(expect.arrayContaining(renewable));
  });
});
