import { describe, expect, it, vi } from "vitest";
import { slow, sweep } from "../../../lib/test/long.ts";
import { pinned } from "../src/target.ts";
import { type Answer, healthy, stubsForEach } from "./stubs.ts";

vi.mock("../../../lib/render/start.ts", async (original) =>
  (await import("./once.ts")).renderedOnce(await original<typeof import("../../../lib/render/start.ts")>()),
);

// These tests use an existing Istio, which --keep-istio leaves unchanged. Everything that makes it unsuitable is named.
const version = pinned("istio");
const newest = Number(version.split(".")[1]);
const range = `1.${newest - 2} to 1.${newest}`;
const repository = "https://git.example/fork.git";
const options = [
  "--context",
  "mine",
  "--repo",
  repository,
  "--registry",
  "registry.example/me",
  "--keep-istio",
];

const stubs = stubsForEach("1.0.0");

const istiod = (image: string, labels = {}, env: object[] = []): Answer => ({
  when: "*get deployment istiod*",
  stdout: {
    metadata: { labels },
    spec: { template: { spec: { containers: [{ name: "discovery", image, env }] } } },
  },
});
const daemons = (...items: object[]): Answer => ({ when: "*get daemonsets*", stdout: { items } });
const cni = (numberReady = 3): object => ({
  metadata: { name: "istio-cni-node", namespace: "kube-system" },
  status: { desiredNumberScheduled: 3, numberReady },
});
const webhooks = (...keys: string[]): Answer => ({
  when: "*get mutatingwebhookconfigurations*",
  stdout: {
    items: [
      {
        metadata: { name: "istio-sidecar-injector" },
        webhooks: keys.map((key) => ({
          namespaceSelector: { matchExpressions: [{ key, operator: "In", values: ["enabled"] }] },
        })),
      },
    ],
  },
});
const pods = (...accounts: [namespace: string, account: string][]): Answer => ({
  when: "*get pods*istio=ingressgateway*",
  stdout: {
    items: accounts.map(([namespace, serviceAccountName]) => ({
      metadata: { namespace },
      spec: { serviceAccountName },
    })),
  },
});
const services = (...namespaces: string[]): Answer => ({
  when: "*get services*",
  stdout: {
    items: namespaces.map((namespace) => ({
      metadata: { name: "gateway", namespace },
      spec: { type: "NodePort", ports: [{ port: 80, nodePort: 30080 }] },
    })),
  },
});
const account: [string, string] = ["istio-system", "istio-ingressgateway-service-account"];
const good = [
  istiod(`docker.io/istio/pilot:${version}-distroless`),
  daemons(cni()),
  webhooks("istio.io/rev", "istio-injection"),
  pods(account),
];
/** A suitable mesh, except for the given answers. */
const mesh = (...changes: Answer[]): Answer[] => [
  ...changes,
  ...good.filter(({ when }) => !changes.some((change) => change.when === when)),
];
const missing = { stderr: "Error from server (NotFound): not found", code: 1 };

const lacking: [string, Answer[], string][] = [
  [
    "is too old",
    [istiod("docker.io/istio/pilot:1.22.8")],
    `wrong version of Istio: 1.22.8; ${range} are supported`,
  ],
  [
    "is too old and pinned by digest",
    [
      istiod(`registry.example/pilot@sha256:${"0".repeat(64)}`, {
        "app.kubernetes.io/version": `1.${newest - 3}.0`,
      }),
    ],
    `wrong version of Istio: 1.${newest - 3}.0;`,
  ],
  [
    "is too old, from a registry with a port",
    [istiod("registry.example:5000/istio/pilot:1.27-alpha.0")],
    "wrong version of Istio: 1.27-alpha.0;",
  ],
  ["has no CNI plugin", [daemons()], "wrong Istio's CNI plugin: not installed"],
  [
    "has no DaemonSets",
    [{ when: "*get daemonsets*", ...missing }],
    "wrong Istio's CNI plugin: not installed",
  ],
  [
    "has a CNI plugin that some nodes lack",
    [daemons(cni(2))],
    "wrong Istio's CNI plugin: kube-system/istio-cni-node is ready on 2 of 3 nodes\n      next: kubectl --context mine -n kube-system describe daemonset istio-cni-node",
  ],
  [
    "has its gateway elsewhere",
    [services("istio-ingress")],
    "wrong gateway: Service istio-ingress/gateway: http://127.0.0.1/, but the platform lets only a gateway in istio-system",
  ],
  [
    "runs its gateway under another account",
    [pods(["istio-system", "istio-ingressgateway"])],
    "wrong identity of the gateway: ns/istio-system/sa/istio-ingressgateway, which no AuthorizationPolicy",
  ],
  [
    "has revisions only",
    [webhooks("istio.io/rev")],
    "wrong injection of sidecars: no webhook handles namespaces with istio-injection=enabled",
  ],
  ["has no injector", [webhooks()], "wrong injection of sidecars: no webhook"],
  [
    "injects no native sidecars",
    [istiod(`istio/pilot:${version}`, {}, [{ name: "ENABLE_NATIVE_SIDECARS", value: "False" }])],
    "wrong settings of istiod: ENABLE_NATIVE_SIDECARS is false: pods of Jobs would never end\n      next: kubectl --context mine -n istio-system set env deployment/istiod ENABLE_NATIVE_SIDECARS-",
  ],
  [
    "keeps Gateways to their namespace",
    [istiod(`istio/pilot:${version}`, {}, [{ name: "PILOT_SCOPE_GATEWAY_TO_NAMESPACE", value: "true" }])],
    "wrong settings of istiod: PILOT_SCOPE_GATEWAY_TO_NAMESPACE is true",
  ],
];

describe.each(["Pre-flight", "doctor"])("%s, of a mesh that is kept", (command) => {
  const look = async (...answers: Answer[]) => {
    const root = { when: "*get application root*", stderr: "(NotFound)", code: 1 };
    stubs.answer("kubectl", healthy([...mesh(...answers), ...(command === "doctor" ? [root] : [])]));
    const { exitCode, stdout, stderr } = await stubs.run([command, ...options]);
    return { exitCode, said: stdout + stderr };
  };

  it("and can do the job, finds nothing", async () => {
    const { exitCode, said } = await look();
    expect([exitCode, said.match(/^wrong/gm)]).toEqual([0, null]);
  });

  sweep(lacking, 2)("and %s, names it, once, with what to do", async (_, answers, message) => {
    const { exitCode, said } = await look(...answers);
    expect(exitCode).toBe(1);
    expect(said).toContain(message);
    expect(said.match(/^wrong/gm)).toHaveLength(1);
    expect(said).toMatch(/^ +next: .*\S$/m);
  });

  it("and lacks several things, names them all", slow, async () => {
    const { said } = await look(istiod("docker.io/istio/pilot:1.22.8"), daemons(), services("istio-ingress"));
    expect(said.match(/^wrong [^:]*/gm)).toEqual([
      "wrong gateway",
      "wrong version of Istio",
      "wrong Istio's CNI plugin",
    ]);
  });
});

it.each([
  [
    "of this machine's build",
    istiod("docker.io/istio/pilot:1.31-alpha.eed52ebb66ad"),
    "1.31-alpha.eed52ebb66ad",
  ],
  [
    "that is newer than tried",
    istiod(`istio/pilot:1.${newest + 2}.0`),
    `1.${newest + 2}.0, which is newer than tested: ${range}`,
  ],
  ["that nothing says", istiod("istio/pilot"), "its Deployment does not state it"],
])("a version %s is told of", async (_, answer, finding) => {
  stubs.answer("kubectl", healthy([...mesh(answer), { when: "*get application root*", ...missing }]));
  const { exitCode, stdout } = await stubs.run(["doctor", ...options]);
  expect(exitCode).toBe(0);
  expect(stdout).toContain(`ok    version of Istio: ${finding}`);
});

it("of several gateways the platform goes through the one beside Istio", async () => {
  stubs.answer("kubectl", healthy(mesh(services("istio-ingress", "istio-system"))));
  expect(await stubs.run(["Platform answers", ...options])).toMatchObject({ exitCode: 0 });
  expect(stubs.calls().filter((call) => call.includes("--raw"))).toEqual([
    "kubectl --context mine get --raw /api/v1/namespaces/istio-system/services/http:gateway:80/proxy/status",
  ]);
});

it("a mesh that is installed is asked nothing of all this", async () => {
  stubs.answer("kubectl", healthy());
  await stubs.run(["Pre-flight", "--context", "mine", "--repo", repository]);
  expect(stubs.calls().filter((call) => / get (daemonsets|mutatingwebhook)/.test(call))).toEqual([]);
});
