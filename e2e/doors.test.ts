/** Doors that are closed: attacks as a pod, a local user, a client and a pusher make them, each of which got in once. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { slow } from "../lib/test/long.ts";
import { linesWith, pods, post, send } from "./app.ts";
import { type Application, application, converged } from "./applications.ts";
import { signedIn } from "./argocd.ts";
import { Clone } from "./clone.ts";
import { apply, get, inPod, kubectl, list } from "./kubectl.ts";
import { platformListeners, stateDirectory } from "./machine.ts";
import { exported, repository } from "./platform.ts";
import { generateManifest, mark } from "./repo-server.ts";
import { createNamespace, deleteNamespace, shellPod, waitForPhase } from "./testpods.ts";

const namespace = "e2e-doors";
const attacker = "attacker";
const nodes = ["node1", "node2"];

beforeAll(async () => {
  await createNamespace(namespace);
  await apply(shellPod(namespace, attacker, { script: "sleep 3600" }));
  await waitForPhase(namespace, attacker, "Running");
});

afterAll(() => deleteNamespace(namespace));

/** Runs JavaScript with top-level await in the attacker's pod, which has no right to anything, and returns what it prints. */
const asPod = (script: string): Promise<string> =>
  inPod(namespace, attacker, "node", "--input-type=module", "--eval", script);

/** Runs the same in a node's network, from where no policy keeps anybody: what stands behind the policies is attacked so. */
const asNode = async (node: string, script: string): Promise<string> =>
  (
    await execa("nsenter", [
      `--net=/run/netns/lp-${node}`,
      process.execPath,
      ...["--input-type=module", "--eval", script],
    ])
  ).stdout;

/** Runs a program as the local user nobody, in the environment of a fresh login. */
const asNobody = async (...command: string[]): Promise<{ exitCode: number | undefined; all: string }> => {
  const drop = ["--reuid=65534", "--regid=65534", "--clear-groups", "--reset-env", ...command];
  const { exitCode, all } = await execa("setpriv", drop, { reject: false, all: true, timeout: 60_000 });
  return { exitCode, all };
};

describe("the image mirror", () => {
  // Uploads a blob, puts an image of it under a tag, and deletes that: each answer's status. An open mirror takes all of it.
  const push = (address: string): string => `
    const at = "http://${address}/v2/docker.io/e2e/doors";
    const ask = (url, init) =>
      fetch(url, { ...init, signal: AbortSignal.timeout(5000) }).catch(() => ({ status: 0, headers: new Headers() }));
    const { createHash } = await import("node:crypto");
    const digestOf = (text) => "sha256:" + createHash("sha256").update(text).digest("hex");
    const begun = await ask(at + "/blobs/uploads/", { method: "POST" });
    const place = new URL(begun.headers.get("location") ?? "", at);
    place.searchParams.set("digest", digestOf("{}"));
    const octets = { "content-type": "application/octet-stream" };
    // Where no upload is begun there is no place for it.
    const blob = begun.status === 202 ? await ask(place, { method: "PUT", headers: octets, body: "{}" }) : begun;
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest: digestOf("{}"), size: 2 };
    const body = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [] });
    const tag = await ask(at + "/manifests/latest", { method: "PUT", headers: { "content-type": mediaType }, body });
    const deletion = await ask(at + "/manifests/" + digestOf(body), { method: "DELETE" });
    const statuses = { upload: begun, blob, tag, deletion };
    for (const name in statuses) statuses[name] = statuses[name].status;
    console.log(JSON.stringify(statuses));`;

  // Where it is not reached, nothing answers: 0.
  const refused = [0, 401, 403, 405];
  let addresses: string[];

  beforeAll(async () => {
    const listeners = await platformListeners();
    addresses = listeners.flatMap((line) => /^docker-registry \S+ (\S+)$/.exec(line)?.[1] ?? []);
    expect(addresses).not.toEqual([]);
  });

  test("takes no push and no deletion from a pod", async ({ annotate }) => {
    for (const address of addresses) {
      const answers = JSON.parse(await asPod(push(address))) as Record<string, number>;
      await annotate(`${address}: ${JSON.stringify(answers)}`);
      for (const [what, status] of Object.entries(answers))
        expect(refused, `${what} at ${address}`).toContain(status);
    }
  });

  test("takes no push and no deletion from a local user", async ({ annotate }) => {
    for (const address of addresses) {
      const script = ["--input-type=module", "--eval", push(address)];
      const { all } = await asNobody(process.execPath, ...script);
      await annotate(`${address}: ${all}`);
      const answers = JSON.parse(all) as Record<string, number>;
      for (const [what, status] of Object.entries(answers))
        expect(refused, `${what} at ${address}`).toContain(status);
    }
  });

  // While the mirror runs its port is taken; whether somebody may have it at all is asked first.
  test("is not to be answered for by a local user", async () => {
    for (const address of addresses) {
      const [host, port] = address.split(":");
      const script = `require("node:net").createServer().on("error", ({ code }) => console.log(code)).listen(${port}, "${host}")`;
      expect((await asNobody(process.execPath, "--eval", script)).all).toBe("EACCES");
    }
  });
});

describe("Argo CD's repo-server", () => {
  test("is not reached by a pod", async ({ annotate }) => {
    const { status } = await get<{ status: { podIP: string } }>("pod", attacker, "--namespace", namespace);
    const answer = await asPod(await generateManifest(status.podIP));
    await annotate(answer.slice(0, 500));
    expect(answer).not.toContain(mark);
    expect(answer).toMatch(/^(refused: .*(ECONNREFUSED|ETIMEDOUT)|no answer)/);
  });

  test("runs no program for whoever reaches it: it answers nobody without a certificate", async ({
    annotate,
  }) => {
    interface Found {
      status: { podIP: string };
      spec: { nodeName: string };
    }
    const selector = "app.kubernetes.io/name=argocd-repo-server";
    const [pod] = await list<Found>("pods", "--namespace", "argocd", "--selector", selector);
    const { nodeName = "" } = pod?.spec ?? {};
    const address = `10.250.0.1${nodeName.replace("node", "")}`;
    const answer = await asNode(nodeName, await generateManifest(address, pod?.status.podIP));
    await annotate(answer.slice(0, 500));
    expect(answer).not.toContain(mark);
    // And not for a fault of the attack's own: it is turned away before it has said anything.
    expect(answer).toMatch(
      /^(refused: .*(alert|handshake|certificate|disconnected|ECONNRESET|hang up)|closed)/i,
    );
  });
});

describe("the user of Argo CD who may look", () => {
  let token: string;

  beforeAll(async () => {
    token = await signedIn("viewer", "argocd-viewer");
  });

  const ask = (method: string, path: string, body?: object): Promise<Response> =>
    fetch(`${exported("ARGOCD_URL")}/api/v1/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body && { body: JSON.stringify(body) }),
    });
  const deployed = "namespace=logging&resourceName=app&group=apps&version=v1&kind=Deployment";

  test.for<[string, string, string, object?]>([
    ["syncs", "POST", "applications/logging/sync", {}],
    ["edits an Application", "PATCH", "applications/logging", { patch: "{}", patchType: "merge" }],
    ["rolls back", "POST", "applications/logging/rollback", { id: 0 }],
    ["deletes an Application", "DELETE", "applications/logging?cascade=false"],
    ["deletes a Deployment", "DELETE", `applications/logging/resource?${deployed}`],
    [
      "restarts a Deployment",
      "POST",
      "applications/logging/resource/actions/v2",
      {
        namespace: "logging",
        resourceName: "app",
        group: "apps",
        version: "v1",
        kind: "Deployment",
        action: "restart",
      },
    ],
    ["makes a project", "POST", "projects", { project: { metadata: { name: "e2e-doors" } } }],
  ])("never %s", async ([, method, path, body]) => {
    const answer = await ask(method, path, body);
    expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining("permission denied")]);
  });

  test("sees that a Secret is there, and not what is in it", async () => {
    const named =
      "namespace=monitoring&resourceName=alertmanager-configuration&group=&version=v1&kind=Secret";
    const answer = await ask("GET", `applications/monitoring-stack/resource?${named}`);
    expect(answer.status).toBe(200);
    const { data } = JSON.parse(((await answer.json()) as { manifest: string }).manifest);
    expect(Object.values(data)).toEqual(Object.keys(data).map(() => expect.stringMatching(/^\++$/)));
    const clusters = await (await ask("GET", "clusters")).text();
    const repositories = await (await ask("GET", "repositories")).text();
    expect(repositories).toContain("platform.git");
    expect(clusters + repositories).not.toMatch(/password|bearerToken|keyData|sshPrivateKey/i);
  });
});

describe("a pod of somebody's", () => {
  interface Found {
    status: { podIP: string };
    spec: { nodeName: string };
  }
  const probe = (address: string, port: number): string => `
    const { connect } = await import("node:net");
    const socket = connect(${port}, "${address}");
    const answer = await new Promise((done) => {
      socket.on("connect", () => done("open")).on("error", (error) => done(error.code)).setTimeout(5000, () => done("silent"));
    });
    console.log(answer);
    process.exit(0);`;

  test.each([
    ["argocd", "argocd-redis", 6379],
    ["argocd", "argocd-repo-server", 8081],
    ["git", "git-server", 8080],
    ["monitoring", "prometheus", 9090],
    ["monitoring", "alertmanager", 9095],
    ["monitoring", "kube-state-metrics", 8080],
  ])("does not reach what %s has in %s", async (where, name, port) => {
    const selector = `app.kubernetes.io/name=${name}`;
    const [pod] = await list<Found>("pods", "--namespace", where, "--selector", selector);
    const { podIP = "" } = pod?.status ?? {};
    // Its own node does, so that a wrong port does not pass for a closed door.
    expect((await asNode(pod?.spec.nodeName ?? "", probe(podIP, port))).trim()).toBe("open");
    expect((await asPod(probe(podIP, port))).trim()).toMatch(/^(ECONNREFUSED|silent)$/);
  });

  const privileged = (where: string): object => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "e2e-doors", namespace: where },
    spec: {
      hostPID: true,
      containers: [
        { name: "x", image: "docker.io/library/busybox:stable", securityContext: { privileged: true } },
      ],
      volumes: [{ name: "node", hostPath: { path: "/" } }],
    },
  });

  test.each(["default", "kube-public", "kube-system", "git", "argocd", "logging", namespace])(
    "has no node, made in %s",
    async (where) => {
      const args = ["create", "--dry-run=server", "-f", "-"];
      const input = JSON.stringify(privileged(where));
      const { exitCode, stderr } = await execa("kubectl", args, { input, reject: false });
      expect([exitCode === 0, stderr]).toEqual([false, expect.stringContaining("violates PodSecurity")]);
    },
  );
});

describe("the repository", () => {
  const controller = "system:serviceaccount:argocd:argocd-application-controller";
  /** The names of the accounts that Argo CD syncs as begin so. */
  const accounts = "system:serviceaccount:argocd:sync-";

  /** What the API server says of an object: nothing where it takes it. Nothing is stored. */
  async function refusal(object: object, ...as: string[]): Promise<string> {
    const args = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", ...as, "-f", "-"];
    const { exitCode, stderr } = await execa("kubectl", args, {
      input: JSON.stringify(object),
      reject: false,
    });
    return exitCode === 0 ? "" : stderr;
  }

  const rbac = "rbac.authorization.k8s.io/v1";
  const cluster = (kind: string, rest: object): object => ({
    apiVersion: rbac,
    kind,
    metadata: { name: "e2e-doors" },
    ...rest,
  });
  const subjects = [{ kind: "ServiceAccount", name: "default", namespace: "logging" }];
  const bind = (name: string): object => ({
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
    subjects,
  });
  const role = (resource: string, verb: string): object => ({
    rules: [{ apiGroups: ["", "rbac.authorization.k8s.io"], resources: [resource], verbs: [verb] }],
  });
  const workload = {
    selector: { matchLabels: { app: "x" } },
    template: {
      metadata: { labels: { app: "x" } },
      spec: { containers: [{ name: "x", image: "docker.io/library/busybox:stable" }] },
    },
  };

  test.each([
    ["binds a ServiceAccount to cluster-admin", cluster("ClusterRoleBinding", bind("cluster-admin"))],
    [
      "binds a ServiceAccount to a role of Kubernetes",
      cluster("ClusterRoleBinding", bind("system:masters-like")),
    ],
    ["gives all verbs", cluster("ClusterRole", role("pods", "*"))],
    ["gives all resources", cluster("ClusterRole", role("*", "get"))],
    ["gives the verb escalate", cluster("ClusterRole", role("clusterroles", "escalate"))],
    ["gives the verb impersonate", cluster("ClusterRole", role("users", "impersonate"))],
    ["gives every Secret", cluster("ClusterRole", role("secrets", "get"))],
    [
      "puts a Secret to the mesh's root key",
      { apiVersion: "v1", kind: "Secret", metadata: { name: "e2e-doors", namespace: "istio-system" } },
    ],
    [
      "puts a DaemonSet to the mesh's root key",
      {
        apiVersion: "apps/v1",
        kind: "DaemonSet",
        metadata: { name: "e2e-doors", namespace: "istio-system" },
        spec: workload,
      },
    ],
    [
      "lets the app's namespace be privileged",
      {
        apiVersion: "v1",
        kind: "Namespace",
        metadata: { name: "logging", labels: { "pod-security.kubernetes.io/enforce": "privileged" } },
      },
    ],
  ])("never %s through Argo CD", async (_, object) => {
    for (const account of [controller, `${accounts}monitoring`, `${accounts}services`])
      expect(await refusal(object, "--as", account)).toMatch(/denied request|is forbidden/);
  });

  const configMap = (where: string): object => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "e2e-doors", namespace: where },
  });

  test.each([
    ["logging", ["logging", "log-agent"]],
    ["search", ["search"]],
    ["services", []],
    ["monitoring", ["monitoring"]],
    ["root", []],
    ["gateway", []],
  ])("as the account of AppProject %s writes only to that project's destinations", async (project, own) => {
    const places = [
      "logging",
      "log-agent",
      "search",
      "monitoring",
      "argocd",
      "git",
      "kube-system",
      namespace,
    ];
    const allowed: string[] = [];
    for (const where of places)
      if ((await refusal(configMap(where), "--as", accounts + project)) === "") allowed.push(where);
    expect(allowed).toEqual(own);
  });

  test("deletes nothing in another AppProject's namespaces", async () => {
    const args = ["--namespace", "logging", "delete", "deployment", "app", "--dry-run=server", "--as"];
    for (const project of ["services", "search", "monitoring", "root", "gateway"]) {
      const { exitCode, stderr } = await execa("kubectl", [...args, accounts + project], { reject: false });
      expect([project, exitCode === 0]).toEqual([project, false]);
      expect(stderr).toMatch(/denied request|is forbidden/);
    }
    expect(await kubectl([...args, `${accounts}logging`])).toContain("deleted");
  });

  /** Pushes an object into an Application, waits until what `told` picks of its status matches, and takes the commit back. */
  async function attempt(
    name: string,
    object: object,
    refused: RegExp,
    told: (status: Application["status"]) => unknown,
  ): Promise<string> {
    const clone = await Clone.make();
    try {
      const directory = `gitops/apps/${name}/overlays/local`;
      clone.write(`${directory}/door.yaml`, JSON.stringify(object));
      clone.edit(`${directory}/kustomization.yaml`, (text) =>
        text.replace("resources:\n", "resources:\n  - door.yaml\n"),
      );
      await clone.push(`e2e: an object that Application ${name} may not have`);
      let said = "";
      await until("the refusal", 180, async () => {
        const { status } = await application(name);
        said = JSON.stringify(told(status));
        return refused.test(said) ? undefined : said.slice(0, 300);
      });
      const found = await execa("kubectl", ["get", "-f", "-"], {
        input: JSON.stringify(object),
        reject: false,
      });
      expect(found.stderr).toContain("NotFound");
      return said;
    } finally {
      const commit = await clone.putBack();
      if (commit !== undefined) await converged(commit);
      clone.remove();
    }
  }

  test("gives an Application only the rights of its AppProject's account: the API server refuses the others", async ({
    annotate,
  }) => {
    // The AppProject allows Roles. The account lacks this right, so the API server does not let it grant it.
    const metadata = { name: "e2e-doors", namespace: "logging" };
    const object = { apiVersion: rbac, kind: "Role", metadata, ...role("secrets", "get") };
    const refused = new RegExp(`${accounts}logging`);
    const said = await attempt("logging", object, refused, ({ operationState }) => operationState);
    await annotate(said.slice(0, 1500));
    expect(said).toMatch(/is forbidden|denied request/);
  });

  const pod = (spec: object, container: object = {}): object => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "e2e-doors", namespace: "log-agent" },
    spec: {
      containers: [{ name: "x", image: "docker.io/library/busybox:stable", ...container }],
      ...spec,
    },
  });
  const mount = (path: string): object => ({ volumes: [{ name: "node", hostPath: { path } }] });
  const mounted = (readOnly: boolean): object => ({
    volumeMounts: [{ name: "node", mountPath: "/node", readOnly }],
  });
  const agent = { securityContext: { runAsNonRoot: true, runAsUser: 10001, runAsGroup: 0 } };

  test.each([
    ["is privileged", pod({}, { securityContext: { privileged: true } })],
    ["adds a capability", pod({}, { securityContext: { capabilities: { add: ["SYS_ADMIN"] } } })],
    ["has its node's processes", pod({ hostPID: true })],
    ["has its node's network", pod({ hostNetwork: true })],
    ["mounts the node", pod({ ...mount("/"), ...agent }, mounted(true))],
    ["mounts the node's kubelet", pod({ ...mount("/var/lib/kubelet"), ...agent }, mounted(true))],
    ["writes into other pods", pod({ ...mount("/var/lib/kubelet/pods"), ...agent }, mounted(false))],
    ["reads other pods as root", pod(mount("/var/lib/kubelet/pods"), mounted(true))],
  ])("makes no pod in the agent's namespace that %s", async (_, object) => {
    expect(await refusal(object)).toMatch(/denied request|is forbidden/);
  });

  test("makes the pods that the agent is", async () => {
    expect(await refusal(pod({ ...mount("/var/lib/kubelet/pods"), ...agent }, mounted(true)))).toBe("");
  });

  test(
    "gives an Application no rights beyond its namespace: Argo CD refuses them",
    slow,
    async ({ annotate }) => {
      const object = cluster("ClusterRole", role("pods", "list"));
      const refused = /ClusterRole[^"]*not permitted in project/;
      const said = await attempt("log-agent", object, refused, ({ operationState, conditions }) => [
        operationState,
        conditions,
      ]);
      await annotate(/[^"]*not permitted in project[^"]*/.exec(said)?.[0] ?? "");
    },
  );

  test("has an operator that reads no Secret but those of monitoring, and starts nothing elsewhere", async () => {
    const operator = "system:serviceaccount:monitoring:prometheus-operator";
    const may = async (verb: string, resource: string, where: string): Promise<string> =>
      (
        await execa("kubectl", ["auth", "can-i", verb, resource, "--namespace", where, "--as", operator], {
          reject: false,
        })
      ).stdout;
    for (const where of ["argocd", "istio-system", "git", "logging", "kube-system"])
      for (const [verb, resource] of [
        ["get", "secrets"],
        ["create", "statefulsets.apps"],
        ["create", "services"],
        ["delete", "pods"],
      ] as const)
        expect([where, verb, resource, await may(verb, resource, where)]).toEqual([
          where,
          verb,
          resource,
          "no",
        ]);
    expect(await may("get", "secrets", "monitoring")).toBe("yes");
  });
});

describe("the disk", () => {
  /** Volumes of every node, as the machine has them. */
  const volumes = (): string[] =>
    nodes.flatMap((node) => {
      const directory = join(stateDirectory, "nodes", node, "opt/local-path-provisioner");
      return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
    });

  test("is closed to a local user: no volume can be read or written", async () => {
    expect(volumes()).not.toEqual([]);
    for (const volume of volumes()) {
      const look = `ls -A '${volume}' || touch '${volume}/door'`;
      const { all } = await asNobody("sh", "-c", `${look}; test -w '${volume}' && echo WRITABLE; true`);
      expect(all).toMatch(/Permission denied/);
      expect(all).not.toContain("WRITABLE");
    }
  });

  test("is closed to a user of the node, such as that of a pod that mounts it", async () => {
    for (const node of nodes) {
      const enter = [`--mount=${join(stateDirectory, "namespaces", node)}`];
      const drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
      const look = ["ls", "/opt/local-path-provisioner"];
      const { exitCode, stderr } = await execa("nsenter", [...enter, ...drop, ...look], { reject: false });
      expect([exitCode === 0, stderr]).toEqual([
        false,
        expect.stringMatching(/Permission denied|No such file/),
      ]);
    }
  });

  test("holds no log and no configuration of the platform that a local user reads", async () => {
    const { all } = await asNobody("find", stateDirectory, "-type", "f", "-readable", "-size", "+0");
    expect(all.split("\n").filter((line) => line.startsWith(stateDirectory))).toEqual([]);
  });
});

describe("who has the disk", () => {
  const text = `e2e-door-${Date.now()}`;
  // The log holds the lines of earlier runs too: a name that stood there already would be found without any audit.
  const name = `on-disk-${Date.now()}`;

  test("reads no Secret in etcd's files", async () => {
    const metadata = { namespace, name };
    await apply(
      { apiVersion: "v1", kind: "Secret", metadata, stringData: { text } },
      // What is found where nothing is encrypted, so that a wrong place does not pass for a closed door.
      { apiVersion: "v1", kind: "ConfigMap", metadata, data: { text: `plain ${text} plain` } },
    );
    const { stdout } = await execa("grep", [
      "--recursive",
      "--text",
      "--only-matching",
      "-E",
      `.{6}${text}.{6}`,
      join(stateDirectory, "etcd"),
    ]);
    const found = stdout.split("\n").map((line) => line.slice(line.indexOf(text) - 6));
    expect(found.filter((line) => line.startsWith("plain "))).not.toEqual([]);
    expect(found.filter((line) => !line.startsWith("plain "))).toEqual([]);
  });

  test("and whoever reads a Secret is named in the audit log, without its content", async () => {
    await kubectl(["--namespace", namespace, "get", "secret", name, "--output", "yaml"]);
    const log = (): string => readFileSync(join(stateDirectory, "log/audit.log"), "utf8");
    await until("the audit log", 30, async () =>
      log()
        .split("\n")
        .some(
          (line) =>
            line.includes('"verb":"get"') &&
            line.includes(`"name":"${name}"`) &&
            line.includes('"code":200') &&
            line.includes("kubernetes-admin"),
        )
        ? undefined
        : "does not say who read it",
    );
    expect(log()).not.toContain(text);
  });
});

describe("a neighbour in the machine's network", () => {
  // A namespace that stands for another machine, with a route to the platform's networks over this one.
  const neighbour = "e2e-neighbour";
  const ip = (...args: string[]): Promise<unknown> => execa("ip", args);

  beforeAll(async () => {
    await execa("ip", ["netns", "delete", neighbour], { reject: false });
    await ip("netns", "add", neighbour);
    await ip("link", "add", "e2e-door", "type", "veth", "peer", "name", "eth0", "netns", neighbour);
    await ip("address", "add", "10.99.0.1/24", "dev", "e2e-door");
    await ip("link", "set", "e2e-door", "up");
    await ip("-n", neighbour, "address", "add", "10.99.0.2/24", "dev", "eth0");
    await ip("-n", neighbour, "link", "set", "eth0", "up");
    for (const network of ["10.250.0.0/24", "10.244.0.0/16", "10.96.0.0/16"])
      await ip("-n", neighbour, "route", "add", network, "via", "10.99.0.1");
  });

  afterAll(() => execa("ip", ["netns", "delete", neighbour], { reject: false }));

  test("reaches neither API server nor mirror nor kubelet nor pod", async () => {
    const pods = await list<{ status: { podIP: string } }>("pods", "--namespace", "argocd");
    const places = [
      ["10.250.0.1", 6443],
      ["10.250.0.1", 505],
      ["10.250.0.1", 5000],
      ["10.250.0.11", 10250],
      ["10.250.0.12", 30080],
      ...pods.map((pod) => [pod.status.podIP, 8081]),
    ];
    const reached = await Promise.all(
      places.map(async ([address, port]) => {
        const probe = `exec 3<>/dev/tcp/${address}/${port}`;
        const args = ["netns", "exec", neighbour, "timeout", "2", "bash", "-c", probe];
        const { exitCode } = await execa("ip", args, { reject: false });
        return [`${address}:${port}`, exitCode === 0];
      }),
    );
    expect(reached).toEqual(places.map(([address, port]) => [`${address}:${port}`, false]));
  });
});

test("istiod tells nobody anything in the clear", async () => {
  const probe = (port: number): string => `
    const { connect } = await import("node:net");
    const socket = connect(${port}, "istiod.istio-system.svc.cluster.local");
    const answer = await new Promise((done) => {
      socket.on("connect", () => done("open")).on("error", (error) => done(error.code)).setTimeout(5000, () => done("silent"));
    });
    console.log(answer);
    process.exit(0);`;
  // The one by which proxies come, so that a wrong name does not pass for a closed door.
  expect((await asPod(probe(15012))).trim()).toBe("open");
  expect((await asPod(probe(15010))).trim()).not.toBe("open");
});

describe("the log agent", () => {
  interface Located {
    metadata: { name: string; uid: string };
    spec: { nodeName: string };
  }

  /** What the agent of a node has printed in the last minutes. */
  const printed = (node: string): Promise<string> =>
    kubectl([
      "--namespace",
      "log-agent",
      "logs",
      "--selector=app.kubernetes.io/name=log-agent",
      "--tail=-1",
      "--since=5m",
    ]).then((text) =>
      text
        .split("\n")
        .filter((line) => line.includes(`"node":"${node}"`))
        .join("\n"),
    );

  /** Sends messages until one is in the file of a pod of that node, and returns it. */
  async function lineOn(node: string): Promise<string> {
    for (let count = 0; count < 60; count++) {
      const text = `door ${node} ${Date.now()}`;
      await post(text);
      const found = await linesWith(text);
      const here = (await pods()).filter(({ spec }) => spec.nodeName === node);
      if (here.some(({ metadata }) => found.get(metadata.name)?.length)) return text;
    }
    throw new Error(`no message came to a pod on ${node}`);
  }

  test("has a watcher on every node that hears what it reads", async () => {
    const script = readFileSync(join(repository, "gitops/apps/log-agent/base/agent/progress.sh"), "utf8");
    // The question as the watcher asks it, with the programs of its image.
    const question = /now=\$\((.*?) \| grep/.exec(script)?.[1] ?? "";
    const agents = await list("pods", "--namespace=log-agent", "--selector=app.kubernetes.io/name=log-agent");
    expect(agents).toHaveLength(nodes.length);
    for (const { metadata } of agents) {
      const args = ["--namespace=log-agent", "exec", metadata.name, "--container=progress", "--", "sh", "-c"];
      const { all } = await execa("kubectl", [...args, `host=$POD_IP; ${question}`], {
        reject: false,
        all: true,
      });
      expect(all).toContain("otelcol_receiver_accepted_log_records");
    }
  });

  test("follows no link out of the app's volume", async () => {
    const secret = `e2e-door-${Date.now()}`;
    // On the node's disk. What is mounted, as a Secret is, the agent sees where it began later than that pod: a link to that would
    // lead nowhere, and its test be green whatever the agent opens.
    const volume = { mountPath: "/door", source: { emptyDir: {} } };
    const script = `echo ${secret} >/door/token; sleep 3600`;
    await apply(shellPod(namespace, "victim", { script, volume }));
    await waitForPhase(namespace, "victim", "Running");
    const victim = await get<Located>("pod", "victim", "--namespace", namespace);
    const pod = (await pods()).find(({ spec }) => spec.nodeName === victim.spec.nodeName);
    const target = `/var/lib/kubelet/pods/${victim.metadata.uid}/volumes/kubernetes.io~empty-dir/data/token`;
    const name = pod?.metadata.name ?? "";
    await inPod("logging", name, "sh", "-c", `ln -s ${target} /app/logs/app.log.7`);
    try {
      // A line that is written after the link is read after it.
      const after = await lineOn(victim.spec.nodeName);
      await until("the line after the link", 60, async () =>
        (await printed(victim.spec.nodeName)).includes(after) ? undefined : "is not printed",
      );
      expect(await printed(victim.spec.nodeName)).not.toContain(secret);
    } finally {
      await inPod("logging", name, "rm", "-f", "/app/logs/app.log.7");
    }
  });

  test("goes on collecting beside a FIFO of any pod", async () => {
    for (const node of nodes) {
      const script = "mkfifo /logs/app.log /logs/app.log.1; sleep 3600";
      const volume = { mountPath: "/logs", source: { emptyDir: {} } };
      await apply(shellPod(namespace, `fifo-${node}`, { script, node, volume }));
      await waitForPhase(namespace, `fifo-${node}`, "Running");
      const line = await lineOn(node);
      await until("the line beside the FIFO", 60, async () =>
        (await printed(node)).includes(line) ? undefined : "is not printed",
      );
    }
  });
});

describe("the gateway", () => {
  test.each(["/metrics", "/METRICS", "/metrics/", "/metrics?x=1", "/./metrics", "/%6detrics"])(
    "shows nobody its %s",
    async (path) => {
      const { hostname, port } = new URL(exported("APP_URL"));
      // By hand: a client would make the path plain before it sends it.
      const args = ["--silent", "--path-as-is", "--output", "-", `http://${hostname}:${port || 80}${path}`];
      const { stdout } = await execa("curl", args);
      expect(stdout).not.toMatch(/log_requests_total|process_cpu/);
    },
  );

  test("gives one client a share of the connections, and its neighbour the rest", async ({ annotate }) => {
    const settings = readFileSync(join(repository, "gitops/platform/gateway/gateway.env"), "utf8");
    const share = Number(/^CONNECTIONS_PER_CLIENT=(\d+)$/m.exec(settings)?.[1]);
    const { hostname, port } = new URL(exported("APP_URL"));
    let open = 0;
    const sockets: Socket[] = [];
    try {
      for (let count = 0; count < share + 500; count++) {
        // Another address of the machine's own: another client.
        const socket = connect({ host: hostname, port: Number(port || 80), localAddress: "127.0.0.2" });
        sockets.push(socket);
        await new Promise<void>((done) => {
          socket.on("connect", () => {
            open++;
            done();
          });
          socket.on("error", () => done());
        });
        socket.on("close", () => open--);
      }
      await until("the share", 30, async () =>
        open <= share ? undefined : `${open} are open, and ${share} may be`,
      );
      expect(open).toBeGreaterThan(share / 2);
      const refused = await execa("curl", ["--silent", "--interface", "127.0.0.2", exported("APP_URL")], {
        reject: false,
      });
      expect(refused.exitCode).not.toBe(0);
      const statuses: number[] = [];
      for (let count = 0; count < 20; count++) statuses.push((await send("/status")).status);
      await annotate(`beside ${open} connections of another client: ${statuses.join(" ")}`);
      expect(statuses).toEqual(Array(20).fill(200));
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });

  interface Slow {
    socket: Socket;
    answer: () => string;
    open: () => boolean;
  }

  /** Opens a connection, sends a request that promises more of a body than it has, and says no more. */
  function unfinished(sent = '{"message":"half'): Promise<Slow> {
    const { hostname, port } = new URL(exported("APP_URL"));
    return new Promise((resolve, reject) => {
      let [said, open] = ["", true];
      const socket = connect(Number(port || 80), hostname, () => {
        const head =
          "POST /log HTTP/1.1\r\nhost: e2e\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n";
        socket.write(head + sent);
        resolve({ socket, answer: () => said, open: () => open });
      });
      socket.on("data", (data) => {
        said += data.toString();
      });
      socket.on("close", () => {
        open = false;
      });
      socket.on("error", reject);
    });
  }

  test("goes on answering while clients send bodies that never end", async ({ annotate }) => {
    const stuck = await Promise.all(Array.from({ length: 48 }, () => unfinished()));
    try {
      const statuses: number[] = [];
      for (let count = 0; count < 20; count++) statuses.push((await send("/status")).status);
      await annotate(`GET /status beside 48 unfinished bodies: ${statuses.join(" ")}`);
      expect(statuses).toEqual(Array(20).fill(200));
    } finally {
      for (const { socket } of stuck) socket.destroy();
    }
  });

  test("cuts off a body that is not there in time, whether it pauses or trickles", async () => {
    const [pausing, trickling] = [await unfinished(), await unfinished()];
    const drip = setInterval(() => trickling.socket.write("x"), 100);
    try {
      await until("the gateway's word", 20, async () =>
        pausing.open() || trickling.open() ? "both wait" : undefined,
      );
      for (const { answer } of [pausing, trickling]) expect(answer()).toMatch(/^HTTP\/1.1 408/);
    } finally {
      clearInterval(drip);
      for (const { socket } of [pausing, trickling]) socket.destroy();
    }
  });
});

describe("monitoring", () => {
  /** Where a pod of monitoring may listen: its address, and each port that any of its containers has, or had. */
  async function places(name: string, ...ports: number[]): Promise<string[]> {
    const selector = `app.kubernetes.io/name=${name}`;
    interface Found {
      status: { podIP: string };
      spec: { containers: { ports?: { containerPort: number }[] }[] };
    }
    const [pod] = await list<Found>("pods", "--namespace", "monitoring", "--selector", selector);
    const known = pod?.spec.containers.flatMap(({ ports = [] }) => ports.map((port) => port.containerPort));
    return [...new Set([...ports, ...(known ?? [])])].map((port) => `http://${pod?.status.podIP}:${port}`);
  }

  // 0 where nothing listens.
  const ask = (method: string, url: string, body?: object): string => `
    const answer = await fetch("${url}", {
      method: "${method}", signal: AbortSignal.timeout(5000),
      headers: { "content-type": "application/json" }, body: ${body ? `JSON.stringify(${JSON.stringify(body)})` : "undefined"},
    }).catch(() => ({ status: 0 }));
    console.log(answer.status);`;

  test("takes no silence from a pod", async () => {
    const silence = {
      matchers: [{ name: "alertname", value: "e2e-doors-none", isRegex: false, isEqual: true }],
      startsAt: new Date().toISOString(),
      endsAt: new Date(Date.now() + 60_000).toISOString(),
      createdBy: "e2e",
      comment: "a door",
    };
    for (const at of await places("alertmanager", 9093)) {
      for (const path of ["/api/v2/silences", "//api/v2/silences", "/api/v2/alerts/../silences"]) {
        // As a pod, and as whoever a policy lets come.
        for (const run of [asPod, (script: string) => asNode("node1", script)]) {
          const status = (await run(ask("POST", at + path, silence))).trim();
          expect([at + path, status]).toEqual([at + path, expect.stringMatching(/^(0|401|403|404|405)$/)]);
        }
      }
      const one = `${at}/api/v2/silence/00000000-0000-0000-0000-000000000000`;
      expect((await asPod(ask("DELETE", one))).trim()).toMatch(/^(0|401|403|404|405)$/);
    }
  });

  test.each(["quit", "reload"])("is not told to %s by a pod or a local user", async (what) => {
    // GET is answered with 405 in either case: only what would do it tells.
    for (const at of [...(await places("alertmanager", 9093)), ...(await places("prometheus", 9090))]) {
      for (const run of [asPod, (script: string) => asNode("node1", script)]) {
        const status = (await run(ask("POST", `${at}/-/${what}`))).trim();
        expect([at, status]).toEqual([at, expect.stringMatching(/^(0|403|404)$/)]);
      }
    }
    const url = `${exported("PROMETHEUS_URL")}/-/${what}`;
    const { all } = await asNobody("curl", "-s", "-X", "POST", "-o", "/dev/null", "-w", "%{http_code}", url);
    expect(all).toMatch(/^(403|404)$/);
  });
});
