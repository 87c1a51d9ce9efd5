/** How bootstrap reads from and applies to a cluster, always the one that KUBECONFIG and KUBE_CONTEXT name. */
import { contextArguments, get, kubectlCommand } from "../../lib/cluster/kubectl.ts";
import { type Pod, worstTrouble } from "../../lib/cluster/pods.ts";
import { Failure } from "../../lib/failure.ts";
import type { KubernetesObject } from "../../lib/object.ts";
import { run } from "../../lib/process.ts";
import { progress } from "../../lib/progress.ts";

/** Runs kubectl. Its output goes to the log as well; its standard input, such as objects, does not. */
export const kubectl = (args: string[], input?: string): Promise<string> => runKubectl(args, input, false);

/** The same for Secrets: nothing that it prints goes to the log. */
export const kubectlQuietly = (args: string[], input?: string): Promise<string> =>
  runKubectl(args, input, true);

function runKubectl(args: string[], input: string | undefined, quiet: boolean): Promise<string> {
  return run("kubectl", [...contextArguments(), ...args], {
    quiet,
    ...(input === undefined ? {} : { input }),
  });
}

/**
 * Applies objects given as YAML or JSON server-side, taking over fields that others set.
 * @param manager owns the fields; those that it applied before to the same object and now leaves out are removed
 */
export async function apply(text: string, manager = "deploy"): Promise<void> {
  await kubectl(
    ["apply", "--server-side", "--force-conflicts", `--field-manager=${manager}`, "-f", "-"],
    text,
  );
}

/** A Secret as JSON. */
export function secretObject(
  { name, namespace, labels = {} }: { name: string; namespace: string; labels?: Record<string, string> },
  data: Record<string, string>,
): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace, labels },
    // Not stringData: the server-side apply of that field is not idempotent.
    data: Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
    ),
  });
}

/** Reads an object; undefined if it, or its kind, does not exist. */
export async function find<T>(args: string[]): Promise<T | undefined> {
  try {
    return await get<T>(args);
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string };
    if (/\(NotFound\)|doesn't have a resource type/.test(stderr)) return undefined;
    throw error;
  }
}

/** Reads a list of objects: empty if their kind does not exist, undefined if the cluster gives no answer. */
export async function findAll<T>(args: string[]): Promise<T[] | undefined> {
  try {
    return (await find<{ items: T[] }>(args))?.items ?? [];
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** How long a wait may take: WAIT_SECONDS, or the given number of seconds. */
export const deadline = (seconds: number): string => `${process.env.WAIT_SECONDS ?? seconds}s`;

/** What keeps the pods of a namespace from being ready, if anything does and the cluster answers. */
export async function troubleIn(namespace: string, selector: string[] = []): Promise<string | undefined> {
  const pods = await find<{ items: Pod[] }>(["pods", "-n", namespace, ...selector]).catch(() => undefined);
  return worstTrouble(pods?.items ?? []);
}

/** The workloads among objects, as kubectl names them. */
export function workloadsIn(objects: KubernetesObject[]): string[] {
  return objects
    .filter(({ kind }) => ["DaemonSet", "Deployment", "StatefulSet"].includes(kind))
    .map(({ kind, metadata }) => `${kind.toLowerCase()}/${metadata.name}`);
}

interface Workload {
  spec: { replicas?: number; selector: { matchLabels: Record<string, string> } };
  status: Record<string, number | undefined>;
}

/**
 * Waits until workloads, given as kind/name, are rolled out.
 * @throws Failure naming the workload, how many of its pods are ready, what keeps one from it, and the next command
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
      const [kind, name] = workload.split("/");
      throw new Failure(
        `${kind} ${namespace}/${name}: ${(await stateOf(namespace, workload)) ?? (error as Error).message} (waited ${deadline(seconds)})`,
        [
          kubectlCommand("-n", namespace, "describe", workload),
          kubectlCommand("-n", namespace, "logs", workload, "--all-containers", "--tail=20"),
        ].join("; "),
      );
    }
  }
}

async function stateOf(namespace: string, workload: string): Promise<string | undefined> {
  const found = await find<Workload>([workload, "-n", namespace]).catch(() => undefined);
  if (!found?.status) return undefined;
  const { spec, status } = found;
  const wanted = status.desiredNumberScheduled ?? spec.replicas ?? 1;
  const ready = status.readyReplicas ?? status.numberReady ?? 0;
  const labels = Object.entries(spec.selector.matchLabels).map((pair) => pair.join("="));
  const trouble = await troubleIn(namespace, ["-l", labels.join()]);
  return `${ready}/${wanted} ready${trouble ? `; ${trouble}` : ""}`;
}
