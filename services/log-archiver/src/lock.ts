/** Allows one writer at a time in a directory of archives. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Failure } from "./failure.ts";

/**
 * Runs `use` while no other run does the same, on this machine or on another that mounts the directory. The lock is that
 * of flock(1). A child that ends with this process holds it, so a killed run releases it.
 * @throws Failure if another run holds the lock for longer than `seconds`
 */
export async function withLock<T>(directory: string, seconds: number, use: () => Promise<T>): Promise<T> {
  const file = join(directory, ".lock");
  const holder = spawn(
    "flock",
    ["--exclusive", "--timeout", String(seconds), file, "sh", "-c", "echo; exec cat"],
    {
      stdio: ["pipe", "pipe", "pipe"],
    },
  );
  let complaint = "";
  holder.stderr.on("data", (chunk) => {
    complaint += chunk;
  });
  holder.stdin.on("error", () => undefined);
  const ended = once(holder, "close").then(([code]) => code as number | null);
  const failed = once(holder, "error").then(([cause]) => {
    throw new Failure("flock cannot be run", { cause, next: "apt-get install --yes util-linux" });
  });
  failed.catch(() => undefined);
  const held = await Promise.race([
    once(holder.stdout, "data").then(() => true),
    ended.then(() => false),
    failed,
  ]);
  if (!held) {
    const why = complaint.trim() || `another run has held ${file} for ${seconds} s`;
    throw new Failure(`${directory} could not be locked: ${why}`, {
      next: "kubectl --namespace logging get jobs,pods",
    });
  }
  try {
    return await use();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
