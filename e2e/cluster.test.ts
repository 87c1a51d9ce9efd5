/** What the cluster promises beneath the app: nodes apart, names, storage, and doors that are shut. */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { Clone } from "./clone.ts";
import { apply, get, inPod, type KubernetesObject, kubectl, list, secret } from "./kubectl.ts";
import { logFile, platformListeners } from "./machine.ts";
import { deploy, exported } from "./platform.ts";
import { createNamespace, deleteNamespace, shellPod, waitForPhase } from "./testpods.ts";

interface Node extends KubernetesObject {
  status: {
    conditions: { type: string; status: string }[];
    addresses: { type: string; address: string }[];
  };
}

const nodes = ["node1", "node2"];
const namespace = "e2e-cluster";
const hostPath = `/var/lib/e2e-${randomUUID()}`;
const greeting = (node: string): string => `this is ${node}`;

beforeAll(async () => {
  await createNamespace(namespace);
  // What is on a node is not for a namespace that says nothing.
  await kubectl(["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=privileged"]);
  for (const node of nodes) {
    const server = `require("http").createServer((_, answer) => answer.end("${greeting(node)}\\n")).listen(8080)`;
    const script = `echo ${greeting(node)}; exec node --eval '${server}'`;
    const volume = {
      mountPath: "/host",
      source: { hostPath: { path: hostPath, type: "DirectoryOrCreate" } },
    };
    await apply(shellPod(namespace, node, { script, node, volume }), {
      apiVersion: "v1",
      kind: "Service",
      metadata: { namespace, name: node },
      spec: { selector: { name: node }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
    });
  }
  for (const node of nodes) await waitForPhase(namespace, node, "Running");
});

afterAll(async () => {
  for (const node of nodes) await inPod(namespace, node, "sh", "-c", "rm -f /host/*");
  await deleteNamespace(namespace);
});

describe("nodes", () => {
  test("2 nodes are Ready", async () => {
    const ready = (await list<Node>("nodes")).filter(({ status }) =>
      status.conditions.some((condition) => condition.type === "Ready" && condition.status === "True"),
    );
    expect(ready.map(({ metadata }) => metadata.name).sort()).toEqual(nodes);
  });

  test.each([
    ["node1", "node2"],
    ["node2", "node1"],
  ])("a hostPath file written on %s is not seen on %s", async (here, there) => {
    const file = `written-on-${here}`;
    await inPod(namespace, here, "sh", "-c", `echo ${here} > /host/${file}`);
    expect(await inPod(namespace, here, "ls", "/host")).toContain(file);
    expect(await inPod(namespace, there, "ls", "/host")).not.toContain(file);
    expect(existsSync(hostPath), "the machine itself sees it").toBe(false);
  });

  test.each(nodes)("kubectl logs works for a pod on %s", async (node) => {
    expect(await kubectl(["-n", namespace, "logs", node])).toBe(`${greeting(node)}\n`);
  });

  test.each([
    ["node1", "node2"],
    ["node2", "node1"],
    ["node1", "node1"],
  ])("a pod on %s reaches one on %s by its Service's name", async (from, to) => {
    const address = `http://${to}.${namespace}.svc.cluster.local/`;
    const script = `fetch("${address}").then(async (answer) => process.stdout.write(await answer.text()))`;
    await until(address, 60, async () => {
      const answer = await inPod(namespace, from, "node", "--eval", script);
      return answer === `${greeting(to)}\n` ? undefined : `answered "${answer}"`;
    });
  });

  test("a volume of the default StorageClass outlives its pod", async () => {
    const text = randomUUID();
    const volume = { mountPath: "/data", source: { persistentVolumeClaim: { claimName: "kept" } } };
    await apply(
      {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        metadata: { namespace, name: "kept" },
        spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Mi" } } },
      },
      shellPod(namespace, "writer", { script: `echo ${text} > /data/text; sync`, volume }),
    );
    await waitForPhase(namespace, "writer", "Succeeded");
    await kubectl(["-n", namespace, "delete", "pod", "writer"]);
    await apply(shellPod(namespace, "reader", { script: "cat /data/text", volume }));
    await waitForPhase(namespace, "reader", "Succeeded");
    expect(await kubectl(["-n", namespace, "logs", "reader"])).toBe(`${text}\n`);
  });
});

describe("closed doors", () => {
  /** The status of an HTTPS request without any credentials. */
  async function anonymous(address: string): Promise<number> {
    const format = ["--output", "/dev/null", "--write-out", "%{http_code}"];
    const { stdout } = await execa("curl", ["--insecure", "--silent", "--show-error", ...format, address]);
    return Number(stdout);
  }

  test("nothing of the platform listens outside loopback and the bridge", async ({ annotate }) => {
    const listeners = await platformListeners();
    await annotate(listeners.join("  "));
    expect(listeners.length).toBeGreaterThan(0);
    expect(
      listeners.filter((listener) => !/ (127\.0\.0\.1|\[::1\]|10\.250\.0\.1):\d+$/.test(listener)),
    ).toEqual([]);
  });

  test.each(["/api/v1/secrets", "/api/v1/namespaces/kube-system/pods", "/apis/apps/v1/deployments"])(
    "the API server refuses %s to strangers",
    async (path) => {
      const server = await kubectl([
        ...["config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}"],
      ]);
      expect(await kubectl(["get", "--raw", path])).toContain('"items"');
      expect([401, 403]).toContain(await anonymous(server + path));
    },
  );

  test.each(nodes)("the kubelet of %s refuses strangers", async (name) => {
    const { status } = await get<Node>("node", name);
    const address = status.addresses.find(({ type }) => type === "InternalIP")?.address;
    expect(await kubectl(["get", "--raw", `/api/v1/nodes/${name}/proxy/pods`])).toContain('"items"');
    expect([401, 403]).toContain(await anonymous(`https://${address}:10250/pods`));
  });

  test("the deploy log holds no password", async () => {
    const output = [await deploy(["status"]), await deploy(["env"])].map((run) => run.stdout + run.stderr);
    const said = [readFileSync(logFile, "utf8"), ...output].join("\n");
    const { password: admin } = await secret("argocd", "argocd-initial-admin-secret");
    const { users } = await secret("git", "git-server");
    const passwords = [admin ?? "", ...(users ?? "").split("\n").map((line) => line.split(":")[1] ?? "")];
    const known = passwords.filter((password) => password !== "");
    expect(known).toHaveLength(3);
    expect(known.filter((password) => said.includes(password))).toEqual([]);
  });
});

describe("Git server", () => {
  let clone: Clone;
  let main: string;

  beforeAll(async () => {
    clone = await Clone.make();
    main = await clone.git("rev-parse", "origin/main");
    return () => clone.remove();
  });

  const remoteMain = async (): Promise<string | undefined> =>
    (await clone.git("ls-remote", "origin", "refs/heads/main")).split("\t")[0];

  /** Runs git without the credentials of the environment, and with an Authorization header where one is given. */
  async function gitAs(authorization: string | undefined, ...args: string[]): Promise<string> {
    const header = {
      GIT_CONFIG_KEY_0: "http.extraHeader",
      GIT_CONFIG_VALUE_0: `Authorization: ${authorization}`,
    };
    const env = {
      GIT_TERMINAL_PROMPT: "0",
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_CONFIG_COUNT: authorization === undefined ? "0" : "1",
      ...(authorization === undefined ? {} : header),
    };
    return (await execa("git", args, { cwd: clone.directory, env })).stdout;
  }

  test("a clone without credentials is refused with 401", async () => {
    const answer = await fetch(`${exported("GIT_URL")}/info/refs?service=git-upload-pack`);
    expect(answer.status).toBe(401);
    await expect(gitAs(undefined, "ls-remote", "origin")).rejects.toThrow(/could not read Username/);
  });

  test("the user that Argo CD reads with may not push", async () => {
    const { username, password } = await secret("argocd", "platform-repository");
    expect(username).toBe("argocd");
    const basic = `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
    expect(await gitAs(basic, "ls-remote", "origin", "refs/heads/main")).toContain(main);
    await clone.git("commit", "--quiet", "--allow-empty", "--message", "by the wrong user");
    await expect(gitAs(basic, "push", "origin", "HEAD:main")).rejects.toThrow(
      /Username|Authentication|40[13]/,
    );
    expect(await remoteMain()).toBe(main);
  });

  test("history is neither rewritten nor deleted, not even by force", async () => {
    await clone.git("reset", "--quiet", "--hard", `${main}~1`);
    await clone.git("commit", "--quiet", "--allow-empty", "--message", "another history");
    await expect(clone.git("push", "--force", "origin", "HEAD:main")).rejects.toThrow(
      /denying non-fast-forward/,
    );
    await expect(clone.git("push", "origin", ":main")).rejects.toThrow(/den(ied|ying)|prohibited/);
    expect(await remoteMain()).toBe(main);
  });
});

describe("Argo CD's projects", () => {
  interface Application {
    spec: { source: object };
    status?: {
      conditions?: { type: string; message: string }[];
      operationState?: {
        phase: string;
        message: string;
        syncResult?: { resources?: { message?: string }[] };
      };
    };
  }

  /** Lets an Application of a project sync `gitops/apps/logging` as a dry run, and returns what Argo CD says. */
  async function attempt(project: string, destination: string): Promise<Application> {
    const name = `e2e-${project}-${destination}`;
    const { spec } = await get<Application>("application", "logging", "--namespace", "argocd");
    await kubectl(["-n", "argocd", "delete", "application", name, "--ignore-not-found"]);
    await apply({
      apiVersion: "argoproj.io/v1alpha1",
      kind: "Application",
      metadata: { namespace: "argocd", name },
      spec: {
        project,
        source: spec.source,
        destination: { server: "https://kubernetes.default.svc", namespace: destination },
      },
      operation: { sync: { dryRun: true } },
    });
    try {
      let seen: Application | undefined;
      await until(`Application ${name}`, 120, async () => {
        seen = await get<Application>("application", name, "--namespace", "argocd");
        const ended = /Succeeded|Failed|Error/.test(seen.status?.operationState?.phase ?? "");
        return ended ? undefined : "its sync has not ended";
      });
      return seen as Application;
    } finally {
      await kubectl(["-n", "argocd", "delete", "application", name]);
    }
  }

  test("E1 the root project creates nothing but Applications", async () => {
    const operation = (await attempt("root", "argocd")).status?.operationState;
    expect(operation?.phase).toMatch(/Failed|Error/);
    const words = [
      operation?.message,
      ...(operation?.syncResult?.resources ?? []).map(({ message }) => message),
    ];
    expect(words.join("\n")).toMatch(/apps:Deployment is not permitted in project root/);
  });

  test("E1 the root project writes to no namespace but argocd", async () => {
    const { status } = await attempt("root", "logging");
    expect(JSON.stringify(status)).toMatch(/not (permitted|allowed|match)[^"]* (in|with) project '?root/i);
    expect(status?.operationState?.phase).toMatch(/Failed|Error/);
  });

  test("E1 the default project allows nothing", async () => {
    const { status } = await attempt("default", "logging");
    expect(JSON.stringify(status)).toMatch(/not permitted in project '?default/i);
    expect(status?.operationState?.phase).toMatch(/Failed|Error/);
  });
});
