/** `npm run archive` and `npm run restore`: the archiver on the platform that kubectl talks to. */
import { Command } from "commander";
import { execa } from "execa";

const namespace = "logging";
const cronJob = "log-archiver";
const holder = "deployment/log-archive";

const kubectl = (...args: string[]) => execa("kubectl", ["--namespace", namespace, ...args]);

const program = new Command("log-archiver");

program
  .command("archive")
  .description("start a run of the archiver now, show what it prints and wait for its end")
  .requiredOption("--now", "do not wait for the schedule")
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
    const inside = ["node", "/app/dist/main.js", "restore", ...options];
    const { exitCode } = await execa(
      "kubectl",
      ["--namespace", namespace, "exec", holder, "--container", "log-archive", "--quiet", "--", ...inside],
      { stdio: "inherit", reject: false },
    );
    process.exitCode = exitCode ?? 1;
  });

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
