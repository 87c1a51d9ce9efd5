import type { Command } from "commander";
import { examine, formatDiagnoses } from "../../../lib/cluster/doctor.ts";
import { status } from "../../../lib/cluster/status.ts";
import { resolveCommit, waitForCommit } from "../../../lib/cluster/wait.ts";
import { checkout } from "../../../lib/repository.ts";
import { exitCodes, seconds } from "./usage.ts";

/** Adds the commands that look at the cluster and change nothing: `wait`, `status` and `doctor`. */
export function addCluster(program: Command): void {
  program
    .command("wait")
    .description(
      "wait until a commit, or a later one that holds it, is Synced and Healthy and its pods are ready",
    )
    .argument("[commit]", "a revision of this checkout", "HEAD")
    .option("--seconds <n>", "deadline", seconds, 300)
    .action(async (revision: string, options: { seconds: number }) => {
      await waitForCommit(await resolveCommit(checkout, revision), options.seconds, checkout);
    });
  program
    .command("status")
    .description("print what the cluster runs; exit code 1 where something is not well")
    .action(async () => {
      const { lines, well } = await status();
      process.stdout.write(`${lines.join("\n")}\n`);
      if (!well) process.exitCode = exitCodes.failed;
    });
  program
    .command("doctor")
    .description("check cluster, repository and checkout; exit code 1 where something is wrong")
    .action(async () => {
      const diagnoses = await examine(checkout);
      process.stdout.write(formatDiagnoses(diagnoses));
      if (diagnoses.some(({ remedy }) => remedy)) process.exitCode = exitCodes.failed;
    });
}
