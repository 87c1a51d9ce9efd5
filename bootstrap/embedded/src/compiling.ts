/** Compiling beside the stages: the pinned tools are built in the order they are needed while the cluster already starts. */
import { type ChildProcess, spawn } from "node:child_process";
import { modules } from "../../../lib/modules.ts";
import { compiler } from "./compiler.ts";
import { isBuilt } from "./modules.ts";

let running: ChildProcess | undefined;

/**
 * Starts to compile what is not in the cache, in a session of its own that ends with this process at the latest.
 * @param program what Node is given to run
 */
export function startCompiling(program = compiler(), names = modules.map(({ name }) => name)): void {
  if (running || names.every(isBuilt)) return;
  // The descriptor of deploy.sh's lock stays out of it: a compiler that outlives a killed run would hold the lock.
  const stdio = Array.from({ length: lockDescriptor + 1 }, () => "ignore" as const);
  running = spawn(process.execPath, program, { detached: true, stdio });
  running.on("error", () => undefined);
  process.once("exit", stopCompiling);
}

const lockDescriptor = 9;

/** Ends what `startCompiling` started, with all its children. */
export function stopCompiling(): void {
  process.off("exit", stopCompiling);
  const id = running?.pid;
  running = undefined;
  try {
    if (id) process.kill(-id, "SIGTERM");
  } catch {
    // It has ended by itself.
  }
}
