import { execa } from "execa";

/** The arguments that choose the cluster: none for the kubeconfig's own, or the context that KUBE_CONTEXT names. */
export function contextArguments(): string[] {
  const context = process.env.KUBE_CONTEXT;
  return context ? ["--context", context] : [];
}

/** How deploy.sh is called for this cluster, for messages that say what to run next. */
export function deployCommand(...args: string[]): string {
  return ["./deploy.sh", ...args, ...contextArguments()].join(" ");
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
