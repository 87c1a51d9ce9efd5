import { execa } from "execa";

/** Reads objects of the cluster that the environment's KUBECONFIG names, as `kubectl get -o json` gives them. */
export async function get<T>(args: string[]): Promise<T> {
  const { stdout } = await execa("kubectl", ["get", ...args, "-o", "json"], { timeout: 30_000 });
  return JSON.parse(stdout) as T;
}

/** Runs kubectl and returns what it prints. */
export async function kubectl(args: string[]): Promise<string> {
  const { stdout } = await execa("kubectl", args, { timeout: 30_000 });
  return stdout;
}
