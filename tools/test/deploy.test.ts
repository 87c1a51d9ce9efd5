import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa, execaSync } from "execa";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { checkout } from "../src/repository.ts";

// deploy.sh itself runs, as a copy, with everything that it starts replaced by programs that only write down what they were asked.
const commit = "c0ffee".padEnd(40, "0");
const istioctl = 'echo "istioctl $*" >> "$CALLS"; test "$FAILS" != istioctl';
const programs = { git: "", npm: "", go: "echo auto", id: "echo 0", istioctl };
const node = `
case $1 in
  -p) echo "\${NODE_MAJOR:-20}"; exit ;;
  -v) echo "v\${NODE_MAJOR:-20}.0.0"; exit ;;
esac
tool=gitops
case $3 in */embedded/*) tool=embedded ;; esac
shift 3
echo "$tool $*" >> "$CALLS"
if [ "$tool $*" = "$FAILS" ]; then
  until [ -e "\${COMPILER:-/}" ] || [ ! -e "$CALLS" ]; do sleep 0.1; done
  echo "it is broken" >&2
  exit 7
fi
case "$tool $*" in
  "embedded build") if [ "$COMPILER" ]; then sleep 600 & echo $! > "$COMPILER.new"; mv "$COMPILER.new" "$COMPILER"; wait; fi ;;
  "embedded publish") echo ${commit} ;;
  "gitops source"*) echo "http://git.example/platform.git main" ;;
  "gitops render"*) echo "rendered: $*" ;;
  "embedded apply") cat >> "$CALLS" ;;
  "embedded env") echo "export APP_URL=here" ;;
esac
`;
// All that deploy.sh and its stand-ins take from the machine.
const names = "bash cat date dirname flock grep mkdir mv rm setsid sh sleep";
const borrowed = execaSync("sh", ["-c", `command -v ${names.replaceAll(" ", "; command -v ")}`]).stdout.split(
  "\n",
);
const flock = borrowed.find((program) => basename(program) === "flock") ?? "";

let directory: string;
const path = (...parts: string[]): string => join(directory, ...parts);
/** Puts a program of ours on the PATH, before the machine's; an exclusive write follows no link. */
const replace = async (name: string, script: string): Promise<void> => {
  await rm(path("bin", name), { force: true });
  await writeFile(path("bin", name), `#!/bin/sh\n${script}`, { flag: "wx", mode: 0o755 });
};
const deploy = (args: string[], environment: Record<string, string> = {}) =>
  execa("bash", [path("deploy.sh"), ...args], {
    env: {
      PATH: `${path("bin")}:${path("machine")}`,
      STATE_DIR: path("state"),
      CACHE_DIR: path("cache"),
      DEPLOY_LOG: path("log", "deploy.log"),
      CALLS: path("calls"),
      ...environment,
    },
    extendEnv: false,
    reject: false,
  });
const calls = async (): Promise<string[]> =>
  existsSync(path("calls")) ? (await readFile(path("calls"), "utf8")).trim().split("\n") : [];
/** What was called, without the compiling that goes on beside the stages. */
const stageCalls = async (): Promise<string[]> => (await calls()).filter((call) => call !== "embedded build");

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "deploy-"));
  const text = await readFile(join(checkout, "deploy.sh"), "utf8");
  const own = text.replace(/^lock=.*$/m, `lock=${path("lock")}`);
  expect(own).not.toBe(text);
  await writeFile(path("deploy.sh"), own);
  for (const name of ["bin", "machine", "node_modules"]) await mkdir(path(name));
  for (const [name, time] of [
    ["package-lock.json", 1000],
    ["node_modules/.package-lock.json", 2000],
  ] as const) {
    await writeFile(path(name), "{}");
    await utimes(path(name), time, time);
  }
  for (const program of borrowed) await symlink(program, path("machine", basename(program)));
  for (const [name, script] of Object.entries({ ...programs, node })) await replace(name, script);
});
afterEach(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }));

describe("the command line", () => {
  it.each(["--help", "-h"])("explains itself with %s, whoever asks on whatever machine", async (option) => {
    for (const name of ["node", "npm", "go", "git", "id"]) await rm(path("bin", name));
    const { exitCode, stdout, stderr } = await deploy([option]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    for (const command of ["bootstrap", "status", "env", "doctor", "destroy"])
      expect(stdout).toMatch(new RegExp(`^  ${command} `, "m"));
    for (const option of [
      "--http-port",
      "--purge",
      "--dry-run",
      "--help",
      "STATE_DIR",
      "CACHE_DIR",
      "DEPLOY_LOG",
    ])
      expect(stdout).toContain(option);
    for (const code of [0, 1, 2, 3]) expect(stdout).toMatch(new RegExp(`^  ${code}  `, "m"));
  });

  it.each([
    [["bootsrap"], "unknown argument: bootsrap"],
    [["--force"], "unknown argument: --force"],
    [["destroy", "all"], "unknown argument: all"],
    [["--http-port", "abc"], "--http-port takes a number, not 'abc'"],
    [["--http-port=80a"], "--http-port takes a number, not '80a'"],
    [["--http-port", "-1"], "--http-port takes a number, not '-1'"],
    [["--http-port", "123456"], "--http-port takes a number, not '123456'"],
    [["--purge"], "--purge belongs to destroy"],
    [["status", "--purge"], "--purge belongs to destroy"],
  ])("is refused where it is %j, before anything is done", async (args, message) => {
    const { exitCode, stdout, stderr } = await deploy(args);
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `${message}\nnext: ./deploy.sh --help`,
    });
    expect(await calls()).toEqual([]);
  });

  it("is checked before the machine", async () => {
    await replace("id", "echo 1000");
    expect(await deploy(["--purge"])).toMatchObject({ exitCode: 2 });
  });
});

describe("the machine", () => {
  const commands = ["bootstrap", "status", "env", "doctor", "destroy"];

  it.each(commands)("has to give root for %s", async (command) => {
    await replace("id", "echo 1000");
    const { exitCode, stdout, stderr } = await deploy([command]);
    expect([exitCode, stdout]).toEqual([3, ""]);
    expect(stderr).toMatch(/root \(next: sudo/);
    expect(await calls()).toEqual([]);
  });

  it.each(["git", "node", "npm", "go"])("has to have %s", async (name) => {
    await rm(path("bin", name));
    const { exitCode, stderr } = await deploy([]);
    expect(exitCode).toBe(3);
    expect(stderr).toBe(`missing: ${name} (next: install ${name} and run ./deploy.sh again)`);
    expect(await calls()).toEqual([]);
  });

  it("is told everything that it lacks at once", async () => {
    for (const name of ["npm", "go"]) await rm(path("bin", name));
    expect(await deploy([])).toMatchObject({
      exitCode: 3,
      stderr: expect.stringContaining("missing: npm go "),
    });
  });

  it("has to have a Node that is not too old", async () => {
    const { exitCode, stderr } = await deploy(["status"], { NODE_MAJOR: "18" });
    expect(exitCode).toBe(3);
    expect(stderr).toContain("Node v18.0.0 is too old: 20");
  });

  it("has to have a Go that fetches its own toolchains", async () => {
    await replace("go", 'if [ "$1" = version ]; then echo go version go1.20; fi');
    const { exitCode, stderr } = await deploy(["status"]);
    expect(exitCode).toBe(3);
    expect(stderr).toContain("go version go1.20 is too old: Go 1.21");
  });
});

describe("bootstrap", () => {
  it("goes through its stages in order, and ends with the commit that runs", async () => {
    const { exitCode, stdout } = await deploy([]);
    expect(exitCode).toBe(0);
    const titles = stdout
      .split("\n")
      .flatMap((line) => /^\[ ?(\d+)\/(\d+)\] .* \d+ s$/.exec(line)?.slice(1) ?? []);
    const count = titles.length / 2;
    expect(count).toBeGreaterThan(5);
    expect(titles).toEqual(Array.from({ length: count }, (_, i) => [`${i + 1}`, `${count}`]).flat());
    expect(stdout).toContain(`The platform runs commit ${commit.slice(0, 12)} in 0 min`);

    const made = await stageCalls();
    const order = ["packages", "registry", "up", "addons", "git-server", "publish", "answers", "summary"];
    expect(made.filter((call) => order.includes(call.replace("embedded ", "")))).toEqual(
      order.map((name) => `embedded ${name}`),
    );
    // The mesh is there before anything that is to be part of it.
    const mesh = made.findIndex((call) => call.startsWith("istioctl install "));
    expect(made[mesh]).toContain(`--filename ${path("bootstrap/istio/operator.yaml")}`);
    expect(made[mesh + 1]).toMatch(/^embedded wait-for istio-system deployment\/istiod /);
    expect(made.indexOf("embedded publish")).toBeGreaterThan(mesh);
    expect(made).toContain("embedded argocd-secrets http://git.example/platform.git");
    expect(made).toContain("rendered: render argocd --cluster embedded");
    expect(made).toContain(`gitops wait ${commit}`);
    expect(made.indexOf("rendered: render root --cluster embedded")).toBeGreaterThan(
      made.findIndex((call) => call.startsWith("embedded wait-for argocd ")),
    );
    expect(made.findIndex((call) => call.startsWith("embedded wait-for argocd "))).toBeGreaterThan(0);
  });

  it("hands the port on to the cluster", async () => {
    await deploy(["--http-port", "8088"]);
    await deploy(["bootstrap", "--http-port=8089"]);
    expect((await calls()).filter((call) => call.startsWith("embedded up"))).toEqual([
      "embedded up --http-port 8088",
      "embedded up --http-port 8089",
    ]);
  });

  it.each([
    ["embedded packages", "Debian packages"],
    ["embedded up", "Kubernetes"],
    ["embedded publish", "Repository"],
    ["gitops render argocd --cluster embedded", "Argo CD"],
    ["gitops source --cluster embedded", "Argo CD"],
    ["embedded argocd-secrets http://git.example/platform.git", "Argo CD"],
    [`gitops wait ${commit}`, "Applications"],
    ["embedded answers", "Platform answers"],
  ])("ends with 1 and the stage's name where %s fails", async (failing, title) => {
    const { exitCode, stdout, stderr } = await deploy([], { FAILS: failing });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(new RegExp(`^it is broken\\n\\[ ?\\d+/\\d+\\] ${title} +failed$`));
    expect(stdout).not.toContain(title);
    expect(stdout).not.toContain("The platform runs");
    const made = await stageCalls();
    // Of a pipe both ends run; beyond them nothing does.
    const after = made.slice(made.indexOf(failing) + 1);
    expect(after.filter((call) => call !== "embedded apply")).toEqual([]);
  });

  it("names the log where istioctl fails, once the wait for its workloads finds nothing", async () => {
    const { exitCode, stderr } = await deploy([], { FAILS: "istioctl" });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /^istioctl install failed \(next: tail -n 40 \S+\)\n\[ ?\d+\/\d+\] Istio +failed$/,
    );
    expect((await stageCalls()).at(-1)).toMatch(/^embedded wait-for istio-system /);
  });

  it("does nothing with --dry-run but tell", async () => {
    expect(await deploy(["--dry-run"])).toMatchObject({ exitCode: 0 });
    expect(await calls()).toEqual(["embedded plan"]);
  });

  it("leaves no compiler behind where a stage fails", async () => {
    const COMPILER = path("compiler");
    expect(await deploy([], { COMPILER, FAILS: "embedded up" })).toMatchObject({ exitCode: 1 });
    const id = (await readFile(COMPILER, "utf8")).trim();
    // What has ended but was not yet waited for is a zombie.
    const ended = (): boolean =>
      !existsSync(`/proc/${id}`) || /^State:\tZ/m.test(readFileSync(`/proc/${id}/status`, "utf8"));
    await vi.waitFor(() => expect(ended()).toBe(true), { timeout: 20_000 });
  });

  it("installs the packages of a lock file that is newer than those that are there", async () => {
    await replace("npm", 'echo "npm $*" >> "$CALLS"');
    await deploy(["status"]);
    expect(await calls()).toEqual(["gitops status"]);
    await utimes(path("package-lock.json"), 3000, 3000);
    await deploy(["status"]);
    expect((await calls())[1]).toMatch(/^npm ci .*--ignore-scripts/);
  });

  it("ends with 1 and the log to read where that fails", async () => {
    await rm(path("node_modules"), { recursive: true });
    await replace("npm", "exit 1");
    const { exitCode, stderr } = await deploy([]);
    expect(exitCode).toBe(1);
    expect(stderr).toBe(`npm ci failed (next: tail ${path("log", "deploy.log")})`);
    expect(await calls()).toEqual([]);
  });
});

describe.each(["bootstrap", "destroy"])("two runs, the second of them %s", (command) => {
  it("work one after the other", async () => {
    await replace("flock", `echo waits >> "$CALLS"; exec ${flock} "$@"`);
    const first =
      'until grep -qs waits "$0" || [ ! -e "$0.held" ]; do sleep 0.1; done; echo first ends >> "$0"';
    const holder = execa(flock, [path("lock"), "sh", "-c", `touch "$0.held"; ${first}`, path("calls")]);
    await vi.waitFor(() => expect(existsSync(path("calls.held"))).toBe(true), { timeout: 20_000 });
    expect(await deploy([command])).toMatchObject({ exitCode: 0 });
    await rm(path("calls.held"));
    await holder;
    expect((await calls()).slice(0, 2)).toEqual(["waits", "first ends"]);
  });
});

describe("the other commands", () => {
  it.each([
    [["status"], ["gitops status"]],
    [["env"], ["embedded env"]],
    [["doctor"], ["embedded doctor", "gitops doctor"]],
    [["destroy"], ["embedded destroy"]],
    [["destroy", "--purge"], ["embedded destroy --purge"]],
    [["destroy", "--dry-run"], ["embedded remains"]],
    [["destroy", "--purge", "--dry-run"], ["embedded remains"]],
  ])("%j does what it says, and nothing else", async (args, expected) => {
    expect(await deploy(args)).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await calls()).toEqual(expected);
  });

  it("env prints what a shell can read, and nothing else", async () => {
    expect(await deploy(["env"])).toMatchObject({ stdout: "export APP_URL=here", stderr: "" });
  });

  it("destroy names its stage where it fails", async () => {
    const { exitCode, stderr } = await deploy(["destroy"], { FAILS: "embedded destroy" });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/\[ 1\/1\] Destroy +failed$/);
  });

  it.each(["status", "doctor"])("%s fails where the cluster is not well", async (command) => {
    expect(await deploy([command], { FAILS: `gitops ${command}` })).toMatchObject({ exitCode: 7 });
  });
});
