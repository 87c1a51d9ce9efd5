import type { Finding } from "../finding.ts";
import { describeObject, type KubernetesObject } from "../object.ts";
import { isWorkload, podTemplate } from "./workloads.ts";

type Labels = Record<string, string>;

/** Finds selectors that match no pod of the rendered workloads, and Services whose target port those pods lack. */
export function emptySelectors(objects: KubernetesObject[]): Finding[] {
  const workloads = objects.filter(isWorkload);
  return objects.flatMap((object) => {
    const finding = (path: string, message: string): Finding => ({
      rule: "selector-matches",
      where: `${describeObject(object)} ${path}`,
      message,
    });
    return selectorsOf(object).flatMap(({ path, labels, own }) => {
      const candidates = own ? [object] : workloads.filter((workload) => sameNamespace(workload, object));
      const matched = candidates.filter((workload) =>
        matches(labels, podTemplate(workload).metadata?.labels ?? {}),
      );
      if (matched.length === 0) {
        return [
          finding(
            path,
            `matches no ${own ? "pod of its own template" : "workload's pods"}: ${print(labels)}`,
          ),
        ];
      }
      if (object.kind !== "Service") return [];
      return matched.flatMap((workload) =>
        missingPorts(object, workload).map((port) =>
          finding("spec.ports", `targetPort ${port} is no port of ${describeObject(workload)}`),
        ),
      );
    });
  });
}

interface Selector {
  path: string;
  labels: Labels;
  /** The selector is about the pods of the object that holds it. */
  own: boolean;
}

function selectorsOf(object: KubernetesObject): Selector[] {
  const found: Selector[] = [];
  const add = (path: string, labels: Labels | undefined, own: boolean): void => {
    if (labels && Object.keys(labels).length > 0) found.push({ path, labels, own });
  };
  if (object.kind === "Service") add("spec.selector", object.spec.selector, false);
  if (object.kind === "PodDisruptionBudget") add("spec.selector", object.spec.selector?.matchLabels, false);
  if (object.kind === "NetworkPolicy") add("spec.podSelector", object.spec.podSelector?.matchLabels, false);
  if (isWorkload(object)) {
    add("spec.selector", object.spec.selector?.matchLabels, true);
    const spread = podTemplate(object).spec.topologySpreadConstraints ?? [];
    for (const { labelSelector } of spread) {
      add("spec.template.spec.topologySpreadConstraints", labelSelector?.matchLabels, true);
    }
  }
  return found;
}

function missingPorts(service: KubernetesObject, workload: KubernetesObject): (string | number)[] {
  const ports = podTemplate(workload).spec.containers.flatMap((container) => container.ports ?? []);
  const known = new Set(ports.flatMap(({ name, containerPort }) => [name, containerPort]));
  const wanted = (service.spec.ports ?? []) as { port: number; targetPort?: string | number }[];
  return wanted.map(({ port, targetPort }) => targetPort ?? port).filter((port) => !known.has(port));
}

function sameNamespace(a: KubernetesObject, b: KubernetesObject): boolean {
  return a.metadata.namespace === b.metadata.namespace;
}

function matches(selector: Labels, labels: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}

function print(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}
