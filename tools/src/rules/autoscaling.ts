import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import { containersOf, podsOf } from "./pods.ts";
import type { Problem, Rule } from "./rule.ts";

interface Metric {
  type: string;
  resource?: { name: string; target?: { type?: string } };
  containerResource?: { name: string; container: string; target?: { type?: string } };
}

export const autoscaling: Rule = {
  id: "autoscaling",
  summary: "A HorizontalPodAutoscaler owns its target's number of pods and can compute its metrics",
  explanation: `If the target's spec.replicas is also in Git, every sync restores that number and the autoscaler changes it again. An autoscaler
  never scales if its metric names a container that the pods do not have, or a percentage of a request that is not set. The rule compares
  metrics of type Resource and ContainerResource with the rendered target. reference-resolves checks that the target exists, and value-valid
  checks the numbers of pods.`,
  check: (graph) => autoscalers(graph).flatMap((manifest) => problemsOf(graph, manifest)),
};

function autoscalers(graph: Graph): Manifest[] {
  return graph.ofKind("HorizontalPodAutoscaler").filter(({ foreign }) => !foreign);
}

function targetOf(graph: Graph, { object }: Manifest): Manifest | undefined {
  const { kind = "", name = "" } = object.spec?.scaleTargetRef ?? {};
  return graph.find(kind, name, object.metadata.namespace);
}

/** The smallest number of pods of a workload: its autoscaler's minimum, or its own number. */
export function fewestReplicas(graph: Graph, workload: Manifest): number {
  const scaler = autoscalers(graph).find((candidate) => targetOf(graph, candidate) === workload);
  const spec = (scaler ?? workload).object.spec ?? {};
  return (scaler ? spec.minReplicas : spec.replicas) ?? 1;
}

function problemsOf(graph: Graph, manifest: Manifest): Problem[] {
  const own = describeObject(manifest.object);
  const target = targetOf(graph, manifest);
  const { metrics = [] } = manifest.object.spec ?? {};
  const problems: Problem[] = [];
  if (!target) return problems;
  if (target.object.spec?.replicas !== undefined)
    problems.push({
      manifest: target,
      path: ["spec", "replicas"],
      message: `${describeObject(target.object)} sets replicas, which ${own} owns`,
      fix: "remove spec.replicas, by a patch if the base has it",
    });
  (metrics as Metric[]).forEach((metric, index) => {
    const path: FieldPath = ["spec", "metrics", index];
    problems.push(
      ...uncounted(graph, target, metric).map(({ message, fix }) => ({
        manifest,
        path,
        message: `${own}: ${message}`,
        fix,
      })),
    );
  });
  return problems;
}

function uncounted(
  graph: Graph,
  target: Manifest,
  { resource, containerResource }: Metric,
): { message: string; fix: string }[] {
  const source = podsOf(graph).find((pods) => pods.source?.manifest === target)?.source;
  const wanted = containerResource ?? resource;
  if (!source || !wanted) return [];
  const containers = containersOf(source).filter(({ first }) => !first);
  const names = containers.map(({ container }) => container.name);
  if (containerResource && !names.includes(containerResource.container)) {
    const message = `${describeObject(target.object)} has no container ${containerResource.container}`;
    return [{ message, fix: `write one of ${names.join(", ")}` }];
  }
  if (wanted.target?.type !== "Utilization") return [];
  return containers
    .filter(({ container }) => !containerResource || container.name === containerResource.container)
    .filter(({ container }) => !(wanted.name in (container.resources?.requests ?? {})))
    .map(({ container }) => ({
      message: `container ${container.name} of ${describeObject(target.object)} requests no ${wanted.name}, to which the percentage refers`,
      fix: `set resources.requests.${wanted.name}`,
    }));
}
