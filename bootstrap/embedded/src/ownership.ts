/** Which directories are the platform's own: what it fills, and what destroy may remove. */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { cacheDirectory, stateDirectory } from "./layout.ts";

/** The file that says so. */
const marker = ".logging-platform";

/** What lies in the directories of a platform of an earlier version, which made no such file. */
const known = new Set([
  ...[
    "backup",
    "bin",
    "builder",
    "config",
    "etcd",
    "ip_forward.before",
    "kubeconfig",
    "log",
    "namespaces",
    "nodes",
    "pki",
  ],
  ...["registries", "render", "resolv.conf", "restore", "secrets", "settings.json", "supervisor", "upkeep"],
  ...["containers", "go-build", "go-mod", "images", "registry", "sources"],
]);

/** True for a directory that the platform made or may take: marked, empty, or with nothing in it but what the platform makes. */
export function isOwn(directory: string): boolean {
  if (!existsSync(directory) || existsSync(join(directory, marker))) return true;
  return readdirSync(directory).every((name) => known.has(name) || name.startsWith("istioctl-"));
}

/**
 * Refuses a directory that holds somebody's things.
 * @throws Failure naming it and what is in it
 */
export function requireOwn(directory: string, variable: string): void {
  if (isOwn(directory)) return;
  const others = readdirSync(directory).filter((name) => !known.has(name));
  throw new Failure(
    `${variable} is ${directory}, which holds other things: ${others.slice(0, 3).join(", ")}`,
    `give ${variable} a directory of its own`,
  );
}

/**
 * Makes the platform's directories, the state directory closed to everybody but root: logs, configuration and the nodes' file
 * systems lie in it, among these volumes that any user may write. Pods and nodes see what is theirs by mounts, which do not
 * ask the directories above.
 */
export function ensureOwnDirectories(): void {
  const directories = { STATE_DIR: stateDirectory, CACHE_DIR: cacheDirectory };
  for (const [variable, directory] of Object.entries(directories)) {
    requireOwn(directory, variable);
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, marker),
      "Made by deploy.sh of logging-platform, and removed by its destroy.\n",
    );
  }
  chmodSync(stateDirectory, 0o700);
}
