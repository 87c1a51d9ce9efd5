/** What of the platform is on the machine, found without the platform's own code. */
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { until } from "../lib/failure.ts";
import { Git } from "../lib/git/git.ts";

const project = "logging-platform";

/** Directories that hold the running platform and its cache. */
export const stateDirectory = process.env.STATE_DIR ?? `/var/lib/${project}`;
export const cacheDirectory = process.env.CACHE_DIR ?? `/var/cache/${project}`;

/** What `deploy.sh` and the commands it runs have printed. */
export const logFile = process.env.DEPLOY_LOG ?? `/var/log/${project}.log`;

/** A file's text, or nothing where it has gone. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

const processIds = (): number[] => readdirSync("/proc").map(Number).filter(Number.isInteger);

const inCgroup = (id: number): boolean => read(`/proc/${id}/cgroup`).includes(`:/${project}`);

/** Ids of the processes in the platform's cgroups. */
export const cgroupProcesses = (): number[] => processIds().filter(inCgroup);

/** Ids of the processes that have to do with the platform: by cgroup, by command line or by mount. */
export function relatedProcesses(): number[] {
  return processIds().filter((id) => {
    const command = read(`/proc/${id}/cmdline`);
    const mounts = read(`/proc/${id}/mountinfo`);
    return inCgroup(id) || command.includes(stateDirectory) || mounts.includes(`${stateDirectory}/`);
  });
}

/** What the platform listens on in the machine's own network: program, protocol, address and port. */
export async function platformListeners(): Promise<string[]> {
  const { stdout } = await execa("ss", [
    "--no-header",
    "--listening",
    "--tcp",
    "--udp",
    "--numeric",
    "--processes",
  ]);
  const found: string[] = [];
  for (const line of stdout.split("\n")) {
    const [protocol, , , , address] = line.split(/\s+/);
    for (const [, name, id] of line.matchAll(/\("([^"]+)",pid=(\d+)/g)) {
      if (inCgroup(Number(id))) found.push(`${name} ${protocol} ${address}`);
    }
  }
  return found.sort();
}

/** Directories named after the platform at any depth. */
function directoriesBelow(root: string): string[] {
  if (!existsSync(root)) return [];
  const below = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return below.flatMap(({ name }) => {
    const path = join(root, name);
    return name === project ? [path] : directoriesBelow(path);
  });
}

/** Everything of the platform that is on the machine, one line each. */
export async function traces(): Promise<string[]> {
  const lines = async (command: string, ...args: string[]): Promise<string[]> =>
    (await execa(command, args)).stdout.split("\n");
  const mounts = read("/proc/self/mountinfo").split("\n");
  const git = new Git(process.cwd());
  const remotes = ((await git.try("remote")) ?? "").split("\n");
  const settings = (await git.try("config", "--local", "--get-regexp", "^(credential|remote)")) ?? "";
  const found: Record<string, string[]> = {
    process: relatedProcesses().map((id) => `${id} ${read(`/proc/${id}/cmdline`).replaceAll("\0", " ")}`),
    mount: mounts.filter((line) => line.includes(project) || /\/run\/netns\/lp-/.test(line)),
    "network namespace": existsSync("/run/netns")
      ? readdirSync("/run/netns").filter((name) => name.startsWith("lp-"))
      : [],
    link: (await lines("ip", "-o", "link")).filter((line) => /: lp(0|-)/.test(line)),
    address: (await lines("ip", "-o", "address")).filter((line) => line.includes(" 10.250.0.")),
    route: (await lines("ip", "route")).filter((line) => /10\.(244|250)\./.test(line)),
    "iptables rule": (await lines("iptables-save")).filter((line) =>
      /logging-platform|lp0|10\.(244|250)\./.test(line),
    ),
    cgroup: directoriesBelow("/sys/fs/cgroup"),
    path: [stateDirectory, logFile].filter(existsSync),
    "git remote": remotes.filter((name) => name === "platform"),
    "git setting": settings.split("\n").filter((line) => line.includes(project) || line.includes("platform")),
  };
  return Object.entries(found).flatMap(([kind, things]) => things.map((thing) => `${kind} ${thing}`));
}

/**
 * Takes away what a restart of the machine takes: processes, mounts, network namespaces, links, routes, rules, control groups
 * and what lies in memory. Files stay. Without the platform's own code, which might forget what it also makes.
 */
export async function forgetKernel(): Promise<void> {
  await until("the platform's processes", 60, async () => {
    const ids = cgroupProcesses();
    for (const id of ids) {
      try {
        process.kill(id, "SIGKILL");
      } catch {
        // Gone already.
      }
    }
    return ids.length === 0 ? undefined : `${ids.length} are left`;
  });
  const points = read("/proc/self/mountinfo")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path === stateDirectory || path.startsWith(`${stateDirectory}/`));
  for (const path of points.reverse()) await execa("umount", ["--lazy", path], { reject: false });
  const run = (command: string, ...args: string[]) => execa(command, args, { reject: false });
  for (const name of existsSync("/run/netns") ? readdirSync("/run/netns") : [])
    if (name.startsWith("lp-")) await run("ip", "netns", "delete", name);
  const links = (await execa("ip", ["-o", "link"])).stdout.matchAll(/: (lp0|lp-[\w-]+)[@:]/g);
  for (const [, name = ""] of links) await run("ip", "link", "delete", name);
  for (const table of ["nat", "filter"]) {
    const { stdout } = await execa("iptables", ["-t", table, "-S"]);
    for (const rule of stdout.split("\n").filter((line) => line.includes(project))) {
      const words = rule.replace(/^-A /, "-D ").split(" ");
      await execa("iptables", ["-t", table, ...words.map((word) => word.replaceAll('"', ""))]);
    }
  }
  const groups = (directory: string): string[] =>
    readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) => groups(join(directory, name)))
      .concat(directory);
  for (const root of directoriesBelow("/sys/fs/cgroup"))
    for (const group of groups(root))
      await until(`control group ${group}`, 30, async () => {
        rmdirSync(group);
        return undefined;
      });
}
