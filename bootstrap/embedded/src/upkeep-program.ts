/** The program that does the platform's upkeep. It needs nothing but the state directory: no checkout, and no Node. */
import { copyFileSync, existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { nodeBundle } from "../../../lib/bundle.ts";
import { quoted } from "../../../lib/quoted.ts";
import { writeIfChanged } from "./files.ts";
import { cacheDirectory, repository, state, stateDirectory } from "./layout.ts";
import type { Program } from "./supervisor.ts";

const bundle = (): string => state("upkeep", "upkeep.mjs");
const script = (): string => state("upkeep", "upkeep.sh");
const node = (): string => state("upkeep", "node");

/** Seconds from one run of the upkeep to the next. */
const pause = 300;

/** The lock of deploy.sh. Upkeep takes it too, because both change the same files. */
export const deployLock = "/run/logging-platform.lock";

/** Bundles the code, copies the current Node, and returns the program for the supervisor. */
export async function upkeepProgram(): Promise<Program> {
  mkdirSync(state("upkeep"), { recursive: true, mode: 0o700 });
  const { outputFiles } = await build({
    ...nodeBundle,
    entryPoints: [join(repository, "bootstrap/embedded/src/upkeep.ts")],
    logLevel: "silent",
    write: false,
  });
  writeIfChanged(bundle(), outputFiles[0]?.text ?? "");
  writeIfChanged(script(), upkeepScript());
  copyNode();
  return { name: "upkeep", command: ["sh", script()], inputs: [script(), bundle(), node()] };
}

/** A shell script that runs the upkeep again and again. It skips a turn while deploy.sh runs. */
export function upkeepScript(): string {
  const environment = [
    ...[`STATE_DIR=${stateDirectory}`, `CACHE_DIR=${cacheDirectory}`, "DEPLOY_LOG=/dev/stdout", "HOME=/root"],
    ...[
      `KUBECONFIG=${state("kubeconfig", "admin.yaml")}`,
      `PATH=${state("bin")}:/usr/sbin:/usr/bin:/sbin:/bin`,
    ],
  ];
  const command = ["env", "--ignore-environment", ...environment, node(), bundle()].map(quoted).join(" ");
  return `exec 9>>${deployLock}
while :; do
  # The pause comes first, because whoever starts this has just done the upkeep.
  sleep ${pause} 9>&-
  flock --nonblock 9 || continue
  echo $$ >${deployLock}
  ${command} 9>&-
  flock --unlock 9
done
`;
}

// With a copy, the upkeep still runs after somebody upgrades or removes the machine's Node.
function copyNode(): void {
  const [from, to] = [statSync(process.execPath), existsSync(node()) ? statSync(node()) : undefined];
  if (to && to.size === from.size && to.mtimeMs >= from.mtimeMs) return;
  copyFileSync(process.execPath, `${node()}.new`);
  renameSync(`${node()}.new`, node());
}
