/** Says which directories belong to the platform: it may fill them, and destroy may remove them. */
import { chmodSync, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../../lib/failure.ts";
import { cacheDirectory, stateDirectory } from "./layout.ts";

/** The file that marks such a directory. */
const marker = ".logging-platform";

/** Names in the directories of an older platform, which made no such file. */
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

/** True for a directory that the platform made or may take: it is missing, marked, or has only files of the platform. */
export function isOwn(directory: string): boolean {
  if (!existsSync(directory) || existsSync(join(directory, marker))) return true;
  return readdirSync(directory).every((name) => known.has(name) || name.startsWith("istioctl-"));
}

/**
 * Refuses a directory that holds somebody else's files.
 * @throws Failure that names the directory and some of these files
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
 * Creates the platform's directories. Only root can enter the state directory, which holds logs, configuration and the nodes'
 * file systems, with volumes that any user may write to. Pods and nodes see their parts through mounts, for which the
 * permissions of the directories above do not matter.
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
