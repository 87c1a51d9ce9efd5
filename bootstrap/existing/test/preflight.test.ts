import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { checkout } from "../../../lib/repository.ts";
import { slow, sweep } from "../../../lib/test/long.ts";
import { parseCredentials } from "../src/credentials.ts";
import { gatewayURL, hasLoadBalancer, istioPlatform, type Node, type Service } from "../src/gateway.ts";
import { archiveName } from "../src/istioctl.ts";
import { probeAddress } from "../src/probe.ts";
import { pinned } from "../src/target.ts";
import { type Answer, healthy, stubsForEach } from "./stubs.ts";

vi.mock("../../../lib/render/start.ts", async (original) =>
  (await import("./once.ts")).renderedOnce(await original<typeof import("../../../lib/render/start.ts")>()),
);

// These tests check the pre-flight's report: each thing that can be wrong is wrong once.
const context = ["--context", "mine"];
const repository = "https://git.example/fork.git";
const registry = ["--registry", "registry.example/me"];
const command = ["Pre-flight", ...context, "--repo", repository, ...registry];
const k = "kubectl --context mine";

const stubs = stubsForEach("1.0.0");

describe("a cluster where everything is there", () => {
  it("passes in silence, and is changed by nothing but a pod that goes again", async () => {
    expect(await stubs.run(command)).toEqual({ exitCode: 0, stdout: "", stderr: "" });
    const changing = stubs.calls().filter((call) => / (create -f|delete|apply|patch|label) /.test(call));
    expect(changing).toEqual([
      `${k} delete namespace platform-preflight --ignore-not-found --wait=true`,
      `${k} create -f -`,
      `${k} delete namespace platform-preflight --ignore-not-found --wait=false`,
    ]);
    const input = stubs.inputs()[0]?.input ?? "";
    expect(input).toMatch(/"image":"registry\.example\/me\/app:[0-9a-f]{12}"/);
    expect(input).toContain(`${repository}/info/refs?service=git-upload-pack`);
  });

  it("is told of line by line by doctor", async () => {
    stubs.answer("kubectl", healthy([{ when: "*get application root*", stderr: "(NotFound)", code: 1 }]));
    const { exitCode, stdout } = await stubs.run(["doctor", ...command.slice(1)]);
    expect(exitCode).toBe(0);
    expect(stdout.split("\n").map((line) => line.split(":")[0])).toEqual([
      "ok    API server",
      "ok    kubectl",
      "ok    istioctl",
      "ok    helm",
      "ok    permissions",
      "ok    nodes",
      "ok    default storage class",
      "ok    gateway",
      "ok    Istio",
      "ok    Argo CD",
      "ok    repository and registry from inside the cluster",
    ]);
  });

  it("runs the probe with the image of the registry that is meant", async () => {
    await stubs.run([...command, "--registry", "localhost:5001/mine"]);
    expect(stubs.inputs()[0]?.input).toMatch(/"image":"localhost:5001\/mine\/app:[0-9a-f]{12}"/);
  });

  it("is given no image of a name that is nobody's, not even for the probe", slow, async () => {
    const { exitCode, stderr } = await stubs.run(command.slice(0, -2));
    expect(exitCode).toBe(1);
    expect(stderr).toContain(
      "would come from docker.io/logging-platform, where the owner of that name decides what runs",
    );
    expect(stderr).toContain(
      "next: push them to your own registry and name it: ./deploy.sh --context mine --registry HOST/PATH",
    );
    expect(stubs.inputs()).toEqual([]);
    await stubs.run([...command.slice(0, -1), "docker.io/logging-platform"]);
    expect(stubs.inputs()[0]?.input).toMatch(/"image":"docker\.io\/logging-platform\/app:[0-9a-f]{12}"/);
  });
});

const waiting = (reason: string, message: string): object => ({
  metadata: { name: "preflight", namespace: "platform-preflight" },
  status: {
    phase: "Pending",
    containerStatuses: [{ name: "preflight", ready: false, state: { waiting: { reason, message } } }],
  },
});
const versions = (client: string, server: string): object => ({
  clientVersion: { gitVersion: client },
  serverVersion: { gitVersion: server },
});

describe("a cluster that lacks something", () => {
  const cases: [string, Answer[], string[], string][] = [
    [
      "an answer",
      [{ when: "*version*", stderr: "connection refused", code: 1 }],
      [],
      `wrong API server: connection refused\n      next: ${k} cluster-info`,
    ],
    [
      "a version that is supported",
      [{ when: "*version*", stdout: versions("v1.31.0", "v1.31.9") }],
      [],
      `wrong API server: Kubernetes v1.31.9; Istio ${pinned("istio")} supports 1.32 to 1.37\n      next: upgrade the cluster to 1.32`,
    ],
    [
      "a kubectl of its age",
      [{ when: "*version*", stdout: versions("v1.30.0", "v1.36.1") }],
      [],
      "wrong kubectl: v1.30.0, the server has v1.36.1\n      next: use kubectl 1.36 from https://kubernetes.io/docs/tasks/tools",
    ],
    [
      "rights",
      [{ when: "*auth can-i create secrets*", stdout: "no\n", code: 1 }],
      [],
      "wrong permissions: this user may not: create secrets\n      next: use a context whose user",
    ],
    [
      "nodes",
      [{ when: "*get nodes*", stdout: { items: [] } }],
      [],
      `wrong nodes: 0, of which 0 can run ordinary pods\n      next: ${k} get nodes`,
    ],
    [
      "nodes for --ha",
      [],
      ["--ha"],
      "of which 2 can run ordinary pods; Argo CD's Redis needs three\n      next: add nodes",
    ],
    [
      "a storage class",
      [{ when: "*get storageclasses*", stdout: { items: [] } }],
      [],
      "wrong default storage class: there is no storage class\n      next: add a provisioner",
    ],
    [
      "a default among its storage classes",
      [
        {
          when: "*get storageclasses*",
          stdout: { items: [{ metadata: { name: "slow" }, provisioner: "x" }] },
        },
      ],
      [],
      `wrong default storage class: no default among slow\n      next: ${k} patch storageclass slow -p`,
    ],
    [
      "the Istio that is to be kept",
      [],
      ["--keep-istio"],
      "wrong Istio: istio-system has no Deployment istiod\n      next: omit --keep-istio",
    ],
    [
      "a gateway that is to be kept",
      [
        { when: "*get deployment istiod*", stdout: { metadata: {} } },
        { when: "*get services*istio=ingressgateway*", stdout: { items: [] } },
      ],
      ["--keep-istio"],
      "wrong gateway: no Service has the label istio=ingressgateway",
    ],
    [
      "room for Istio",
      [
        { when: "*get deployment istiod*", stdout: { metadata: {} } },
        { when: "*get namespace istio-system*", stdout: { metadata: { labels: {} } } },
      ],
      [],
      "wrong Istio: present, but not installed by deploy.sh: it would be changed\n      next: ./deploy.sh --keep-istio --context mine (or",
    ],
    [
      "room for Argo CD",
      [
        { when: "*get deployment argocd-server*", stdout: { metadata: {} } },
        { when: "*get namespace argocd*", stdout: { metadata: { labels: {} } } },
      ],
      [],
      "wrong Argo CD: present, but not installed by deploy.sh: its settings would be replaced",
    ],
    [
      "the registry",
      [{ when: "*get pod preflight*", stdout: waiting("ErrImagePull", "not found") }],
      [],
      "cannot be pulled: ErrImagePull not found\n      next: npm run release -- app --push (or ./deploy.sh --registry HOST/PATH --context mine)",
    ],
    [
      "a way to the repository",
      [
        { when: "*get pod preflight*", stdout: { metadata: {}, status: { phase: "Failed" } } },
        { when: "*logs*", stdout: "getaddrinfo ENOTFOUND git.example\n" },
      ],
      [],
      `${repository} cannot be reached: getaddrinfo ENOTFOUND git.example\n      next: ./deploy.sh --repo URL --context mine`,
    ],
    [
      "credentials",
      [{ when: "*logs*", stdout: "asks for credentials\n" }],
      [],
      `${repository} asks for credentials, but there are none\n      next: ./deploy.sh --repo-credentials FILE --context mine`,
    ],
  ];

  sweep(cases, 4)("%s is told so, once, with what to do", async (_, answers, options, message) => {
    stubs.answer("kubectl", healthy(answers));
    const { exitCode, stdout, stderr } = await stubs.run([...command, ...options]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toContain(message);
    expect(stderr.match(/^wrong/gm)).toHaveLength(1);
  });

  it(
    "credentials is content with those of the environment, and with those that Argo CD has",
    slow,
    async () => {
      const asks = { when: "*logs*", stdout: "asks for credentials\n" };
      stubs.answer("kubectl", healthy([asks]));
      expect(await stubs.run(command, { GIT_PASSWORD: "x" })).toMatchObject({ exitCode: 0 });
      const url = Buffer.from(repository).toString("base64");
      stubs.answer(
        "kubectl",
        healthy([asks, { when: "*get secrets*", stdout: { items: [{ data: { url } }] } }]),
      );
      expect(await stubs.run(command)).toMatchObject({ exitCode: 0 });
    },
  );
});

describe("how the gateway is reached", () => {
  const node = (providerID: string, kubeletVersion = "v1.36.0"): Node => ({
    metadata: { name: "one" },
    spec: { providerID },
    status: { nodeInfo: { kubeletVersion }, addresses: [{ type: "InternalIP", address: "10.0.0.1" }] },
  });
  const service = (type: string, ingress: { ip?: string; hostname?: string }[] = []): Service => ({
    metadata: { name: "gateway", namespace: "istio-system" },
    spec: { type, ports: [{ port: 80, nodePort: 30080 }] },
    status: { loadBalancer: { ingress } },
  });

  it.each([
    ["a cloud", [node("aws:///eu/i-1")], [], [], true],
    ["k3s", [node("k3s://one")], [], [], true],
    ["kind", [node("kind://docker/x/one")], [], [], false],
    ["bare metal", [node("")], [], [], false],
    ["bare metal with MetalLB", [node("")], [], ["ipaddresspools.metallb.io"], true],
    ["a Service that has an address", [node("")], [service("LoadBalancer", [{ ip: "1.2.3.4" }])], [], true],
    ["a Service that waits for one", [node("")], [service("LoadBalancer")], [], false],
  ])("%s", (_, nodes, services, definitions, expected) => {
    expect(hasLoadBalancer(nodes, services, definitions)).toBe(expected);
  });

  it.each([
    [service("LoadBalancer", [{ ip: "1.2.3.4" }]), "", "http://1.2.3.4/"],
    [service("LoadBalancer", [{ hostname: "lb.example" }]), "", "http://lb.example/"],
    [service("LoadBalancer"), "", undefined],
    [service("NodePort"), "", "http://10.0.0.1:30080/"],
    [service("NodePort"), "kind://docker/x/one", "http://127.0.0.1/"],
  ])("%j on a node %s is %s", (gateway, provider, expected) => {
    expect(gatewayURL(gateway, [node(provider)])).toBe(expected);
  });

  it.each([
    ["v1.36.1+k3s1", "k3s"],
    ["v1.36.1-gke.100", "gke"],
    ["v1.36.1", undefined],
  ])("a kubelet %s is the platform %s", (version, expected) => {
    expect(istioPlatform([node("", version)])).toBe(expected);
  });
});

it("the port that kind maps is the one that the gateway has on every node", () => {
  const read = (file: string): string => readFileSync(join(checkout, file), "utf8");
  const [, mapped] = /containerPort: (\d+)/.exec(read("bootstrap/existing/kind.yaml")) ?? [];
  const [, port] =
    /name: http2\n.*\n.*\n\s+nodePort: (\d+)/.exec(read("bootstrap/istio/node-port.yaml")) ?? [];
  expect(mapped).toBe(port);
  expect(port).toMatch(/^3\d{4}$/);
});

it.each([
  ["linux", "x64", "istioctl-1.2.3-linux-amd64.tar.gz"],
  ["linux", "arm64", "istioctl-1.2.3-linux-arm64.tar.gz"],
  ["darwin", "arm64", "istioctl-1.2.3-osx-arm64.tar.gz"],
])("istioctl for %s on %s is %s", (platform, architecture, expected) => {
  expect(archiveName("1.2.3", platform, architecture)).toBe(expected);
});

it.each([
  ["https://git.example/a.git", "https://git.example/a.git/info/refs?service=git-upload-pack"],
  ["git@git.example:me/a.git", "tcp://git.example:22"],
  ["ssh://git@git.example:2222/me/a.git", "tcp://git.example:2222"],
])("the repository %s is asked at %s", (repository, expected) => {
  expect(probeAddress(repository)).toBe(expected);
});

it("credentials without a password are none", () => {
  expect(() => parseCredentials("username=me\n", "FILE")).toThrow(/FILE is neither/);
});
