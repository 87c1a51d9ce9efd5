import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { FinalFailure } from "../failure.ts";

/**
 * The arguments that choose the cluster: none for the kubeconfig's own, or the context that KUBE_CONTEXT names.
 * @throws FinalFailure where there is no kubeconfig: kubectl would ask port 8080 of this machine, where Argo CD listens
 */
export function contextArguments(): string[] {
  const context = process.env.KUBE_CONTEXT;
  if (context) return ["--context", context];
  if (!process.env.KUBECONFIG && !existsSync(join(homedir(), ".kube/config")))
    throw new FinalFailure(
      "no cluster is chosen: KUBECONFIG is not set, and there is no ~/.kube/config",
      'eval "$(./deploy.sh env)"',
    );
  return [];
}

/** How deploy.sh is called for this cluster, for messages that say what to run next. */
export function deployCommand(...args: string[]): string {
  const context = process.env.KUBE_CONTEXT;
  return ["./deploy.sh", ...args, ...(context ? ["--context", context] : [])].join(" ");
}

/** A kubectl command line for this cluster, for messages that say what to run next. */
export function kubectlCommand(...args: string[]): string {
  return ["kubectl", ...contextArguments(), ...args].join(" ");
}

/** A script of package.json for this cluster, for messages that say what to run next. */
export function npmCommand(script: string, ...args: string[]): string {
  const context = process.env.KUBE_CONTEXT;
  return `${context ? `KUBE_CONTEXT=${context} ` : ""}npm run ${script} -- ${args.join(" ")}`;
}

/** Reads objects of the cluster that KUBECONFIG and KUBE_CONTEXT name, as `kubectl get -o json` gives them. */
export async function get<T>(args: string[]): Promise<T> {
  const { stdout } = await execa("kubectl", [...contextArguments(), "get", ...args, "-o", "json"], {
    timeout: 30_000,
  });
  return JSON.parse(stdout) as T;
}

/** Runs kubectl and returns what it prints. */
export async function kubectl(args: string[]): Promise<string> {
  const { stdout } = await execa("kubectl", [...contextArguments(), ...args], { timeout: 30_000 });
  return stdout;
}
