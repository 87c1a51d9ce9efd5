import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { examine, formatDiagnoses } from "./cluster/doctor.ts";
import { status } from "./cluster/status.ts";
import { resolveCommit, waitForCommit } from "./cluster/wait.ts";
import { Failure } from "./failure.ts";
import { note } from "./progress.ts";
import { renderArgocd, renderRoot } from "./render/argocd.ts";
import { renderYaml } from "./render/kustomize.ts";
import { readSource } from "./render/source.ts";
import { checkout } from "./repository.ts";

const program = new Command("gitops").description("Works on the platform's GitOps repository");

const render = program.command("render").description("Print the YAML that a cluster gets");

render
  .command("argocd")
  .description("Argo CD itself")
  .requiredOption("--cluster <name>", "a directory of gitops/clusters", existingCluster)
  .action(async ({ cluster }) => print(await renderArgocd(checkout, cluster)));

render
  .command("root")
  .description("the AppProjects and the root Application")
  .requiredOption("--cluster <name>", "a directory of gitops/clusters", existingCluster)
  .action(async ({ cluster }) => print(await renderRoot(checkout, cluster)));

render
  .command("directory")
  .description("any kustomization")
  .argument("<directory>")
  .action(async (directory: string) => print(await renderYaml(directory)));

program
  .command("source")
  .description("Print the repository that Argo CD reads and the branch, separated by a space")
  .requiredOption("--cluster <name>", "a directory of gitops/clusters", existingCluster)
  .action(({ cluster }) => {
    const { repository, branch } = readSource(checkout, cluster);
    print(`${repository} ${branch}\n`);
  });

program
  .command("wait")
  .description("Wait until a commit is Synced and Healthy and its pods are ready")
  .argument("[commit]", "a revision of this checkout", "HEAD")
  .option("--seconds <n>", "deadline", "300")
  .action(async (revision: string, { seconds }: { seconds: string }) => {
    await waitForCommit(await resolveCommit(checkout, revision), Number(seconds));
  });

program
  .command("status")
  .description("Print what the cluster runs; exit code 1 where something is not well")
  .action(async () => {
    const { lines, well } = await status();
    print(`${lines.join("\n")}\n`);
    if (!well) process.exitCode = 1;
  });

program
  .command("doctor")
  .description("Check cluster, repository and checkout; exit code 1 where something is wrong")
  .action(async () => {
    const diagnoses = await examine(checkout);
    print(formatDiagnoses(diagnoses));
    if (diagnoses.some(({ remedy }) => remedy)) process.exitCode = 1;
  });

function existingCluster(name: string): string {
  if (existsSync(join(checkout, "gitops/clusters", name, "kustomization.yaml"))) return name;
  return program.error(`error: gitops/clusters has no cluster named ${name}`, { exitCode: 2 });
}

function print(text: string): void {
  process.stdout.write(text);
}

try {
  await program.parseAsync();
} catch (error) {
  // Of a command that failed, its own words; a stack trace would only hide them.
  const { stderr, message } = error as Error & { stderr?: string };
  note((stderr || message).trim());
  if (error instanceof Failure && error.next) note(`next: ${error.next}`);
  process.exitCode = 1;
}
