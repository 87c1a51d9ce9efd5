import { describeObject, type Manifest } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import type { Problem, Rule } from "./rule.ts";

/** A rule of a Role or a ClusterRole. */
export interface PolicyRule {
  apiGroups?: string[];
  resources?: string[];
  verbs?: string[];
  nonResourceURLs?: string[];
}

/** Objects of some kinds that are this repository's own: not what a pinned module or a chart brings. */
export const ownOf = (graph: Graph, kinds: string[]): Manifest[] =>
  kinds.flatMap((kind) => graph.ofKind(kind).filter(({ foreign }) => !foreign));

export const rbacWildcard: Rule = {
  id: "rbac-wildcard",
  isLocal: true,
  summary: "Roles name their groups, resources and verbs",
  explanation: `An asterisk in a role also grants what does not exist yet. Looked at: Roles and ClusterRoles of this repository; those of upstream
projects, such as Argo CD's controller, which must be able to create anything, are theirs.`,
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
