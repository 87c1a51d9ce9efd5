/** Says what bootstrap would do and what is wrong with the machine, without changing anything. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Diagnosis, words } from "../../../lib/cluster/doctor.ts";
import { Git } from "../../../lib/git/git.ts";
import { modules } from "../../../lib/modules.ts";
import { tailCommand } from "../../../lib/process.ts";
import { findCollisions } from "./collisions.ts";
import { imagesToBuild } from "./images.ts";
import { repository, stateDirectory } from "./layout.ts";
import { inspectMachine } from "./machine.ts";
import { isBuilt, moduleVersion } from "./modules.ts";
import { missingPackages } from "./packages.ts";
import { programStates, supervisorRuns } from "./supervisor.ts";

/** One line for each thing that bootstrap would do. */
export async function plan(): Promise<string[]> {
  const version = (name: string, path?: string): string => (path ? ` ${moduleVersion(name)}` : "");
  const runs = existsSync(stateDirectory) && (await supervisorRuns());
  return [
    ...missingPackages().map((name) => `install the Debian package ${name}`),
    ...modules.filter((m) => !isBuilt(m.name)).map((m) => `compile ${m.name}${version(m.name, m.path)}`),
    ...(await imagesToBuild()).map((name) => `assemble the image ${name}`),
    runs ? `check the cluster that runs from ${stateDirectory}` : `start a cluster from ${stateDirectory}`,
    "push HEAD to its Git server and wait until Argo CD has synced it",
  ];
}

/** Checks whether this checkout can be pushed to the platform's Git server: Git can read it, and it has its whole history. */
export async function examineCheckout(directory = repository): Promise<Diagnosis> {
  const what = "checkout";
  try {
    const shallow = await new Git(directory).run("rev-parse", "--is-shallow-repository");
    return shallow.trim() === "true"
      ? { what, finding: "a shallow clone, which cannot be pushed", remedy: "git fetch --unshallow" }
      : { what, finding: "has its whole history" };
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    return { what, ...words(stderr || message) };
  }
}

/** Checks what the embedded cluster needs from the machine, and its components if it runs. */
export async function examineMachine(httpPort: number): Promise<Diagnosis[]> {
  const { cgroups, canLowerOomScore } = inspectMachine();
  const diagnoses: Diagnosis[] = [
    {
      what: "machine",
      finding: `cgroup ${cgroups}, ${canLowerOomScore ? "with" : "without"} CAP_SYS_RESOURCE`,
    },
  ];
  diagnoses.push(await examineCheckout());
  const missing = missingPackages();
  diagnoses.push({
    what: "Debian packages",
    finding: missing.length === 0 ? "all installed" : `missing: ${missing.join(" ")}`,
    ...(missing.length === 0 ? {} : { remedy: "./deploy.sh" }),
  });
  if (existsSync(stateDirectory) && (await supervisorRuns())) {
    const states = await programStates();
    for (const [name, state] of Object.entries(states)) {
      if (state !== "RUNNING")
        diagnoses.push({
          what: `component ${name}`,
          finding: state,
          remedy: tailCommand(join(stateDirectory, "log", `${name}.log`)),
        });
    }
    diagnoses.push({
      what: "components",
      finding: `${Object.keys(states).length} supervised`,
    });
  } else {
    diagnoses.push({ what: "components", finding: "the supervisor is not running", remedy: "./deploy.sh" });
  }
  const collisions = findCollisions(httpPort);
  for (const { what, next } of collisions) diagnoses.push({ what: "machine", finding: what, remedy: next });
  if (collisions.length === 0)
    diagnoses.push({ what: "machine", finding: "no conflicts with ports, routes or disk space" });
  return diagnoses;
}
