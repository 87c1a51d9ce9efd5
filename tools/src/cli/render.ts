import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { renderArgocd, renderRoot } from "../render/argocd.ts";
import { renderYaml } from "../render/kustomize.ts";
import { readSource } from "../render/source.ts";
import { checkout } from "../repository.ts";
import { WrongUsage } from "./usage.ts";

/** Adds the commands that print what a cluster gets: `render` and `source`. */
export function addRender(program: Command): void {
  const render = program.command("render").description("print the YAML that a cluster gets");
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
    .description("print the repository that Argo CD reads and the branch, separated by a space")
    .requiredOption("--cluster <name>", "a directory of gitops/clusters", existingCluster)
    .action(({ cluster }) => {
      const { repository, branch } = readSource(checkout, cluster);
      print(`${repository} ${branch}\n`);
    });
}

function existingCluster(name: string): string {
  if (existsSync(join(checkout, "gitops/clusters", name, "kustomization.yaml"))) return name;
  throw new WrongUsage(`gitops/clusters has no cluster named ${name}`);
}

function print(text: string): void {
  process.stdout.write(text);
}
