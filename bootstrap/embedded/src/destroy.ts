/** Removes the embedded cluster from the machine. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";
import { quoted } from "../../../lib/quoted.ts";
import { killAll, platformProcesses, removeCgroups } from "./cgroups.ts";
import { bridge, cacheDirectory, nodes, project, stateDirectory } from "./layout.ts";
import { namespaceName, removeNetwork } from "./network.ts";
import { requireOwn } from "./ownership.ts";

/** Mount points at or below a directory, deepest last, from the text of /proc/self/mountinfo. */
export function mountsBelow(mountinfo: string, directory: string): string[] {
  return (
    mountinfo
      .split("\n")
      // The kernel writes spaces and similar characters as octal digits.
      .map((line) =>
        (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, digits) =>
          String.fromCharCode(parseInt(digits, 8)),
        ),
      )
      .filter((path) => path === directory || path.startsWith(`${directory}/`))
  );
}

const mounts = (directory: string): string[] =>
  mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), directory);

/**
 * Ends every process and removes every mount, namespace, link, rule, cgroup and the state directory.
 * @param purge also removes the build cache
 */
export async function destroy(purge: boolean): Promise<void> {
  requireOwn(stateDirectory, "STATE_DIR");
  if (purge) requireOwn(cacheDirectory, "CACHE_DIR");
  progress("ending processes");
  await killAll();
  progress("removing mounts");
  for (const directory of [stateDirectory, join(cacheDirectory, "containers")]) {
    for (const path of mounts(directory).reverse()) await run("umount", [path], { accept: [32] });
    if (mounts(directory).length > 0)
      throw new Failure(
        `still mounted: ${mounts(directory).join(" ")}`,
        // This finds processes with an open file or directory there. A mount in another namespace does not block the unmount.
        `find /proc/[0-9]* -maxdepth 2 -lname ${quoted(`${mounts(directory)[0]}*`)} 2>/dev/null`,
      );
  }
  progress("removing network");
  await removeNetwork();
  await removeCgroups();
  rmSync(stateDirectory, { recursive: true, force: true });
  if (purge) rmSync(cacheDirectory, { recursive: true, force: true });
}

/** Everything of the platform that is still on the machine, one line for each thing; empty after `destroy`. */
export async function remains(): Promise<string[]> {
  const lines = platformProcesses().map((id) => `process ${id}`);
  lines.push(...mounts(stateDirectory).map((path) => `mount ${path}`));
  for (const node of nodes)
    if (existsSync(`/run/netns/${namespaceName(node)}`))
      lines.push(`network namespace ${namespaceName(node)}`);
  const links = await run("ip", ["-o", "link"], { quiet: true });
  for (const name of [bridge.name, ...nodes.map((n) => `lp-${n.name}`)])
    if (links.includes(`: ${name}`)) lines.push(`link ${name}`);
  const rules = existsSync("/usr/sbin/iptables-save") ? await run("iptables-save", [], { quiet: true }) : "";
  lines.push(
    ...rules
      .split("\n")
      .filter((rule) => rule.includes(project))
      .map((rule) => `iptables rule ${rule}`),
  );
  for (const entry of existsSync("/sys/fs/cgroup") ? readdirSync("/sys/fs/cgroup") : []) {
    if (entry === project || existsSync(join("/sys/fs/cgroup", entry, project)))
      lines.push(`cgroup ${entry}`);
  }
  if (existsSync(stateDirectory)) lines.push(`directory ${stateDirectory}`);
  return lines;
}
