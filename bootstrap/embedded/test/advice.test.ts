/** Follows the advice of the embedded cluster in the state in which it is given. kubectl is a stub that records its calls. */
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { follow } from "../../../lib/test/follow.ts";
import { slow } from "../../../lib/test/long.ts";
import { failureOf, Shop } from "../../../tools/test/shop.ts";
import { kubectl, waitForWorkloads } from "../../src/kubectl.ts";

// The modules read this when they are loaded. It contains a space, as a person's directory may.
const directory = vi.hoisted(() => {
  const made = `${process.env.TMPDIR ?? "/tmp"}/the state ${process.pid}`;
  Object.assign(process.env, { STATE_DIR: made, CACHE_DIR: made, DEPLOY_LOG: `${made}/log/deploy.log` });
  return made;
});
const { EmbeddedCluster } = await import("../src/embedded.ts");
const { waitForApiServer, waitForNodes } = await import("../src/controlplane.ts");
const { diskCollisions, routeCollisions } = await import("../src/collisions.ts");
const { examineMachine } = await import("../src/inspect.ts");
const { addPages } = await import("../src/argocd-pages.ts");
const { integrityOf, requireIntegrity } = await import("../src/integrity.ts");
const { repository, state } = await import("../src/layout.ts");
const { publish } = await import("../src/publish.ts");
const { waitForPrograms } = await import("../src/supervisor.ts");

const asked = (): string[] =>
  existsSync(state("asked")) ? readFileSync(state("asked"), "utf8").trim().split("\n") : [];
/** Makes the cluster's kubectl and the logs of its components. */
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
  // The cluster sets these variables for the programs that it runs. They are restored after the test.
  for (const name of ["KUBECONFIG", "KUBE_CONTEXT", "KUBECTL"]) vi.stubEnv(name, undefined);
  vi.stubEnv("PATH", process.env.PATH);
  cluster = new EmbeddedCluster({});
});
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Waits for a failure, and then follows its advice in a shell that knows nothing about this cluster. */
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
    // supervisorctl itself fails, so it is unknown which program is not running.
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

it("a build of Argo CD's pages that leaves none shows what was built", async () => {
  // This npm makes empty files for those in snapshot.json, and a webpack that builds another page.
  const npm = `#!${process.execPath}
const { mkdirSync, readFileSync, writeFileSync } = require("node:fs");
const { dirname, extname } = require("node:path");
const write = (file, text) => (mkdirSync(dirname(file), { recursive: true }), writeFileSync(file, text));
const { copied, renamed, changed } = JSON.parse(readFileSync("snapshot.json", "utf8"));
for (const path of [...copied, ...Object.keys(renamed)]) {
  const target = "node_modules/argo-ui-snapshot/src/" + path;
  extname(path) ? write(target, "") : mkdirSync(target, { recursive: true });
}
for (const [path, words] of Object.entries(changed))
  write("node_modules/argo-ui-snapshot/src/" + path, words.map(([before]) => before).join(""));
write("node_modules/webpack-cli/bin/cli.js", 'require("node:fs").mkdirSync("dist/app/other.html", { recursive: true })');
`;
  writeFileSync(state("bin/npm"), npm, { mode: 0o755 });
  vi.stubEnv("PATH", `${state("bin")}:${process.env.PATH}`);
  mkdirSync(state("argo cd/ui/src"), { recursive: true });
  const failure = await failureOf(addPages(state("argo cd"), "v1"));
  expect(failure.message).toContain("no index.html");
  expect(await follow(failure.next)).toMatchObject({ exitCode: 0, all: "other.html" });
});

it.each([
  ["is not known", () => integrityOf("left-pad")],
  ["is another", () => requireIntegrity("npm", "1.0.0", state("log/etcd.log"))],
])("where the hash of a package %s, the registry is asked for it", async (_, look) => {
  const asked: string[] = [];
  const registry = createServer(({ url = "" }, response) => {
    asked.push(url);
    response.end(
      JSON.stringify({
        name: url.slice(1),
        "dist-tags": { latest: "1.0.0" },
        versions: { "1.0.0": { version: "1.0.0", dist: { integrity: "sha512-ours" } } },
      }),
    );
  });
  await new Promise<void>((done) => registry.listen(0, "127.0.0.1", done));
  const { port } = registry.address() as AddressInfo;
  try {
    const { next } = await failureOf((async () => look())());
    const env = { npm_config_registry: `http://127.0.0.1:${port}`, npm_config_cache: state("npm") };
    expect(await follow(next, { env })).toMatchObject({ exitCode: 0, all: "sha512-ours" });
    expect(asked).toHaveLength(1);
  } finally {
    registry.close();
  }
});

/** A read-only Git server with the simplest protocol. */
async function serve(repository: string) {
  const server = createServer(({ url = "" }, response) => {
    const file = join(repository, url.split("?")[0]?.replace("/platform.git", "") ?? "");
    if (url === "/healthz" || (existsSync(file) && statSync(file).isFile()))
      response.end(url === "/healthz" ? "ok" : readFileSync(file));
    else response.writeHead(404).end();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/platform.git` };
}

it(
  "a checkout that has diverged from the platform is brought there, with what is not committed",
  slow,
  async () => {
    const shop = await Shop.open();
    const { server, url } = await serve(shop.bare.directory);
    try {
      const clone = await shop.clone("clone");
      // The code publishes the checkout that it is in.
      for (const part of ["lib", "bootstrap", "package.json", "versions.yaml"])
        cpSync(join(repository, part), join(clone.directory, part), { recursive: true });
      symlinkSync(join(repository, "node_modules"), join(clone.directory, "node_modules"));
      clone.write(".gitignore", "node_modules\n");
      clone.write("deploy.sh", "#!/bin/sh\necho deployed\n");
      await execa("chmod", ["+x", join(clone.directory, "deploy.sh")]);
      await clone.commit("ours");
      await shop.move();
      await shop.bare.run("update-server-info");
      clone.write("notes.txt", "mine\n");
      const script = `import { publish } from "./bootstrap/embedded/src/publish.ts";
await publish("${url}").catch(({ message, next }) => process.stdout.write(JSON.stringify({ message, next })));`;
      const { stdout } = await execa(
        process.execPath,
        ["--import", "tsx", "--input-type=module", "--eval", script],
        { cwd: clone.directory },
      );
      const failure = JSON.parse(stdout) as { message: string; next: string };
      expect(failure.message).toContain("have diverged");
      expect(await clone.follow(failure)).toMatchObject({
        exitCode: 0,
        all: expect.stringContaining("deployed"),
      });
      expect([clone.read("theirs.txt"), clone.read("notes.txt")]).toEqual(["theirs\n", "mine\n"]);
    } finally {
      server.close();
      shop.close();
    }
  },
);
