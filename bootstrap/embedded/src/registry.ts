/**
 * The local registry (CNCF distribution, from Debian) is the mirror that both nodes pull from. Two programs share one store:
 * the one on the bridge is read-only and everybody may pull from it; the other takes pushes, and only root has its password.
 */

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../../lib/failure.ts";
import { lookUp } from "../../../lib/images/registry.ts";
import { run, tailCommand } from "../../../lib/process.ts";
import { credentials, secretFile } from "./credentials.ts";
import { writeIfChanged } from "./files.ts";
import { cache, pushAddress, registryAddress, state } from "./layout.ts";
import { ensureNetwork } from "./network.ts";
import { type Program, programStates, superviseAlso, supervisorRuns, waitForPrograms } from "./supervisor.ts";

const user = "platform";

/** The file with the login for pushes, in the format that buildah and `npm run release` read. */
export const loginFile = (): string => state("secrets", "registry-login.json");

/** The bcrypt hash that docker-registry needs, by Debian's crypt(3). It is the same each time, so that nothing restarts. */
async function passwordHash(password: string): Promise<string> {
  const digest = createHash("sha256").update(`salt of ${password}`).digest("base64");
  const salt = `${digest.replace(/[+/=]/g, ".").slice(0, 21)}u`;
  const script = "my ($password, $salt) = split ' ', <STDIN>; print crypt($password, '$2b$05$' . $salt)";
  return run("perl", ["-e", script], { input: `${password} ${salt}`, quiet: true });
}

async function writeLogin(): Promise<string> {
  const { registry } = credentials();
  const users = secretFile("registry-users");
  writeIfChanged(users, `${user}:${await passwordHash(registry)}\n`, 0o600);
  const auth = Buffer.from(`${user}:${registry}`).toString("base64");
  writeIfChanged(loginFile(), JSON.stringify({ auths: { [pushAddress]: { auth } } }), 0o600);
  return users;
}

/** The configurations of both registries. */
export function registrySettings(users: string): { pull: object; push: object } {
  const filesystem = { rootdirectory: cache("registry") };
  const common = { version: "0.1", log: { level: "warn", accesslog: { disabled: true } } };
  return {
    pull: {
      ...common,
      storage: {
        filesystem,
        maintenance: { readonly: { enabled: true }, uploadpurging: { enabled: false } },
      },
      http: { addr: registryAddress },
    },
    push: {
      ...common,
      storage: { filesystem, delete: { enabled: true } },
      http: { addr: pushAddress },
      auth: { htpasswd: { realm: "logging-platform", path: users } },
    },
  };
}

/** Both registries as programs for the supervisor. Their content is part of the build cache. */
export async function registryPrograms(): Promise<Program[]> {
  mkdirSync(cache("registry"), { recursive: true });
  const users = await writeLogin();
  const { pull, push } = registrySettings(users);
  return Object.entries({ registry: pull, "registry-push": push }).map(([name, settings]) => {
    const file = state("config", `${name}.json`);
    writeIfChanged(file, JSON.stringify(settings));
    return {
      name,
      // It takes each variable REGISTRY_* as a setting, and `./deploy.sh env` puts such variables into the shell.
      command: ["env", "--ignore-environment", "/usr/bin/docker-registry", "serve", file],
      inputs: [file, ...(settings === push ? [users] : [])],
    };
  });
}

/**
 * The digest that the mirror has for an image's name, such as `docker.io/library/node:24`. It is undefined if the mirror has
 * none or cannot answer, for example after a full disk. A new push repairs that.
 */
export async function mirrorDigest(
  reference: string,
  address = registryAddress,
): Promise<string | undefined> {
  const answer = await lookUp(`${address}/${reference}`, { insecure: true, withDigest: true });
  return answer.state === "there" ? answer.digest : undefined;
}

/** Starts the registries, and the network they listen on, unless they already answer. */
export async function ensureRegistry(): Promise<void> {
  await ensureNetwork();
  const programs = await registryPrograms();
  const names = programs.map(({ name }) => name);
  if (!((await ours(names)) && (await answers()))) await superviseAlso(programs);
  // If another program listens there, ours cannot run, and this wait fails before the other one is asked.
  await waitForPrograms(names);
  await until(
    "registry",
    30,
    async () => ((await answers()) ? undefined : `no answer at ${registryAddress}`),
    tailCommand(state("log", "registry.log")),
  );
}

async function ours(names: string[]): Promise<boolean> {
  if (!(await supervisorRuns())) return false;
  const states = await programStates();
  return names.every((name) => states[name] === "RUNNING");
}

async function answers(): Promise<boolean> {
  try {
    const responses = await Promise.all(
      [registryAddress, pushAddress].map((address) => fetch(`http://${address}/v2/`)),
    );
    return responses.map(({ status }) => status).join() === "200,401";
  } catch {
    return false;
  }
}

/** Pushes a local image into the mirror under its own name, and returns its digest there. */
export async function push(reference: string, buildah: string[]): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "logging-platform-push-"));
  try {
    const digestFile = join(directory, "digest");
    await run("buildah", [
      ...buildah,
      "push",
      "--tls-verify=false",
      "--authfile",
      loginFile(),
      "--digestfile",
      digestFile,
      reference,
      `docker://${pushAddress}/${reference}`,
    ]);
    return readFileSync(digestFile, "utf8").trim();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
