import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa, execaSync } from "execa";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { bridge, podCIDR, serviceCIDR } from "../../bootstrap/embedded/src/layout.ts";
import { deployCommand } from "../../lib/cluster/kubectl.ts";
import { checkout } from "../../lib/repository.ts";
import { follow } from "../../lib/test/follow.ts";
import { sweep } from "../../lib/test/long.ts";

// deploy.sh itself runs, as a copy, with everything that it starts replaced by programs that only write down what they were asked.
// Of contexts there is one, mine.
const kubectl = 'test "$*" = "config get-contexts mine"';
const programs = { git: "", npm: "", go: "echo auto", id: "echo 0", kubectl, kind: "", docker: "" };
const node = `
case $1 in
  -p) echo "\${NODE_MAJOR:-20}"; exit ;;
  -v) echo "v\${NODE_MAJOR:-20}.0.0"; exit ;;
esac
case $3 in */bootstrap/src/cli.ts) ;; *) echo "another program: $3" >> "$CALLS" ;; esac
shift 3
echo "$*" >> "$CALLS"
if [ "$1" = "$FAILS" ]; then
  echo "it is broken" >&2
  exit 7
fi
if [ "$1" = env ]; then echo "export APP_URL=here"; fi
`;
const stages = {
  machine:
    "Debian packages Network and image mirror Images from packages Kubernetes DNS and storage Istio Git server Repository Argo CD Applications Platform answers",
  existing: "Pre-flight Istio Argo CD Applications Platform answers",
  kind: "kind Images Pre-flight Istio Argo CD Applications Platform answers",
};
// All that deploy.sh and its stand-ins take from the machine.
const names = "bash cat chmod date dirname env flock grep ln mkdir mktemp mv rm sh sleep stat";
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
/** What a shell on the machine has in its environment. */
const machine = (): Record<string, string> => ({
  PATH: `${path("bin")}:${path("machine")}`,
  STATE_DIR: path("state"),
  CACHE_DIR: path("cache"),
  DEPLOY_LOG: path("log", "deploy.log"),
  CALLS: path("calls"),
});
const deploy = (args: string[], environment: Record<string, string> = {}) =>
  execa("bash", [path("deploy.sh"), ...args], {
    env: { ...machine(), ...environment },
    extendEnv: false,
    reject: false,
  });
const calls = async (): Promise<string[]> =>
  existsSync(path("calls")) ? (await readFile(path("calls"), "utf8")).trim().split("\n") : [];
/** Does what was said to be next, where deploy.sh is. */
const next = (line: string | undefined) =>
  follow(line, {
    cwd: directory,
    env: machine(),
  });
/** How a machine gets what it lacks. */
const ways: Record<string, string> = {
  git: "apt-get install --yes git && ",
  flock: "apt-get install --yes util-linux && ",
  node: "https://nodejs.org/en/download, then ",
  npm: "https://nodejs.org/en/download, then ",
  go: "https://go.dev/dl, then ",
  kubectl: "https://kubernetes.io/docs/tasks/tools, then ",
};
/** A call as it was made, its options in the order of the alphabet. */
const sorted = (call = ""): string => {
  const [before = "", behind = ""] = call.split(" -- ");
  const [command = "", ...options] = before.split(/ (?=--)/);
  return [command, ...options.sort(), `-- ${behind}`].join(" ");
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "deploy-"));
  const text = await readFile(join(checkout, "deploy.sh"), "utf8");
  const own = text.replace(/^lock=.*$/m, `lock=${path("lock")}`);
  expect(own).not.toBe(text);
  await writeFile(path("deploy.sh"), own, { mode: 0o755 });
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
    for (const command of ["bootstrap", "status", "env", "doctor", "backup", "restore", "destroy"])
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

  const refused: [string[], string][] = [
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
      "env works only for the embedded cluster: kubectl config use-context mine",
    ],
    [
      ["destroy", "--context", "mine"],
      "destroy deletes what the platform stored on the cluster of mine: add --yes, or --dry-run to see what",
    ],
    [["restore"], "restore takes the FILE of a backup"],
    [["restore", ""], "restore takes one FILE"],
    [["backup", "a", "b"], "backup takes one FILE"],
    [["backup", "--dry-run"], "--dry-run belongs to bootstrap and destroy"],
    [["backup", "--file=x"], "unknown argument: --file=x"],
    [["backup", "--context", "mine"], "backup belongs to the cluster on this machine"],
    [["restore", "b", "--context", "mine"], "restore belongs to the cluster on this machine"],
    [["--context", "other"], "the kubeconfig has no context other (kubectl config get-contexts lists them)"],
    [["--context", "mine", "--cluster", "none"], "gitops/clusters has no cluster named none"],
  ];
  sweep(refused, 8)("is refused where it is %j, before anything is done", async (args, message) => {
    const { exitCode, stdout, stderr } = await deploy(args);
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 2,
      stdout: "",
      stderr: `${message}\nnext: ./deploy.sh --help`,
    });
    expect(await next("./deploy.sh --help")).toMatchObject({ exitCode: 0 });
    expect(await calls()).toEqual([]);
  });

  const said = [
    deployCommand(),
    deployCommand("status"),
    deployCommand("doctor"),
    deployCommand("--keep-istio"),
    deployCommand("--repo URL"),
    deployCommand("--repo URL", "--repo-credentials FILE"),
    deployCommand("--registry HOST/PATH"),
  ];
  sweep(said, 2)("takes what other programs say is next: %s", async (line) => {
    expect(await next(`${line} --context mine`)).toMatchObject({ exitCode: 0 });
    expect((await calls())[0]).toMatch(/^(bootstrap|status|doctor) .*--context=mine/);
  });

  it("gives the shell the cluster that other programs miss", async () => {
    expect(await next('eval "$(./deploy.sh env)" && echo "$APP_URL"')).toMatchObject({
      exitCode: 0,
      all: "here",
    });
  });

  it("is checked before the machine", async () => {
    await replace("id", "echo 1000");
    expect(await deploy(["--purge"])).toMatchObject({ exitCode: 2 });
  });
});

describe("the machine", () => {
  const commands = ["bootstrap", "status", "env", "doctor", "backup", "restore /b.tar.gz", "destroy"];

  sweep(commands, 2)("has to give root for %s", async (command) => {
    await replace("id", "echo 1000");
    const { exitCode, stdout, stderr } = await deploy(command.split(" "));
    expect([exitCode, stdout]).toEqual([3, ""]);
    expect(await calls()).toEqual([]);
    // What is next is the same for root: to destroy is not to bootstrap.
    const [sudo, atHand] = [...stderr.matchAll(/\(next: (.*)\)$/gm)].map(([, line]) => line);
    const here = /^(backup|restore)/.test(command);
    expect([sudo, atHand]).toEqual([
      `sudo ./deploy.sh ${command}`,
      here ? undefined : `./deploy.sh ${command} --context NAME`,
    ]);
    await replace("sudo", `PATH=${path("root")}:$PATH exec "$@"`);
    await mkdir(path("root"));
    await writeFile(path("root/id"), "#!/bin/sh\necho 0\n", { mode: 0o755 });
    expect(await next(sudo)).toMatchObject({ exitCode: 0 });
    expect((await calls()).map((call) => call.split(" ")[0])).toEqual([command.split(" ")[0]]);
  });

  sweep(["git", "node", "npm", "go"], 1)("has to have %s", async (name) => {
    await rm(path("bin", name));
    const { exitCode, stderr } = await deploy([]);
    expect(exitCode).toBe(3);
    expect(stderr).toBe(`missing: ${name} (next: ${ways[name]}./deploy.sh)`);
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
  it("is one process, which is given the stages in their order", async () => {
    expect(await deploy([])).toMatchObject({ exitCode: 0, stderr: "" });
    expect(await calls()).toEqual([`bootstrap -- ${stages.machine}`]);
  });

  it("hands the port on to the cluster", async () => {
    await deploy(["--http-port", "8088"]);
    await deploy(["bootstrap", "--http-port=8089"]);
    expect(await calls()).toEqual([
      `bootstrap --http-port=8088 -- ${stages.machine}`,
      `bootstrap --http-port=8089 -- ${stages.machine}`,
    ]);
  });

  it("ends as that process does", async () => {
    expect(await deploy([], { FAILS: "bootstrap" })).toMatchObject({ exitCode: 7, stderr: "it is broken" });
  });

  it("does nothing with --dry-run but tell", async () => {
    expect(await deploy(["--dry-run"])).toMatchObject({ exitCode: 0 });
    expect(await calls()).toEqual([`bootstrap --dry-run -- ${stages.machine}`]);
    expect(existsSync(path("lock"))).toBe(false);
  });

  it.each([
    ["makes a log that nobody else reads", ""],
    ["closes the log of an earlier version", "before\n"],
  ])("%s", async (_, before) => {
    await mkdir(path("log"));
    if (before) await writeFile(path("log/deploy.log"), before, { mode: 0o644 });
    await deploy(["bootstrap"]);
    expect((await stat(path("log/deploy.log"))).mode & 0o777).toBe(0o600);
    expect((await readFile(path("log/deploy.log"), "utf8")).startsWith(before)).toBe(true);
  });

  it("installs the packages of a lock file that is newer than those that are there", async () => {
    await replace("npm", 'echo "npm $*" >> "$CALLS"');
    await deploy(["status"]);
    expect(await calls()).toEqual([`status -- ${stages.machine}`]);
    await utimes(path("package-lock.json"), 3000, 3000);
    await deploy(["status"]);
    // Whatever NODE_ENV and the user's npmrc leave out.
    for (const option of ["--ignore-scripts", "--include=dev", "--include=optional", "--no-global"])
      expect((await calls())[1]).toMatch(new RegExp(`^npm ci .*${option}( |$)`));
  });

  it("ends with 1 and the log to read where that fails", async () => {
    await rm(path("node_modules"), { recursive: true });
    await replace("npm", "echo it is broken; exit 1");
    const { exitCode, stderr } = await deploy([]);
    expect(exitCode).toBe(1);
    expect(stderr).toBe(`npm ci failed (next: tail -n 40 ${path("log", "deploy.log")})`);
    expect((await follow(`tail -n 40 ${path("log", "deploy.log")}`)).all).toContain("it is broken");
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

describe("backup and restore", () => {
  it("are given the file with its whole path, wherever the shell is", async () => {
    await deploy(["backup"]);
    await deploy(["backup", "/somewhere/b.tar.gz"]);
    await deploy(["backup", "a backup.tar.gz"]);
    await deploy(["restore", "b.tar.gz"]);
    const [first = "", ...rest] = stages.machine.split(" Network");
    const restored = `${first} State of the backup Network${rest.join(" Network")}`;
    expect(await calls()).toEqual([
      `backup -- ${stages.machine}`,
      `backup --file=/somewhere/b.tar.gz -- ${stages.machine}`,
      `backup --file=${join(process.cwd(), "a backup.tar.gz")} -- ${stages.machine}`,
      `restore --file=${join(process.cwd(), "b.tar.gz")} -- ${restored}`,
    ]);
  });
});

describe("backup and destroy", () => {
  it("are what is next where a platform is in the way of a restore", async () => {
    expect(await next("./deploy.sh backup && ./deploy.sh destroy")).toMatchObject({ exitCode: 0 });
    expect((await calls()).map((call) => call.split(" ")[0])).toEqual(["backup", "destroy"]);
  });
});

describe("the other commands", () => {
  it.each([
    [["status"], "status"],
    [["env"], "env"],
    [["doctor"], "doctor"],
    [["destroy"], "destroy"],
    [["destroy", "--purge"], "destroy --purge"],
    [["destroy", "--dry-run"], "destroy --dry-run"],
    [["destroy", "--purge", "--dry-run"], "destroy --dry-run --purge"],
  ])("%j does what it says, and nothing else", async (args, expected) => {
    expect(await deploy(args)).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await calls()).map(sorted)).toEqual([`${expected} -- ${stages.machine}`]);
  });

  it("env prints what a shell can read, and nothing else", async () => {
    expect(await deploy(["env"])).toMatchObject({ stdout: "export APP_URL=here", stderr: "" });
  });

  sweep(["status", "doctor", "destroy"], 1)("%s fails where its process does", async (command) => {
    expect(await deploy([command], { FAILS: command })).toMatchObject({ exitCode: 7 });
  });

  it("destroy removes log and lock at its end, and keeps them where it fails", async () => {
    await deploy([]);
    await writeFile(path("log/deploy.log"), "");
    await deploy(["destroy"], { FAILS: "destroy" });
    expect([existsSync(path("lock")), existsSync(path("log/deploy.log"))]).toEqual([true, true]);
    await deploy(["destroy", "--dry-run"]);
    expect(existsSync(path("lock"))).toBe(true);
    await deploy(["destroy"]);
    expect([existsSync(path("lock")), existsSync(path("log/deploy.log"))]).toEqual([false, false]);
  });
});

describe("an existing cluster", () => {
  const options = "--cluster=upstream --context=mine";
  const user = async (): Promise<void> => replace("id", "echo 1000");
  /** Without root; the machine's own directories are not written. */
  const asUser = async (args: string[], environment: Record<string, string> = {}) => {
    await user();
    return deploy(args, { HOME: path("home"), ...environment });
  };

  it("has stages of its own, and needs no root", async () => {
    const { exitCode, stderr } = await asUser(["--context", "mine"]);
    expect([exitCode, stderr]).toEqual([0, ""]);
    expect((await calls()).map(sorted)).toEqual([`bootstrap ${options} -- ${stages.existing}`]);
  });

  it("is told every option", async () => {
    const some = ["--repo", "https://git.example/a.git", "--revision=v2", "--registry", "r.example/x"];
    const more = ["--repo-credentials=file", "--keep-istio", "--ha", "--cluster", "other"];
    await asUser([...some, "--context=mine", ...more]);
    const all =
      "--cluster=other --context=mine --ha --keep-istio --registry=r.example/x --repo-credentials=file --repo=https://git.example/a.git --revision=v2";
    expect((await calls()).map(sorted)).toEqual([`bootstrap ${all} -- ${stages.existing}`]);
  });

  it.each([
    [["--dry-run"], `bootstrap ${options} --dry-run`],
    [["doctor"], `doctor ${options}`],
    [["status"], `status ${options}`],
    [["destroy", "--yes"], `destroy ${options} --yes`],
    [["destroy", "--dry-run"], `destroy ${options} --dry-run`],
  ])("%j does what it says, and nothing else", async (args, expected) => {
    expect(await asUser([...args, "--context", "mine"])).toMatchObject({ exitCode: 0, stderr: "" });
    expect((await calls()).map(sorted)).toEqual([`${expected} -- ${stages.existing}`]);
  });

  sweep(["kubectl", "go", "git", "node", "npm"], 1)("has to have %s", async (name) => {
    await rm(path("bin", name));
    const { exitCode, stderr } = await asUser(["--context", "mine"]);
    expect(exitCode).toBe(3);
    expect(stderr).toBe(`missing: ${name} (next: ${ways[name]}./deploy.sh --context mine)`);
    expect(await calls()).toEqual([]);
  });

  it("writes below the home directory where it is not root", async () => {
    await user();
    await replace("node", `${node}\necho "$DEPLOY_LOG" >> "$CALLS"`);
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
    expect((await calls()).at(-1)).toBe(path("home/.local/state/logging-platform/deploy.log"));
    expect(existsSync(path("home/.cache/logging-platform"))).toBe(true);
  });
});

describe("a cluster of kind", () => {
  const options =
    "--cluster=upstream --context=kind-logging-platform --kind --registry=localhost:5001/docker.io/logging-platform";

  it("is created and filled before the stages of any other", async () => {
    expect(await deploy(["--kind"])).toMatchObject({ exitCode: 0 });
    expect((await calls()).map(sorted)).toEqual([`bootstrap ${options} -- ${stages.kind}`]);
  });

  it("takes another registry, and goes without being asked twice", async () => {
    await deploy(["--kind", "--registry", "r.example/x", "--dry-run"]);
    await deploy(["destroy", "--kind"]);
    expect((await calls()).map(sorted)).toEqual([
      `bootstrap --cluster=upstream --context=kind-logging-platform --dry-run --kind --registry=r.example/x -- ${stages.kind}`,
      `destroy ${options} -- ${stages.kind}`,
    ]);
  });

  it("has to have docker and kind, and is told of both", async () => {
    for (const name of ["docker", "kind"]) await rm(path("bin", name));
    const { exitCode, stderr } = await deploy(["--kind"]);
    expect([exitCode, stderr]).toEqual([
      3,
      "missing: docker kind (next: https://kind.sigs.k8s.io, then apt-get install --yes docker.io && ./deploy.sh --kind)",
    ]);
  });
});

describe("what the shell hands down", () => {
  // What every stage is started with, of which its variables are the last.
  const telling = (text: string): string => `${node}\necho "${text}" >> "$CALLS"`;
  const told = async (text: string, environment: Record<string, string>, args = ["status"]) => {
    await replace("node", telling(text));
    const { exitCode, stderr } = await deploy(args, environment);
    expect([exitCode, stderr]).toEqual([0, ""]);
    return (await calls()).at(-1);
  };

  it.each([
    ["a GOFLAGS that Go refuses", { GOFLAGS: "-mod vendor" }],
    ["a shell that overwrites no file", { SHELLOPTS: "noclobber" }],
  ])("changes nothing where it is %s", async (_, environment) => {
    await replace("go", 'case "$GOFLAGS" in *" vendor") exit 2 ;; esac; echo auto');
    await writeFile(path("lock"), "");
    expect(
      await deploy(["--context", "mine", "--dry-run"], environment as Record<string, string>),
    ).toMatchObject({
      exitCode: 0,
      stderr: expect.not.stringMatching(/old|missing|no cluster/),
    });
    expect(await deploy(["destroy"], environment as Record<string, string>)).toMatchObject({ exitCode: 0 });
    expect((await calls()).map(sorted)).toEqual([
      `bootstrap --cluster=upstream --context=mine --dry-run -- ${stages.existing}`,
      `destroy -- ${stages.machine}`,
    ]);
  });

  it("changes nothing where it is a CDPATH, wherever the shell is", async () => {
    const { exitCode, stderr } = await execa(
      "bash",
      [`${basename(directory)}/deploy.sh`, "--context", "mine"],
      {
        cwd: dirname(directory),
        env: {
          PATH: `${path("bin")}:${path("machine")}`,
          CALLS: path("calls"),
          CACHE_DIR: path("cache"),
          DEPLOY_LOG: path("log/deploy.log"),
          CDPATH: dirname(directory),
        },
        extendEnv: false,
        reject: false,
      },
    );
    expect([exitCode, stderr]).toEqual([0, ""]);
  });

  const variables = [
    ["KUBE_CONTEXT", "other"],
    ["GIT_DIR", "/elsewhere/.git"],
    ["GIT_WORK_TREE", "/elsewhere"],
    ["GIT_INDEX_FILE", "/elsewhere/index"],
    ["BASH_ENV", "/dev/null"],
    ["TAR_OPTIONS", "--verbose"],
  ] as const;
  sweep(variables, 2)("of %s no stage hears", async (name, value) => {
    expect(await told(`is \${${name}-unset}`, { [name]: value })).toBe("is unset");
  });

  it.each([
    ["not set", {}],
    ["empty", { HOME: "" }],
  ])("of HOME that is %s there is what the machine knows", async (_, environment) => {
    expect(await told("$HOME", environment)).toMatch(/^\/\S+$/);
    await replace("id", "echo 1000");
    const directories = {
      CACHE_DIR: path("cache"),
      DEPLOY_LOG: path("log/deploy.log"),
      XDG_STATE_HOME: path("xdg"),
    };
    expect(await deploy(["status", "--context", "mine"], { ...environment, ...directories })).toMatchObject({
      exitCode: 0,
      stderr: "",
    });
  });

  it("of relative directories there are whole ones", async () => {
    await replace("node", telling("$STATE_DIR $CACHE_DIR $DEPLOY_LOG"));
    const { exitCode } = await execa("bash", [path("deploy.sh"), "status"], {
      cwd: directory,
      env: {
        PATH: `${path("bin")}:${path("machine")}`,
        CALLS: path("calls"),
        STATE_DIR: "state",
        CACHE_DIR: "./cache",
        DEPLOY_LOG: "log/deploy.log",
      },
      extendEnv: false,
    });
    expect(exitCode).toBe(0);
    expect((await calls()).at(-1)).toBe(`${path("state")} ${directory}/./cache ${path("log/deploy.log")}`);
  });

  sweep(["gone", "file"], 1)(
    "of a TMPDIR %s that nothing can be written to nobody hears, but once",
    async (name) => {
      const TMPDIR = path(name);
      await writeFile(path("file"), "");
      await replace("node", telling(`\${${"TMPDIR"}-unset}`));
      const { exitCode, stderr } = await deploy(["status"], { TMPDIR });
      expect([exitCode, stderr]).toEqual([
        0,
        `TMPDIR is ${TMPDIR}, which is no directory that can be written: /tmp is used`,
      ]);
      expect((await calls()).at(-1)).toBe("unset");
    },
  );

  it("of a TMPDIR with a blank in its name everybody hears", async () => {
    await mkdir(path("with blank"));
    expect(await told("$TMPDIR", { TMPDIR: path("with blank") })).toBe(path("with blank"));
  });

  it("of a PATH without sbin the cluster on this machine has it for all that", async () => {
    expect(await told("$PATH", {})).toMatch(/:\/usr\/sbin:\/sbin$/);
  });

  sweep(["077", "027", "0777"], 1)("of the umask %s what is written can be read by others", async (umask) => {
    await replace("node", `${node}\necho > "${path("written")}"`);
    await execa("sh", ["-c", `umask ${umask}; exec bash "$0" status`, path("deploy.sh")], {
      env: {
        PATH: `${path("bin")}:${path("machine")}`,
        CALLS: path("calls"),
        STATE_DIR: path("state"),
        CACHE_DIR: path("cache"),
        DEPLOY_LOG: path("log/deploy.log"),
      },
      extendEnv: false,
    });
    const modes = await execa("stat", ["--format", "%a", path("log"), path("written")]);
    expect(modes.stdout.split("\n")).toEqual(["755", "644"]);
  });
});

describe("a proxy", () => {
  const own = ["127.0.0.1", "10.250.0.1", bridge.cidr, podCIDR, serviceCIDR, ".svc", ".cluster.local"];
  const exceptions = async (environment: Record<string, string>): Promise<string[]> => {
    await replace("node", `${node}\necho "$\{NO_PROXY-unset} $\{no_proxy-unset}" >> "$CALLS"`);
    expect(await deploy(["env"], environment)).toMatchObject({ exitCode: 0, stderr: "" });
    return ((await calls()).at(-1) ?? "").split(" ");
  };

  sweep(["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"], 1)(
    "that %s names is not for the cluster on this machine",
    async (name) => {
      const [capitals = "", small] = await exceptions({ [name]: "http://proxy.example:3128" });
      expect(capitals.split(",")).toEqual(expect.arrayContaining(own));
      expect(small).toBe(capitals);
    },
  );

  const lists: Record<string, string>[][] = [
    [{ NO_PROXY: "localhost,127.0.0.1" }],
    [{ no_proxy: "localhost, 127.0.0.1, intranet.example" }],
    [{ NO_PROXY: ".corp.example", no_proxy: "localhost" }],
    [{ NO_PROXY: "*" }],
    [{ NO_PROXY: "10.250.0.0/24,10.250.0.1", no_proxy: "10.250.0.0/24,10.250.0.1" }],
  ];
  sweep(lists, 2)("keeps its exceptions %j, each once", async (given) => {
    const [list = ""] = await exceptions({ HTTPS_PROXY: "http://proxy.example:3128", ...given });
    const entries = list.split(",");
    expect(entries).toEqual(expect.arrayContaining(own));
    expect(entries).toEqual(
      expect.arrayContaining(Object.values(given).flatMap((text) => text.split(/, ?/))),
    );
    expect(new Set(entries).size).toBe(entries.length);
    expect(list).not.toContain(",,");
  });

  it("that there is none of has no exceptions", async () => {
    expect(await exceptions({})).toEqual(["unset", "unset"]);
    expect(await exceptions({ NO_PROXY: "intranet.example" })).toEqual(["intranet.example", "unset"]);
  });
});

describe("a checkout", () => {
  const words = "fatal: detected dubious ownership in repository at '/somewhere'";

  it.each([["bootstrap"], ["bootstrap", "--dry-run"]])(
    "that is shallow is refused before stage 1: %s %s",
    async (...args) => {
      await replace("git", 'case "$*" in *--is-shallow-repository) echo true ;; esac');
      const { exitCode, stdout, stderr } = await deploy(args.filter(Boolean));
      expect([exitCode, stdout]).toEqual([1, ""]);
      const again = ["./deploy.sh", ...args].filter(Boolean).join(" ");
      const advised = `git -C ${directory} fetch --unshallow && ${again}`;
      expect(stderr).toBe(
        `this clone is shallow: the platform's Git server needs the whole history\nnext: ${advised}`,
      );
      expect(await calls()).toEqual([]);
      await replace("git", "");
      expect(await next(advised)).toMatchObject({ exitCode: 0 });
      expect((await calls())[0]).toMatch(
        args.includes("--dry-run") ? /^bootstrap --dry-run -- / : /^bootstrap -- /,
      );
    },
  );

  it("that is shallow will do for an existing cluster, whose Argo CD reads another repository", async () => {
    await replace("git", 'case "$*" in *--is-shallow-repository) echo true ;; esac');
    expect(await deploy(["--context", "mine"])).toMatchObject({ exitCode: 0 });
  });

  const commands = [
    [["bootstrap"]],
    [["--dry-run"]],
    [["--context", "mine"]],
    [["--context", "mine", "--dry-run"]],
  ];
  sweep(commands, 1)("that Git does not read is refused by %j with Git's own words", async (args) => {
    await replace("git", `echo "${words}" >&2; exit 128`);
    const { exitCode, stderr } = await deploy(args);
    expect(exitCode).toBe(1);
    expect(stderr).toBe(
      `${words}\nGit does not read ${directory} (next: do what Git says, then ./deploy.sh ${args.join(" ")})`,
    );
    expect(await calls()).toEqual([]);
  });

  sweep(["#?%41 &;'$x", "#", "?", "%41", "a\\b"], 1)("may have %s in its path", async (name) => {
    // The loader that Node is given as a URL, and the program, found where they are.
    await replace(
      "node",
      `case $1 in --import) echo "$2" > "$CALLS.url"; shift 2 ;; *) echo 20; exit ;; esac
test -e "$1" && echo "there" >> "$CALLS"`,
    );
    await mkdir(path("state"));
    const odd = path(name);
    await mkdir(join(odd, "bootstrap/src"), { recursive: true });
    await writeFile(join(odd, "bootstrap/src/cli.ts"), "");
    await mkdir(join(odd, "node_modules/tsx/dist"), { recursive: true });
    await writeFile(join(odd, "node_modules/tsx/dist/loader.mjs"), "");
    await mkdir(join(odd, "gitops/clusters/upstream"), { recursive: true });
    await writeFile(join(odd, "gitops/clusters/upstream/kustomization.yaml"), "");
    await writeFile(join(odd, "package-lock.json"), "{}");
    await utimes(join(odd, "package-lock.json"), 1000, 1000);
    await writeFile(join(odd, "node_modules/.package-lock.json"), "{}");
    await symlink(path("deploy.sh"), join(odd, "deploy.sh"));
    const { exitCode, stderr } = await execa(
      "bash",
      [join(odd, "deploy.sh"), "--context", "mine", "--dry-run"],
      {
        env: {
          PATH: `${path("bin")}:${path("machine")}`,
          CALLS: path("calls"),
          CACHE_DIR: path("cache"),
          DEPLOY_LOG: path("log/deploy.log"),
          TMPDIR: path("state"),
          CDPATH: "/",
        },
        extendEnv: false,
        reject: false,
      },
    );
    expect([exitCode, stderr]).toEqual([0, expect.not.stringContaining("not")]);
    expect(await calls()).toEqual(["there"]);
    const url = (await readFile(path("calls.url"), "utf8")).trimEnd();
    const loader = fileURLToPath(url);
    expect(loader.endsWith("/node_modules/tsx/dist/loader.mjs")).toBe(true);
    if (name.includes("?")) expect(url).not.toMatch(/[?]|%3F/);
    else expect(loader).toBe(join(odd, "node_modules/tsx/dist/loader.mjs"));
    expect(await readdir(path("state"))).toEqual([]);
  });
});

describe("programs that a run stands on", () => {
  it.each([
    ["flock", []],
    ["flock", ["destroy"]],
    ["flock", ["--context", "mine"]],
  ] as [string, string[]][])("%s is missed by name by %j", async (name, args) => {
    await rm(path("machine", name));
    const { exitCode, stderr } = await deploy(args, { PATH: `${path("bin")}:${path("machine")}` });
    // The machine's own sbin is looked at too, and has neither.
    expect(exitCode).toBe(3);
    const again = ["./deploy.sh", ...args].join(" ");
    expect(stderr).toBe(`missing: ${name} (next: ${ways[name]}${again})`);
    expect(await calls()).toEqual([]);
    await symlink(execaSync("sh", ["-c", `command -v ${name}`]).stdout, path("machine", name));
    await replace("apt-get", 'echo "apt-get $*" >> "$CALLS"');
    const [, advised] = /next: (.*)\)$/.exec(stderr) ?? [];
    expect(await next(advised)).toMatchObject({ exitCode: 0 });
    expect((await calls())[0]).toBe("apt-get install --yes util-linux");
  });

  sweep(["status", "doctor", "env", "--dry-run"], 1)("flock is not asked for by %s", async (command) => {
    await rm(path("machine", "flock"));
    expect(await deploy([command])).toMatchObject({ exitCode: 0 });
  });

  it("a lock that cannot be had says why, and does not speak of another run", async () => {
    await replace("flock", 'echo "flock: 9: No locks available" >&2; exit 71');
    const { exitCode, stderr } = await deploy([]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("No locks available\nflock cannot lock ");
    expect(stderr).not.toContain("another");
  });

  it("a lock that another run has names that run's process", async () => {
    await writeFile(path("lock"), "4711\n");
    await replace("flock", "exit 75");
    const { exitCode, stderr } = await deploy([]);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(
      "another deploy.sh, process 4711, is at work and did not end within 120 s\nnext: tail --pid=4711 -f /dev/null; ./deploy.sh",
    );
    // That process has ended meanwhile, and the lock is free.
    await symlink("/usr/bin/tail", path("machine/tail"));
    await rm(path("bin/flock"));
    const [, advised] = /next: (.*)$/m.exec(stderr) ?? [];
    expect(await next(advised?.replace("4711", "999999999"))).toMatchObject({ exitCode: 0 });
  });

  it("a lock that was had names this run's process", async () => {
    await deploy([]);
    expect(await readFile(path("lock"), "utf8")).toMatch(/^\d+\n$/);
  });
});
