import { existsSync, readdirSync } from "node:fs";
import { chmod, chown, cp, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { examineCheckout } from "../../bootstrap/embedded/src/inspect.ts";
import { originURL } from "../../bootstrap/existing/src/target.ts";
import { childrenOf } from "../../lib/render/start.ts";
import { checkout, readRepository } from "../../lib/repository.ts";
import { follow } from "../../lib/test/follow.ts";
import { slow, sweep } from "../../lib/test/long.ts";

// deploy.sh with the real Git and the real Node, in checkouts and environments as people have them.
const origin = "https://git.example/team/platform.git";
let directory: string;
let plain: string;
const path = (...parts: string[]): string => join(directory, ...parts);
const git = (cwd: string, ...args: string[]) =>
  execa("git", ["-C", cwd, "-c", "user.name=A", "-c", "user.email=a@example.org", ...args]);

/** Makes what a clone holds a checkout that deploy.sh need not install packages for. */
async function furnish(clone: string): Promise<void> {
  await symlink(join(checkout, "node_modules"), join(clone, "node_modules"));
  await utimes(join(clone, "package-lock.json"), 1000, 1000);
}

beforeAll(async () => {
  await childrenOf(checkout, "upstream");
  directory = await mkdtemp(join(tmpdir(), "checkout-"));
  plain = path("plain");
  for (const file of (await readRepository(checkout)).keys()) {
    if (/^(docs|e2e)\//.test(file)) continue;
    await mkdir(dirname(join(plain, file)), { recursive: true });
    await cp(join(checkout, file), join(plain, file));
  }
  await git(plain, "init", "--quiet", "-b", "main");
  await git(plain, "add", "--all");
  await git(plain, "commit", "--quiet", "--message", "one");
  await git(plain, "commit", "--quiet", "--allow-empty", "--message", "two");
  await git(plain, "remote", "add", "origin", origin);
  await furnish(plain);
  await mkdir(path("bin"));
  for (const [name, script] of [
    ["kubectl", "exit 0"],
    ["id", "echo 0"],
    // Whatever is not refused before it takes the lock ends there: no test here may touch the machine's platform.
    ["flock", "exit 9"],
  ] as const) {
    await writeFile(path("bin", name), `#!/bin/sh\n${script}\n`);
    await chmod(path("bin", name), 0o755);
  }
}, 900_000);
afterAll(() => rm(directory, { recursive: true, force: true }));

interface Run {
  environment?: Record<string, string | undefined>;
  cwd?: string;
}

const deploy = (clone: string, args: string[], { environment = {}, cwd = clone }: Run = {}) =>
  execa("bash", [join(clone, "deploy.sh"), ...args], {
    cwd,
    env: {
      PATH: `${path("bin")}:${process.env.PATH}`,
      DEPLOY_LOG: path("deploy.log"),
      STATE_DIR: path("state"),
      NODE_OPTIONS: undefined,
      ...environment,
    },
    reject: false,
  });
const dryRun = ["--context", "mine", "--dry-run"];

// Those of every cluster, and Argo CD itself, which is an existing cluster's own.
const applications = [
  "argocd",
  ...readdirSync(join(checkout, "gitops/root")).flatMap(
    (file) => /^application-(.+)\.yaml$/.exec(file)?.[1] ?? [],
  ),
].sort();

describe("a dry run for an existing cluster", () => {
  // The first has what each of the others has.
  const odd = ["all #?%41 of & them", "a b", "a#b", "a?b", "a%41b"];
  sweep(odd, 1)(
    "works in a directory named %s",
    async (name) => {
      const clone = path("odd", name);
      await execa("git", ["clone", "--quiet", plain, clone]);
      await furnish(clone);
      const { exitCode, stdout, stderr } = await deploy(clone, dryRun);
      expect([exitCode, stderr]).toEqual([0, ""]);
      expect(stdout).toContain(`which creates: ${applications.join(", ")}`);
    },
    60_000,
  );

  it("works in a hook, whose variables name another repository", { ...slow, timeout: 60_000 }, async () => {
    const environment = {
      GIT_DIR: "/nonexistent",
      GIT_WORK_TREE: "/nonexistent",
      GIT_INDEX_FILE: "/nonexistent",
    };
    const { exitCode, stdout } = await deploy(plain, dryRun, { environment });
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`have it read ${origin} `);
  });

  it("takes no configuration of TypeScript from where the shell is", {
    ...slow,
    timeout: 60_000,
  }, async () => {
    const cwd = path("elsewhere");
    await mkdir(cwd);
    await writeFile(join(cwd, "theirs.ts"), "throw new Error('not ours');");
    const compilerOptions = { baseUrl: ".", paths: { commander: ["./theirs.ts"] } };
    await writeFile(join(cwd, "tsconfig.json"), JSON.stringify({ compilerOptions }));
    expect(await deploy(plain, dryRun, { cwd })).toMatchObject({ exitCode: 0 });
  });
});

describe("the repository that Argo CD is told", slow, () => {
  const told = async (url: string, ...settings: [string, string][]): Promise<string | undefined> => {
    const clone = await mkdtemp(path("remote-"));
    await git(clone, "init", "--quiet");
    await git(clone, "remote", "add", "origin", url);
    for (const [key, value] of settings) await git(clone, "config", key, value);
    return originURL(clone);
  };

  it.each([
    ["https to SSH", origin, ["url.git@git.example:.insteadOf", "https://git.example/"]],
    [
      "SSH to https",
      "git@git.example:team/p.git",
      ["url.https://git.example/.insteadOf", "git@git.example:"],
    ],
    ["SSH without a user", "git.example:team/p.git", ["url.https://git.example/.insteadOf", "git.example:"]],
    ["to a cache", origin, ["url.http://127.0.0.1:8080/.insteadOf", "https://"]],
    ["to a copy on this disk", origin, ["url./srv/git/.insteadOf", "https://git.example/"]],
    ["for pushes", origin, ["url.git@git.example:.pushInsteadOf", "https://git.example/"]],
  ] as [string, string, [string, string]][])(
    "is the configured one where this machine rewrites it: %s",
    async (_, url, setting) => {
      expect(await told(url, setting)).toBe(url);
    },
  );

  it("is spelt out where it is a shorthand that only this machine knows", async () => {
    const shorthand: [string, string] = ["url.https://git.example/.insteadOf", "work:"];
    expect(await told("work:team/platform.git", shorthand)).toBe(origin);
  });

  it("is the first of several", async () => {
    expect(await told(origin, ["remote.pushDefault", "origin"])).toBe(origin);
    const clone = await mkdtemp(path("remote-"));
    await git(clone, "init", "--quiet");
    await git(clone, "remote", "add", "origin", origin);
    await git(clone, "remote", "set-url", "--add", "origin", "https://mirror.example/p.git");
    expect(await originURL(clone)).toBe(origin);
  });

  it("is none without a remote of that name", async () => {
    const clone = await mkdtemp(path("remote-"));
    await git(clone, "init", "--quiet");
    await git(clone, "remote", "add", "platform", origin);
    expect(await originURL(clone)).toBeUndefined();
  });

  it("stands in the plan as it is configured", async () => {
    await git(plain, "config", "url.ssh://git@git.example/.insteadOf", "https://git.example/");
    try {
      const { stdout } = await deploy(plain, dryRun);
      expect(stdout).toContain(`have it read ${origin} (instead of`);
    } finally {
      await git(plain, "config", "--unset-all", "url.ssh://git@git.example/.insteadOf");
    }
  }, 60_000);
});

describe("a checkout of another owner", slow, () => {
  const environment = { GIT_TEST_ASSUME_DIFFERENT_OWNER: "1" };

  it.each([[dryRun], [["--context", "mine"]], [["--dry-run"]], [["bootstrap"]]])(
    "is refused by %j with Git's own words, before anything is done",
    async (args) => {
      const { exitCode, stdout, stderr } = await deploy(plain, args, { environment });
      expect([exitCode, stdout]).toEqual([1, ""]);
      expect(stderr).toContain(`fatal: detected dubious ownership in repository at '${plain}'`);
      expect(stderr).toContain(`git config --global --add safe.directory ${plain}`);
    },
  );

  it("is told of by doctor, with the command that Git advises", async () => {
    const owned = async (user: number): Promise<void> => {
      for (const place of [plain, join(plain, ".git")]) await chown(place, user, user);
    };
    await owned(12_345);
    try {
      expect(await examineCheckout(plain)).toEqual({
        what: "checkout",
        finding: `fatal: detected dubious ownership in repository at '${plain}'`,
        remedy: `git config --global --add safe.directory ${plain}`,
      });
      await expect(originURL(plain)).rejects.toThrow("dubious ownership");
      const home = { HOME: path("home"), GIT_CONFIG_GLOBAL: undefined };
      await mkdir(home.HOME, { recursive: true });
      for (const [name, value] of Object.entries(home)) vi.stubEnv(name, value);
      const { remedy } = await examineCheckout(plain);
      expect(await follow(remedy, { env: home })).toMatchObject({ exitCode: 0 });
      expect(await examineCheckout(plain)).toEqual({ what: "checkout", finding: "has its whole history" });
      vi.unstubAllEnvs();
      const { exitCode, stderr } = await deploy(plain, dryRun);
      expect([exitCode, stderr]).toEqual([1, expect.stringContaining("dubious ownership")]);
    } finally {
      await owned(process.getuid?.() ?? 0);
    }
  });

  it("that is no repository at all is refused too", async () => {
    const clone = path("unpacked");
    await mkdir(clone);
    await cp(join(plain, "deploy.sh"), join(clone, "deploy.sh"));
    const { exitCode, stderr } = await deploy(clone, ["bootstrap"]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^fatal: not a git repository.*\nGit does not read /s);
  });
});

describe("a shallow clone", () => {
  sweep(["--dry-run", "bootstrap"], 1)("is refused by %s before stage 1", async (command) => {
    const clone = path(`shallow-${command}`);
    await execa("git", ["clone", "--quiet", "--depth=1", `file://${plain}`, clone]);
    await furnish(clone);
    const { exitCode, stdout, stderr } = await deploy(clone, [command]);
    expect([exitCode, stdout]).toEqual([1, ""]);
    expect(stderr).toContain("this clone is shallow");
    // What is advised is what mends it.
    const [, advised = ""] = /next: (git .*) && \.\/deploy\.sh/.exec(stderr) ?? [];
    expect(await follow(advised)).toMatchObject({ exitCode: 0 });
    expect(await examineCheckout(clone)).toEqual({ what: "checkout", finding: "has its whole history" });
  });

  it("is told of by doctor", slow, async () => {
    const clone = path("shallow-doctor");
    await execa("git", ["clone", "--quiet", "--depth=1", `file://${plain}`, clone]);
    const { remedy } = await examineCheckout(clone);
    expect(await follow(remedy, { cwd: clone })).toMatchObject({ exitCode: 0 });
    expect(await examineCheckout(clone)).toEqual({ what: "checkout", finding: "has its whole history" });
  });
});

describe("a clone by a Git that writes the line endings of Windows", () => {
  const habits = [
    [["core.autocrlf=true"]],
    [["core.eol=crlf"]],
    [["core.autocrlf=true", "core.eol=crlf", "core.safecrlf=false"]],
    [["core.autocrlf=input", "core.eol=crlf"]],
  ];
  sweep(habits, 1)("%j has none, and neither has what an image is built from", async (settings) => {
    const options = settings.flatMap((setting) => ["-c", setting]);
    const clone = await mkdtemp(path("crlf-"));
    await execa("git", [...options, "clone", "--quiet", plain, clone]);
    for (const setting of settings) await git(clone, "config", ...setting.split("="));
    const { stdout } = await git(clone, "ls-files", "--eol");
    expect(stdout.split("\n").filter((line) => /w\/(crlf|mixed)/.test(line))).toEqual([]);
    expect(await readFile(join(clone, "deploy.sh"), "utf8")).not.toContain("\r");
    expect(await deploy(clone, ["--help"])).toMatchObject({ exitCode: 0, stderr: "" });
    // A checkout of a file that was changed in between as well.
    await rm(join(clone, "services/app/src/main.ts"));
    await git(clone, "checkout", "--", "services/app/src/main.ts");
    expect(await readFile(join(clone, "services/app/src/main.ts"), "utf8")).not.toContain("\r");
  });
});

describe("npm ci", () => {
  const settings: [string, Record<string, string>][] = [
    ["both", { NODE_ENV: "production", npm_config_omit: "optional" }],
    ["NODE_ENV", { NODE_ENV: "production" }],
    ["omit=dev", { npm_config_omit: "dev" }],
    ["omit=optional", { npm_config_omit: "optional" }],
  ];
  sweep(settings, 0)(
    "installs what the commands are made of with %s",
    async (_, environment) => {
      const project = await mkdtemp(path("npm-"));
      for (const name of ["needed", "native"]) {
        await mkdir(join(project, name));
        await writeFile(join(project, name, "package.json"), JSON.stringify({ name, version: "1.0.0" }));
      }
      const dependencies = {
        devDependencies: { needed: "file:needed" },
        optionalDependencies: { native: "file:native" },
      };
      await writeFile(
        join(project, "package.json"),
        JSON.stringify({ name: "x", version: "1.0.0", ...dependencies }),
      );
      const npm = (args: string[], env = {}) =>
        execa("npm", [...args, "--offline", "--no-audit"], { cwd: project, env });
      await npm(["install", "--package-lock-only"]);
      await cp(join(checkout, ".npmrc"), join(project, ".npmrc"));
      await npm(["ci"], environment);
      for (const name of ["needed", "native"])
        expect(existsSync(join(project, "node_modules", name))).toBe(true);
    },
    60_000,
  );

  it("is asked for them for every service too", async () => {
    const { scripts } = JSON.parse(await readFile(join(checkout, "package.json"), "utf8")) as {
      scripts: { postinstall: string };
    };
    const services = ["first", "second"];
    for (const service of [...services, "no-package"]) {
      await mkdir(path("postinstall/services", service), { recursive: true });
      if (service !== "no-package")
        await writeFile(path("postinstall/services", service, "package.json"), "{}");
    }
    await mkdir(path("postinstall/bin"));
    await writeFile(path("postinstall/bin/npm"), '#!/bin/sh\necho "npm $*"\n', { mode: 0o755 });
    const run = (npm: string) =>
      execa("sh", ["-c", scripts.postinstall], {
        cwd: path("postinstall"),
        env: { PATH: `${path(npm)}:${process.env.PATH}` },
        reject: false,
      });
    const { stdout, exitCode } = await run("postinstall/bin");
    expect(exitCode).toBe(0);
    // They are installed side by side.
    expect(stdout.split("\n").sort()).toEqual(
      services.map((service) => `npm ci --include=dev --include=optional --prefix services/${service}`),
    );
    await mkdir(path("postinstall/failing"));
    await writeFile(path("postinstall/failing/npm"), "#!/bin/sh\nexit 3\n", { mode: 0o755 });
    expect((await run("postinstall/failing")).exitCode).toBe(3);
    await mkdir(path("postinstall/failing-once"));
    const oneFails = '#!/bin/sh\necho "npm $*" >&2\ncase "$*" in *services/first) exit 4 ;; esac\n';
    await writeFile(path("postinstall/failing-once/npm"), oneFails, { mode: 0o755 });
    const once = await run("postinstall/failing-once");
    expect(once.exitCode).toBe(4);
    expect(once.stderr).toContain("services/first");
    expect(once.stderr).toContain("services/second");
  });
});
