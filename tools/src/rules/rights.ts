import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import { bootstrap } from "../../../lib/render/cluster.ts";
import { ownOf, type PolicyRule } from "./rbac.ts";
import type { Problem, Rule } from "./rule.ts";

interface Subject {
  kind: string;
  name: string;
}

/** Verbs by which whoever has them gives themselves any right. */
const widening = ["escalate", "bind", "impersonate"];

/** What gives in every namespace what is in it: its Secrets, the identities of its pods, its processes. */
const keys = [
  "secrets",
  "serviceaccounts/token",
  "pods/exec",
  "pods/attach",
  "pods/ephemeralcontainers",
  "nodes/proxy",
];

const builtIn = (role: string): boolean =>
  ["cluster-admin", "admin", "edit"].includes(role) || role.startsWith("system:");

export const rightsConfined: Rule = {
  id: "rights-confined",
  summary: "No role widens itself, and nothing that reaches beyond a namespace comes from an Application",
  explanation: `Whoever may push would otherwise be the cluster's administrator: one ClusterRoleBinding to cluster-admin is enough. Looked at are
Roles, ClusterRoles and their bindings of this repository. A role has none of the verbs escalate, bind and impersonate, and no ClusterRole
gives Secrets, tokens or the containers of all namespaces. A binding names a role of the repository, no role of Kubernetes itself, and
ServiceAccounts only. ClusterRoles and ClusterRoleBindings are applied before Argo CD runs, not by what they confine.
What upstream projects and charts bring is theirs; deploy.sh has admission policies for them.`,
  check: (graph) => [
    ...ownOf(graph, ["Role", "ClusterRole"]).flatMap(roleProblems),
    ...ownOf(graph, ["RoleBinding", "ClusterRoleBinding"]).flatMap(bindingProblems),
    ...graph.input.applications
      .filter(({ name }) => name !== bootstrap)
      .flatMap(({ name, manifests }) =>
        manifests
          .filter(({ object, foreign }) => !foreign && /^ClusterRole(Binding)?$/.test(object.kind))
          .map(
            (manifest): Problem => ({
              manifest,
              path: ["kind"],
              message: `${describeObject(manifest.object)} is delivered by Application ${name}`,
              fix: `move it to ${graph.layout?.projects ?? "what is applied beside Argo CD"}, which deploy.sh applies`,
            }),
          ),
      ),
  ],
};

function roleProblems(manifest: Manifest): Problem[] {
  const { kind, rules = [] } = manifest.object as unknown as { kind: string; rules?: PolicyRule[] };
  return rules.flatMap(({ verbs = [], resources = [] }, index) => {
    const at = (field: string): FieldPath => ["rules", index, field];
    const say = (path: FieldPath, what: string, fix: string): Problem => ({
      manifest,
      path,
      message: `${describeObject(manifest.object)}: rule ${index + 1} grants ${what}`,
      fix,
    });
    return [
      ...widening
        .filter((verb) => verbs.includes(verb))
        .map((verb) => say(at("verbs"), `the verb ${verb}`, `remove ${verb}: it gives every right`)),
      ...keys
        .filter((resource) => kind === "ClusterRole" && resources.includes(resource))
        .map((resource) =>
          say(
            at("resources"),
            `${resource} of every namespace`,
            "give it by a Role in the namespaces that need it",
          ),
        ),
    ];
  });
}

function bindingProblems(manifest: Manifest): Problem[] {
  const { roleRef, subjects = [] } = manifest.object as unknown as {
    roleRef?: { name?: string };
    subjects?: Subject[];
  };
  const role = roleRef?.name ?? "";
  const who = describeObject(manifest.object);
  return [
    ...(builtIn(role)
      ? [
          {
            manifest,
            path: ["roleRef", "name"],
            message: `${who} binds to ${role}, a role of Kubernetes itself`,
            fix: "bind to a role of this repository that lists what is used",
          },
        ]
      : []),
    ...subjects.flatMap((subject, index) =>
      subject.kind === "ServiceAccount"
        ? []
        : [
            {
              manifest,
              path: ["subjects", index, "kind"],
              message: `${who} binds the ${subject.kind} ${subject.name}`,
              fix: "bind ServiceAccounts: who people are is the cluster's to say",
            },
          ],
    ),
  ];
}
