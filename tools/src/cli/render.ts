import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { layoutAt } from "../../../lib/configuration.ts";
import { renderYaml } from "../../../lib/render/kustomize.ts";
import type { Overrides } from "../../../lib/render/overrides.ts";
import { readSource } from "../../../lib/render/source.ts";
import { renderInstall, renderRoot } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { WrongUsage } from "./usage.ts";

/** Adds the commands that print what a cluster gets: `render` and `source`. */
export function addRender(program: Command): void {
  const render = program.command("render").description("print the YAML that a cluster gets");
  render
    .command("argocd")
    .description("Argo CD itself")
    .requiredOption("--cluster <name>", "a cluster of the layout in gitops.yaml", existingCluster)
    .option("--ha", "an Argo CD that survives the loss of a node")
    .action(async ({ cluster, ha }) => print(await renderInstall(checkout, cluster, ha === true)));
  render
    .command("root")
    .description("the AppProjects and the root Application")
    .requiredOption("--cluster <name>", "a cluster of the layout in gitops.yaml", existingCluster)
    .option("--repo <url>", "a repository other than the one in Git")
    .option("--revision <ref>", "a branch, tag or commit other than the one in Git")
    .option("--registry <host/path>", "a registry for the images of services/* other than the one in Git")
    .option("--ha", "an Argo CD that survives the loss of a node")
    .action(async ({ cluster, repo, ...others }: { cluster: string; repo?: string } & Overrides) =>
      print(await renderRoot(checkout, cluster, { ...others, ...(repo && { repository: repo }) })),
    );
  render
    .command("directory")
    .description("any kustomization")
    .argument("<directory>")
    .action(async (directory: string) => print(await renderYaml(directory)));
  program
    .command("source")
    .description("print the repository that Argo CD reads and the branch, separated by a space")
    .requiredOption("--cluster <name>", "a cluster of the layout in gitops.yaml", existingCluster)
    .action(({ cluster }) => {
      const { repository, branch } = readSource(checkout, cluster);
      print(`${repository} ${branch}\n`);
    });
}

function existingCluster(name: string): string {
  const { clusters } = layoutAt(checkout);
  if (existsSync(join(checkout, clusters, name, "kustomization.yaml"))) return name;
  throw new WrongUsage(`${clusters} has no cluster named ${name}`);
}

function print(text: string): void {
  process.stdout.write(text);
}
