/** The cluster through kubectl. */
import { execa } from "execa";

/** What every object has. */
export interface KubernetesObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    uid: string;
    resourceVersion: string;
    generation?: number;
    deletionTimestamp?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
}

/** Runs kubectl and returns what it prints, to the last byte. */
export async function kubectl(args: string[], input = ""): Promise<string> {
  const { stdout } = await execa("kubectl", args, { input, stripFinalNewline: false, timeout: 120_000 });
  return stdout;
}

/** Reads one object. */
export async function get<T = KubernetesObject>(...args: string[]): Promise<T> {
  return JSON.parse(await kubectl(["get", ...args, "-o", "json"])) as T;
}

/** Reads the objects of a kind. */
export async function list<T = KubernetesObject>(...args: string[]): Promise<T[]> {
  return (await get<{ items: T[] }>(...args)).items;
}

/** Creates or changes objects. */
export async function apply(...objects: object[]): Promise<void> {
  const items = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
  await kubectl(["apply", "--filename", "-"], items);
}

/** Runs a command in a pod's first container and returns what it prints. */
export const inPod = (namespace: string, pod: string, ...command: string[]): Promise<string> =>
  kubectl(["--namespace", namespace, "exec", pod, "--quiet", "--", ...command]);

/** A Secret's values, decoded. */
export async function secret(namespace: string, name: string): Promise<Record<string, string>> {
  const { data } = await get<{ data: Record<string, string> }>("secret", name, "--namespace", namespace);
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
  );
}
