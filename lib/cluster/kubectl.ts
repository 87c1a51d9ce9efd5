import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { FinalFailure } from "../failure.ts";
import { quoted } from "../quoted.ts";

const ownKubeconfig = (): string => join(homedir(), ".kube/config");

/**
 * The arguments that choose the cluster: none for the kubeconfig's own, or the context that KUBE_CONTEXT names.
 * @throws FinalFailure if there is no kubeconfig: kubectl would ask port 8080 of this machine, where Argo CD listens
 */
export function contextArguments(): string[] {
  const context = process.env.KUBE_CONTEXT;
  if (context) return ["--context", context];
  if (!process.env.KUBECONFIG && !existsSync(ownKubeconfig()))
    throw new FinalFailure(
      "no cluster is chosen: KUBECONFIG is not set, and there is no ~/.kube/config",
      'eval "$(./deploy.sh env)"',
    );
  return [];
}

/** How deploy.sh is called for this cluster, for messages that say what to run next. */
export function deployCommand(...args: string[]): string {
  const context = process.env.KUBE_CONTEXT;
  return context
    ? [...setting("KUBECONFIG"), "./deploy.sh", ...args, "--context", quoted(context)].join(" ")
    : ["./deploy.sh", ...args].join(" ");
}

// A variable that was set for one command only has to be repeated for the next.
function setting(name: string): string[] {
  const value = process.env[name];
  return value ? [`${name}=${quoted(value)}`] : [];
}

/**
 * A kubectl command line for this cluster, for messages that say what to run next. It names the cluster, so
 * that it works in any shell; deploy.sh says in KUBECTL which kubectl it means.
 */
export function kubectlCommand(...args: string[]): string {
  const { KUBECTL, KUBECONFIG, KUBE_CONTEXT } = process.env;
  // Only the variable can name several files.
  const several = KUBECONFIG?.includes(":") ? setting("KUBECONFIG") : [];
  const one = KUBECONFIG && several.length === 0 ? ["--kubeconfig", KUBECONFIG] : [];
  const context = KUBE_CONTEXT || (KUBECONFIG ? undefined : currentContext());
  const chosen = [KUBECTL || "kubectl", ...one, ...(context ? ["--context", context] : [])];
  return [...several, ...chosen.map(quoted), ...args].join(" ");
}

/** The context that kubectl uses by default now, which may change later. */
function currentContext(): string | undefined {
  contextArguments();
  return /^current-context: *["']?([^"'\n]+)/m.exec(readFileSync(ownKubeconfig(), "utf8"))?.[1];
}

/** A script of package.json for this cluster, for messages that say what to run next. */
export function npmCommand(script: string, ...args: string[]): string {
  const line = ["npm run", script, "--", ...args.map(quoted)].join(" ");
  // The kubectl of the cluster on this machine is not on everybody's PATH.
  if (process.env.KUBECTL) return `eval "$(./deploy.sh env)" && ${line}`;
  return [...setting("KUBECONFIG"), ...setting("KUBE_CONTEXT"), line].join(" ");
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
