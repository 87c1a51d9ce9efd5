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
// Of contexts there is one, mine.
const kubectl = 'test "$*" = "config get-contexts mine"';
const programs = { git: "", npm: "", go: "echo auto", id: "echo 0", istioctl, kubectl, kind: "", docker: "" };
const node = `
case $1 in
  -p) echo "\${NODE_MAJOR:-20}"; exit ;;
  -v) echo "v\${NODE_MAJOR:-20}.0.0"; exit ;;
esac
tool=gitops
case $3 in */embedded/*) tool=embedded ;; */upstream/*) tool=upstream ;; esac
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
  "upstream applications "*) echo ${commit} ;;
  "upstream summary "*) echo "everything is here" ;;
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
  for (const name of ["upstream", "other"]) {
    await mkdir(path("gitops/clusters", name), { recursive: true });
    await writeFile(path("gitops/clusters", name, "kustomization.yaml"), "");
  }
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
      "--context NAME",
      "--kind",
      "--repo URL",
      "--revision REF",
      "--repo-credentials FILE",
      "--registry HOST/PATH",
      "--cluster NAME",
      "--keep-istio",
      "--ha",
      "--yes",
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
    [["--context"], "--context takes a value"],
    [["--context", ""], "--context takes a value"],
    [["--repo="], "unknown argument: --repo="],
    [["--repo", "https://git.example/a.git"], "--repo belongs to --context"],
    [["--keep-istio"], "--keep-istio belongs to --context"],
    [["destroy", "--yes"], "--yes belongs to --context"],
    [["--context", "mine", "--yes"], "--yes belongs to destroy"],
    [["--context", "mine", "--kind"], "--kind makes a context of its own: leave --context out"],
    [
      ["--context", "mine", "--http-port", "80"],
      "--http-port and --purge belong to the cluster on this machine",
    ],
    [
      ["destroy", "--context", "mine", "--purge"],
      "--http-port and --purge belong to the cluster on this machine",
    ],
    [
      ["env", "--context", "mine"],
      "env belongs to the cluster on this machine: kubectl config use-context mine",
    ],
    [
      ["destroy", "--context", "mine"],
      "destroy deletes what the platform stored on the cluster of mine: add --yes, or --dry-run to see what",
    ],
    [["--context", "other"], "the kubeconfig has no context other (kubectl config get-contexts lists them)"],
    [["--context", "mine", "--cluster", "none"], "gitops/clusters has no cluster named none"],
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

describe("a cluster at hand", () => {
  const stages = ["check", "istio", "argocd", "applications", "answers", "summary"];
  const options = "--context mine --cluster upstream";
  const user = async (): Promise<void> => replace("id", "echo 1000");
  /** Without root; the machine's own directories are not written. */
  const asUser = async (args: string[], environment: Record<string, string> = {}) => {
    await user();
    return deploy(args, { HOME: path("home"), ...environment });
  };

  it("goes through its stages in order, without root, and ends with the commit that runs", async () => {
    const { exitCode, stdout, stderr } = await asUser(["--context", "mine"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect(await calls()).toEqual(stages.map((stage) => `upstream ${stage} ${options}`));
    const titles = stdout
      .split("\n")
      .flatMap((line) => /^\[ ?(\d\/5)\] (.*?) +\d+ s$/.exec(line)?.slice(1) ?? []);
    expect(titles).toEqual(
      ["Pre-flight", "Istio", "Argo CD", "Applications", "Platform answers"].flatMap((title, index) => [
        `${index + 1}/5`,
        title,
      ]),
    );
    expect(stdout).toContain(`The platform runs commit ${commit.slice(0, 12)} in 0 min`);
    expect(stdout).toMatch(/everything is here$/);
  });

  it("hands every option on to every stage", async () => {
    const given = ["--repo", "https://git.example/a.git", "--revision=v2", "--registry", "r.example/x"];
    const more = ["--repo-credentials=file", "--keep-istio", "--ha", "--cluster", "other"];
    await asUser([...given, "--context=mine", ...more]);
    const all =
      "--repo https://git.example/a.git --revision v2 --registry r.example/x --repo-credentials file --keep-istio --ha --context mine --cluster other";
    expect(await calls()).toEqual(stages.map((stage) => `upstream ${stage} ${all}`));
  });

  it.each([
    ["check", "Pre-flight"],
    ["istio", "Istio"],
    ["argocd", "Argo CD"],
    ["applications", "Applications"],
    ["answers", "Platform answers"],
  ])("ends with 1 and the stage's name where %s fails", async (stage, title) => {
    const { exitCode, stdout, stderr } = await asUser(["--context", "mine"], {
      FAILS: `upstream ${stage} ${options}`,
    });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(new RegExp(`^it is broken\\n\\[ \\d/5\\] ${title} +failed$`));
    expect(stdout).not.toContain("The platform runs");
    expect((await calls()).at(-1)).toBe(`upstream ${stage} ${options}`);
  });

  it.each([
    [["--dry-run"], ["plan"]],
    [["doctor"], ["doctor"]],
    [["destroy", "--yes"], ["destroy"]],
    [["destroy", "--dry-run"], ["remains"]],
  ])("%j does what it says, and nothing else", async (args, expected) => {
    expect(await asUser([...args, "--context", "mine"])).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await calls()).toEqual(expected.map((command) => `upstream ${command} ${options}`));
  });

  it("status asks the cluster of the context", async () => {
    await replace("node", `${node}\necho "context $KUBE_CONTEXT" >> "$CALLS"`);
    expect(await asUser(["status", "--context", "mine"])).toMatchObject({ exitCode: 0 });
    expect(await calls()).toEqual(["gitops status", "context mine"]);
  });

  it.each(["go", "git", "kubectl", "node", "npm"])("has to have %s", async (name) => {
    await rm(path("bin", name));
    const { exitCode, stderr } = await asUser(["--context", "mine"]);
    expect(exitCode).toBe(3);
    expect(stderr).toBe(`missing: ${name} (next: install ${name} and run ./deploy.sh again)`);
    expect(await calls()).toEqual([]);
  });

  it("writes below the home directory where it is not root", async () => {
    await user();
    const environment = {
      HOME: path("home"),
      CALLS: path("calls"),
      PATH: `${path("bin")}:${path("machine")}`,
    };
    const { exitCode } = await execa("bash", [path("deploy.sh"), "--context", "mine"], {
      env: environment,
      extendEnv: false,
      reject: false,
    });
    expect(exitCode).toBe(0);
    expect(existsSync(path("home/.local/state/logging-platform/deploy.log"))).toBe(true);
    expect(existsSync(path("home/.cache/logging-platform"))).toBe(true);
  });
});

describe("a cluster of kind", () => {
  const options =
    "--kind --registry localhost:5001/docker.io/logging-platform --context kind-logging-platform --cluster upstream";

  it("is created and filled before the stages of any other", async () => {
    const { exitCode, stdout } = await deploy(["--kind"]);
    expect(exitCode).toBe(0);
    const stages = ["kind", "images", "check", "istio", "argocd", "applications", "answers", "summary"];
    expect(await calls()).toEqual(stages.map((stage) => `upstream ${stage} ${options}`));
    expect(stdout).toContain("[ 7/7] Platform answers");
  });

  it("takes another registry, and goes without being asked twice", async () => {
    await deploy(["--kind", "--registry", "r.example/x", "--dry-run"]);
    await deploy(["destroy", "--kind"]);
    expect(await calls()).toEqual([
      "upstream plan --registry r.example/x --kind --context kind-logging-platform --cluster upstream",
      `upstream destroy-kind ${options}`,
    ]);
  });

  it("has to have docker and kind, and is told of both", async () => {
    for (const name of ["docker", "kind"]) await rm(path("bin", name));
    const { exitCode, stderr } = await deploy(["--kind"]);
    expect([exitCode, stderr]).toEqual([
      3,
      "missing: docker kind (next: install docker kind and run ./deploy.sh again)",
    ]);
  });

  it.each(["kind", "images"])("ends with 1 and the stage's name where %s fails", async (stage) => {
    const { exitCode, stderr } = await deploy(["--kind"], { FAILS: `upstream ${stage} ${options}` });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/\[ \d\/7\] (kind|Images) +failed$/);
    expect((await calls()).at(-1)).toBe(`upstream ${stage} ${options}`);
  });
});
