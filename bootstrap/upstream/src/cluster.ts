/** The cluster at hand: what is asked of it and applied to it, always under the context that was named. */
import { contextArguments, get, kubectlCommand } from "../../../lib/cluster/kubectl.ts";
import { type Pod, worstTrouble } from "../../../lib/cluster/pods.ts";
import { Failure } from "../../../lib/failure.ts";
import { run } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";

/** Runs kubectl; what it prints goes to the log as well. Objects go in by standard input, which does not. */
export function kubectl(args: string[], input?: string): Promise<string> {
  return run("kubectl", [...contextArguments(), ...args], input === undefined ? {} : { input });
}

/** Applies objects server-side, as the manager that the embedded cluster's bootstrap uses too. */
export async function apply(text: string): Promise<void> {
  await kubectl(["apply", "--server-side", "--force-conflicts", "--field-manager=deploy", "-f", "-"], text);
}

/** Reads an object; undefined where it, or its kind, does not exist. */
export async function find<T>(args: string[]): Promise<T | undefined> {
  try {
    return await get<T>(args);
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    if (/\(NotFound\)|doesn't have a resource type/.test(stderr)) return undefined;
    throw error;
  }
}

/** Reads a list of objects: empty where their kind does not exist, undefined where the cluster says nothing. */
export async function findAll<T>(args: string[]): Promise<T[] | undefined> {
  try {
    return (await find<{ items: T[] }>(args))?.items ?? [];
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** How many seconds a wait may take: WAIT_SECONDS, or what the wait itself finds right. */
export const deadline = (seconds: number): string => `${process.env.WAIT_SECONDS ?? seconds}s`;

/** What keeps the pods of a namespace, if anything does and the cluster says so. */
export async function troubleIn(namespace: string): Promise<string | undefined> {
  const pods = await find<{ items: Pod[] }>(["pods", "-n", namespace]).catch(() => undefined);
  return worstTrouble(pods?.items ?? []);
}

/**
 * Waits until workloads are rolled out.
 * @throws Failure naming the workload, the pod that keeps it, and the next command
 */
export async function waitForWorkloads(
  namespace: string,
  workloads: string[],
  seconds: number,
): Promise<void> {
  for (const workload of workloads) {
    progress(`waiting for ${workload}`);
    try {
      await kubectl(["-n", namespace, "rollout", "status", workload, `--timeout=${deadline(seconds)}`]);
    } catch (error) {
      const trouble = await troubleIn(namespace);
      throw new Failure(
        `${workload} in ${namespace} does not become ready: ${trouble ?? (error as Error).message}`,
        kubectlCommand("-n", namespace, "describe", workload),
      );
    }
  }
}
