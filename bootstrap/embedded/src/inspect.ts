/** Looking without touching: what bootstrap would do, and what is wrong with the machine. */
import { existsSync, statfsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type Diagnosis, words } from "../../../lib/cluster/doctor.ts";
import { Git } from "../../../lib/git/git.ts";
import { modules } from "../../../lib/modules.ts";
import { tailCommand } from "../../../lib/process.ts";
import { quoted } from "../../../lib/quoted.ts";
import { imagesToBuild } from "./images.ts";
import { cacheDirectory, endpoints, repository, stateDirectory } from "./layout.ts";
import { inspectMachine } from "./machine.ts";
import { isBuilt, moduleVersion } from "./modules.ts";
import { missingPackages } from "./packages.ts";
import { programStates, supervisorRuns } from "./supervisor.ts";

const neededGiB = 20;

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

const portIsFree = (port: number): Promise<boolean> =>
  new Promise((answer) => {
    const server = createServer()
      .once("error", () => answer(false))
      .listen(port, "127.0.0.1", () => server.close(() => answer(true)));
  });

/** Whether this checkout can be pushed to the platform's Git server: Git reads it, and it has its whole history. */
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

/** The command that shows what takes the room of a directory. */
export const roomCommand = (directory: string, missingGiB: number): string =>
  `du -xhd1 ${quoted(directory)} | sort -h (and free ${missingGiB} GiB)`;

/** Checks what the embedded cluster needs of the machine, and its components where it runs. */
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
    finding: missing.length === 0 ? "all there" : `missing: ${missing.join(" ")}`,
    ...(missing.length === 0 ? {} : { remedy: "./deploy.sh" }),
  });
  const place = existsSync(cacheDirectory) ? cacheDirectory : "/var";
  const disk = statfsSync(place);
  const free = Math.round((disk.bavail * disk.bsize) / 1024 ** 3);
  const built = modules.every((m) => isBuilt(m.name));
  diagnoses.push({
    what: "disk",
    finding: `${free} GiB free`,
    ...(built || free >= neededGiB ? {} : { remedy: roomCommand(place, neededGiB - free) }),
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
    diagnoses.push({ what: "components", finding: "the supervisor does not run", remedy: "./deploy.sh" });
    for (const { port, name } of endpoints(httpPort)) {
      if (!(await portIsFree(port))) {
        diagnoses.push({
          what: `port ${port} for ${name}`,
          finding: "somebody else listens on it",
          remedy: `ss -ltnp 'sport = :${port}'`,
        });
      }
    }
  }
  return diagnoses;
}
