import { describeObject, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import type { Problem, Rule } from "./rule.ts";

/** A rule of a Role or a ClusterRole. */
export interface PolicyRule {
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  verbs?: string[];
  nonResourceURLs?: string[];
}

/** This repository's own objects of some kinds, without those of pinned modules and charts. */
export const ownOf = (graph: Graph, kinds: string[]): Manifest[] =>
  kinds.flatMap((kind) => graph.ofKind(kind).filter(({ foreign }) => !foreign));

export const rbacWildcard: Rule = {
  id: "rbac-wildcard",
  isLocal: true,
  summary: "Roles name their groups, resources and verbs",
  explanation: `An asterisk in a role also grants things that do not exist yet. The rule checks Roles and ClusterRoles of this repository, but not those of
  upstream projects, such as Argo CD's controller, which must be able to create anything.`,
  check: (graph) =>
    ownOf(graph, ["Role", "ClusterRole"]).flatMap((manifest) =>
      ((manifest.object.rules ?? []) as PolicyRule[]).flatMap((rule, index) =>
        (["apiGroups", "resources", "verbs", "nonResourceURLs"] as const)
          .filter((field) => rule[field]?.includes("*"))
          .map(
            (field): Problem => ({
              manifest,
              path: ["rules", index, field],
              message: `${describeObject(manifest.object)}: rule ${index + 1} grants all ${field}`,
              fix: `list the ${field} that are used`,
            }),
          ),
      ),
    ),
};
