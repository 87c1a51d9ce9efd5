/** Compiles the pinned tools in the background, in the order they are needed, while the cluster already starts. */
import { type ChildProcess, spawn } from "node:child_process";
import { modules } from "../../../lib/modules.ts";
import { compiler } from "./compiler.ts";
import { isBuilt } from "./modules.ts";

let running: ChildProcess | undefined;

/**
 * Starts to compile what is not in the cache. The compiler has its own session and ends with this process at the latest.
 * @param program Node's arguments
 */
export function startCompiling(program = compiler(), names = modules.map(({ name }) => name)): void {
  if (running || names.every(isBuilt)) return;
  // The compiler does not inherit the descriptor of deploy.sh's lock, or it would hold the lock after a killed run.
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
    // It has ended already.
  }
}
