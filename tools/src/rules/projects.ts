import type { Finding } from "../finding.ts";
import { describeObject, groupOf, type KubernetesObject } from "../object.ts";

interface ProjectSpec {
  destinations?: { server?: string; namespace?: string }[];
  clusterResourceWhitelist?: { group: string; kind: string; name?: string }[];
  namespaceResourceWhitelist?: { group: string; kind: string }[];
}

/** Finds objects that an Application of this AppProject may not create. */
export function forbiddenObjects(project: KubernetesObject, objects: KubernetesObject[]): Finding[] {
  const spec = project.spec as ProjectSpec;
  return objects.flatMap((object) => {
    const { name, namespace } = object.metadata;
    const group = groupOf(object);
    const whitelist = namespace === undefined ? "clusterResourceWhitelist" : "namespaceResourceWhitelist";
    const allowed = (spec[whitelist] ?? []).some(
      (entry: { group: string; kind: string; name?: string }) =>
        entry.group === group && entry.kind === object.kind && (entry.name ?? name) === name,
    );
    const problems: string[] = [];
    if (!allowed) problems.push(`add group "${group}", kind ${object.kind} to its ${whitelist}`);
    if (
      namespace !== undefined &&
      !(spec.destinations ?? []).some((entry) => entry.namespace === namespace)
    ) {
      problems.push(`add namespace ${namespace} to its destinations`);
    }
    return problems.map((problem) => ({
      rule: "project-allows",
      where: describeObject(object),
      message: `AppProject ${project.metadata.name} does not allow it: ${problem}`,
    }));
  });
}
