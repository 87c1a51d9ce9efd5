// @module-tag slow
/** Follows the advice of the embedded cluster for a machine in trouble, in that state, in namespaces of its own. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hierarchies } from "../src/cgroups.ts";
import { repository } from "../src/layout.ts";

// The name of a cgroup is visible on the whole machine.
const group = `advice-${process.pid}`;
const directory = mkdtempSync(join(tmpdir(), "advice machine "));
const groups: string[] = [];

/** True if namespaces and a cgroup can be created here. Root can do that, but not in every container. */
function canMake(): boolean {
  try {
    execFileSync("unshare", ["--mount", "--pid", "--net", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    // A new cpuset would need its processors first.
    const [hierarchy = ""] = hierarchies().filter((path) => !path.endsWith("cpuset"));
    groups.push(join(hierarchy, group));
    mkdirSync(join(hierarchy, group));
    return true;
  } catch {
    return false;
  }
}

/**
 * Namespaces with one cgroup hierarchy, whose root is a group of the test. Code that looks for the platform's processes, mounts
 * and links finds only the test's, and does not touch a platform that runs on the same machine.
 */
const ownMachine = `
mount --make-rprivate / && mkdir -p "$TMPDIR/group" && mount --bind "$1" "$TMPDIR/group" &&
case "$1" in
  /sys/fs/cgroup/*/*) mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/own && own=/sys/fs/cgroup/own ;;
  *) own=/sys/fs/cgroup ;;
esac && mount --bind "$TMPDIR/group" "$own" || exit
shift
"$@"
`;

interface Told {
  message: string;
  next: string;
  all: string;
  exitCode: number;
}

async function followedIn(trouble: string): Promise<Told> {
  const program = join(repository, "bootstrap/embedded/test/in-trouble.ts");
  const command = [process.execPath, "--import", "tsx", program, trouble];
  const namespaces = ["--mount", "--pid", "--net", "--fork", "--mount-proc"];
  const started = ["sh", "-c", ownMachine, "sh", groups[0] ?? "", ...command];
  const { stdout } = await execa("unshare", [...namespaces, ...started], {
    cwd: repository,
    env: { TMPDIR: directory, STATE_DIR: join(directory, "state"), CACHE_DIR: join(directory, "cache") },
  });
  return JSON.parse(stdout) as Told;
}

/** Removes a group with those below it. Their processes ended with their namespace. */
function remove(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) remove(join(path, entry.name));
  rmdirSync(path);
}

const makes = canMake();
beforeAll(() => mkdirSync(join(directory, "state/log"), { recursive: true }));
afterAll(() => {
  for (const path of groups) if (makes) remove(path);
  rmSync(directory, { recursive: true });
});

describe.skipIf(!makes)("next is shown,", () => {
  it("where a process does not end, in what state it is", async () => {
    const { message, all } = await followedIn("a process that does not end");
    expect(message).toBe("processes did not end: 1");
    expect(all).toMatch(/^ *1 +S\S* +sh -c /m);
  });

  it("where a control group is in use, by whom", async () => {
    const { message, exitCode, all } = await followedIn("a cgroup in use");
    expect(message).toMatch(/^cgroup \/sys\/fs\/cgroup\S*\/logging-platform\/node1 is still in use$/);
    expect([exitCode, all]).toEqual([0, expect.stringMatching(/^[1-9][0-9]*$/)]);
  });

  it("where a mount is in use, by whom", async () => {
    const { message, all } = await followedIn("a mount in use");
    expect(message).toBe(`still mounted: ${join(directory, "state/nodes/node 1")}`);
    expect(all).toMatch(/^\/proc\/[1-9][0-9]*\/cwd$/);
  });

  it("where the machine has no name server for pods, which it has", async () => {
    const { message, exitCode, all } = await followedIn("no name server for pods");
    expect(message).toContain("no server that a pod can reach");
    expect([exitCode, all]).toEqual([0, "nameserver 127.0.0.53"]);
  });
});
