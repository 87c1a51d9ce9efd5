/**
 * Puts the machine into a state in which the embedded cluster gives up, follows its advice there, and prints both results as
 * JSON. It only runs inside `ownMachine` of advice-machine.test.ts, so that it mounts, kills and moves only things in these
 * namespaces and in its own cgroup.
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { Failure } from "../../../lib/failure.ts";
import { createCgroup, entrances, killAll, removeCgroups } from "../src/cgroups.ts";
import { destroy } from "../src/destroy.ts";
import { nodes, state } from "../src/layout.ts";
import { ensureNode } from "../src/node.ts";

const troubles: Record<string, () => Promise<unknown>> = {
  // Signals from inside a namespace do not end its first process.
  "a process that does not end": () => {
    createCgroup("node1");
    for (const file of entrances("node1")) writeFileSync(file, "1");
    const now = Date.now;
    let asked = 0;
    Date.now = () => now() + 15_000 * asked++;
    return killAll();
  },
  "a cgroup in use": () => {
    createCgroup("node1");
    const { pid } = spawn("sleep", ["60"], { stdio: "ignore", detached: true });
    for (const file of entrances("node1")) writeFileSync(file, String(pid));
    return removeCgroups();
  },
  "a mount in use": async () => {
    const mounted = state("nodes", "node 1");
    mkdirSync(mounted, { recursive: true });
    await execa("mount", ["-t", "tmpfs", "tmpfs", mounted]);
    spawn("sleep", ["60"], { stdio: "ignore", detached: true, cwd: mounted });
    return destroy(false);
  },
  "no name server for pods": async () => {
    const file = join(process.env.TMPDIR ?? "", "resolv.conf");
    writeFileSync(file, "nameserver 127.0.0.53\n");
    await execa("mount", ["--bind", file, "/etc/resolv.conf"]);
    // The servers that systemd-resolved uses count too.
    await execa("mount", ["-t", "tmpfs", "tmpfs", "/run"]);
    const [node] = nodes;
    return node && ensureNode(node);
  },
};

const failure: unknown = await troubles[process.argv[2] ?? ""]?.().catch((error: unknown) => error);
if (!(failure instanceof Failure)) throw failure ?? new Error("no trouble");
const { message, next = "" } = failure;
const { all, exitCode } = await execa("sh", ["-c", next], { all: true, reject: false });
process.stdout.write(JSON.stringify({ message, next, all, exitCode }));
process.exit();
