import { resolve } from "node:path";
import { execa } from "execa";
import { type KubernetesObject, parseObjects } from "../object.ts";
import { checkout } from "../repository.ts";
import { goEnvironment, kustomize, moduleDirectory, pinnedVersion } from "./go.ts";

/** Renders a kustomization with the pinned kustomize and returns its YAML. */
export async function renderYaml(directory: string): Promise<string> {
  kustomizeCommand ??= findKustomize();
  const [command, ...args] = await kustomizeCommand;
  const { stdout } = await execa(command, [...args, "build", resolve(directory)], { env: goEnvironment() });
  return `${stdout}\n`;
}

/** Renders a kustomization with the pinned kustomize and returns its objects. */
export async function renderObjects(directory: string): Promise<KubernetesObject[]> {
  return parseObjects(await renderYaml(directory));
}

type Command = [string, ...string[]];
let kustomizeCommand: Promise<Command> | undefined;

async function findKustomize(): Promise<Command> {
  const installed = await execa("kustomize", ["version"], { reject: false });
  if (installed.stdout === pinnedVersion(checkout, kustomize)) return ["kustomize"];
  // Go compiles the tool on first use and keeps it in its cache.
  return ["go", "-C", moduleDirectory(checkout, kustomize), "tool", "kustomize"];
}
