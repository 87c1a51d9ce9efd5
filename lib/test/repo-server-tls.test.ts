import { connect, createServer, type TLSSocket } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { type Entries, ensureRepoServerTls, entriesDo, makeEntries } from "../cluster/repo-server-tls.ts";

const day = 24 * 60 * 60 * 1000;
const made = "2026-11-26T12:00:00Z";

interface Cluster {
  data?: Record<string, string>;
  pods: Record<string, string[]>;
}

/** A cluster of one Secret and some workloads, each with the times at which its pods were made. */
class FakeCluster {
  readonly calls: string[] = [];
  readonly applied: { kind: string; data?: Record<string, string> }[] = [];
  private readonly state: Cluster;

  constructor(state: Cluster) {
    this.state = state;
  }

  readonly kubectl = async (args: string[], input = ""): Promise<string> => {
    const line = args.join(" ");
    if (args[0] === "apply") {
      const object = JSON.parse(input);
      this.applied.push(object);
      if (object.kind === "Secret") this.state.data = object.data;
      return "";
    }
    if (line.includes("rollout restart")) {
      this.calls.push(args.at(-1) ?? "");
      return "";
    }
    if (line.includes("get secret")) return this.secret();
    if (line.includes("get pods")) return this.podsOf(args[args.indexOf("-l") + 1] ?? "");
    return JSON.stringify({ items: Object.keys(this.state.pods).map(workload) });
  };

  private secret(): string {
    if (!this.state.data) return "";
    const managedFields = [{ manager: "other" }, { manager: "deploy-repo-server-tls", time: made }];
    return JSON.stringify({ metadata: { managedFields }, data: this.state.data });
  }

  private podsOf(selector: string): string {
    const times = this.state.pods[selector.replace("app=", "")] ?? [];
    return JSON.stringify({ items: times.map((creationTimestamp) => ({ metadata: { creationTimestamp } })) });
  }
}

const workload = (name: string): object => ({
  kind: name.endsWith("controller") ? "StatefulSet" : "Deployment",
  metadata: { name },
  spec: {
    selector: { matchLabels: { app: name } },
    template: {
      spec: { volumes: name === "redis" ? [] : [{ secret: { secretName: "argocd-repo-server-mtls" } }] },
    },
  },
});

const encoded = (entries: Entries): Record<string, string> =>
  Object.fromEntries(
    Object.entries(entries).map(([key, text]) => [key, Buffer.from(text).toString("base64")]),
  );

describe("the certificate", () => {
  const servers: { close: () => void }[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  // What repo-server does: RequireAndVerifyClientCert.
  async function shakeHands(authority: string, client: { cert?: string; key?: string }): Promise<string> {
    const own = await makeEntries();
    const server = createServer(
      {
        cert: own["client.crt"],
        key: own["client.key"],
        ca: authority,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (socket: TLSSocket) => socket.end("in"),
    );
    servers.push(server);
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    return new Promise((resolve) => {
      const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...client });
      socket.on("data", (data) => resolve(data.toString()));
      socket.on("error", (error) => resolve(error.message));
      socket.on("close", () => resolve("closed"));
    });
  }

  it("lets in who has it, and nobody with none or with another's", async () => {
    const entries = await makeEntries();
    const [cert, key] = [entries["client.crt"], entries["client.key"]];
    const other = await makeEntries();
    expect(await shakeHands(entries["client-ca.crt"], { cert, key })).toBe("in");
    expect(await shakeHands(entries["client-ca.crt"], {})).not.toBe("in");
    const theirs = { cert: other["client.crt"], key: other["client.key"] };
    expect(await shakeHands(entries["client-ca.crt"], theirs)).not.toBe("in");
  });

  it("does for all but its last 90 days, and only whole", async () => {
    const entries = await makeEntries();
    expect(entriesDo(entries)).toBe(true);
    expect(entriesDo(entries, new Date(Date.now() + 274 * day))).toBe(true);
    expect(entriesDo(entries, new Date(Date.now() + 276 * day))).toBe(false);
    for (const key of Object.keys(entries)) expect(entriesDo({ ...entries, [key]: undefined })).toBe(false);
    expect(entriesDo({ ...entries, "client.crt": "nonsense" })).toBe(false);
    expect(entriesDo({})).toBe(false);
  });

  it("leaves no key of its authority behind", async () => {
    const entries = await makeEntries();
    expect(Object.keys(entries).sort()).toEqual(["client-ca.crt", "client.crt", "client.key"]);
    expect(
      Object.values(entries)
        .join("")
        .match(/PRIVATE KEY-----\n/g),
    ).toHaveLength(2);
  });
});

describe("a run", () => {
  const before = "2026-11-26T11:59:59Z";
  const after = "2026-11-26T12:00:01Z";

  it("makes the namespace and the Secret on a new cluster, and restarts nothing", async () => {
    const cluster = new FakeCluster({ pods: {} });
    expect(await ensureRepoServerTls(cluster.kubectl)).toEqual([]);
    expect(cluster.applied.map(({ kind }) => kind)).toEqual(["Namespace", "Secret"]);
    expect(cluster.calls).toEqual([]);
  });

  it("keeps a certificate that will do", async () => {
    const cluster = new FakeCluster({ data: encoded(await makeEntries()), pods: { server: [after] } });
    expect(await ensureRepoServerTls(cluster.kubectl)).toEqual([]);
    expect(cluster.applied.map(({ kind }) => kind)).toEqual(["Namespace"]);
  });

  it("replaces one that expires", async () => {
    const old = encoded(await makeEntries(new Date(Date.now() - 300 * day)));
    const cluster = new FakeCluster({ data: old, pods: {} });
    await ensureRepoServerTls(cluster.kubectl);
    expect(cluster.applied[1]?.data).not.toEqual(old);
  });

  it("restarts what mounts the Secret and runs since before it, also where an earlier run was killed", async () => {
    const pods = { "repo-server": [after, before], controller: [before], server: [after], redis: [before] };
    const cluster = new FakeCluster({ data: encoded(await makeEntries()), pods });
    expect(await ensureRepoServerTls(cluster.kubectl)).toEqual([
      "deployment/repo-server",
      "statefulset/controller",
    ]);
    expect(cluster.calls).toEqual(["deployment/repo-server", "statefulset/controller"]);
  });
});
