/** The local registry (CNCF distribution, from Debian): the mirror that both nodes pull from. */

import { mkdirSync } from "node:fs";
import { until } from "../../../lib/failure.ts";
import { run, tailCommand } from "../../../lib/process.ts";
import { writeIfChanged } from "./files.ts";
import { cache, registryAddress, state } from "./layout.ts";
import { ensureNetwork } from "./network.ts";
import { type Program, supervise, supervisorRuns } from "./supervisor.ts";

const configuration = (): string => state("config", "registry.json");

/** The registry as a program to be supervised; its content is part of the build cache. */
export function registryProgram(): Program {
  const text = JSON.stringify({
    version: "0.1",
    log: { level: "warn", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: cache("registry") }, delete: { enabled: true } },
    http: { addr: registryAddress },
  });
  mkdirSync(cache("registry"), { recursive: true });
  writeIfChanged(configuration(), text);
  return {
    name: "registry",
    command: ["docker-registry", "serve", configuration()],
    inputs: [configuration()],
  };
}

const manifestTypes = [
  "application/vnd.oci.image.manifest.v1+json",
  "application/vnd.docker.distribution.manifest.v2+json",
];

/** True when the mirror holds an image, given as `docker.io/library/node:24`. */
export async function registryHas(reference: string): Promise<boolean> {
  const split = reference.lastIndexOf(":");
  const url = `http://${registryAddress}/v2/${reference.slice(0, split)}/manifests/${reference.slice(split + 1)}`;
  const response = await fetch(url, { method: "HEAD", headers: { accept: manifestTypes.join(", ") } });
  return response.ok;
}

/** Starts the registry where it does not answer yet, with the network it listens on. */
export async function ensureRegistry(): Promise<void> {
  await ensureNetwork();
  const answers = async (): Promise<boolean> => {
    try {
      return (await fetch(`http://${registryAddress}/v2/`)).ok;
    } catch {
      return false;
    }
  };
  if ((await supervisorRuns()) && (await answers())) return;
  await supervise([registryProgram()]);
  await until(
    "registry",
    30,
    async () => ((await answers()) ? undefined : `no answer at ${registryAddress}`),
    tailCommand(state("log", "registry.log")),
  );
}

/** Pushes a local image into the mirror under its own name. */
export async function push(reference: string, buildah: string[]): Promise<void> {
  await run("buildah", [
    ...buildah,
    "push",
    "--tls-verify=false",
    reference,
    `docker://${registryAddress}/${reference}`,
  ]);
}
