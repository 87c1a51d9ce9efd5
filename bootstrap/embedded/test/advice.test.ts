/** What the embedded cluster says is next, done where it is said, with a kubectl that only writes down what it is asked. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { follow } from "../../../lib/test/follow.ts";
import { adviceIn } from "../../../tools/test/advice.ts";
import { failureOf, Shop } from "../../../tools/test/shop.ts";
import { kubectl, waitForWorkloads } from "../../src/kubectl.ts";

// Read when the modules are loaded; with a blank, as a person's directory may have.
const directory = vi.hoisted(() => {
  const made = `${process.env.TMPDIR ?? "/tmp"}/the state ${process.pid}`;
  Object.assign(process.env, { STATE_DIR: made, CACHE_DIR: made, DEPLOY_LOG: `${made}/log/deploy.log` });
  return made;
});
const { EmbeddedCluster } = await import("../src/embedded.ts");
const { waitForApiServer, waitForNodes } = await import("../src/controlplane.ts");
const { diskCollisions, routeCollisions } = await import("../src/collisions.ts");
const { examineMachine } = await import("../src/inspect.ts");
const { state } = await import("../src/layout.ts");
const { publish } = await import("../src/publish.ts");
const { waitForPrograms } = await import("../src/supervisor.ts");

const asked = (): string[] =>
  existsSync(state("asked")) ? readFileSync(state("asked"), "utf8").trim().split("\n") : [];
/** The cluster's kubectl and the logs of its parts. */
function furnish(code: number): void {
  rmSync(directory, { recursive: true, force: true });
  for (const name of ["bin", "log", "kubeconfig", "secrets"]) mkdirSync(state(name), { recursive: true });
  const script = `#!/bin/sh\necho "$@" >> '${state("asked")}'\nexit ${code}\n`;
  writeFileSync(state("bin/kubectl"), script, { mode: 0o755 });
  for (const name of ["kube-apiserver", "node1-kubelet", "supervisord", "etcd"])
    writeFileSync(state(`log/${name}.log`), `what ${name} said\n`);
}

let cluster: InstanceType<typeof EmbeddedCluster>;
beforeEach(() => {
  furnish(1);
  vi.stubEnv("WAIT_SECONDS", "0");
  // What the cluster sets for the programs that it runs ends with the test.
  for (const name of ["KUBECONFIG", "KUBE_CONTEXT", "KUBECTL"]) vi.stubEnv(name, undefined);
  vi.stubEnv("PATH", process.env.PATH);
  cluster = new EmbeddedCluster({});
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Fails, then does what is next in a shell that knows nothing of this cluster. */
async function followed(work: Promise<unknown>) {
  const { next } = await failureOf(work);
  furnish(0);
  return follow(next, { env: { KUBECONFIG: undefined, KUBE_CONTEXT: undefined, PATH: "/usr/bin:/bin" } });
}

describe("a hint for the cluster names its kubectl and its kubeconfig", () => {
  const named = `--kubeconfig ${state("kubeconfig/admin.yaml")}`;

  it("of a workload that is not ready", async () => {
    expect(await followed(waitForWorkloads("argocd", ["deployment/argocd-redis"], 0))).toMatchObject({
      exitCode: 0,
    });
    expect(asked()).toEqual([
      `${named} -n argocd describe deployment/argocd-redis`,
      `${named} -n argocd logs deployment/argocd-redis --all-containers --tail=20`,
    ]);
  });

  it("of a Git server that does not answer", async () => {
    expect(await followed(publish("http://127.0.0.1:9/platform.git"))).toMatchObject({ exitCode: 0 });
    expect(asked()).toEqual([`${named} -n git describe pod git-server-0`]);
  });

  it("of a platform that does not answer, and names the log in use", async () => {
    const { next } = await cluster.question();
    furnish(0);
    writeFileSync(state("log/deploy.log"), "what was done\n");
    expect((await follow(next)).all).toContain("what was done");
    expect(asked()).toEqual([`${named} -n logging get pods`]);
  });
});

describe("a hint for a log names one that is there", () => {
  it.each([
    ["the API server", () => waitForApiServer(), "kube-apiserver"],
    ["the nodes", () => waitForNodes(["node1"], new Date()), "node1-kubelet"],
    // supervisorctl itself fails: it is not known which program does not run.
    ["the supervisor", () => waitForPrograms(["etcd"]), "supervisord"],
  ])("of %s", async (_, wait, name) => {
    expect(await followed(wait())).toMatchObject({ exitCode: 0, all: `what ${name} said` });
  });

  it("of what a command printed", async () => {
    const { next } = await failureOf(kubectl(["get", "nothing"]));
    expect((await follow(next)).all).toContain("get nothing");
  });
});

describe("doctor", () => {
  it("shows who has a port", async () => {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    try {
      const found = (await examineMachine(port)).find(({ remedy }) => remedy?.includes(`:${port}'`));
      const { exitCode, all } = await follow(found?.remedy);
      expect([exitCode, all]).toEqual([0, expect.stringContaining(`127.0.0.1:${port}`)]);
    } finally {
      server.close();
    }
  });

  it("shows a route that is in the way", async () => {
    const [found] = routeCollisions([{ network: "10.244.0.0/16", device: "lo" }]);
    expect(await follow(found?.next)).toMatchObject({ exitCode: 0 });
  });

  it("shows what takes the room", async () => {
    const { exitCode, all } = await follow(diskCollisions(1, true)[0]?.next);
    expect([exitCode, all]).toEqual([0, expect.stringContaining(state("log"))]);
  });
});

// Their states are those of a machine in trouble, which a test does not make: their words with the values of now.
describe("a hint for the machine", () => {
  const wordsIn = (file: string, beginning: string): string =>
    adviceIn(file)
      .find(({ text }) => text.slice(1).startsWith(beginning))
      ?.text.slice(1, -1) ?? "";

  it("shows the processes that do not end", async () => {
    const words = wordsIn("bootstrap/embedded/src/cgroups.ts", "ps ");
    expect((await follow(words.replace(/\$\{.*\}/, `1,${process.pid}`))).all).toContain(`${process.pid} `);
  });

  it("shows what is in a control group", async () => {
    const words = wordsIn("bootstrap/embedded/src/cgroups.ts", "cat ");
    writeFileSync(state("cgroup.procs"), "4711\n");
    const next = words.replace(/\$\{.*\}/, `'${directory}'`);
    expect(await follow(next)).toMatchObject({ exitCode: 0, all: "4711" });
  });

  it("shows who has something mounted", async () => {
    const words = wordsIn("bootstrap/embedded/src/destroy.ts", "grep ");
    expect((await follow(words.replace(/\$\{.*\}/, "'/proc'"))).all).toContain(
      `/proc/${process.pid}/mountinfo`,
    );
  });

  it("shows what was built", async () => {
    const words = wordsIn("bootstrap/embedded/src/argocd-pages.ts", "ls ");
    expect((await follow(words.replace(/\$\{.*\}/, `'${directory}'`))).all).toContain("bin");
  });

  it("shows what the registry says of a package", async () => {
    // An npm that says what it is asked, for the registry's answer is not the test's.
    writeFileSync(state("bin/npm"), '#!/bin/sh\necho "$@"\n', { mode: 0o755 });
    const env = { PATH: `${state("bin")}:/usr/bin:/bin` };
    const file = "bootstrap/embedded/src/integrity.ts";
    const lines = adviceIn(file).map(({ text }) => text.slice(1, -1).replaceAll(/\$\{\w+\}/g, "x"));
    const answers = await Promise.all(lines.map((line) => follow(line, { env })));
    expect(answers.map(({ all }) => all)).toEqual(["view x dist.integrity", "view x@x dist.integrity"]);
  });

  it("shows the resolvers", async () => {
    const words = wordsIn("bootstrap/embedded/src/node.ts", "cat ");
    expect(await follow(words)).toMatchObject({ exitCode: 0 });
  });
});

it("a checkout that has diverged from the platform is brought there, with what is not committed", async () => {
  const shop = await Shop.open();
  try {
    const clone = await shop.clone("clone");
    clone.write("deploy.sh", "#!/bin/sh\necho deployed\n");
    await clone.commit("ours");
    await clone.git.run("update-index", "--chmod=+x", "deploy.sh");
    await execa("chmod", ["+x", join(clone.directory, "deploy.sh")]);
    await clone.commit("ours, to be run");
    await shop.move();
    clone.write("notes.txt", "mine\n");
    const words =
      adviceIn("bootstrap/embedded/src/publish.ts").find(({ text }) => text.includes("git pull"))?.text ?? "";
    const next = words
      .slice(1, -1)
      .replace(/\$\{remote\}/, "origin")
      .replace(/\$\{branch\}/, "main");
    expect(await clone.follow({ next })).toMatchObject({
      exitCode: 0,
      all: expect.stringContaining("deployed"),
    });
    expect([clone.read("theirs.txt"), clone.read("notes.txt")]).toEqual(["theirs\n", "mine\n"]);
  } finally {
    shop.close();
  }
});
