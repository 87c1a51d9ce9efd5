/** A Docker engine, podman and a registry, apart from the machine: in a network of their own, below one directory. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { FinalFailure, until } from "../../lib/failure.ts";
import { repository } from "../platform.ts";

/** What marks all that these make on the machine. */
const mark = "docker-e2e";
const namespace = `/run/netns/${mark}`;
const packages = {
  "docker.io": "/usr/sbin/dockerd",
  podman: "/usr/bin/podman",
  "docker-registry": "/usr/bin/docker-registry",
  "busybox-static": "/bin/busybox",
};

/** The registry as everything in the namespace names it, and who may use it. */
export const registry = { address: "127.0.0.1:5000", user: "releaser", password: "e2e-of-the-registry" };
const behind = 5001;

/** Installs the packages that are not there; their daemons start neither now nor with the machine. */
async function install(): Promise<void> {
  const missing = Object.entries(packages)
    .filter(([, file]) => !existsSync(file))
    .map(([name]) => name);
  if (missing.length === 0) return;
  const policy = "/usr/sbin/policy-rc.d";
  const ours = !existsSync(policy);
  if (ours) writeFileSync(policy, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  const apt = ["-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends", "--no-remove"];
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  try {
    const { failed } = await execa("apt-get", [...apt, ...missing], { env, reject: false });
    if (failed) {
      await execa("apt-get", ["update"], { env });
      await execa("apt-get", [...apt, ...missing], { env });
    }
    const units = [
      "docker.service",
      "docker.socket",
      "podman.service",
      "podman.socket",
      "podman-auto-update.timer",
      "podman-restart.service",
      "docker-registry.service",
    ];
    await execa("systemctl", ["disable", ...units], { reject: false });
  } finally {
    if (ours) rmSync(policy);
  }
}

interface Ran {
  exitCode: number | undefined;
  failed: boolean;
  all: string;
  stdout: string;
}

/** Everything that was started, and where it lives. */
export class Engines {
  // Not below /tmp, which may be a file system that no overlay lies on.
  readonly directory = mkdtempSync(`/var/lib/${mark}-`);
  #processes: ChildProcess[] = [];

  path(...parts: string[]): string {
    return join(this.directory, ...parts);
  }

  static async start(): Promise<Engines> {
    await install();
    await clear();
    const engines = new Engines();
    try {
      await execa("ip", ["netns", "add", mark]);
      await execa("ip", ["-n", mark, "link", "set", "lo", "up"]);
      engines.#configure();
      await engines.#startRegistry();
      await engines.#startDocker();
      return engines;
    } catch (error) {
      await engines.stop();
      throw error;
    }
  }

  #configure(): void {
    for (const name of ["docker", "registry", "home", "podman"]) mkdirSync(this.path(name));
    const write = (name: string, text: string): void => writeFileSync(this.path(name), text, { mode: 0o600 });
    write(
      "daemon.json",
      JSON.stringify({
        "data-root": this.path("docker/data"),
        "exec-root": this.path("docker/exec"),
        pidfile: this.path("docker/pid"),
        hosts: [this.dockerHost],
        "storage-driver": "overlay2",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": `/${mark}`,
        // Without CAP_SYS_RESOURCE nobody may lower it.
        "oom-score-adjust": 0,
        "deprecated-key-path": this.path("docker/key.json"),
      }),
    );
    write(
      "storage.conf",
      `[storage]\ndriver = "overlay"\ngraphroot = "${this.path("podman/storage")}"\nrunroot = "${this.path("podman/run")}"\n`,
    );
    write("registries.conf", `[[registry]]\nlocation = "${registry.address}"\ninsecure = true\n`);
    write(
      "containers.conf",
      `[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nlock_type = "file"\nruntime = "runc"\ntmp_dir = "${this.path("podman/tmp")}"\n[network]\nnetwork_config_dir = "${this.path("podman/networks")}"\n`,
    );
  }

  get dockerHost(): string {
    return `unix://${this.path("docker/socket")}`;
  }

  /** The settings under which docker, podman and the GitOps tool work here, and nowhere else. */
  get environment(): Record<string, string | undefined> {
    return {
      HOME: this.path("home"),
      DOCKER_HOST: this.dockerHost,
      DOCKER_CONFIG: this.path("home/.docker"),
      DOCKER_CONTEXT: undefined,
      REGISTRY_AUTH_FILE: this.path("home/auth.json"),
      CONTAINERS_STORAGE_CONF: this.path("storage.conf"),
      CONTAINERS_REGISTRIES_CONF: this.path("registries.conf"),
      CONTAINERS_CONF: this.path("containers.conf"),
      BUILDAH_ISOLATION: "chroot",
      REGISTRY: undefined,
      KUBECONFIG: undefined,
    };
  }

  /** A program of the namespace; its mounts, and a /run of its own, are seen by nobody else and go with it. */
  #inside(program: string[]): [string, string[]] {
    const apart = ["unshare", "--mount", "--propagation", "slave"];
    const script = 'mount -t tmpfs tmpfs /run && exec "$@"';
    return ["nsenter", [`--net=${namespace}`, ...apart, "sh", "-c", script, "sh", ...program]];
  }

  /** Runs a program in the namespace to its end, whatever that is. */
  async run(program: string[], environment: Record<string, string> = {}): Promise<Ran> {
    const [command, args] = this.#inside(program);
    const env = { ...this.environment, ...environment };
    const options = { all: true, reject: false, cwd: repository, env, stdin: "ignore" } as const;
    const { exitCode, failed, all, stdout } = await execa(command, args, options);
    return { exitCode, failed, all, stdout };
  }

  /** Runs a program in the namespace and returns what it prints. */
  async answer(...program: string[]): Promise<string> {
    const { failed, all, stdout } = await this.run(program);
    if (failed) throw new Error(`${program.join(" ")}: ${all}`);
    return stdout;
  }

  async #background(name: string, program: string[], ready: () => Promise<boolean>): Promise<void> {
    const [command, args] = this.#inside(program);
    const log = openSync(this.path(`${name}.log`), "a");
    // The registry would take REGISTRY_AUTH_FILE for a setting of its own.
    const env = { ...process.env, ...this.environment, REGISTRY_AUTH_FILE: undefined } as NodeJS.ProcessEnv;
    const child = spawn(command, args, { stdio: ["ignore", log, log], env });
    this.#processes.push(child);
    await until(name, 60, async () => {
      if (child.exitCode !== null) throw new FinalFailure(`${name} ended: ${this.log(name)}`);
      return (await ready()) ? undefined : this.log(name).split("\n").slice(-3).join(" ");
    });
  }

  /** What a program that runs here has printed. */
  log(name: string): string {
    return readFileSync(this.path(`${name}.log`), "utf8");
  }

  async #startRegistry(): Promise<void> {
    // bcrypt, which docker-registry asks for, by the crypt(3) of Debian.
    const crypt = "print crypt($ARGV[0], q($2b$05$) . q(abcdefghijklmnopqrstuu))";
    const { stdout: hash } = await execa("perl", ["-e", crypt, registry.password]);
    writeFileSync(this.path("htpasswd"), `${registry.user}:${hash}\n`);
    const settings = {
      version: "0.1",
      log: { level: "warn" },
      storage: { filesystem: { rootdirectory: this.path("registry") } },
      http: { addr: `127.0.0.1:${behind}` },
      auth: { htpasswd: { realm: "e2e", path: this.path("htpasswd") } },
    };
    writeFileSync(this.path("registry.json"), JSON.stringify(settings));
    const asks = (port: number) => async (): Promise<boolean> =>
      (await this.#status(`http://127.0.0.1:${port}/v2/`)) === "401";
    await this.#background(
      "registry",
      ["docker-registry", "serve", this.path("registry.json")],
      asks(behind),
    );
    const proxy = [
      process.execPath,
      "--import",
      "tsx",
      join(repository, "e2e/long/immutable-tags.ts"),
      "5000",
      `${behind}`,
    ];
    await this.#background("proxy", proxy, asks(5000));
  }

  async #status(url: string, ...options: string[]): Promise<string> {
    const { stdout } = await this.run([
      "curl",
      "--silent",
      "--output",
      "/dev/null",
      "--write-out",
      "%{http_code}",
      ...options,
      url,
    ]);
    return stdout;
  }

  /** What the registry answers to the question for an image, with the login or without. */
  manifest(name: string, tag: string, login = true): Promise<string> {
    const options = login ? ["--user", `${registry.user}:${registry.password}`] : [];
    const accept = [
      "application/vnd.docker.distribution.manifest.v2+json",
      "application/vnd.oci.image.manifest.v1+json",
    ];
    const headers = accept.flatMap((type) => ["--header", `Accept: ${type}`]);
    return this.#status(
      `http://${registry.address}/v2/${name}/manifests/${tag}`,
      "--head",
      ...headers,
      ...options,
    );
  }

  /** The tags that the registry refused because they were there. */
  refused(): string[] {
    return this.log("proxy")
      .split("\n")
      .filter((line) => line.startsWith("refused "));
  }

  async #startDocker(): Promise<void> {
    const ready = async (): Promise<boolean> => !(await this.run(["docker", "version"])).failed;
    await this.#background("dockerd", ["dockerd", "--config-file", this.path("daemon.json")], ready);
  }

  /** Ends every process, and takes away what it leaves on the machine. */
  async stop(): Promise<void> {
    for (const child of this.#processes.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await clear();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Processes whose command line, network or cgroup is of these engines. */
function processes(): string[] {
  return readdirSync("/proc").filter((id) => {
    if (!/^\d+$/.test(id) || Number(id) === process.pid) return false;
    try {
      return `${readFileSync(`/proc/${id}/cmdline`, "utf8")}${readFileSync(`/proc/${id}/cgroup`, "utf8")}`.includes(
        mark,
      );
    } catch {
      return false;
    }
  });
}

const cgroups = (): string[] =>
  readdirSync("/sys/fs/cgroup", { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => (name === mark ? join("/sys/fs/cgroup", name) : join("/sys/fs/cgroup", name, mark)))
    .filter(existsSync);

/** Everything of these engines that is on the machine, one line each. */
export function remains(): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => line.includes(mark));
  const places = [
    "/etc/docker",
    "/var/lib/docker",
    "/run/docker",
    "/run/docker.sock",
    "/var/lib/containers",
    "/run/containers",
    "/run/libpod",
    "/dev/shm/libpod_lock",
  ];
  const directories = readdirSync("/var/lib")
    .filter((name) => name.startsWith(mark))
    .map((name) => `/var/lib/${name}`);
  return [
    ...processes().map((id) => `process ${id}`),
    ...(existsSync(namespace) ? [`network namespace ${mark}`] : []),
    ...mounts.map((line) => `mount ${line}`),
    ...cgroups().map((path) => `cgroup ${path}`),
    ...[...places.filter(existsSync), ...directories].map((path) => `path ${path}`),
  ];
}

/** Takes away a namespace and cgroups that an earlier run left, and this one's. */
async function clear(): Promise<void> {
  if (existsSync(namespace)) await execa("ip", ["netns", "delete", mark]);
  const remove = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true }))
      if (entry.isDirectory()) remove(join(directory, entry.name));
    rmdirSync(directory);
  };
  for (const path of cgroups()) remove(path);
}
