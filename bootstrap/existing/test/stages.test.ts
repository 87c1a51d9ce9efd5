import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { execa } from "execa";
import { load, loadAll } from "js-yaml";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { KubernetesObject } from "../../../lib/object.ts";
import { childrenOf } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { follow } from "../../../lib/test/follow.ts";
import { slow, sweep } from "../../../lib/test/long.ts";
import { healthy, istioctlIs, stubsForEach } from "./stubs.ts";

vi.mock("../../../lib/render/start.ts", async (original) =>
  (await import("./once.ts")).renderedOnce(await original<typeof import("../../../lib/render/start.ts")>()),
);

// These tests check the commands for an existing cluster. kubectl and other programs are stubs that record their calls.
const { istio: version, registry } = load(readFileSync(join(checkout, "versions.yaml"), "utf8")) as {
  istio: string;
  registry: string;
};
const context = ["--context", "mine"];
const repository = "https://git.example/fork.git";
const repo = ["--repo", repository];
const operator = join(checkout, "bootstrap/istio/operator.yaml");
const nodePort = join(checkout, "bootstrap/istio/node-port.yaml");
const k = "kubectl --context mine";

const stubs = stubsForEach(version);
const objectsIn = (text: string): KubernetesObject[] => loadAll(text) as KubernetesObject[];
const changing = (): string[] =>
  stubs
    .calls()
    .filter((call) => !/^\S+ (--context \S+ )?(get|version|auth|logs|config)\b/.test(call))
    .filter((call) => !/ get /.test(call));

describe("Istio", () => {
  const wait = (workload: string): string => `${k} -n istio-system rollout status ${workload} --timeout=180s`;

  it("is installed by istioctl, marked as this path's, and waited for", async () => {
    expect(await stubs.run(["Istio", ...context, ...repo])).toMatchObject({ exitCode: 0, stdout: "" });
    expect(changing()).toEqual([
      `istioctl install --context mine --skip-confirmation --verify --readiness-timeout 300s --filename ${operator} --filename ${nodePort}`,
      `${k} label namespace istio-system --overwrite app.kubernetes.io/managed-by=logging-platform`,
      wait("deployment/istiod"),
      wait("daemonset/istio-cni-node"),
      wait("deployment/istio-ingressgateway"),
    ]);
  });

  it("gets a load balancer where there is one, and the platform's own paths", async () => {
    const node = {
      metadata: { name: "one" },
      spec: { providerID: "k3s://one" },
      status: { nodeInfo: { kubeletVersion: "v1.36.1+k3s1" } },
    };
    stubs.answer("kubectl", healthy([{ when: "*get*nodes*", stdout: { items: [node] } }]));
    await stubs.run(["Istio", ...context, ...repo], { WAIT_SECONDS: "7" });
    expect(changing()[0]).toBe(
      `istioctl install --context mine --skip-confirmation --verify --readiness-timeout 7s --filename ${operator} --set values.global.platform=k3s`,
    );
  });

  it("that does not run is removed by what is next, and nothing beside it", async () => {
    stubs.remove("istioctl");
    const cache = join(stubs.directory, "the cache");
    const broken = join(cache, `istioctl-${version}`);
    mkdirSync(broken, { recursive: true });
    for (const path of [join(broken, "istioctl"), join(cache, "and"), join(stubs.directory, "and")])
      writeFileSync(path, "");
    const { stderr } = await stubs.run(["Istio", ...context, ...repo], { CACHE_DIR: cache });
    const [, next = ""] = /next: (.*)$/.exec(stderr) ?? [];
    writeFileSync(join(stubs.directory, "deploy.sh"), '#!/bin/sh\necho "deploys $*"\n', { mode: 0o755 });
    expect(await follow(next, { cwd: stubs.directory })).toEqual({
      exitCode: 0,
      all: "deploys --context mine",
    });
    expect([existsSync(broken), existsSync(join(cache, "and"))]).toEqual([false, true]);
    expect(existsSync(join(stubs.directory, "and"))).toBe(true);
  });

  it("is left alone where it is said so", async () => {
    expect(await stubs.run(["Istio", ...context, ...repo, "--keep-istio"])).toMatchObject({ exitCode: 0 });
    expect(stubs.calls()).toEqual([`${k} -n istio-system rollout status deployment/istiod --timeout=60s`]);
  });

  it("names the pod that keeps istioctl from its end", async () => {
    stubs.answer("istioctl", istioctlIs(version, [{ when: "install*", stderr: "timed out", code: 1 }]));
    const waiting = { reason: "ErrImagePull", message: "no such image" };
    const pod = {
      metadata: { name: "istiod-1", namespace: "istio-system" },
      status: {
        phase: "Pending",
        containerStatuses: [{ name: "discovery", ready: false, state: { waiting } }],
      },
    };
    stubs.answer("kubectl", healthy([{ when: "*get*pods*istio-system*", stdout: { items: [pod] } }]));
    const { exitCode, stderr } = await stubs.run(["Istio", ...context, ...repo]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(
      "istioctl install failed: Pod istio-system/istiod-1, container discovery: ErrImagePull (no such image)",
    );
    expect(stderr).toContain(`next: tail -n 40 ${stubs.log}`);
    expect(changing()).toHaveLength(1);
  });
});

describe("istioctl of another version", () => {
  let server: Server;
  let sum = (archive: Buffer): string => createHash("sha256").update(archive).digest("hex");
  const asked: string[] = [];
  const environment = (): Record<string, string> => ({
    ISTIO_RELEASES: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    CACHE_DIR: join(stubs.directory, "cache"),
    GOMODCACHE: process.env.GOMODCACHE ?? "/var/cache/logging-platform/go-mod",
  });

  beforeEach(async () => {
    sum = (archive) => createHash("sha256").update(archive).digest("hex");
    asked.length = 0;
    stubs.answer("istioctl", istioctlIs("1.0.0"));
    const made = join(stubs.directory, "istioctl");
    writeFileSync(
      made,
      `#!/bin/sh\necho "fetched $*" >> ${join(stubs.directory, "calls")}\necho '{"clientVersion":{"version":"${version}"}}'\n`,
    );
    chmodSync(made, 0o755);
    const archive = join(stubs.directory, "archive.tar.gz");
    await execa("tar", ["-czf", archive, "-C", stubs.directory, "istioctl"]);
    server = createServer((request, response) => {
      asked.push(request.url ?? "");
      const content = readFileSync(archive);
      response.end(request.url?.endsWith(".sha256") ? `${sum(content)}  istioctl.tar.gz\n` : content);
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  });
  afterEach(() => new Promise((done) => server.close(done)));

  it("is passed over for the pinned release, which is fetched once and checked", slow, async () => {
    for (const _ of [1, 2]) {
      const { exitCode, stderr } = await stubs.run(["Istio", ...context, ...repo], environment());
      expect({ exitCode, stderr }).toEqual({
        exitCode: 0,
        stderr: `      istioctl 1.0.0 is on the PATH, but ${version} is pinned and will be fetched`,
      });
    }
    expect(asked.sort()).toEqual([
      expect.stringMatching(
        new RegExp(`^/${version}/istioctl-${version}-(linux|osx)-(amd64|arm64)\\.tar\\.gz$`),
      ),
      expect.stringMatching(/\.tar\.gz\.sha256$/),
    ]);
    expect(stubs.calls().filter((call) => call.startsWith("fetched install --context mine "))).toHaveLength(
      2,
    );
    expect(stubs.calls().some((call) => call.startsWith("istioctl install"))).toBe(false);
  });

  describe("behind a proxy", () => {
    const seen: string[] = [];
    let proxy: Server;
    const named = (): string => `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

    beforeEach(async () => {
      seen.length = 0;
      // This forwards requests for any host to the server of the release, and only records who asked for a tunnel.
      proxy = createServer((request, response) => {
        const url = new URL(request.url ?? "");
        seen.push(`${request.method} ${url.host}`);
        fetch(`${environment().ISTIO_RELEASES}${url.pathname}`).then(
          async (answer) => void response.end(Buffer.from(await answer.arrayBuffer())),
        );
      }).on("connect", (request, socket) => {
        seen.push(`CONNECT ${request.url}`);
        socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
      });
      await new Promise<void>((done) => proxy.listen(0, "127.0.0.1", done));
    });
    afterEach(() => new Promise((done) => proxy.close(done)));

    sweep(["http_proxy", "HTTP_PROXY", "ALL_PROXY"], 1)("is fetched through that of %s", async (name) => {
      const releases = { ...environment(), ISTIO_RELEASES: "http://releases.example", [name]: named() };
      expect(await stubs.run(["Istio", ...context, ...repo], releases)).toMatchObject({ exitCode: 0 });
      expect(seen).toEqual(["GET releases.example", "GET releases.example"]);
    });

    sweep(["https_proxy", "HTTPS_PROXY"], 1)("asks that of %s for a tunnel", async (name) => {
      const releases = { ...environment(), ISTIO_RELEASES: "https://releases.example", [name]: named() };
      const { exitCode, stderr } = await stubs.run(["Istio", ...context, ...repo], releases);
      expect(exitCode).toBe(1);
      expect(stderr).toContain("https://releases.example/");
      expect(seen[0]).toBe("CONNECT releases.example:443");
    });

    it.each([
      { HTTP_PROXY: true, NO_PROXY: "127.0.0.1,localhost" },
      { http_proxy: true, no_proxy: "localhost, 127.0.0.1" },
      { HTTPS_PROXY: true },
    ])("is fetched without it where it is not for that address: %j", async (settings) => {
      const given = Object.fromEntries(
        Object.entries(settings).map(([name, value]) => [name, value === true ? named() : `${value}`]),
      );
      expect(await stubs.run(["Istio", ...context, ...repo], { ...environment(), ...given })).toMatchObject({
        exitCode: 0,
      });
      expect(seen).toEqual([]);
      expect(asked).toHaveLength(2);
    });
  });

  it("stops everything where the release's sum is another", async () => {
    sum = () => "0".repeat(64);
    const { exitCode, stderr } = await stubs.run(["Istio", ...context, ...repo], environment());
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/has SHA-256 [0-9a-f]{64}, but its release says 0{64}: it is not used/);
    expect(stderr).toContain(`next: ./deploy.sh --context mine (or put istioctl ${version} on the PATH`);
    expect(existsSync(join(stubs.directory, "cache", `istioctl-${version}`))).toBe(false);
    expect(changing()).toEqual([]);
  });
});

describe("Argo CD", () => {
  const apply = `${k} apply --server-side --force-conflicts --field-manager=deploy -f -`;
  const applyTls = `${k} apply --server-side --force-conflicts --field-manager=deploy-repo-server-tls -f -`;
  const create = `${k} create -f -`;

  it("is applied server-side and waited for", async () => {
    expect(await stubs.run(["Argo CD", ...context, ...repo])).toMatchObject({ exitCode: 0 });
    const workloads = [
      "deployment/argocd-applicationset-controller",
      "deployment/argocd-redis",
      "deployment/argocd-repo-server",
      "deployment/argocd-server",
      "statefulset/argocd-application-controller",
    ];
    expect(changing()).toEqual([
      applyTls,
      applyTls,
      create,
      apply,
      ...workloads.map((workload) => `${k} -n argocd rollout status ${workload} --timeout=300s`),
    ]);
    const [namespace, secret, password, { input = "" } = {}] = stubs.inputs();
    // This happens before Argo CD is installed, because its components need both Secrets when they start.
    expect(JSON.parse(namespace?.input ?? "")).toMatchObject({
      kind: "Namespace",
      metadata: { name: "argocd" },
    });
    expect(JSON.parse(secret?.input ?? "").metadata.name).toBe("argocd-repo-server-mtls");
    const { metadata, data } = JSON.parse(password?.input ?? "");
    expect(metadata).toMatchObject({ namespace: "argocd", name: "argocd-redis" });
    expect(Buffer.from(data.auth, "base64").toString()).toMatch(/^[\w-]{32}$/);
    expect(objectsIn(input).map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toContain(
      "CustomResourceDefinition applications.argoproj.io",
    );
    const settings = objectsIn(input).find(({ metadata }) => metadata.name === "argocd-cmd-params-cm");
    expect(settings?.data).not.toHaveProperty(["server.insecure"]);
  });

  it("keeps the password that its Redis has", slow, async () => {
    stubs.answer(
      "kubectl",
      healthy([{ when: "*get secret argocd-redis *", stdout: "secret/argocd-redis\n" }]),
    );
    expect(await stubs.run(["Argo CD", ...context, ...repo])).toMatchObject({ exitCode: 0 });
    expect(changing()).not.toContain(create);
    expect(changing()).toContain(apply);
  });

  it("outlives a node where that is wanted", slow, async () => {
    await stubs.run(["Argo CD", ...context, ...repo, "--ha"]);
    expect(changing()).toContain(
      `${k} -n argocd rollout status statefulset/argocd-redis-ha-server --timeout=300s`,
    );
  });

  it("says what the API server says where it refuses", async () => {
    stubs.answer("kubectl", healthy([{ when: "*apply*", stderr: "forbidden: you may not", code: 1 }]));
    const { exitCode, stderr } = await stubs.run(["Argo CD", ...context, ...repo]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("forbidden: you may not");
    expect(stderr).toContain("next: tail -n 40 ");
    expect(changing()).toEqual([applyTls]);
  });

  it("names the workload that does not come up", async () => {
    stubs.answer(
      "kubectl",
      healthy([{ when: "*rollout status deployment/argocd-redis *", stderr: "timed out waiting", code: 1 }]),
    );
    const { exitCode, stderr } = await stubs.run(["Argo CD", ...context, ...repo]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("deployment argocd/argocd-redis: ");
    expect(stderr).toContain("timed out waiting");
    expect(stderr).toContain("next: kubectl --context mine -n argocd describe deployment/argocd-redis");
  });

  describe("with credentials", () => {
    const secretOf = (): KubernetesObject | undefined =>
      stubs
        .inputs()
        .map(({ input }) => input)
        .filter((input) => input.startsWith('{"apiVersion":"v1","kind":"Secret"'))
        .map((input) => JSON.parse(input) as KubernetesObject)
        .find(({ metadata }) => !["argocd-repo-server-mtls", "argocd-redis"].includes(metadata.name));
    const decoded = (secret: KubernetesObject | undefined): Record<string, string> =>
      Object.fromEntries(
        Object.entries((secret?.data ?? {}) as Record<string, string>).map(([key, value]) => [
          key,
          Buffer.from(value, "base64").toString(),
        ]),
      );
    const file = (text: string, mode = 0o600): string => {
      const path = join(stubs.directory, "credentials");
      writeFileSync(path, text);
      chmodSync(path, mode);
      return path;
    };

    const files: [string, string, Record<string, string>][] = [
      ["lines", "username=me\npassword=s3cret=x\n", { username: "me", password: "s3cret=x" }],
      ["a URL", "https://me:s3cret%3Dx@git.example\n", { username: "me", password: "s3cret=x" }],
      ["a token alone", "password=s3cret=x", { username: "git", password: "s3cret=x" }],
    ];
    sweep(files, 1)(
      "from a file with %s makes a Secret for Argo CD, shown nowhere",
      async (_, text, expected) => {
        const result = await stubs.run(["Argo CD", ...context, ...repo, "--repo-credentials", file(text)]);
        expect(result.exitCode).toBe(0);
        expect(secretOf()?.metadata).toMatchObject({
          namespace: "argocd",
          labels: { "argocd.argoproj.io/secret-type": "repository" },
        });
        expect(decoded(secretOf())).toEqual({ type: "git", url: repository, ...expected });
        const shown = `${stubs.remembered()}${result.stdout}${result.stderr}`;
        for (const form of ["s3cret", Buffer.from("s3cret=x").toString("base64")])
          expect(shown).not.toContain(form);
      },
    );

    it("from the environment does the same", slow, async () => {
      await stubs.run(["Argo CD", ...context, ...repo], { GIT_USERNAME: "me", GIT_PASSWORD: "s3cret" });
      expect(decoded(secretOf())).toEqual({
        type: "git",
        url: repository,
        username: "me",
        password: "s3cret",
      });
      expect(stubs.remembered()).not.toContain("s3cret");
    });

    it("of SSH is the key itself", slow, async () => {
      const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n";
      const ssh = "git@git.example:me/fork.git";
      await stubs.run(["Argo CD", ...context, "--repo", ssh, "--repo-credentials", file(key)]);
      expect(decoded(secretOf())).toEqual({ type: "git", url: ssh, sshPrivateKey: key });
    });

    it.each([
      ["that others may read", "password=x", 0o644, /other users may read it[\s\S]*next: chmod 600 /],
      ["that holds none", "hello", 0o600, /is neither an SSH key nor lines[\s\S]*next: printf/],
      [
        "of the other kind",
        "-----BEGIN PRIVATE KEY-----\n",
        0o600,
        /needs a user name and a password, but an SSH key was given/,
      ],
    ])("in a file %s are refused", async (_, text, mode, message) => {
      const credentials = ["--repo-credentials", file(text, mode)];
      const { exitCode, stderr } = await stubs.run(["Argo CD", ...context, ...repo, ...credentials]);
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(message);
      expect(secretOf()).toBeUndefined();
    });

    it("in a file that is not there, what is next shows where it is looked for", async () => {
      const missing = join(stubs.directory, "a file");
      const { stderr } = await stubs.run(["Argo CD", ...context, ...repo, "--repo-credentials", missing]);
      expect(stderr).toContain(`next: ls -l '${missing}'`);
    });

    it("as what is next writes them are taken", slow, async () => {
      const written = file("hello");
      const credentials = ["--repo-credentials", written];
      const { stderr } = await stubs.run(["Argo CD", ...context, ...repo, ...credentials]);
      const [, next = ""] = /next: (printf .*)$/.exec(stderr) ?? [];
      const line = next.replace("NAME", "robot").replace("TOKEN", "s3cret").replaceAll("FILE", written);
      expect(await follow(line)).toMatchObject({ exitCode: 0 });
      expect(await stubs.run(["Argo CD", ...context, ...repo, ...credentials])).toMatchObject({
        exitCode: 0,
      });
      expect(decoded(secretOf())).toMatchObject({ username: "robot", password: "s3cret" });
    });
  });
});

describe("the Applications", () => {
  const commit = "c0ffee".padEnd(40, "0");

  it("are applied as one root, and waited for at the commit that Argo CD reads", async () => {
    const wishes = ["--revision", "v2", "--registry", "localhost:5001/mine/"];
    const { exitCode, stdout } = await stubs.run(["Applications", ...context, ...repo, ...wishes]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: commit });
    expect(changing()).toEqual([
      // Roles of the accounts are in these. The namespaces of Applications come with those.
      ...["argocd", "istio-system", "monitoring"].map((name) => `${k} create namespace ${name}`),
      `${k} apply --server-side --force-conflicts --field-manager=deploy -f -`,
      `${k} -n argocd annotate application root --overwrite argocd.argoproj.io/refresh=hard`,
      // It is applied again, because a sync under the earlier projects may have removed objects.
      `${k} apply --server-side --force-conflicts --field-manager=deploy -f -`,
    ]);
    const objects = objectsIn(stubs.inputs()[0]?.input ?? "");
    const syncs = (kind: string, ...names: string[]): string[] => names.map((name) => `${kind} sync-${name}`);
    expect(objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      ...syncs("ServiceAccount", "gateway", "logging", "monitoring", "root", "search", "services"),
      // What their Applications make namespaces for has its rights from a ClusterRole.
      ...syncs("Role", "root", "server", "gateway", "monitoring"),
      "ClusterRole log-agent",
      ...syncs("ClusterRole", "logging", "monitoring", "search", "services"),
      ...syncs("RoleBinding", "root", "server", "gateway", "monitoring"),
      "ClusterRoleBinding log-agent",
      ...syncs("ClusterRoleBinding", "logging", "monitoring", "search", "services"),
      "ValidatingAdmissionPolicy logging-platform-delivery",
      "ValidatingAdmissionPolicy logging-platform-nodes",
      "ValidatingAdmissionPolicy logging-platform-sync",
      "ValidatingAdmissionPolicyBinding logging-platform-delivery",
      "ValidatingAdmissionPolicyBinding logging-platform-nodes",
      "ValidatingAdmissionPolicyBinding logging-platform-sync",
      "AppProject argocd",
      "AppProject default",
      "AppProject gateway",
      "AppProject logging",
      "AppProject monitoring",
      "AppProject root",
      "AppProject search",
      "AppProject services",
      "Application root",
    ]);
    const { source } = objects.at(-1)?.spec ?? {};
    expect(source).toMatchObject({ repoURL: repository, targetRevision: "v2" });
    expect(JSON.stringify(source)).toContain("localhost:5001/mine/app");
  });

  it("name what Argo CD does not get from the repository", async () => {
    const message = "failed to list refs: authentication required";
    const root = {
      metadata: {},
      status: { conditions: [{ type: "ComparisonError", message }] },
    };
    stubs.answer("kubectl", healthy([{ when: "*get*application root*", stdout: root }]));
    const { exitCode, stdout, stderr } = await stubs.run(["Applications", ...context, ...repo], {
      WAIT_SECONDS: "0",
    });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
    expect(stderr).toContain(`Application root: ComparisonError: ${message} (waited 0 s)`);
    expect(stderr).toContain("next: kubectl --context mine -n argocd describe application root");
  });

  it("answer through the gateway, by way of the API server", async () => {
    expect(await stubs.run(["Platform answers", ...context, ...repo])).toMatchObject({ exitCode: 0 });
    expect(stubs.calls()).toContain(
      `${k} get --raw /api/v1/namespaces/istio-system/services/http:istio-ingressgateway:80/proxy/status`,
    );
    stubs.answer("kubectl", healthy([{ when: "*get*--raw*", stderr: "no endpoints available", code: 1 }]));
    const { exitCode, stderr } = await stubs.run(["Platform answers", ...context, ...repo], {
      WAIT_SECONDS: "0",
    });
    expect(exitCode).toBe(1);
    expect(stderr).toContain("GET /status through istio-system/istio-ingressgateway: ");
    expect(stderr).toContain("no endpoints available");
    expect(stderr).toContain("next: kubectl --context mine -n logging get pods");
  });

  it("are told of in the end", async () => {
    const { stdout } = await stubs.run(["summary", ...context, ...repo]);
    expect(stdout).toContain("curl http://127.0.0.1/");
    expect(stdout).toContain(`${k} -n argocd port-forward service/argocd-server`);
    expect(stdout).toContain("./deploy.sh status --context mine");
  });
});

describe("a repository", () => {
  it("with a password in its URL is refused, and the password not shown", async () => {
    const url = "https://me:s3cret@git.example/fork.git";
    const result = await stubs.run(["Argo CD", ...context, "--repo", url]);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("the repository's URL contains a user name or a password");
    expect(`${stubs.remembered()}${result.stderr}`).not.toContain("s3cret");
    expect(stubs.calls()).toEqual([]);
  });
});

describe("destroy", () => {
  const labelled = (label: string): object => {
    const [key = "", value] = label.split("=");
    return { metadata: { labels: { [key]: value } } };
  };
  const there = [
    { when: "*get*namespace*argocd*", stdout: labelled("app.kubernetes.io/part-of=argocd") },
    {
      when: "*get*namespace*istio-system*",
      stdout: labelled("app.kubernetes.io/managed-by=logging-platform"),
    },
  ];
  const applications = [
    `${k} -n argocd patch application root --type merge -p {"metadata":{"finalizers":["resources-finalizer.argocd.argoproj.io"]}}`,
    `${k} -n argocd delete application root --wait --timeout=600s`,
  ];
  const clusterWide =
    "validatingadmissionpolicybindings,validatingadmissionpolicies,clusterrolebindings,clusterroles";
  const argocd = [
    `${k} delete --ignore-not-found --timeout=300s -f -`,
    `${k} delete ${clusterWide} -l app.kubernetes.io/part-of=platform --ignore-not-found`,
  ];

  it("removes the Applications while Argo CD lives, then Argo CD, then Istio", async () => {
    stubs.answer("kubectl", healthy(there));
    expect(await stubs.run(["destroy", ...context])).toMatchObject({ exitCode: 0 });
    expect(changing()).toEqual([
      ...applications,
      ...argocd,
      "istioctl uninstall --context mine --purge --skip-confirmation",
      `${k} delete namespace istio-system --ignore-not-found --timeout=300s`,
    ]);
  });

  it("leaves an Istio alone that it did not install, and one that is to be kept", async () => {
    stubs.answer("kubectl", healthy(there.slice(0, 1)));
    await stubs.run(["destroy", ...context]);
    expect(changing()).toEqual([...applications, ...argocd]);
    stubs.answer("kubectl", healthy(there));
    await stubs.run(["destroy", ...context, "--keep-istio"]);
    expect(changing().slice(4)).toEqual([...applications, ...argocd]);
  });

  it("leaves an Argo CD alone that it did not install", async () => {
    const none = { stderr: "(NotFound)", code: 1 };
    stubs.answer("kubectl", healthy([{ when: "*get*application root*", ...none }]));
    await stubs.run(["destroy", ...context]);
    expect(changing()).toEqual([]);
  });

  it("stops where the Applications do not go, and names them", async () => {
    stubs.answer(
      "kubectl",
      healthy([
        ...there,
        { when: "*delete application*", stderr: "timed out", code: 1 },
        { when: "*get applications -o name*", stdout: "application.argoproj.io/logging\n" },
      ]),
    );
    const { exitCode, stderr } = await stubs.run(["destroy", ...context]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("the Applications still exist: application.argoproj.io/logging");
    expect(stderr).toContain("next: kubectl --context mine -n argocd describe applications");
    expect(changing()).toEqual(applications);
  });

  it("tells what it would do", async () => {
    stubs.answer("kubectl", healthy(there));
    const { stdout } = await stubs.run(["destroy", ...context, "--dry-run"]);
    expect(stdout.split("\n")).toEqual([
      "delete the Application root, and with it every Application and all their objects",
      "remove Argo CD and the namespace argocd",
      "remove Istio and the namespace istio-system",
    ]);
    expect(changing()).toEqual([]);
  });
});

describe("kind", () => {
  const kindContext = ["--context", "kind-logging-platform", ...repo, "--registry", "localhost:5001/lp"];
  const kk = "kubectl --context kind-logging-platform";
  const inspect = "inspect --format {{.State.Running}} *";
  const networks = "inspect --format {{range* *";
  const hosts = "/etc/containerd/certs.d/localhost:5001";

  it("is created with a registry that its nodes know", async () => {
    stubs.answer("kind", [{ when: "get nodes*", stdout: "logging-platform-worker\n" }]);
    stubs.answer("docker", [
      { when: inspect, stderr: "No such object", code: 1 },
      { when: networks, stdout: "bridge " },
    ]);
    expect(await stubs.run(["kind", ...kindContext])).toMatchObject({ exitCode: 0 });
    const made = stubs.calls().filter((call) => !call.startsWith("docker inspect"));
    expect(made).toEqual([
      "kind get clusters",
      `kind create cluster --name logging-platform --config ${join(checkout, "bootstrap/existing/kind.yaml")} --wait 180s`,
      `docker run --detach --restart=always --publish 127.0.0.1:5001:5000 --name logging-platform-registry docker.io/library/registry:${registry}`,
      "docker network connect kind logging-platform-registry",
      "kind get nodes --name logging-platform",
      `docker exec logging-platform-worker mkdir -p ${hosts}`,
      `docker exec -i logging-platform-worker cp /dev/stdin ${hosts}/hosts.toml`,
      `${kk} apply --server-side --field-manager=deploy -f -`,
    ]);
    expect(stubs.inputs()[0]?.input.trim()).toBe('[host."http://logging-platform-registry:5000"]');
  });

  it("that is there is only completed", async () => {
    stubs.answer("kind", [{ when: "get clusters", stdout: "other\nlogging-platform\n" }]);
    stubs.answer("docker", [
      { when: inspect, stdout: "false" },
      { when: networks, stdout: "bridge kind " },
    ]);
    await stubs.run(["kind", ...kindContext]);
    const made = stubs.calls().filter((call) => !/^(docker inspect|kind get)/.test(call));
    expect(made).toEqual([
      "docker start logging-platform-registry",
      `${kk} apply --server-side --field-manager=deploy -f -`,
    ]);
  });

  it.each([
    ["kind", "create cluster*", "port 80 is already allocated"],
    ["docker", "run *", "Cannot connect to the Docker daemon"],
  ])("says what %s says where it fails", async (program, when, words) => {
    stubs.answer("docker", [{ when: inspect, code: 1 }]);
    stubs.answer(program, [
      ...(program === "docker" ? [{ when: inspect, code: 1 }] : []),
      { when, stderr: words, code: 125 },
    ]);
    const { exitCode, stderr } = await stubs.run(["kind", ...kindContext]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("failed (exit 125)");
    expect(stderr).toContain(words);
    expect(stderr).toContain(`next: tail -n 40 ${stubs.log}`);
    expect(stubs.calls().some((call) => call.includes("kubectl"))).toBe(false);
  });

  it("gets the images of services, built from what is committed", slow, async () => {
    const { applications } = await childrenOf(checkout, "upstream");
    const text = JSON.stringify(applications.map(({ manifests }) => manifests));
    const images = [...new Set(text.match(/docker\.io\/logging-platform\/[\w-]+:[0-9a-f]{12}/g))].map(
      (image) => image.replace("docker.io/logging-platform", "localhost:5001/lp"),
    );
    expect(images.length).toBeGreaterThan(1);
    const { exitCode, stderr } = await stubs.run(["Images", ...kindContext]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    const made = stubs.calls().filter((call) => !call.startsWith("docker version"));
    expect(made).toEqual(
      images.flatMap((image) => [
        expect.stringMatching(new RegExp(`^docker build --tag ${image} /`)),
        `docker push ${image}`,
      ]),
    );
    stubs.answer("docker", [{ when: "push*", stderr: "connection refused", code: 1 }]);
    const failed = await stubs.run(["Images", ...kindContext]);
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain("connection refused");
    expect(failed.stderr).toMatch(/next: docker push localhost:5001\/lp\//);
    // The build directory is removed by then, so the advice names the directory in the checkout.
    stubs.answer("docker", [{ when: "build*", stderr: "no space left", code: 1 }]);
    const unbuilt = await stubs.run(["Images", ...kindContext]);
    expect(unbuilt.stderr).toMatch(
      /next: docker build --tag localhost:5001\/lp\/[\w-]+:[0-9a-f]{12} services\//,
    );
  });

  it("goes with its registry", async () => {
    await stubs.run(["destroy", ...kindContext, "--kind"]);
    expect(stubs.calls().filter((call) => !call.startsWith("docker inspect"))).toEqual([
      "kind delete cluster --name logging-platform",
      "docker rm --force --volumes logging-platform-registry",
    ]);
  });
});

it("never calls helm: Argo CD renders the chart", slow, async () => {
  for (const command of ["Pre-flight", "Istio", "Argo CD", "Applications", "Platform answers", "summary"])
    expect(
      await stubs.run([command, ...context, ...repo, "--registry", "registry.example/me"]),
    ).toMatchObject({ exitCode: 0 });
  expect(stubs.calls().filter((call) => call.startsWith("helm"))).toEqual([]);
});
