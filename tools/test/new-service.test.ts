/** `npm run new -- service`: what it writes keeps to everything that this repository asks of its own. */
import { appendFileSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa, type Result } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Git } from "../../lib/git/git.ts";
import { futureTag, sourceTag } from "../../lib/git/source-tag.ts";
import { checkout, readRepository } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { follow } from "../../lib/test/follow.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { checkFree, checkHost, checkName, checkPath } from "../src/new/names.ts";

const directory = mkdtempSync(join(tmpdir(), "new-service-"));
const copy = join(directory, "platform");
const git = new Git(copy);
const bin = (name: string): string => join(checkout, "node_modules/.bin", name);
// As long as a name can be, with what a name may have.
const long = `a1-${"x".repeat(50)}-9`;

const cli = await bundle(join(checkout, "tools/src/cli.ts"));
const gitops = (...args: string[]) => execa(process.execPath, [cli, ...args], { reject: false, cwd: copy });
const service = (name: string, ...options: string[]) =>
  gitops("new", "service", name, "--directory", copy, ...options);
const said = ({ exitCode, stdout, stderr }: Pick<Result, "exitCode" | "stdout" | "stderr">): unknown[] => [
  exitCode,
  stdout,
  stderr,
];

const nextOf = (stderr: string): string | undefined => /^ *next: (.*)$/m.exec(stderr)?.[1];

beforeAll(async () => {
  // With the history: tags are held to it. And with what is changed and not committed here.
  await new Git(directory).run("clone", "--quiet", checkout, copy);
  await git.run("remote", "remove", "origin");
  const listed = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
  await git.run("rm", "--quiet", "-r", ".");
  for (const file of new Set((await new Git(checkout).run(...listed)).split("\0"))) {
    if (file === "" || !existsSync(join(checkout, file))) continue;
    await mkdir(dirname(join(copy, file)), { recursive: true });
    cpSync(join(checkout, file), join(copy, file));
  }
  await git.run("config", "user.name", "A");
  await git.run("config", "user.email", "a@example.org");
  // A link is none of the directories that .gitignore means.
  appendFileSync(join(copy, ".git/info/exclude"), "node_modules\n");
  symlinkSync(join(checkout, "node_modules"), join(copy, "node_modules"));
  await commit("as it is");
}, 900_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function commit(message: string): Promise<string> {
  await git.run("add", "--all");
  await git.run("commit", "--quiet", "--allow-empty", "--message", message);
  return git.run("rev-parse", "HEAD^{tree}");
}

const untracked = async (): Promise<string[]> =>
  (await git.run("ls-files", "-z", "--others", "--modified", "--exclude-standard"))
    .split("\0")
    .filter(Boolean);

let before: string;

describe("services of every kind", slow, () => {
  beforeAll(async () => {
    before = await git.run("rev-parse", "HEAD^{tree}");
    expect(said(await service("hello"))[0]).toBe(0);
    expect(said(await service(long, "--host", "long.example.com"))[0]).toBe(0);
    const image = ["--image", "ghcr.io/example/echo:1.2", "--port", "5678"];
    expect(said(await service("echo", ...image, "--path", "/tools/echo"))[0]).toBe(0);
    const scraped = ["--image", "ghcr.io/example/counts:2", "--metrics-port", "9102", "--health", "/healthz"];
    expect(said(await service("counts-2", ...scraped))[0]).toBe(0);
  }, 900_000);

  it("pass every rule of validate before they are committed, and after", async () => {
    for (const when of ["before", "after"]) {
      if (when === "after") await commit("feat: services");
      const { stdout } = await gitops("validate", copy);
      expect(stdout).toMatch(/^0 findings in/m);
    }
  }, 900_000);

  it("have the tag of their sources, also where no commit has them yet", async () => {
    const tag = await sourceTag(copy, "services/hello");
    const files = ["base/workload", "overlays/staging", "overlays/production"];
    for (const file of files)
      expect(readFileSync(join(copy, "gitops/apps/hello", file, "kustomization.yaml"), "utf8")).toContain(
        `newTag: "${tag}"`,
      );
    expect(existsSync(join(copy, "services/echo"))).toBe(false);
  });

  it("have their style, their types and their tests", async () => {
    const paths = ["services/hello", "gitops", "tools/monitoring/test"];
    const style = await execa(bin("biome"), ["check", ...paths], { cwd: copy, reject: false, all: true });
    expect(style.exitCode, style.all).toBe(0);
    // The packages are some of those that the app has; another test holds the versions to it.
    symlinkSync(join(checkout, "services/app/node_modules"), join(copy, "services/hello/node_modules"));
    for (const script of ["types", "build", "test"]) {
      const args = ["run", script, "--prefix", "services/hello"];
      const { exitCode, all } = await execa("npm", args, { cwd: copy, reject: false, all: true });
      expect(exitCode, all).toBe(0);
    }
    rmSync(join(copy, "services/hello/node_modules"));
  }, 900_000);

  it("have alerts with cases and pages, and images that the embedded cluster builds", async () => {
    const files = ["tools/monitoring/test/rules.test.ts", "bootstrap/embedded/test/images.test.ts"];
    // The cases of the platform's own rules run elsewhere.
    const own = "service-|every alert|promtool check rules|logging-platform/";
    const args = ["run", "--reporter", "verbose", "--testNamePattern", own, ...files];
    const env = { NO_COLOR: "1", FORCE_COLOR: undefined, VITEST: undefined };
    const { exitCode, all } = await execa(bin("vitest"), args, { cwd: copy, reject: false, all: true, env });
    expect(exitCode, all).toBe(0);
    for (const name of ["hello", long, "echo", "counts-2"])
      expect(all).toContain(`promtool test rules service-${name}.yaml`);
    expect(all).toContain(
      "✓ bootstrap/embedded/test/images.test.ts > the image 'docker.io/logging-platform/hello' > has a Dockerfile",
    );
    expect(all).not.toContain("logging-platform/echo");
  }, 900_000);

  it("are released and promoted without an edit", async () => {
    const tag = await sourceTag(copy, "services/hello");
    const common = ["--dry-run", "--remote", "none", "--branch", "main", "--directory", copy];
    const released = await gitops("release", "hello", ...common, "--registry", "http://127.0.0.1:1");
    expect(said(released)[0], released.stderr).toBe(0);
    expect(released.stdout).toContain(`hello is already at ${tag}`);
    const promoted = await gitops("release", "hello", "--promote", "staging", ...common);
    expect(promoted.stdout).toContain(`hello is already at ${tag} in staging`);
  }, 900_000);

  it("change nothing when they are generated again, nor when a release has changed a tag", async () => {
    const file = join(copy, "gitops/apps/hello/base/workload/kustomization.yaml");
    await execa("sed", ["-i", 's/newTag: ".*"/newTag: "0123456789ab"/', file]);
    const changed = await untracked();
    expect(changed).toEqual(["gitops/apps/hello/base/workload/kustomization.yaml"]);
    const again = await service("hello");
    expect(said(again)).toEqual([
      0,
      expect.stringMatching(/^hello is there already: \d+ files are unchanged$/),
      "",
    ]);
    expect(await untracked()).toEqual(changed);
    await git.run("checkout", "--quiet", "--", ".");
  }, 900_000);

  it("keep what a person has edited, and say how to see it", async () => {
    const file = "services/hello/src/api.ts";
    appendFileSync(join(copy, file), "// mine\n");
    rmSync(join(copy, "services/hello/src/main.ts"));
    const { exitCode, stderr } = await service("hello");
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`${file} differs from what would be generated: nothing is written`);
    expect(existsSync(join(copy, "services/hello/src/main.ts"))).toBe(false);
    const shown = await follow(nextOf(stderr), { cwd: copy });
    expect(shown.all).toContain("< // mine");
    await git.run("checkout", "--quiet", "--", ".");
  }, 900_000);

  it("are taken out by one commit each, which leaves the tree as it was and means every deletion", async () => {
    await mkdir(join(copy, "services/hello/node_modules"));
    const names = ["hello", long, "echo", "counts-2"];
    // A diff renders both commits for both clusters: of what is built here, and of another's image.
    const compared = ["hello", "echo"];
    for (const name of names) {
      const parent = await git.run("rev-parse", "HEAD");
      const { exitCode, stderr } = await gitops("new", "remove", name, "--directory", copy, "--no-validate");
      expect(exitCode, stderr).toBe(0);
      expect(await git.run("rev-parse", "HEAD^")).toBe(parent);
      expect(await git.run("log", "-1", "--format=%B")).toContain(
        `Deletes: Deployment service-${name}/${name}\n`,
      );
      if (compared.includes(name)) {
        const { exitCode: meant, stdout } = await gitops("diff", "--base", parent, "--directory", copy);
        expect(meant, stdout).toBe(0);
      }
      expect(existsSync(join(copy, "services", name))).toBe(false);
    }
    expect(await git.run("rev-parse", "HEAD^{tree}")).toBe(before);
    expect(await untracked()).toEqual([]);
  }, 900_000);
});

describe("a dry run", () => {
  it("names exactly what is written, and writes nothing", async () => {
    const planned = await service("hello", "--dry-run");
    expect(await untracked()).toEqual([]);
    await service("hello");
    const lines = planned.stdout
      .split("\n")
      .map((line) => /^would (?:write|list it in) (.*)$/.exec(line)?.[1]);
    expect(lines.sort()).toEqual((await untracked()).sort());
  }, 900_000);

  it("of a removal of what is in no commit is refused, and what is next takes it away", {
    ...slow,
    timeout: 900_000,
  }, async () => {
    await service("hello");
    const { exitCode, stderr } = await gitops("new", "remove", "hello", "--directory", copy);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("the service hello is not committed yet");
    await follow(nextOf(stderr), { cwd: copy });
    expect(await untracked()).toEqual([]);
  });

  it("is followed by what is next: a commit, and a release or a push", {
    ...slow,
    timeout: 900_000,
  }, async () => {
    const stub = join(directory, "bin");
    await mkdir(stub);
    await execa("tee", [join(stub, "npm")], { input: '#!/bin/sh\necho "npm $*"\n', stdout: "ignore" });
    await execa("chmod", ["+x", join(stub, "npm")]);
    await execa("git", ["init", "--quiet", "--bare", join(directory, "remote.git")]);
    await git.run("remote", "add", "platform", join(directory, "remote.git"));
    const env = { PATH: `${stub}:${process.env.PATH}` };
    const start = await git.run("rev-parse", "HEAD");
    const image = ["--image", "ghcr.io/example/echo:1.2"];
    for (const [options, called] of [
      [image, "npm run wait"],
      [[], "npm run release -- fresh --push --wait"],
    ] as const) {
      await git.run("reset", "--quiet", "--hard", start);
      const { stdout } = await service("fresh", ...options);
      const followed = await follow(nextOf(stdout), { cwd: copy, env });
      expect(followed.exitCode, followed.all).toBe(0);
      expect(followed.all).toContain(called);
      expect(await git.run("log", "-1", "--format=%s")).toBe("feat(fresh): a service");
      expect(await untracked()).toEqual([]);
      if (options === image)
        expect(await git.run("ls-remote", "platform", "main")).toContain(await git.run("rev-parse", "HEAD"));
    }
    await git.run("reset", "--quiet", "--hard", start);
    await git.run("remote", "remove", "platform");
  });

  it("of a removal names files and trailers, and uncommitted changes are put aside first", {
    ...slow,
    timeout: 900_000,
  }, async () => {
    await service("hello");
    await commit("feat(hello): a service");
    const planned = await gitops("new", "remove", "hello", "--directory", copy, "--dry-run");
    expect(planned.stdout).toContain("  removes services/hello/src/api.ts\n");
    expect(planned.stdout).toContain("  Deletes: Namespace service-hello");
    appendFileSync(join(copy, "services/hello/src/api.ts"), "// mine\n");
    const { exitCode, stderr } = await gitops("new", "remove", "hello", "--directory", copy);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("services/hello/src/api.ts is not committed and would be lost");
    await follow(nextOf(stderr), { cwd: copy });
    expect(await untracked()).toEqual([]);
    expect(await git.run("stash", "list")).not.toBe("");
  });

  it("of a removal that was committed alone is followed by its push", {
    ...slow,
    timeout: 900_000,
  }, async () => {
    const remote = join(directory, "pushed.git");
    await execa("git", ["init", "--quiet", "--bare", remote]);
    await git.run("remote", "add", "platform", remote);
    await git.run("push", "--quiet", "platform", "HEAD:main");
    const start = await git.run("rev-parse", "HEAD");
    const removed = await gitops("new", "remove", "hello", "--directory", copy, "--no-validate");
    expect(removed.exitCode, removed.stderr).toBe(0);
    expect(await git.run("ls-remote", "platform", "main")).toContain(start);
    const followed = await follow(nextOf(removed.stdout), { cwd: copy });
    expect(followed.exitCode, followed.all).toBe(0);
    const head = await git.run("rev-parse", "HEAD");
    expect(await git.run("rev-parse", "HEAD^")).toBe(start);
    expect(await git.run("ls-remote", "platform", "main")).toContain(head);
    await git.run("remote", "remove", "platform");
    await git.run("reset", "--quiet", "--hard", start);
  });

  it("of what this command did not make is refused, and what is next lists what it made", {
    ...slow,
    timeout: 900_000,
  }, async () => {
    for (const name of ["logging", "app", "nobody"]) {
      const { exitCode, stderr } = await gitops("new", "remove", name, "--directory", copy);
      expect(exitCode).toBe(1);
      expect(stderr).toContain(`there is no service ${name} that was made by this command`);
      expect((await follow(nextOf(stderr), { cwd: copy })).all).toBe("gitops/root/application-hello.yaml");
    }
  });
});

describe("an environment", slow, () => {
  const environment = (name: string, ...options: string[]) =>
    gitops("new", "environment", name, "--directory", copy, ...options);

  it("has the overlays of another under its own name, passes validate, and again changes nothing", async () => {
    await git.run("reset", "--quiet", "--hard");
    const planned = await environment("qa", "--dry-run");
    expect(await untracked()).toEqual([]);
    const { exitCode, stdout, stderr } = await environment("qa");
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(stdout.replaceAll("wrote", "would write")).toBe(planned.stdout);
    const files = await untracked();
    expect(files).toContain("gitops/apps/log-agent/overlays/qa/kustomization.yaml");
    expect(files.every((file) => /^gitops\/apps\/[\w-]+\/overlays\/qa\//.test(file))).toBe(true);
    for (const file of files) expect(readFileSync(join(copy, file), "utf8")).not.toContain("staging");
    expect(readFileSync(join(copy, "gitops/apps/logging/overlays/qa/configmap-host.yaml"), "utf8")).toContain(
      "host: logging.qa.example.com",
    );
    expect((await gitops("validate", copy)).stdout).toMatch(/^0 findings in/m);
    expect((await environment("qa")).stdout).toMatch(/^qa is there already/);
    expect(await untracked()).toEqual(files);
    await git.run("clean", "--quiet", "--force", "-d", "gitops");
  }, 900_000);

  it.each([
    ["staging", [], "is not a name for another environment"],
    ["local", [], "is not a name for another environment"],
    ["Q", [], "is not a name for another environment"],
    ["qa", ["--from", "none"], "expected one of production, staging"],
    ["qa", ["--from", "production"], "qa would have the host logging.example.com, which production has"],
    ["qa", ["--host", "q"], "is not a host name"],
  ])("%s %j is refused", async (name, options, reason) => {
    const { exitCode, stderr } = await environment(name, ...options);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(reason)]);
  });
});

describe("a command line that cannot be meant is refused", () => {
  const refused: [string[], string][] = [
    [["--path", "/a", "--host", "a.example"], "--path and --host are two ways"],
    [["--port", "80"], "belong to --image"],
    [["--image", "nginx"], "names no registry"],
    [["--image", "docker.io/library/nginx"], "has no tag"],
    [["--image", "docker.io/library/nginx:latest"], "changes from day to day"],
    [["--image", 'docker.io/x:1"'], "is not one that a container runtime accepts"],
    [["--image", "ghcr.io/Example/echo:1"], "is not one that a container runtime accepts"],
    [["--image", "ghcr.io/example/echo:-1"], "is not one that a container runtime accepts"],
    [["--image", "docker.io/x:1", "--port", "15090"], "belongs to Istio's proxy"],
    [["--image", "docker.io/x:1", "--metrics-port", "15020"], "belongs to Istio's proxy"],
    [["--image", "docker.io/x:1", "--port", "0"], "expected a port"],
    [["--image", "docker.io/x:1", "--health", "x y"], "expected a path such as /healthz"],
    [["--image", "docker.io/x:1", "--metrics-port", "8080"], "are the same"],
    [["--print", "nothing"], "has no file nothing"],
  ];
  sweep(refused, 3)("%j", async (options, reason) => {
    const { exitCode, stderr } = await service("fresh", ...options);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(reason)]);
  });
});

describe("names", () => {
  it.each(["a", "hello", "a-1", "x2", `a${"b".repeat(54)}`])("%s is one", (name) => {
    checkName(name);
  });

  it.each([
    "",
    "-a",
    "a-",
    "1a",
    "A",
    "a_b",
    "a.b",
    "a/b",
    "../a",
    "a b",
    "all",
    "null",
    "true",
    "on",
    "deny-all",
    `a${"b".repeat(55)}`,
    `a${"b".repeat(63)}`,
  ])("'%s' is none", (name) => {
    expect(() => checkName(name)).toThrow(`'${name}'`);
  });

  const repository = new Map([
    ["services/cart/src/main.ts", ""],
    ["services/cart/openapi.yaml", "paths:\n  /: {}\n  /buy/{id}: {}\n"],
    ["gitops/apps/shop/base/a.yaml", ""],
    ["bootstrap/embedded/images/nginx/Dockerfile", ""],
    [
      "gitops/root/application-stack.yaml",
      "kind: Application\nmetadata:\n  labels:\n    name: x\n  name: stack\n",
    ],
    ["gitops/a/monitor.yaml", "# of\nkind: PodMonitor\nmetadata:\n  name: proxies\n"],
    ["gitops/a/kustomization.yaml", "images:\n  - name: a\n    newName: quay.io/x/web\n"],
    [
      "gitops/apps/old/base/mesh/virtualservice.yaml",
      "http:\n  - match:\n      - uri:\n          prefix: /old/\n",
    ],
    ["gitops/apps/far/base/mesh/gateway.yaml", "hosts:\n  - far.example.com\n"],
    ["gitops/platform/b/host.yaml", "data:\n  host: logging.example.com # not new.example.com\n"],
    ["gitops/platform/b/config.env", "URL=https://set.example.com/\n"],
    [
      "gitops/root/application-mine.yaml",
      "kind: Application\nmetadata:\n  name: mine\nspec:\n  project: services\n",
    ],
    ["services/mine/src/main.ts", ""],
  ]);

  it.each(["cart", "shop", "nginx", "stack", "proxies", "web"])("%s is taken", (name) => {
    expect(() => checkFree(repository, name)).toThrow(`'${name}' is taken by `);
  });

  it.each(["x", "mine", "a", "ca", "carts"])("%s is free, or its own", (name) => checkFree(repository, name));

  it.each(["/buy", "/buy/{id}", "/old", "/old/more", "x", "/", "/a/", "/a b", "//a"])(
    "the path %s is refused",
    (path) => expect(() => checkPath(repository, "x", path)).toThrow(path),
  );

  it.each(["/buyer", "/olds", "/a/b-c.d", "/ol"])("the path %s is free", (path) =>
    checkPath(repository, "x", path),
  );

  it.each([
    "far.example.com",
    "logging.example.com",
    "set.example.com",
    "10.0.0.1",
    "x",
    "*.example.com",
    "a..b",
    "A.example",
  ])("the host %s is refused", (host) => expect(() => checkHost(repository, "x", host)).toThrow(host));

  it.each(["example.com", "a.far.example.com", "far.example.co", "new.example.com"])(
    "the host %s is free",
    (host) => checkHost(repository, "x", host),
  );

  it("of the platform's own are taken by what the repository says", {
    ...slow,
    timeout: 900_000,
  }, async () => {
    const here = await readRepository(copy);
    for (const name of [
      "app",
      "log-archiver",
      "logging",
      "monitoring",
      "gateway",
      "git-server",
      "istiod",
      "nginx",
    ])
      expect(() => checkFree(here, name)).toThrow(`'${name}' is taken by `);
    for (const name of ["log", "logs", "status", "metrics"])
      expect(() => checkPath(here, name, `/${name}`)).toThrow(`the path /${name} overlaps with `);
    const { exitCode, stderr } = await service("gateway");
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("'gateway' is taken by ")]);
    expect((await service("logs")).stderr).toContain("the path /logs overlaps with ");
  });
});

it("the template's packages are the app's, in the same versions", () => {
  const read = (file: string) => JSON.parse(readFileSync(join(checkout, file), "utf8"));
  const template = "tools/templates/service/built/services/__NAME__";
  const [ours, apps] = [read(`${template}/package.json`), read("services/app/package.json")];
  for (const kind of ["dependencies", "devDependencies"])
    for (const [name, version] of Object.entries(ours[kind]))
      expect([name, apps[kind][name]]).toEqual([name, version]);
  const [locked, appsLocked] = [
    read(`${template}/package-lock.json`),
    read("services/app/package-lock.json"),
  ];
  for (const [path, { version, integrity }] of Object.entries<Record<string, string>>(locked.packages)) {
    if (path === "") continue;
    expect([path, appsLocked.packages[path]?.version]).toEqual([path, version]);
    expect(integrity, path).toMatch(/^sha512-/);
  }
});

it("the tag that sources will have is the one that Git gives them", async () => {
  const root = join(directory, "tags");
  await mkdir(root);
  const own = new Git(root);
  const files = new Map([
    ["a", "1\n"],
    ["a.b", ""],
    ["a-b/ü", "ü"],
    ["a/b/c", "2"],
    ["b0", "x"],
  ]);
  files.delete("a");
  for (const format of ["sha1", "sha256"]) {
    await own.run("init", "--quiet", `--object-format=${format}`);
    for (const [path, text] of files) {
      await mkdir(dirname(join(root, "services/x", path)), { recursive: true });
      await execa("tee", [join(root, "services/x", path)], { input: text, stdout: "ignore" });
    }
    await own.run("add", "--all");
    await own.run("-c", "user.name=A", "-c", "user.email=a@b", "commit", "--quiet", "--message", "x");
    expect(await futureTag(root, files)).toBe(await sourceTag(root, "services/x"));
    rmSync(join(root, ".git"), { recursive: true });
  }
});
