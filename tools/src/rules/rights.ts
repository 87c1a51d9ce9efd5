import { describeObject, type FieldPath, type Manifest } from "../../../lib/object.ts";
import { bootstrap } from "../../../lib/render/cluster.ts";
import { ownOf, type PolicyRule } from "./rbac.ts";
import type { Problem, Rule } from "./rule.ts";

interface Subject {
  kind: string;
  name: string;
}

/** Verbs with which a subject can give itself any right. */
const widening = ["escalate", "bind", "impersonate"];

/** Resources that, for all namespaces, give access to Secrets, to the identities of pods, or to processes. */
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
  summary: "No role can extend its own rights, and no Application delivers cluster-wide rights",
  explanation: `Otherwise everybody who may push would be the cluster's administrator: one ClusterRoleBinding to cluster-admin is enough. The rule checks
  Roles, ClusterRoles and their bindings of this repository. A role must not have the verbs escalate, bind or impersonate, and a ClusterRole
  must not give access to Secrets, tokens or containers of all namespaces. A binding must name a role of the repository, not one of Kubernetes
  itself, and only ServiceAccounts. A Role that deploy.sh applies may impersonate ServiceAccounts that it names: Argo CD's server
  acts as the accounts of the AppProjects. ClusterRoles and ClusterRoleBindings are applied before Argo CD runs, and not by Argo CD, whose rights they
  limit. Roles of upstream projects and charts are not checked; deploy.sh has admission policies for them.`,
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
              fix: `move it to ${graph.layout?.projects ?? "the objects that are applied with Argo CD"}, which deploy.sh applies`,
            }),
          ),
      ),
  ],
};

function roleProblems(manifest: Manifest): Problem[] {
  const { kind, rules = [] } = manifest.object as unknown as { kind: string; rules?: PolicyRule[] };
  return rules.flatMap((rule, index) => {
    const { verbs = [], resources = [] } = rule;
    const at = (field: string): FieldPath => ["rules", index, field];
    const say = (path: FieldPath, what: string, fix: string): Problem => ({
      manifest,
      path,
      message: `${describeObject(manifest.object)}: rule ${index + 1} grants ${what}`,
      fix,
    });
    return [
      ...widening
        .filter((verb) => verbs.includes(verb) && !(verb === "impersonate" && isNamed(manifest, rule)))
        .map((verb) => say(at("verbs"), `the verb ${verb}`, `remove ${verb}: it gives every right`)),
      ...keys
        .filter((resource) => kind === "ClusterRole" && resources.includes(resource))
        .map((resource) =>
          say(
            at("resources"),
            `${resource} of every namespace`,
            "grant it by a Role in the namespaces that need it",
          ),
        ),
    ];
  });
}

/** True where a Role that deploy.sh applies lets somebody act as ServiceAccounts that it names one by one. */
function isNamed(
  { application, object }: Manifest,
  { resources = [], resourceNames = [] }: PolicyRule,
): boolean {
  const accounts = resources.length > 0 && resources.every((resource) => resource === "serviceaccounts");
  return application === bootstrap && object.kind === "Role" && accounts && resourceNames.length > 0;
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
            fix: "bind to a role of this repository that lists only what is used",
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
              fix: "bind ServiceAccounts: the cluster's owner decides about people",
            },
          ],
    ),
  ];
}
