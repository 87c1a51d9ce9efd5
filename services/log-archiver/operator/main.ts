/** `npm run archive`, `restore` and `import`: the archiver on the platform that kubectl talks to, or without one. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { execa } from "execa";
import { pairsIn } from "../src/import.ts";

const namespace = "logging";
const cronJob = "log-archiver";
const holder = "deployment/log-archive";

const kubectl = (...args: string[]) => execa("kubectl", ["--namespace", namespace, ...args]);

const program = new Command("log-archiver");

program
  .command("archive")
  .description("start a run of the archiver now, show what it prints and wait for its end")
  .option("--now", "do not wait for the schedule: what this does anyway")
  .option("--timeout <seconds>", "give up waiting after so long", "600")
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
  .description("verify archives and print their lines; --help shows what may be asked for")
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
  .description("put archives onto the platform's volume, beside those that are there")
  .option("--from-dir <directory>", "where they are, each with its manifest")
  .option("--from-remote <remote>", "an rclone remote that this machine can read, such as s3:bucket/path")
  .option("--timeout <seconds>", "give up waiting for the pod after so long", "120")
  .action(async ({ fromDir, fromRemote, timeout }) => {
    if ((fromDir === undefined) === (fromRemote === undefined))
      throw new Error("import takes one of --from-dir and --from-remote\nnext: npm run import -- --help");
    const scratch = await mkdtemp(join(tmpdir(), "log-archiver-import-"));
    const pod = `${cronJob}-import-${Date.now()}`;
    try {
      if (fromRemote)
        await execa("rclone", ["copy", "--max-depth", "1", "--include", "app-logs-*", fromRemote, scratch]);
      const directory = fromDir ?? scratch;
      const pairs = await pairsIn(directory);
      if (pairs.length === 0) throw new Error(`there is no archive in ${fromRemote ?? directory}`);
      await startIdle(pod, Number(timeout));
      for (const [index, { names, bytes }] of pairs.entries()) {
        console.log(`${index + 1} of ${pairs.length}: ${names[0]}, ${bytes} bytes`);
        await sendTo(pod, directory, names);
      }
    } finally {
      await kubectl("delete", "pod", pod, "--ignore-not-found", "--grace-period=1", "--wait=false");
      await rm(scratch, { recursive: true, force: true });
    }
  });

/** True where archives are read that are not on the platform's volume, or where only the help is asked for. */
const needsNoPlatform = (options: string[]): boolean =>
  options.some((option) => /^(--from-dir|--from-remote|--archives|--help|-h)(=|$)/.test(option)) ||
  options.some((option, index) => option.includes("/") && options[index - 1] === "--from");

async function here(...args: string[]): Promise<number> {
  const main = join(import.meta.dirname, "../src/main.ts");
  const { exitCode } = await execa(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), main, ...args],
    {
      stdio: "inherit",
      reject: false,
      env: { TEMPORARY_DIR: process.env.TEMPORARY_DIR ?? tmpdir() },
    },
  );
  return exitCode ?? 1;
}

async function inKeeper(...args: string[]): Promise<number> {
  const inside = ["node", "/app/dist/main.js", ...args];
  const { exitCode } = await execa(
    "kubectl",
    ["--namespace", namespace, "exec", holder, "--container", "log-archive", "--quiet", "--", ...inside],
    { stdio: "inherit", reject: false },
  );
  return exitCode ?? 1;
}

/** Starts a pod that is a run's in all but what it does: it has the volume, and waits. */
async function startIdle(pod: string, timeoutSeconds: number): Promise<void> {
  const { stdout } = await kubectl("get", "cronjob", cronJob, "--output", "json");
  const { metadata, spec } = (JSON.parse(stdout) as CronJob).spec.jobTemplate.spec.template;
  const containers = spec.containers.map((container) => ({ ...container, args: ["serve"] }));
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...metadata, name: pod },
    spec: { ...spec, containers },
  };
  await execa("kubectl", ["--namespace", namespace, "create", "--filename", "-"], {
    input: JSON.stringify(manifest),
  });
  await kubectl("wait", `pod/${pod}`, "--for=condition=Ready", `--timeout=${timeoutSeconds}s`);
}

interface CronJob {
  spec: { jobTemplate: { spec: { template: { metadata: object; spec: { containers: object[] } } } } };
}

async function sendTo(pod: string, directory: string, names: string[]): Promise<void> {
  const inside = ["node", "/app/dist/main.js", "import", "--from-stdin"];
  const to = [
    "--namespace",
    namespace,
    "exec",
    "--stdin",
    pod,
    "--container",
    cronJob,
    "--quiet",
    "--",
    ...inside,
  ];
  await execa("tar", ["-cf", "-", "-C", directory, ...names]).pipe("kubectl", to, {
    stdout: "inherit",
    stderr: "inherit",
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

/** Waits for the archiver's container to run, or to have run. */
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
    throw new Error(`job ${job} has not ended\nnext: kubectl --namespace ${namespace} describe job ${job}`);
  await new Promise((done) => setTimeout(done, 500));
}

try {
  await program.parseAsync();
} catch (error) {
  const { stderr, message } = error as { stderr?: string; message: string };
  console.error(stderr || message);
  process.exitCode = 1;
}
