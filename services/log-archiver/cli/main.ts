/** `npm run archive`, `restore` and `import`: the archiver on the platform that kubectl talks to, or without one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { execa } from "execa";
import { exitCode, Failure, reasonOf } from "../src/failure.ts";
import { type Manifest, manifestName } from "../src/manifest.ts";
import { directoryShelf, remoteShelf, type Shelf, unreadableIn } from "../src/restore.ts";
import { verify } from "../src/tar.ts";
import { idlePod, kubectlCommand, needsNoPlatform, type PodTemplate } from "./place.ts";
import { run } from "./run.ts";

const namespace = "logging";
const cronJob = "log-archiver";
const holder = "deployment/log-archive";

const kubectl = (...args: string[]) => execa("kubectl", ["--namespace", namespace, ...args]);

const program = new Command("log-archiver");

program
  .command("archive")
  .description("start the archiver now, show its output and wait until it ends")
  .option("--now", "do not wait for the schedule (always the case; kept for old scripts)")
  .option("--timeout <seconds>", "how long to wait before giving up", "600")
  .action(async ({ timeout }) => {
    const job = `${cronJob}-now-${Date.now()}`;
    await kubectl("create", "job", job, `--from=cronjob/${cronJob}`);
    const deadline = Date.now() + Number(timeout) * 1000;
    const pod = await podOf(job, deadline);
    await execa("kubectl", ["--namespace", namespace, "logs", "--follow", pod, "--container", cronJob], {
      stdio: "inherit",
      reject: false,
      timeout: Math.max(1, deadline - Date.now()),
    });
    process.exitCode = await exitCodeOf(job, pod, deadline);
  });

program
  .command("restore")
  .description("verify archives and print their lines; --help lists the options")
  .helpOption(false)
  .allowUnknownOption()
  .argument("[options...]")
  .action(async (options: string[]) => {
    process.exitCode = needsNoPlatform(options)
      ? await here("restore", ...options)
      : await inKeeper("restore", ...options);
  });

program
  .command("import")
  .description("copy archives onto the platform's volume, beside those that it has")
  .option("--from-dir <directory>", "the directory with the archives and their manifests")
  .option("--from-remote <remote>", "an rclone remote that this machine can read, such as s3:bucket/path")
  .option("--timeout <seconds>", "how long to wait for the pod before giving up", "120")
  .action(async ({ fromDir, fromRemote, timeout }) => {
    if ((fromDir === undefined) === (fromRemote === undefined))
      throw new Failure("import takes one of --from-dir and --from-remote", {
        next: "npm run import -- --help",
      });
    const scratch = await mkdtemp(join(tmpdir(), "log-archiver-import-"));
    const pod = `${cronJob}-import-${Date.now()}`;
    try {
      const shelf = await (fromRemote === undefined
        ? directoryShelf(fromDir)
        : remoteShelf(fromRemote, scratch));
      const { manifests, name, next } = shelf;
      if (manifests.length === 0) throw new Failure(`there is no archive in ${name}`, { next });
      for (const name of shelf.unreadable) leaveOut(unreadableIn(shelf, name));
      await startIdle(pod, Number(timeout));
      for (const [index, manifest] of manifests.entries()) {
        console.log(`${index + 1} of ${manifests.length}: ${manifest.archive}, ${manifest.bytes} bytes`);
        await sendTo(pod, shelf, manifest);
      }
    } finally {
      // If there is no cluster, the first error says so; this one would hide it.
      await kubectl("delete", "pod", pod, "--ignore-not-found", "--grace-period=1", "--wait=false").catch(
        () => undefined,
      );
      await rm(scratch, { recursive: true, force: true });
    }
  });

async function here(...args: string[]): Promise<number> {
  const main = join(import.meta.dirname, "../src/main.ts");
  const ended = await execa(process.execPath, ["--import", import.meta.resolve("tsx"), main, ...args], {
    stdio: "inherit",
    reject: false,
    env: { TEMPORARY_DIR: process.env.TEMPORARY_DIR ?? tmpdir() },
  });
  return ended.exitCode ?? exitCode.failed;
}

async function inKeeper(...args: string[]): Promise<number> {
  const inside = ["node", "/app/dist/main.js", ...args];
  const ended = await execa(
    "kubectl",
    ["--namespace", namespace, "exec", holder, "--container", "log-archive", "--quiet", "--", ...inside],
    { stdio: "inherit", reject: false },
  );
  return ended.exitCode ?? exitCode.failed;
}

/** Starts a pod with the volume, and waits until it is ready. */
async function startIdle(pod: string, timeoutSeconds: number): Promise<void> {
  const { stdout } = await kubectl("get", "cronjob", cronJob, "--output", "json");
  const { template } = (JSON.parse(stdout) as CronJob).spec.jobTemplate.spec;
  await execa("kubectl", ["--namespace", namespace, "create", "--filename", "-"], {
    input: JSON.stringify(idlePod(pod, template)),
  });
  await kubectl("wait", `pod/${pod}`, "--for=condition=Ready", `--timeout=${timeoutSeconds}s`);
}

interface CronJob {
  spec: { jobTemplate: { spec: { template: PodTemplate } } };
}

function leaveOut(reason: string): void {
  console.error(`left out: ${reason}`);
  process.exitCode = exitCode.incomplete;
}

/** Sends an archive with its manifest. If it is refused, the others are sent all the same. */
async function sendTo(pod: string, shelf: Shelf, manifest: Manifest): Promise<void> {
  const { archive } = manifest;
  let path: string;
  try {
    path = await shelf.pathOf(archive);
    await verify(path, manifest);
  } catch (error) {
    return leaveOut(reasonOf(error));
  }
  const inside = ["node", "/app/dist/main.js", "import", "--from-stdin"];
  const exec = ["--namespace", namespace, "exec", "--stdin", pod, "--container", cronJob, "--quiet", "--"];
  const ended = await execa({ reject: false })("tar", [
    "-cf",
    "-",
    "-C",
    dirname(path),
    archive,
    manifestName(archive),
  ]).pipe("kubectl", [...exec, ...inside], { stdout: "inherit", stderr: "inherit", reject: false });
  await shelf.release(path);
  if (ended.exitCode === exitCode.incomplete) process.exitCode = exitCode.incomplete;
  else if (ended.exitCode !== 0)
    throw new Failure(`${archive} could not be stored on the platform's volume`, {
      next: kubectlCommand("--namespace", namespace, "describe", "pod", pod),
    });
}

interface PodStatus {
  metadata: { name: string };
  status: {
    phase: string;
    containerStatuses?: { name: string; state: { running?: object; terminated?: { exitCode: number } } }[];
  };
}

async function podsOf(job: string): Promise<PodStatus[]> {
  const { stdout } = await kubectl("get", "pods", "--selector", `job-name=${job}`, "--output", "json");
  return (JSON.parse(stdout) as { items: PodStatus[] }).items;
}

/** Waits until the archiver's container runs or has run. Returns its pod's name. */
async function podOf(job: string, deadline: number): Promise<string> {
  for (;;) {
    for (const { metadata, status } of await podsOf(job)) {
      const state = status.containerStatuses?.find(({ name }) => name === cronJob)?.state;
      if (state?.running || state?.terminated) return metadata.name;
    }
    await pause(job, deadline);
  }
}

async function exitCodeOf(job: string, pod: string, deadline: number): Promise<number> {
  for (;;) {
    const found = (await podsOf(job)).find(({ metadata }) => metadata.name === pod);
    const state = found?.status.containerStatuses?.find(({ name }) => name === cronJob)?.state;
    if (state?.terminated) return state.terminated.exitCode;
    await pause(job, deadline);
  }
}

async function pause(job: string, deadline: number): Promise<void> {
  if (Date.now() > deadline)
    throw new Failure(`job ${job} has not ended`, {
      next: kubectlCommand("--namespace", namespace, "describe", "job", job),
    });
  await sleep(500);
}

await run(program);
