/** Keeps every process of the platform in one cgroup tree per controller, so that none is missed when it is stopped. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure } from "../../../lib/failure.ts";
import { project } from "./layout.ts";
import { inspectMachine } from "./machine.ts";

const root = "/sys/fs/cgroup";

/** The mounted hierarchies: one directory for each controller of v1, or the single one of v2. */
export function hierarchies(): string[] {
  if (inspectMachine().cgroups === "v2") return [root];
  return readdirSync(root)
    .map((name) => join(root, name))
    .filter((path) => statSync(path).isDirectory() && existsSync(join(path, "cgroup.procs")));
}

/** Creates `<project>/<name>` in every hierarchy and makes it ready for processes. */
export function createCgroup(name: string): void {
  for (const hierarchy of hierarchies()) {
    const parent = join(hierarchy, project);
    for (const path of [parent, join(parent, name)]) {
      mkdirSync(path, { recursive: true });
      const above = join(path, "..");
      // A new cpuset is empty, and refuses processes until its processors and memory nodes are set.
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        if (hierarchy.endsWith("cpuset") && readFileSync(join(path, file), "utf8").trim() === "") {
          writeFileSync(join(path, file), readFileSync(join(above, file), "utf8"));
        }
      }
      if (existsSync(join(above, "cgroup.subtree_control"))) {
        for (const controller of readFileSync(join(above, "cgroup.controllers"), "utf8").trim().split(" ")) {
          if (controller) writeFileSync(join(above, "cgroup.subtree_control"), `+${controller}`);
        }
      }
    }
  }
}

/** The files to which a process writes its id in order to join `<project>/<name>`. */
export const entrances = (name: string): string[] =>
  hierarchies().map((h) => join(h, project, name, "cgroup.procs"));

function walk(directory: string): string[] {
  if (!existsSync(directory)) return [];
  const below = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...below.flatMap((entry) => walk(join(directory, entry.name))), directory];
}

/** Ids of all processes in the platform's cgroups, or only in those with the given name. */
export function platformProcesses(name = ""): number[] {
  const ids = new Set<number>();
  for (const hierarchy of hierarchies()) {
    for (const directory of walk(join(hierarchy, project, name))) {
      try {
        for (const line of readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n"))
          if (line) ids.add(Number(line));
      } catch {
        // The group disappeared while it was read.
      }
    }
  }
  ids.delete(0);
  return [...ids];
}

/**
 * Kills every process of the platform, and repeats that until none is left.
 * @throws Failure if some are alive after 30 s
 */
export async function killAll(name = ""): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const ids = platformProcesses(name).filter((id) => id !== process.pid);
    if (ids.length === 0) return;
    if (Date.now() > deadline)
      throw new Failure(`processes did not end: ${ids.join(" ")}`, `ps -o pid,stat,cmd -p ${ids.join(",")}`);
    for (const id of ids) {
      try {
        process.kill(id, "SIGKILL");
      } catch {
        // It has ended already.
      }
    }
    await sleep(100);
  }
}

/** Removes the platform's cgroups, innermost first. */
export async function removeCgroups(): Promise<void> {
  for (const hierarchy of hierarchies()) {
    for (const directory of walk(join(hierarchy, project))) {
      // The kernel frees the group a moment after it has killed the process.
      for (let attempt = 0; attempt < 50 && existsSync(directory); attempt++) {
        try {
          rmdirSync(directory);
        } catch {
          await sleep(100);
        }
      }
      if (existsSync(directory))
        throw new Failure(`cgroup ${directory} is still in use`, `cat ${directory}/cgroup.procs`);
    }
  }
}
